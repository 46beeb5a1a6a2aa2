package metrics

import (
	"maps"
	"sync"
)

// Counts counts by kind. There must be few kinds, for none is ever forgotten. The zero
// Counts is ready; it is safe for concurrent use.
type Counts[K comparable] struct {
	mu sync.Mutex
	of map[K]int64
}

// Add counts one more of a kind.
func (c *Counts[K]) Add(kind K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[K]int64{}
	}
	c.of[kind]++
}

// All gives the counts of this moment.
func (c *Counts[K]) All() map[K]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}
