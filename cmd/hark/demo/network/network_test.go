package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/node/desk"
)

// TestMain lets the test binary stand in for a node that ends at once.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		fmt.Println("settings:", len(environment(os.Environ())) == len(os.Environ()))
		fmt.Fprintln(os.Stderr, "no such thing")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func TestCast(t *testing.T) {
	for _, c := range []struct{ vendors, customers, keepers int }{{3, 2, 0}, {1, 1, 2}, {2, 3, 1}, {5, 10, 0}} {
		n := New(Cast{Dir: "d", Shops: make([]input.Shop, c.vendors), Customers: c.customers}, func(error) {})
		if len(n.Of(Vendor)) != c.vendors || len(n.Of(Keeper)) != c.keepers || len(n.Of(Customer)) != c.customers {
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
	if err := p.start(n.program, false, &n.wg, n.ended); err != nil {
		t.Fatal(err)
	}
	err := p.ready(ctx)
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
	if err := (&Process{Name: "x", Role: Keeper, Home: t.TempDir()}).start("/no/such/program", false, &sync.WaitGroup{}, nil); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestEnvironmentDropsOwnSettings(t *testing.T) {
	got := environment([]string{"PATH=/bin", "HARK_HOME=/h", "HARK_PASSPHRASE_FILE=x", "SHARK_X=1"})
	if !slices.Equal(got, []string{"PATH=/bin", "SHARK_X=1"}) {
		t.Error(got)
	}
}

func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNews()
		for range 2 {
			w.take(Vendor, desk.Event{Kind: "offer.sent", Data: map[string]string{"context": "c", "grant": "g"}})
		}
		w.take(Vendor, desk.Event{Kind: "offer.sent", Data: map[string]string{"context": "c", "grant": "h"}})
		w.take(Customer, desk.Event{Kind: "node.ready"})
		if w.Seen(Vendor, "offer.sent", "c") != 3 || w.Seen(Vendor, "answered", "c") != 2 || w.Seen(Customer, "offer.sent", "c") != 0 {
			t.Errorf("%v", w.count)
		}
		time.Sleep(time.Second)
		if w.Quiet("c") != time.Second {
			t.Errorf("quiet for %v", w.Quiet("c"))
		}
		deleted := func() bool { return w.Seen(Customer, "deletion.kept", "") > 0 }
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Second)
			w.take(Customer, desk.Event{Kind: "deletion.kept", Data: map[string]string{"context": "c"}})
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

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		if err := Poll(t.Context(), time.Second, "it", func(context.Context) (bool, error) { n++; return n == 3, nil }); err != nil || n != 3 {
			t.Errorf("%d times, %v", n, err)
		}
		err := Poll(t.Context(), time.Second, "the sky should fall", func(context.Context) (bool, error) { return false, nil })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the sky should fall: not within 1s") {
			t.Error(err)
		}
		broken := errors.New("broken")
		if err := Poll(t.Context(), time.Second, "it", func(context.Context) (bool, error) { return true, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}
