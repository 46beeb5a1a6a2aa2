package relay

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2/pb"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

const (
	there = "/ip4/198.51.100.7/udp/4001/quic-v1"
	name  = "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8"
	other = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"
)

func addrs(texts ...string) (out []ma.Multiaddr) {
	for _, t := range texts {
		out = append(out, ma.StringCast(t))
	}
	return out
}

func id(t testing.TB) peer.ID {
	t.Helper()
	id, err := peer.Decode(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What a relay says of its addresses counts where this node reached it, and nowhere else.
func TestPlacesOfARelayThatLies(t *testing.T) {
	lies := addrs("/ip4/203.0.113.9/udp/1/quic-v1/p2p/"+name, "/dns4/x.example/tcp/1/p2p/"+name, there+"/p2p/"+name+"/p2p-circuit/p2p/"+name,
		"/ip4/198.51.100.7/tcp/1/ws/p2p/"+name, there+"/p2p/"+other, "/ip4/127.0.0.1/tcp/1/p2p/"+name, "/p2p/"+name, "/p2p-circuit")
	got := places(id(t), ma.StringCast(there), lies)
	if len(got) != 1 || got[0].String() != there+"/p2p/"+name+"/p2p-circuit" {
		t.Errorf("%v", got)
	}
	true2 := addrs("/ip4/198.51.100.7/tcp/1/p2p/"+name, "/ip4/198.51.100.7/tcp/2/p2p/"+name)
	if got := places(id(t), ma.StringCast(there), append(lies, true2...)); len(got) != perSeat || got[1].String() != "/ip4/198.51.100.7/tcp/1/p2p/"+name+"/p2p-circuit" {
		t.Errorf("%v", got)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(ma.StringCast(there + "/p2p/" + name).Bytes())
	f.Add(ma.StringCast(there + "/p2p/" + name + "/p2p-circuit").Bytes())
	f.Add([]byte{4, 127, 0, 0, 1})
	relay, at := id(f), ma.StringCast(there)
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ma.NewMultiaddrBytes(raw)
		if err != nil {
			return
		}
		for _, p := range places(relay, at, []ma.Multiaddr{a}) {
			if !address.Circuit(p) || len(p.Bytes()) > protocol.MaxAddr || address.Prefix(p) != "198.51.100.0/24" {
				t.Errorf("%v is announced", p)
			}
		}
		for _, p := range worthPunching([]ma.Multiaddr{a}) {
			if !address.Direct(p) || address.AddrScope(p) != address.Public {
				t.Errorf("%v is knocked at", p)
			}
		}
	})
}

// Who calls over a relay makes this node knock at few doors, none of its own house.
func TestWorthPunching(t *testing.T) {
	many := addrs("/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1", "/dns4/x.example/tcp/1", there+"/p2p/"+name+"/p2p-circuit", "/ip4/198.51.100.7/udp/1")
	if got := (far{}).FilterRemote("", many); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for range 9 {
		many = append(many, ma.StringCast(there))
	}
	if got := (far{}).FilterLocal("", many); len(got) != maxPunch {
		t.Errorf("%d of %d", len(got), maxPunch)
	}
}

// Questions that were turned away are not counted, and the others for a minute.
func TestQuestionsAreCounted(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := window{now: func() time.Time { return now }}
	w.CompletedRequest(autonatv2.EventDialRequestCompleted{ResponseStatus: pb.DialResponse_OK})
	w.CompletedRequest(autonatv2.EventDialRequestCompleted{ResponseStatus: pb.DialResponse_E_REQUEST_REJECTED})
	now = now.Add(40 * time.Second)
	w.CompletedRequest(autonatv2.EventDialRequestCompleted{ResponseStatus: pb.DialResponse_E_DIAL_REFUSED})
	if n := w.size(); n != 2 {
		t.Errorf("%d", n)
	}
	now = now.Add(30 * time.Second)
	if n := w.size(); n != 1 {
		t.Errorf("half a minute later %d", n)
	}
}

// What may go over a relay is said by name: nothing else does.
func TestWhatARelayCarries(t *testing.T) {
	for proto, want := range map[string]bool{
		"/hark/mail/1": true, "/hark/post/1": true, "/hark/sync/1": false, "/meshsub/1.3.0": false, "/hark/x/kad/1.0.0": false, "": false,
	} {
		if Carries(proto) != want {
			t.Errorf("%s: %v", proto, !want)
		}
	}
}
