package courier

import (
	"context"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
)

// Collect reads a mailbox to its end at its keepers, hands everything over, and then
// says so: all that was acknowledged to a sender by then has been seen. It does not
// wait; a keeper that does not answer is asked again when the market asks again.
func (c *Courier) Collect(box key.MailboxKey) {
	c.mu.Lock()
	b, ok := c.boxes[box]
	c.mu.Unlock()
	if !ok || !c.busy.Begin(protocol.Hash(box)) {
		return
	}
	err := c.cfg.Crew.Hire("collect", func(ctx context.Context) {
		defer c.busy.End(protocol.Hash(box))
		c.collectAll(ctx, b)
	})
	if err != nil {
		c.busy.End(protocol.Hash(box))
	}
}

// collectAll collects a mailbox at all its keepers. A letter counts as deposited once
// min(2, available) keepers have it, so that one of them may be missing.
func (c *Courier) collectAll(ctx context.Context, b records.Box) {
	began := protocol.Second(c.cfg.Now().Unix())
	read := 0
	for _, k := range b.Keepers {
		if err := c.collect(ctx, b, k); err != nil {
			c.cfg.Log.Debug("courier: collect", "keeper", k.Key, "err", err)
			continue
		}
		read++
	}
	if read < max(1, len(b.Keepers)-1) || ctx.Err() != nil {
		return
	}
	if err := c.cfg.Collected(ctx, b.Key, began); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("courier: collected", "err", err)
	}
}

// collect hands over all that one keeper has in a mailbox.
func (c *Courier) collect(ctx context.Context, b records.Box, k protocol.Keeper) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	owner := key.FromSeed[key.Mailbox](b.Seed.Secret())
	return c.with(ctx, k, "mail", func(s *keeper.Session) error {
		var after protocol.Hash
		for range maxPages {
			letters, more, err := s.Collect(ctx, owner, after)
			if err != nil {
				return err
			}
			for _, raw := range letters {
				after = wire.ID(raw)
				outcome, err := c.cfg.Letter(ctx, b.Key, raw)
				if err != nil {
					return err
				}
				if outcome != Taken {
					c.goneBefore(b.Key, after)
					continue
				}
				c.doom(b.Key, after)
			}
			if !more || len(letters) == 0 {
				return nil
			}
		}
		return nil
	})
}

// maxPages is how many pages of a mailbox are read at once.
const maxPages = 64
