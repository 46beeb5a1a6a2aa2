package dht

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

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
	putLate  = time.Hour              // before the last that came: it may not have been put when the node ended
)

// puts are the announcements and passports that wait to be put at once.
type puts struct {
	most  int
	mu    sync.Mutex
	queue []put
	wake  chan struct{}
}

// A put is one value under its key.
type put struct {
	key   string
	value []byte
	look  bool // not where the DHT has it already
}

func newPuts(most int) *puts {
	return &puts{most: most, wake: make(chan struct{}, 1)}
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

// mine tells whether a node answers for an announcement: it names the node as a keeper,
// or takes back one that did, as the board knows.
func mine(a *protocol.Announcement, cfg *Config) bool {
	if a.Status == protocol.Withdrawn {
		return cfg.Board != nil && cfg.Board.Ours(a.ContextID())
	}
	self := cfg.Host.Self().Key
	return slices.ContainsFunc(a.Keepers, func(k protocol.Keeper) bool { return k.Key == self })
}

// Heard is told of each announcement that came to the board. It does not block.
func (d *DHT) Heard(h wire.Heard) {
	if mine(h.A(), &d.cfg) {
		d.puts.add(put{key: AnnKey(h.A().ContextID()), value: h.Raw()})
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
	return put{key: PassportKey(c.Vendor()), value: value}, true
}

// A putter is the loop of step 3: what is queued first, then the board in rounds.
type putter struct{ *DHT }

func (d *putter) run(ctx context.Context) {
	r := &round{board: d.cfg.Board}
	last := d.cfg.Now() // when the round went on
	if r.board != nil {
		last = r.begin(ctx, last)
		d.again(ctx)
	}
	for ctx.Err() == nil {
		wake, pause := d.puts.wake, putLook
		var one put
		var ok bool
		if d.Nodes() > 0 { // else it waits for somebody to put it to
			one, ok = d.puts.next()
		}
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

// again queues what came so shortly before the node last ended that it may not have
// been put, the latest first.
func (d *putter) again(ctx context.Context) {
	var ours []board.Standing
	newest := int64(0)
	each(d.cfg.Board, func(s board.Standing) {
		newest = max(newest, s.HeardMS)
		if s.Ours {
			ours = append(ours, s)
		}
	})
	slices.SortFunc(ours, func(a, b board.Standing) int { return cmp.Compare(b.HeardMS, a.HeardMS) })
	for _, s := range ours[:min(len(ours), d.puts.most)] {
		if s.HeardMS < newest-putLate.Milliseconds() || ctx.Err() != nil {
			return
		}
		if e, err := d.cfg.Board.Get(ctx, s.Context); err == nil { // else it is gone since
			d.Heard(e.Heard)
		}
	}
}

// each goes over what stands on a board, by context.
func each(b *board.Board, do func(board.Standing)) {
	var after protocol.ContextID
	for list := b.Standings(after, board.MaxIDs); len(list) > 0; list = b.Standings(after, board.MaxIDs) {
		for _, s := range list {
			do(s)
		}
		after = list[len(list)-1].Context
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
		ours := mine(a, &d.cfg) // looking first would let it end before it is put again
		one = put{key: AnnKey(a.ContextID()), value: h.Raw(), look: a.Status == protocol.Withdrawn && !ours}
		return one, ours || one.look
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

// A round walks over the board, announcements and then passports, again and again. The
// clock says where one stands: whoever starts again goes on there, and does not begin
// with those that were put last time, for ever.
type round struct {
	board   *board.Board
	context protocol.ContextID
	vendor  protocol.VendorID
	vendors bool
}

// begin goes to the place whose turn is next by the clock, and gives when the turn before
// it was.
func (r *round) begin(ctx context.Context, now time.Time) (last time.Time) {
	var contexts []protocol.ContextID
	each(r.board, func(s board.Standing) { contexts = append(contexts, s.Context) })
	var vendors []protocol.VendorID
	var after protocol.VendorID
	for more := true; more; {
		var ids []protocol.VendorID
		var err error
		if ids, more, err = r.board.PassportIDs(ctx, after, board.MaxIDs); err != nil || len(ids) == 0 {
			break
		}
		vendors, after = append(vendors, ids...), ids[len(ids)-1]
	}
	turns := len(contexts) + len(vendors) + 1 // the end of a round takes one
	turn := putEvery / time.Duration(turns)
	since := time.Duration(now.UnixNano() % int64(putEvery))
	next := int(since/turn) + 1
	if next %= turns; next > len(contexts) {
		r.vendors, r.vendor = true, vendors[next-len(contexts)-1]
	} else if next > 0 {
		r.context = contexts[next-1]
	}
	return now.Add(-(since % turn))
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
