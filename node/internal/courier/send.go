package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/outbox"
)

// A line is one keeper's open sessions, one per protocol.
type line struct {
	turn chan struct{} // holds one token: whoever has it may dial
	open map[string]*keeper.Session
}

// session gives an open session to a keeper for one protocol, dialling where there
// is none. Whoever waits for a dial waits for the same one.
func (c *Courier) session(ctx context.Context, to protocol.Keeper, what string) (*keeper.Session, error) {
	c.mu.Lock()
	l := c.sessions[to.Key]
	if l == nil {
		if len(c.sessions) >= c.lim.Streams {
			clear(c.sessions) // rare: the next use dials again
		}
		l = &line{turn: make(chan struct{}, 1), open: map[string]*keeper.Session{}}
		l.turn <- struct{}{}
		c.sessions[to.Key] = l
	}
	c.mu.Unlock()
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("courier: %w", ctx.Err())
	}
	defer func() { l.turn <- struct{}{} }()
	if s := l.open[what]; s != nil {
		return s, nil
	}
	dial := map[string]func(context.Context, protocol.Keeper) (*keeper.Session, error){
		"mail": c.cfg.Client.Mail, "post": c.cfg.Client.Post, "sync": c.cfg.Client.Sync,
	}[what]
	s, err := dial(ctx, to)
	if err != nil {
		return nil, err
	}
	l.open[what] = s
	return s, nil
}

// hangUp forgets a session that failed.
func (c *Courier) hangUp(to key.KeeperKey, what string, s *keeper.Session) {
	c.mu.Lock()
	l := c.sessions[to]
	c.mu.Unlock()
	if l == nil {
		return
	}
	<-l.turn // a dial under way is bounded
	defer func() { l.turn <- struct{}{} }()
	if l.open[what] == s {
		delete(l.open, what)
	}
}

// with runs one exchange with a keeper, once more on a fresh session where the open
// one had ended.
func (c *Courier) with(ctx context.Context, to protocol.Keeper, what string, do func(*keeper.Session) error) (err error) {
	defer func() { c.met(ctx, to.Key, err) }()
	for try := 0; ; try++ {
		s, err := c.session(ctx, to, what)
		if err != nil {
			return err
		}
		err = do(s)
		var refused *keeper.Refused
		if err == nil || errors.As(err, &refused) {
			return err
		}
		c.hangUp(to.Key, what, s)
		if try > 0 || ctx.Err() != nil {
			return err
		}
	}
}

// attempt bounds one exchange with one keeper.
const attempt = 20 * time.Second

// A result is what came of handing an item to one keeper.
type result struct {
	keeper  protocol.Keeper
	receipt protocol.DepositReceipt
	err     error
}

// deliver hands an item to all of its keepers at once and saves what came of it.
func (c *Courier) deliver(ctx context.Context, it outbox.Item) {
	results := make(chan result, len(it.Keepers))
	started, most, hold := 0, attempt, time.Duration(0)
	if it.What == outbox.Announcement {
		hold = c.cfg.Posting.Hold()
		most += hold
	}
	for _, k := range it.Keepers {
		err := c.cfg.Crew.Hire("deposit", func(ctx context.Context) {
			if it.What == outbox.Letter && it.Cap.Depositor.IsZero() {
				if _, err := c.mill.Stamp(ctx, it, k); err != nil {
					results <- result{keeper: k, err: err}
					return
				}
			}
			ctx, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			r, err := c.hand(ctx, it, k, hold)
			results <- result{k, r, err}
		})
		if err != nil {
			break
		}
		started++
	}
	list := make([]result, 0, started)
	for range started {
		list = append(list, <-results) // each is bounded by attempt, but for the work on a stamp, which ends with ctx
	}
	if ctx.Err() != nil {
		return
	}
	c.settle(&it, list)
	if it.Over() {
		c.mill.Forget(it)
	}
	err := c.cfg.KV.Update(ctx, func(tx kv.Tx) error {
		_, err := c.cfg.Outbox.Save(tx, it)
		return err
	})
	if err != nil && !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
		c.cfg.Log.Warn("courier: could not save a delivery", "item", it.ID.Short(), "err", err)
	}
}

// redeposit is how long a letter that is deposited everywhere waits for its
// acknowledgement before it is deposited again.
const redeposit = 60 * time.Second

// settle works out an item's state from what its keepers said.
func (c *Courier) settle(it *outbox.Item, list []result) {
	done, last := 0, ""
	for _, r := range list {
		switch {
		case r.err == nil:
			done++
			if !r.receipt.Keeper.IsZero() {
				it.Receipts = append(it.Receipts, r.receipt)
			}
		case taken(it, r.err):
			done++
		default:
			last = fmt.Sprintf("%s: %v", r.keeper.Key, r.err)
		}
	}
	it.Tries++
	it.Last = last
	now := c.cfg.Now().UnixMilli()
	switch {
	case done == len(it.Keepers):
		it.State = outbox.Done
	case done >= min(2, len(it.Keepers)):
		it.State = outbox.Deposited
	}
	switch {
	case it.Over():
		it.Next = outbox.Never
	case it.State == outbox.Done:
		it.Next = now + redeposit.Milliseconds() + outbox.Backoff(it.Tries, jitter())
	default:
		it.Next = now + outbox.Backoff(it.Tries, jitter())
	}
}

// taken reports whether a refusal means that there is nothing left to do: the reader
// has taken the letter, of which the keeper holds a tombstone; or a later version of
// the announcement stands there.
func taken(it *outbox.Item, err error) bool {
	var refused *keeper.Refused
	switch it.What {
	case outbox.Letter:
		return errors.Is(err, fault.Conflict)
	case outbox.Announcement:
		return errors.As(err, &refused) && refused.Text == string(check.Precedence)
	}
	return false
}

// hand gives an item to one keeper; hold is for announcements alone.
func (c *Courier) hand(ctx context.Context, it outbox.Item, k protocol.Keeper, hold time.Duration) (r protocol.DepositReceipt, err error) {
	switch it.What {
	case outbox.Letter:
		return c.deposit(ctx, it, k)
	case outbox.Announcement:
		return r, c.poster.Announce(ctx, it, k, hold)
	case outbox.Passport:
		return r, c.with(ctx, k, "sync", func(s *keeper.Session) error { return s.Publish(ctx, it.First.Chain) })
	case outbox.DeleteLetters, outbox.RevokeCap:
		return r, c.clear(ctx, it, k)
	}
	return r, fmt.Errorf("item of sort %d: %w", it.What, fault.Unsupported)
}

// deposit leaves a letter at one keeper, under a capability or as a first contact.
func (c *Courier) deposit(ctx context.Context, it outbox.Item, k protocol.Keeper) (r protocol.DepositReceipt, err error) {
	d := keeper.Deposit{Box: it.Box, Letter: it.Data, Cap: it.Cap, Hold: it.Hold}
	if it.Cap.Depositor.IsZero() {
		if d.First, err = c.firstContact(ctx, it, k); err != nil {
			return r, err
		}
		d.Key = key.Generate[key.Depositor]()
	} else {
		d.Key = key.FromSeed[key.Depositor](it.Seed.Secret())
	}
	send := func(s *keeper.Session) error {
		r, err = s.Deposit(ctx, d)
		return err
	}
	err = c.with(ctx, k, "mail", send)
	if keeper.LacksPassport(err) && len(it.First.Chain) > 0 {
		d.First.Chain = it.First.Chain
		err = c.with(ctx, k, "mail", send)
	}
	return r, err
}

// firstContact makes what is shown with a letter that has no capability: to a
// context the vendor's signature and a stamp, to an inbox the stamp alone.
func (c *Courier) firstContact(ctx context.Context, it outbox.Item, k protocol.Keeper) (f protocol.FirstContact, err error) {
	f = it.First
	f.Chain = nil
	if f.Stamp, err = c.mill.Stamp(ctx, it, k); err != nil || f.Vendor.IsZero() {
		return f, err
	}
	err = wire.SignFirst(key.FromSeed[key.Operational](it.Seed.Secret()), &f, it.Box, wire.ID(it.Data), k.Key)
	return f, err
}

// clear deletes what lies in a mailbox and refuses its capability from now on.
func (c *Courier) clear(ctx context.Context, it outbox.Item, k protocol.Keeper) error {
	box := key.FromSeed[key.Mailbox](it.Seed.Secret())
	return c.with(ctx, k, "mail", func(s *keeper.Session) error {
		for range 16 { // bounded: a full mailbox is 64 letters
			letters, more, err := s.Collect(ctx, box, protocol.Hash{})
			if err != nil {
				return err
			}
			ids := make([]protocol.Hash, len(letters))
			for i, raw := range letters {
				ids[i] = wire.ID(raw)
				c.recent.Add(ids[i]) // should it be on its way, nobody is to blame that it is gone
			}
			if len(ids) > 0 {
				if _, err := s.Delete(ctx, box, ids); err != nil {
					return err
				}
			}
			if !more || len(ids) == 0 {
				break
			}
		}
		return s.Revoke(ctx, box, it.Cap.ID)
	})
}
