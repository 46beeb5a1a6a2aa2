package market

import (
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
	Contexts int // needs, interests and relations
	// Agreements on either side. None is ever forgotten: a grant's proves what is owed under
	// it, and rights and lapses outlive its end; one that was refused, or never answered,
	// proves that a vendor asked once, with which notice, and what the customer said.
	Agreements int
	Requests   int // of one context: later vendors are not heard
	Offers     int // of one grant: later ones are not kept
	Blocked    int // vendors whose requests are dropped
}

// DefaultLimits leave room for years of one busy vendor, or customer.
var DefaultLimits = Limits{Contexts: 10_000, Agreements: 100_000, Requests: 512, Offers: 512, Blocked: 4096}

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
	return l
}

// A tally counts what is kept, so that a bound costs no scan. It is read once, before
// the loop's first turn.
type tally struct {
	mu         sync.Mutex
	lim        Limits
	contexts   int
	agreements int
	requests   map[protocol.ContextID]int // of this customer's contexts
	most       int                        // of them
}

func newTally(l Limits) *tally {
	return &tally{lim: l.orDefault(), requests: map[protocol.ContextID]int{}}
}

// read counts what is there.
func (y *tally) read(r kv.Reader) error {
	if err := records.EachContext(r, nil, func(records.Context) (bool, error) { y.context(); return true, nil }); err != nil {
		return err
	}
	return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) { y.agreement(&a); return true, nil })
}

func (y *tally) context() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.contexts++
}

func (y *tally) agreement(a *records.Agreement) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.agreements++
	if a.Flow.Me == protocol.Customer {
		y.requests[a.Context]++
		y.most = max(y.most, y.requests[a.Context])
	}
}

// fills shows each bound; of requests, those of the context that has most.
func (y *tally) fills() []kv.Fill {
	y.mu.Lock()
	defer y.mu.Unlock()
	return []kv.Fill{
		{Name: "market.contexts", Used: int64(y.contexts), Cap: int64(y.lim.Contexts)},
		{Name: "market.agreements", Used: int64(y.agreements), Cap: int64(y.lim.Agreements)},
		{Name: "market.requests-per-context", Used: int64(y.most), Cap: int64(y.lim.Requests)},
	}
}

// newContext counts a context once the turn is kept, if there is room for it.
func (t *turn) newContext() error {
	if err := t.m.tally.room(); err != nil {
		return err
	}
	t.then(t.m.tally.context)
	return nil
}

// room refuses a context too many.
func (y *tally) room() error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.contexts >= y.lim.Contexts {
		return fmt.Errorf("%d needs and relations are kept: %w", y.contexts, fault.Full)
	}
	return nil
}

// newAgreement likewise. A request too many is refused for good: one that waited for
// room would stand in the way of all other letters.
func (t *turn) newAgreement(a *records.Agreement) error {
	y := t.m.tally
	y.mu.Lock()
	defer y.mu.Unlock()
	switch full := a.Flow.Me == protocol.Customer && y.requests[a.Context] >= y.lim.Requests; {
	case full:
		return fmt.Errorf("%d vendors asked about %s, more are not heard: %w", y.lim.Requests, short(a.Context), fault.Denied)
	case y.agreements >= y.lim.Agreements:
		return fmt.Errorf("%d agreements are kept: %w", y.agreements, fault.Denied)
	}
	t.then(func() { y.agreement(a) })
	return nil
}

// offer counts one more offer under a grant, and refuses it where there were enough.
func (y *tally) offer(a *records.Agreement) error {
	if a.Offers.Kept >= y.lim.Offers {
		return fmt.Errorf("%d offers under grant %s, more are not kept: %w", a.Offers.Kept, a.ID.Short(), fault.Denied)
	}
	a.Offers.Kept++
	return nil
}
