package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// rooms are floods on one room by itself, where a whole node adds nothing.
var roomFloods = map[string]func(t *testing.T){
	"market.queue": func(t *testing.T) {
		m := market.New(market.Config{Stores: market.Stores{KV: kv.Memory()}, Mail: noMail{}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 300)
		for range cap(done) {
			go func() { done <- m.CatchUp(ctx) }()
		}
		for range cap(done) - 256 { // nobody runs the loop: who finds no place gives up
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		full(t, m.Stats(), "market.queue")
		m.Run(ctx) // which is over: nobody waits for ever
		for range 256 {
			<-done //nolint:errcheck // done or refused: it ended
		}
	},
	"seller.queue": func(t *testing.T) {
		s := seller.New(seller.Config{Log: slog.New(slog.DiscardHandler), Queue: 8})
		for i := range 20 {
			s.Match(protocol.GrantID{byte(i)}, protocol.Demand{Name: "x"}, "home.furniture", 5)
		}
		full(t, []kv.Fill{s.Fill()}, "seller.queue")
		if s.Stats().Dropped != 12 {
			t.Errorf("%+v", s.Stats())
		}
	},

	"keeper.budgets": func(t *testing.T) {
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
	},

	"node.fresh": func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewWorld(t)
			defer w.Close()
			w.Limits = node.Limits{Fresh: 2}
			vendor := w.Public("couches")
			w.Limits = node.Limits{}
			other := w.Public("keeper")
			time.Sleep(5 * time.Second)
			vendor.Sell(shop)
			net, _, err := wire.NetworkID(w.Genesis)
			if err != nil {
				t.Fatal(err)
			}
			if err := post(64)(&field{T: t, w: w, target: other, net: net}); err != nil {
				t.Fatal(err)
			}
			w.Until(5*time.Minute, "a request for each, those that did not fit too", func() (bool, error) {
				p, err := vendor.Vendor().Board().List(t.Context(), desk.Query{Limit: 500})
				return len(p.Items) == 64 && !slices.ContainsFunc(p.Items, func(n desk.Notice) bool { return !n.Asked }), err
			})
		})
	},
}

// noMail hears of mail and does nothing.
type noMail struct{}

func (noMail) Kick()                  {}
func (noMail) Watch(records.Box)      {}
func (noMail) Unwatch(key.MailboxKey) {}
func (noMail) Collect(key.MailboxKey) {}

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

var courierFloods, peersFloods, apiFloods map[string]func(t *testing.T)
