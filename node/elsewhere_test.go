package node

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestANodeOfAnotherNetworkIsNoWayIn: a home whose bootstrap list names a node of another
// network is told so, by name, and that node counts nowhere; one of its own beside it
// does, also where nodes are not exchanged.
func TestANodeOfAnotherNetworkIsNoWayIn(t *testing.T) {
	lanes := []protocol.LaneRule{{Lane: protocol.LaneNone}}
	public := func(g *protocol.Genesis) string {
		o := InitOptions{Paths: place(t), Profile: Public, Network: g, Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
		if err := Init(o); err != nil {
			t.Fatal(err)
		}
		return address.Texts(opened(t, Config{Paths: o.Paths, NoAPI: true}).port.Self())[0]
	}
	ours := NewGenesis("other", 1, lanes, protocol.ID{2})
	theirs := public(NewGenesis("trial", 1, lanes, protocol.ID{1}))
	own := public(ours)
	for name, c := range map[string]struct {
		list []string
		ways []string
		own  bool
	}{
		"alone": {[]string{theirs}, nil, false}, "alone, no exchange": {[]string{theirs}, []string{"bootstrap"}, false}, "beside one of ours": {[]string{theirs, own}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := InitOptions{Paths: place(t), Network: ours, Bootstrap: c.list}
			if err := Init(o); err != nil {
				t.Fatal(err)
			}
			n := opened(t, Config{Paths: o.Paths, NoAPI: true, Ways: c.ways})
			var s desk.Status
			await(t, "the other network is named", func() bool {
				s = statusOf(t, n)
				return slices.ContainsFunc(s.Problems, func(p desk.Problem) bool {
					return p.Code == "other-network" && strings.Contains(p.What, theirs) && strings.Contains(p.What, "is of another network") && p.Fix != ""
				}) && (s.Peers > 0) == c.own
			})
			if c.own {
				await(t, "ours works", func() bool { s = statusOf(t, n); return wayIn(s, "bootstrap") == desk.Yes && s.Peers == 1 })
			} else if wayIn(s, "bootstrap") != desk.No || s.Peers != 0 {
				t.Errorf("%d peers, ways %+v", s.Peers, s.Ways)
			}
			v, err := n.Network().Check(t.Context())
			if err != nil || v.Usable != c.own || !strings.Contains(v.Checks[0].Detail, "1 more are of another network") {
				t.Errorf("netcheck says %+v, %v", v, err)
			}
			list, err := n.Network().Peers(t.Context())
			if err != nil || !slices.ContainsFunc(list, func(p desk.Peer) bool { return p.From == "other network" && !p.Connected }) {
				t.Errorf("the peers are %+v, %v", list, err)
			}
			for _, k := range n.draw() {
				if slices.Contains(address.Texts(k), theirs) {
					t.Error("it is asked for things")
				}
			}
		})
	}
}

func statusOf(t *testing.T, n *Node) desk.Status {
	t.Helper()
	s, err := n.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wayIn(s desk.Status, way string) string {
	i := slices.IndexFunc(s.Ways, func(w desk.WayIn) bool { return w.Way == way })
	return s.Ways[i].Works
}

// TestAHomeStaysInItsNetwork: a home whose network file was changed for another network's
// does not start, and says both; other hints in the file are no other network.
func TestAHomeStaysInItsNetwork(t *testing.T) {
	p := place(t)
	if err := Init(InitOptions{Paths: p}); err != nil {
		t.Fatal(err)
	}
	closed(t, opened(t, Config{Paths: p, NoAPI: true}))
	own, err := ReadNetwork(p.network())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ShowNetwork(NewGenesis("other", 1, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{7}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Write(p.network()); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{Paths: p, NoAPI: true})
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), own.ID) || !strings.Contains(err.Error(), other.ID) || !strings.Contains(err.Error(), "hark init") {
		t.Fatalf("it was opened in another network: %v", err)
	}
	hinted := key.Generate[key.Keeper]()
	own.Bootstrap = []string{"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/" + peers.PeerID(hinted.Public())}
	if err := own.Write(p.network()); err != nil {
		t.Fatal(err)
	}
	closed(t, opened(t, Config{Paths: p, NoAPI: true}))
}
