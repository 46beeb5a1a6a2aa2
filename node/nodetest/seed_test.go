package nodetest

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/nodetest/netem"
)

// peersOf are the peer ids of a few nodes of a world, in the order in which it starts them,
// and of one that was stopped and started.
func peersOf(t *testing.T, seed uint64, names ...string) (ids []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := NewSimWorld(t, SimConfig{Config: netem.Config{Seed: seed}})
		defer w.Close()
		for _, name := range names {
			ids = append(ids, name+" "+w.Carrier(name).Gossip.Libp2p().ID().String())
		}
		her := w.Personal("her")
		her.Stop()
		her.Start()
		ids = append(ids, her.Gossip.Libp2p().ID().String())
	})
	slices.Sort(ids)
	return ids
}

// A seed fixes who the nodes are, in whichever order they start; without one they are others
// in each run.
func TestASeedFixesWhoTheNodesAre(t *testing.T) {
	first := peersOf(t, 7, "a", "b")
	if again := peersOf(t, 7, "b", "a"); !slices.Equal(first, again) {
		t.Errorf("the same seed makes %v and %v", first, again)
	}
	for _, seed := range []uint64{0, 8} {
		if other := peersOf(t, seed, "a", "b"); slices.ContainsFunc(other, func(id string) bool { return slices.Contains(first, id) }) {
			t.Errorf("seed 7 makes %v, seed %d %v", first, seed, other)
		}
	}
	if a, b := peersOf(t, 0, "a"), peersOf(t, 0, "a"); slices.Equal(a, b) {
		t.Errorf("without a seed the nodes are the same twice: %v", a)
	}
}
