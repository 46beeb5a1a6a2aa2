// Package carrier moves large values: a customer's copies to keepers and off them, and
// what a vendor was given from keepers to what it holds.
//
//  1. The market notes work as parcels, in the transaction that makes it, and kicks.
//  2. Run hands what is due to a few goroutines, each parcel to one at a time.
//  3. A copy is measured, then laid down chunk by chunk as it is sealed, at one keeper after
//     the other; each goes on where it broke off, also after a crash.
//  4. What is fetched is opened chunk by chunk before it is kept, from whichever keeper has
//     it, and held against its digest at the end.
//  5. Market.Carried hears what came of it, and says whether and when to try again.
package carrier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// Market notes what is to be carried, and what came of it.
type Market interface {
	Parcels(ctx context.Context, fn func(records.Parcel) (more bool)) error
	Copy(ctx context.Context, p records.Parcel) (records.Copy, vault.Large, error)
	Measured(ctx context.Context, p records.Parcel, digest protocol.Hash) error
	Fetching(ctx context.Context, p records.Parcel) (held.Blob, key.MailboxKey, error)
	// Carried hears which keepers did what a copy's state then asked for.
	Carried(ctx context.Context, p records.Parcel, then records.CopyState, by []protocol.Keeper, failed error) error
}

// Config is what a Carrier is handed.
type Config struct {
	Client keeper.Client
	Market Market
	KV     kv.Store // the private one
	Held   *held.Held
	Crew   *crew.Crew
	Now    func() time.Time
	Log    *slog.Logger
}

// Bounds of the work.
const (
	Most    = 4                // parcels carried at once
	atOnce  = 5 * time.Minute  // for one keeper; the rest at the next try
	maxWait = 30 * time.Second // a clock that was set is noticed
)

// A Carrier carries for one node. Make it with New and let its crew call Run.
type Carrier struct {
	cfg  Config
	kick chan struct{}
	busy *crew.UnderWay[protocol.Hash]
}

// New makes a carrier that does nothing until Run.
func New(cfg Config) *Carrier {
	return &Carrier{cfg: cfg, kick: make(chan struct{}, 1), busy: crew.NewUnderWay[protocol.Hash](Most)}
}

// Kick says that there is work. It never blocks.
func (c *Carrier) Kick() {
	select {
	case c.kick <- struct{}{}:
	default: // one is waiting already
	}
}

// Fill tells how many parcels are carried now.
func (c *Carrier) Fill() kv.Fill {
	n, most := c.busy.Fill()
	return kv.Fill{Name: "carrier.parcels", Used: int64(n), Cap: int64(most)}
}

// Run returns when ctx ends.
func (c *Carrier) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-timer.C:
		}
		timer.Reset(c.dispatch(ctx))
	}
}

// dispatch begins with what is due and returns how long to sleep.
func (c *Carrier) dispatch(ctx context.Context) time.Duration {
	now, wait := c.cfg.Now().UnixMilli(), maxWait
	var due []records.Parcel
	err := c.cfg.Market.Parcels(ctx, func(p records.Parcel) bool {
		if p.NextMS > now {
			wait = min(wait, time.Duration(p.NextMS-now)*time.Millisecond)
			return true
		}
		if !c.busy.Has(p.ID) {
			due = append(due, p)
		}
		return len(due) < Most
	})
	if err != nil {
		return time.Second
	}
	for _, p := range due {
		if !c.busy.Begin(p.ID) {
			break // the end of one kicks
		}
		if err := c.cfg.Crew.Hire("parcel", func(ctx context.Context) {
			defer c.Kick()
			defer c.busy.End(p.ID)
			c.carry(ctx, p)
		}); err != nil {
			c.busy.End(p.ID)
			return time.Second
		}
	}
	return max(wait, time.Millisecond)
}

// carry does the work of one parcel, and tells.
func (c *Carrier) carry(ctx context.Context, p records.Parcel) {
	var by []protocol.Keeper
	var then records.CopyState
	var failed error
	if p.Fetch {
		failed = c.fetch(ctx, p)
	} else {
		then, by, failed = c.copy(ctx, p)
	}
	if ctx.Err() != nil {
		return // it goes on at the next start
	}
	if failed != nil {
		c.cfg.Log.Debug("carrier: a large value waits", "grant", p.Grant.Short(), "err", failed)
	}
	if err := c.cfg.Market.Carried(ctx, p, then, by, failed); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("carrier: could not keep what came of a large value", "grant", p.Grant.Short(), "err", err)
	}
}

// copy lays a copy down, or has it deleted, and gives the keepers that did it.
func (c *Carrier) copy(ctx context.Context, p records.Parcel) (then records.CopyState, by []protocol.Keeper, failed error) {
	cp, value, err := c.cfg.Market.Copy(ctx, p)
	if err != nil {
		return cp.State, nil, err
	}
	box := key.FromSeed[key.Mailbox](cp.Seed.Secret())
	do := func(ctx context.Context, s *keeper.Session) error { return s.DeleteCopies(ctx, box, cp.Digest) }
	if cp.State == records.CopyWanted {
		chunk := func(i uint32) ([]byte, error) { return value.Copy(ctx, c.cfg.KV, cp.Key.Secret(), i) }
		if cp.Digest, err = c.measure(ctx, p, cp, chunk); err != nil {
			return cp.State, nil, err
		}
		token := large.Token(cp.Key.Secret())
		op := protocol.BlobOp{Digest: cp.Digest, Size: protocol.CopySize(cp.Size), Token: sha256.Sum256(token[:]), Expires: cp.Expires}
		do = func(ctx context.Context, s *keeper.Session) error { return s.PutCopy(ctx, box, op, chunk) }
	}
	for _, k := range cp.Keepers {
		if err := c.with(ctx, k, do); err != nil {
			failed = fmt.Errorf("keeper %s: %v: %w", k.Key, err, fault.Offline)
			continue
		}
		by = append(by, k)
	}
	return cp.State, by, failed
}

// measure gives a copy's digest, and keeps it the first time.
func (c *Carrier) measure(ctx context.Context, p records.Parcel, cp records.Copy, chunk func(uint32) ([]byte, error)) (protocol.Hash, error) {
	if !cp.Digest.IsZero() {
		return cp.Digest, nil
	}
	sum := sha256.New()
	for i := range protocol.CopyParts(protocol.CopySize(cp.Size)) {
		raw, err := chunk(i)
		if err != nil {
			return protocol.Hash{}, err
		}
		sum.Write(raw)
	}
	digest := protocol.Hash(sum.Sum(nil))
	return digest, c.cfg.Market.Measured(ctx, p, digest)
}

// with runs one exchange with a keeper.
func (c *Carrier) with(ctx context.Context, k protocol.Keeper, do func(context.Context, *keeper.Session) error) error {
	ctx, cancel := context.WithTimeout(ctx, atOnce)
	defer cancel()
	s, err := c.cfg.Client.Blob(ctx, k)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was used once
	return do(ctx, s)
}

// fetch brings what is missing of a large value, from one keeper after the other.
func (c *Carrier) fetch(ctx context.Context, p records.Parcel) error {
	b, box, err := c.cfg.Market.Fetching(ctx, p)
	if err != nil {
		return err
	}
	failed := error(fault.Offline)
	for i := range b.Keepers {
		k := b.Keepers[(i+p.Tries)%len(b.Keepers)]
		err := c.with(ctx, k, func(ctx context.Context, s *keeper.Session) error { return c.pull(ctx, s, p, &b, box) })
		if errors.Is(err, fault.Expired) {
			return err
		}
		if err == nil && b.Whole() {
			return c.cfg.Held.Check(ctx, c.cfg.KV, p.Grant, b.Digest)
		}
		failed = fmt.Errorf("keeper %s: %v: %w", k.Key, err, fault.Offline)
	}
	return failed
}

// pull reads from one keeper until the value is whole. Each chunk is opened before it is
// kept: a keeper can withhold, and nothing else.
func (c *Carrier) pull(ctx context.Context, s *keeper.Session, p records.Parcel, b *held.Blob, box key.MailboxKey) error {
	token := large.Token(b.Key.Secret())
	for !b.Whole() {
		chunks, err := s.GetCopy(ctx, box, b.Digest, token, b.Got, b.Parts()-b.Got)
		if err != nil {
			return err
		}
		for i, raw := range chunks {
			n := b.Got + uint32(i)
			if _, err := seal.OpenCopy(b.Key.Secret(), uint64(n), n+1 == b.Parts(), raw); err != nil {
				return fmt.Errorf("carrier: part %d (%w): %w", n, err, fault.Malformed)
			}
		}
		err = c.cfg.KV.Update(ctx, func(tx kv.Tx) error {
			_, err := c.cfg.Held.Chunks(tx, p.Grant, p.ID, b.Got, chunks)
			return err
		})
		if errors.Is(err, fault.NotFound) {
			return fmt.Errorf("carrier: it is not held any more: %w", fault.Expired)
		}
		if err != nil {
			return err
		}
		b.Got += uint32(len(chunks))
	}
	return nil
}
