package dht

import (
	"fmt"
	"testing"

	"github.com/harkmarket/hark/node/internal/peers/address"
)

// crowd opens one node, eight that are all of 127.2.0.0/16, and then one of each of three
// other networks, and counts which stand in the first one's routing table once all are
// connected and the three are in it, or the eight.
func crowd(t *testing.T, perGroup int, done func(sybils, others int) bool) (sybils, others int) {
	target := open(t, setup{limits: Limits{PerGroup: perGroup}})
	join := func(at string) *node {
		n := open(t, setup{at: at})
		info := address.Info(n.Self())
		if err := target.Libp2p().Connect(t.Context(), info); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var same, apart []*node
	for i := range 8 {
		same = append(same, join(fmt.Sprintf("127.2.0.%d", i+1)))
	}
	for i := range 3 {
		apart = append(apart, join(fmt.Sprintf("127.%d.0.1", i+3)))
	}
	in := func(list []*node) (n int) {
		for _, one := range list {
			if target.dht.table != nil && target.dht.table.RoutingTable().Find(one.Libp2p().ID()) != "" {
				n++
			}
		}
		return n
	}
	until(t, "all are connected", func() bool {
		for _, one := range append(same, apart...) {
			id := one.Libp2p().ID()
			if len(target.Libp2p().Network().ConnsToPeer(id)) == 0 {
				return false
			}
		}
		return true
	})
	if from := target.Prefix(same[0].Libp2p().ID()); from != address.PrefixOf(same[0].Self()) {
		t.Fatalf("one of 127.2.0.0/16 comes from %s", from)
	}
	until(t, "they are in the table", func() bool {
		sybils, others = in(same), in(apart)
		return done(sybils, others)
	})
	return sybils, others
}

// TestOneNetworkDoesNotFillTheTable: of eight nodes of one /16 at most three get into a
// routing table, however early they come, and those of other networks find their place.
// Without the filter all eight are in it.
func TestOneNetworkDoesNotFillTheTable(t *testing.T) {
	held := func(sybils int) bool { return sybils <= perGroup }
	if sybils, others := crowd(t, 0, func(s, o int) bool { return s == 8 && o == 3 }); held(sybils) {
		t.Fatalf("without the filter %d of 8 and %d of 3: this crowd shows nothing", sybils, others)
	}
	sybils, others := crowd(t, perGroup, func(s, o int) bool { return s > 0 && o == 3 })
	t.Logf("%d of 8 nodes of one /16 and %d of 3 of other networks are in the table", sybils, others)
	if !held(sybils) {
		t.Errorf("%d of one network, want at most %d", sybils, perGroup)
	}
}
