package market

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// A grinder is a customer's market in a network with a dear stamp, whose clock moves a
// tenth of a second at each look. Told hears of the work on stamps.
type grinder struct {
	*side
	mu   sync.Mutex
	told []map[string]string
	at   time.Time
	hear func(n int) // of the n-th event
}

func newGrinder(t *testing.T, effort uint8) *grinder {
	g := &grinder{side: newSide(t), at: time.Unix(1_800_000_000, 0), hear: func(int) {}}
	dear := *genesis
	dear.Lanes = []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: effort}}
	cfg := g.cfg
	cfg.Genesis, cfg.Events, cfg.Now = &dear, g, g.now
	g.Market = New(cfg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return g
}

func (g *grinder) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = g.at.Add(100 * time.Millisecond)
	return g.at
}

// Emit implements Events.
func (g *grinder) Emit(kind, ref string, data map[string]string) {
	if kind != "stamp.progress" {
		return
	}
	g.mu.Lock()
	g.told = append(g.told, data)
	n := len(g.told)
	g.mu.Unlock()
	if ref != data["context"] {
		panic("an event of another context")
	}
	g.hear(n)
}

// contexts counts what is kept.
func (g *grinder) contexts() (n int) {
	err := g.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		return records.EachContext(r, nil, func(records.Context) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		panic(err)
	}
	return n
}

var aDesk = Need{Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Life: protocol.Day, Demand: protocol.Demand{Name: "a desk", Currency: "ZAR"}}

// The work on a stamp is told of, and what comes out has a good stamp.
func TestStampsTellHowTheyGo(t *testing.T) {
	g := newGrinder(t, 17)
	id, err := g.Announce(t.Context(), aDesk)
	if err != nil {
		t.Fatal(err)
	}
	raw := g.posted(protocol.KindAnnouncement)[0].Data
	d, err := wire.ReadAnnouncement(raw)
	if err != nil || d.WorkDone() < 17 || d.A().ContextID() != id {
		t.Errorf("work %d, %v", d.WorkDone(), err)
	}
	last := uint64(0)
	for _, data := range g.told {
		tries, err := strconv.ParseUint(data["tries"], 10, 64)
		if err != nil || tries <= last || data["expected"] != "131072" {
			t.Errorf("after %d: %v, %v", last, data, err)
		}
		last = tries
	}
	if want := int(d.A().Admission.Nonce / (3 << 12)); len(g.told) < want/2 || len(g.told) > 2*want+2 {
		t.Errorf("told %d times of %d tries", len(g.told), d.A().Admission.Nonce)
	}
}

// Whoever gives up ends the work, of every kind; turns go on meanwhile, and nothing of
// it is kept.
func TestStampsCanBeStopped(t *testing.T) {
	g := newGrinder(t, 40) // about a day
	for name, work := range map[string]func(ctx context.Context) error{
		"announce": func(ctx context.Context) error { _, err := g.Announce(ctx, aDesk); return err },
		"preview":  func(ctx context.Context) error { _, err := g.Preview(ctx, aDesk); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		turned := false
		g.mu.Lock()
		g.told = nil
		g.mu.Unlock()
		g.hear = func(n int) {
			if n == 2 {
				turned = g.Do(ctx, "meanwhile", func(*turn) error { return nil }) == nil
				cancel()
			}
		}
		if err := work(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if !turned || g.contexts() != 0 {
			t.Errorf("%s: a turn went on: %v, %d needs are kept", name, turned, g.contexts())
		}
	}
}

// The end of the market ends the work too.
func TestStampsEndWithTheMarket(t *testing.T) {
	g := newGrinder(t, 40)
	stopped := New(g.cfg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); stopped.Run(ctx) }()
	g.hear = func(n int) {
		if n == 1 {
			stop()
			<-done
		}
	}
	if _, err := stopped.Announce(t.Context(), aDesk); !errors.Is(err, fault.Offline) {
		t.Errorf("got %v", err)
	}
}

// A version whose stamp was worked on while another was announced is made anew, on top
// of that one; a need that was withdrawn meanwhile stays so.
func TestVersionsThatCrossed(t *testing.T) {
	g := newGrinder(t, 17)
	id, err := g.Announce(t.Context(), aDesk)
	if err != nil {
		t.Fatal(err)
	}
	rename := func(name string) func(*Need) error {
		return func(n *Need) error { n.Demand.Name = name; return nil }
	}
	crossed := false
	g.hear = func(int) {
		if !crossed {
			crossed = true
			if err := g.Update(t.Context(), id, rename("a second desk")); err != nil {
				t.Error(err)
			}
		}
	}
	for tries := 0; !crossed && tries < 64; tries++ { // until one stamp takes long enough to be told of
		if err := g.Update(t.Context(), id, rename("a third desk")); err != nil {
			t.Fatal(err)
		}
	}
	c := g.context1(t, id)
	var seqs []uint64
	for _, a := range c.Announced {
		seqs = append(seqs, a.Seq)
	}
	for i := 1; i < len(seqs); i++ {
		if seqs[i] != seqs[i-1]+1 {
			t.Errorf("versions %v", seqs)
		}
	}
	if !crossed || c.Name != "a third desk" || c.Flow.Seq != seqs[len(seqs)-1] || slices.Max(seqs) < 3 {
		t.Errorf("crossed %v: %q, seq %d of %v", crossed, c.Name, c.Flow.Seq, seqs)
	}
	h, err := wire.OpenAnnouncement(c.Raw)
	if err != nil || h.A().Seq != c.Flow.Seq {
		t.Fatalf("%v", err)
	}
	if d, err := wire.OpenBody(h.A(), c.Keys.Body.Secret()); err != nil || d.Name != "a third desk" {
		t.Errorf("the body says %q, %v", d.Name, err)
	}

	withdrawn := false
	g.hear = func(int) {
		if !withdrawn {
			withdrawn = true
			if err := g.Withdraw(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}
	for tries := 0; !withdrawn && tries < 64; tries++ {
		err = g.Update(t.Context(), id, rename("a fourth desk"))
	}
	if c := g.context1(t, id); !withdrawn || !errors.Is(err, fault.Conflict) || c.Name == "a fourth desk" && c.Flow.State.String() != "withdrawn" {
		t.Errorf("withdrawn %v: %v, %q is %s", withdrawn, err, c.Name, c.Flow.State)
	}
}

func (g *grinder) context1(t *testing.T, id protocol.ContextID) (c records.Context) {
	t.Helper()
	err := g.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { c, err = records.GetContext(r, id); return err })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A vendor may choose a dearer stamp for its requests than the network asks for, up to
// a bound; never a cheaper one.
func TestAVendorChoosesItsStamp(t *testing.T) {
	for effort, want := range map[uint8]uint8{0: 0, 9: 9, MaxEffort + 1: MaxEffort} {
		in(t, func(w *town) {
			w.ok(w.shop.SetRules(context.Background(), Follow{Effort: effort}))
			w.ask()
			if got := w.until(protocol.KindRequest).First.Stamp.Effort; got != want {
				w.Errorf("effort %d: a stamp of %d bits", effort, got)
			}
		})
	}
	dear := *genesis
	dear.Lanes = []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: 12}}
	in(t, func(w *town) {
		w.shop.cfg.Genesis = &dear
		w.ok(w.shop.SetRules(context.Background(), Follow{Effort: 9}))
		w.ask()
		if got := w.until(protocol.KindRequest).First.Stamp.Effort; got != 12 {
			w.Errorf("below the network's 12: a stamp of %d bits", got)
		}
	})
}
