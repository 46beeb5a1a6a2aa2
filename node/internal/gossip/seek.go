package gossip

import (
	"context"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

// A topic whose mesh is thin has more nodes sought.
const (
	seekPause = 3 * time.Second  // between two turns: who was gone to is in the mesh by then, or not
	seekAgain = 10 * time.Minute // before the same node is gone to again
)

// What is published on a topic that this node is not on goes to peers that are: to
// enough of them that one may be deaf, and another lie.
const (
	fanLow   = 3
	fanWait  = 2 * time.Second // for more of them to connect and subscribe
	fanAgain = time.Minute     // before the same one is gone to again
)

// thicken goes to more nodes for topics with a thin mesh. Chance connects a node that is
// on two of many topics with too few of its own kind, and where those on a topic do not
// hang together, gossip does not get around. Sought are those that carry the shard by
// their key; whoever follows it for other reasons is found in passing.
func (g *Gossip) thicken(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(seekPause):
		}
		for shard, missing := range g.thin() {
			peers.Seek(g.host, g.carry(shard), missing, seekAgain)
		}
	}
}

// thin tells how many peers the meshes lack of the topics that this node is on.
func (g *Gossip) thin() map[uint16]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[uint16]int{}
	for shard, t := range g.topics {
		if in := g.mesh.size(t.on.String()); t.sub != nil && in < score.MeshLow {
			out[shard] = score.MeshLow - in
		}
	}
	return out
}

// carry tells nodes that are on the topic of a shard by their key.
func (g *Gossip) carry(shard uint16) func(key.KeeperKey) bool {
	return func(k key.KeeperKey) bool {
		drawn := protocol.Drawn(k, g.cfg.Shards)
		return slices.Contains(drawn[:], shard)
	}
}

// fan sees to it that there are peers on a topic that this node is not on: with none,
// what it publishes there would wait for somebody who happens to pull from here.
func (g *Gossip) fan(ctx context.Context, shard uint16, t *topic) {
	missing := fanLow - len(t.on.ListPeers())
	if missing <= 0 || peers.Seek(g.host, g.carry(shard), missing, fanAgain) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fanWait)
	defer cancel()
	events, err := t.on.EventHandler() // tells of those first that are there
	if err != nil {
		return
	}
	defer events.Cancel()
	for there := 0; there < fanLow; {
		e, err := events.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		switch e.Type {
		case pubsub.PeerJoin:
			there++
		case pubsub.PeerLeave:
			there--
		}
	}
}
