package courier

import (
	"context"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// A watch listens to one keeper.
type watch struct {
	keeper protocol.Keeper
	live   *keeper.Watch               // nil while there is no stream
	opened time.Time                   // when it was
	boxes  map[key.MailboxKey]bool     // to be read here
	asked  int                         // mailboxes subscribed to on the open stream
	doomed map[key.MailboxKey][]doomed // to be deleted here
	dooms  int                         // how many these are
	wake   chan struct{}               // something to delete
	wanted []key.Private[key.Mailbox]  // to be subscribed to on the open stream
	ask    chan struct{}               // something to subscribe to
	parked []parked                    // letters that wait for another try
	lost   time.Time                   // since when some found no place there
	end    context.CancelFunc          // ends its goroutines
}

type parked struct {
	box key.MailboxKey
	raw []byte
}

// want has a mailbox subscribed to, where a stream is open; one that opens later
// subscribes to everything. Called with the courier's mutex held.
func (w *watch) want(b records.Box) {
	if w.live == nil {
		return
	}
	w.wanted = append(w.wanted, key.FromSeed[key.Mailbox](b.Seed.Secret()))
	select {
	case w.ask <- struct{}{}:
	default: // it is awake
	}
}

// hire starts the goroutines of a watch: one listens, one subscribes, one deletes.
// They end with the crew, or when the watch has nothing more to read.
func (c *Courier) hire(w *watch) error {
	own, end := context.WithCancel(context.Background())
	w.end = end
	for name, work := range map[string]func(context.Context, *watch){
		"subscriber": c.subscribe, "listener": c.listen, "deleter": c.deleteAll,
	} {
		err := c.cfg.Crew.Hire(name, func(ctx context.Context) {
			stop := context.AfterFunc(ctx, end)
			defer stop()
			work(own, w)
		})
		if err != nil {
			end()
			return err
		}
	}
	return nil
}

// subscribe asks for what is wanted, on the open stream. It holds no lock while it
// writes: a keeper that is slow to read must not stop the market's loop, which calls
// Watch. A stream that fails is opened again, and then asks for everything.
func (c *Courier) subscribe(ctx context.Context, w *watch) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ask:
		}
		c.mu.Lock()
		list, live := w.wanted, w.live
		w.wanted = nil
		w.asked += len(list)
		full := w.asked > maxAsked
		c.mu.Unlock()
		if live == nil {
			continue
		}
		if full {
			_ = live.Close() // the next stream asks for what is read by then
			continue
		}
		for _, k := range list {
			if err := live.Subscribe(k); err != nil {
				c.cfg.Log.Debug("courier: subscribe", "keeper", w.keeper.Key, "err", err)
				break
			}
		}
	}
}

// listen keeps one stream to a keeper open, with growing pauses where it fails.
func (c *Courier) listen(ctx context.Context, w *watch) {
	fails := 0
	for ctx.Err() == nil {
		began := c.cfg.Now()
		err := c.stream(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if c.cfg.Now().Sub(began) > time.Minute {
			fails = 0
		}
		fails++
		c.cfg.Log.Debug("courier: stream ended", "keeper", w.keeper.Key, "err", err)
		wait := time.Duration(min(outbox.Backoff(fails, jitter()), 30_000)) * time.Millisecond
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// stream opens a stream, subscribes to all mailboxes and takes what is pushed.
func (c *Courier) stream(ctx context.Context, w *watch) error {
	live, err := c.cfg.Client.Watch(ctx, w.keeper)
	c.met(ctx, w.keeper.Key, err)
	if err != nil {
		return err
	}
	defer func() {
		c.mu.Lock()
		w.live, w.parked, w.wanted = nil, nil, nil
		c.mu.Unlock()
		_ = live.Close() // it is of no use any more
	}()
	c.mu.Lock()
	w.live, w.opened = live, c.cfg.Now()
	w.wanted, w.asked, w.lost = nil, 0, time.Time{}
	for k := range w.boxes {
		w.want(c.boxes[k])
	}
	c.mu.Unlock()
	for {
		p, err := live.Recv(ctx)
		if err != nil {
			return err
		}
		if p.Err != nil {
			c.cfg.Log.Debug("courier: keeper refuses a mailbox", "keeper", w.keeper.Key, "err", p.Err)
			continue
		}
		for _, raw := range p.Letters {
			c.letter(ctx, w, p.Box, raw)
		}
	}
}

// letter hands one letter to the market and then deletes it everywhere.
func (c *Courier) letter(ctx context.Context, w *watch, box key.MailboxKey, raw []byte) {
	id := wire.ID(raw)
	c.shown(ctx, w, box, id)
	c.replayed(ctx, w, box, id)
	if c.recent.Has(id) {
		c.sameJunk(ctx, w, box, id, raw)
		c.again(w, box, id) // another keeper pushed it a moment ago
		return
	}
	outcome, err := c.cfg.Letter(ctx, box, raw)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case len(w.parked) < c.lim.Parked:
			w.parked = append(w.parked, parked{box, raw})
		case w.lost.IsZero():
			w.lost = c.cfg.Now() // a later stream pushes it again
		}
		return
	}
	if outcome == Known {
		c.recent.Add(id)
		c.again(w, box, id) // deleted elsewhere before: who has it no more is not to blame
		return
	}
	c.compare(ctx, w, box, id, raw, outcome)
	if !c.recent.Add(id) {
		c.again(w, box, id) // another keeper's copy was dealt with at the same time
		return
	}
	if outcome == Junk {
		c.again(w, box, id) // the others may never have had it, and show it if they have
		return
	}
	c.doom(box, id)
}

// compare notices a keeper that had another letter in the slot of one that opened.
func (c *Courier) compare(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash, raw []byte, outcome Outcome) {
	slot := protocol.ID{}
	if l, err := wire.ReadLetter(raw); err == nil {
		slot = l.Slot
	}
	c.mu.Lock()
	letter, by := c.slots.see(box, slot, id, w.keeper.Key, outcome)
	c.mu.Unlock()
	for _, k := range by {
		c.note(ctx, letter, box, func(s *records.Sighting) { s.Altered = with(s.Altered, k) })
	}
}

// sameJunk notices a second keeper that hands out the very junk that another has.
func (c *Courier) sameJunk(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash, raw []byte) {
	l, err := wire.ReadLetter(raw)
	if err != nil {
		return
	}
	c.mu.Lock()
	junk := c.slots.wasJunk(box, l.Slot, id)
	c.mu.Unlock()
	if junk {
		c.compare(ctx, w, box, id, raw, Junk)
	}
}

// doom has a letter deleted at all keepers of its mailbox.
func (c *Courier) doom(box key.MailboxKey, id protocol.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		if w.boxes[box] {
			c.toDelete(w, box, doomed{id, firstTime})
		}
	}
}

// again has a letter deleted at the one keeper that pushed it once more: its first
// deletion is under way, or failed. Whether the keeper still has it says nothing.
func (c *Courier) again(w *watch, box key.MailboxKey, id protocol.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toDelete(w, box, doomed{id, onceMore})
}

// goneBefore has a letter deleted at all keepers of its mailbox that was dealt with
// before: whether they still have it says nothing.
func (c *Courier) goneBefore(box key.MailboxKey, id protocol.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		if w.boxes[box] {
			c.toDelete(w, box, doomed{id, onceMore})
		}
	}
}

// A doomed letter is to be deleted at one keeper. Only the first deletion shows
// whether the keeper had it.
type doomed struct {
	id    protocol.Hash
	first bool
}

const (
	firstTime = true
	onceMore  = false
)

// toDelete is called with the courier's mutex held.
func (c *Courier) toDelete(w *watch, box key.MailboxKey, d doomed) {
	known := slices.ContainsFunc(w.doomed[box], func(x doomed) bool { return x.id == d.id })
	if known || w.dooms >= c.lim.Doomed {
		return
	}
	w.doomed[box] = append(w.doomed[box], d)
	w.dooms++
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// deleteDelay gathers deletions, and leaves the sender time to reach all keepers.
const deleteDelay = 100 * time.Millisecond

// retryParked is how often letters are tried again that the market could not take.
const retryParked = 2 * time.Second

// deleteAll deletes at one keeper what is doomed, and tries parked letters again.
func (c *Courier) deleteAll(ctx context.Context, w *watch) {
	retry := time.NewTicker(retryParked)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
			c.unpark(ctx, w)
			continue
		case <-w.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(deleteDelay):
		}
		for box, ids := range c.dooms(w) {
			if err := c.delete(ctx, w, box, ids); err != nil {
				c.cfg.Log.Debug("courier: delete", "keeper", w.keeper.Key, "err", err)
			}
		}
	}
}

// dooms takes all that is doomed at a keeper.
func (c *Courier) dooms(w *watch) map[key.MailboxKey][]doomed {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := w.doomed
	w.doomed, w.dooms = map[key.MailboxKey][]doomed{}, 0
	return list
}

// perDelete is how many letters one operation deletes.
const perDelete = 64

// delete deletes letters of one mailbox at one keeper, and notes those that it did
// not have.
func (c *Courier) delete(ctx context.Context, w *watch, box key.MailboxKey, letters []doomed) error {
	c.mu.Lock()
	b, ok := c.boxes[box]
	c.mu.Unlock()
	if !ok {
		return nil // not read any more: the keeper's own dates end it
	}
	owner := key.FromSeed[key.Mailbox](b.Seed.Secret())
	for part := range slices.Chunk(letters, perDelete) {
		ids := make([]protocol.Hash, len(part))
		for i, d := range part {
			ids[i] = d.id
		}
		ctx, cancel := context.WithTimeout(ctx, attempt)
		var had []protocol.Hash
		tries := 0
		err := c.with(ctx, w.keeper, "mail", func(s *keeper.Session) (err error) {
			tries++
			had, err = s.Delete(ctx, owner, ids)
			return err
		})
		if err != nil {
			cancel()
			return err // pushed again on the next stream, taken as a repeat, deleted then
		}
		for _, id := range had {
			c.gone.Set(at(id, w.keeper.Key), c.cfg.Now())
		}
		for _, d := range part {
			// Where the first try was cut off, it may have deleted them all the same.
			if d.first && tries == 1 && !slices.Contains(had, d.id) {
				c.lacked(ctx, w, box, d.id)
			}
		}
		cancel()
	}
	return nil
}

// pushAgain is how long a stream is kept that has pushed letters for which there was
// no place: at once, all that comes on it would wait for those that nobody can take.
const pushAgain = time.Minute

// unpark tries letters again that the market could not take before.
func (c *Courier) unpark(ctx context.Context, w *watch) {
	c.mu.Lock()
	list := w.parked
	w.parked = nil
	c.mu.Unlock()
	for _, p := range list {
		c.letter(ctx, w, p.box, p.raw)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.live != nil && !w.lost.IsZero() && c.cfg.Now().Sub(w.lost) >= pushAgain {
		w.lost = time.Time{}
		_ = w.live.Close() // the next stream pushes everything again
	}
}
