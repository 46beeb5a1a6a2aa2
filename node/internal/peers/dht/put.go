package dht

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// The pace of putting. A record counts 48 hours where it was put; after a start, the
// first round takes 22 hours too, so that at most 44 hours lie between two puts.
const (
	putEvery = 22 * time.Hour
	putPause = 250 * time.Millisecond // at least, between two records
	putLook  = time.Minute            // at most, until it is asked again whether the round goes on
	putWait  = 30 * time.Second       // for one record
	maxPuts  = 1024                   // records that wait to be put at once, usually
	maxNamed = 20_000                 // contexts known to have named this node
)

// puts are the announcements and passports that wait to be put at once, and the
// contexts that named this node as a keeper: their withdrawals, which name nobody,
// are put at once too.
type puts struct {
	most  int
	mu    sync.Mutex
	queue []put
	named map[protocol.ContextID]bool
	wake  chan struct{}
}

// A put is one value under its key.
type put struct {
	key   string
	value []byte
	look  bool // not where the DHT has it already
}

func newPuts(most int) *puts {
	return &puts{most: most, named: map[protocol.ContextID]bool{}, wake: make(chan struct{}, 1)}
}

func (p *puts) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// add queues a record; one that does not fit waits for its round.
func (p *puts) add(one put) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.queue, func(o put) bool { return o.key == one.key }); i >= 0 {
		p.queue[i] = one
		return
	}
	if len(p.queue) < p.most {
		p.queue = append(p.queue, one)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *puts) next() (put, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return put{}, false
	}
	one := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	return one, true
}

// mine tells whether a keeper answers for an announcement: it names the keeper, or
// takes back one that did.
func (p *puts) mine(a *protocol.Announcement, self key.KeeperKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := a.ContextID()
	if slices.ContainsFunc(a.Keepers, func(k protocol.Keeper) bool { return k.Key == self }) {
		if len(p.named) < maxNamed {
			p.named[c] = true
		}
		return true
	}
	named := p.named[c]
	if named && a.Status == protocol.Open {
		delete(p.named, c) // it has other keepers now
		return false
	}
	return named
}

// Heard is told of each announcement that came to the board. It does not block.
func (d *DHT) Heard(h wire.Heard) {
	if d.puts.mine(h.A(), d.cfg.Host.Self().Key) {
		d.puts.add(put{key: annKey(h.A().ContextID()), value: h.Raw()})
	}
}

// Show queues a vendor's passports, where they name this node as a keeper of the
// vendor's inbox.
func (d *DHT) Show(c wire.Chain) {
	if one, ok := d.chain(c); ok {
		d.puts.add(one)
	}
}

func (d *DHT) chain(c wire.Chain) (put, bool) {
	self := d.cfg.Host.Self().Key
	if c.IsZero() || !slices.ContainsFunc(c.Latest().Inbox.Keepers, func(k protocol.Keeper) bool { return k.Key == self }) {
		return put{}, false
	}
	value, err := wire.JoinChain(c)
	if err != nil {
		d.cfg.Log.Debug("passports are too long for the DHT", "vendor", c.Vendor().Short(), "why", err)
		return put{}, false
	}
	return put{key: passportKey(c.Vendor()), value: value}, true
}

// A putter is the loop of step 3: what is queued first, then the board in rounds.
type putter struct{ *DHT }

func (d *putter) run(ctx context.Context) {
	r := &round{board: d.cfg.Board}
	last := d.cfg.Now() // when the round went on
	for ctx.Err() == nil {
		one, ok := d.puts.next()
		wake, pause := d.puts.wake, putLook
		if ok {
			wake, pause = nil, putPause // one after the other
		} else if r.board != nil && d.cfg.Now().Sub(last) >= r.pause() && d.connected() {
			last, pause = d.cfg.Now(), putPause
			one, ok = d.step(ctx, r)
		} else if r.board != nil {
			pause = min(r.pause(), putLook)
		}
		if ok {
			d.put(ctx, one)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(pause):
		}
	}
}

// step takes the next record of the round, if it is this node's to put.
func (d *putter) step(ctx context.Context, r *round) (one put, ok bool) {
	h, c, err := r.next(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		d.cfg.Log.Warn("the board could not be read for the DHT", "why", err)
	case !h.IsZero():
		a := h.A()
		mine := d.puts.mine(a, d.cfg.Host.Self().Key) // looking first would let it end before it is put again
		one = put{key: annKey(a.ContextID()), value: h.Raw(), look: a.Status == protocol.Withdrawn && !mine}
		return one, mine || one.look
	case !c.IsZero():
		return d.chain(c)
	}
	return one, false
}

// put puts one record. A withdrawal that may not be ours to put is put only where the
// DHT lacks it: it must outlive the keepers that the need had.
func (d *putter) put(ctx context.Context, one put) {
	t, err := d.open()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, putWait)
	defer cancel()
	if one.look {
		if there, err := t.GetValue(ctx, one.key); err == nil && slices.Equal(there, one.value) {
			return
		}
	}
	if err := t.PutValue(ctx, one.key, one.value); err != nil && ctx.Err() == nil {
		d.cfg.Log.Debug("a record was not put into the DHT", "key", one.key, "why", err)
	}
}

// A round walks over the board, announcements and then passports, again and again.
type round struct {
	board   *board.Board
	context protocol.ContextID
	vendor  protocol.VendorID
	vendors bool
}

// pause spreads what is on the board over 22 hours.
func (r *round) pause() time.Duration {
	n := int64(1)
	for _, f := range r.board.Stats() {
		if f.Name == "board.entries" || f.Name == "board.passports" {
			n += f.Used
		}
	}
	return min(max(putEvery/time.Duration(n), putPause), putEvery)
}

// next gives the next announcement or chain; neither at the end of a round.
func (r *round) next(ctx context.Context) (h wire.Heard, c wire.Chain, err error) {
	if !r.vendors {
		list, _, err := r.board.Find(ctx, board.Filter{}, r.context, 1)
		if err != nil {
			return h, c, err
		}
		if len(list) > 0 {
			r.context = list[0].Heard.A().ContextID()
			return list[0].Heard, c, nil
		}
		r.vendors, r.context = true, protocol.ContextID{}
	}
	ids, _, err := r.board.PassportIDs(ctx, r.vendor, 1)
	if err != nil {
		return h, c, err
	}
	if len(ids) == 0 {
		r.vendors, r.vendor = false, protocol.VendorID{}
		return h, c, nil
	}
	r.vendor = ids[0]
	if c, err = r.board.Passports(ctx, r.vendor); errors.Is(err, fault.NotFound) {
		err = nil // it gave way
	}
	return h, c, err
}
