package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/demo/network"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

// Waits. None of them is what a figure depends on.
const (
	inFlight   = 4                      // needs at once
	needWait   = 30 * time.Second       // for all offers to one need
	afterOffer = 80 * time.Millisecond  // the last offer of a vendor may still be on its way
	noOffer    = 700 * time.Millisecond // and a vendor without any says nothing
	dealWait   = 30 * time.Second
	heldBack   = 5 * time.Second // how long keepers hold the last offer of each vendor back
	lateWait   = 15 * time.Second
)

// A show is one run over an open network.
type show struct {
	*network.Network
	in    input.Input
	story *Story
	held  time.Duration

	sabotage string    // that somebody does; nothing where empty
	relation *relation // of the first act

	mu        sync.Mutex
	needs     []*announced // in the order of the input
	problems  []string
	brokenOff bool
}

// An announced is a need that was announced by one customer.
type announced struct {
	input.Need
	number   int // from 1, in the order of the input
	customer *process.Process
	id       string
}

func (sh *show) problem(format string, args ...any) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.problems = append(sh.problems, fmt.Sprintf(format, args...))
}

// play goes through the acts. An error means that it makes no sense to go on; what
// went wrong in one need alone is a problem.
func (sh *show) play(ctx context.Context) error {
	customers := sh.Of(process.Customer)
	for i, nd := range sh.in.Needs {
		sh.needs = append(sh.needs, &announced{Need: nd, number: i + 1, customer: customers[i%len(customers)]})
	}
	if err := sh.standing(ctx); err != nil {
		return err
	}
	if err := sh.announce(ctx, sh.needs[0]); err != nil {
		return err
	}
	sh.story.first(ctx, sh, sh.needs[0])
	if err := sh.all(ctx, sh.needs[1:], sh.announce); err != nil {
		return err
	}
	sh.arrived(ctx)
	sh.story.deals()
	if err := sh.all(ctx, sh.needs, sh.deal); err != nil {
		return err
	}
	if err := sh.decisions(ctx); err != nil {
		return err
	}
	if err := sh.revoke(ctx); err != nil {
		return err
	}
	if err := sh.lapses(ctx); err != nil {
		return err
	}
	return sh.settle(ctx)
}

// all runs fn for needs, a few at a time, and stops at the first error.
func (sh *show) all(ctx context.Context, list []*announced, fn func(context.Context, *announced) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := fn(ctx, list[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// announce announces one need and waits for what comes of it.
func (sh *show) announce(ctx context.Context, a *announced) error {
	v, err := a.customer.API.Customer().Needs().Create(ctx, a.Spec)
	if err != nil {
		return fmt.Errorf("%s could not announce %q: %w", a.customer, a.Input, err)
	}
	sh.mu.Lock()
	a.id = v.ID
	sh.mu.Unlock()
	if !sh.News.Wait(ctx, needWait, func() bool { return sh.answered(a.id) }) && ctx.Err() == nil {
		vendors := len(sh.Of(process.Vendor))
		sh.problem("need %d (%q) was not answered by all vendors within %v: %d of %d were granted access or refused",
			a.number, a.Input, needWait, sh.decided(a.id), vendors)
	}
	sh.story.answered(ctx, sh, a)
	return ctx.Err()
}

// decided is how many vendors a customer's rule has decided on.
func (sh *show) decided(id string) int {
	return sh.News.Seen(process.Customer, "disclosure.sent", id) + sh.News.Seen(process.Customer, "refusal.sent", id)
}

// answered tells whether all offers to a need have come: every vendor was decided
// on, and what those who may have sent has arrived.
func (sh *show) answered(id string) bool {
	w := sh.News
	sent, got := w.Seen(process.Vendor, "offer.sent", id), w.Seen(process.Customer, "offer.opened", id)+w.Seen(process.Customer, "offer.missed", id)
	if sh.decided(id) < len(sh.Of(process.Vendor)) || got < sent {
		return false
	}
	wait := afterOffer
	if w.Seen(process.Vendor, "answered", id) < w.Seen(process.Customer, "disclosure.sent", id) {
		wait = noOffer
	}
	return w.Quiet(id) >= wait
}

// arrived waits until the customers have every offer that vendors made.
func (sh *show) arrived(ctx context.Context) {
	err := process.Poll(ctx, needWait, "every offer should arrive", func(ctx context.Context) (bool, error) {
		made, got, err := sh.countOffers(ctx)
		return made == got, err
	})
	if err != nil && ctx.Err() == nil {
		sh.problem("%v", err)
	}
}

func (sh *show) countOffers(ctx context.Context) (made, got int, err error) {
	for _, p := range sh.Nodes {
		if p.Role == process.Practice {
			continue // it offers nothing
		}
		list, err := figures.Pages(ctx, p.API.Customer().Offers().List, desk.Query{All: true})
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p, err)
		}
		if p.Role == process.Customer {
			got += len(list)
		} else {
			made += len(list)
		}
	}
	return made, got, nil
}

// best lists the offers to a need that fit it, best first.
func (sh *show) best(ctx context.Context, a *announced) ([]desk.Offer, error) {
	list, err := figures.Pages(ctx, a.customer.API.Customer().Offers().List, desk.Query{Context: a.id})
	if err != nil {
		return nil, fmt.Errorf("%s: offers: %w", a.customer, err)
	}
	return list, nil
}

// deal accepts the best offer to a need and closes the deal when it is fulfilled.
func (sh *show) deal(ctx context.Context, a *announced) error {
	list, err := sh.best(ctx, a)
	if err != nil || len(list) == 0 {
		return err
	}
	best, desks := list[0], a.customer.API.Customer()
	if _, err := desks.Offers().Accept(ctx, best.ID, ""); err != nil {
		return fmt.Errorf("%s could not accept %q of %s: %w", a.customer, best.Title, best.VendorName, err)
	}
	if !sh.News.Wait(ctx, dealWait, func() bool { return sh.News.Seen(process.Customer, "deal.fulfilled", best.ID) > 0 }) {
		if ctx.Err() == nil {
			sh.problem("%s accepted %q of vendor %s, which did not fulfil it within %v", a.customer, best.Title, best.VendorName, dealWait)
		}
		return ctx.Err()
	}
	if _, err := desks.Deals().Step(ctx, best.ID, "close", ""); err != nil {
		return fmt.Errorf("%s could not close the deal on %q: %w", a.customer, best.Title, err)
	}
	if !sh.News.Wait(ctx, dealWait, func() bool { return sh.News.Seen(process.Vendor, "deal.closed", best.ID) > 0 }) && ctx.Err() == nil {
		sh.problem("vendor %s did not hear within %v that the deal on %q is closed", best.VendorName, dealWait, best.Title)
	}
	sh.story.dealt(a, best)
	return ctx.Err()
}

// A lateOffer is an offer by hand that keepers hold back.
type lateOffer struct {
	vendor *process.Process
	grant  desk.Grant
	owner  *process.Process
}

// revoke has one more offer of each vendor held back, revokes every grant, and waits
// for every signed deletion and for the late offers to surface.
func (sh *show) revoke(ctx context.Context) error {
	grants, err := sh.grants(ctx)
	if err != nil {
		return err
	}
	late := sh.chooseLate(grants)
	for _, l := range late {
		if err := sh.holdBack(ctx, l); err != nil {
			return err
		}
	}
	sh.story.revoking(late, sh.held)
	if err := sh.revokeAll(ctx, grants, late); err != nil {
		return err
	}
	owed := 0
	for _, g := range grants {
		if g.Times.Receipted > 0 {
			owed++
		}
	}
	wait := dealWait + time.Duration(owed)*200*time.Millisecond
	if !sh.News.Wait(ctx, wait, func() bool { return sh.News.Seen(process.Customer, "deletion.kept", "") >= owed }) && ctx.Err() == nil {
		sh.problem("%d of %d signed deletions came within %v", sh.News.Seen(process.Customer, "deletion.kept", ""), owed, wait)
	}
	sh.story.Progress("waiting for the offers that were held back")
	surfaced := func() bool {
		return !slices.ContainsFunc(late, func(l lateOffer) bool {
			return sh.News.Seen(process.Customer, "offer.late", l.vendor.Self.Vendor) == 0
		})
	}
	if !sh.News.Wait(ctx, sh.held+lateWait, surfaced) && ctx.Err() == nil {
		sh.problem("not all offers that keepers held back have surfaced within %v", sh.held+lateWait)
	}
	return ctx.Err()
}

// owned is a grant with the customer who gave it.
type owned struct {
	desk.Grant
	owner *process.Process
}

// grants lists the living grants of all customers.
func (sh *show) grants(ctx context.Context) (out []owned, err error) {
	for _, p := range sh.Of(process.Customer) {
		list, err := figures.Pages(ctx, p.API.Customer().Grants().List, desk.Query{})
		if err != nil {
			return nil, fmt.Errorf("%s: grants: %w", p, err)
		}
		for _, g := range list {
			if g.Times.Revoked == 0 {
				out = append(out, owned{g, p})
			}
		}
	}
	return out, nil
}

// chooseLate picks one disclosed grant of each vendor, dealt round to the customers
// and of as few needs as possible.
func (sh *show) chooseLate(grants []owned) (out []lateOffer) {
	customers := sh.Of(process.Customer)
	for i, v := range sh.Of(process.Vendor) {
		var hit *owned
		for j := range grants {
			g := &grants[j]
			if g.Vendor != v.Self.Vendor || g.State != "disclosed" || g.ContextKind != "need" {
				continue
			}
			inUse := func(g *owned) bool {
				return slices.ContainsFunc(out, func(l lateOffer) bool { return l.grant.Context == g.Context })
			}
			turn := customers[i%len(customers)]
			if hit == nil || hit.owner != turn && g.owner == turn || hit.owner == g.owner && !inUse(hit) && inUse(g) {
				hit = g
			}
		}
		if hit == nil {
			sh.problem("vendor %s has no grant under which it could make a late offer", v.Name)
			continue
		}
		out = append(out, lateOffer{v, hit.Grant, hit.owner})
	}
	return out
}

// holdBack makes an offer by hand and sees that it lies at keepers, who will not
// show it before its time.
func (sh *show) holdBack(ctx context.Context, l lateOffer) error {
	product, err := l.vendor.API.Vendor().Catalog().List(ctx, desk.Query{Limit: 1})
	if err != nil || len(product.Items) == 0 {
		return errors.Join(fmt.Errorf("%s: no product to offer", l.vendor), err)
	}
	o, err := l.vendor.API.Customer().Offers().Make(ctx, desk.OfferSpec{
		Grant: l.grant.ID, Product: product.Items[0].ID, Hold: int(sh.held / time.Second),
	})
	if err != nil {
		return fmt.Errorf("%s: offer by hand: %w", l.vendor, err)
	}
	return process.Poll(ctx, dealWait, fmt.Sprintf("the last offer of %s should lie at keepers", l.vendor), func(ctx context.Context) (bool, error) {
		list, err := figures.Pages(ctx, func(ctx context.Context, q desk.Query) (desk.Page[desk.LetterReport], error) {
			return l.vendor.API.Admin().Letters(ctx, true, q)
		}, desk.Query{Kind: protocol.KindOffer.String()})
		return slices.ContainsFunc(list, func(v desk.LetterReport) bool {
			return v.AtMS >= o.AtMS && (v.State == "deposited" || v.State == "done")
		}), err
	})
}

// revokeAtOnce bounds how many grants one call revokes.
const revokeAtOnce = 48

// revokeAll revokes the grants with held-back offers first, then the others, always
// all of one need together, and at last whatever is left.
func (sh *show) revokeAll(ctx context.Context, grants []owned, late []lateOffer) error {
	soon := map[string]bool{}
	for _, l := range late {
		soon[l.grant.Context] = true
	}
	slices.SortStableFunc(grants, func(a, b owned) int {
		if soon[a.Context] != soon[b.Context] {
			if soon[a.Context] {
				return -1
			}
			return 1
		}
		if a.Context < b.Context {
			return -1
		}
		return 1
	})
	return process.Each(sh.Of(process.Customer), func(_ int, p *process.Process) error {
		var ids []string
		last := ""
		flush := func() error {
			if len(ids) == 0 {
				return nil
			}
			_, err := p.API.Customer().Grants().Revoke(ctx, ids, desk.Query{}, "the show is over")
			ids = nil
			return err
		}
		for _, g := range grants {
			if g.owner != p {
				continue
			}
			if g.Context != last && (len(ids) >= revokeAtOnce || soon[last] && !soon[g.Context]) {
				if err := flush(); err != nil {
					return fmt.Errorf("%s: revoke: %w", p, err)
				}
			}
			ids, last = append(ids, g.ID), g.Context
		}
		if err := flush(); err != nil {
			return fmt.Errorf("%s: revoke: %w", p, err)
		}
		if _, err := p.API.Customer().Grants().Revoke(ctx, nil, desk.Query{All: true}, "the show is over"); err != nil {
			return fmt.Errorf("%s: revoke: %w", p, err)
		}
		return nil
	})
}

// settleWait bounds how long the ledgers may still grow at the end.
const settleWait = 10 * time.Second

// settle waits until no ledger grows any more and no letter is under way, so that
// what the APIs say and what the homes say is about the same moment.
func (sh *show) settle(ctx context.Context) error {
	sh.story.Progress("waiting until all is quiet")
	last := int64(-1)
	return process.Poll(ctx, settleWait, "all nodes should come to rest", func(ctx context.Context) (bool, error) {
		sum := int64(0)
		for _, p := range sh.Nodes {
			s, err := p.API.Admin().Status(ctx)
			if err != nil {
				return false, fmt.Errorf("%s: %w", p, err)
			}
			r, err := p.API.Ledger().Verify(ctx)
			if err != nil {
				return false, fmt.Errorf("%s: %w", p, err)
			}
			sum += r.Entries<<20 + int64(s.Delivery["queued"])
		}
		same := sum == last
		last = sum
		return same, nil
	})
}
