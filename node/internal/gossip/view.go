package gossip

import (
	"maps"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/internal/peers"
)

// Joined lists the shards whose meshes this node is in.
func (g *Gossip) Joined() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []int{}
	for s, t := range g.topics {
		if t.sub != nil {
			out = append(out, int(s))
		}
	}
	slices.Sort(out)
	return out
}

// MeshPeers lists the peers, in their libp2p form, that are in the mesh of any shard.
func (g *Gossip) MeshPeers() []string {
	in := map[string]bool{}
	for _, s := range g.Joined() {
		for _, p := range g.Mesh(uint16(s)) {
			in[p.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// Punished tells whether a peer is out of the meshes for what it withheld, or as silent.
func (g *Gossip) Punished(p peer.ID) bool { return g.blames.penalty(p) < 0 }

// Watched is of how many peers it is counted what they bring, each topic by itself.
func (g *Gossip) Watched() peers.Fill {
	n, most := g.silence.fill()
	return peers.Fill{At: n, Limit: most}
}

// Watch bounds of how many peers it is counted from now on.
func (g *Gossip) Watch(most int) {
	g.silence.mu.Lock()
	defer g.silence.mu.Unlock()
	g.silence.most = most
}

// Least is how many of the last messages that counted that peer brought which brought
// the fewest, on any topic, and of how many; -1 where nobody is known for long enough.
func (g *Gossip) Least() (brought, of int) { return g.silence.least(), judgedBy }
