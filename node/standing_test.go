package node_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// TestBodyKeyMovesAfterACrash: the revocation is kept, and the node is gone before the
// living grant could go to a new body key. It goes there at the next start, once.
func TestBodyKeyMovesAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		r := newRevokedWorld(t, w)
		seq := func() uint64 {
			n, err := r.her.Customer().Needs().Get(context.Background(), r.need.ID)
			if err != nil {
				t.Fatal(err)
			}
			return n.Seq
		}
		before, from := seq(), len(r.her.Grants(desk.Query{State: "disclosed"}))
		r.revoke(t)
		if n := seq(); n != before {
			t.Fatalf("it moved before the crash, to seq %d: nothing is tested", n)
		}
		r.her.Stop() // long before 250 ms have passed
		time.Sleep(time.Hour)
		r.her.Start()
		w.Until(time.Minute, "a new body key", func() (bool, error) { return seq() == before+1, nil })
		time.Sleep(10 * time.Minute)
		if n := seq(); n != before+1 {
			t.Errorf("seq %d, want %d", n, before+1)
		}
		if n := len(r.her.Grants(desk.Query{State: "disclosed"})); n != from-1 {
			t.Errorf("%d grants live, want %d", n, from-1)
		}
	})
}

// TestLimitHoldsChangesBack: with at most three disclosures a day, of which one stays for
// the lease, one change goes out at once and the others wait; the lease never does.
func TestLimitHoldsChangesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		vendor, her := w.Public("dentist"), w.Personal("thandi")
		w.Public("keeper")
		time.Sleep(5 * time.Second)
		vendor.Sell("")
		her.Fill(map[string]string{"contact.address": "1 Long Street"})
		own, err := vendor.Vendor().Passports().Own(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		g, err := her.Customer().Grants().Give(context.Background(), desk.GiveSpec{Vendor: own.Vendor, Name: "dentist", Fields: []string{"contact.address"}, PerDay: 3})
		if err != nil {
			t.Fatal(err)
		}
		show := func(m *nodetest.Member) desk.Grant {
			v, err := m.Customer().Grants().Get(context.Background(), g.ID)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		want := func(updates, all uint64) {
			t.Helper()
			if v := show(her); v.Updates != updates || v.Disclosures != all {
				t.Errorf("%d updates of %d disclosures, want %d of %d", v.Updates, v.Disclosures, updates, all)
			}
		}
		time.Sleep(time.Minute)
		want(0, 1)
		for _, street := range []string{"2", "3", "4"} {
			her.Fill(map[string]string{"contact.address": street + " Long Street"})
			time.Sleep(time.Minute)
		}
		want(1, 2)
		if v := show(vendor); v.PerDay != 3 || v.LeaseSeconds != 86_400 {
			t.Errorf("the vendor's copy says %d a day, good for %d s", v.PerDay, v.LeaseSeconds)
		}
		time.Sleep(22 * time.Hour)
		want(1, 3) // the lease, with the newest value: nothing is left to say
		time.Sleep(3 * time.Hour)
		want(1, 3)
	})
}

// TestWhatBecomesSpecialStaysHome: a field that she calls special after it was granted for
// a time goes out no more, by whatever rule it was granted; she has to grant that herself.
func TestWhatBecomesSpecialStaysHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		vendor, her := w.Public("couches"), w.Personal("thandi")
		w.Public("keeper")
		time.Sleep(5 * time.Second)
		vendor.Sell("")
		her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
		ctx := context.Background()
		if _, err := her.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "a couch", Category: "home.furniture", Auto: true, Fields: map[string]int64{"location.area": 0, "contact.hours": 0}}); err != nil {
			t.Fatal(err)
		}
		given := func() []string {
			list, err := vendor.Vendor().Held().List(ctx, desk.Query{})
			if err != nil || len(list.Items) != 1 {
				return nil
			}
			return list.Items[0].Fields
		}
		w.Until(time.Minute, "both fields", func() (bool, error) { return len(given()) == 2, nil })
		her.Fill(map[string]string{"contact.hours": "mornings"}) // an ordinary change goes out
		time.Sleep(time.Minute)
		if n := her.Grants(desk.Query{})[0].Updates; n != 1 {
			t.Fatalf("%d updates of an ordinary field, so nothing is shown", n)
		}
		special := desk.Value("the shelter")
		special.Class = "special"
		if _, err := her.Customer().Vault().Set(ctx, "location.area", special); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour) // also past the next lease
		if got := given(); !slices.Equal(got, []string{"contact.hours"}) {
			t.Errorf("the vendor holds %v", got)
		}
	})
}
