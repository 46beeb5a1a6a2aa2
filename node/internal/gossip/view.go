package gossip

import (
	"maps"
	"slices"
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
