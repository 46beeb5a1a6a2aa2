package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// How a grant lives on by itself:
//
//  1. the Receipt allows the first Disclosure, good for one lease;
//  2. before the lease ends, the next one goes (SendDisclosure), as long as the grant
//     lives: a vendor that hears nothing more deletes what it holds (EndLease);
//  3. a change to the vault is compared with what was given a moment later, and each
//     grant whose fields it touched gets one Disclosure with all of them as they now are;
//  4. her limit a day holds a Disclosure back until there is room, but for the lease;
//  5. what she revokes moves the other grants of its need to a new body key. That is
//     noted in the same transaction and done beside the loop, for it takes a stamp.

// A reason says why a disclosure goes.
type reason string

// The reasons.
const (
	firstTime reason = "first"
	renewal   reason = "lease renewed"
	changed   reason = "something changed"
	newKey    reason = "new body key"
)

// Leases. A lease is renewed a twelfth of it before its end: two hours of a day, so that
// neither a clock an hour wrong nor a slow keeper leaves a gap.
const (
	renewPart = 12
	// onceFor is how long the values of a lease of 0 stay with a vendor that has them.
	onceFor = 45
	// dailyLease lets one disclosure a day renew itself.
	dailyLease = 27 * protocol.Hour
)

// lease is how long what is given stays good: not at all where any of it is special
// personal information, or a child's, whatever was proposed.
func (t *turn) lease(a *records.Agreement) (protocol.Second, error) {
	for _, f := range a.Terms.Fields {
		guarded, err := t.guarded(f.Name)
		if guarded || err != nil {
			return 0, err
		}
	}
	if a.Standing.PerDay == 1 && a.Terms.Lease > 0 {
		return max(a.Terms.Lease, dailyLease), nil
	}
	return a.Terms.Lease, nil
}

// guarded tells whether a field is special personal information or a child's, by the
// vocabulary or to her.
func (t *turn) guarded(name protocol.FieldName) (bool, error) {
	own, err := t.m.cfg.Stores.Vault.About(t, name)
	if errors.Is(err, fault.NotFound) {
		return name.Class() > protocol.Ordinary, nil
	}
	return own.Class > protocol.Ordinary, err
}

// disclose sends what was granted, under the next lease, or puts it off where her limit
// says so. Each one answers the Receipt that allows it.
func (t *turn) disclose(a *records.Agreement, c *records.Context, why reason) error {
	if a.Leases == 0 {
		why = firstTime
	}
	if ok, from := a.Standing.Room(why == renewal || why == firstTime, t.now); !ok {
		if from > 0 {
			if err := records.SetDue(t, records.DueLater, a.ID, int64(from)*1000); err != nil {
				return err
			}
		}
		return t.keep(a)
	}
	values, err := t.values(a)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	copies, ready, err := t.copies(a)
	if err != nil {
		return fmt.Errorf("copies: %w", err)
	}
	if !ready { // it goes once they are laid down
		return t.keep(a)
	}
	keys, err := records.GetOfferKeys(t, a.ID)
	if err != nil {
		return fmt.Errorf("offer keys: %w", err)
	}
	named, err := t.name(copies)
	if err != nil {
		return err
	}
	// One that has not left yet is no news any more, and may hold what was taken back.
	if _, err := t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindDisclosure); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	re := a.Letters.Receipt
	a.Leases++
	a.Counter++
	d := &protocol.Disclosure{
		Header: t.header(protocol.KindDisclosure, protocol.Hash(a.Theirs.Sign), protocol.Hash(a.Context), t.letters()),
		Grant:  a.ID, Values: values, Lease: a.Leases, Until: min(t.now+a.Terms.Lease, a.Terms.End),
		OfferSecret: keys.Secret,
	}
	d.From = protocol.Hash(key.FromSeed[key.Duty](a.Mine.Sign.Secret()).Public())
	d.Seq, d.Re = a.Counter, re
	if n := len(c.Announced); n > 0 && c.Flow.State == flow.Announced {
		d.Announcement, d.BodyKey = c.Announced[n-1].Hash, c.Keys.Body
	}
	plain, err := wire.SealDisclosure(d, a.MAC.Secret(), named...)
	if err != nil {
		return fmt.Errorf("disclosure: %w", err)
	}
	id := wire.ID(plain)
	a.Letters.Disclosure, a.Times.Disclosed = id, t.nowMS
	names := t.gave(a, given(values, copies), why)
	e := flow.Event{Kind: protocol.KindDisclosure, ID: id, Re: re, By: protocol.Customer, Until: renewAt(a, d)}
	if err := t.advance(a, e, "disclosure.sent", "fields", strings.Join(names, " "), "lease", fmt.Sprint(a.Leases), "why", string(why)); err != nil {
		return err
	}
	if err := records.SetDue(t, records.DueLater, a.ID, 0); err != nil {
		return err
	}
	return t.sealDuty(a, plain, id, protocol.KindDisclosure, d.Expires)
}

// renewAt is when the next disclosure is to go, zero where a lease of 0 has none.
func renewAt(a *records.Agreement, d *protocol.Disclosure) protocol.Second {
	switch {
	case a.Terms.Lease == 0:
		return 0
	case d.Until >= a.Terms.End:
		return d.Until
	}
	return d.Until - a.Terms.Lease/renewPart
}

// gave notes what a disclosure holds and gives its names.
func (t *turn) gave(a *records.Agreement, list []records.Given, why reason) []string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = string(v.Name)
	}
	a.Standing.Given = list
	a.Standing.Count(t.now)
	if why == changed {
		a.Standing.Updates++
	}
	return names
}

// given names what a disclosure holds, small and large.
func given(values []protocol.FieldValue, copies []records.Copy) (list []records.Given) {
	for _, v := range values {
		list = append(list, records.Given{Name: v.Name, Version: v.Version})
	}
	for _, c := range copies {
		list = append(list, records.Given{Name: c.Field, Version: c.Version})
	}
	return list
}

// values reads from the vault what may be disclosed now.
func (t *turn) values(a *records.Agreement) ([]protocol.FieldValue, error) {
	g, err := t.allowed(a)
	if err != nil || g == nil {
		return nil, err
	}
	return t.m.cfg.Stores.Vault.View(t, g)
}

// large does so for large values, which leave as copies.
func (t *turn) large(a *records.Agreement) ([]vault.Large, error) {
	g, err := t.allowed(a)
	if err != nil || g == nil {
		return nil, err
	}
	list, err := t.m.cfg.Stores.Vault.Large(t, g)
	return list[:min(len(list), protocol.MaxLarges)], err
}

// allowed is the grant by which values and large read the vault, and nothing else does: the fields of the signed grant without those that she took back, and under a
// lease of 0 nothing after the first time. A field that became special to her, or a
// child's, after it was granted with a lease stays at home: nobody granted that.
func (t *turn) allowed(a *records.Agreement) (*protocol.Grant, error) {
	if a.Terms.Lease == 0 && a.Leases > 0 {
		return nil, nil
	}
	g, err := t.signedGrant(a)
	if err != nil {
		return nil, err
	}
	allowed := *g
	allowed.Fields = nil
	for _, f := range g.Fields {
		guarded, err := t.guarded(f.Name)
		if err != nil {
			return nil, err
		}
		if !a.Standing.Lacks(f.Name) && (!guarded || a.Terms.Lease == 0) {
			allowed.Fields = append(allowed.Fields, f)
		}
	}
	if t.m.cfg.Misbehave == LeakField {
		if err := t.leak(&allowed); err != nil {
			return nil, err
		}
	}
	return &allowed, nil
}

// leak puts a field that was not granted among those that were.
func (t *turn) leak(g *protocol.Grant) error {
	all, err := t.m.cfg.Stores.Vault.List(t)
	if err != nil {
		return err
	}
	for _, f := range all {
		in := slices.ContainsFunc(g.Fields, func(x protocol.FieldGrant) bool { return x.Name == f.Name })
		if !in && f.Rule.Will != terms.Never && len(g.Fields) < protocol.MaxFields {
			g.Fields = append(g.Fields, protocol.FieldGrant{Name: f.Name, Purpose: protocol.PurposeOffer, Form: protocol.FormValue})
			return nil
		}
	}
	return nil
}

// Wake lets the loop look at its deadlines now: something else has set one.
func (m *Market) Wake() { m.again(func(*turn) error { return nil }) }

// updatesPerTurn bounds how many disclosures one turn writes.
const updatesPerTurn = 16

// updateDue sends living grants what has changed since their last disclosure.
func (t *turn) updateDue() error {
	if err := errors.Join(records.SetDue(t, records.DueUpdate, [32]byte{}, 0), t.dropStale()); err != nil {
		return err
	}
	var ids []protocol.GrantID
	err := records.EachAgreement(t, nil, func(a records.Agreement) (bool, error) {
		differs, err := t.differs(&a)
		if differs {
			ids = append(ids, a.ID)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	sent := 0
	for _, id := range ids {
		if sent == updatesPerTurn {
			return records.SetDue(t, records.DueUpdate, [32]byte{}, t.nowMS+1)
		}
		went, err := t.discloseAgain(id, changed)
		if err != nil {
			return err
		}
		if went {
			sent++
		}
	}
	return nil
}

// differs reports whether the vault now holds something else than was given last.
func (t *turn) differs(a *records.Agreement) (bool, error) {
	if a.Flow.Me != protocol.Customer || a.Flow.State != flow.Disclosed || a.Terms.Lease == 0 {
		return false, nil
	}
	values, err := t.values(a)
	if err != nil {
		return false, fmt.Errorf("vault: %w", err)
	}
	large, err := t.large(a)
	if err != nil {
		return false, fmt.Errorf("vault: %w", err)
	}
	now := given(values, nil)
	for _, l := range large {
		now = append(now, records.Given{Name: l.Name, Version: l.Version})
	}
	return !slices.Equal(now, a.Standing.Given), nil
}

// discloseAgain sends one more disclosure under a living grant.
func (t *turn) discloseAgain(id protocol.GrantID, why reason) (went bool, err error) {
	a, err := records.GetAgreement(t, id)
	if err != nil {
		return false, err
	}
	waited := a.Flow.State == flow.Receipted && a.Leases == 0 // for copies
	if a.Flow.State != flow.Disclosed && !waited {
		return false, nil // a grant that is over gets none, a suspended one when it is resumed
	}
	c, err := records.GetContext(t, a.Context)
	if err != nil {
		return false, err
	}
	before := a.Leases
	err = t.disclose(&a, &c, why)
	return a.Leases > before, err
}

// laterDue sends a disclosure that her limit held back.
func (t *turn) laterDue(id protocol.GrantID) error {
	if err := records.SetDue(t, records.DueLater, id, 0); err != nil {
		return err
	}
	a, err := records.GetAgreement(t, id)
	if err != nil {
		return nil
	}
	why := changed
	if a.Flow.Lease > 0 && a.Flow.LeaseOver >= a.Flow.Lease {
		why = renewal
	}
	_, err = t.discloseAgain(id, why)
	return err
}

// endLease deletes what a vendor holds under a grant whose lease was not renewed. The
// grant may live on: the next disclosure brings all of it again.
func (t *turn) endLease(a *records.Agreement) error {
	names, err := t.m.cfg.Stores.Held.Names(t, a.ID)
	if err == nil && t.m.cfg.Misbehave != KeepLease {
		names, err = t.drop(a)
	}
	if err != nil {
		return fmt.Errorf("held: %w", err)
	}
	return t.note("lease.ended", agreementNote(a, "lease", fmt.Sprint(a.Leases), "deleted", strings.Join(names, ", ")))
}

// merge adds to a list what it lacks, as far as a Deletion has room for it.
func merge(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) && len(list) < protocol.MaxList {
			list = append(list, s)
		}
	}
	return list
}

// WithdrawField takes one field back from each of these grants: it is given no more, and the
// vendor owes a signed answer that it is deleted, by the deadline of a deletion. A grant
// that gives nothing else ends instead. The others stay as they are, with their offers
// and deals: a need's grant can't be written anew without another request.
func (m *Market) WithdrawField(ctx context.Context, ids []protocol.GrantID, f protocol.FieldName, reason string) error {
	var all []protocol.GrantID
	var failed error
	for _, id := range ids {
		ends := false
		err := m.command(ctx, "withdraw field", func(t *turn) (err error) {
			ends, err = t.withdrawField(id, f, reason)
			return err
		})
		failed = errors.Join(failed, err)
		if err == nil && ends {
			all = append(all, id)
		}
	}
	return errors.Join(failed, m.Revoke(ctx, all, reason))
}

// withdrawField takes a field back from one grant, or says that the grant has to end.
func (t *turn) withdrawField(id protocol.GrantID, f protocol.FieldName, reason string) (ends bool, err error) {
	a, err := records.GetAgreement(t, id)
	if err != nil {
		return false, err
	}
	if a.Flow.Me != protocol.Customer || !a.Flow.State.Live() {
		return false, fmt.Errorf("grant %s is %s: %w", id.Short(), a.Flow.State, fault.Conflict)
	}
	given := func(g protocol.FieldGrant) bool { return !a.Standing.Lacks(g.Name) }
	if !slices.ContainsFunc(a.Terms.Fields, func(g protocol.FieldGrant) bool { return g.Name == f && given(g) }) {
		return false, fmt.Errorf("grant %s does not give %s: %w", id.Short(), f, fault.Conflict)
	}
	a.Standing.Withhold(f)
	switch {
	case !slices.ContainsFunc(a.Terms.Fields, given):
		return true, nil
	case a.Theirs.Sign.IsZero(): // nothing was given yet
		return false, t.advanceNote(&a, "field.withdrawn", "field", string(f), "reason", reason)
	}
	return false, t.exercise(&a, protocol.RightDeletion, []protocol.FieldName{f}, nil)
}

// advanceNote keeps an agreement that changed by this side's own doing.
func (t *turn) advanceNote(a *records.Agreement, kind string, more ...string) error {
	if err := t.note(kind, agreementNote(a, more...)); err != nil {
		return err
	}
	return t.keep(a)
}

// moveOthers notes that the other living grants of a revoked one's need must go to a new
// body key.
func (t *turn) moveOthers(a *records.Agreement) error {
	if a.Reason == protocol.ContextRelation {
		return nil // has no body
	}
	t.then(func() {
		select {
		case t.m.moved <- struct{}{}:
		default: // it is awake
		}
	})
	return records.PutMove(t, a.Context, t.nowMS)
}

// How long revocations of one need are gathered, and how long after a failure the move
// to a new body key is tried again.
const (
	moveSettle = 250 * time.Millisecond
	moveAgain  = 30 * time.Second
	movesOnce  = 64
)

// Moves moves living grants to new body keys, whatever else the loop does and also after
// a crash: each takes the work on a stamp. It returns when ctx ends.
func (m *Market) Moves(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.moved:
		}
		timer.Reset(m.move(ctx))
	}
}

// move does what is noted and says when to look again.
func (m *Market) move(ctx context.Context) time.Duration {
	var ready []protocol.ContextID
	next := moveAgain
	now := m.cfg.Now().UnixMilli()
	err := m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		return records.EachMove(r, func(c protocol.ContextID, sinceMS int64) (bool, error) {
			if wait := time.Duration(sinceMS-now)*time.Millisecond + cmp.Or(m.cfg.Gather, moveSettle); wait > 0 {
				next = min(next, wait)
			} else {
				ready = append(ready, c)
			}
			return len(ready) < movesOnce, nil
		})
	})
	for _, c := range ready {
		if err = m.revise(ctx, "new body key", c, living); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("market: living grants could not go to a new body key yet", "need", short(c), "err", err)
		}
	}
	if err == nil && len(ready) == movesOnce {
		return time.Millisecond
	}
	return next
}

// living tells whether a need that stands has living grants, which then move to a new
// body key.
func living(t *turn, c *records.Context) (until protocol.Second, err error) {
	if c.Flow.State == flow.Announced {
		err = records.EachUnder(t, c.ID, func(a records.Agreement) (bool, error) {
			if a.Flow.State == flow.Disclosed {
				until = t.now + c.Life
			}
			return until == 0, nil
		})
	}
	if err == nil && until == 0 {
		err = records.DeleteMove(t, c.ID)
	}
	return until, err
}
