package nodetest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

// Spying starts a public node of a simulated world, shut or not, that does what all others
// do, and tells see of everything that comes in, by gossip and on streams.
func (w *World) Spying(name string, shut bool, see func(Seen)) *Member {
	return w.begin(&Member{Name: name, public: true, locked: shut, spy: see})
}

// Who is the member with an address in a prefix; nil: none of a simulated world.
func (w *World) Who(prefix string) *Member { return w.behind(prefix) }

// overhear reads along on a stream that a spy serves.
func (m *Member) overhear(proto, from string, c peers.Conn) peers.Conn {
	return &overheard{Conn: c, hear: func(op *protocol.Op) { m.spy(Seen{At: time.Now(), From: from, Proto: proto, Op: op}) }}
}

// PostByStrangers lets any public node of a simulated world be the first hop of a sealed
// need, as it must not be: personal nodes that are started from now on post so.
func (w *World) PostByStrangers() {
	w.Posting.Hops = func(n int) []protocol.Keeper {
		list := slices.Clone(w.sim.public)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:min(n, len(list))]
	}
}

// Lose takes from a node that is stopped all that it kept.
func (m *Member) Lose() { m.Store = kv.Memory() }
