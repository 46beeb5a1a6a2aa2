package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// A decoder reads bytes and writes again what it read. Signatures and MACs are left
// out where they can be, so that changed bytes come as far as the decoding.
type decoder struct {
	seeds func() [][]byte
	again func(raw []byte) ([]byte, error)
}

func noun[T any](max int, seeds ...any) decoder {
	return decoder{func() (raws [][]byte) {
		for _, v := range seeds {
			raws = append(raws, must(Marshal(v)))
		}
		return raws
	}, func(raw []byte) ([]byte, error) {
		v := new(T)
		if err := Unmarshal(raw, v, max); err != nil {
			return nil, err
		}
		return Marshal(v)
	}}
}

// extra: {128: "new", 300: [0, 1]} without the head of its map.
func extra() protocol.Extra { return protocol.Extra("\x18\x80\x63new\x19\x01\x2c\x82\x00\x01") }

func signedSeeds() (raws [][]byte) {
	for _, s := range specimens() {
		raws = append(raws, must(s.sign(s.m, nil)), must(s.sign(s.m, extra())))
	}
	return raws
}

func announcementSeeds() [][]byte {
	return [][]byte{must(SignAnnouncement(contextKey, announcement(), 1, 4)), must(SignAnnouncement(contextKey, withdrawal(), 0, 0)), must(announcementExtra())}
}

func announcementExtra() ([]byte, error) {
	a := announcement()
	a.Kind, a.Context = protocol.KindAnnouncement, contextID
	return SignExtra(contextKey, a, extra())
}

func sampleOps() []any {
	box := private[key.Mailbox]("box context")
	ops := []any{&protocol.Op{N: 9, Kind: protocol.OpFetch, Hashes: []protocol.Hash{hash("a"), {}}}, &protocol.Op{N: 7, Kind: protocol.OpList, Shard: 3, After: hash("x")},
		&protocol.Op{N: 12, Kind: protocol.OpRanges, Shard: 3, Ranges: []uint32{0, 9, 15}, Bits: 4, Split: 6},
		&protocol.Op{N: 13, Kind: protocol.OpRanges, Ranges: []uint32{1 << 31}, Bits: 32, After: hash("x")}}
	for _, o := range []*protocol.Op{{N: 1, Kind: protocol.OpCollect, Box: box.Public(), After: hash("x")}, {N: 2, Kind: protocol.OpDelete, Box: box.Public(), Hashes: []protocol.Hash{hash("a")}},
		{N: 3, Kind: protocol.OpRevoke, Box: box.Public(), CapID: id("cap")}} {
		if err := SignOp(box, o, keepers(1)[0].Key, id("nonce")); err != nil {
			panic(err)
		}
		ops = append(ops, o)
	}
	return append(ops, firstDeposit(), capDeposit())
}

func capDeposit() *protocol.Op {
	o := &protocol.Op{N: 4, Kind: protocol.OpDeposit, Box: private[key.Mailbox]("box offer").Public(), Letter: []byte("letter"), Cap: capability("offer"), Hold: 60}
	if err := SignOp(private[key.Depositor]("depositor offer"), o, keepers(1)[0].Key, id("nonce")); err != nil {
		panic(err)
	}
	return o
}

func firstDeposit() *protocol.Op {
	box := private[key.Mailbox]("box context").Public()
	o := &protocol.Op{N: 5, Kind: protocol.OpDeposit, Box: box, Letter: []byte("letter"), First: firstContact(box, ID([]byte("letter")), keepers(1)[0].Key)}
	if err := SignOp(key.Private[key.Mailbox]{}, o, keepers(1)[0].Key, id("nonce")); err != nil {
		panic(err)
	}
	return o
}

func firstContact(box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey) protocol.FirstContact {
	chain := passports(2)
	f := protocol.FirstContact{Vendor: ID(chain[0]), Passport: ID(chain[1]), Expires: testNow + protocol.Hour, Vouch: vouch(), Chain: chain}
	if err := SignFirst(operation, &f, box, letter, keeper); err != nil {
		panic(err)
	}
	StampFirst(&f, box, letter, keeper, 6)
	return f
}

func vouch() protocol.Vouch {
	v := protocol.Vouch{Vendor: ID(passports(1)[0]), Expires: testNow + protocol.Day}
	if err := SignVouch(private[key.Issuer]("bank"), &v); err != nil {
		panic(err)
	}
	return v
}

func depositReceipt() protocol.DepositReceipt {
	k := private[key.Keeper]("keeper a")
	r := protocol.DepositReceipt{Keeper: k.Public(), Box: private[key.Mailbox]("box context").Public(), Letter: hash("letter"), At: testNow, Expires: testNow + protocol.Day}
	if err := SignReceipt(k, &r); err != nil {
		panic(err)
	}
	return r
}

func replies() []any {
	return []any{&protocol.Reply{N: 4, Receipt: depositReceipt()}, &protocol.Reply{N: 5, Fault: 5, Text: "not found"},
		&protocol.Reply{Box: private[key.Mailbox]("box offer").Public(), Letters: [][]byte{{1}, {2}}, Hashes: []protocol.Hash{hash("a")}, More: true, Keepers: keepers(3)},
		&protocol.Reply{N: 12, Salt: id("salt"), Counts: []uint32{0, 3}, Prints: bytes.Repeat([]byte{1}, 2*protocol.PrintSize)}, &protocol.Reply{N: 6, PostKey: postKey()}}
}

var decoders = map[string]decoder{
	"announcement": {announcementSeeds, func(raw []byte) ([]byte, error) {
		d, err := ReadAnnouncement(bytes.Clone(raw))
		if err != nil {
			return nil, err
		}
		return rewrap(d.envelope, &d.a, d.doc.Extra())
	}},
	"signed": {signedSeeds, func(raw []byte) ([]byte, error) {
		s, e, err := read(raw)
		if err != nil {
			return nil, err
		}
		return rewrap(e, s.Message(), s.Extra())
	}},
	"disclosure": {func() [][]byte {
		return [][]byte{must(SealDisclosure(disclosure(), secret("mac")))}
	}, disclosureAgain},
	"chain": {func() [][]byte { return passports(1) }, func(raw []byte) ([]byte, error) {
		c, err := OpenChain([][]byte{raw}, testNet)
		if err != nil {
			return nil, err
		}
		return c.Raws()[0], nil
	}},
	"frame": {func() (raws [][]byte) {
		for _, v := range append(sampleOps(), replies()...) {
			var b bytes.Buffer
			if err := WriteFrame(&b, v); err != nil {
				panic(err)
			}
			raws = append(raws, b.Bytes())
		}
		return raws
	}, frameAgain},
	"letter":     {func() [][]byte { return [][]byte{letter()} }, noun[protocol.Letter](protocol.MaxLetter).again},
	"op":         noun[protocol.Op](protocol.MaxFrame, sampleOps()...),
	"reply":      noun[protocol.Reply](protocol.MaxFrame, replies()...),
	"genesis":    noun[protocol.Genesis](protocol.MaxGenesis, genesis()),
	"demand":     noun[protocol.Demand](protocol.MaxBody, demand(), protocol.Demand{Name: "x"}),
	"hello":      {func() [][]byte { return [][]byte{hello(protocol.Hash{}), hello(hash("vendor"))} }, helloAgain},
	"told":       {func() [][]byte { return [][]byte{toldExtra(1), toldExtra(MaxTold)} }, toldAgain},
	"capability": noun[protocol.Capability](protocol.MaxFrame, capability("offer")),
	"post key":   noun[protocol.PostKey](protocol.MaxFrame, postKey()),
	"post":       {postSeeds, postAgain},
}

func hello(operator protocol.VendorID) []byte {
	return must(encodeHello(protocol.Hello{V: 1, Nonce: id("n"), Net: testNet}, Aside{Operator: operator}))
}

// helloAgain writes what it read, where nothing of a newer program stands in it.
func helloAgain(raw []byte) ([]byte, error) {
	h, operator, err := decodeHello(raw)
	if err != nil {
		return nil, err
	}
	again, err := encodeHello(h, operator)
	if err == nil && !bytes.Equal(again, raw) && must(canon.Walk(raw)).Extras > 0 {
		again = raw
	}
	return again, err
}

func toldExtra(n int) (x protocol.Extra) {
	return must(ReceiptsExtra(slices.Repeat([]protocol.DepositReceipt{depositReceipt()}, n)))
}

// toldAgain reads the pair as it stands in a message: walked.
func toldAgain(raw []byte) ([]byte, error) {
	d, err := canon.Walk(append([]byte{0xa1}, raw...))
	if err != nil || d.Extras != 1 {
		return nil, errors.Join(err, errVector)
	}
	list := ReceiptsOf(d.Extra())
	if len(list) == 0 {
		return nil, errVector
	}
	again, err := ReceiptsExtra(list)
	if err == nil && !bytes.Equal(again, raw) {
		return raw, nil // a receipt among them does not hold, and is left out
	}
	return again, err
}

func rewrap(e seal.Envelope, m protocol.Message, x protocol.Extra) ([]byte, error) {
	payload, err := encodePayload(m, x)
	if err != nil {
		return nil, err
	}
	e.Payload = payload
	return e.Marshal(), nil
}

// disclosureAgain authenticates anew what was changed, so that the payload is read.
func disclosureAgain(raw []byte) ([]byte, error) {
	var outer authenticated
	if err := Unmarshal(raw, &outer, maxDisclosure); err != nil {
		return nil, err
	}
	if len(outer.Payload) == 0 {
		return nil, fmt.Errorf("no payload")
	}
	sum := seal.MAC(secret("mac"), outer.Payload)
	d, doc, err := openDisclosure(must(Marshal(authenticated{outer.Payload, sum[:]})), secret("mac"))
	if err != nil {
		return nil, err
	}
	payload, err := encodePayload(d, doc.Extra())
	if err != nil {
		return nil, err
	}
	return Marshal(authenticated{payload, outer.MAC})
}

func frameAgain(raw []byte) ([]byte, error) {
	var o protocol.Op
	var p protocol.Reply
	r := bytes.NewReader(raw)
	var v any = &o
	if err := ReadFrame(r, &o); err != nil {
		v, r = &p, bytes.NewReader(raw)
		if err := ReadFrame(r, &p); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	err := WriteFrame(&b, v)
	return append(b.Bytes(), raw[len(raw)-r.Len():]...), err
}

// secondSpelling tells whether bytes are read that are not written again.
func secondSpelling(d decoder, raw []byte) bool {
	again, err := d.again(raw)
	return err == nil && !bytes.Equal(again, raw)
}

// mutate changes bytes in one to three places: another byte, a bit, one more, one
// less, a repeated stretch, or a head in its next longer form.
func mutate(r *rand.Rand, raw []byte) []byte {
	raw = bytes.Clone(raw)
	for range 1 + r.IntN(3) {
		if len(raw) == 0 {
			return raw
		}
		i := r.IntN(len(raw))
		switch r.IntN(6) {
		case 0:
			raw[i] = byte(r.Uint32())
		case 1:
			raw[i] ^= 1 << r.IntN(8)
		case 2:
			raw = append(raw[:i], append([]byte{byte(r.Uint32())}, raw[i:]...)...)
		case 3:
			raw = append(raw[:i], raw[i+1:]...)
		case 4:
			j := min(len(raw), i+r.IntN(40))
			raw = append(raw[:j:j], raw[i:]...)
		case 5:
			if raw[i]&31 < 24 {
				raw = append(raw[:i], append([]byte{raw[i]&0xe0 | 24, raw[i] & 31}, raw[i+1:]...)...)
			}
		}
	}
	return raw
}

// lenient is a decoder that makes the mistakes: it reads what is not canonical.
var lenient = decoder{nil, func(raw []byte) ([]byte, error) {
	var g protocol.Genesis
	if err := cbor.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	return Marshal(g)
}}

func TestMust_one_spelling(t *testing.T) {
	// The check finds a decoder that reads a long integer, and mutations find it too.
	planted := must(Marshal(genesis()))
	if planted[1] != 1 || planted[2] != 1 {
		t.Fatal("the document does not start with key 1, version 1")
	}
	long := append([]byte{planted[0], 1, 0x18, 1}, planted[3:]...)
	if !secondSpelling(lenient, long) {
		t.Fatal("a planted second spelling was not found")
	}
	r := rand.New(rand.NewPCG(1, 2))
	found := false
	for range 2000 {
		found = found || secondSpelling(lenient, mutate(r, planted))
	}
	if !found {
		t.Fatal("mutations do not find a lenient decoder")
	}
	for name, d := range decoders {
		parsed := 0
		for _, seed := range d.seeds() {
			if again, err := d.again(seed); err != nil || !bytes.Equal(again, seed) {
				t.Fatalf("%s: a valid one is not read or not written again: %v", name, err)
			}
			for range 400 {
				raw := mutate(r, seed)
				if secondSpelling(d, raw) {
					t.Errorf("%s: %x is read but not written again", name, raw)
				} else if _, err := d.again(raw); err == nil {
					parsed++
				}
			}
		}
		if parsed == 0 && name != "chain" {
			t.Errorf("%s: no changed bytes came through the decoder, so nothing was shown", name)
		}
	}
}

// TestMemoryIsBounded: what is allocated stays within a small multiple of what came,
// for bytes made to be dear as well.
func TestMemoryIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, d := range decoders {
		for _, seed := range d.seeds() {
			for range 20 {
				allocates(t, name, d, mutate(r, seed))
			}
		}
	}
	bomb := func(pair ...byte) []byte { // a list of 4,000 empty maps under one key
		raw := append([]byte{0xa1}, pair...)
		raw = append(raw, 0x99, 0x0f, 0xa0)
		return append(raw, bytes.Repeat([]byte{0xa0}, 4000)...)
	}
	allocates(t, "genesis", decoders["genesis"], bomb(5))
	allocates(t, "reply", decoders["reply"], bomb(6))
	allocates(t, "reply", decoders["reply"], bomb(9))
	allocates(t, "reply", decoders["reply"], bomb(11))
	allocates(t, "op", decoders["op"], bomb(15))
	allocates(t, "frame", decoders["frame"], binary.BigEndian.AppendUint32(nil, protocol.MaxFrame))
	allocates(t, "frame", decoders["frame"], binary.BigEndian.AppendUint32(nil, 1<<32-1))
}

// allocates holds what decoding raw allocates to its bound.
func allocates(t *testing.T, name string, d decoder, raw []byte) {
	t.Helper()
	if got, over := alloc.Over(alloc.Most(len(raw)), func() { _, _ = d.again(raw) }); over {
		t.Errorf("%s: %d bytes allocated for %d", name, got, len(raw))
	}
}

func fuzz(f *testing.F, name string) {
	d := decoders[name]
	for _, seed := range d.seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if secondSpelling(d, raw) {
			t.Errorf("%x is read but not written again", raw)
		}
		allocates(t, name, d, raw)
	})
}

func FuzzReadAnnouncement(f *testing.F) { fuzz(f, "announcement") }
func FuzzOpen(f *testing.F)             { fuzz(f, "signed") }
func FuzzOpenDisclosure(f *testing.F)   { fuzz(f, "disclosure") }
func FuzzOpenChain(f *testing.F)        { fuzz(f, "chain") }
func FuzzReadLetter(f *testing.F)       { fuzz(f, "letter") }
func FuzzReadFrame(f *testing.F)        { fuzz(f, "frame") }
func FuzzOp(f *testing.F)               { fuzz(f, "op") }
func FuzzReply(f *testing.F)            { fuzz(f, "reply") }
func FuzzGenesis(f *testing.F)          { fuzz(f, "genesis") }
func FuzzDemand(f *testing.F)           { fuzz(f, "demand") }
func FuzzHello(f *testing.F)            { fuzz(f, "hello") }
func FuzzReceiptsOf(f *testing.F)       { fuzz(f, "told") }
func FuzzCapability(f *testing.F)       { fuzz(f, "capability") }
func FuzzPostKey(f *testing.F)          { fuzz(f, "post key") }
func FuzzPost(f *testing.F)             { fuzz(f, "post") }
