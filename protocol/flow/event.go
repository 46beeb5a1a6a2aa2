package flow

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// An Event is one thing that happened: a message that was kept, sent or received,
// or time that passed. It carries only what the machines look at.
type Event struct {
	Kind   protocol.Kind   `cbor:"1,keyasint,omitempty"` // which message; 0 is a tick: time has passed
	ID     protocol.Hash   `cbor:"2,keyasint,omitzero"`  // SHA-256 of its envelope; zero for a tick
	Re     protocol.Hash   `cbor:"3,keyasint,omitzero"`  // what it answers
	By     protocol.Side   `cbor:"4,keyasint,omitempty"` // who sent it; unset for a tick
	At     protocol.Second `cbor:"5,keyasint,omitempty"` // when this node kept it; for a tick, now
	Until  protocol.Second `cbor:"6,keyasint,omitempty"` // Request: how long access is wanted; Grant: its end; Revocation, Right: the deadline; Disclosure: end of lease; Offer: valid until; Announcement: expires
	Seq    uint64          `cbor:"7,keyasint,omitempty"` // Announcement
	Status protocol.Status `cbor:"8,keyasint,omitempty"` // Announcement
}

// A Due says who must act, by when, and what happens otherwise. The zero Due means
// that nobody has to.
type Due struct {
	At        protocol.Second
	By        protocol.Side
	Otherwise string
}

// earlier gives the one that comes first; a zero Due never does.
func (d Due) earlier(o Due) Due {
	if d.At == 0 || o.At != 0 && o.At < d.At {
		return o
	}
	return d
}

// An Act is something that this node has to do now, in the transaction that stores
// the new state. The list is closed. An act comes once, unless its line says else.
type Act uint8

// The acts.
const (
	Decide            Act = 1 + iota // customer: let her rule, or herself, answer the Request
	SendReceipt                      // vendor: countersign and pay
	SendDisclosure                   // customer: hand over what was granted; again after a Resume, and once per lease that ends while it is disclosed
	HoldDisclosure                   // vendor: hold what was disclosed; once per Disclosure
	EndLease                         // vendor: stop using the values until a new Disclosure; once per lease
	StopOffers                       // vendor: make no offers; whenever the agreement is suspended or ends
	ResumeOffers                     // vendor: make offers again; after each suspension
	DestroyRequestKey                // vendor: no answer to the Request is awaited any more
	DestroyOfferKeys                 // customer: offer lock, offer secret and offer mailbox
	DeleteHeld                       // vendor: delete what is held under the grant
	SendDeletion                     // vendor: sign that it was deleted
	AnswerRight                      // vendor: a Right came; once per Right
	RecordExpiry                     // both: what was consented to, or announced, has expired
	RecordLapse                      // both: a promise was broken; once per lapse, the newest stands last in Lapses
	StopRequests                     // customer: answer no requests; whenever a context stops being announced
	ResumeRequests                   // customer: answer requests again; after each pause
	SendWithdrawal                   // customer: the context was closed, its announcement still stands
	ConfirmOrder                     // vendor: Confirm, or Cancel
	SendCancel                       // both: say that time has cancelled the deal, or that the Accept came too late
	DeliverOrder                     // vendor: deliver, then Fulfil
	AskClose                         // customer: ask her whether she got it, then Close
)

var actNames = [...]string{"", "decide", "send receipt", "send disclosure", "hold disclosure", "end lease",
	"stop offers", "resume offers", "destroy request key", "destroy offer keys", "delete held", "send deletion",
	"answer right", "record expiry", "record lapse", "stop requests", "resume requests", "send withdrawal",
	"confirm order", "send cancel", "deliver order", "ask close"}

func (a Act) String() string {
	if a == 0 || int(a) >= len(actNames) {
		return fmt.Sprintf("act-%d", uint8(a))
	}
	return actNames[a]
}

// doing gathers the acts of one step. done is the set of acts that come but once
// and were given before, by number.
type doing struct {
	acts []Act
	done uint32
}

// when gives an act each time that cond holds.
func (d *doing) when(cond bool, a Act) {
	if cond {
		d.acts = append(d.acts, a)
	}
}

// once gives an act the first time that cond holds.
func (d *doing) once(cond bool, a Act) {
	if cond && d.done&(1<<a) == 0 {
		d.done |= 1 << a
		d.acts = append(d.acts, a)
	}
}

// rivals is how many different Requests, Grants, Receipts or Cancels one machine
// keeps; honest sides send one.
const rivals = 4

// hear adds e to a list in order of kind and id. Of a kind with room for one, the
// event that sorts first under by stays. A new list is given; an old one is never
// changed.
func hear(list []Event, e Event, room int, by func(a, b Event) int) ([]Event, error) {
	var same []Event
	for _, k := range list {
		if k.Kind == e.Kind && k.ID == e.ID {
			return list, nil // heard twice is heard once
		}
		if k.Kind == e.Kind {
			same = append(same, k)
		}
	}
	list = slices.Clone(list)
	switch {
	case len(same) < room:
	case room > 1:
		return nil, fmt.Errorf("flow: %d different messages of kind %s: %w", len(same)+1, e.Kind, fault.Full)
	case by(same[0], e) <= 0:
		return list, nil
	default:
		list = slices.DeleteFunc(list, func(k Event) bool { return k.Kind == e.Kind })
	}
	list = append(list, e)
	slices.SortFunc(list, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), byID(a, b)) })
	return list, nil
}

func byID(a, b Event) int { return slices.Compare(a.ID[:], b.ID[:]) }

// byDate puts the earlier Until first, and none at all last.
func byDate(a, b Event) int {
	return cmp.Or(cmp.Compare(a.Until-1, b.Until-1), byID(a, b)) // 0-1 is the largest
}

// find gives the first event of a kind.
func find(list []Event, k protocol.Kind) (Event, bool) {
	i := slices.IndexFunc(list, func(e Event) bool { return e.Kind == k })
	if i < 0 {
		return Event{}, false
	}
	return list[i], true
}

// A Pause pairs a Suspend with the Resume that names it.
type Pause struct {
	Suspend protocol.Hash `cbor:"1,keyasint,omitzero"`
	Began   bool          `cbor:"2,keyasint,omitempty"`
	Ended   bool          `cbor:"3,keyasint,omitempty"` // true alone: the Resume came first
}

// maxPauses is how many pairs are kept; finished ones make room.
const maxPauses = 8

// pause notes a Suspend or a Resume.
func pause(list []Pause, e Event) ([]Pause, error) {
	id := e.ID
	if e.Kind == protocol.KindResume {
		id = e.Re
	}
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(p Pause) bool { return p.Suspend == id })
	if i < 0 {
		if len(list) == maxPauses {
			old := slices.IndexFunc(list, func(p Pause) bool { return p.Ended })
			if old < 0 {
				return nil, fmt.Errorf("flow: %d suspensions: %w", len(list), fault.Full)
			}
			list = slices.Delete(list, old, old+1)
		}
		i, list = len(list), append(list, Pause{Suspend: id})
	}
	list[i].Began = list[i].Began || e.Kind == protocol.KindSuspend
	list[i].Ended = list[i].Ended || e.Kind == protocol.KindResume
	return list, nil
}

func suspended(list []Pause) bool {
	return slices.ContainsFunc(list, func(p Pause) bool { return p.Began && !p.Ended })
}

// A move is who may send a kind of message, and in which states.
type move[S comparable] struct {
	by   protocol.Side // 0: either side
	from []S
}

// fits refuses what no state could make right: a kind of another machine, a sender
// of the wrong side, or a missing id, answer or date.
func fits[S comparable](moves map[protocol.Kind]move[S], e Event) error {
	m, ok := moves[e.Kind]
	switch {
	case !ok:
		return fmt.Errorf("flow: %s has no place here: %w", e.Kind, fault.Malformed)
	case e.By != protocol.Customer && e.By != protocol.Vendor:
		return fmt.Errorf("flow: %s of nobody: %w", e.Kind, fault.Malformed)
	case m.by != 0 && e.By != m.by:
		return fmt.Errorf("flow: %s sent by the %s: %w", e.Kind, e.By, fault.Denied)
	case e.ID.IsZero():
		return fmt.Errorf("flow: %s without an id: %w", e.Kind, fault.Malformed)
	}
	switch e.Kind {
	case protocol.KindResume, protocol.KindAnswer:
		if e.Re.IsZero() {
			return fmt.Errorf("flow: %s that answers nothing: %w", e.Kind, fault.Malformed)
		}
	case protocol.KindGrant, protocol.KindOffer, protocol.KindAnnouncement:
		if e.Until == 0 {
			return fmt.Errorf("flow: %s without an end: %w", e.Kind, fault.Malformed)
		}
	}
	return nil
}

// may says whether side by may send k in state s.
func may[S interface {
	comparable
	fmt.Stringer
}](moves map[protocol.Kind]move[S], s S, by protocol.Side, k protocol.Kind) error {
	m, ok := moves[k]
	switch {
	case !ok:
		return fmt.Errorf("flow: %s has no place here: %w", k, fault.Malformed)
	case by != protocol.Customer && by != protocol.Vendor, m.by != 0 && by != m.by:
		return fmt.Errorf("flow: %s is not for the %s to send: %w", k, by, fault.Denied)
	case m.from != nil && !slices.Contains(m.from, s):
		return fmt.Errorf("flow: no %s once it is %s: %w", k, s, fault.Conflict)
	}
	return nil
}

// after adds two spans of time and stops at the last moment there is.
func after(t, span protocol.Second) protocol.Second {
	if t > math.MaxUint64-span {
		return math.MaxUint64
	}
	return t + span
}
