package node_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol/fault"
)

const shop = `id,title,price,description
1,Two-seater couch grey,4500.00,linen cover
2,Oak dining table,7999.00,six seats
3,Leather couch,18999.00,three seats
`

// TestTheWholeStory runs the market from announcement to deletion on a simulated
// network, with nothing but the front door.
func TestTheWholeStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		if testing.Verbose() {
			w.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		defer w.Close()
		ctx := context.Background()
		vendor := w.Public("couches")
		w.Public("keeper one")
		w.Public("keeper two")
		her := w.Personal("thandi")
		time.Sleep(5 * time.Second)
		vendor.Sell(shop)
		her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})

		need, err := her.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture", MaxPrice: 600000})
		if err != nil {
			t.Fatal(err)
		}
		w.Until(time.Minute, "an offer opened", func() (bool, error) {
			return len(her.Offers(desk.Query{Context: need.ID})) > 0, nil
		})
		offers := her.Offers(desk.Query{Context: need.ID})
		if offers[0].Product != "1" || offers[0].Price.Minor != 450000 {
			t.Fatalf("best offer is %+v", offers[0])
		}
		if _, err := her.Customer().Offers().Accept(ctx, offers[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		w.Until(time.Minute, "the deal fulfilled", func() (bool, error) {
			d, err := her.Customer().Deals().Get(ctx, offers[0].ID)
			return d.State == "fulfilled", err
		})
		if _, err := her.Customer().Deals().Step(ctx, offers[0].ID, "close", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := her.Customer().Grants().Revoke(ctx, nil, desk.Query{}, "done"); err != nil {
			t.Fatal(err)
		}
		w.Until(time.Minute, "the deletion", func() (bool, error) {
			g := her.Grants(desk.Query{})
			return len(g) == 1 && g[0].State == "deleted", nil
		})
		held, err := vendor.Vendor().Held().List(ctx, desk.Query{})
		if err != nil || len(held.Items) != 0 {
			t.Fatalf("the vendor still holds %+v (%v)", held.Items, err)
		}
		w.Until(10*time.Minute, "all mail taken away from the keepers", func() (bool, error) {
			left := int64(0)
			for _, m := range w.Members() {
				st, err := m.Admin().Status(ctx)
				if err != nil {
					return false, err
				}
				for _, b := range st.Bounds {
					if b.Name == "mailbox.letters" {
						left += b.Used
					}
				}
			}
			return left == 0, nil
		})
		for _, m := range []*nodetest.Member{vendor, her} {
			if rep, err := m.Ledger().Verify(ctx); err != nil || !rep.OK || rep.Entries == 0 {
				t.Fatalf("ledger of %s: %+v %v", m.Name, rep, err)
			}
		}
	})
}

// TestNoOfferAfterTheLeaseEnded: a vendor whose lease was not renewed, because the
// customer is away, may not use what it was given until she comes back.
func TestNoOfferAfterTheLeaseEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		ctx := context.Background()
		vendor, her := w.Public("couches"), w.Personal("thandi")
		time.Sleep(5 * time.Second)
		vendor.Sell(shop)
		her.Fill(map[string]string{"location.area": "Melville"})
		if _, err := her.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture"}); err != nil {
			t.Fatal(err)
		}
		w.Until(time.Minute, "an offer opened", func() (bool, error) { return len(her.Offers(desk.Query{})) > 0, nil })
		grant := her.Grants(desk.Query{})[0].ID
		if _, err := vendor.Vendor().Catalog().List(ctx, desk.Query{}); err != nil {
			t.Fatal(err)
		}
		offer := desk.OfferSpec{Grant: grant, Product: "2"}
		if _, err := vendor.Customer().Offers().Make(ctx, offer); err != nil {
			t.Fatalf("within the lease: %v", err)
		}
		her.Stop()
		time.Sleep(25 * time.Hour)
		if _, err := vendor.Customer().Offers().Make(ctx, offer); !errors.Is(err, fault.Conflict) {
			t.Fatalf("an offer an hour after the lease ended: %v, want conflict", err)
		}
		her.Start()
		w.Until(time.Minute, "an offer under the renewed lease", func() (bool, error) {
			_, err := vendor.Customer().Offers().Make(ctx, offer)
			return err == nil, nil
		})
	})
}
