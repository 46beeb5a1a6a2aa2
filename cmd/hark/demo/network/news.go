package network

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
)

// News counts what the nodes' event streams tell, so that the show knows how long to
// wait without asking all the time. No figure of the report comes from it.
type News struct {
	mu    sync.Mutex
	count map[string]int
	last  map[string]time.Time // of a context, when something happened last
	bell  chan struct{}        // closed, and made anew, at each event
}

func newNews() *News {
	return &News{count: map[string]int{}, last: map[string]time.Time{}, bell: make(chan struct{})}
}

// counted are the events that matter, with what of their data they are counted by.
var counted = map[string]string{
	"disclosure.sent": "context", "refusal.sent": "context", "offer.opened": "context", "offer.missed": "context", "offer.sent": "context",
	"deal.fulfilled": "offer", "deal.closed": "offer", "deletion.kept": "", "offer.late": "vendor",
}

// take notes one event of a node.
func (w *News) take(r process.Role, e desk.Event) {
	by, ok := counted[e.Kind]
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[key(r, e.Kind, e.Data[by])]++
	if e.Kind == "offer.sent" {
		if g := key(r, "answered", e.Data["grant"]); w.count[g] == 0 {
			w.count[g] = 1
			w.count[key(r, "answered", e.Data["context"])]++
		}
	}
	w.last[e.Data["context"]] = time.Now()
	close(w.bell)
	w.bell = make(chan struct{})
}

func key(r process.Role, kind, of string) string { return fmt.Sprintf("%s %s %s", r, kind, of) }

// Seen is how often something was told.
func (w *News) Seen(r process.Role, kind, of string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[key(r, kind, of)]
}

// Quiet is how long nothing has happened in a context.
func (w *News) Quiet(of string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.last[of])
}

// Wait returns true when it is so, false when the time is up.
func (w *News) Wait(ctx context.Context, most time.Duration, so func() bool) bool {
	end := time.NewTimer(most)
	defer end.Stop()
	for {
		w.mu.Lock()
		bell := w.bell
		w.mu.Unlock()
		if so() {
			return true
		}
		select {
		case <-bell:
		case <-time.After(50 * time.Millisecond): // quiet has no bell
		case <-end.C:
			return so()
		case <-ctx.Done():
			return false
		}
	}
}

// follow listens to all nodes until the show ends. A stream that breaks off costs
// time and nothing else.
func (n *Network) follow(ctx context.Context) {
	for _, p := range n.Nodes {
		n.wg.Go(func() {
			_ = p.API.Admin().Events(ctx, 0, func(e desk.Event) error {
				n.News.take(p.Role, e)
				return nil
			})
		})
	}
}
