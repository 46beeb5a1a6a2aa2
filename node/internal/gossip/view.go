package gossip

import "slices"

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
