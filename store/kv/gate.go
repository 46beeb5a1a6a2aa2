package kv

import (
	"context"
	"fmt"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
)

// A gate lets calls into a Store until it is shut, and knows who is inside.
type gate struct {
	mu     sync.Mutex
	shut   bool
	inside sync.WaitGroup
}

// enter admits one call, which must leave.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("kv: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return fmt.Errorf("kv: the store is closed: %w", fault.Offline)
	}
	g.inside.Add(1)
	return nil
}

func (g *gate) leave() { g.inside.Done() }

// close admits nobody any more and waits until all have left.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.inside.Wait()
}
