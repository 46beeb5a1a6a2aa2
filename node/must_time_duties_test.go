package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

const day = 24 * time.Hour

// A house is one customer who was made an offer by one vendor, and two more keepers.
type house struct {
	t      *testing.T
	w      *nodetest.World
	her    *nodetest.Member
	vendor *nodetest.Member
	all    []*nodetest.Member
	need   string
	grant  string
}

// settled runs test in a bubble in which a vendor has made its offers.
func settled(t *testing.T, name string, test func(h *house)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewWorld(t)
			defer w.Close()
			h := &house{t: t, w: w}
			h.vendor = w.Public("couches")
			h.all = append(h.all, h.vendor, w.Public("keeper one"), w.Public("keeper two"), w.Public("keeper three"))
			h.her = w.Personal("thandi")
			h.all = append(h.all, h.her)
			time.Sleep(5 * time.Second)
			h.vendor.Sell(shop)
			h.her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
			need, err := h.her.Customer().Needs().Create(context.Background(), desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture", Days: 7})
			if err != nil {
				t.Fatal(err)
			}
			h.need = need.ID
			w.Until(time.Minute, "an offer", func() (bool, error) { return len(h.her.Offers(desk.Query{})) > 0, nil })
			time.Sleep(time.Minute) // acknowledgements arrive
			h.grant = h.her.Grants(desk.Query{})[0].ID
			test(h)
		})
	})
}

// quiet stops the given nodes for a while and starts them again. Months of many
// nodes' own loops would be long to simulate, and are not what is tested.
func quiet(d time.Duration, nodes ...*nodetest.Member) {
	for _, m := range nodes {
		m.Stop()
	}
	time.Sleep(d)
	for _, m := range nodes {
		m.Start()
	}
}

func (h *house) revoke() {
	h.t.Helper()
	if _, err := h.her.Customer().Grants().Revoke(context.Background(), []string{h.grant}, desk.Query{}, "done"); err != nil {
		h.t.Fatal(err)
	}
}

// her grant, as her node shows it.
func (h *house) show() desk.Grant {
	h.t.Helper()
	g, err := h.her.Customer().Grants().Get(context.Background(), h.grant)
	if err != nil {
		h.t.Fatal(err)
	}
	return g
}

// lapses counts broken promises, in the agreement and in the ledger alike.
func (h *house) lapses() int {
	h.t.Helper()
	n := len(h.show().Lapses)
	var after string
	noted := 0
	for {
		page, err := h.her.Ledger().List(context.Background(), desk.Query{After: after, Limit: 500})
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range page.Items {
			if e.Kind == "lapse" {
				noted++
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if n != noted {
		h.t.Fatalf("%d lapses in the grant, %d in the ledger", n, noted)
	}
	return n
}

func (h *house) until(what string, ok func(desk.Grant) bool) {
	h.t.Helper()
	h.w.Until(15*time.Minute, what, func() (bool, error) {
		g, err := h.her.Customer().Grants().Get(context.Background(), h.grant)
		return err == nil && ok(g), err
	})
}

func deleted(g desk.Grant) bool { return g.State == "deleted" && len(g.Deleted) > 0 }

func (h *house) want(state string, lapses int) {
	h.t.Helper()
	if g := h.show(); g.State != state || h.lapses() != lapses {
		h.t.Fatalf("the grant is %s with lapses %q, want %s with %d", g.State, g.Lapses, state, lapses)
	}
}

// right exercises one and gives its number in the list.
func (h *house) right(exercise string) int {
	h.t.Helper()
	g, err := h.her.Customer().Grants().Right(context.Background(), h.grant, desk.RightSpec{Exercise: exercise})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(g.Rights) - 1
}

// TestMust_duties_survive: a deletion after a revocation, and a right exercised 91
// days after the need was closed, arrive and are answered, through restarts and
// absences on either side; and a lapse is recorded exactly where one happened.
func TestMust_duties_survive(t *testing.T) {
	settled(t, "a vendor that stays away lapses once", func(h *house) {
		h.vendor.Stop()
		h.revoke()
		time.Sleep(time.Hour)
		h.want("revoked", 0)
		quiet(7*day, h.all[1:]...)
		h.until("the lapse", func(g desk.Grant) bool { return g.State == "lapsed" })
		h.want("lapsed", 1)
		quiet(3*day, h.all[1:]...)
		time.Sleep(time.Hour)
		h.want("lapsed", 1)
		h.vendor.Start() // and what it then does is taken, and changes nothing about it
		h.until("the late deletion", deleted)
		quiet(10*day, h.all...)
		time.Sleep(time.Hour)
		h.want("deleted", 1)
	})
	settled(t, "a vendor that ignores a right lapses once", func(h *house) {
		h.vendor.Stop()
		h.right("access")
		quiet(30*day+time.Hour, h.all[1:]...)
		h.until("the lapse", func(g desk.Grant) bool { return g.Rights[0].Status == "lapsed" })
		if n := h.lapses(); n != 2 { // the grant ended with its need, and no deletion came either
			h.t.Fatalf("%d lapses, want the right and the deletion: %q", n, h.show().Lapses)
		}
	})
	settled(t, "a vendor back before the deadline", func(h *house) {
		h.vendor.Online(false)
		h.revoke()
		time.Sleep(10 * time.Minute)
		quiet(6*day, h.all...)
		h.until("the deletion", deleted)
		quiet(3*day, h.all...)
		time.Sleep(time.Hour)
		h.want("deleted", 0)
	})
	settled(t, "a customer away when the deletion comes", func(h *house) {
		h.vendor.Online(false)
		h.revoke()
		time.Sleep(time.Minute)
		h.her.Stop()
		h.vendor.Online(true)
		time.Sleep(time.Hour)
		quiet(9*day, h.all[:4]...)
		h.her.Start() // the deadline has passed, and the deletion lies at her keepers
		h.until("the deletion", deleted)
		h.want("deleted", 0)
	})
	settled(t, "a customer off the network at the deadline", func(h *house) {
		h.vendor.Online(false)
		h.revoke()
		time.Sleep(time.Minute)
		h.her.Online(false)
		h.vendor.Online(true)
		time.Sleep(time.Hour)
		quiet(7*day-2*time.Hour, h.all[:4]...)
		time.Sleep(3 * time.Hour)
		if g := h.show(); g.State != "revoked" {
			h.t.Fatalf("with no way to her mail, the grant became %s with %q", g.State, g.Lapses)
		}
		h.her.Online(true)
		h.until("the deletion", deleted)
		h.want("deleted", 0)
	})
	settled(t, "a right after 91 days", func(h *house) { h.longAfter() })
}

// longAfter exercises rights 91 days after the need was closed.
func (h *house) longAfter() {
	ctx := context.Background()
	if _, err := h.her.Customer().Needs().End(ctx, h.need, desk.Withdraw); err != nil {
		h.t.Fatal(err)
	}
	h.revoke()
	h.until("the deletion", deleted)
	for range 7 { // a node is often started anew
		quiet(13*day, h.all...)
		time.Sleep(time.Minute)
	}
	h.right("access")
	time.Sleep(time.Minute)
	h.until("an answer", func(g desk.Grant) bool { return g.Rights[0].Status == "fulfilled" })

	h.vendor.Stop()
	h.right("objection")
	time.Sleep(10 * time.Minute)
	quiet(20*day, h.all[1:]...)
	h.her.Stop()
	h.vendor.Start() // it was away for 20 days of 30
	time.Sleep(time.Hour)
	quiet(12*day, h.all[:4]...) // and she for longer than the deadline
	h.her.Start()
	h.until("the second answer", func(g desk.Grant) bool { return g.Rights[1].Status == "fulfilled" })
	time.Sleep(time.Hour)
	h.want("deleted", 0)
}
