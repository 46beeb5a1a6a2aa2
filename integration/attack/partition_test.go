package attack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// A half is one side of a network that will be cut: a customer, a vendor, and nodes
// that carry.
type half struct {
	her, vendor *nodetest.Member
	carriers    []*nodetest.Member
}

func (h half) all() []*nodetest.Member {
	return append([]*nodetest.Member{h.her, h.vendor}, h.carriers...)
}

// settleHalf starts one side.
func settleHalf(w *nodetest.World, name string) half {
	h := half{}
	for i := range 3 {
		h.carriers = append(h.carriers, w.Carrier(fmt.Sprint(name, " carrier ", i)))
		time.Sleep(time.Second)
	}
	h.vendor, h.her = w.Public(name+" couches"), w.Personal(name+" customer")
	time.Sleep(10 * time.Second)
	h.vendor.Sell("id,title,price\n1,Two-seater couch grey,4500.00\n")
	h.her.Fill(map[string]string{"location.area": "Melville"})
	return h
}

// announce has a customer announce a need, and gives its id.
func announce(t *testing.T, her *nodetest.Member, name string) string {
	t.Helper()
	n, err := her.Customer().Needs().Create(context.Background(), desk.NeedSpec{Auto: true, Name: name, Category: "home.furniture", MaxPrice: 600000})
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}

// missing says what has not arrived, or arrived twice: needs on boards, one offer of
// each vendor for each need, and the deletion of what was revoked.
func missing(t *testing.T, c *crowd, halves []half, needs map[*nodetest.Member][]string, revoked map[*nodetest.Member]int) (wrong []string) {
	for _, m := range c.members {
		there, err := m.Heard()
		if err != nil {
			t.Fatal(err)
		}
		for id := range c.posted {
			if _, ok := there[id]; !ok {
				wrong = append(wrong, m.Name+" lacks "+id[:8])
			}
		}
	}
	for her, ids := range needs {
		for _, id := range ids {
			count := map[string]int{}
			for _, o := range her.Offers(desk.Query{Context: id, All: true}) {
				count[o.Vendor]++
			}
			for vendor, n := range count {
				if n != 1 {
					wrong = append(wrong, fmt.Sprintf("%d offers of %s for one need", n, vendor))
				}
			}
			if len(count) != len(halves) {
				wrong = append(wrong, fmt.Sprintf("%s has offers of %d vendors for a need", her.Name, len(count)))
			}
		}
		if got := len(her.Grants(desk.Query{State: "deleted"})); got != revoked[her] {
			wrong = append(wrong, fmt.Sprintf("%s has %d signed deletions of %d", her.Name, got, revoked[her]))
		}
		for _, g := range her.Grants(desk.Query{}) {
			if len(g.Lapses) > 0 {
				wrong = append(wrong, her.Name+" saw a promise broken")
			}
		}
	}
	for _, h := range halves {
		for _, m := range []*nodetest.Member{h.her, h.vendor} {
			if rep, err := m.Ledger().Verify(context.Background()); err != nil || !rep.OK {
				wrong = append(wrong, fmt.Sprintf("the ledger of %s: %+v %v", m.Name, rep.Problems, err))
			}
		}
	}
	return wrong
}

// healsWithin is how long everything may take to arrive once the network is joined. Most
// of it is until the first node finds one of the other side: each tries those that it
// lost again after half a minute to fifteen.
const healsWithin = time.Minute

// TestMust_partition_heals: a network is cut in two for an hour, in which both sides
// announce, post and revoke; then it is joined. Everything arrives, once, and soon: who
// finds somebody back visits him, tries the others, and sends what waited.
func TestMust_partition_heals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1})
		defer w.Close()
		halves := []half{settleHalf(w, "east"), settleHalf(w, "west")}
		c := &crowd{t: t, w: w, posted: map[string]time.Time{}, at: map[string]spot{}}
		needs, revoked := map[*nodetest.Member][]string{}, map[*nodetest.Member]int{}
		for _, h := range halves {
			c.members = append(c.members, h.carriers...)
			needs[h.her] = append(needs[h.her], announce(t, h.her, "a couch for two"))
		}
		w.Until(10*time.Minute, "offers of both to both", func() (bool, error) { return len(missing(t, c, halves, needs, revoked)) == 0, nil })

		w.Partition(halves[0].all(), halves[1].all())
		time.Sleep(2 * time.Minute) // connections are given up
		for i, h := range halves {
			needs[h.her] = append(needs[h.her], announce(t, h.her, "another couch"))
			for j := range 10 {
				c.post(3*i+j%3, 0)
			}
			// Every grant that she gave is revoked, also those of a vendor that can't be reached.
			revoked[h.her] = len(h.her.Grants(desk.Query{}))
			if _, err := h.her.Customer().Grants().Revoke(context.Background(), nil, desk.Query{}, "no more"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(58 * time.Minute)
		if wrong := missing(t, c, halves, needs, revoked); len(wrong) < 2*3*10 {
			t.Fatalf("the network is cut, and the check finds only %q", wrong)
		}
		w.Heal()
		healed := time.Now()
		var wrong []string
		for time.Since(healed) < 30*time.Minute {
			if wrong = missing(t, c, halves, needs, revoked); len(wrong) == 0 {
				break
			}
			time.Sleep(time.Second)
		}
		took := time.Since(healed)
		if len(wrong) > 0 {
			t.Fatalf("half an hour after it was joined: %s", strings.Join(wrong, "\n"))
		}
		t.Logf("cut for an hour: 20 needs, 2 that are asked about, %d revocations: all there, once, %v after it was joined, bar %v",
			revoked[halves[0].her]+revoked[halves[1].her], took.Round(time.Second), healsWithin)
		if took > healsWithin {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Hour)
		if wrong := missing(t, c, halves, needs, revoked); len(wrong) > 0 {
			t.Errorf("an hour later: %s", strings.Join(wrong, "\n"))
		}
	})
}
