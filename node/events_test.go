package node

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// numbers are the ids, counted from the first of this life; a gap is shown with what it
// says.
func (e *events) numbers(after uint64) (out []string) {
	list, _ := e.since(after)
	for _, ev := range list {
		text := fmt.Sprint(int64(ev.ID - e.first + 1))
		if ev.Kind == desk.EventGap {
			text += fmt.Sprint(" ", ev.Data["why"], ev.Data["missed"])
		}
		out = append(out, text)
	}
	return out
}

func TestEventsAreNumberedOneByOne(t *testing.T) {
	e := numbered(3)
	list, _ := e.since(0)
	for i, ev := range list {
		if ev.ID != e.first+uint64(i) || ev.Ref != fmt.Sprint(i+1) {
			t.Errorf("event %d is %+v", i, ev)
		}
	}
	if e.first >= 1<<53 {
		t.Errorf("id %d is no exact number in JSON", e.first)
	}
	for what, x := range map[string]struct {
		after uint64
		want  string
	}{
		"from the start":        {0, "[1 2 3]"},
		"before the first":      {e.first - 1, "[1 2 3]"},
		"after the first":       {e.first, "[2 3]"},
		"after the last":        {e.first + 2, "[]"},
		"one that never was":    {e.first + 3, "[0 unknown 1 2 3]"},
		"of the life before":    {e.first - 2, "[0 unknown 1 2 3]"},
		"counted from one":      {1, "[0 unknown 1 2 3]"},
		"the greatest there is": {math.MaxUint64, "[0 unknown 1 2 3]"},
	} {
		if got := fmt.Sprint(e.numbers(x.after)); got != x.want {
			t.Errorf("%s: %s, want %s", what, got, x.want)
		}
	}
	if got := fmt.Sprint(newEvents(time.Now, 0).numbers(7)); got != "[0 unknown]" {
		t.Errorf("of an empty log: %s", got)
	}
}

// TestAFollowerIsToldOfARestart resumes with an id of the life before, at every length of
// the new one.
func TestAFollowerIsToldOfARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := numbered(40)
		list, _ := before.since(0)
		time.Sleep(time.Millisecond)
		after := newEvents(time.Now, 0)
		for n := range 60 {
			for _, ev := range []desk.Event{list[0], list[19], list[39]} {
				got, _ := after.since(ev.ID)
				if len(got) != n+1 || got[0].Kind != desk.EventGap || got[0].Data["why"] != desk.GapUnknown || got[0].Data["after"] != fmt.Sprint(ev.ID) {
					t.Fatalf("event %d of the life before, then %d of this: %d events, first %+v", ev.ID-before.first+1, n, len(got), got)
				}
				if rest, _ := after.since(got[0].ID); len(rest) != n || n > 0 && rest[0].ID != after.first {
					t.Fatalf("after the gap come %d events of %d", len(rest), n)
				}
			}
			after.Emit("kind", "", nil)
		}
	})
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
	if list, _ := e.since(0); list[0].ID != e.first || len(list) != 256 {
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
	err := e.follow(t.Context(), e.first+4, func(ev desk.Event) error {
		if ids = append(ids, ev.ID-e.first+1); len(ids) == 1 && (ev.Kind != desk.EventGap || ev.Data["missed"] != "4" || ev.Data["why"] != desk.GapDropped) {
			t.Errorf("the first is %+v", ev)
		}
		if ev.Ref == "one more" {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	if ids[0] != 9 || ids[len(ids)-1] != maxEvents+9 {
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

// TestASlowFollowerSeesTheGap: what is dropped while a follower is at an event is no
// silent loss either.
func TestASlowFollowerSeesTheGap(t *testing.T) {
	e := newEvents(time.Now, 4)
	e.Emit("kind", "1", nil)
	var got []string
	done := errors.New("done")
	err := e.follow(t.Context(), 0, func(ev desk.Event) error {
		got = append(got, ev.Kind+ev.Ref+ev.Data["missed"])
		for i := range 6 {
			if ev.Ref == "1" {
				e.Emit("kind", fmt.Sprint(i+2), nil)
			}
		}
		if ev.Ref == "7" {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) || fmt.Sprint(got) != "[kind1 events.gap2 kind4 kind5 kind6 kind7]" {
		t.Errorf("%v, %v", got, err)
	}
}
