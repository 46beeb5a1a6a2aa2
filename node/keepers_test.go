package node_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// TestASilentKeeperIsReplaced: a keeper that is gone for an hour, while the others
// answer, is named, and the need names another in its place; a vendor that comes then
// is heard there. Nobody is blamed by a node that was off the network itself.
func TestASilentKeeperIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		var keepers []*nodetest.Member
		for _, name := range []string{"one", "two", "three"} {
			keepers = append(keepers, w.Public(name))
		}
		her := w.Personal("thandi")
		time.Sleep(5 * time.Second)
		her.Fill(map[string]string{"location.area": "Melville"})
		if _, err := her.Customer().Needs().Create(bg, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		before, err := her.Customer().Needs().List(bg, desk.Query{})
		if err != nil || len(before.Items) != 1 {
			t.Fatal(len(before.Items), err)
		}
		keepers = append(keepers, w.Public("four"))
		silent := func() []string {
			v, err := her.Admin().Status(bg)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, k := range v.Keepers {
				if k.Silent {
					out = append(out, k.Key)
				}
			}
			return out
		}
		her.Online(false)
		time.Sleep(3 * time.Hour)
		her.Online(true)
		time.Sleep(10 * time.Minute)
		if got := silent(); len(got) != 0 {
			t.Fatalf("she was away, and blames %v", got)
		}
		keepers[1].Stop()
		time.Sleep(20 * time.Minute)
		if got := silent(); len(got) != 0 {
			t.Fatalf("too early: %v", got)
		}
		time.Sleep(40 * time.Minute)
		if got := silent(); !slices.Equal(got, []string{keepers[1].Key.Public().String()}) {
			t.Fatalf("silent is %v", got)
		}
		list, err := her.Customer().Needs().List(bg, desk.Query{})
		if err != nil || len(list.Items) != 1 || list.Items[0].Seq != 2 || list.Items[0].State != "announced" {
			t.Fatalf("the need: %+v, %v", list.Items, err)
		}
		if at := list.Items[0].Keepers; len(at) != 3 || slices.Contains(at, keepers[1].Key.Public().String()) || !slices.Contains(at, keepers[3].Key.Public().String()) {
			t.Errorf("its keepers are %v", at)
		}
		if was, is := before.Items[0].Expires, list.Items[0].Expires; was != is {
			t.Errorf("it ends at %v, not at %v any more", is, was)
		}
		keepers[0].Stop() // of the first three one is left, and the one that came later
		vendor := w.Public("couches")
		time.Sleep(5 * time.Second)
		vendor.Sell(shop)
		w.Until(10*time.Minute, "an offer by way of the keepers that are left", func() (bool, error) {
			return len(her.Offers(desk.Query{})) > 0, nil
		})
	})
}

// TestAVendorHearsOfItsInbox: where a keeper that its passport names falls silent, the
// vendor is told how many are left and what mends it, and that mends it. One whose
// keepers all answer is told nothing.
func TestAVendorHearsOfItsInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		var keepers []*nodetest.Member
		for _, name := range []string{"one", "two", "three"} {
			keepers = append(keepers, w.Public(name))
		}
		vendor := w.Public("couches")
		time.Sleep(5 * time.Second)
		vendor.Sell(shop)
		time.Sleep(time.Minute)
		told := func() string {
			v, err := vendor.Admin().Status(bg)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range v.Problems {
				if p.Code == "inbox-keepers" {
					return p.What + "; " + p.Fix
				}
			}
			return ""
		}
		keepers = append(keepers, w.Public("four"))
		time.Sleep(3 * time.Hour)
		if got := told(); got != "" {
			t.Fatalf("all answer: %s", got)
		}
		keepers[1].Stop()
		time.Sleep(2 * time.Hour)
		if got := told(); !strings.Contains(got, "2 of 3 keepers that answer") || !strings.Contains(got, "hark passport rotate") {
			t.Fatalf("one is silent: %q", got)
		}
		if _, err := vendor.Vendor().Passports().Issue(bg, desk.PassportSpec{Name: vendor.Name, Country: "ZA", Contact: "a@example.org"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := told(); got != "" {
			t.Errorf("after a new passport: %s", got)
		}
	})
}
