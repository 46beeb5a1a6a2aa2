package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// censors work together: they keep one shelf, on which stands all but what they hold
// back, and answer pulls from it. They are told which needs are whose: what a need says
// tells nobody.
type censors struct {
	circle nodetest.Circle
	shelf  *nodetest.Shelf
	seen   map[protocol.Hash]bool // announcements, and whether they are passed on
	mu     sync.Mutex
	theirs map[protocol.ContextID]bool
	one    bool // the one need that is to be held back is known
}

// newCensors makes their shelf.
func newCensors(w *nodetest.World) (*censors, error) {
	s, err := w.Shelf()
	return &censors{shelf: s, seen: map[protocol.Hash]bool{}, theirs: map[protocol.ContextID]bool{}}, err
}

// censor lets one in.
func (st *stage) censor() error {
	o, err := st.w.Outsider(max(outsiderDials, st.s.Network.Public), func(raw []byte, _ *nodetest.Member) bool { return st.passes(raw) })
	if err != nil {
		return err
	}
	st.outside = append(st.outside, o)
	st.censors.circle.Add(o)
	return o.AnswerSync(st.censors.shelf.Answer())
}

// passes tells whether censors pass an announcement on.
func (st *stage) passes(raw []byte) bool {
	c, id := st.censors, wire.ID(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if on, ok := c.seen[id]; ok {
		return on
	}
	c.seen[id] = false
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		return false
	}
	a := h.A()
	if id := a.ContextID(); st.holds(id) {
		st.saw(time.Now(), lab.Record{Kind: lab.KindHostile, What: hostile.Withheld, Context: brief(id[:]), Seq: a.Seq})
		return false
	}
	err = c.shelf.Put(h)
	c.seen[id] = err == nil
	return err == nil
}

// holds tells whether a need is the first customer's, and held back. Called with mu held.
func (st *stage) holds(id protocol.ContextID) bool {
	c := st.censors
	held, known := c.theirs[id]
	if known || st.s.Censors.Hold == hostile.HoldNeed && c.one {
		return held
	}
	c.theirs[id] = false
	house := st.House(st.s.Network.Public)
	if house == nil {
		return false
	}
	_, err := house.Customer().Needs().Get(context.Background(), fmt.Sprintf("%x", id[:]))
	c.theirs[id] = err == nil
	c.one = c.one || err == nil
	return err == nil
}

// shard is that of an announcement.
func (st *stage) shard(raw []byte) uint16 {
	d, err := wire.ReadAnnouncement(raw)
	if err != nil {
		return 1
	}
	a := d.A()
	return wire.Shard(a.Category, a.Region, st.s.Network.Shards)
}
