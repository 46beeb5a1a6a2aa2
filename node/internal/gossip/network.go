package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Network is a node's whole way to others: the host, and for a public node the
// topics. It is the peers.Port that stands on libp2p.
type Network struct {
	*peers.Host
	Gossip *Gossip // nil on a personal node
}

var _ peers.Port = (*Network)(nil)

// Open starts the host and, for a public node, gossip of the network net with its
// number of shards.
func Open(ctx context.Context, cfg peers.Config, net protocol.Hash, shards uint16) (*Network, error) {
	h, err := peers.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n := &Network{Host: h}
	if cfg.Profile != peers.Public {
		return n, nil
	}
	n.Gossip, err = New(ctx, h, Config{Net: net, Shards: shards, Log: cfg.Log, Now: cfg.Now})
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return n, nil
}

// Join subscribes to the topics of shards; fault.Unsupported on a personal node.
func (n *Network) Join(shards []uint16, hear peers.Hear) error {
	if n.Gossip == nil {
		return fmt.Errorf("gossip: a personal node joins no topic: %w", fault.Unsupported)
	}
	return n.Gossip.Join(shards, hear)
}

// Publish gossips bytes that have already passed the door; fault.Unsupported on a
// personal node, which posts them to keepers instead.
func (n *Network) Publish(ctx context.Context, shard uint16, raw []byte) error {
	if n.Gossip == nil {
		return fmt.Errorf("gossip: a personal node publishes nothing: %w", fault.Unsupported)
	}
	return n.Gossip.Publish(ctx, shard, raw)
}

// Blame takes a report that a peer in the mesh of a shard withheld announcements that
// others had. Three within an hour put it out of the meshes for a while.
func (n *Network) Blame(who key.KeeperKey, shard uint16, withheld int) {
	if n.Gossip != nil {
		n.Gossip.blamed(who, shard, withheld)
	}
}

// MeshKeepers are the peers in the mesh of a shard, as others may name them.
func (n *Network) MeshKeepers(shard uint16) (out []protocol.Keeper) {
	if n.Gossip == nil {
		return nil
	}
	return n.named(n.Gossip.Mesh(shard))
}

// Audited are the peers in the mesh of a shard, and those of them who brought nothing of
// it in the last ten minutes, or of whom it can't be told.
func (n *Network) Audited(shard uint16) (in, quiet []protocol.Keeper) {
	if n.Gossip == nil {
		return nil, nil
	}
	topic := Topic(n.Gossip.cfg.Net, n.Gossip.cfg.Shards, shard)
	ids := n.Gossip.Mesh(shard)
	in = n.named(ids)
	return in, n.named(slices.DeleteFunc(ids, func(p peer.ID) bool { return n.Gossip.silence.brings(p, topic) }))
}

// Followers are the connected peers that say to follow a shard, in random order.
func (n *Network) Followers(shard uint16) []protocol.Keeper {
	if n.Gossip == nil {
		return nil
	}
	out := n.named(n.Gossip.on(shard))
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] }) //nolint:gosec // whose turn it is, nothing more
	return out
}

// named are peers as others may name them.
func (n *Network) named(ids []peer.ID) (out []protocol.Keeper) {
	for _, id := range ids {
		if k, err := address.Keeper(n.Libp2p().Peerstore().PeerInfo(id)); err == nil {
			out = append(out, k)
		}
	}
	return out
}

// Close leaves the topics, then the network.
func (n *Network) Close(ctx context.Context) error {
	var err error
	if n.Gossip != nil {
		err = n.Gossip.Close(ctx)
	}
	return errors.Join(err, n.Host.Close(ctx))
}
