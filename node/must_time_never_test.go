package node_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// together replays who came and went, and gives the moments at which both were there.
func together(history []nodetest.Change, a, b *nodetest.Member) (at []time.Time) {
	there := map[*nodetest.Port]bool{}
	anyOf := func(m *nodetest.Member) bool {
		return slices.ContainsFunc(m.Ports, func(p *nodetest.Port) bool { return there[p] })
	}
	for _, c := range history {
		there[c.Port] = c.Online
		if anyOf(a) && anyOf(b) {
			at = append(at, c.At)
		}
	}
	return at
}

// shift is how long each of the two is online before the other comes.
const shift = 4 * time.Minute

// A relay lets two nodes take turns on the network: on odd rounds they stop and
// start, on even ones their network goes and comes.
type relay struct {
	round int
	stops map[*nodetest.Member]bool
}

func (r *relay) leave(m *nodetest.Member) {
	if r.stops[m] = r.round%2 == 1; r.stops[m] {
		m.Stop()
	} else {
		m.Online(false)
	}
}

func (r *relay) come(m *nodetest.Member) {
	if r.stops[m] {
		m.Start()
	} else {
		m.Online(true)
	}
}

// shopping is what a customer does whenever she is there, one step after the other.
type shopping struct {
	her   *nodetest.Member
	need  string
	offer string
	step  string
}

func (s *shopping) next(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	switch s.step {
	case "":
		need, err := s.her.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture", MaxPrice: 600000})
		if err != nil {
			t.Fatal(err)
		}
		s.need, s.step = need.ID, "announced"
	case "announced":
		if o := s.her.Offers(desk.Query{Context: s.need}); len(o) > 0 {
			if _, err := s.her.Customer().Offers().Accept(ctx, o[0].ID, ""); err != nil {
				t.Fatal(err)
			}
			s.offer, s.step = o[0].ID, "accepted"
		}
	case "accepted":
		if d, err := s.her.Customer().Deals().Get(ctx, s.offer); err != nil {
			t.Fatal(err)
		} else if d.State == "fulfilled" {
			if _, err := s.her.Customer().Deals().Step(ctx, s.offer, "close", ""); err != nil {
				t.Fatal(err)
			}
			if _, err := s.her.Customer().Grants().Revoke(ctx, nil, desk.Query{}, "done"); err != nil {
				t.Fatal(err)
			}
			s.step = "revoked"
		}
	case "revoked":
		if g := s.her.Grants(desk.Query{}); len(g) == 1 && g[0].State == "deleted" && len(g[0].Lapses) == 0 {
			s.step = "deleted"
		}
	}
}

// pair is a customer and a vendor, both off the network, and keepers that are on it.
func pair(t *testing.T, w *nodetest.World, keepers int) (her, vendor *nodetest.Member, others []*nodetest.Member) {
	t.Helper()
	for i := range keepers {
		others = append(others, w.Public(fmt.Sprintf("keeper %d", i+1)))
	}
	vendor = w.Public("couches")
	time.Sleep(5 * time.Second)
	vendor.Sell(shop)
	time.Sleep(5 * time.Second)
	vendor.Online(false)
	her = w.Personal("thandi")
	her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
	her.Online(false)
	return her, vendor, others
}

// takeTurns runs rounds of her, then the vendor, until she is done; it gives how many
// rounds that took, 0 for never.
func takeTurns(t *testing.T, s *shopping, vendor *nodetest.Member, rounds int) int {
	t.Helper()
	r := &relay{stops: map[*nodetest.Member]bool{}}
	for r.round = 1; r.round <= rounds; r.round++ {
		r.come(s.her)
		time.Sleep(shift / 2)
		s.next(t)
		time.Sleep(shift / 2)
		r.leave(s.her)
		r.come(vendor)
		time.Sleep(shift)
		r.leave(vendor)
		if s.step == "deleted" {
			return r.round
		}
	}
	return 0
}

// TestMust_never_together: a customer and a vendor that are never online at the same
// time get from an announcement to a signed deletion through three keepers.
func TestMust_never_together(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the checker finds a moment of both
		w := nodetest.NewWorld(t)
		defer w.Close()
		her, vendor, _ := pair(t, w, 1)
		if at := together(w.Net.History(), her, vendor); len(at) != 0 {
			t.Fatalf("both were there at %v", at)
		}
		vendor.Online(true)
		her.Online(true)
		her.Online(false)
		if len(together(w.Net.History(), her, vendor)) != 1 {
			t.Fatal("a moment at which both were online was not found")
		}
		vendor.Stop()
		her.Stop()
		vendor.Start()
		her.Start()
		if len(together(w.Net.History(), her, vendor)) != 2 {
			t.Fatal("two nodes that were started at the same time were not found")
		}
	})
	synctest.Test(t, func(t *testing.T) { // without keepers nothing gets through
		w := nodetest.NewWorld(t)
		defer w.Close()
		her, vendor, keepers := pair(t, w, 3)
		s := &shopping{her: her}
		her.Online(true)
		time.Sleep(shift)
		s.next(t)
		time.Sleep(shift)
		her.Online(false)
		for _, k := range keepers {
			k.Stop()
		}
		if n := takeTurns(t, s, vendor, 12); n != 0 || s.step != "announced" || len(her.Ports) < 2 {
			t.Fatalf("with no keeper and never together, the flow came to %q after %d rounds", s.step, n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		her, vendor, _ := pair(t, w, 3)
		s := &shopping{her: her}
		n := takeTurns(t, s, vendor, 24)
		her.Start()
		if n == 0 {
			t.Fatalf("after 24 rounds the flow is at %q; grants %s", s.step, her.States())
		}
		if at := together(w.Net.History(), her, vendor); len(at) != 0 {
			t.Fatalf("both were there at %v: the test shows nothing", at)
		}
		t.Logf("announcement to deletion in %d rounds of %v each, %d comings and goings", n, 2*shift, len(w.Net.History()))
		her.Stop()
		vendor.Start()
		vendor.Online(true)
		if held, err := vendor.Vendor().Held().List(context.Background(), desk.Query{}); err != nil || len(held.Items) != 0 {
			t.Fatalf("the vendor still holds %+v (%v)", held.Items, err)
		}
	})
}
