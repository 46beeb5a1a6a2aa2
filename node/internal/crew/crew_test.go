package crew

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
)

func TestDismissWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(t.Context(), 4, nil)
		var left atomic.Int32
		for range 3 {
			if err := c.Hire("worker", func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(time.Second)
				left.Add(1)
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if at, limit := c.Size(); at != 3 || limit != 4 {
			t.Fatalf("Size = %d, %d", at, limit)
		}
		if err := c.Dismiss(t.Context()); err != nil || left.Load() != 3 {
			t.Fatalf("Dismiss = %v with %d of 3 gone", err, left.Load())
		}
		if err := c.Hire("late", func(context.Context) {}); !errors.Is(err, fault.Offline) {
			t.Fatalf("Hire after Dismiss = %v, want offline", err)
		}
	})
}

func TestDismissNamesWhoIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(t.Context(), 4, nil)
		release := make(chan struct{})
		if err := c.Hire("gossip reader", func(context.Context) { <-release }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Dismiss(ctx); err == nil || !strings.Contains(err.Error(), "gossip reader") {
			t.Fatalf("Dismiss = %v, want the name of the stuck one", err)
		}
		close(release)
		if err := c.Dismiss(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestACrewHasALimit(t *testing.T) {
	c := New(t.Context(), 1, nil)
	stay := func(ctx context.Context) { <-ctx.Done() }
	if err := c.Hire("a", stay); err != nil {
		t.Fatal(err)
	}
	if err := c.Hire("b", stay); !errors.Is(err, fault.Full) {
		t.Fatalf("Hire beyond the limit = %v, want full", err)
	}
	if err := c.Dismiss(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAPanicIsTold(t *testing.T) {
	got := make(chan string, 1)
	c := New(t.Context(), 1, func(name string, v any, _ []byte) { got <- name })
	if err := c.Hire("fragile", func(context.Context) { panic("x") }); err != nil {
		t.Fatal(err)
	}
	if name := <-got; name != "fragile" {
		t.Fatalf("told %q", name)
	}
	if err := c.Dismiss(t.Context()); err != nil {
		t.Fatal(err)
	}
}
