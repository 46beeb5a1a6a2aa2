package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// How a large value goes to a vendor:
//
//  1. A disclosure that allows one waits for its copy: a fresh key, in the same
//     transaction, and work for the carrier (room carrier).
//  2. The carrier measures the copy, which is kept before any of it leaves (Measured), and
//     lays it down at the keepers of her duty mailbox; Placed lets the disclosure go.
//  3. The vendor's carrier fetches it into what is held, and acknowledges its digest.
//  4. With that, with the end of the grant, and with any change to the field, her node
//     has the keepers delete it; but for the first of these, its key is destroyed.

// copyWaitMS is how long a disclosure waits for copies before it goes without them: the
// small values of a grant must not wait for keepers that have no room. What is granted to
// be used once goes once, and whole.
const copyWaitMS = 2 * 60_000

// unconfirmedMS is how long a vendor has to say that it still has what is named again.
const unconfirmedMS = 10 * 60_000

// copies gives the copies that go with a disclosure; not ready where it has to wait for one.
// Those of what is not given any more leave.
func (t *turn) copies(a *records.Agreement) (list []records.Copy, ready bool, err error) {
	if a.Terms.Lease == 0 && a.Leases > 0 {
		return nil, true, nil
	}
	allowed, err := t.large(a)
	if err != nil {
		return nil, false, err
	}
	have, err := records.CopiesOf(t, a.ID)
	if err != nil {
		return nil, false, err
	}
	ready, wait := true, int64(0)
	for _, l := range allowed {
		c, err := t.copyOf(a, l, &have)
		switch {
		case err != nil:
			return nil, false, err
		case c.State != records.CopyWanted:
			list = append(list, c)
		case a.Terms.Lease == 0 || t.nowMS < c.SinceMS+copyWaitMS:
			ready, wait = false, max(wait, c.SinceMS+copyWaitMS)
		}
	}
	for _, c := range have { // nobody wants these
		if err := t.dropCopy(c); err != nil {
			return nil, false, err
		}
	}
	if !ready && a.Terms.Lease > 0 {
		err = records.SetDue(t, records.DueLater, a.ID, wait)
	}
	return list, ready, err
}

// copyOf takes the copy of one value out of have, or makes one.
func (t *turn) copyOf(a *records.Agreement, l vault.Large, have *[]records.Copy) (records.Copy, error) {
	i := slices.IndexFunc(*have, func(c records.Copy) bool {
		lost := c.State == records.CopyTaken && !c.Confirmed && t.nowMS > c.NamedMS+unconfirmedMS
		over := c.State == records.CopyPlaced && c.Expires <= t.now
		return c.Field == l.Name && c.Version == l.Version && c.State != records.CopyLeaving && !lost && !over
	})
	if i >= 0 {
		c := (*have)[i]
		*have = slices.Delete(*have, i, i+1)
		return c, nil
	}
	g, err := t.signedGrant(a)
	if err != nil {
		return records.Copy{}, err
	}
	c := records.Copy{
		ID: protocol.Hash(key.NewSecret().Reveal()), Grant: a.ID, Field: l.Name, Version: l.Version, Size: l.Size, Media: l.Media,
		Key: protocol.Share(key.NewSecret()), Seed: a.Mine.Box, Keepers: g.DutyBox.Keepers, State: records.CopyWanted,
		SinceMS: t.nowMS, Expires: min(a.Terms.End, t.now+t.letters()),
	}
	return c, errors.Join(records.PutCopy(t, c), t.carry(records.Parcel{Grant: c.Grant, ID: c.ID}))
}

// carry notes work for the carrier.
func (t *turn) carry(p records.Parcel) error {
	t.then(func() {
		if t.m.cfg.Carry != nil {
			t.m.cfg.Carry()
		}
	})
	return records.PutParcel(t, p)
}

// dropCopy destroys a copy's key and has the keepers delete what they have of it.
func (t *turn) dropCopy(c records.Copy) error {
	if c.Digest.IsZero() || c.Gone {
		return records.DeleteCopy(t, c) // nothing lies anywhere
	}
	if c.State == records.CopyLeaving {
		return nil
	}
	c.State, c.Key = records.CopyLeaving, protocol.Shared{}
	return errors.Join(records.PutCopy(t, c), t.carry(records.Parcel{Grant: c.Grant, ID: c.ID}))
}

// dropCopies does so for all copies under a grant, or for those of some fields.
func (t *turn) dropCopies(id protocol.GrantID, fields ...protocol.FieldName) error {
	list, err := records.CopiesOf(t, id)
	for _, c := range list {
		if err == nil && (len(fields) == 0 || slices.Contains(fields, c.Field)) {
			err = t.dropCopy(c)
		}
	}
	return err
}

// dropStale does so for copies of values that the vault has no longer, whatever becomes of
// their grants.
func (t *turn) dropStale() error {
	var stale []records.Copy
	err := records.EachCopy(t, func(c records.Copy) (bool, error) {
		f, err := t.m.cfg.Stores.Vault.About(t, c.Field)
		if errors.Is(err, fault.NotFound) || err == nil && (f.Blob == nil || f.Version != c.Version) {
			stale, err = append(stale, c), nil
		}
		return true, err
	})
	for _, c := range stale {
		if err == nil {
			err = t.dropCopy(c)
		}
	}
	return err
}

// name spells copies for a disclosure that goes now.
func (t *turn) name(list []records.Copy) (protocol.Extra, error) {
	var v protocol.LargeValues
	for _, c := range list[:min(len(list), protocol.MaxLarges)] {
		v.Values = append(v.Values, protocol.LargeValue{Name: c.Field, Version: c.Version, Size: c.Size, Digest: c.Digest, Key: c.Key, Media: c.Media})
		for _, k := range c.At {
			if len(v.Keepers) < protocol.MaxKeepers && !slices.ContainsFunc(v.Keepers, func(x protocol.Keeper) bool { return x.Key == k.Key }) {
				v.Keepers = append(v.Keepers, k)
			}
		}
		c.NamedMS, c.Confirmed = t.nowMS, false
		if err := records.PutCopy(t, c); err != nil {
			return nil, err
		}
	}
	x, err := large.Extra(v)
	if err != nil {
		return nil, fmt.Errorf("large values: %w", err)
	}
	return x, nil
}

// taken marks copies that the vendor says it has: the keepers need them no more.
func (t *turn) taken(a *records.Agreement, acked []protocol.Hash) error {
	list, err := records.CopiesOf(t, a.ID)
	for _, c := range list {
		if err != nil || !slices.Contains(acked, c.Digest) || c.Digest.IsZero() || c.State == records.CopyLeaving {
			continue
		}
		if a.Terms.Lease == 0 { // it is never named again
			err = t.dropCopy(c)
			continue
		}
		c.Confirmed = true
		if c.State == records.CopyPlaced {
			c.State = records.CopyTaken
			err = t.carry(records.Parcel{Grant: c.Grant, ID: c.ID})
		}
		err = errors.Join(err, records.PutCopy(t, c))
	}
	return err
}

// Parcels gives what the carrier has still to do.
func (m *Market) Parcels(ctx context.Context, fn func(records.Parcel) bool) error {
	return m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		return records.EachParcel(r, func(p records.Parcel) (bool, error) { return fn(p), nil })
	})
}

// Copy gives a customer's copy for the work that its state asks for, and, where it is wanted,
// the value that it is made of. fault.NotFound where there is nothing to do.
func (m *Market) Copy(ctx context.Context, p records.Parcel) (c records.Copy, l vault.Large, err error) {
	err = m.Do(ctx, "copy", func(t *turn) error {
		if c, err = records.GetCopy(t, p.Grant, p.ID); err != nil || c.State != records.CopyWanted {
			return err
		}
		a, err := records.GetAgreement(t, p.Grant)
		if err != nil {
			return err
		}
		all, err := t.large(&a)
		if err != nil {
			return err
		}
		for _, l = range all {
			if l.Name == c.Field && l.Version == c.Version {
				return nil
			}
		}
		return fmt.Errorf("%s is not given any more: %w", c.Field, fault.NotFound)
	})
	return c, l, err
}

// Measured keeps what a copy's digest is, before any of it leaves.
func (m *Market) Measured(ctx context.Context, p records.Parcel, digest protocol.Hash) error {
	return m.Do(ctx, "copy measured", func(t *turn) error {
		c, err := records.GetCopy(t, p.Grant, p.ID)
		if err != nil || c.State != records.CopyWanted {
			return cmp.Or(err, error(fault.NotFound))
		}
		c.Digest = digest
		return records.PutCopy(t, c)
	})
}

// Carried keeps what came of the work on a parcel: keepers that did what the copy's state
// then asked for, and an error that says why it has to be tried again. With fault.NotFound
// it is given up.
func (m *Market) Carried(ctx context.Context, p records.Parcel, then records.CopyState, by []protocol.Keeper, failed error) error {
	return m.Do(ctx, "carried", func(t *turn) error {
		now, err := records.GetParcel(t, p.Grant, p.ID)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		switch {
		case err != nil:
			return err
		case p.Fetch && failed == nil:
			return t.fetched(p)
		case p.Fetch && errors.Is(failed, fault.Expired):
			return records.DeleteParcel(t, p.Grant, p.ID)
		case p.Fetch:
			return t.tryAgain(now)
		}
		c, err := records.GetCopy(t, p.Grant, p.ID)
		if errors.Is(err, fault.NotFound) {
			return records.DeleteParcel(t, p.Grant, p.ID)
		}
		if err != nil || then != 0 && then != c.State {
			return err // it changed meanwhile, and is carried again at once
		}
		return t.copyCarried(c, now, by, failed)
	})
}

// copyCarried goes on with a copy for which its state asked so much.
func (t *turn) copyCarried(c records.Copy, p records.Parcel, by []protocol.Keeper, failed error) error {
	done := len(by) >= min(2, len(c.Keepers))
	switch {
	case c.State == records.CopyWanted && errors.Is(failed, fault.NotFound):
		return t.dropCopy(c) // its value is gone
	case c.State == records.CopyWanted && done:
		c.State, c.At = records.CopyPlaced, by
		if err := errors.Join(records.PutCopy(t, c), records.DeleteParcel(t, p.Grant, p.ID)); err != nil {
			return err
		}
		return t.goOn(c.Grant)
	case c.State == records.CopyWanted, len(by) < len(c.Keepers) && c.Expires > t.now:
		return t.tryAgain(p)
	case c.State == records.CopyTaken:
		c.Gone = true
		return errors.Join(records.PutCopy(t, c), records.DeleteParcel(t, p.Grant, p.ID))
	}
	return records.DeleteCopy(t, c)
}

// tryAgain puts work off.
func (t *turn) tryAgain(p records.Parcel) error {
	p.Tries++
	p.NextMS = t.nowMS + outbox.Backoff(p.Tries, 0.5)
	return records.PutParcel(t, p)
}

// goOn sends the disclosure that waited for copies, once none is wanted any more.
func (t *turn) goOn(id protocol.GrantID) error {
	list, err := records.CopiesOf(t, id)
	if err != nil || slices.ContainsFunc(list, func(c records.Copy) bool { return c.State == records.CopyWanted }) {
		return err
	}
	return t.laterDue(id)
}

// blobs are the large values of a disclosure that a vendor holds from now on: those that
// were granted, as far as there is room.
func (t *turn) blobs(a *records.Agreement, v protocol.LargeValues) (list []held.Blob, err error) {
	total := int64(0)
	for _, l := range v.Values {
		granted := slices.ContainsFunc(a.Terms.Fields, func(f protocol.FieldGrant) bool { return f.Name == l.Name && f.Form == protocol.FormValue })
		if !granted || a.Standing.Lacks(l.Name) {
			continue
		}
		total += int64(l.Size)
		room, err := t.m.cfg.Stores.Held.Room(t, total)
		if err != nil {
			return nil, err
		}
		if !room {
			body := agreementNote(a, "field", string(l.Name), "bytes", fmt.Sprint(l.Size))
			t.then(func() { t.m.cfg.Events.Emit("disclosure.noroom", body["grant"], body) })
			continue
		}
		list = append(list, held.Blob{Name: l.Name, Version: l.Version, Size: l.Size, Digest: l.Digest, Key: l.Key, Media: l.Media, Keepers: v.Keepers})
	}
	return list, nil
}

// fetch has the carrier bring what is not here yet, and says of the rest that it is here.
func (t *turn) fetch(a *records.Agreement, list []held.Blob) error {
	for _, b := range list {
		var err error
		if b.Whole() {
			err = t.owe(a, b.Digest)
		} else {
			err = t.carry(records.Parcel{Grant: a.ID, ID: b.Digest, Fetch: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetched acknowledges a copy of which all is here.
func (t *turn) fetched(p records.Parcel) error {
	a, err := records.GetAgreement(t, p.Grant)
	if err != nil {
		return err
	}
	if err := records.DeleteParcel(t, p.Grant, p.ID); err != nil || !a.Flow.State.Live() {
		return err
	}
	if err := t.note("disclosure.fetched", agreementNote(&a, "copy", p.ID.String())); err != nil {
		return err
	}
	if err := t.owe(&a, p.ID); err != nil {
		return err
	}
	return t.keep(&a)
}

// Fetching gives what a vendor has still to fetch, and the mailbox that it belongs to.
// fault.Expired where it is not to be held any more.
func (m *Market) Fetching(ctx context.Context, p records.Parcel) (b held.Blob, box key.MailboxKey, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		a, err := records.GetAgreement(r, p.Grant)
		if err != nil {
			return err
		}
		box = a.Theirs.Box.Capability.Box
		rec, err := m.cfg.Stores.Held.Get(r, p.Grant)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		for _, b = range rec.Blobs {
			if b.Digest == p.ID {
				return nil
			}
		}
		return fmt.Errorf("copy %s is not held any more: %w", p.ID.Short(), fault.Expired)
	})
	return b, box, err
}
