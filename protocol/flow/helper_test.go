package flow

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/harkmarket/hark/protocol"
)

const (
	t0      = protocol.Second(1000)    // messages are kept from here on
	lease   = protocol.Second(5000)    // end of the lease
	revoked = protocol.Second(8000)    // deadline in the Revocation
	ends    = protocol.Second(10_000)  // end of the grant, the request, the offer
	forever = protocol.Second(1 << 40) // later than every deadline
)

var duties = protocol.DefaultDuties

func id(name string) protocol.Hash { return sha256.Sum256([]byte(name)) }

// msg makes the message that is called name, in answer to the one called re.
func msg(k protocol.Kind, by protocol.Side, name, re string) Event {
	e := Event{Kind: k, ID: id(name), By: by, At: t0}
	if re != "" {
		e.Re = id(re)
	}
	switch k {
	case protocol.KindRequest, protocol.KindGrant, protocol.KindOffer, protocol.KindAnnouncement:
		e.Until = ends
	case protocol.KindDisclosure:
		e.Until = lease
	case protocol.KindRevocation, protocol.KindRight:
		e.Until = revoked
	}
	return e
}

func tick(at protocol.Second) Event { return Event{At: at} }

// The messages that most tests need, named after their kind.
var (
	request    = msg(protocol.KindRequest, protocol.Vendor, "request", "")
	grant      = msg(protocol.KindGrant, protocol.Customer, "grant", "request")
	counter    = msg(protocol.KindCounter, protocol.Customer, "counter", "request")
	refusal    = msg(protocol.KindRefusal, protocol.Customer, "refusal", "request")
	receipt    = msg(protocol.KindReceipt, protocol.Vendor, "receipt", "grant")
	disclosure = msg(protocol.KindDisclosure, protocol.Customer, "disclosure", "receipt")
	suspend    = msg(protocol.KindSuspend, protocol.Customer, "suspend", "")
	resume     = msg(protocol.KindResume, protocol.Customer, "resume", "suspend")
	revocation = msg(protocol.KindRevocation, protocol.Customer, "revocation", "grant")
	deletion   = msg(protocol.KindDeletion, protocol.Vendor, "deletion", "revocation")
	right      = msg(protocol.KindRight, protocol.Customer, "right", "")
	answer     = msg(protocol.KindAnswer, protocol.Vendor, "answer", "right")
	breach     = msg(protocol.KindBreach, protocol.Vendor, "breach", "")
	ack        = msg(protocol.KindAck, protocol.Vendor, "ack", "")

	offer   = msg(protocol.KindOffer, protocol.Vendor, "offer", "")
	accept  = msg(protocol.KindAccept, protocol.Customer, "accept", "offer")
	decline = msg(protocol.KindDecline, protocol.Customer, "decline", "offer")
	confirm = msg(protocol.KindConfirm, protocol.Vendor, "confirm", "accept")
	fulfil  = msg(protocol.KindFulfil, protocol.Vendor, "fulfil", "confirm")
	closing = msg(protocol.KindClose, protocol.Customer, "closing", "fulfil")
	cancelC = msg(protocol.KindCancel, protocol.Customer, "customer's cancel", "accept")
	cancelV = msg(protocol.KindCancel, protocol.Vendor, "vendor's cancel", "accept")
	tooLate = msg(protocol.KindCancel, protocol.Customer, "cancel after fulfil", "fulfil")
)

func announce(seq uint64, s protocol.Status) Event {
	e := msg(protocol.KindAnnouncement, protocol.Customer, fmt.Sprint("announcement ", seq, s), "")
	e.Seq, e.Status, e.Until = seq, s, ends+protocol.Second(seq)
	return e
}

// A machine is one of the three, as the tests drive it.
type machine[S any] struct {
	start func(protocol.Side) S
	next  func(S, Event) (S, []Act, error)
	view  func(S) string                                        // what must not depend on order
	watch func(before, after S, e Event, acts []Act) string     // what no step may do, "" if it did not
	may   func(S, protocol.Side, protocol.Kind) error           // nil: every move is made
	end   func(S) (final bool, due Due)                         //
	held  func(was bool, acts []Act, after S) (now, wrong bool) // follows what a vendor holds
}

var agreements = machine[Agreement]{
	start: func(s protocol.Side) Agreement { return NewAgreement(s, duties) },
	next:  NextAgreement,
	view: func(a Agreement) string {
		return fmt.Sprint(a.State, a.Final(), a.Due(duties), a.Parked(), a.Lease, a.Now)
	},
	watch: watchAgreement,
	may:   Agreement.May,
	end: func(a Agreement) (bool, Due) {
		return a.Final() || a.State == NoAgreement, a.Due(duties)
	},
	held: func(was bool, acts []Act, a Agreement) (now, wrong bool) {
		for _, act := range acts {
			was = act == HoldDisclosure || was && act != DeleteHeld
		}
		return was, was && a.State.Over()
	},
}

// watchAgreement names a step that no node may take.
func watchAgreement(before, after Agreement, _ Event, acts []Act) string {
	k := after.known()
	for _, a := range acts {
		switch {
		case a == SendDisclosure && (!k.receipted() || !after.State.Live() || after.State == Suspended):
			return fmt.Sprintf("%s while %s", a, after.State)
		case a == HoldDisclosure && (!k.receipted() || !after.State.Live()):
			return fmt.Sprintf("%s while %s", a, after.State)
		case a == SendReceipt && after.State != Granted, a == DeleteHeld && after.State.Live(), a == DestroyOfferKeys && after.State.Live():
			return fmt.Sprintf("%s while %s", a, after.State)
		case a == SendDeletion && (!k.receipted() || !after.State.Over()):
			return fmt.Sprintf("%s while %s", a, after.State)
		case after.Me == protocol.Customer && slices.Contains([]Act{SendReceipt, HoldDisclosure, DeleteHeld, SendDeletion, StopOffers}, a),
			after.Me == protocol.Vendor && slices.Contains([]Act{Decide, SendDisclosure, DestroyOfferKeys}, a):
			return fmt.Sprintf("the %s was told to %s", after.Me, a)
		}
	}
	if d := after.Due(duties); d.At != 0 && d.At <= after.Now {
		return fmt.Sprintf("due %d at tick %d", d.At, after.Now)
	}
	if was := before.known(); before.State.Over() && was.granted() && k.grant == was.grant && !after.State.Over() {
		return fmt.Sprintf("%s became %s again", before.State, after.State)
	}
	return ""
}

var deals = machine[Deal]{
	start: func(s protocol.Side) Deal { return Deal{Me: s} },
	next:  NextDeal,
	view:  func(d Deal) string { return fmt.Sprint(d.State, d.Due(duties), d.Heard, d.Now) },
	watch: func(_, after Deal, _ Event, acts []Act) string {
		if d := after.Due(duties); d.At != 0 && d.At <= after.Now {
			return fmt.Sprintf("due %d at tick %d", d.At, after.Now)
		}
		if slices.Contains(acts, ConfirmOrder) && (after.Me != protocol.Vendor || after.State != Accepted) {
			return "order confirmed while " + after.State.String()
		}
		return ""
	},
	may: Deal.May,
	end: func(d Deal) (bool, Due) { return d.Final() || d.State == NoDeal, d.Due(duties) },
}

var contexts = machine[Context]{
	start: func(protocol.Side) Context { return Context{Kind: protocol.ContextNeed} },
	next:  NextContext,
	view:  func(c Context) string { return fmt.Sprint(c.State, c.Seq, c.Expires, c.ID, c.Due(duties), c.Now) },
	watch: func(_, after Context, _ Event, acts []Act) string {
		if d := after.Due(duties); d.At != 0 && d.At <= after.Now {
			return fmt.Sprintf("due %d at tick %d", d.At, after.Now)
		}
		if slices.Contains(acts, SendWithdrawal) && after.State != ContextClosed {
			return "withdrawal while " + after.State.String()
		}
		return ""
	},
	may: Context.May,
	end: func(c Context) (bool, Due) { return c.State.Final() || c.State == Draft, c.Due(duties) },
}

// A point is one value that a machine can have, its bytes as stored, and whether
// its node holds what was disclosed.
type point[S any] struct {
	s    S
	raw  string
	held bool
}

func stored(v any) string {
	raw, err := cbor.Marshal(v)
	if err != nil {
		panic(err) // the machines are plain data
	}
	return string(raw)
}

// explore feeds a history in every order and with every repetition. It gives what
// the machine shows after each subset of the events, by bit mask, and the first
// fault that it found: two orders of the same events that show different states, a
// repeat that did something, an error, or a step that watch forbids.
func (m machine[S]) explore(side protocol.Side, history []Event) (views []string, fault string) {
	reached := make([]map[string]point[S], 1<<len(history))
	start := point[S]{s: m.start(side)}
	start.raw = stored(start.s)
	reached[0] = map[string]point[S]{start.raw: start}
	views = make([]string, len(reached))
	for mask := range reached {
		views[mask] = "unreached"
		for _, p := range reached[mask] {
			if v := m.view(p.s); views[mask] == "unreached" {
				views[mask] = v
			} else if v != views[mask] {
				return nil, fmt.Sprintf("%s: after %s in two orders:\n  %s\n  %s", side, show(history, mask), views[mask], v)
			}
			for i, e := range history {
				to, bad := m.step(p, e, mask&(1<<i) != 0)
				if bad != "" {
					return nil, fmt.Sprintf("%s: after %s then %s: %s", side, show(history, mask), show(history, 1<<i), bad)
				}
				next := mask | 1<<i
				if reached[next] == nil {
					reached[next] = map[string]point[S]{}
				}
				if next != mask {
					reached[next][fmt.Sprint(to.held, to.raw)] = to
				}
			}
		}
	}
	return views, ""
}

func (m machine[S]) step(p point[S], e Event, again bool) (point[S], string) {
	s, acts, err := m.next(p.s, e)
	to := point[S]{s: s, raw: stored(s)}
	switch {
	case err != nil:
		return p, err.Error()
	case stored(p.s) != p.raw:
		return p, "the value that was handed in changed"
	case again && (len(acts) > 0 || to.raw != p.raw):
		return p, fmt.Sprintf("a repeat changed something: %v", acts)
	}
	if m.held != nil {
		var wrong bool
		if to.held, wrong = m.held(p.held, acts, s); wrong {
			return p, "the agreement is over and the vendor still holds what was disclosed"
		}
	}
	if m.watch != nil {
		return to, m.watch(p.s, s, e, acts)
	}
	return to, ""
}

func show(history []Event, mask int) string {
	var names []string
	for i, e := range history {
		switch {
		case mask&(1<<i) == 0:
		case e.Kind == 0:
			names = append(names, fmt.Sprintf("tick %d", e.At))
		default:
			names = append(names, fmt.Sprintf("%s/%s", e.By, e.Kind))
		}
	}
	return "{" + strings.Join(names, ", ") + "}"
}

// check explores a history from both sides and compares them.
func (m machine[S]) check(history []Event) string {
	mine, fault := m.explore(protocol.Customer, history)
	if fault != "" {
		return fault
	}
	theirs, fault := m.explore(protocol.Vendor, history)
	if fault != "" {
		return fault
	}
	for mask := range mine {
		if mine[mask] != theirs[mask] {
			return fmt.Sprintf("after %s the sides differ:\n  %s\n  %s", show(history, mask), mine[mask], theirs[mask])
		}
	}
	return ""
}

// legal lists every set of at most n of the given events (named after what they do)
// in which each was a move that its side might make, in the light of all before it
// or of all but the other side's latest, which was still under way. Ticks may come
// at any point. Sets are given once, whatever the order in which they came about.
func (m machine[S]) legal(n int, events []Event) [][]Event {
	var found [][]Event
	seen := map[uint64]bool{}
	var grow func(mask uint64, history []Event)
	grow = func(mask uint64, history []Event) {
		if seen[mask] {
			return
		}
		seen[mask] = true
		if len(history) > 0 {
			found = append(found, slices.Clone(history))
		}
		if len(history) == n {
			return
		}
		for i, e := range events {
			if mask&(1<<i) == 0 && m.allowed(history, e) {
				grow(mask|1<<i, append(slices.Clip(history), e))
			}
		}
	}
	grow(0, nil)
	return found
}

func (m machine[S]) allowed(history []Event, e Event) bool {
	if e.Kind == 0 {
		return len(history) > 0
	}
	late := len(history) - 1 // the other side's latest message
	for late >= 0 && (history[late].Kind == 0 || history[late].By == e.By) {
		late--
	}
	for _, skip := range []int{-1, late} {
		s := m.start(e.By)
		for i, h := range history {
			if i != skip {
				s, _, _ = m.next(s, h)
			}
		}
		answers := e.Re.IsZero() || slices.ContainsFunc(history, func(h Event) bool { return h.ID == e.Re })
		if answers && m.may(s, e.By, e.Kind) == nil {
			return true
		}
	}
	return false
}
