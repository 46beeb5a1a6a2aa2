package kv

import (
	"context"
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of one shared transaction. Half of MaxTx leaves the other half for keys,
// putCost and what Sealed adds.
const (
	maxGroup      = 64
	maxGroupBytes = MaxTx / 2
)

// A Group lets Updates that come at the same time share one transaction, and with it
// one sync: badger syncs once for each transaction, one after another, so that eight
// callers who write by themselves wait for eight syncs.
//
//  1. Whoever finds nobody writing leads: it writes what is waiting, its own first.
//  2. Who comes meanwhile waits in line, and is told once its writes are on disk, or
//     that it leads now.
//  3. A shared transaction that fails is taken apart: each of its Updates is tried by
//     itself, so that nobody fails for another.
//
// It is for writers that decide in memory and exclude each other there: functions
// that share a transaction see each other's writes, so one that reads is better off
// with Store.Update.
type Group struct {
	s Store

	mu      sync.Mutex
	writing bool      // somebody leads
	line    []*shared // as many as callers wait
}

// A shared is one Update of a Group.
type shared struct {
	fn      func(Tx) error
	size    int
	stopped func() error // its caller's ctx.Err
	err     error        // how it went
	told    chan bool    // true: it leads; false: it is over
}

// NewGroup makes a Group that writes to s.
func NewGroup(s Store) *Group { return &Group{s: s} }

// Update is Store.Update for a function that writes about size bytes, counting keys,
// and reads nothing.
func (g *Group) Update(ctx context.Context, size int, fn func(Tx) error) error {
	u := &shared{fn: fn, size: size, stopped: ctx.Err, told: make(chan bool, 1)}
	if g.join(u) || <-u.told {
		g.lead(context.WithoutCancel(ctx))
	}
	return u.err
}

// join puts u in line, and says whether it leads.
func (g *Group) join(u *shared) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.line = append(g.line, u)
	leads := !g.writing
	g.writing = true
	return leads
}

// lead writes one batch, hands over to the next in line, and tells the others.
func (g *Group) lead(ctx context.Context) {
	batch := g.batch()
	defer func() { // also if a function panics: the others do not wait for ever
		g.next()
		for _, u := range batch[1:] {
			u.told <- false
		}
	}()
	g.write(ctx, batch)
}

// batch takes from the line what fits into one transaction, its first in any case.
func (g *Group) batch() []*shared {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, bytes := 1, g.line[0].size
	for n < min(len(g.line), maxGroup) && bytes+g.line[n].size <= maxGroupBytes {
		bytes += g.line[n].size
		n++
	}
	batch := g.line[:n:n]
	g.line = g.line[n:]
	return batch
}

// next has whoever is first in line lead.
func (g *Group) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.line) == 0 {
		g.line, g.writing = nil, false
		return
	}
	g.line[0].told <- true
}

// write runs a batch as one Update, or, where that fails, as one for each.
func (g *Group) write(ctx context.Context, batch []*shared) {
	var live []*shared
	for _, u := range batch {
		u.err = fmt.Errorf("kv: the transaction it shared did not end: %w", fault.Internal)
		if err := u.stopped(); err != nil {
			u.err = fmt.Errorf("kv: %w", err)
		} else {
			live = append(live, u)
		}
	}
	err := g.together(ctx, live)
	for _, u := range live {
		if u.err = err; err != nil && len(live) > 1 {
			u.err = g.together(ctx, []*shared{u})
		}
	}
}

func (g *Group) together(ctx context.Context, batch []*shared) error {
	if len(batch) == 0 {
		return nil
	}
	return g.s.Update(ctx, func(tx Tx) error {
		for _, u := range batch {
			if err := u.fn(tx); err != nil {
				return err
			}
		}
		return nil
	})
}
