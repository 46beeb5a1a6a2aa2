package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
)

// shardsOf are all shards of a network.
func shardsOf(shards uint16) (all []uint16) {
	for s := range shards {
		all = append(all, s)
	}
	return all
}

// followedBy are on how many topics of a network a node sees a peer.
func followedBy(n *Network, shards uint16) (seen int) {
	for s := range shards {
		seen += len(n.Gossip.router.ListPeers(Topic(testNet, shards, s)))
	}
	return seen
}

// A node that follows all shards of a network is heard by one that meets it later, in
// the largest network that there can be too: all its subscriptions come in one RPC.
func TestWhoFollowsAllShardsIsHeard(t *testing.T) {
	for _, shards := range []uint16{256, 1024} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			hear := func(context.Context, []byte, uint16, string) uint8 { return pass }
			all := openIn(t, shards, peers.Public)
			if err := all.Join(shardsOf(shards), hear); err != nil {
				t.Fatal(err)
			}
			one := openIn(t, shards, peers.Public, all.Self())
			until(t, "all topics are heard of", func() bool { return followedBy(one, shards) == int(shards) })
		})
	}
}

// subscriptions is an RPC, with its length before it, that names so many topics, those
// of the network first.
func subscriptions(shards uint16, n int) []byte {
	var rpc []byte
	for i := range n {
		name := Topic(testNet, shards, uint16(i)%shards)
		if i >= int(shards) {
			name = fmt.Sprint("/hark/2/later/", i)
		}
		rpc = append(rpc, 0x0a, byte(4+len(name)), 0x08, 1, 0x12, byte(len(name)))
		rpc = append(rpc, name...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(rpc))), rpc...)
}

// An RPC that names each topic of the network, and some of a later edition, is heard; one
// that names more is dropped whole.
func TestMoreNamesThanTopicsAreRefused(t *testing.T) {
	for _, c := range []struct{ names, want int }{{testShards, testShards}, {testShards + maxUnknown, testShards}, {testShards + maxUnknown + 1, 0}} {
		filter := ours{testNet, testShards}
		subs := make([]*pb.RPC_SubOpts, c.names)
		for i := range subs {
			name, yes := Topic(testNet, testShards, uint16(i)), true
			subs[i] = &pb.RPC_SubOpts{Topicid: &name, Subscribe: &yes}
		}
		got, err := filter.FilterIncomingSubscriptions("", subs)
		if len(got) != c.want || errors.Is(err, pubsub.ErrTooManySubscriptions) != (c.want == 0) {
			t.Errorf("of %d names %d are taken, %v", c.names, len(got), err)
		}
	}
	n := open(t, peers.Public)
	stranger := open(t, peers.Personal).Libp2p()
	stranger.SetStreamHandler("/meshsub/1.1.0", func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	info := address.Info(n.Self())
	if err := stranger.Connect(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	s, err := stranger.NewStream(t.Context(), info.ID, "/meshsub/1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	say := func(names int) {
		if _, err := s.Write(subscriptions(testShards, names)); err != nil {
			t.Fatal(err)
		}
	}
	say(testShards + maxUnknown + 1)
	if _, err := s.Write(subscriptions(testShards, 1)); err != nil { // the stream goes on
		t.Fatal(err)
	}
	until(t, "the one that names one topic is heard", func() bool { return followedBy(n, testShards) > 0 })
	if got := followedBy(n, testShards); got != 1 {
		t.Errorf("%d topics are known of a stranger who named too many at once, want the one that it named alone", got)
	}
	say(testShards + maxUnknown)
	until(t, "all topics are heard of", func() bool { return followedBy(n, testShards) == testShards })
}
