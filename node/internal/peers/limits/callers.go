package limits

import (
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// Callers share the streams that are served at once: an address prefix may have one
// more only while it has no more than what is free for all. So the fullest can have
// half, and leaves as much free for others. Make it with NewCallers.
type Callers struct {
	most int
	mu   sync.Mutex
	all  int
	of   map[string]int // by address prefix
}

// NewCallers makes room for so many streams.
func NewCallers(most int) *Callers { return &Callers{most: most, of: map[string]int{}} }

// Come takes in a stream of an address prefix, fault.Full where it has its share.
func (c *Callers) Come(from string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[from]+1 > c.most-c.all {
		return fmt.Errorf("limits: %d streams of %s, %d in all: %w", c.of[from], from, c.all, fault.Full)
	}
	c.of[from]++
	c.all++
	return nil
}

// Leave ends one.
func (c *Callers) Leave(from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[from]--; c.of[from] == 0 {
		delete(c.of, from)
	}
}
