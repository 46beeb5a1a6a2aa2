package limits

import (
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// Callers share the streams that are served at once: those of each protocol, and those
// of all together. An address prefix may have one more only while it has no more than
// what is free for all. So the fullest can have half, and leaves as much free for others:
// whoever takes what it can of one protocol takes nothing of another, and hurts at most
// those behind its own address. Make it with NewCallers.
type Callers struct {
	mu  sync.Mutex
	all share
	of  map[string]*share // by protocol
}

// A share is how many streams there may be at once, and who has them.
type share struct {
	most, used int
	by         map[string]int // address prefix
}

func newShare(most int) *share { return &share{most: most, by: map[string]int{}} }

// NewCallers makes room for so many streams, of which so many of each protocol named.
func NewCallers(most int, of map[string]int) *Callers {
	c := &Callers{all: *newShare(most), of: map[string]*share{}}
	for proto, n := range of {
		c.of[proto] = newShare(min(n, most))
	}
	return c
}

// Come takes in a stream of an address prefix, fault.Full where it has its share of the
// protocol, or of all.
func (c *Callers) Come(proto, from string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	shares := c.shares(proto)
	for _, s := range shares {
		if s.by[from]+1 > s.most-s.used {
			return fmt.Errorf("limits: %d streams %s of %s, %d of everybody: %w", s.by[from], proto, from, s.used, fault.Full)
		}
	}
	for _, s := range shares {
		s.by[from]++
		s.used++
	}
	return nil
}

// Leave ends one.
func (c *Callers) Leave(proto, from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.shares(proto) {
		s.used--
		if s.by[from]--; s.by[from] == 0 {
			delete(s.by, from)
		}
	}
}

// shares are those that a stream is part of.
func (c *Callers) shares(proto string) []*share {
	if s := c.of[proto]; s != nil {
		return []*share{s, &c.all}
	}
	return []*share{&c.all}
}

// Of is how many streams of a protocol are served, and how many may be.
func (c *Callers) Of(proto string) (used, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[proto]
	if s == nil {
		s = &c.all
	}
	return s.used, s.most
}
