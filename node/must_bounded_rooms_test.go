package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/keeper/roster"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/pay"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/vault"
)

// rooms are floods on one room by itself, where a whole node adds nothing.
var roomFloods = map[string]func(t *testing.T){
	"market.queue": func(t *testing.T) { synctest.Test(t, queueFlood) },
	"seller.queue": func(t *testing.T) {
		answered := make(chan protocol.GrantID, 32)
		s := seller.New(seller.Config{Log: slog.New(slog.DiscardHandler), Queue: 8, Catalog: nothing{},
			Offer: func(_ context.Context, id protocol.GrantID, _ []catalog.Product) error { answered <- id; return nil }})
		for i := range 20 {
			s.Match(protocol.GrantID{byte(i)}, protocol.Demand{Name: "x"}, "home.furniture", 5)
		}
		full(t, []kv.Fill{s.Fill()}, "seller.queue")
		if s.Stats().Dropped != 12 {
			t.Errorf("%+v", s.Stats())
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() { defer close(gone); s.Run(ctx) }()
		for i := range byte(8) {
			if id := <-answered; id != (protocol.GrantID{i}) {
				t.Errorf("need %d is answered in place of %d", id[0], i)
			}
		}
		s.Match(protocol.GrantID{99}, protocol.Demand{Name: "x"}, "home.furniture", 5)
		if id := <-answered; id != (protocol.GrantID{99}) {
			t.Errorf("need %d is answered in place of somebody else's", id[0])
		}
		cancel()
		<-gone
	},

	"roster.keepers": func(t *testing.T) {
		var honest protocol.Keeper
		honest.Key = key.Generate[key.Keeper]().Public()
		r := roster.New(func(int) []protocol.Keeper { return []protocol.Keeper{honest} }, time.Now)
		for i := range roster.Max + 100 {
			r.Greeted(key.KeeperKey{1, byte(i), byte(i >> 8)}, wire.Aside{})
		}
		full(t, []kv.Fill{{Name: "roster.keepers", Used: int64(r.Size()), Cap: roster.Max}}, "roster.keepers")
		if got := r.Draw(1); len(got) != 1 || got[0].Key != honest.Key {
			t.Errorf("an honest keeper is not drawn: %v", got)
		}
	},

	"keeper.budgets":  budgets,
	"keeper.prefixes": budgets,

	"node.fresh": func(t *testing.T) { synctest.Test(t, freshFlood) },
}

// freshFlood hands a vendor more announcements at once than wait for its market. Those
// that find no place are asked for all the same, and so is that of a real customer.
func freshFlood(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	var vendor *nodetest.Member
	var most, missed atomic.Int64
	w.Limits, w.Log = node.Limits{Fresh: 2}, slog.New(each(func(text string) {
		if !strings.Contains(text, "too many announcements at once") {
			return
		}
		missed.Add(1)
		v, err := vendor.Admin().Status(context.Background())
		if err != nil {
			return // it is closing
		}
		for _, f := range v.Bounds {
			if f.Name == "node.fresh" && f.Cap == 2 && f.Used > most.Load() {
				most.Store(f.Used)
			}
		}
	}))
	vendor = w.Public("couches")
	w.Limits, w.Log = node.Limits{}, nil
	f := &field{T: t, w: w, target: w.Public("keeper"), net: netOf(t, w.Genesis), her: w.Personal("thandi")}
	f.her.Fill(map[string]string{"location.area": "Melville"})
	time.Sleep(5 * time.Second)
	vendor.Sell(shop)
	posted := 0
	for ; most.Load() < 2 && posted < 1024; posted += 64 {
		w.Net.SetOnline(vendor.Port, false) // so that it pulls them all at once
		if err := post(64)(f); err != nil {
			t.Fatal(err)
		}
		w.Net.SetOnline(vendor.Port, true)
		time.Sleep(2 * time.Minute)
	}
	if most.Load() != 2 || missed.Load() == 0 {
		t.Errorf("%d of 2 waited, %d found no place", most.Load(), missed.Load())
	}
	need := announce(t, f.her, 7)
	w.Until(5*time.Minute, "an offer to somebody else", func() (bool, error) { return offered(f.her, need), nil })
	w.Until(5*time.Minute, "a request for each, those that did not fit too", func() (bool, error) {
		p, err := vendor.Vendor().Board().List(t.Context(), desk.Query{Limit: 500})
		return len(p.Items) == posted+1 && !slices.ContainsFunc(p.Items, func(n desk.Notice) bool { return !n.Asked }), err
	})
}

// each hears of every line of a log.
type each func(text string)

func (each) Enabled(context.Context, slog.Level) bool        { return true }
func (e each) Handle(_ context.Context, r slog.Record) error { e(r.Message); return nil }
func (e each) WithAttrs([]slog.Attr) slog.Handler            { return e }
func (e each) WithGroup(string) slog.Handler                 { return e }

// budgets are filled by callers of many prefixes who ask about many mailboxes.
func budgets(t *testing.T) {
	now := time.Unix(1, 0)
	b := budget.New(budget.Limits{Prefix: budget.Rate{PerSecond: 1, Burst: 8}, Name: budget.Rate{PerSecond: 1, Burst: 8},
		All: budget.Rate{PerSecond: 1, Burst: 1e9}, Relay: budget.Rate{PerSecond: 1, Burst: 8}}, func() time.Time { return now })
	for i := range budget.Max + 100 {
		_ = b.Caller(fmt.Sprint(i), 1)
		_ = b.Named("box", fmt.Append(nil, i), 1) // refusals are not what is looked at
	}
	if prefixes, names := b.Sizes(); prefixes != budget.Max || names != budget.Max {
		t.Errorf("%d prefixes, %d names, want %d", prefixes, names, budget.Max)
	}
	if err := b.Caller("somebody else", 8); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	if err := b.Named("box", []byte("of somebody else"), 8); err != nil {
		t.Errorf("somebody else's mailbox: %v", err)
	}
}

// queueFlood asks more of a market, whose store hangs, than may wait for it.
func queueFlood(t *testing.T) {
	st := &street{genesis: node.NewGenesis("street", 4, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{2})}
	store := &slow{Store: kv.Memory(), gate: make(chan struct{})}
	log, err := ledger.Open(t.Context(), store.Store, key.Generate[key.Device]())
	if err != nil {
		t.Fatal(err)
	}
	m := market.New(market.Config{
		Stores: market.Stores{KV: store, Ledger: log, Vault: vault.New(key.NewSecret()), Held: held.New()}, Genesis: st.genesis,
		Mail: silent{}, Places: st, Registry: st, Answers: silent{}, Events: silent{}, Rails: pay.Rails{}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); m.Run(ctx) }()
	short, end := context.WithTimeout(ctx, time.Second)
	defer end()
	done := make(chan error, 300)
	for range cap(done) {
		go func() { done <- m.CatchUp(short) }()
	}
	for range cap(done) { // the store hangs: who waits, or finds no place, gives up
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	full(t, m.Stats(), "market.queue")
	close(store.gate)
	if err := m.CatchUp(ctx); err != nil {
		t.Errorf("somebody else, once the store goes on: %v", err)
	}
	cancel()
	<-gone
}

// slow is a store that hangs until its gate is opened.
type slow struct {
	kv.Store
	gate chan struct{}
}

func (s *slow) View(ctx context.Context, fn func(kv.Reader) error) error {
	<-s.gate
	return s.Store.View(ctx, fn)
}

func (s *slow) Update(ctx context.Context, fn func(kv.Tx) error) error {
	<-s.gate
	return s.Store.Update(ctx, fn)
}

// nothing is a catalogue without products.
type nothing struct{}

func (nothing) Search(context.Context, catalog.Query) ([]catalog.Match, error) { return nil, nil }

// full checks one fill among those of a room.
func full(t *testing.T, list []kv.Fill, name string) {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			if f.Used != f.Cap {
				t.Errorf("%s is %d of %d", name, f.Used, f.Cap)
			}
			return
		}
	}
	t.Errorf("%s is not shown", name)
}
