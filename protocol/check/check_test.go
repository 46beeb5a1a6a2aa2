package check

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// A question is one rule of the door: what breaks it, and what is to come of that.
// The questions stand in the door's order.
type question struct {
	name    string
	verdict Verdict
	reason  Reason
	a       func(*protocol.Announcement)                                        // before it is signed
	raw     func([]byte) []byte                                                 // after
	world   func(*Door, *memory, *protocol.Announcement, []byte, *int, *string) // around it
}

func forged(raw []byte, do func(*seal.Envelope)) []byte {
	e, err := seal.ParseEnvelope(bytes.Clone(raw))
	if err != nil {
		panic(err)
	}
	do(&e)
	return e.Marshal()
}

// resigned gives a payload that no honest program signs its signature.
func resigned(raw []byte, do func(payload []byte) []byte) []byte {
	e, err := seal.ParseEnvelope(bytes.Clone(raw))
	if err != nil {
		panic(err)
	}
	return seal.SignEnvelope(contextKey, protocol.KindAnnouncement.Domain(), do(e.Payload))
}

var questions = []question{
	{name: "size", verdict: Blame, reason: Size, raw: func(raw []byte) []byte { return append(raw, make([]byte, protocol.MaxAnnouncement)...) }},
	{name: "encoding", verdict: Blame, reason: Encoding, raw: func(raw []byte) []byte { return append(raw, 0) }},
	{name: "rule of the noun", verdict: Blame, reason: Encoding, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte { return bytes.Replace(p, []byte("home.furniture"), []byte("Home.furniture"), 1) })
	}},
	{name: "version", verdict: Ignore, reason: Version, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte { p[2]++; return p })
	}},
	{name: "newer domain", verdict: Ignore, reason: Version, raw: func(raw []byte) []byte {
		return forged(raw, func(e *seal.Envelope) { e.Type = []byte("hark/2/announcement") })
	}},
	{name: "critical key", verdict: Ignore, reason: Version, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte { return insert(p, "\x18\x1c\x01") })
	}},
	{name: "status", verdict: Ignore, reason: Version, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte {
			return bytes.Replace(p, []byte("\x10\x01\x11\x01\x12"), []byte("\x10\x03\x11\x01\x12"), 1)
		})
	}},
	{name: "study", verdict: Ignore, reason: Version, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte {
			return bytes.Replace(p, []byte("\x10\x01\x11\x01\x12"), []byte("\x10\x01\x11\x04\x12"), 1)
		})
	}},
	{name: "net", verdict: Ignore, reason: Net, a: func(a *protocol.Announcement) { a.Net = hash("other") }},
	{name: "shard", verdict: Blame, reason: Shard, world: func(_ *Door, _ *memory, _ *protocol.Announcement, _ []byte, topic *int, _ *string) {
		*topic = (*topic + 1) % 16
	}},
	{name: "early", verdict: Ignore, reason: Early, a: func(a *protocol.Announcement) {
		a.Created = testNow + protocol.MaxAnnounceIn + 1
		a.Expires = a.Created + protocol.Day
	}},
	{name: "expired", verdict: Ignore, reason: Expired, a: func(a *protocol.Announcement) { a.Created, a.Expires = testNow-protocol.Day, testNow }},
	{name: "life", verdict: Blame, reason: Life, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte { // a year later, in place
			end := uint32(testNow + 14*protocol.Day)
			return bytes.Replace(p, u32(end), u32(end+365*86400), 1)
		})
	}},
	{name: "seen", verdict: Ignore, reason: Seen, world: func(_ *Door, m *memory, _ *protocol.Announcement, raw []byte, _ *int, _ *string) {
		m.seen[wire.ID(raw)] = true
	}},
	{name: "precedence: seq", verdict: Ignore, reason: Precedence, world: func(_ *Door, m *memory, a *protocol.Announcement, _ []byte, _ *int, _ *string) {
		m.know(protocol.ContextID(a.Context), protocol.Open, a.Seq+1, protocol.Hash{})
	}},
	{name: "precedence: hash", verdict: Ignore, reason: Precedence, world: func(_ *Door, m *memory, a *protocol.Announcement, _ []byte, _ *int, _ *string) {
		m.know(protocol.ContextID(a.Context), a.Status, a.Seq, protocol.Hash{})
	}},
	{name: "precedence: withdrawn", verdict: Ignore, reason: Precedence, world: func(_ *Door, m *memory, a *protocol.Announcement, _ []byte, _ *int, _ *string) {
		m.know(protocol.ContextID(a.Context), protocol.Withdrawn, 0, protocol.Hash{})
	}},
	{name: "admission: too cheap", verdict: Blame, reason: Admission, world: func(d *Door, _ *memory, _ *protocol.Announcement, _ []byte, _ *int, _ *string) {
		d.Lanes = []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: testEffort + 1}}
	}},
	{name: "admission: lane not open", verdict: Ignore, reason: Admission, world: func(d *Door, _ *memory, _ *protocol.Announcement, _ []byte, _ *int, _ *string) {
		d.Lanes = []protocol.LaneRule{{Lane: protocol.LaneNone}}
	}},
	{name: "admission: work not done", verdict: Blame, reason: Admission, raw: func(raw []byte) []byte {
		return resigned(raw, func(p []byte) []byte { return bytes.Replace(p, []byte("contact.hours"), []byte("contact.hourz"), 1) })
	}},
	{name: "signature", verdict: Blame, reason: Signature, raw: func(raw []byte) []byte {
		return forged(raw, func(e *seal.Envelope) { e.Signature[40] ^= 1 })
	}},
	{name: "budget", verdict: Ignore, reason: Budget, world: func(d *Door, _ *memory, _ *protocol.Announcement, _ []byte, _ *int, from *string) {
		*from = "greedy"
	}},
}

func (m *memory) know(c protocol.ContextID, status protocol.Status, seq uint64, id protocol.Hash) {
	m.stands[c] = &protocol.Announcement{Header: protocol.Header{Seq: seq, Created: testNow}, Status: status}
	m.ids[c] = id
}

// u32 is a date as it stands in a payload.
func u32(n uint32) []byte { return []byte{0x1a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

// insert puts one pair before that of key 127, where it belongs.
func insert(payload []byte, pair string) []byte {
	at := bytes.LastIndex(payload, []byte("\x18\x7f"))
	out := append([]byte{payload[0], payload[1] + 1}, payload[2:at]...) // the head has two bytes: 24 pairs or more
	if payload[0] != 0xb8 {
		out = append([]byte{payload[0] + 1}, payload[1:at]...)
		if payload[0] == 0xb7 {
			out = append([]byte{0xb8, 24}, payload[1:at]...)
		}
	}
	return append(append(out, pair...), payload[at:]...)
}

type ruling func(d *Door, raw []byte, topic int, from string) (wire.Heard, Verdict, Reason)

func byDoor(d *Door, raw []byte, topic int, from string) (wire.Heard, Verdict, Reason) {
	return d.Announcement(raw, topic, from, testNow)
}

// ask breaks the given questions at once and tells what is wrong with the ruling:
// the first question broken decides, and nothing was written.
func ask(t *testing.T, rule ruling, broken ...question) (wrong string) {
	t.Helper()
	d, m := door()
	d.Budget = func(from string) bool { return from != "greedy" }
	a := announcement(t)
	for _, q := range broken {
		if q.a != nil {
			q.a(a)
		}
	}
	raw := signed(t, a, testEffort)
	for _, q := range slices.Backward(broken) {
		if q.raw != nil {
			raw = q.raw(raw)
		}
	}
	topic, from := int(wire.Shard(a.Category, a.Region, d.Shards)), "peer"
	for _, q := range broken {
		if q.world != nil {
			q.world(d, m, a, raw, &topic, &from)
		}
	}
	before := fmt.Sprint(m.seen, m.stands, m.ids)
	h, v, r := rule(d, bytes.Clone(raw), topic, from)
	if after := fmt.Sprint(m.seen, m.stands, m.ids); after != before {
		return "the memory was written"
	}
	want, why := Pass, OK
	if len(broken) > 0 {
		want, why = broken[0].verdict, broken[0].reason
	}
	if v != want || r != why || h.IsZero() != (v != Pass) {
		return fmt.Sprintf("%s for %s", v, r)
	}
	return ""
}

// without is a door with one rule switched off: it is told what the rule would look at as
// if that were in order.
func without(off Reason) ruling {
	return func(d *Door, raw []byte, topic int, from string) (wire.Heard, Verdict, Reason) {
		lame, now := *d, testNow
		lame.Memory = blind{d.Memory, off}
		draft, err := wire.ReadAnnouncement(raw)
		switch {
		case off == Shard:
			topic = -1
		case off == Budget:
			lame.Budget = nil
		case off == Admission:
			lame.Lanes = []protocol.LaneRule{{Lane: protocol.LaneNone}, {Lane: protocol.LaneWork}}
		case off == Size:
			raw = raw[:min(len(raw), protocol.MaxAnnouncement)]
		case off == Encoding && errors.Is(err, fault.Malformed) && len(raw) <= protocol.MaxAnnouncement:
			raw = raw[:len(raw)-1] // what follows the envelope
		case off == Version && err != nil:
			raw = rewritten(raw, func(p []byte) []byte { return append([]byte{p[0], p[1], protocol.Version}, p[3:]...) })
		case err != nil:
		case off == Net:
			lame.Net = draft.A().Net
		case off == Early:
			now = max(now, draft.A().Created)
		case off == Expired:
			now = min(now, draft.A().Expires-1)
		case off == Life && draft.Lives() != nil:
			end := uint32(testNow + 14*protocol.Day)
			raw = rewritten(raw, func(p []byte) []byte { return bytes.Replace(p, u32(end+365*86400), u32(end), 1) })
		case off == Signature:
			raw = rewritten(raw, func(p []byte) []byte { return p })
		}
		return lame.Announcement(raw, topic, from, now)
	}
}

// rewritten changes and signs what can be read so far; the rest stays as it is.
func rewritten(raw []byte, do func(payload []byte) []byte) []byte {
	if _, err := seal.ParseEnvelope(bytes.Clone(raw)); err != nil {
		return raw
	}
	return resigned(raw, do)
}

// A blind memory does not know what one question asks for.
type blind struct {
	Memory
	off Reason
}

func (b blind) Seen(id protocol.Hash) bool { return b.off != Seen && b.Memory.Seen(id) }

func (b blind) Precedence(c protocol.ContextID) (seq uint64, status protocol.Status, id protocol.Hash, ok bool) {
	if b.off == Precedence {
		return 0, 0, protocol.Hash{}, false
	}
	return b.Memory.Precedence(c)
}

func TestMust_door(t *testing.T) {
	// A door with a rule switched off is found by these very questions, and by those about
	// that rule alone.
	planted := 0
	for _, off := range Reasons()[1:] {
		found := false
		for _, q := range questions {
			wrong := ask(t, without(off), q)
			found = found || wrong != "" && q.reason == off
			if wrong != "" && q.reason != off {
				t.Errorf("a door without %s answers %s otherwise: %s", off, q.name, wrong)
			}
		}
		if !found {
			t.Fatalf("a door without %s was not found", off)
		}
		planted++
	}
	if wrong := ask(t, byDoor); wrong != "" {
		t.Fatalf("a good announcement: %s", wrong)
	}
	asked := map[Reason]bool{OK: true}
	for _, q := range questions {
		asked[q.reason] = true
		if wrong := ask(t, byDoor, q); wrong != "" {
			t.Errorf("%s: %s", q.name, wrong)
		}
	}
	for _, r := range Reasons() {
		if !asked[r] {
			t.Errorf("no case for %s", r)
		}
	}
	t.Logf("%d questions of %d rules; each rule switched off is found", len(questions), planted)
}

// Of two broken rules the cheaper one decides.
func TestCheaperQuestionWins(t *testing.T) {
	rank := func(q question) int { return slices.Index(Reasons(), q.reason) }
	cannot := map[string]bool{ // pairs whose causes undo each other in the same bytes
		"early+expired": true, "early+life": true, "expired+life": true,
	}
	n := 0
	for i, first := range questions {
		for _, second := range questions[i+1:] {
			if rank(first) == rank(second) || first.raw != nil && second.raw != nil || cannot[first.name+"+"+second.name] {
				continue
			}
			if wrong := ask(t, byDoor, first, second); wrong != "" {
				t.Errorf("%s and %s: %s", first.name, second.name, wrong)
			}
			n++
		}
	}
	if n < 60 {
		t.Errorf("only %d pairs were tried", n)
	}
}

// What a newer program adds for those who may leave it unread passes through.
func TestIgnorableKeysPass(t *testing.T) {
	d, m := door()
	d.Lanes = []protocol.LaneRule{{}}
	a := announcement(t)
	a.Kind, a.Context = protocol.KindAnnouncement, protocol.Hash(contextKey.Public())
	x := protocol.Extra("\x18\x80\x63new\x19\x01\x2c\x82\x00\xa1\x18\xff\x01")
	raw, err := wire.SignExtra(contextKey, a, x)
	if err != nil {
		t.Fatal(err)
	}
	m.asked = 0
	h, v, r := d.Announcement(raw, -1, "peer", testNow)
	if v != Pass || !bytes.Equal(h.Raw(), raw) || !bytes.Equal(h.Extra(), x) || m.asked != 2 {
		t.Errorf("%s for %s; memory asked %d times", v, r, m.asked)
	}
}

func TestFreeOfWork(t *testing.T) {
	for name, c := range map[string]struct {
		known   protocol.Status // 0: nothing
		a       func(*protocol.Announcement)
		verdict Verdict
		reason  Reason
	}{
		"first":                 {0, func(*protocol.Announcement) {}, Blame, Admission},
		"withdrawal of known":   {protocol.Open, withdraw, Pass, OK},
		"withdrawal of unknown": {0, withdraw, Ignore, Admission},
		"renewal in time":       {protocol.Open, func(a *protocol.Announcement) { renew(a, RenewalFree) }, Pass, OK},
		"renewal too soon":      {protocol.Open, func(a *protocol.Announcement) { renew(a, RenewalFree-1) }, Ignore, Admission},
		"renewal of unknown":    {0, func(a *protocol.Announcement) { renew(a, RenewalFree) }, Ignore, Admission},
		"renewal of withdrawn":  {protocol.Withdrawn, func(a *protocol.Announcement) { renew(a, RenewalFree) }, Ignore, Precedence},
		"withdrawn again":       {protocol.Withdrawn, withdraw, Pass, OK},
	} {
		d, m := door()
		a := announcement(t)
		a.Created = testNow - protocol.Day
		if c.known != 0 {
			m.know(contextKey.Public(), c.known, 1, hash("known"))
			m.stands[contextKey.Public()].Created = a.Created
		}
		a.Expires = a.Created + 10*protocol.Day
		c.a(a)
		if _, v, r := d.Announcement(signed(t, a, 0), -1, "peer", testNow); v != c.verdict || r != c.reason {
			t.Errorf("%s: %s for %s", name, v, r)
		}
	}
	// A stamp that stands there must be good, even where none was needed.
	d, m := door()
	m.know(contextKey.Public(), protocol.Open, 1, hash("known"))
	m.stands[contextKey.Public()].Created = testNow - protocol.Day
	a := announcement(t)
	a.Seq = 2
	if _, v, r := d.Announcement(signed(t, a, testEffort-1), -1, "peer", testNow); v != Blame || r != Admission {
		t.Errorf("%s for %s", v, r)
	}
}

func withdraw(a *protocol.Announcement) {
	h := a.Header
	h.Seq++
	*a = protocol.Announcement{Header: h, Status: protocol.Withdrawn, Reason: a.Reason, Category: a.Category, Region: a.Region}
}

func renew(a *protocol.Announcement, after protocol.Second) {
	a.Seq++
	a.Created += after
}

func TestBefore(t *testing.T) {
	low, high := protocol.Hash{1}, protocol.Hash{2}
	type one struct {
		s  protocol.Status
		n  uint64
		id protocol.Hash
	}
	order := []one{{protocol.Withdrawn, 5, low}, {protocol.Withdrawn, 5, high}, {protocol.Withdrawn, 1, low}, {protocol.Open, 9, low}, {protocol.Open, 9, high}, {protocol.Open, 8, low}}
	for i, a := range order {
		for j, b := range order {
			if Before(a.s, a.n, a.id, b.s, b.n, b.id) != (i < j) {
				t.Errorf("%v before %v", a, b)
			}
		}
	}
	for v, s := range map[Verdict]string{Pass: "pass", Ignore: "ignore", Blame: "blame"} {
		if v.String() != s {
			t.Error(v)
		}
	}
}

// What came another way between the questions of a door is seen, and no later version
// of itself.
func TestAnAnnouncementThatComesWhileItIsJudged(t *testing.T) {
	d, m := door()
	a := announcement(t)
	raw := signed(t, a, testEffort)
	m.know(protocol.ContextID(a.Context), a.Status, a.Seq, wire.ID(raw))
	if _, verdict, why := d.Announcement(raw, -1, "", testNow); verdict != Ignore || why != Seen {
		t.Errorf("%v for %s", verdict, why)
	}
}
