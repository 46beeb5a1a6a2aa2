package node

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// maxEvents is how many events are kept for those who come back for them.
const maxEvents = 4096

// events is a bounded log of what happened, for streams. Ids grow by one, so a
// reader that was away too long sees the gap.
type events struct {
	most int
	mu   sync.Mutex
	log  []desk.Event // oldest first
	next uint64
	news chan struct{} // closed, and made anew, at each event
	now  func() time.Time
}

// newEvents keeps at most so many; maxEvents where that is zero.
func newEvents(now func() time.Time, most int) *events {
	return &events{most: cmp.Or(most, maxEvents), next: 1, news: make(chan struct{}), now: now}
}

// Emit implements market.Events.
func (e *events) Emit(kind, ref string, data map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.log) >= e.most {
		clear(e.log[:1])
		e.log = e.log[1:] // the next append that needs room leaves what is before it
	}
	e.log = append(e.log, desk.Event{ID: e.next, AtMS: e.now().UnixMilli(), Kind: kind, Ref: ref, Data: maps.Clone(data)})
	e.next++
	close(e.news)
	e.news = make(chan struct{})
}

// since gives the events after an id, at most 256, and what closes at the next one.
func (e *events) since(after uint64) ([]desk.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := len(e.log)
	for i > 0 && e.log[i-1].ID > after {
		i--
	}
	list := e.log[i:min(len(e.log), i+256)]
	return append([]desk.Event(nil), list...), e.news
}

// follow calls fn with each event after an id, until ctx ends or fn fails.
func (e *events) follow(ctx context.Context, after uint64, fn func(desk.Event) error) error {
	for {
		list, news := e.since(after)
		for _, ev := range list {
			if err := fn(ev); err != nil {
				return err
			}
			after = ev.ID
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// fill is how full the log is.
func (e *events) fill() desk.Fill {
	e.mu.Lock()
	defer e.mu.Unlock()
	return desk.Fill{Name: "node.events", Used: int64(len(e.log)), Cap: int64(e.most)}
}
