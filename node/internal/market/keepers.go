package market

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// Keepers come and go, and some lie:
//
//  1. What is announced is handed to its keepers again from time to time, as they may
//     lose it, and names others in the place of those that are silent or lied, under its
//     next seq (upkeep). Its mailbox is read at both.
//  2. Receipts for letters that arrived are passed on to their reader with the next
//     message on duty keys (willTell, signDuty).
//  3. A reader that is told keeps one as proof against a keeper that lacked the letter
//     (wasTold).

// How often announcements are looked through, how often each is posted again, and how
// near its end it stays where it is.
const (
	upkeepEvery = 5 * time.Minute
	postEvery   = time.Hour
	moveSoon    = protocol.Hour
)

// maxReadAt bounds the keepers at which one mailbox is read.
const maxReadAt = 2 * protocol.MaxKeepers

// Upkeep looks after the keepers of living announcements until ctx ends. It runs beside
// the loop, which does not wait for the work on the stamp of one that moves.
func (m *Market) Upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	posted := map[protocol.ContextID]time.Time{} // when each was posted last in this run
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			posted = m.upkeep(ctx, posted)
		}
	}
}

// upkeep looks through all living announcements once.
func (m *Market) upkeep(ctx context.Context, before map[protocol.ContextID]time.Time) map[protocol.ContextID]time.Time {
	now := m.cfg.Now()
	var list []protocol.ContextID
	posted := map[protocol.ContextID]time.Time{} // of those that live
	err := m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		return records.EachContext(r, nil, func(c records.Context) (bool, error) {
			if !lives(&c, protocol.Second(now.Unix())) {
				return true, nil
			}
			posted[c.ID] = before[c.ID]
			_, changed := m.betterKeepers(&c, protocol.Second(now.Unix()))
			if len(list) < 64 && (changed || now.Sub(posted[c.ID]) >= postEvery) { // the rest at the next time
				list, posted[c.ID] = append(list, c.ID), now
			}
			return true, nil
		})
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("market: keepers", "err", err)
	}
	for _, id := range list {
		if err := m.postAgain(ctx, id); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("market: a need was not posted again", "need", short(id), "err", err)
		}
	}
	return posted
}

// lives tells whether strangers can see a context.
func lives(c *records.Context, now protocol.Second) bool {
	return c.Flow.State == flow.Announced && c.Flow.Kind.Life() > 0 && ends(c) > now
}

// betterKeepers gives the keepers that a context should have, where these are others.
func (m *Market) betterKeepers(c *records.Context, now protocol.Second) ([]protocol.Keeper, bool) {
	if !lives(c, now) || ends(c) < now+moveSoon {
		return nil, false
	}
	return m.cfg.Places.Replace(c.Keepers)
}

// ends is when the latest version of an announcement ends.
func ends(c *records.Context) protocol.Second {
	if len(c.Announced) == 0 {
		return 0
	}
	return c.Announced[len(c.Announced)-1].Expires
}

// postAgain posts what is announced to its keepers once more, or announces it anew at
// others: it then ends when it would have ended.
func (m *Market) postAgain(ctx context.Context, id protocol.ContextID) error {
	return m.revise(ctx, "keepers", id, func(t *turn, c *records.Context) (protocol.Second, error) {
		next, changed := m.betterKeepers(c, t.now)
		switch {
		case changed:
			c.Keepers = next
			return ends(c), nil
		case lives(c, t.now):
			return 0, t.postRaw(c, ends(c))
		}
		return 0, nil
	})
}

// alsoBefore adds to keepers of a mailbox those at which it is read already: what was
// deposited there has still to be collected. The latest come first.
func (t *turn) alsoBefore(box key.MailboxKey, keepers []protocol.Keeper) ([]protocol.Keeper, error) {
	old, err := records.GetBox(t, box)
	if errors.Is(err, fault.NotFound) {
		return keepers, nil
	}
	if err != nil {
		return nil, err
	}
	all := slices.Clone(keepers)
	for _, k := range old.Keepers {
		if len(all) < maxReadAt && !slices.ContainsFunc(all, func(o protocol.Keeper) bool { return o.Key == k.Key }) {
			all = append(all, k)
		}
	}
	return all, nil
}

// willTell keeps the receipts of a letter that arrived for its reader, the latest
// wire.MaxTold under the grant. First letters are left out: a keeper may drop them for
// better ones.
func (t *turn) willTell(it outbox.Item) error {
	if it.Cap.ID.IsZero() || it.Grant.IsZero() || len(it.Receipts) == 0 {
		return nil
	}
	list, err := records.GetTold(t, it.Grant)
	if err != nil {
		return err
	}
	var keepers []key.KeeperKey
	for _, r := range it.Receipts { // of each keeper the first: it says most
		if !slices.Contains(keepers, r.Keeper) {
			keepers, list = append(keepers, r.Keeper), append(list, r)
		}
	}
	return records.PutTold(t, it.Grant, list[max(0, len(list)-wire.MaxTold):])
}

// signDuty signs a message and passes on with it the receipts that wait. Where they
// do not fit, they wait on.
func (t *turn) signDuty(a *records.Agreement, m protocol.Message) ([]byte, error) {
	k := key.FromSeed[key.Duty](a.Mine.Sign.Secret())
	list, err := records.GetTold(t, a.ID)
	if err != nil {
		return nil, err
	}
	x, err := wire.ReceiptsExtra(list)
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	if len(x) > 0 {
		if raw, err := wire.SignExtra(k, m, x); err == nil {
			return raw, records.PutTold(t, a.ID, nil)
		}
	}
	return wire.Sign(k, m)
}

// wasTold keeps receipts as proof: those of keepers that lacked the letter, or had
// altered it, when this node read it.
func (t *turn) wasTold(list []protocol.DepositReceipt) error {
	for _, r := range list {
		s, err := records.GetSighting(t, r.Letter)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if _, had := s.Proven(r.Keeper); had || !slices.Contains(append(slices.Clone(s.Missing), s.Altered...), r.Keeper) {
			continue
		}
		s.Proof = append(s.Proof, r)
		if _, ok := s.Proven(r.Keeper); !ok {
			continue // for another mailbox, too late, or of a first letter
		}
		if err := records.PutSighting(t, s, records.Room{}); err != nil { // it needs none: it is there
			return err
		}
		t.then(func() {
			if t.m.cfg.Judge != nil {
				t.m.cfg.Judge(s)
			}
		})
	}
	return nil
}
