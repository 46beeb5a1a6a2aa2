package node_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// reachable is what netcheck says of how others reach a node.
func reachable(t *testing.T, m *nodetest.Member) desk.Check {
	t.Helper()
	v, err := m.Network().Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Checks {
		if c.Name == "reachable" {
			return c
		}
	}
	t.Fatalf("%s: netcheck does not say: %+v", m.Name, v)
	return desk.Check{}
}

// A vendor behind a NAT, of either kind, is told so, and why; needs reach it all the same,
// and its requests and offers come back: what it sells does not hang on being called.
func TestAVendorBehindANATSells(t *testing.T) {
	for name, kind := range map[string]netem.Kind{"cone": netem.Cone, "symmetric": netem.Symmetric} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1})
				defer w.Close()
				for _, name := range []string{"one", "two", "three", "four", "five"} {
					w.Carrier(name)
				}
				vendor, her := w.Behind("couches", kind), w.Personal("thandi")
				if is := reachable(t, vendor); is.Answer != desk.NotKnown {
					t.Errorf("at once: %+v", is)
				}
				w.Until(10*time.Minute, "it knows that it is not reached", func() (bool, error) { return reachable(t, vendor).Answer == desk.No, nil })
				w.Until(10*time.Minute, "it has two seats", func() (bool, error) { return len(vendor.Gossip.Self().Addrs) == 2, nil })
				is := reachable(t, vendor)
				if !strings.Contains(is.Detail, "/p2p-circuit") || !strings.Contains(is.Detail, "did not get through") || !strings.Contains(is.Detail, "forward a port") {
					t.Errorf("%+v", is)
				}
				t.Logf("%s: %s", is.Answer, is.Detail)
				w.Until(10*time.Minute, "those in the open know that they are", func() (bool, error) { return reachable(t, w.Members()[0]).Answer == desk.Yes, nil })

				vendor.Sell(shop)
				her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
				announce(t, her, 7)
				w.Until(10*time.Minute, "an offer", func() (bool, error) { return len(her.Offers(desk.Query{})) > 0, nil })
				o := her.Offers(desk.Query{})[0]
				if len(her.Grants(desk.Query{})) != 1 || o.VendorName != "couches" {
					t.Errorf("%+v", o)
				}
			})
		})
	}
}
