package nodetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// What a node kept is there after it was stopped and started; a public one is the
// same keeper then, a personal one another peer.
func TestNodesStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorld(t)
		defer w.Close()
		ctx := context.Background()
		shop, her := w.Public("shop"), w.Personal("her")
		her.Fill(map[string]string{"contact.email": "her@example.org"})
		shop.Sell("id,title,price\n1,Desk,10.00\n")
		keys := func() (a, b string) {
			t.Helper()
			x, err := shop.Network().Self(ctx)
			if err != nil {
				t.Fatal(err)
			}
			y, err := her.Network().Self(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return x.Key, y.Key
		}
		shopKey, herKey := keys()
		for _, m := range []*Member{shop, her} {
			m.Stop()
			m.Stop() // once more does nothing
		}
		if n := len(w.Members()); n != 0 {
			t.Errorf("%d nodes are running", n)
		}
		time.Sleep(time.Hour)
		for _, m := range []*Member{shop, her} {
			m.Start()
			m.Start()
		}
		if n := len(w.Members()); n != 2 {
			t.Errorf("%d nodes are running", n)
		}
		again, other := keys()
		if again != shopKey || other == herKey {
			t.Errorf("the keeper was %s and is %s, the customer's peer was %s and is %s", shopKey, again, herKey, other)
		}
		if f, err := her.Customer().Vault().Get(ctx, "contact.email"); err != nil || f.Value != "her@example.org" {
			t.Errorf("her vault: %+v, %v", f, err)
		}
		if p, err := shop.Vendor().Catalog().List(ctx, desk.Query{}); err != nil || len(p.Items) != 1 {
			t.Errorf("its catalogue: %+v, %v", p.Items, err)
		}
		if _, err := shop.Vendor().Passports().Own(ctx); err != nil {
			t.Errorf("its passport: %v", err)
		}
		if s := her.States(); s != "map[]" || len(her.Offers(desk.Query{})) != 0 {
			t.Errorf("grants %s", s)
		}
	})
}
