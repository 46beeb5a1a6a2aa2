package node

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// TestEventsAreBounded: a flood of events drops the oldest, and a reader sees the
// gap.
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
	var first desk.Event
	err := e.follow(context.Background(), e.first+4, func(ev desk.Event) error { first = ev; return enough })
	if !errors.Is(err, enough) || first.Kind != desk.EventGap || first.Data["missed"] != strconv.Itoa(2*maxEvents-5) {
		t.Errorf("the first event after the fifth is %+v, %v", first, err)
	}
}
