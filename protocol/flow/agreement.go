package flow

import (
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// An AgreementState is where an agreement stands.
type AgreementState uint8

// The states of an agreement.
const (
	NoAgreement       AgreementState = 0 // nothing is known that counts by itself
	Requested         AgreementState = 1
	Countered         AgreementState = 2
	Refused           AgreementState = 3
	Granted           AgreementState = 4
	Receipted         AgreementState = 5
	Disclosed         AgreementState = 6
	Suspended         AgreementState = 7
	Revoked           AgreementState = 8
	Expired           AgreementState = 9
	Deleted           AgreementState = 10
	Lapsed            AgreementState = 11 // the Deletion that was owed did not come in time
	agreementStateEnd                = 12
)

var agreementNames = [agreementStateEnd]string{"none", "requested", "countered", "refused", "granted", "receipted",
	"disclosed", "suspended", "revoked", "expired", "deleted", "lapsed"}

// AgreementStates are their names.
func AgreementStates() []string { return append([]string{}, agreementNames[:]...) }

func (s AgreementState) String() string { return name(agreementNames[:], int(s)) }

// Final reports whether nobody has to do anything and no time limit runs, whatever
// else is known. Revoked and expired are final only without a Receipt, which
// Agreement.Final knows.
func (s AgreementState) Final() bool {
	return s == Countered || s == Refused || s == Deleted || s == Lapsed
}

// Live reports whether the grant is in force, suspended or not.
func (s AgreementState) Live() bool { return s >= Granted && s <= Suspended }

// Over reports whether a grant was in force and is not any more, or a request
// expired unanswered.
func (s AgreementState) Over() bool { return s >= Revoked && s < agreementStateEnd }

// A Right is a right that was exercised, with its own deadline.
type Right struct {
	ID       protocol.Hash   `cbor:"1,keyasint,omitzero"`
	Deadline protocol.Second `cbor:"2,keyasint,omitempty"` // 0: the Answer came before the Right
	Answered bool            `cbor:"3,keyasint,omitempty"`
	Lapsed   bool            `cbor:"4,keyasint,omitempty"` // stays, also when answered later
}

func (r Right) open() bool { return r.Deadline > 0 && !r.Answered && !r.Lapsed }

// A Lapse is a promise that was not kept in time.
type Lapse struct {
	Owed protocol.Kind   `cbor:"1,keyasint,omitempty"` // Deletion or Answer
	Re   protocol.Hash   `cbor:"2,keyasint,omitzero"`  // the Revocation, the Grant that expired, or the Right
	Due  protocol.Second `cbor:"3,keyasint,omitempty"`
}

// Bounds of an Agreement.
const (
	maxHanded = 8  // ids of disclosures that are remembered; older ones may be given again
	maxRights = 32 // answered ones make room
	maxLapses = 32 // the newest; the ledger has them all
)

// An Agreement is the state of what one vendor may have within one context, on
// either side's node. NewAgreement makes one.
type Agreement struct {
	Me        protocol.Side   `cbor:"1,keyasint,omitempty"`
	State     AgreementState  `cbor:"2,keyasint,omitempty"`
	Duties    protocol.Duties `cbor:"3,keyasint,omitzero"`
	Now       protocol.Second `cbor:"4,keyasint,omitempty"`  // the latest tick
	Heard     []Event         `cbor:"5,keyasint,omitempty"`  // what made it, in order of kind and id; early ones wait here
	Handed    []protocol.Hash `cbor:"6,keyasint,omitempty"`  // the latest Disclosures
	Lease     protocol.Second `cbor:"7,keyasint,omitempty"`  // end of the longest lease
	LeaseOver protocol.Second `cbor:"8,keyasint,omitempty"`  // end of the lease whose end was acted on
	Pauses    []Pause         `cbor:"9,keyasint,omitempty"`  //
	Rights    []Right         `cbor:"10,keyasint,omitempty"` //
	Lapses    []Lapse         `cbor:"11,keyasint,omitempty"` // in the order in which they were seen here
	Done      uint32          `cbor:"12,keyasint,omitempty"` // acts that come but once and were given, by number
}

// NewAgreement gives the agreement of which nothing is known yet. The deadlines d
// stand in the genesis document; an agreement keeps those that it began under.
func NewAgreement(me protocol.Side, d protocol.Duties) Agreement { return Agreement{Me: me, Duties: d} }

var (
	whileLive      = []AgreementState{Granted, Receipted, Disclosed, Suspended}
	whileReceipted = []AgreementState{Receipted, Disclosed}
	sinceReceipt   = []AgreementState{Receipted, Disclosed, Suspended, Revoked, Expired, Deleted, Lapsed}
)

var agreementMoves = map[protocol.Kind]move[AgreementState]{
	protocol.KindRequest:    {protocol.Vendor, []AgreementState{NoAgreement}},
	protocol.KindGrant:      {protocol.Customer, []AgreementState{NoAgreement, Requested}},
	protocol.KindCounter:    {protocol.Customer, []AgreementState{Requested}},
	protocol.KindRefusal:    {protocol.Customer, []AgreementState{Requested}},
	protocol.KindReceipt:    {protocol.Vendor, []AgreementState{Granted}},
	protocol.KindDisclosure: {protocol.Customer, whileReceipted},
	protocol.KindSuspend:    {protocol.Customer, whileReceipted},
	protocol.KindResume:     {protocol.Customer, []AgreementState{Suspended}},
	protocol.KindRevocation: {protocol.Customer, whileLive},
	protocol.KindDeletion:   {protocol.Vendor, sinceReceipt},
	protocol.KindRight:      {protocol.Customer, sinceReceipt},
	protocol.KindAnswer:     {protocol.Vendor, sinceReceipt},
	protocol.KindBreach:     {protocol.Vendor, sinceReceipt},
	protocol.KindAck:        {0, nil},
}

// May says whether an honest side may send k now. fault.Conflict where the state
// does not allow it, fault.Denied for the wrong side, fault.Malformed for a kind
// that has no place here. It also answers for KindOffer: legal while disclosed.
func (a Agreement) May(by protocol.Side, k protocol.Kind) error {
	if k == protocol.KindOffer {
		return may(map[protocol.Kind]move[AgreementState]{k: {protocol.Vendor, []AgreementState{Disclosed}}}, a.State, by, k)
	}
	if err := may(agreementMoves, a.State, by, k); err != nil {
		return err
	}
	if slices.Equal(agreementMoves[k].from, sinceReceipt) && !a.known().receipted() {
		return fmt.Errorf("flow: no %s without a receipt: %w", k, fault.Conflict)
	}
	return nil
}

// NextAgreement tells what agreement a becomes with event e, and what this node has
// now to do. fault.Malformed: a kind without a place here, or a bad event.
// fault.Denied: not that side's to send. fault.Full: more rivals, suspensions or
// open rights than are kept; what is there stays, and the sender may try again.
// fault.Internal: a has no Duties. With an error, a comes back as it was.
func NextAgreement(a Agreement, e Event) (Agreement, []Act, error) {
	n := a
	if a.Duties == (protocol.Duties{}) {
		return a, nil, fmt.Errorf("flow: an agreement without Duties, make it with NewAgreement: %w", fault.Internal)
	}
	if e.Kind == 0 {
		n.Now = max(a.Now, e.At)
	} else if err := n.hear(e); err != nil {
		return a, nil, err
	}
	k := n.known()
	n.State = n.state(k)
	d := doing{done: a.Done}
	n.lapses(k, &d)
	switch a.Me {
	case protocol.Customer:
		n.customerActs(a, &d)
	case protocol.Vendor:
		n.vendorActs(a, k, e, &d)
	}
	d.once(n.State == Expired && k.granted(), RecordExpiry)
	if a.Me == 0 {
		d.acts = nil
	}
	n.Done = d.done
	return n, d.acts, nil
}

// hear adds a message to what is known.
func (a *Agreement) hear(e Event) (err error) {
	if err := fits(agreementMoves, e); err != nil {
		return err
	}
	switch e.Kind {
	case protocol.KindRequest, protocol.KindGrant, protocol.KindReceipt:
		a.Heard, err = hear(a.Heard, e, rivals, byID)
	case protocol.KindCounter, protocol.KindRefusal, protocol.KindDeletion:
		a.Heard, err = hear(a.Heard, e, 1, byID)
	case protocol.KindRevocation:
		a.Heard, err = hear(a.Heard, e, 1, byDate)
	case protocol.KindSuspend, protocol.KindResume:
		a.Pauses, err = pause(a.Pauses, e)
	case protocol.KindDisclosure:
		a.Lease = max(a.Lease, e.Until)
		if !slices.Contains(a.Handed, e.ID) {
			a.Handed = append(slices.Clone(a.Handed), e.ID)
			a.Handed = a.Handed[max(0, len(a.Handed)-maxHanded):]
		}
	case protocol.KindRight, protocol.KindAnswer:
		a.Rights, err = a.exercise(e)
	}
	return err
}

// exercise notes a Right, or the Answer to one, in whatever order they come.
func (a *Agreement) exercise(e Event) ([]Right, error) {
	id := e.ID
	if e.Kind == protocol.KindAnswer {
		id = e.Re
	}
	list := slices.Clone(a.Rights)
	i := slices.IndexFunc(list, func(r Right) bool { return r.ID == id })
	if i < 0 {
		if len(list) == maxRights {
			old := slices.IndexFunc(list, func(r Right) bool { return r.Answered })
			if old < 0 {
				return nil, fmt.Errorf("flow: %d rights unanswered: %w", len(list), fault.Full)
			}
			list = slices.Delete(list, old, old+1)
		}
		i, list = len(list), append(list, Right{ID: id})
	}
	switch {
	case e.Kind == protocol.KindAnswer:
		list[i].Answered = true
	case list[i].Deadline == 0:
		list[i].Deadline = e.Until
		if e.Until == 0 {
			list[i].Deadline = after(e.At, a.Duties.Right)
		}
	}
	return list, nil
}

// known is what counts of what was heard.
type known struct {
	request, counter, refusal, grant, receipt, revocation, deletion Event
	early                                                           int // events that wait for another
}

func (k known) granted() bool   { return !k.grant.ID.IsZero() }
func (k known) receipted() bool { return !k.receipt.ID.IsZero() }

// known works out which events count. Heard is in order of kind, so that a request
// comes before its answer and a grant before its receipt.
func (a Agreement) known() known {
	var k known
	answers := func(e Event, kind protocol.Kind) bool {
		return slices.ContainsFunc(a.Heard, func(o Event) bool { return o.Kind == kind && o.ID == e.Re })
	}
	for _, e := range a.Heard {
		counts := e.Re.IsZero() || answers(e, protocol.KindRequest)
		switch e.Kind {
		case protocol.KindRequest:
			counts = true
			if k.request.ID.IsZero() || e.Until > k.request.Until {
				k.request = e
			}
		case protocol.KindGrant:
			if counts && !k.granted() {
				k.grant = e
			}
		case protocol.KindCounter:
			if counts {
				k.counter = e
			}
		case protocol.KindRefusal:
			if counts {
				k.refusal = e
			}
		case protocol.KindReceipt:
			counts = k.take(e, a.Heard)
		case protocol.KindRevocation:
			k.revocation, counts = e, k.granted()
		case protocol.KindDeletion:
			k.deletion, counts = e, k.granted()
		}
		if !counts {
			k.early++
		}
	}
	if !k.receipted() {
		k.early += len(a.Handed) + len(a.Pauses)
	}
	return k
}

// take lets a receipt count if its grant does; the lower grant id wins.
func (k *known) take(e Event, heard []Event) bool {
	for _, g := range heard {
		if g.Kind != protocol.KindGrant || g.ID != e.Re {
			continue
		}
		asked := g.Re.IsZero() || slices.ContainsFunc(heard, func(r Event) bool { return r.Kind == protocol.KindRequest && r.ID == g.Re })
		if !asked {
			return false
		}
		if !k.receipted() || byID(g, k.grant) < 0 {
			k.grant, k.receipt = g, e
		}
		return true
	}
	return false
}

// state follows from what counts and from the time.
func (a Agreement) state(k known) AgreementState {
	if !k.granted() {
		switch {
		case k.request.ID.IsZero():
			return NoAgreement
		case !k.counter.ID.IsZero():
			return Countered
		case !k.refusal.ID.IsZero():
			return Refused
		case a.Now >= a.answerBy(k):
			return Expired
		}
		return Requested
	}
	switch {
	case !k.deletion.ID.IsZero():
		return Deleted
	case k.receipted() && a.Now >= a.deletionBy(k):
		return Lapsed
	case !k.revocation.ID.IsZero():
		return Revoked
	case a.Now >= k.grant.Until:
		return Expired
	case !k.receipted():
		return Granted
	case suspended(a.Pauses):
		return Suspended
	case len(a.Handed) > 0:
		return Disclosed
	}
	return Receipted
}

// answerBy is when a request expires.
func (a Agreement) answerBy(k known) protocol.Second {
	if k.request.Until > 0 {
		return k.request.Until
	}
	return after(k.request.At, a.Duties.Letters)
}

// deletionBy is when the Deletion is due, once the grant is over: the deadline in
// the Revocation, at the latest Duties.Deletion after the end. A Receipt that
// crossed the Revocation leaves the vendor the same span, from when it came.
func (a Agreement) deletionBy(k known) protocol.Second {
	from, by := k.grant.Until, after(k.grant.Until, a.Duties.Deletion)
	if r := k.revocation; !r.ID.IsZero() {
		deadline := r.Until
		if deadline == 0 {
			deadline = after(r.At, a.Duties.Deletion)
		}
		if deadline < by {
			from, by = r.At, deadline
		}
	}
	if k.receipt.At > from && by > from {
		by = after(k.receipt.At, by-from)
	}
	return by
}

// lapses records promises whose time is up.
func (a *Agreement) lapses(k known, d *doing) {
	had := len(d.acts)
	d.once(a.State == Lapsed, RecordLapse)
	list := slices.Clone(a.Lapses)
	if len(d.acts) > had {
		re := k.grant.ID
		if !k.revocation.ID.IsZero() {
			re = k.revocation.ID
		}
		list = append(list, Lapse{protocol.KindDeletion, re, a.deletionBy(k)})
	}
	rights := slices.Clone(a.Rights)
	for i, r := range rights {
		if r.open() && a.Now >= r.Deadline {
			rights[i].Lapsed = true
			list = append(list, Lapse{protocol.KindAnswer, r.ID, r.Deadline})
			d.when(true, RecordLapse)
		}
	}
	a.Rights, a.Lapses = rights, list[max(0, len(list)-maxLapses):]
}

func (a *Agreement) customerActs(was Agreement, d *doing) {
	sharing := a.State == Receipted || a.State == Disclosed
	ended := a.leaseEnds()
	switch {
	case sharing && (was.State == Suspended || ended):
		d.done |= 1 << SendDisclosure
		d.when(true, SendDisclosure)
	default:
		d.once(a.State == Receipted, SendDisclosure)
	}
	d.once(a.State == Requested, Decide)
	d.once(a.State.Over() && a.known().granted(), DestroyOfferKeys)
}

func (a *Agreement) vendorActs(was Agreement, k known, e Event, d *doing) {
	d.once(a.State == Granted, SendReceipt)
	had := was.known().receipted()
	fresh := len(a.Handed) > 0 && (!had || e.Kind == protocol.KindDisclosure && !slices.Contains(was.Handed, e.ID))
	if fresh && k.receipted() && a.State.Live() {
		d.when(true, HoldDisclosure)
		d.done &^= 1 << DeleteHeld
	}
	d.when(a.leaseEnds(), EndLease)
	still := func(s AgreementState) bool { return s == Suspended || s.Over() }
	d.when(still(a.State) && !still(was.State) && k.granted(), StopOffers)
	d.when(was.State == Suspended && (a.State == Receipted || a.State == Disclosed), ResumeOffers)
	d.once(k.receipted() || a.State.Over() || a.State == Refused || a.State == Countered, DestroyRequestKey)
	owed := a.State.Over() && k.receipted()
	d.once(owed, DeleteHeld)
	d.once(owed && k.deletion.ID.IsZero(), SendDeletion)
	opened := func(rights []Right) bool {
		return slices.ContainsFunc(rights, func(r Right) bool { return r.ID == e.ID && r.Deadline > 0 && !r.Answered })
	}
	d.when(e.Kind == protocol.KindRight && opened(a.Rights) && !opened(was.Rights), AnswerRight)
}

// leaseEnds reports, once per lease, that its end has come.
func (a *Agreement) leaseEnds() bool {
	if !a.leaseRuns() || a.Now < a.Lease {
		return false
	}
	a.LeaseOver = a.Lease
	return true
}

// leaseRuns reports whether the end of a lease is still to come or to be acted on. It
// also comes while a grant is suspended: she renews nothing then, and the vendor stops.
func (a *Agreement) leaseRuns() bool {
	return (a.State == Disclosed || a.State == Suspended) && a.Lease > 0 && a.LeaseOver < a.Lease
}

// Final reports whether the agreement has ended and nobody owes a Deletion. Rights
// may still be open.
func (a Agreement) Final() bool {
	return a.State.Final() || (a.State == Revoked || a.State == Expired) && !a.known().receipted()
}

// Seen reports whether the event is known: heard twice is heard once. Of the
// Disclosures only the latest are.
func (a Agreement) Seen(id protocol.Hash) bool {
	return slices.ContainsFunc(a.Heard, func(e Event) bool { return e.ID == id }) || slices.Contains(a.Handed, id) ||
		slices.ContainsFunc(a.Pauses, func(p Pause) bool { return p.Suspend == id && p.Began }) ||
		slices.ContainsFunc(a.Rights, func(r Right) bool { return r.ID == id && r.Deadline > 0 })
}

// Parked counts the events that came early and wait for another.
func (a Agreement) Parked() int { return a.known().early }

// Due says who must act next, by when, and what happens otherwise: the earliest of
// the state's own date, the lease's end, and the deadlines of open rights. It is
// later than the latest tick, or zero. The deadlines are those that the agreement
// began under, whatever the network's are by now.
func (a Agreement) Due(protocol.Duties) Due {
	due := a.stateDue(a.known())
	for _, r := range a.Rights {
		if r.open() {
			due = due.earlier(Due{r.Deadline, protocol.Vendor, "the right counts as unanswered: a lapse"})
		}
	}
	return due
}

func (a Agreement) stateDue(k known) Due {
	switch a.State {
	case Requested:
		return Due{a.answerBy(k), protocol.Customer, "the request expires"}
	case Granted:
		return Due{k.grant.Until, protocol.Vendor, "the grant expires unused"}
	case Receipted, Disclosed, Suspended:
		end := Due{k.grant.Until, protocol.Customer, "the grant expires and the vendor owes a deletion"}
		if a.Lease > a.Now && a.leaseRuns() {
			return end.earlier(Due{a.Lease, protocol.Customer, "the vendor may not use the values until the lease is renewed"})
		}
		return end
	case Revoked, Expired:
		if k.receipted() {
			return Due{a.deletionBy(k), protocol.Vendor, "the missing deletion is recorded as a lapse"}
		}
	}
	return Due{}
}
