package node_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// A relation is a customer who gave one vendor a field for some days.
type relation struct {
	t      *testing.T
	w      *nodetest.World
	her    *nodetest.Member
	vendor *nodetest.Member
	rest   []*nodetest.Member // all but the vendor
	grant  string
}

// relate runs test in a bubble in which a relation's first disclosure has arrived.
func relate(t *testing.T, misbehave string, days int, test func(r *relation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		r := &relation{t: t, w: w, vendor: w.Misbehaving("dentist", true, misbehave)}
		r.her = w.Personal("thandi")
		r.rest = []*nodetest.Member{w.Public("keeper one"), w.Public("keeper two"), r.her}
		time.Sleep(5 * time.Second)
		r.vendor.Sell("")
		r.her.Fill(map[string]string{"contact.address": "3 Long Street"})
		own, err := r.vendor.Vendor().Passports().Own(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.her.Customer().Grants().Give(context.Background(), desk.GiveSpec{Vendor: own.Vendor, Name: "dentist", Fields: []string{"contact.address"}, Days: days})
		if err != nil {
			t.Fatal(err)
		}
		r.grant = g.ID
		w.Until(time.Minute, "a disclosure", func() (bool, error) { return r.holds(), nil })
		test(r)
	})
}

// holds reports whether the vendor holds anything under the grant.
func (r *relation) holds() bool {
	r.t.Helper()
	p, err := r.vendor.Vendor().Held().List(context.Background(), desk.Query{Grant: r.grant})
	if err != nil {
		r.t.Fatal(err)
	}
	return len(p.Items) > 0
}

func (r *relation) show(m *nodetest.Member) desk.Grant {
	r.t.Helper()
	g, err := m.Customer().Grants().Get(context.Background(), r.grant)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// entries are those of a kind in a node's ledger.
func (r *relation) entries(m *nodetest.Member, kind string) []desk.LedgerEntry {
	r.t.Helper()
	p, err := m.Ledger().List(context.Background(), desk.Query{Kind: kind, Limit: 500})
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Items
}

// onceAndInTime says what is wrong unless there is exactly one entry, from between the
// moment at which it was due and a minute later.
func onceAndInTime(list []desk.LedgerEntry, due time.Time) error {
	if len(list) != 1 {
		return fmt.Errorf("%d times, want once", len(list))
	}
	if late := list[0].At.Sub(due); late < -time.Second || late > time.Minute {
		return fmt.Errorf("%v after it was due", late)
	}
	return nil
}

// acted holds what a node noted against when it was due.
func (r *relation) acted(m *nodetest.Member, kind string, due time.Time) error {
	r.t.Helper()
	if err := onceAndInTime(r.entries(m, kind), due); err != nil {
		return fmt.Errorf("%s: %s: %w", m.Name, kind, err)
	}
	return nil
}

// doctored shows that no wrong record passes: it takes what a node really noted, makes
// of it one that is right, and then each that is wrong.
func (r *relation) doctored(m moment, due time.Time) {
	r.t.Helper()
	list := r.entries(m.actor(r), m.kind)
	if len(list) == 0 {
		r.t.Fatalf("%s: nothing was noted, so nothing can be planted", m.name)
	}
	at := func(late ...time.Duration) (out []desk.LedgerEntry) {
		for _, d := range late {
			e := list[0]
			e.At = due.Add(d)
			out = append(out, e)
		}
		return out
	}
	if err := onceAndInTime(at(time.Second), due); err != nil {
		r.t.Errorf("%s: one that acts once and in time: %v", m.name, err)
	}
	for what, wrong := range map[string][]desk.LedgerEntry{
		"never": nil, "twice": at(time.Second, 2*time.Second), "again after an hour": at(time.Second, time.Hour),
		"a minute and a second late": at(61 * time.Second), "two seconds early": at(-2 * time.Second),
	} {
		if onceAndInTime(wrong, due) == nil {
			r.t.Errorf("%s: one that acts %s is not found", m.name, what)
		}
	}
}

// A moment is one kind of end: what has to be so before, who acts, and what it notes.
type moment struct {
	name  string
	days  int
	begin func(r *relation) time.Time // what leads to it, and when it is due
	actor func(r *relation) *nodetest.Member
	kind  string
	bad   string // a vendor that does not act
}

var moments = []moment{
	{"a lease that is not renewed", 30, func(r *relation) time.Time {
		at := r.show(r.her).Times.Disclosed
		r.her.Stop()
		return time.UnixMilli(at).Add(24 * time.Hour)
	}, func(r *relation) *nodetest.Member { return r.vendor }, "lease.ended", "keep-lease"},
	{"a grant that expires", 1, func(r *relation) time.Time { return r.show(r.her).End },
		func(r *relation) *nodetest.Member { return r.vendor }, "deletion.sent", "keep-deleted"},
	{"a deadline that passes", 30, func(r *relation) time.Time {
		r.vendor.Stop()
		gs, err := r.her.Customer().Grants().Revoke(context.Background(), []string{r.grant}, desk.Query{}, "")
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		quiet(6*day, r.rest...)
		return gs[0].Due.At
	}, func(r *relation) *nodetest.Member { return r.her }, "lapse", ""},
}

// TestMust_lease_ends: a lease that is not renewed, a grant that expires and a deadline
// that passes each act within a minute, once, whether the node that has to act was there
// at the moment, or starts after it, and however often it is restarted around it.
func TestMust_lease_ends(t *testing.T) {
	for _, m := range moments {
		if m.bad == "" {
			relate(t, "", m.days, func(r *relation) { // planted: one that is away when it has to act
				due := m.begin(r)
				time.Sleep(time.Until(due) - time.Minute)
				m.actor(r).Stop()
				time.Sleep(10 * time.Minute)
				m.actor(r).Start()
				time.Sleep(time.Minute)
				if err := r.acted(m.actor(r), m.kind, due); err == nil {
					t.Errorf("%s: a node that was away for ten minutes is not found late", m.name)
				}
				r.doctored(m, due)
			})
			continue
		}
		relate(t, m.bad, m.days, func(r *relation) {
			due := m.begin(r)
			time.Sleep(time.Until(due) + time.Minute)
			if !r.holds() {
				t.Errorf("%s: a vendor that does %s is not found", m.name, m.bad)
			}
			r.doctored(m, due)
		})
	}
	cases := 0
	for _, m := range moments {
		for _, how := range []string{"running", "restarted before", "away at the moment"} {
			t.Run(m.name+", "+how, func(t *testing.T) {
				relate(t, "", m.days, func(r *relation) { m.play(r, how) })
			})
			cases++
		}
	}
	t.Logf("%d cases: each end acted on within a minute, once, across restarts", cases)
}

func (m moment) play(r *relation, how string) {
	due := m.begin(r)
	actor := m.actor(r)
	time.Sleep(time.Until(due) - 30*time.Second)
	switch how {
	case "restarted before":
		actor.Stop()
		actor.Start()
		time.Sleep(time.Until(due) + time.Minute)
	case "away at the moment":
		actor.Stop()
		time.Sleep(3 * time.Hour)
		actor.Start()
		was := due
		due = time.Now()
		time.Sleep(time.Minute)
		if r.acted(actor, m.kind, was) == nil { // as real a violation as there is
			r.t.Error("a node that was away for three hours is not found late")
		}
	default:
		if r.vendor.Node != nil && !r.holds() {
			r.t.Error("what is held was gone before it was due")
		}
		time.Sleep(time.Until(due) + time.Minute)
	}
	if err := r.acted(actor, m.kind, due); err != nil {
		r.t.Error(err)
	}
	if r.vendor.Node != nil && r.holds() {
		r.t.Error("the vendor still holds what it was given")
	}
	for range 3 { // once, also when nobody remembers
		actor.Stop()
		time.Sleep(time.Hour)
		actor.Start()
		time.Sleep(2 * time.Minute)
	}
	if err := r.acted(actor, m.kind, due); err != nil {
		r.t.Errorf("after restarts: %v", err)
	}
	if m.kind == "lapse" {
		if n := len(r.show(r.her).Lapses); n != 1 {
			r.t.Errorf("%d lapses are shown", n)
		}
	}
}
