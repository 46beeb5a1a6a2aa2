package gossip

import (
	"strconv"
	"strings"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/protocol"
)

// Whoever meets a node says all its subscriptions in one RPC, each topic once: as many
// as the network has shards. Bounds that are less keep a node that follows all shards
// from being heard at all.
const (
	maxUnknown = 64 // topics that a later edition may have beside those
	subFrame   = 16 // bytes of one subscription beside its topic
)

// greeting is how many bytes the subscriptions of a node take that follows all shards.
func greeting(net protocol.Hash, shards uint16) int {
	return int(shards) * (len(Topic(net, shards, max(shards, 1)-1)) + subFrame)
}

// ours lets only topics of this network through, and of one RPC no more names than there
// are topics.
type ours struct {
	net    protocol.Hash
	shards uint16
}

// CanSubscribe implements pubsub.SubscriptionFilter.
func (o ours) CanSubscribe(name string) bool {
	last := name[strings.LastIndexByte(name, '/')+1:]
	shard, err := strconv.ParseUint(last, 10, 16)
	return err == nil && uint16(shard) < o.shards && name == Topic(o.net, o.shards, uint16(shard))
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter; with an error the
// whole RPC is dropped.
func (o ours) FilterIncomingSubscriptions(_ peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > int(o.shards)+maxUnknown {
		return nil, pubsub.ErrTooManySubscriptions
	}
	return pubsub.FilterSubscriptions(subs, o.CanSubscribe), nil
}
