package network

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
)

// TestMain lets the test binary stand in for a node that ends at once.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		fmt.Println("settings:", os.Getenv("HARK_HOME") == "")
		fmt.Fprintln(os.Stderr, "no such thing")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func TestCast(t *testing.T) {
	for _, c := range []struct{ vendors, customers, keepers int }{{3, 2, 0}, {1, 1, 2}, {2, 3, 1}, {5, 10, 0}} {
		n := New(Cast{Dir: "d", Shops: make([]input.Shop, c.vendors), Customers: c.customers}, func(error) {})
		if len(n.Of(process.Vendor)) != c.vendors || len(n.Of(process.Keeper)) != c.keepers || len(n.Of(process.Customer)) != c.customers {
			t.Errorf("%+v: %v", c, n.Nodes)
		}
		if p := n.Public(); len(p) != c.vendors+c.keepers || !slices.Equal(p, n.Nodes[:len(p)]) {
			t.Errorf("%+v: public nodes are not first", c)
		}
		homes := map[string]bool{}
		for _, p := range n.Nodes {
			homes[p.Home] = true
		}
		if len(homes) != len(n.Nodes) {
			t.Errorf("%+v: homes %v", c, homes)
		}
	}
}

// TestAnEndIsNoticed: a node that ends by itself stops the show, with its last words.
func TestAnEndIsNoticed(t *testing.T) {
	t.Setenv("HARK_HOME", "somebody's own node")
	ctx, cancel := context.WithCancelCause(t.Context())
	n := New(Cast{Program: os.Args[0], Dir: t.TempDir(), Shops: []input.Shop{{Name: "Corner Shop"}}}, cancel)
	p := n.Nodes[0]
	if err := os.MkdirAll(p.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(n.program, false, &n.wg, n.ended); err != nil {
		t.Fatal(err)
	}
	err := p.Ready(ctx)
	if err == nil || !strings.Contains(err.Error(), "vendor Corner Shop ended before it answered") || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("ready: %v", err)
	}
	n.wg.Wait()
	if d := n.Deaths(); len(d) != 1 || !strings.Contains(d[0], "vendor Corner Shop (process ") || !strings.Contains(d[0], "settings: true") || p.Alive() {
		t.Errorf("deaths: %q", d)
	}
	if cause := context.Cause(ctx); cause == nil || !strings.Contains(n.Explain(ctx, context.Canceled).Error(), "ended by itself") {
		t.Errorf("cause: %v", cause)
	}
	if err := n.Stop(); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
}

func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNews()
		for range 2 {
			w.take(process.Vendor, desk.Event{Kind: "offer.sent", Data: map[string]string{"context": "c", "grant": "g"}})
		}
		w.take(process.Vendor, desk.Event{Kind: "offer.sent", Data: map[string]string{"context": "c", "grant": "h"}})
		w.take(process.Customer, desk.Event{Kind: "node.ready"})
		if w.Seen(process.Vendor, "offer.sent", "c") != 3 || w.Seen(process.Vendor, "answered", "c") != 2 || w.Seen(process.Customer, "offer.sent", "c") != 0 {
			t.Errorf("%v", w.count)
		}
		time.Sleep(time.Second)
		if w.Quiet("c") != time.Second {
			t.Errorf("quiet for %v", w.Quiet("c"))
		}
		deleted := func() bool { return w.Seen(process.Customer, "deletion.kept", "") > 0 }
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Second)
			w.take(process.Customer, desk.Event{Kind: "deletion.kept", Data: map[string]string{"context": "c"}})
		})
		if w.Wait(t.Context(), 500*time.Millisecond, deleted) {
			t.Error("it was told too early")
		}
		if !w.Wait(t.Context(), time.Minute, deleted) {
			t.Error("it was not told")
		}
		wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if w.Wait(ctx, time.Minute, func() bool { return false }) {
			t.Error("it was told after the end")
		}
	})
}
