// Package courier carries letters: it posts what the outbox holds, collects what
// keepers hold for this node, and hands it to the market.
//
// Out:
//
//  1. Kick, or the moment that the outbox names, wakes the sender.
//  2. Each item that is due is delivered to all of its keepers at once, over one
//     session per keeper that is kept open. An announcement goes by way of another
//     node, and is held for a moment, where Posting says so (post). A first letter
//     gets its stamp before (stamp).
//  3. What came of it is saved: receipts, the state, and when to try again. A letter
//     that is deposited everywhere is deposited again from time to time until its
//     reader acknowledges it, so that keepers may lose it.
//
// In:
//
//  1. For each keeper of each mailbox that is watched, one stream stays open on
//     which the keeper pushes letters. Mailboxes beyond the bounds take turns.
//  2. The market takes a letter, and has it on disk, before anything else happens.
//  3. Then the letter is deleted at all keepers of its mailbox. A keeper that did
//     not have it, or had another one in its slot, is noted: with the receipt that
//     the sender holds this convicts it.
package courier

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/courier/memory"
	"github.com/harkmarket/hark/node/internal/courier/post"
	"github.com/harkmarket/hark/node/internal/courier/stamp"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// Limits bound a courier. What is zero takes the value of DefaultLimits.
type Limits struct {
	Deliveries int // items under way at once, and mailboxes that are collected
	Streams    int // that are listened to
	Boxes      int // mailboxes that are read; where there are more, by turns
	Parked     int // letters of one keeper that wait for another try
	Doomed     int // letters that wait to be deleted, at one keeper
	Slots      int // slots that are remembered, to notice altered letters
	PostKeys   int // keys that posts are sealed to, remembered
	Stamps     int // remembered, so that another try costs nothing
	Sightings  int // letters of which it is kept that a keeper lacked them, or the like
	BoxFinds   int // of these, of one mailbox
}

// DefaultLimits is room for all mailboxes that so many streams can follow.
var DefaultLimits = Limits{Deliveries: 16, Streams: 128, Boxes: 128 * perStream, Parked: 64, Doomed: 4096, Slots: 4096, PostKeys: 256, Stamps: 1024,
	Sightings: 16384, BoxFinds: 256}

func (l Limits) orDefault() Limits {
	d := DefaultLimits
	return Limits{
		Deliveries: cmp.Or(l.Deliveries, d.Deliveries), Streams: cmp.Or(l.Streams, d.Streams), Boxes: cmp.Or(l.Boxes, d.Boxes),
		Parked: cmp.Or(l.Parked, d.Parked), Doomed: cmp.Or(l.Doomed, d.Doomed), Slots: cmp.Or(l.Slots, d.Slots),
		PostKeys: cmp.Or(l.PostKeys, d.PostKeys), Stamps: cmp.Or(l.Stamps, d.Stamps),
		Sightings: cmp.Or(l.Sightings, d.Sightings), BoxFinds: cmp.Or(l.BoxFinds, d.BoxFinds),
	}
}

func (l Limits) sightings() records.Room { return records.Room{All: l.Sightings, Box: l.BoxFinds} }

// Crew is how many goroutines a courier under these limits has at most: its sender,
// three for each stream, and for each delivery one and one for each keeper.
func (l Limits) Crew() int {
	l = l.orDefault()
	return 1 + 3*l.Streams + l.Deliveries*(1+protocol.MaxKeepers)
}

// An Outcome says what the market made of a letter.
type Outcome uint8

// The outcomes.
const (
	Taken Outcome = 1 // opened and kept
	Junk  Outcome = 2 // it opens under no key of its mailbox, or is refused
	Known Outcome = 3 // it was dealt with before, perhaps before this node last started
)

// A Posting says how announcements leave this node: see post.Posting.
type Posting = post.Posting

// Config is what a courier is handed.
type Config struct {
	Client keeper.Client
	Crew   *crew.Crew
	KV     kv.Store // the private one
	Outbox *outbox.Outbox
	// Letter hands a letter to the market. An error means: try again later.
	Letter func(ctx context.Context, box key.MailboxKey, raw []byte) (Outcome, error)
	// Collected is told that Collect has read a mailbox to its end at a moment.
	Collected func(ctx context.Context, box key.MailboxKey, at protocol.Second) error
	Posting   Posting
	Limits    Limits
	// Met is told, where it is not nil, that a keeper answered, or could not be reached.
	Met func(k key.KeeperKey, answers bool)
	Now func() time.Time
	Log *slog.Logger
}

// A Courier carries letters for one node. Make it with New and let its crew call
// Run.
//
//house:allow methods sending and reading share sessions, mailboxes and the crew under one mutex
type Courier struct {
	cfg      Config
	lim      Limits
	kick     chan struct{}
	mu       sync.Mutex
	sessions map[key.KeeperKey]*line
	poster   *post.Poster
	mill     *stamp.Mill
	busy     *crew.UnderWay[protocol.Hash] // deliveries, and mailboxes that are collected
	boxes    map[key.MailboxKey]records.Box
	queue    []key.MailboxKey             // of boxes, those read longest first
	unread   bool                         // there are more than found room
	cursor   key.MailboxKey               // where the next turn begins
	leaving  map[key.MailboxKey]time.Time // mailboxes that are read no longer, and since when
	watches  []*watch
	slots    *slots
	recent   *memory.Recent
	pushed   *memory.Recent // letters, each at one keeper, that were shown
	missed   *memory.Recent // and those that were noted as lacking
	gone     *memory.When   // and those that it confirmed to have deleted
	back     time.Time      // when what waits was last hastened
}

// New makes a courier that does nothing until Run.
func New(cfg Config) *Courier {
	lim := cfg.Limits.orDefault()
	c := &Courier{
		cfg: cfg, lim: lim, kick: make(chan struct{}, 1), sessions: map[key.KeeperKey]*line{}, mill: stamp.New(lim.Stamps), busy: crew.NewUnderWay[protocol.Hash](lim.Deliveries),
		boxes: map[key.MailboxKey]records.Box{}, leaving: map[key.MailboxKey]time.Time{},
		slots: newSlots(lim.Slots), recent: memory.NewRecent(lim.Slots), pushed: memory.NewRecent(4 * lim.Slots), missed: memory.NewRecent(lim.Slots),
		gone: memory.NewWhen(4 * lim.Slots),
	}
	c.poster = post.New(post.Config{Posting: cfg.Posting, Net: cfg.Client.Net, Keys: lim.PostKeys, Now: cfg.Now, With: c.with})
	return c
}

// Kick says that the outbox has work. It never blocks.
func (c *Courier) Kick() {
	select {
	case c.kick <- struct{}{}:
	default: // one is waiting already
	}
}

// Bounds of trying again because a node is back, which may go and come back as often as
// it likes: how often, and within which time those tries are spread.
const (
	backEvery  = 30 * time.Second
	backSpread = 2 * time.Second
)

// Back says that a node is back which was lost for a while. What could not be delivered
// is tried again now: whatever was between may be gone for other nodes too.
func (c *Courier) Back(ctx context.Context) {
	now := c.cfg.Now()
	c.mu.Lock()
	early := now.Sub(c.back) < backEvery
	if !early {
		c.back = now
	}
	c.mu.Unlock()
	if early {
		return
	}
	n := 0
	err := c.cfg.KV.Update(ctx, func(tx kv.Tx) (err error) {
		n, err = c.cfg.Outbox.Hasten(tx, now.UnixMilli(), backSpread.Milliseconds(), jitter)
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("courier: could not hasten what waits", "err", err)
	}
	if n > 0 {
		c.Kick()
	}
}

// maxSleep bounds how long the sender sleeps: a clock that was set is noticed.
const maxSleep = 30 * time.Second

// Run is the sender. It returns when ctx ends.
func (c *Courier) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	swept := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-timer.C:
		}
		if now := c.cfg.Now(); now.Sub(swept) > time.Minute {
			c.sweep(ctx, now)
			c.forget(now)
			c.turns(ctx, now)
			swept = now
		}
		timer.Reset(c.dispatch(ctx))
	}
}

// sweep lets items whose date has passed end.
func (c *Courier) sweep(ctx context.Context, now time.Time) {
	for range 16 { // bounded; the rest a minute later
		more := false
		err := c.cfg.KV.Update(ctx, func(tx kv.Tx) (err error) {
			_, more, err = c.cfg.Outbox.Sweep(tx, now.UnixMilli())
			return err
		})
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("courier: sweep", "err", err)
		}
		if err != nil || !more {
			return
		}
	}
}

// dispatch starts deliveries for what is due and returns how long to sleep.
func (c *Courier) dispatch(ctx context.Context) time.Duration {
	nowMS := c.cfg.Now().UnixMilli()
	busy, most := c.busy.Fill()
	if busy >= most {
		return maxSleep // the end of a delivery kicks
	}
	var items []outbox.Item
	var next int64
	err := c.cfg.KV.View(ctx, func(r kv.Reader) (err error) {
		items, next, err = c.cfg.Outbox.DueExcept(r, nowMS, most-busy, c.busy.Has)
		return err
	})
	if err != nil {
		return time.Second
	}
	for _, it := range items {
		if !c.busy.Begin(it.ID) {
			continue
		}
		if err := c.cfg.Crew.Hire("delivery", func(ctx context.Context) {
			defer c.Kick()
			defer c.busy.End(it.ID)
			c.deliver(ctx, it)
		}); err != nil {
			c.busy.End(it.ID)
			return 50 * time.Millisecond
		}
	}
	if next == 0 {
		return maxSleep
	}
	return min(max(time.Duration(next-nowMS)*time.Millisecond, time.Millisecond), maxSleep)
}

// jitter spreads retries; it protects nothing.
func jitter() float64 { return rand.Float64() } //nolint:gosec // not a secret

// SightingFills shows how much is kept of what keepers lacked.
func (c *Courier) SightingFills(r kv.Reader) ([]kv.Fill, error) {
	return records.SightingFills(r, "courier.sightings", c.lim.sightings())
}

// Stats gives each bound with its fill.
func (c *Courier) Stats() []kv.Fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy, most := c.busy.Fill()
	parked, doomed := 0, 0 // of the stream that has most
	for _, w := range c.watches {
		parked, doomed = max(parked, len(w.parked)), max(doomed, w.dooms)
	}
	return []kv.Fill{
		{Name: "courier.boxes", Used: int64(len(c.boxes)), Cap: int64(c.lim.Boxes)},
		{Name: "courier.parked", Used: int64(parked), Cap: int64(c.lim.Parked)},
		{Name: "courier.doomed", Used: int64(doomed), Cap: int64(c.lim.Doomed)},
		{Name: "courier.deliveries", Used: int64(busy), Cap: int64(most)},
		{Name: "courier.streams", Used: int64(len(c.watches)), Cap: int64(c.lim.Streams)},
		c.poster.Fill(),
		c.mill.Fill(),
		{Name: "courier.slots", Used: int64(c.slots.len()), Cap: int64(c.lim.Slots)},
		{Name: "courier.gone", Used: int64(c.gone.Len()), Cap: int64(4 * c.lim.Slots)},
	}
}
