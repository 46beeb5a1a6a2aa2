package courier

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// perStream is how many mailboxes one stream follows at once, and maxAsked how many
// one after the other: keepers allow 256 and forget none before the stream ends.
const perStream, maxAsked = 200, 250

// Watch reads a mailbox from now on, or, where it is read already, at keepers that it
// has in addition. Where there is no room for it, or not for streams to its keepers,
// its turn comes: see turns.
func (c *Courier) Watch(b records.Box) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaving, b.Key)
	old, ok := c.boxes[b.Key]
	switch {
	case ok:
		c.widen(old, b)
	case !c.watch(b):
		c.unread = true
	}
}

// widen is called with the courier's mutex held.
func (c *Courier) widen(old, b records.Box) {
	c.boxes[b.Key] = b
	for _, k := range b.Keepers {
		if slices.ContainsFunc(old.Keepers, func(o protocol.Keeper) bool { return o.Key == k.Key }) {
			continue // it is read there already
		}
		w := c.streamFor(k)
		if w == nil {
			c.cfg.Log.Warn("courier: too many streams to read a mailbox at one more keeper", "box", b.Key, "keeper", k.Key)
			continue
		}
		w.boxes[b.Key] = true
		w.want(b)
	}
}

// watch is called with the courier's mutex held.
func (c *Courier) watch(b records.Box) bool {
	if len(c.boxes) >= c.lim.Boxes {
		return false
	}
	var at []*watch
	for _, k := range b.Keepers {
		if w := c.streamFor(k); w != nil {
			at = append(at, w)
		}
	}
	if len(at) < min(len(b.Keepers), max(1, len(b.Keepers)-1)) { // a letter may lie at the others alone
		c.drop() // the streams that were begun
		return false
	}
	c.boxes[b.Key] = b
	c.queue = append(c.queue, b.Key)
	for _, w := range at {
		w.boxes[b.Key] = true
		w.want(b)
	}
	return true
}

// turns lets mailboxes take turns while there are more than can be read at once: a
// quarter of them, those read longest, make room for others. Keepers hold letters for
// weeks, so that none is lost that waits for its mailbox's turn.
func (c *Courier) turns(ctx context.Context, now time.Time) {
	c.mu.Lock()
	unread, after := c.unread, c.cursor
	c.mu.Unlock()
	if !unread {
		return
	}
	most := max(1, c.lim.Boxes/4)
	var next []records.Box
	err := c.cfg.KV.View(ctx, func(r kv.Reader) error {
		var rest []records.Box // from the beginning to where we are
		err := records.EachBox(r, func(b records.Box) (bool, error) {
			switch {
			case b.Until <= protocol.Second(now.Unix()) || c.reads(b.Key):
			case bytes.Compare(b.Key[:], after[:]) > 0:
				next = append(next, b)
			case len(rest) < most:
				rest = append(rest, b)
			}
			return len(next) < most, nil
		})
		next = append(next, rest[:min(len(rest), most-len(next))]...)
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("courier: could not look for mailboxes to read", "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return
	}
	if c.unread = len(next) > 0; !c.unread {
		return // all are read
	}
	c.drop(slices.Clone(c.queue[:min(len(c.queue), max(0, len(c.boxes)+len(next)-c.lim.Boxes))])...)
	old := min(len(c.queue), maxUnseated)
	for _, b := range next {
		for ; !c.watch(b); old-- { // others hold the streams that it needs
			if old == 0 {
				return // it is the first at the next turn
			}
			c.drop(c.queue[0])
		}
		c.cursor = b.Key
	}
}

// maxUnseated is how many mailboxes make room one by one in one turn.
const maxUnseated = 64

func (c *Courier) reads(box key.MailboxKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.boxes[box]
	return ok
}

// drop reads mailboxes no longer, and ends streams that have nothing else to read.
// Called with the courier's mutex held.
func (c *Courier) drop(boxes ...key.MailboxKey) {
	for _, k := range boxes {
		delete(c.boxes, k)
		for _, w := range c.watches {
			delete(w.boxes, k)
		}
	}
	c.queue = slices.DeleteFunc(c.queue, func(k key.MailboxKey) bool { _, ok := c.boxes[k]; return !ok })
	c.watches = slices.DeleteFunc(c.watches, func(w *watch) bool {
		if len(w.boxes) == 0 {
			w.end()
		}
		return len(w.boxes) == 0
	})
}

// lingers is how long a mailbox is kept in mind after its last letter was taken: that
// letter has still to be deleted at its keepers.
const lingers = time.Minute

// Unwatch reads a mailbox no longer, once what came last is deleted.
func (c *Courier) Unwatch(k key.MailboxKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.boxes[k]; ok {
		c.leaving[k] = c.cfg.Now()
	}
}

// forget ends the reading of mailboxes that linger no more, and of keepers that hold
// none.
func (c *Courier) forget(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var over []key.MailboxKey
	for k, since := range c.leaving {
		if now.Sub(since) < lingers {
			continue
		}
		delete(c.leaving, k)
		over = append(over, k)
	}
	c.drop(over...)
}

// streamFor finds or starts a stream to a keeper that has room for one more mailbox.
func (c *Courier) streamFor(k protocol.Keeper) *watch {
	for _, w := range c.watches {
		if w.keeper.Key == k.Key && len(w.boxes) < perStream {
			return w
		}
	}
	if len(c.watches) >= c.lim.Streams {
		return nil
	}
	w := &watch{keeper: k, boxes: map[key.MailboxKey]bool{}, doomed: map[key.MailboxKey][]doomed{}, wake: make(chan struct{}, 1), ask: make(chan struct{}, 1)}
	if err := c.hire(w); err != nil {
		return nil // closing
	}
	c.watches = append(c.watches, w)
	return w
}
