// Package crew holds the only go statement of the product: every goroutine has a
// name, a boss who hired it, and someone who waits for it.
package crew

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// A Crew is a bounded set of named goroutines with one boss. Make it with New;
// the boss calls Dismiss and so waits for all of them.
type Crew struct {
	mu      sync.Mutex
	cancel  context.CancelFunc
	work    func() context.Context // the crew's context, handed to each worker
	at      map[string]int         // name -> how many are at work
	limit   int
	idle    chan struct{} // closed when a dismissed crew is gone
	closing bool
	panics  func(name string, value any, stack []byte)
}

// New makes a crew of at most limit goroutines whose context ends with parent's or
// with Dismiss. onPanic is told of a worker that panicked; nil lets the panic end
// the program, as it should where state may be half-changed.
func New(parent context.Context, limit int, onPanic func(name string, value any, stack []byte)) *Crew {
	ctx, cancel := context.WithCancel(parent)
	return &Crew{
		cancel: cancel, work: func() context.Context { return ctx },
		at: map[string]int{}, limit: limit, idle: make(chan struct{}), panics: onPanic,
	}
}

// Hire starts work under name. A crew at its limit answers fault.Full, a dismissed
// one fault.Offline.
func (c *Crew) Hire(name string, work func(context.Context)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.at {
		n += k
	}
	switch {
	case c.closing:
		return fmt.Errorf("crew: %s: dismissed: %w", name, fault.Offline)
	case n >= c.limit:
		return fmt.Errorf("crew: %s: %d at work: %w", name, n, fault.Full)
	}
	c.at[name]++
	go c.run(name, work)
	return nil
}

func (c *Crew) run(name string, work func(context.Context)) {
	defer c.leave(name)
	if c.panics != nil {
		defer func() {
			if v := recover(); v != nil {
				c.panics(name, v, debug.Stack())
			}
		}()
	}
	work(c.work())
}

func (c *Crew) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[name]--; c.at[name] == 0 {
		delete(c.at, name)
	}
	if c.closing && len(c.at) == 0 {
		close(c.idle)
	}
}

// Size is how many are at work, and the limit.
func (c *Crew) Size() (at, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.at {
		at += k
	}
	return at, c.limit
}

// Dismiss ends the crew's context and waits for everyone. When ctx ends first, the
// error names who is stuck. It may be called once more, and waits again.
func (c *Crew) Dismiss(ctx context.Context) error {
	c.mu.Lock()
	c.cancel()
	if !c.closing {
		c.closing = true
		if len(c.at) == 0 {
			close(c.idle)
		}
	}
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var stuck []string
	for name := range c.at {
		stuck = append(stuck, name)
	}
	slices.Sort(stuck)
	return fmt.Errorf("crew: %s did not stop: %w", strings.Join(stuck, ", "), ctx.Err())
}
