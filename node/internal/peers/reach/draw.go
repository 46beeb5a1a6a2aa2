package reach

import (
	"math/rand/v2"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

// Draw picks up to n public nodes to ask, of each way in one in turn, and in random
// order within a way: whoever owns one way, or sits in many places of it, is not the
// only one who is asked. Nodes of which the last dial failed come in when there are no
// others.
func Draw(h *peers.Host, n int) []protocol.Keeper {
	return draw(h.View(), n)
}

func draw(known []peers.Known, n int) (out []protocol.Keeper) {
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	taken := make([]bool, len(known))
	next := func(by peers.Way, failing bool) bool {
		for i, k := range known {
			if !taken[i] && k.Other.IsZero() && k.Failing == failing && (k.Ways&by != 0 || by == 0 && k.Ways == 0) {
				taken[i] = true
				out = append(out, k.Keeper)
				return true
			}
		}
		return false
	}
	for _, failing := range []bool{false, true} {
		for more := true; more; {
			more = false
			for _, by := range append([]peers.Way{0}, peers.AllWays...) {
				if len(out) == n {
					return out
				}
				more = next(by, failing) || more
			}
		}
	}
	return out
}
