package posting

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// Bounds of the queue, of 4 KiB each at most: usually for everybody, and which part of
// it is for one address prefix, so that one first hop does not take all places.
const (
	maxHeld  = 1024
	heldPart = 4
)

// held is one announcement that is published later.
type held struct {
	id   protocol.Hash
	raw  []byte
	from string
	at   time.Time
}

// A queue holds posts until they are due, the soonest first. It is not on the disk:
// who posted looks whether his announcement appeared, and posts it again.
type queue struct {
	most int
	mu   sync.Mutex
	list []held // by at
	of   map[string]int
	news chan struct{}
}

func newQueue(most int) *queue {
	return &queue{most: most, of: map[string]int{}, news: make(chan struct{}, 1)}
}

// add takes in a post. One that is here already keeps its first date.
func (q *queue) add(p protocol.Post, from string, now time.Time) error {
	h := held{wire.ID(p.Data), p.Data, from, now.Add(time.Duration(p.Hold) * time.Millisecond)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.ContainsFunc(q.list, func(o held) bool { return o.id == h.id }) {
		return nil
	}
	if len(q.list) >= q.most || q.of[from] >= max(q.most/heldPart, 1) {
		return fmt.Errorf("posting: %d posts are held: %w", len(q.list), fault.Full)
	}
	i, _ := slices.BinarySearchFunc(q.list, h, func(a, b held) int { return a.at.Compare(b.at) })
	q.list = slices.Insert(q.list, i, h)
	q.of[from]++
	select {
	case q.news <- struct{}{}:
	default: // the loop is awake already
	}
	return nil
}

// due takes out what is due, and says when the next one is; a second where there is
// none yet.
func (q *queue) due(now time.Time) (list []held, pause time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.list) && !q.list[n].at.After(now) {
		n++
	}
	list = slices.Clone(q.list[:n])
	q.list = slices.Delete(q.list, 0, n)
	for _, h := range list {
		if q.of[h.from]--; q.of[h.from] == 0 {
			delete(q.of, h.from)
		}
	}
	if len(q.list) == 0 {
		return list, time.Minute
	}
	// A clock that was set does not keep a post for longer than any may be held.
	return list, min(max(q.list[0].at.Sub(now), time.Millisecond), protocol.MaxPostHold*time.Millisecond)
}

func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}

// Run publishes what is due, one after the other, until ctx ends. What the door
// refuses now is dropped: it was judged when it came, and something better stands
// there since, or its date has passed.
func (p *Posting) Run(ctx context.Context) {
	for {
		list, pause := p.queue.due(p.cfg.Now())
		for _, h := range list {
			if err := p.cfg.Publish(ctx, h.raw, ""); err != nil { // its budget was charged when it came
				p.cfg.Log.Debug("a held post was not published", "why", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.queue.news:
		case <-time.After(pause):
		}
	}
}
