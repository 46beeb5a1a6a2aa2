package nodetest

import (
	"crypto/sha256"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
)

// drawn is the n-th secret that a node of this name needs. In a simulated world with a seed
// it is the same in each run, whatever else happens first, and with it the node's peer id,
// the shards that it carries and its places in the DHT. What nodes draw for themselves
// (keys of contexts and letters, whom gossip picks) and how their goroutines take turns, no
// seed fixes.
func (w *World) drawn(name string, n int) key.Secret {
	if w.sim == nil || w.sim.cfg.Seed == 0 {
		return key.NewSecret()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", w.sim.cfg.Seed, n, name))
	s, err := key.SecretFrom(sum[:])
	if err != nil {
		w.t.Fatalf("nodetest: %v", err)
	}
	return s
}

// draw is the next secret of a member.
func (m *Member) draw() key.Secret {
	m.draws++
	return m.w.drawn(m.Name, m.draws)
}

// drawKey is the next keeper key of a member.
func (m *Member) drawKey() key.Private[key.Keeper] { return key.FromSeed[key.Keeper](m.draw()) }
