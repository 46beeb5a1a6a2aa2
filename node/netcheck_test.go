package node

import (
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

func TestNetcheck(t *testing.T) {
	g := NewGenesis("looked at", 2, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{2})
	first := openPublic(t, g, nil)
	check := func(n *Node) (desk.Netcheck, map[string]string) {
		v, err := n.Network().Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]string{}
		for _, c := range v.Checks {
			if c.Detail == "" || by[c.Name] != "" {
				t.Errorf("%+v", c)
			}
			by[c.Name] = c.Answer
		}
		return v, by
	}
	v, by := check(first)
	if v.Usable || by["public-node"] != desk.NotKnown || by["quic"] != desk.NotKnown || by["reachable"] != desk.NotKnown || by["way-bootstrap"] != desk.No {
		t.Errorf("alone: %+v", v)
	}
	second := openPublic(t, g, address.Texts(first.port.Self()))
	await(t, "they meet, and their DHTs", func() bool { return second.dht.Nodes() > 0 && first.dht.Nodes() > 0 })
	v, by = check(second)
	if !v.Usable || by["public-node"] != desk.Yes || by["quic"] != desk.Yes || by["tcp"] != desk.NotKnown || by["way-bootstrap"] != desk.Yes ||
		by["keepers"] != desk.No || by["clock"] != desk.NotKnown {
		t.Errorf("one knows the other: %+v", v)
	}
	await(t, "the first was called", func() bool { _, by = check(first); return by["reachable"] == desk.Yes })
	s, err := second.Admin().Status(t.Context())
	if err != nil || len(s.Ways) != len(peers.AllWays) || s.Ways[0].Works != desk.Yes || s.Ways[0].Last == nil {
		t.Errorf("%+v, %v", s.Ways, err)
	}
}

// A passport is found in the DHT when no public node that is asked has it.
func TestAPassportIsFoundInTheDHT(t *testing.T) {
	g := NewGenesis("found", 2, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{3})
	first := openPublic(t, g, nil)
	bootstrap := address.Texts(first.port.Self())
	second := openPublic(t, g, bootstrap)
	await(t, "they are in each other's tables", func() bool { return second.dht.Nodes() > 0 && first.dht.Nodes() > 0 })
	vendors := vendorsOf(t, second, 1)
	putAndLeave(t, second.net, bootstrap, vendors)
	her := openVictim(t, g, bootstrap)
	if err := her.fetchPassport(t.Context(), vendors[0].Vendor()); err != nil {
		t.Fatal(err)
	}
	if !her.board.Knows(vendors[0].Vendor()) {
		t.Error("it is not on her board")
	}
	if err := her.fetchPassport(t.Context(), protocol.Hash{1, 2, 3}); err == nil {
		t.Error("one that nobody has was found")
	}
}
