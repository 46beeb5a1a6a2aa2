package node

import (
	"cmp"
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// maxEvents is how many events are kept for those who come back for them.
const maxEvents = 4096

// events is a bounded log of what happened, for streams.
//
// An id holds the millisecond in which the log was opened in its upper bits, and a
// count in the lower ones: ids grow by one within one life of a node and never come
// again in the next, so that an id of an earlier life is known for what it is. Whoever
// comes back with an id that the log does not continue, since it is of another life or
// since what followed it was dropped, gets a gap, and then all that is kept.
type events struct {
	most  int
	first uint64 // the id of the first event of this life
	mu    sync.Mutex
	log   []desk.Event // oldest first
	next  uint64
	news  chan struct{} // closed, and made anew, at each event
	now   func() time.Time
}

// idBits of an id count. A log of more than a million events a second would use up the
// ids of the next life; what is above them stays below 2^53, beyond which JSON's numbers
// lose digits in some readers, until the year 2248.
const idBits = 10

// newEvents keeps at most so many; maxEvents where that is zero.
func newEvents(now func() time.Time, most int) *events {
	first := uint64(max(now().UnixMilli(), 0))<<idBits + 1
	return &events{most: cmp.Or(most, maxEvents), first: first, next: first, news: make(chan struct{}), now: now}
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

// since gives the events after an id, at most 256, and what closes at the next one. Zero
// is before all that is kept.
func (e *events) since(after uint64) ([]desk.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := e.next - uint64(len(e.log))
	var list []desk.Event
	switch {
	case after == 0:
		after = oldest - 1
	case after+1 < oldest || after >= e.next:
		list = append(list, e.gap(after, oldest))
		after = oldest - 1
	}
	kept := e.log[after+1-oldest:]
	return append(list, kept[:min(len(kept), 256)]...), e.news
}

// gap stands for what is missing between an id and the oldest event that is kept. Its own
// id is that of the last one missing, so that whoever resumes after it misses no more.
func (e *events) gap(after, oldest uint64) desk.Event {
	data := map[string]string{"after": strconv.FormatUint(after, 10), "why": desk.GapUnknown}
	if after+1 >= e.first && after < e.next {
		data["why"], data["missed"] = desk.GapDropped, strconv.FormatUint(oldest-1-after, 10)
	}
	return desk.Event{ID: oldest - 1, AtMS: e.now().UnixMilli(), Kind: desk.EventGap, Data: data}
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
