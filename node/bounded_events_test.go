package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// TestEventsAreBounded: a flood of events drops the oldest, and a reader sees the
// gap in their ids.
func TestEventsAreBounded(t *testing.T) {
	e := newEvents(time.Now, 0)
	most := int64(0)
	for range 3 * maxEvents {
		e.Emit("flood", "", nil)
		most = max(most, e.fill().Used)
	}
	if f := e.fill(); most != f.Cap || f.Used != f.Cap || f.Cap != maxEvents {
		t.Errorf("at most %d, now %+v", most, f)
	}
	enough := errors.New("enough")
	first := uint64(0)
	err := e.follow(context.Background(), 5, func(ev desk.Event) error { first = ev.ID; return enough })
	if !errors.Is(err, enough) || first <= 6 {
		t.Errorf("the first event after 5 is %d, %v", first, err)
	}
}
