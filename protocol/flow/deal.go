package flow

import (
	"github.com/harkmarket/hark/protocol"
)

// A DealState is where a deal stands.
type DealState uint8

// The states of a deal.
const (
	NoDeal       DealState = 0 // the Offer is not known yet
	Offered      DealState = 1
	Declined     DealState = 2 // by her, or by the offer's date
	Accepted     DealState = 3
	Confirmed    DealState = 4
	Fulfilled    DealState = 5
	Closed       DealState = 6 // by her, or by date
	Cancelled    DealState = 7 // by either, or by date
	Disputed     DealState = 8 // reserved
	Resolved     DealState = 9 // reserved
	dealStateEnd           = 10
)

var dealNames = [dealStateEnd]string{"none", "offered", "declined", "accepted", "confirmed", "fulfilled", "closed",
	"cancelled", "disputed", "resolved"}

// DealStates are their names.
func DealStates() []string { return append([]string{}, dealNames[:]...) }

func (s DealState) String() string { return name(dealNames[:], int(s)) }

// Final reports whether nobody has to do anything and no time limit runs.
func (s DealState) Final() bool {
	return s == Declined || s == Closed || s == Cancelled || s == Resolved
}

// How long each side has for its step, from when its node kept the step before. A
// letter may lie for days at a keeper, so these are long.
const (
	ConfirmWithin = 14 * protocol.Day
	FulfilWithin  = 90 * protocol.Day
	CloseWithin   = 14 * protocol.Day
)

// A Deal is the state of one offer and of what came of it, on either side's node. A
// new one needs Me. It does not depend on its agreement: a deal that was accepted
// goes on under duty keys after the grant was revoked.
type Deal struct {
	Me    protocol.Side   `cbor:"1,keyasint,omitempty"`
	State DealState       `cbor:"2,keyasint,omitempty"`
	Now   protocol.Second `cbor:"3,keyasint,omitempty"` // the latest tick
	Heard []Event         `cbor:"4,keyasint,omitempty"` // in order of kind and id; early ones wait here
	Done  uint32          `cbor:"5,keyasint,omitempty"` // acts that were given, by number
}

var dealMoves = map[protocol.Kind]move[DealState]{
	protocol.KindOffer:   {protocol.Vendor, []DealState{NoDeal}},
	protocol.KindAccept:  {protocol.Customer, []DealState{Offered}},
	protocol.KindDecline: {protocol.Customer, []DealState{Offered}},
	protocol.KindConfirm: {protocol.Vendor, []DealState{Accepted}},
	protocol.KindFulfil:  {protocol.Vendor, []DealState{Confirmed}},
	protocol.KindClose:   {protocol.Customer, []DealState{Fulfilled}},
	protocol.KindCancel:  {0, []DealState{Offered, Accepted, Confirmed}},
}

// May says whether an honest side may send k now. fault.Conflict where the state
// does not allow it, fault.Denied for the wrong side, fault.Malformed for a kind
// that has no place here. The Cancel that the act SendCancel asks for needs no May.
func (d Deal) May(by protocol.Side, k protocol.Kind) error { return may(dealMoves, d.State, by, k) }

// NextDeal tells what deal d becomes with event e, and what this node has now to do.
// fault.Malformed: a kind without a place here, or a bad event. fault.Denied: not
// that side's to send. fault.Full: more different Cancels than are kept. With an
// error, d comes back as it was.
func NextDeal(d Deal, e Event) (Deal, []Act, error) {
	n := d
	if e.Kind == 0 {
		n.Now = max(d.Now, e.At)
	} else {
		if err := fits(dealMoves, e); err != nil {
			return d, nil, err
		}
		room := 1
		if e.Kind == protocol.KindCancel {
			room = rivals
		}
		list, err := hear(d.Heard, e, room, byID)
		if err != nil {
			return d, nil, err
		}
		n.Heard = list
	}
	s := n.steps()
	n.State = n.state(s)
	do := doing{done: d.Done}
	switch late := s.accept.At > after(s.offer.Until, protocol.MaxSkew); d.Me {
	case protocol.Vendor:
		do.once(n.State == Accepted && !late, ConfirmOrder)
		do.once(n.State == Accepted && late, SendCancel)
		do.once(n.State == Confirmed, DeliverOrder)
	case protocol.Customer:
		do.once(n.State == Fulfilled, AskClose)
	}
	do.once(n.State == Cancelled && !s.cancelled && d.Me != 0, SendCancel)
	n.Done = do.done
	return n, do.acts, nil
}

// steps is what counts of what was heard.
type steps struct {
	offer, accept, decline, confirm, fulfil Event
	accepted, confirmed, fulfilled          bool
	declined, closed, cancelled             bool
}

func (d Deal) steps() steps {
	var s steps
	offered, confirmed, fulfilled := false, false, false
	s.offer, offered = find(d.Heard, protocol.KindOffer)
	if !offered {
		return s
	}
	s.accept, s.accepted = find(d.Heard, protocol.KindAccept)
	s.decline, s.declined = find(d.Heard, protocol.KindDecline)
	s.confirm, confirmed = find(d.Heard, protocol.KindConfirm)
	s.fulfil, fulfilled = find(d.Heard, protocol.KindFulfil)
	if !confirmed {
		s.confirm = s.fulfil // fulfilling implies confirming
	}
	s.fulfilled = s.accepted && fulfilled
	s.confirmed = s.accepted && (confirmed || fulfilled)
	_, closed := find(d.Heard, protocol.KindClose)
	s.closed = s.fulfilled && closed
	for _, e := range d.Heard {
		if e.Kind == protocol.KindCancel && (!s.fulfilled || e.By == protocol.Customer && e.Re != s.fulfil.ID) {
			s.cancelled = true
		}
	}
	return s
}

// state follows from what counts and from the time.
func (d Deal) state(s steps) DealState {
	over := func(from Event, span protocol.Second) bool { return d.Now >= after(from.At, span) }
	switch {
	case s.offer.ID.IsZero():
		return NoDeal
	case s.closed:
		return Closed
	case s.cancelled:
		return Cancelled
	case s.fulfilled && over(s.fulfil, CloseWithin):
		return Closed
	case s.fulfilled:
		return Fulfilled
	case s.confirmed && over(s.confirm, FulfilWithin):
		return Cancelled
	case s.confirmed:
		return Confirmed
	case s.accepted && over(s.accept, ConfirmWithin):
		return Cancelled
	case s.accepted:
		return Accepted
	case s.declined || d.Now >= s.offer.Until:
		return Declined
	}
	return Offered
}

// Final reports whether the deal has ended.
func (d Deal) Final() bool { return d.State.Final() }

// Due says who must act next, by when, and what happens otherwise. It is later than
// the latest tick, or zero.
func (d Deal) Due(protocol.Duties) Due {
	s := d.steps()
	switch d.State {
	case Offered:
		return Due{s.offer.Until, protocol.Customer, "the offer counts as declined"}
	case Accepted:
		return Due{after(s.accept.At, ConfirmWithin), protocol.Vendor, "the deal is cancelled"}
	case Confirmed:
		return Due{after(s.confirm.At, FulfilWithin), protocol.Vendor, "the deal is cancelled"}
	case Fulfilled:
		return Due{after(s.fulfil.At, CloseWithin), protocol.Customer, "the goods count as received and the deal is closed"}
	}
	return Due{}
}
