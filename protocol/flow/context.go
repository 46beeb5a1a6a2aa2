package flow

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A ContextState is where a context stands.
type ContextState uint8

// The states of a context. Those whose name another machine uses as well bear the
// word Context.
const (
	Draft           ContextState = 0 // nothing was said to anybody; a relation stays here
	Announced       ContextState = 1 // strangers can see it and ask
	Paused          ContextState = 2 // announced, but no request is answered
	Withdrawn       ContextState = 3
	ContextExpired  ContextState = 4
	ContextClosed   ContextState = 5
	contextStateEnd              = 6
)

var contextNames = [contextStateEnd]string{"draft", "announced", "paused", "withdrawn", "expired", "closed"}

// ContextStates are their names.
func ContextStates() []string { return append([]string{}, contextNames[:]...) }

func (s ContextState) String() string { return name(contextNames[:], int(s)) }

// Final reports whether nobody has to do anything and no time limit runs. A new
// announcement still revives an expired context.
func (s ContextState) Final() bool { return s >= Withdrawn }

func name(names []string, i int) string {
	if i >= len(names) {
		return fmt.Sprintf("state-%d", i)
	}
	return names[i]
}

// A Context is the state of one context, on its owner's node. The zero value with
// Kind set is a draft.
type Context struct {
	State   ContextState         `cbor:"1,keyasint,omitempty"`
	Kind    protocol.ContextKind `cbor:"2,keyasint,omitempty"`
	Seq     uint64               `cbor:"3,keyasint,omitempty"` // of the announcement that counts
	Expires protocol.Second      `cbor:"4,keyasint,omitempty"` // likewise
	Status  protocol.Status      `cbor:"5,keyasint,omitempty"` // likewise
	ID      protocol.Hash        `cbor:"6,keyasint,omitzero"`  // likewise
	Now     protocol.Second      `cbor:"7,keyasint,omitempty"` // the latest tick
	Pauses  []Pause              `cbor:"8,keyasint,omitempty"`
	Closed  bool                 `cbor:"9,keyasint,omitempty"`
	Taken   protocol.Hash        `cbor:"10,keyasint,omitzero"` // the announcement that SendWithdrawal was given for
}

var contextMoves = map[protocol.Kind]move[ContextState]{
	protocol.KindAnnouncement: {protocol.Customer, []ContextState{Draft, Announced, Paused, ContextExpired}},
	protocol.KindSuspend:      {protocol.Customer, []ContextState{Announced}},
	protocol.KindResume:       {protocol.Customer, []ContextState{Paused}},
	protocol.KindClose:        {protocol.Customer, []ContextState{Draft, Announced, Paused, Withdrawn, ContextExpired}},
}

// May says whether its owner may make this move now: Announcement, Suspend, Resume
// or Close. fault.Conflict where the state does not allow it, fault.Denied for the
// other side, fault.Malformed for a kind that has no place here.
func (c Context) May(by protocol.Side, k protocol.Kind) error {
	if k == protocol.KindAnnouncement && !c.announces() {
		return fmt.Errorf("flow: a %s is not announced: %w", c.Kind, fault.Denied)
	}
	return may(contextMoves, c.State, by, k)
}

// announces: only a need and an interest do. A context whose kind was never set is
// somebody else's, followed from outside.
func (c Context) announces() bool { return c.Kind == 0 || c.Kind.Life() > 0 }

// NextContext tells what context c becomes with event e, and what its owner has now
// to do. fault.Malformed: a kind without a place here, or a bad event. fault.Denied:
// not hers to send, or a relation announced. fault.Full: too many suspensions.
// With an error, c comes back as it was.
func NextContext(c Context, e Event) (Context, []Act, error) {
	n := c
	switch e.Kind {
	case 0:
		n.Now = max(c.Now, e.At)
	default:
		if err := n.hear(e); err != nil {
			return c, nil, err
		}
	}
	n.State = n.state()
	var d doing
	d.when(n.State == Announced && c.State == Paused, ResumeRequests)
	d.when(c.State == Announced && n.State != Announced, StopRequests)
	d.when(n.State == ContextExpired && c.State != ContextExpired, RecordExpiry)
	if n.State == ContextClosed && n.Status == protocol.Open && n.Now < n.Expires && n.Taken != n.ID {
		n.Taken = n.ID
		d.when(true, SendWithdrawal)
	}
	return n, d.acts, nil
}

// hear adds a message or local move to what is known.
func (c *Context) hear(e Event) (err error) {
	if err := fits(contextMoves, e); err != nil {
		return err
	}
	switch e.Kind {
	case protocol.KindAnnouncement:
		return c.announced(e)
	case protocol.KindClose:
		c.Closed = true
	default:
		var list []Pause
		if list, err = pause(c.Pauses, e); err == nil {
			c.Pauses = list
		}
	}
	return err
}

// announced lets the announcement count that comes first: withdrawn, then higher
// seq, then lower hash.
func (c *Context) announced(e Event) error {
	if !c.announces() {
		return fmt.Errorf("flow: a %s is not announced: %w", c.Kind, fault.Denied)
	}
	if e.Seq == 0 || e.Status != protocol.Open && e.Status != protocol.Withdrawn {
		return fmt.Errorf("flow: announcement without a seq or with status %d: %w", e.Status, fault.Malformed)
	}
	if cmp.Or(cmp.Compare(e.Status, c.Status), cmp.Compare(e.Seq, c.Seq), bytes.Compare(c.ID[:], e.ID[:])) > 0 {
		c.Status, c.Seq, c.ID, c.Expires = e.Status, e.Seq, e.ID, e.Until
	}
	return nil
}

func (c Context) state() ContextState {
	switch {
	case c.Closed:
		return ContextClosed
	case c.Status == protocol.Withdrawn:
		return Withdrawn
	case c.ID.IsZero():
		return Draft
	case c.Now >= c.Expires:
		return ContextExpired
	case suspended(c.Pauses):
		return Paused
	}
	return Announced
}

// Due says until when the announcement stands. A draft has no date: nobody waits
// for it.
func (c Context) Due(protocol.Duties) Due {
	switch c.State {
	case Draft:
		return Due{By: protocol.Customer, Otherwise: "it stays with her"}
	case Announced, Paused:
		return Due{At: c.Expires, By: protocol.Customer, Otherwise: "the announcement expires"}
	}
	return Due{}
}
