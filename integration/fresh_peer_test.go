package integration

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node"
)

// TestAPersonalNodeIsAnotherPeerAtEachStart: whoever it dials can't tell that a customer
// was there before. What the node says of itself is what the dialled witness saw; and the
// same question finds that a public node is the same one again.
func TestAPersonalNodeIsAnotherPeerAtEachStart(t *testing.T) {
	met := newWitness(t)
	g := youngNetwork()
	starts := func(name string, o node.InitOptions) (ids map[peer.ID]int) {
		o.Network, o.Bootstrap = g, []string{met.addr}
		p := newProcess(t, name, o)
		ids = map[peer.ID]int{}
		for range 3 {
			startAll(t, p)
			id, err := peer.Decode(identity(t, p).PeerID)
			if err != nil {
				t.Fatal(err)
			}
			if err := met.meet(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			for _, seen := range met.host.Network().Peers() { // all that dial it now, by their own keys
				ids[seen]++
			}
			if ids[id] == 0 {
				t.Errorf("%s says that it is %s, and the witness met another", name, id)
			}
			if code, err := p.stop(); err != nil || code != 0 {
				t.Fatalf("%s: exit %d, %v", name, code, err)
			}
			for _, c := range met.host.Network().Conns() { // nobody is left from this start
				_ = c.Close()
			}
		}
		return ids
	}
	public := starts("public", node.InitOptions{Profile: node.Public, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if len(public) != 1 {
		t.Errorf("a public node was %d peers in three starts, and is to be found again", len(public))
	}
	personal := starts("personal", node.InitOptions{})
	if len(personal) != 3 {
		t.Errorf("a personal node was %d peers in three starts", len(personal))
	}
	for id := range personal {
		if public[id] > 0 {
			t.Errorf("%s is both nodes", id)
		}
	}
}
