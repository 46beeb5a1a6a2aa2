// Package callers shares the streams that a node serves at once among those who call.
package callers

import (
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// Callers share the streams that are served at once: an address prefix may have one
// more only while it has no more than what is free for all. So the fullest can have
// half, and leaves as much free for others.
type Callers struct {
	most int
	mu   sync.Mutex
	all  int
	of   map[string]int // by address prefix
}

// New shares out so many streams.
func New(most int) *Callers { return &Callers{most: most, of: map[string]int{}} }

// Come takes a stream for a prefix; fault.Full where it has its share.
func (c *Callers) Come(from string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[from]+1 > c.most-c.all {
		return fmt.Errorf("peers: %d streams of %s, %d in all: %w", c.of[from], from, c.all, fault.Full)
	}
	c.of[from]++
	c.all++
	return nil
}

// Leave gives it back.
func (c *Callers) Leave(from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[from]--; c.of[from] == 0 {
		delete(c.of, from)
	}
}
