package flow

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol"
)

// at gives an event under another id and moment.
func at(e Event, name string, t protocol.Second) Event {
	e.ID, e.At = id(name), t
	return e
}

// The events from which legal histories are made.
var (
	agreementEvents = []Event{
		request, grant, counter, refusal, receipt, disclosure,
		at(disclosure, "second disclosure", t0+1), suspend, resume, revocation,
		at(deletion, "deletion", t0+2), right, answer,
		tick(lease), tick(ends), tick(forever),
	}
	dealEvents    = []Event{offer, accept, decline, confirm, fulfil, closing, cancelC, cancelV, tooLate, tick(ends), tick(forever)}
	contextEvents = []Event{
		announce(1, protocol.Open), announce(2, protocol.Open), announce(3, protocol.Open), announce(4, protocol.Withdrawn),
		suspendC, resumeC, closeC, tick(ends), tick(ends + 1), tick(forever),
	}
	suspendC = msg(protocol.KindSuspend, protocol.Customer, "pause", "")
	resumeC  = msg(protocol.KindResume, protocol.Customer, "go on", "pause")
	closeC   = msg(protocol.KindClose, protocol.Customer, "close", "")
)

// Histories that only several devices of one customer, or a careless side, bring
// about; the rules for conflicts decide them.
var (
	started  = msg(protocol.KindGrant, protocol.Customer, "grant that she starts", "")
	grant2   = msg(protocol.KindGrant, protocol.Customer, "second grant", "request")
	receipt2 = msg(protocol.KindReceipt, protocol.Vendor, "second receipt", "second grant")
	rivalled = [][]Event{
		{started, msg(protocol.KindReceipt, protocol.Vendor, "r", "grant that she starts"), disclosure, revocation, deletion, tick(forever)},
		{request, grant, grant2, receipt, disclosure, tick(lease)},
		{request, grant, grant2, receipt, receipt2, revocation},
		{request, grant, grant2, receipt2, revocation, deletion},
		{request, refusal, counter, grant, receipt, tick(ends)},
		{request, grant, receipt, revocation, at(revocation, "second revocation", t0), deletion},
		{request, grant, receipt, deletion, at(deletion, "second deletion", t0), tick(forever)},
		{grant, receipt, disclosure, revocation, deletion, tick(forever)}, // the request never came
		{request, at(request, "again", t0), grant, receipt, revocation, tick(ends)},
		{request, grant, receipt, suspend, at(suspend, "second suspend", t0), resume},
	}
	rivalDeals = [][]Event{
		{offer, decline, accept, confirm, fulfil, closing},
		{offer, accept, decline, cancelC, cancelV, confirm},
		{offer, accept, confirm, fulfil, tooLate, closing},
		{offer, accept, fulfil, cancelV, cancelC, tick(forever)},
		{accept, confirm, fulfil, closing, cancelC, tick(forever)}, // the offer never came
		{offer, accept, at(accept, "second accept", t0), confirm, at(confirm, "second confirm", t0), fulfil},
	}
)

func run[S any](t *testing.T, m machine[S], histories [][]Event) {
	t.Helper()
	most := 0
	for _, h := range histories {
		most = max(most, len(h))
		if fault := m.check(h); fault != "" {
			t.Fatal(fault)
		}
	}
	t.Logf("%d histories of up to %d events, each in every order and with every repetition", len(histories), most)
	if len(histories) < 20 || most < 6 {
		t.Errorf("only %d histories of up to %d events were tried", len(histories), most)
	}
}

// What a machine shows depends on what it was told, not on the order or on how
// often; and both sides show the same.
func TestMust_any_order(t *testing.T) {
	t.Run("the check finds a planted violation", planted)
	t.Run("agreement", func(t *testing.T) {
		run(t, agreements, append(agreements.legal(6, agreementEvents), rivalled...))
	})
	t.Run("deal", func(t *testing.T) { run(t, deals, append(deals.legal(6, dealEvents), rivalDeals...)) })
	t.Run("context", func(t *testing.T) { run(t, contexts, contexts.legal(6, contextEvents)) })
}

// planted shows that the check sees what it must: machines that forget early
// events, let the latest move win, act twice on a repeat, let the sides differ,
// or change the value that they were given.
func planted(t *testing.T) {
	history := []Event{request, grant, receipt, disclosure, revocation, deletion}
	if fault := agreements.check(history); fault != "" {
		t.Fatalf("the sound machine: %s", fault)
	}
	for name, bad := range map[string]struct {
		want string
		next func(Agreement, Event) (Agreement, []Act, error)
	}{
		"forgets early events": {"in two orders|a repeat changed something", func(a Agreement, e Event) (Agreement, []Act, error) {
			if n, acts, err := NextAgreement(a, e); n.Parked() == 0 {
				return n, acts, err
			}
			return a, nil, nil
		}},
		"the latest move wins": {"in two orders|a repeat changed something", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if e.Kind == protocol.KindSuspend || e.Kind == protocol.KindRevocation {
				n.Lease = e.At + protocol.Second(len(n.Heard))
			}
			return n, acts, err
		}},
		"acts on a repeat": {"a repeat changed something", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if e.Kind == protocol.KindRevocation {
				acts = append(acts, RecordExpiry)
			}
			return n, acts, err
		}},
		"sides differ": {"the sides differ", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if a.Me == protocol.Vendor && n.State == Deleted {
				n.State = Revoked
			}
			return n, acts, err
		}},
		"changes its argument": {"was handed in changed", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if len(a.Heard) > 0 {
				a.Heard[0].Until++
			}
			return n, acts, err
		}},
		"discloses without a receipt": {"send disclosure while", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if n.Me == protocol.Customer && n.State == Granted && a.State != Granted {
				acts = append(acts, SendDisclosure)
			}
			return n, acts, err
		}},
		"keeps what it must delete": {"still holds", func(a Agreement, e Event) (Agreement, []Act, error) {
			n, acts, err := NextAgreement(a, e)
			if len(acts) > 0 && e.Kind == protocol.KindRevocation {
				acts = acts[:1]
			}
			return n, acts, err
		}},
	} {
		m := agreements
		m.next = bad.next
		got := m.check(history) // which of its faults it meets first is chance
		if !slices.ContainsFunc(strings.Split(bad.want, "|"), func(want string) bool { return strings.Contains(got, want) }) {
			t.Errorf("a machine that %s: the check says %q, want %q", name, got, bad.want)
		}
	}
	naive := deals
	naive.next = func(d Deal, e Event) (Deal, []Act, error) { // the state is the latest step
		d.State = map[protocol.Kind]DealState{protocol.KindOffer: Offered, protocol.KindAccept: Accepted, protocol.KindCancel: Cancelled}[e.Kind]
		return d, nil, nil
	}
	if got := naive.check([]Event{offer, accept, cancelC}); got == "" {
		t.Error("the check does not see a deal in which the latest step wins")
	}
}

// anyHistory draws a history, rivals among it.
func anyHistory(t *rapid.T, all [][]Event) []Event { return rapid.SampledFrom(all).Draw(t, "history") }

// deliver feeds a random part of a history, in random order, with repeats.
func deliver[S any](t *rapid.T, m machine[S], side protocol.Side, history []Event, mask int) S {
	var part []Event
	for i, e := range history {
		if mask&(1<<i) != 0 {
			part = append(part, e)
		}
	}
	order := rapid.Permutation(part).Draw(t, "order")
	if len(part) > 0 {
		order = append(order, rapid.SliceOfN(rapid.SampledFrom(part), 0, 4).Draw(t, "repeats")...)
	}
	s, err := m.start(side), error(nil)
	for i, e := range order {
		if e.Kind != 0 {
			e.At += protocol.Second(i) // the two nodes keep it at different moments
		}
		if s, _, err = m.next(s, e); err != nil {
			t.Fatalf("%v: %v", e, err)
		}
	}
	return s
}

// property: the same part of a history gives both sides the same view of it but for
// the moments; and with parts lost, each has ended once all dates are past.
func property[S any](m machine[S], all [][]Event, state func(S) string) func(*rapid.T) {
	return func(t *rapid.T) {
		h := anyHistory(t, all)
		full := 1<<len(h) - 1
		mine, theirs := rapid.IntRange(0, full).Draw(t, "hers"), rapid.IntRange(0, full).Draw(t, "its")
		a, b := deliver(t, m, protocol.Customer, h, mine), deliver(t, m, protocol.Vendor, h, mine)
		if state(a) != state(b) {
			t.Fatalf("after the same %s: %s and %s", show(h, mine), state(a), state(b))
		}
		c := deliver(t, m, protocol.Vendor, h, theirs)
		for _, s := range []S{a, b, c} {
			if final, due := m.end(s); !final && due.At == 0 {
				t.Fatalf("neither ended nor anything due: %v", s)
			}
			s, _, err := m.next(s, tick(2*forever))
			if err != nil {
				t.Fatal(err)
			}
			if final, due := m.end(s); !final {
				t.Fatalf("all dates are past and it has not ended: %v, due %v", s, due)
			}
		}
		a, _, _ = m.next(a, tick(2*forever))
		b, _, _ = m.next(b, tick(2*forever))
		if state(a) != state(b) {
			t.Fatalf("after the same %s and a last tick: %s and %s", show(h, mine), state(a), state(b))
		}
	}
}

func TestAnyOrderAndLossLeavesAWayOut(t *testing.T) {
	t.Run("agreement", func(t *testing.T) {
		all := append(agreements.legal(6, agreementEvents), rivalled...)
		rapid.Check(t, property(agreements, all, func(a Agreement) string { return a.State.String() }))
	})
	t.Run("deal", func(t *testing.T) {
		all := append(deals.legal(6, dealEvents), rivalDeals...)
		rapid.Check(t, property(deals, all, func(d Deal) string { return d.State.String() }))
	})
	t.Run("context", func(t *testing.T) {
		all := contexts.legal(6, contextEvents)
		rapid.Check(t, property(contexts, all, func(c Context) string { return fmt.Sprint(c.State, c.Seq) }))
	})
}

// events turns bytes into events over a small world of ids, most of them nonsense.
func events(data []byte, kinds []protocol.Kind) []Event {
	var list []Event
	for ; len(data) >= 4 && len(list) < 160; data = data[4:] {
		e := Event{
			Kind: kinds[int(data[0])%len(kinds)], By: protocol.Side(data[1] & 3),
			ID: protocol.Hash{data[2] & 63}, Re: protocol.Hash{data[3] & 63},
			At: protocol.Second(len(list)) * 40, Until: protocol.Second(data[1]>>2) << (data[3] >> 2),
			Seq: uint64(data[2] & 7), Status: protocol.Status(data[3] & 3),
		}
		if e.Kind == 0 {
			e = tick(e.Until)
		}
		list = append(list, e)
	}
	return list
}

// chaos feeds anything: nothing panics, bounds hold, a refusal changes nothing.
func chaos[S any](t *testing.T, m machine[S], side protocol.Side, list []Event, size func(S) int) {
	s := m.start(side)
	for _, e := range list {
		n, acts, err := m.next(s, e)
		if err != nil && (len(acts) > 0 || stored(n) != stored(s)) {
			t.Fatalf("refused %v, and yet %v became %v with %v", e, s, n, acts)
		}
		if size(n) > 0 {
			t.Fatalf("%d too many after %v: %v", size(n), e, n)
		}
		if _, due := m.end(n); due.At != 0 && e.Kind == 0 && due.At <= e.At {
			t.Fatalf("tick %d left something due at %d: %v", e.At, due.At, n)
		}
		s = n
	}
	s, _, _ = m.next(s, tick(1<<64-1))
	if final, due := m.end(s); !final {
		t.Fatalf("at the end of time it has not ended: %v due %v", s, due)
	}
}

func FuzzMachines(f *testing.F) {
	f.Add([]byte("\x02\x02\x01\x00\x03\x7d\x02\x01\x06\x02\x03\x02\x07\x05\x04\x03"))
	f.Add([]byte{8, 254, 1, 0, 9, 1, 2, 1, 11, 2, 3, 2, 0, 60, 0, 255})
	flood := make([]byte, 0, 640)
	for i := range 160 {
		flood = append(flood, byte(i), byte(i%3)|0xf4, byte(i*7), byte(i*5)|0x40)
	}
	f.Add(flood)
	var kinds []protocol.Kind
	for k := range protocol.Kind(30) {
		kinds = append(kinds, k)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list := events(data, kinds)
		for _, side := range []protocol.Side{0, protocol.Customer, protocol.Vendor} {
			chaos(t, agreements, side, list, func(a Agreement) int {
				return max(len(a.Heard)-3*rivals-4, len(a.Handed)-maxHanded, len(a.Pauses)-maxPauses,
					len(a.Rights)-maxRights, len(a.Lapses)-maxLapses, bits.Len32(a.Done)-int(AskClose)-1)
			})
			chaos(t, deals, side, list, func(d Deal) int { return len(d.Heard) - rivals - 6 })
			chaos(t, contexts, side, list, func(c Context) int { return len(c.Pauses) - maxPauses })
		}
	})
}
