package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

func numbered(n int) *events {
	e := newEvents(time.Now, 0)
	for i := range n {
		e.Emit("kind", fmt.Sprint(i+1), nil)
	}
	return e
}

func TestEventsAreNumberedFromOne(t *testing.T) {
	e := numbered(3)
	list, _ := e.since(0)
	for i, ev := range list {
		if ev.ID != uint64(i+1) || ev.Ref != fmt.Sprint(i+1) {
			t.Errorf("event %d is %+v", i, ev)
		}
	}
	for after, want := range map[uint64]int{0: 3, 1: 2, 3: 0, 99: 0} {
		if list, _ := e.since(after); len(list) != want {
			t.Errorf("since %d: %d events, want %d", after, len(list), want)
		}
	}
}

func TestEventsDoNotShareWhatTheyWereMadeOf(t *testing.T) {
	e := newEvents(time.Now, 0)
	data := map[string]string{"a": "1"}
	e.Emit("kind", "", data)
	data["a"] = "2"
	list, _ := e.since(0)
	if list[0].Data["a"] != "1" {
		t.Error("an event changed after it happened")
	}
}

func TestALogThatIsFullDropsTheOldestAndShowsTheGap(t *testing.T) {
	e := numbered(maxEvents)
	if f := e.fill(); f.Used != maxEvents || f.Cap != maxEvents {
		t.Errorf("fill %+v", f)
	}
	if list, _ := e.since(0); list[0].ID != 1 || len(list) != 256 {
		t.Errorf("at its bound: %d events from %d", len(list), list[0].ID)
	}
	for range 8 {
		e.Emit("kind", "more", nil)
	}
	e.Emit("kind", "one more", nil)
	if f := e.fill(); f.Used != maxEvents {
		t.Errorf("fill %+v", f)
	}
	var ids []uint64
	done := errors.New("done")
	err := e.follow(t.Context(), 5, func(ev desk.Event) error {
		ids = append(ids, ev.ID)
		if ev.Ref == "one more" {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	if ids[0] != 10 || ids[len(ids)-1] != maxEvents+9 {
		t.Errorf("after event 5 came %d to %d", ids[0], ids[len(ids)-1])
	}
	for i, id := range ids {
		if id != ids[0]+uint64(i) {
			t.Fatalf("after %d came %d", ids[i-1], id)
		}
	}
}

func TestFollowWaitsForNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := numbered(1)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		over := make(chan error)
		go func() {
			over <- e.follow(ctx, 0, func(ev desk.Event) error { got = append(got, ev.Ref); return nil })
		}()
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("at first %v", got)
		}
		time.Sleep(time.Hour)
		e.Emit("kind", "2", nil)
		e.Emit("kind", "3", nil)
		synctest.Wait()
		if fmt.Sprint(got) != "[1 2 3]" {
			t.Errorf("then %v", got)
		}
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Errorf("in the end %v", err)
		}
	})
}
