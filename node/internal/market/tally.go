package market

import (
	"context"
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// Limits bound what others can make this node keep. What is zero takes the value of
// DefaultLimits.
type Limits struct {
	Contexts int // needs, interests and relations that stand
	// Agreements that live, on either side. The records of those that have ended stay as
	// evidence: a grant's proves what is owed under it, and rights and lapses outlive its end;
	// one that was refused, or never answered, proves that a vendor asked once, with which
	// notice, and what the customer said.
	Agreements int
	Requests   int // of one context, whatever became of them: later vendors are not heard
	Offers     int // of one grant: later ones are not kept
	Blocked    int // vendors whose requests are dropped
	Letters    int // that are remembered for having been acted on: more wait at their keepers
	BoxLetters int // of these, of one mailbox
}

// DefaultLimits leave room for years of one busy vendor, or customer.
var DefaultLimits = Limits{Contexts: 10_000, Agreements: 100_000, Requests: 512, Offers: 512, Blocked: 4096, Letters: 1 << 19, BoxLetters: 1 << 14}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Contexts, DefaultLimits.Contexts)
	set(&l.Agreements, DefaultLimits.Agreements)
	set(&l.Requests, DefaultLimits.Requests)
	set(&l.Offers, DefaultLimits.Offers)
	set(&l.Blocked, DefaultLimits.Blocked)
	set(&l.Letters, DefaultLimits.Letters)
	set(&l.BoxLetters, DefaultLimits.BoxLetters)
	return l
}

// letters is the room for letters that were acted on.
func (l Limits) letters() records.Room { return records.Room{All: l.Letters, Box: l.BoxLetters} }

// A tally knows what lives, so that a bound costs no scan: needs that stand, relations, and
// agreements that have not ended, or under which a Deletion is owed. What has ended is
// evidence: it stays on disk, and takes no place from anybody. It is read once, before
// the loop's first turn.
type tally struct {
	mu         sync.Mutex
	lim        Limits
	contexts   map[protocol.ContextID]bool
	agreements map[protocol.GrantID]bool
	requests   map[protocol.ContextID]int // of each of this customer's contexts, also those that were refused: each leaves evidence
	offers     int                        // of the grant that had most, or most that came late
	waiting    bool                       // a need was not asked about for want of room
}

func newTally(l Limits) *tally {
	return &tally{
		lim: l.orDefault(), contexts: map[protocol.ContextID]bool{}, agreements: map[protocol.GrantID]bool{},
		requests: map[protocol.ContextID]int{},
	}
}

// read counts what is there.
func (y *tally) read(r kv.Reader) error {
	if err := records.EachContext(r, nil, func(c records.Context) (bool, error) { y.context(&c); return true, nil }); err != nil {
		return err
	}
	return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		y.agreement(&a)
		if a.Flow.Me == protocol.Customer && a.Flow.Final() {
			y.requests[a.Context]++
		}
		return true, nil
	})
}

// context notes what became of a context. That of a relation ends with its agreement.
func (y *tally) context(c *records.Context) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if c.Flow.State.Final() {
		delete(y.contexts, c.ID)
		return
	}
	y.contexts[c.ID] = true
}

// agreement notes what became of an agreement, and tells whether what waited for room may
// find some now.
func (y *tally) agreement(a *records.Agreement) (room bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.offers = max(y.offers, a.Offers.Kept, a.Offers.Late)
	customer, had := a.Flow.Me == protocol.Customer, y.agreements[a.ID]
	switch lives := !a.Flow.Final(); {
	case lives && !had:
		y.agreements[a.ID] = true
		if customer {
			y.requests[a.Context]++
		}
	case !lives && had:
		delete(y.agreements, a.ID)
		room, y.waiting = y.waiting, false
	}
	if customer && a.Reason == protocol.ContextRelation && a.Flow.Final() {
		delete(y.contexts, a.Context)
	}
	return room
}

// fills shows each bound; of requests, those of the context that has most.
func (y *tally) fills() []kv.Fill {
	y.mu.Lock()
	defer y.mu.Unlock()
	requests := 0
	for _, n := range y.requests {
		requests = max(requests, n)
	}
	return []kv.Fill{
		{Name: "market.contexts", Used: int64(len(y.contexts)), Cap: int64(y.lim.Contexts)},
		{Name: "market.agreements", Used: int64(len(y.agreements)), Cap: int64(y.lim.Agreements)},
		{Name: "market.requests-per-context", Used: int64(requests), Cap: int64(y.lim.Requests)},
		{Name: "market.offers-per-grant", Used: int64(y.offers), Cap: int64(y.lim.Offers)},
	}
}

// room refuses a context too many.
func (y *tally) room() error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if n := len(y.contexts); n >= y.lim.Contexts {
		return fmt.Errorf("%d needs and relations stand: %w", n, fault.Full)
	}
	return nil
}

// putContext keeps a context, and counts it once the turn is kept.
func (t *turn) putContext(c records.Context) error {
	t.then(func() { t.m.tally.context(&c) })
	return records.PutContext(t, c)
}

// errNoRoom refuses an agreement too many, for good: a request that waited for room would
// stand in the way of all other letters.
var errNoRoom = fmt.Errorf("more find no room: %w", fault.Denied)

// newAgreement looks whether there is room for one more agreement; keep counts it.
func (t *turn) newAgreement(a *records.Agreement) error {
	y := t.m.tally
	y.mu.Lock()
	defer y.mu.Unlock()
	switch full := a.Flow.Me == protocol.Customer && y.requests[a.Context] >= y.lim.Requests; {
	case full:
		return fmt.Errorf("%d vendors ask about %s: %w", y.lim.Requests, short(a.Context), errNoRoom)
	case len(y.agreements)+t.begun >= y.lim.Agreements:
		y.waiting = true
		return fmt.Errorf("%d agreements stand: %w", y.lim.Agreements, errNoRoom)
	}
	t.begun++
	return nil
}

// counted counts an agreement as it is, once the turn is kept. A vendor that had no room
// then asks for what it could not ask for.
func (t *turn) counted(a records.Agreement) {
	m := t.m
	t.then(func() {
		if m.tally.agreement(&a) && !m.again(func(t *turn) error { return t.askAll(context.Background()) }) {
			m.tally.wait()
		}
	})
}

// wait notes that a need was not asked about, for want of room.
func (y *tally) wait() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.waiting = true
}

// another counts one more of what a grant may have so many of as offers.
func (y *tally) another(n *int, id protocol.GrantID) error {
	if *n >= y.lim.Offers {
		return fmt.Errorf("%d offers under grant %s, more are not kept: %w", *n, id.Short(), fault.Denied)
	}
	*n++
	return nil
}
