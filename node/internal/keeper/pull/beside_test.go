package pull

import (
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
)

func node(n byte) protocol.Keeper { return protocol.Keeper{Key: key.KeeperKey{n}} }

// Of each shard two nodes that follow it are asked, those that are drawn for all
// shards among them.
func TestFollowersAreAskedBesideThoseDrawn(t *testing.T) {
	follow := map[uint16][]protocol.Keeper{
		1: {node(1), node(2)}, 2: {node(1), node(3)}, 3: {node(3), node(4), node(5)}, 4: {}, 5: {node(4)},
	}
	p := New(Config{Followers: func(s uint16) []protocol.Keeper { return follow[s] }})
	drawn := []protocol.Keeper{node(1), node(2)}
	got := map[byte][]uint16{}
	for _, f := range p.beside(drawn, []uint16{1, 2, 3, 4, 5}) {
		slices.Sort(f.shards)
		got[f.node.Key[0]] = f.shards
	}
	for n, want := range map[byte][]uint16{1: nil, 2: nil, 3: {2, 3}, 4: {3, 5}, 5: nil} {
		if !slices.Equal(got[n], want) {
			t.Errorf("node %d is asked about %v, want %v", n, got[n], want)
		}
	}
	if p := New(Config{}); p.beside(drawn, []uint16{1}) != nil {
		t.Error("somebody is asked where no followers are known")
	}
}

// However many shards a node follows, a round asks so many nodes and no more, and each
// shard is first in some round.
func TestARoundAsksFewNodes(t *testing.T) {
	shards := make([]uint16, 64)
	for i := range shards {
		shards[i] = uint16(i)
	}
	p := New(Config{Followers: func(s uint16) []protocol.Keeper { return []protocol.Keeper{node(byte(10 + s))} }})
	asked := map[byte]bool{}
	for range 2000 {
		all := p.beside(nil, shards)
		if len(all) != maxBeside {
			t.Fatalf("%d nodes are asked, want %d", len(all), maxBeside)
		}
		for _, f := range all {
			asked[f.node.Key[0]] = true
		}
	}
	if len(asked) != len(shards) {
		t.Errorf("in 2,000 rounds %d of %d nodes were asked", len(asked), len(shards))
	}
}
