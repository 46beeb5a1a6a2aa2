package wire

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/announce"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// The decoder written by hand reads what the general one reads, and refuses the same.
func TestAnnouncementDecodersAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	read, refused := 0, 0
	for _, seed := range announcementSeeds() {
		payload := must(seal.ParseEnvelope(seed)).Payload
		for range 3000 {
			raw := mutate(r, payload)
			if r.IntN(2) == 0 {
				raw = misfit(r, payload)
			}
			d, err := canon.Walk(raw)
			if err != nil {
				continue
			}
			var byHand, general protocol.Announcement
			errHand, errGeneral := announce.Decode(d.Critical(), &byHand), canon.Decode(d.Critical(), &general)
			if (errHand == nil) != (errGeneral == nil) || errors.Is(errHand, canon.ErrUnknown) != errors.Is(errGeneral, canon.ErrUnknown) {
				t.Fatalf("%x: by hand %v, in general %v", raw, errHand, errGeneral)
			}
			if errHand != nil {
				refused++
				continue
			}
			read++
			if !reflect.DeepEqual(byHand, general) {
				t.Fatalf("%x: by hand %+v, in general %+v", raw, byHand, general)
			}
		}
	}
	if read < 100 || refused < 100 {
		t.Fatalf("%d read and %d refused show nothing", read, refused)
	}
}

// misfit puts something else in the place of one item: another key, or a value of
// another type or size.
func misfit(r *rand.Rand, raw []byte) []byte {
	var v map[uint64]any
	if err := cbor.Unmarshal(raw, &v); err != nil {
		panic(err)
	}
	others := []any{uint64(5), uint64(300), uint64(1) << 63, "text", []byte("bytes"), []any{uint64(1)}, []any{[]byte("x")}, map[uint64]any{1: uint64(2)}, true,
		[]any{map[uint64]any{1: "a.b", 7: true}}, []any{map[uint64]any{1: "a.b", 2: map[uint64]any{1: uint64(3)}}}, []any{map[uint64]any{2: []any{"x"}}}}
	keys := slices.Sorted(maps.Keys(v))
	k := keys[r.IntN(len(keys))]
	if r.IntN(4) == 0 {
		v[k+uint64(r.IntN(4))] = v[k]
		delete(v, k)
	} else {
		v[k] = others[r.IntN(len(others))]
	}
	return must(must(cbor.CoreDetEncOptions().EncMode()).Marshal(v))
}

func TestOpenRefusals(t *testing.T) {
	raw := must(Sign(itsDuty, offer()))
	e := must(seal.ParseEnvelope(raw))
	payload := func(p []byte) []byte {
		return seal.SignEnvelope(itsDuty, protocol.KindOffer.Domain(), p)
	}
	change := func(do func(*seal.Envelope)) []byte {
		c := must(seal.ParseEnvelope(bytes.Clone(raw)))
		do(&c)
		return c.Marshal()
	}
	head := func(key int, value byte) []byte { // one-byte values under keys 1, 3, 4
		p := bytes.Clone(e.Payload)
		at := map[int]int{1: 2, 3: 2 + 1 + 35 + 1, 4: 2 + 1 + 35 + 3}[key]
		p[at] = value
		return payload(p)
	}
	cases := map[string]struct {
		raw  []byte
		want fault.Kind
	}{
		"nothing":             {nil, bad},
		"too large":           {make([]byte, protocol.MaxEnvelope+1), bad},
		"bytes after":         {append(bytes.Clone(raw), 0), bad},
		"cut":                 {raw[:len(raw)-1], bad},
		"foreign domain":      {change(func(e *seal.Envelope) { e.Type = []byte("libp2p-peer-record") }), bad},
		"newer domain":        {change(func(e *seal.Envelope) { e.Type = []byte("hark/2/offer") }), newer},
		"unknown kind":        {change(func(e *seal.Envelope) { e.Type = []byte("hark/1/kind-40") }), newer},
		"disclosure signed":   {change(func(e *seal.Envelope) { e.Type = []byte("hark/1/disclosure") }), bad},
		"another kind":        {change(func(e *seal.Envelope) { e.Type = []byte("hark/1/ack") }), bad},
		"another key":         {change(func(e *seal.Envelope) { e.Key = herDuty.Public() }), bad},
		"signature":           {change(func(e *seal.Envelope) { e.Signature[3] ^= 1 }), bad},
		"signature + order":   {change(func(e *seal.Envelope) { e.Signature = plusOrder(e.Signature) }), bad},
		"payload":             {change(func(e *seal.Envelope) { e.Payload[len(e.Payload)-1] ^= 3 }), bad},
		"another signer":      {seal.SignEnvelope(herDuty, protocol.KindOffer.Domain(), e.Payload), bad},
		"version 2":           {head(1, 2), newer},
		"version 0":           {head(1, 0), bad},
		"kind 40 inside":      {head(3, 20), bad}, // in its place stands an ack's number below
		"algorithm 3":         {head(4, 3), newer},
		"algorithm of MACs":   {head(4, 2), bad},
		"no map":              {payload([]byte{0x80}), bad},
		"empty map":           {payload([]byte{0xa0}), bad},
		"unknown critical":    {payload(with(e.Payload, "\x18\x7e\x01")), newer},
		"unknown + misfit":    {payload(with(e.Payload, "\x18\x7e\x00")), bad},
		"key twice":           {payload(with(e.Payload, "\x18\x19\x01")), bad},
		"keys out of order":   {payload(with(e.Payload, "\x18\x1e\x01", "\x18\x1d\x01")), bad},
		"ignorable unordered": {payload(with(e.Payload, "\x19\x01\x00\x01", "\x18\x80\x01")), bad},
	}
	for name, c := range cases {
		if _, err := Open(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := Open(payload(with(e.Payload, "\x18\x80\x01")))
	if err != nil || string(s.Extra()) != "\x18\x80\x01" {
		t.Errorf("an ignorable key: %x, %v", s.Extra(), err)
	}
	if _, err := ReadAnnouncement(raw); !errors.Is(err, bad) {
		t.Error("an offer is read as an announcement")
	}
	if _, err := ReadAnnouncement(make([]byte, protocol.MaxAnnouncement+1)); !errors.Is(err, bad) {
		t.Error("a huge announcement")
	}
}

// with puts pairs after those of a map of fewer than 24 pairs, wherever they belong.
func with(payload []byte, pairs ...string) []byte {
	d := must(canon.Walk(payload))
	return append(append(canon.MapHead(d.Count+len(pairs)), payload[d.First:]...), strings.Join(pairs, "")...)
}

// plusOrder adds the group's order to S: the same signature, spelled twice.
func plusOrder(sig []byte) []byte {
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	sig, carry := bytes.Clone(sig), 0
	for i := range 32 {
		carry += int(sig[32+i]) + int(order[i])
		sig[32+i] = byte(carry)
		carry >>= 8
	}
	return sig
}

func TestSignRefusals(t *testing.T) {
	if _, err := Sign(key.Private[key.Duty]{}, offer()); !errors.Is(err, bad) {
		t.Error("signed without a key")
	}
	r := request()
	r.Recipients = nil
	for range protocol.MaxList {
		r.Recipients = append(r.Recipients, strings.Repeat("x", protocol.MaxName))
	}
	r.Chain = newPassports(3)
	r.Passport = ID(r.Chain[2])
	if _, err := Sign(operation, r); err != nil {
		t.Errorf("a large request: %v", err)
	}
	for name, x := range map[string]string{"critical key": "\x18\x7e\x01", "no pair": "\x18\x80", "unordered": "\x18\x81\x01\x18\x80\x01", "zero": "\x18\x80\x00"} {
		if _, err := SignExtra(itsDuty, offer(), protocol.Extra(x)); !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Marshal(protocol.Payment{Proof: make([]byte, 3)}); !errors.Is(err, bad) {
		t.Error("a byte string of zeros is written")
	}
	a := announcement()
	for range 8 {
		a.Issuers = append(a.Issuers, private[key.Issuer](string(rune('a'+len(a.Issuers)))).Public())
	}
	for _, lane := range []struct{ lane, effort uint8 }{{0, 1}, {1, 0}, {2, 1}, {1, MaxEffort + 1}} {
		if _, err := SignAnnouncement(contextKey, announcement(), lane.lane, lane.effort); !errors.Is(err, newer) {
			t.Errorf("lane %d, effort %d: %v", lane.lane, lane.effort, err)
		}
	}
	if _, err := SignAnnouncement(contextKey, a, 0, 0); !errors.Is(err, bad) {
		t.Error("ten issuers")
	}
}

func TestStamp(t *testing.T) {
	for _, x := range []protocol.Extra{nil, extra()} {
		a := announcement()
		raw := must(SignAnnouncement(contextKey, a, 1, 10))
		if x != nil { // the stamp covers the ignorable keys: putting them in undoes it
			raw = must(SignExtra(contextKey, a, x))
		}
		d := must(ReadAnnouncement(raw))
		if done := d.WorkDone(); (done >= 10) != (x == nil) {
			t.Errorf("%d bits done, with %d bytes more", done, len(x))
		}
		h := must(d.Verify())
		if h.ID() != ID(raw) || !bytes.Equal(h.Raw(), raw) || !bytes.Equal(h.Extra(), x) || h.A().Seq != 1 || h.IsZero() {
			t.Error("another was heard")
		}
	}
	a := announcement()
	a.Expires = a.Created + protocol.MaxNeedLife + 1
	if _, err := SignAnnouncement(contextKey, a, 0, 0); !errors.Is(err, bad) {
		t.Error("an impossible life is signed")
	}
}

func TestBody(t *testing.T) {
	a := announcement()
	a.Context = contextID
	if d, err := OpenBody(a, secret("body")); err != nil || d != demand() {
		t.Errorf("%+v, %v", d, err)
	}
	for name, do := range map[string]func(*protocol.Announcement){
		"body": func(a *protocol.Announcement) { a.Body[7] ^= 1 }, "seq": func(a *protocol.Announcement) { a.Seq = 2 },
		"context": func(a *protocol.Announcement) { a.Context = hash("x") }, "commitment": func(a *protocol.Announcement) { a.Commitment[0] ^= 1 },
		"no body": func(a *protocol.Announcement) { a.Body = nil },
	} {
		b := announcement()
		b.Context = contextID
		do(b)
		if _, err := OpenBody(b, secret("body")); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenBody(a, secret("x")); !errors.Is(err, fault.Denied) {
		t.Error("another key opens the body")
	}
	big := protocol.Demand{Name: strings.Repeat("n", protocol.MaxName), Description: strings.Repeat("x", protocol.MaxText)}
	if _, _, err := SealBody(big, secret("body"), contextKey.Public(), 1); err != nil {
		t.Errorf("the largest demand does not fit: %v", err)
	}
	for _, d := range []protocol.Demand{{}, {Name: "x", Description: long}, {Name: "x", Region: "z"}, {Name: "x", Currency: "R"}, {Name: "x\n"}} {
		if _, _, err := SealBody(d, secret("body"), contextKey.Public(), 1); !errors.Is(err, bad) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	if _, _, err := SealBody(demand(), key.Secret{}, contextKey.Public(), 1); !errors.Is(err, bad) {
		t.Error("sealed without a key")
	}
}

func TestLetter(t *testing.T) {
	k, box := opener[key.DutySeal]("her duty"), private[key.Mailbox]("box").Public()
	plain := must(Sign(itsDuty, step(protocol.KindClose)))
	raw, export, err := SealLetter(k.Public(), seal.Duty, testNet, box, 2*protocol.Day+1, plain)
	must(raw, err)
	got, exported, err := OpenLetter(k, seal.Duty, testNet, raw)
	if err != nil || !bytes.Equal(got, plain) || !export(seal.LabelDisclose).Equal(exported(seal.LabelDisclose)) {
		t.Fatal("a letter does not come out as it went in", err)
	}
	l := must(ReadLetter(raw))
	if l.Expires != 3 || l.Box != box || len(l.Sealed) != seal.Bucket1K+seal.Overhead {
		t.Errorf("%d %v %d", l.Expires, l.Box, len(l.Sealed))
	}
	for name, do := range map[string]func(*protocol.Letter){
		"box": func(l *protocol.Letter) { l.Box = private[key.Mailbox]("other").Public() }, "slot": func(l *protocol.Letter) { l.Slot[0] ^= 1 },
		"expires": func(l *protocol.Letter) { l.Expires++ }, "enc": func(l *protocol.Letter) { l.Enc[0] ^= 1 }, "sealed": func(l *protocol.Letter) { l.Sealed[0] ^= 1 },
	} {
		l := must(ReadLetter(raw))
		do(&l)
		if _, _, err := OpenLetter(k, seal.Duty, testNet, must(Marshal(l))); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		do   func(*protocol.Letter)
		want fault.Kind
	}{
		"no version": {func(l *protocol.Letter) { l.V = 0 }, bad}, "version": {func(l *protocol.Letter) { l.V = 2 }, newer},
		"no suite": {func(l *protocol.Letter) { l.Suite = 0 }, bad}, "suite": {func(l *protocol.Letter) { l.Suite = 2 }, newer},
		"no box": {func(l *protocol.Letter) { l.Box = key.MailboxKey{} }, bad}, "small box": {func(l *protocol.Letter) { l.Box = smallOrder }, bad},
		"no slot": {func(l *protocol.Letter) { l.Slot = protocol.ID{} }, bad}, "no day": {func(l *protocol.Letter) { l.Expires = 0 }, bad},
		"short enc": {func(l *protocol.Letter) { l.Enc = l.Enc[1:] }, bad}, "no bucket": {func(l *protocol.Letter) { l.Sealed = l.Sealed[1:] }, bad},
		"no text": {func(l *protocol.Letter) { l.Sealed = l.Sealed[:16] }, bad},
	} {
		l := must(ReadLetter(raw))
		c.do(&l)
		if _, err := ReadLetter(must(Marshal(l))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := SealLetter(k.Public(), 9, testNet, box, testNow, plain); !errors.Is(err, bad) {
		t.Error("a letter of no class")
	}
	if _, _, err := SealLetter(k.Public(), seal.Duty, testNet, box, testNow, make([]byte, seal.MaxMessage+1)); !errors.Is(err, bad) {
		t.Error("too long a letter")
	}
	if _, _, err := SealLetter(k.Public(), seal.Duty, testNet, key.MailboxKey{}, testNow, plain); !errors.Is(err, bad) {
		t.Error("a letter to nowhere")
	}
	largest, _, err := SealLetter(k.Public(), seal.Duty, testNet, box, 1<<63, make([]byte, seal.MaxMessage))
	if err != nil || len(largest) > protocol.MaxLetter {
		t.Errorf("the largest letter: %d bytes, %v", len(largest), err)
	}
}

func TestDisclosure(t *testing.T) {
	raw := must(SealDisclosure(disclosure(), secret("mac")))
	if !IsDisclosure(raw) || IsDisclosure(nil) || IsDisclosure(must(Sign(itsDuty, offer()))) {
		t.Error("a disclosure is not told from an envelope")
	}
	d, h, err := OpenDisclosure(raw, secret("mac"))
	if err != nil || h != ID(raw) || d.Values[0].Value != "Observatory" || !d.BodyKey.Secret().Equal(secret("body")) || d.Alg != protocol.AlgMAC {
		t.Fatalf("%+v, %v", d, err)
	}
	changed := bytes.Clone(raw)
	changed[len(changed)/2] ^= 1
	for name, try := range map[string]func() error{
		"another key": func() error { _, _, err := OpenDisclosure(raw, secret("x")); return err },
		"no key":      func() error { _, _, err := OpenDisclosure(raw, key.Secret{}); return err },
		"changed":     func() error { _, _, err := OpenDisclosure(changed, secret("mac")); return err },
	} {
		if err := try(); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, outer := range map[string]authenticated{"no payload": {MAC: make([]byte, 31)}, "short MAC": {Payload: []byte{0xa0}, MAC: []byte{1}}} {
		outer.MAC = append(outer.MAC, 1)
		if _, _, err := OpenDisclosure(must(Marshal(outer)), secret("mac")); !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFrame(t *testing.T) {
	var b bytes.Buffer
	o := capDeposit()
	if err := errors.Join(WriteFrame(&b, o), WriteFrame(&b, o)); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(b.Bytes())
	for range 2 {
		var got protocol.Op
		if err := ReadFrame(&b, &got); err != nil || !bytes.Equal(must(Marshal(got)), must(Marshal(o))) {
			t.Fatal(err)
		}
	}
	var got protocol.Op
	if err := ReadFrame(&b, &got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for _, n := range []int{1, 3, 4, 10} {
		if err := ReadFrame(bytes.NewReader(raw[:n]), &got); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for _, head := range []string{"\x00\x00\x00\x00", "\x00\x01\x80\x01", "\xff\xff\xff\xff"} {
		if err := ReadFrame(strings.NewReader(head), &got); !errors.Is(err, bad) {
			t.Errorf("%x: %v", head, err)
		}
	}
	if err := ReadFrame(strings.NewReader("\x00\x00\x00\x02\xa1\x18"), &got); !errors.Is(err, bad) {
		t.Errorf("a bad frame: %v", err)
	}
	if err := WriteFrame(io.Discard, protocol.Reply{N: 1, Letters: [][]byte{bytes.Repeat([]byte{1}, protocol.MaxFrame)}}); !errors.Is(err, bad) {
		t.Errorf("a huge frame: %v", err)
	}
	if err := Unmarshal(make([]byte, 11), &got, 10); !errors.Is(err, bad) {
		t.Errorf("beyond its bound: %v", err)
	}
}

// A Step hears of the work from its beginning, and ends it.
func TestStampsStop(t *testing.T) {
	var heard []uint64
	stop := func(tries uint64) bool { heard = append(heard, tries); return len(heard) < 3 }
	if raw, err := SignWorking(contextKey, announcement(), protocol.LaneWork, 40, stop); !errors.Is(err, ErrStopped) || raw != nil {
		t.Errorf("announcement: %d bytes, %v", len(raw), err)
	}
	f := firstContact(private[key.Mailbox]("x").Public(), hash("x"), keepers(1)[0].Key)
	if err := StampWorking(&f, private[key.Mailbox]("x").Public(), hash("x"), keepers(1)[0].Key, 40, func(uint64) bool { return false }); !errors.Is(err, ErrStopped) || f.Stamp != (protocol.Admission{}) {
		t.Errorf("first contact: %v, %+v", err, f.Stamp)
	}
	if len(heard) != 3 || heard[0] != 0 || heard[1] == 0 || heard[2] != 2*heard[1] {
		t.Errorf("heard %v", heard)
	}
	on := func(uint64) bool { return true }
	with, err := SignWorking(contextKey, announcement(), protocol.LaneWork, 13, on)
	without := must(SignAnnouncement(contextKey, announcement(), protocol.LaneWork, 13))
	if err != nil || string(with) != string(without) {
		t.Errorf("a step changes the bytes: %v", err)
	}
}
