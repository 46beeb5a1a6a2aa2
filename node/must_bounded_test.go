package node_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// everyFlood has, for each bound that status shows of an open public node, what fills
// it and looks whether somebody else is hurt.
func everyFlood() (all map[string]func(t *testing.T), wrong []string) {
	all = map[string]func(t *testing.T){}
	for _, list := range []map[string]func(t *testing.T){roomFloods, consentFloods, vaultFloods, peersFloods, streamFloods, relayFloods, dhtFloods, apiFloods, largeFloods, pullFloods} {
		for name, run := range list {
			if all[name] != nil {
				wrong = append(wrong, name+" is flooded twice")
			}
			all[name] = run
		}
	}
	for _, f := range slices.Concat(floods, postFloods, blobFloods, letterFloods) {
		if all[f.bound] != nil {
			wrong = append(wrong, f.bound+" is flooded twice")
		}
		all[f.bound] = f.run
	}
	return all, wrong
}

// gaps says which bounds are shown and not flooded, and which the other way round.
func gaps(shown []desk.Fill, floods map[string]func(t *testing.T)) (wrong []string) {
	names := map[string]bool{}
	for _, f := range shown {
		if names[f.Name] = true; floods[f.Name] == nil {
			wrong = append(wrong, f.Name+" is shown, and nobody floods it")
		}
	}
	for name := range floods {
		if !names[name] {
			wrong = append(wrong, name+" is flooded, and not shown")
		}
	}
	return wrong
}

// overruns says what is wrong with a list of bounds.
func overruns(list []desk.Fill, want []string) (wrong []string) {
	name := regexp.MustCompile(`^[a-z]+\.[a-z]+(-[a-z]+)*$`)
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
		switch {
		case !name.MatchString(f.Name):
			wrong = append(wrong, f.Name+" is no name like room.thing")
		case f.Cap <= 0:
			wrong = append(wrong, f.Name+" has no bound")
		case f.Used < 0 || f.Used > f.Cap:
			wrong = append(wrong, fmt.Sprintf("%s is %d of %d", f.Name, f.Used, f.Cap))
		}
	}
	for _, n := range want {
		if !slices.Contains(names, n) {
			wrong = append(wrong, n+" is missing")
		}
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		wrong = append(wrong, "a bound twice")
	}
	return wrong
}

// TestMust_bounded: every queue, table and stream has a bound that status shows, and a
// flood fills it and hurts nobody else.
func TestMust_bounded(t *testing.T) {
	planted := []desk.Fill{{Name: "board entries", Cap: 1}, {Name: "a.b"}, {Name: "c.d", Used: 3, Cap: 2}, {Name: "e.f", Cap: 1}, {Name: "e.f", Cap: 1}}
	if got := overruns(planted, []string{"g.h"}); len(got) != 5 {
		t.Fatalf("of five planted faults these were found: %q", got)
	}
	one := map[string]func(*testing.T){"a.b": statusShowsAll, "g.h": statusShowsAll}
	if got := gaps([]desk.Fill{{Name: "a.b"}, {Name: "c.d"}}, one); len(got) != 2 {
		t.Fatalf("of two planted gaps these were found: %q", got)
	}
	all, wrong := everyFlood()
	if len(wrong) > 0 {
		t.Error(wrong)
	}
	t.Run("status", statusShowsAll)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, all[name])
	}
	t.Logf("%d bounds are shown in status, and each was flooded", len(all))
}

// statusShowsAll opens a real public node on loopback.
func statusShowsAll(t *testing.T) {
	all, _ := everyFlood()
	n, _ := openReal(t)
	v, err := n.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if wrong := append(overruns(v.Bounds, nil), gaps(v.Bounds, all)...); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
}

// openReal opens a real public node on loopback, which ends with the test.
func openReal(t *testing.T) (*node.Node, node.Paths) {
	t.Helper()
	paths := newHome(t)
	n := openHome(t, paths)
	t.Cleanup(func() {
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return n, paths
}

// A flood is done to one node with small limits, in the middle of a market.
type flood struct {
	bound   string
	limits  node.Limits
	refused error // of the last attempt; nil: older things give way
	attack  func(f *field) error
	at      func(f *field) *nodetest.Member // whose bound; nil: the keeper's
	slack   int64                           // what may stay free: nothing more of that size fits
	after   func(f *field)                  // looks at others at the one that was flooded
}

// A field is a market with a keeper that is flooded.
type field struct {
	*testing.T
	w      *nodetest.World
	target *nodetest.Member
	her    *nodetest.Member
	vendor *nodetest.Member
	net    protocol.Hash
	need   string            // of hers
	deaf   []protocol.Keeper // named by needs of nobody
	held   []protocol.Hash   // posts that will be published
}

func (f flood) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		f1 := &field{T: t, w: w}
		var err error
		if f1.net, _, err = wire.NetworkID(w.Genesis); err != nil {
			t.Fatal(err)
		}
		w.Public("keeper one")
		w.Public("keeper two")
		w.Limits = f.limits
		f1.target = w.Public("target")
		f1.her = w.Personal("thandi")
		w.Limits = node.Limits{}
		f1.vendor = w.Public("couches")
		time.Sleep(5 * time.Second)
		f1.vendor.Sell(shop)
		f1.her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
		sipho := w.Personal("sipho") // somebody else altogether
		sipho.Fill(map[string]string{"location.area": "Yeoville"})
		before := announce(t, sipho, 7)
		w.Until(5*time.Minute, "an offer before the flood", func() (bool, error) { return offered(sipho, before), nil })

		err = f.attack(f1)
		if f.refused == nil && err != nil || !errors.Is(err, f.refused) {
			t.Errorf("the last of the flood: %v, want %v", err, f.refused)
		}
		f1.full(f)
		if f.after != nil {
			f.after(f1)
		}
		after := announce(t, sipho, 7)
		w.Until(15*time.Minute, "an offer to somebody else", func() (bool, error) { return offered(sipho, after), nil })
		if _, err := sipho.Customer().Grants().Revoke(t.Context(), nil, desk.Query{}, ""); err != nil {
			t.Fatal(err)
		}
		w.Until(30*time.Minute, "two deletions", func() (bool, error) {
			n := 0
			for _, g := range sipho.Grants(desk.Query{State: "deleted"}) {
				if g.VendorName == "couches" {
					n++
				}
			}
			return n == 2, nil
		})
	})
}

// full checks that the bound is reached, as soon as what the flood began has come so
// far, and never passed.
func (f *field) full(of flood) {
	f.Helper()
	m := f.target
	if of.at != nil {
		m = of.at(f)
	}
	f.w.Until(30*time.Minute, of.bound+" is full", func() (bool, error) {
		v, err := m.Admin().Status(context.Background())
		if err != nil {
			return false, err
		}
		if wrong := overruns(v.Bounds, []string{of.bound}); len(wrong) > 0 {
			f.Error(wrong)
		}
		return slices.ContainsFunc(v.Bounds, func(b desk.Fill) bool { return b.Name == of.bound && b.Used >= b.Cap-of.slack }), nil
	})
}

// offered tells whether a need has an offer of the vendor that nobody floods.
func offered(m *nodetest.Member, need string) bool {
	return slices.ContainsFunc(m.Offers(desk.Query{Context: need}), func(o desk.Offer) bool { return o.VendorName == "couches" })
}
