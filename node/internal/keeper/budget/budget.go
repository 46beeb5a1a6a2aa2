// Package budget bounds what callers of a keeper may ask of it: token buckets by
// address prefix, by name and for everybody together. Nothing here reads a clock by
// itself or waits.
//
//  1. Budgets.Caller charges an operation to the caller's prefix and to all, before
//     any signature is looked at.
//  2. Budgets.Named charges it to the capability, owner or box that it turned out to
//     be about.
package budget

import (
	"fmt"
	"sync"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
)

// A Rate refills a bucket by PerSecond up to Burst. Units are costs of operations.
type Rate struct{ PerSecond, Burst float64 }

// Limits are the budgets of a keeper. A caller of this machine is charged to All alone.
type Limits struct {
	Prefix Rate // of one address prefix: a fresh peer id is no fresh budget
	Name   Rate // of one capability, of one box's owner, and of all first letters to one box
	All    Rate // of everybody together
	Relay  Rate // announcements that one address prefix hands in by gossip
}

// Default let an office of a hundred customers share an address.
var Default = Limits{
	Prefix: Rate{400, 8000}, Name: Rate{50, 2000}, All: Rate{8000, 40000}, Relay: Rate{100, 2000},
}

// Max bounds the prefixes and the names remembered.
const Max = 8192

// A bucket holds what is left at a moment.
type bucket struct {
	left float64
	at   time.Time
}

// take refills b and takes cost from it, if there is as much.
func (b *bucket) take(r Rate, cost float64, now time.Time) bool {
	b.left = min(r.Burst, b.left+r.PerSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.left < cost {
		return false
	}
	b.left -= cost
	return true
}

// buckets are token buckets by name. They know no clock: now comes in.
type buckets struct {
	mu   sync.Mutex
	rate Rate
	of   map[string]*bucket
}

func newBuckets(r Rate) *buckets { return &buckets{rate: r, of: map[string]*bucket{}} }

// take charges cost to name, and says whether its bucket had as much.
func (b *buckets) take(name string, cost float64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of[name]
	if one == nil {
		b.makeRoom(now)
		one = &bucket{left: b.rate.Burst, at: now}
		b.of[name] = one
	}
	return one.take(b.rate, cost, now)
}

// makeRoom forgets a name when there are too many: one whose bucket is full again
// among some looked at, else any.
func (b *buckets) makeRoom(now time.Time) {
	if len(b.of) < Max {
		return
	}
	looked, last := 0, ""
	for name, one := range b.of {
		last = name
		if looked++; looked > 16 || one.left+b.rate.PerSecond*now.Sub(one.at).Seconds() >= b.rate.Burst {
			break
		}
	}
	delete(b.of, last)
}

func (b *buckets) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.of)
}

// Budgets are all that a keeper's callers are charged to.
type Budgets struct {
	limits Limits
	now    func() time.Time
	prefix *buckets
	name   *buckets
	relay  *buckets
	mu     sync.Mutex
	all    bucket
}

// New makes full budgets; now is asked at each charge.
func New(l Limits, now func() time.Time) *Budgets {
	return &Budgets{
		limits: l, now: now, prefix: newBuckets(l.Prefix), name: newBuckets(l.Name), relay: newBuckets(l.Relay),
		all: bucket{left: l.All.Burst, at: now()},
	}
}

// Local tells a caller on this machine, or the node itself.
func Local(from string) bool { return from == "127.0.0.0/24" || from == "::/56" || from == "" }

// Caller takes cost from everybody's budget and from the caller's.
func (b *Budgets) Caller(from string, cost float64) error {
	now := b.now()
	if !Local(from) && !b.prefix.take(from, cost, now) {
		return fmt.Errorf("budget of %s: %w", from, fault.Full)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.all.take(b.limits.All, cost, now) {
		return fmt.Errorf("budget of all: %w", fault.Full)
	}
	return nil
}

// Named takes cost from the budget of a capability, an owner or a box.
func (b *Budgets) Named(what string, id []byte, cost float64) error {
	if !b.name.take(what+string(id), cost, b.now()) {
		return fmt.Errorf("budget of one %s: %w", what, fault.Full)
	}
	return nil
}

// Relayed takes an announcement from the budget of the one who handed it in.
func (b *Budgets) Relayed(from string) bool { return Local(from) || b.relay.take(from, 1, b.now()) }

// Sizes are how many prefixes and names are remembered, of Max each.
func (b *Budgets) Sizes() (prefixes, names int) { return b.prefix.size(), b.name.size() }
