package dht

import (
	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

func wirePrefix(net protocol.Hash) wireproto.ID { return wireproto.ID(prefixOf(net)) }

// diversity bounds how many nodes of one network the routing table takes in, and how
// many an answer may name. As long as this node can be reached from home alone, and went
// no further itself, all others are of one network, and nothing is bounded: a node behind
// a NAT is at home until it has met somebody.
func diversity(h *peers.Host, n int) peerdiversity.PeerIPGroupFilter {
	bounded := n > 0
	if n == 0 {
		n = perGroup
	}
	f := kad.NewRTPeerDiversityFilter(h.Libp2p(), min(n, perBucket), n)
	if bounded || !peers.AtHome(h) {
		return f
	}
	return anywhere{f, h}
}

// anywhere is a filter that lets everybody in while this node is at home, and counts them.
type anywhere struct {
	peerdiversity.PeerIPGroupFilter
	host *peers.Host
}

// Allow implements peerdiversity.PeerIPGroupFilter.
func (a anywhere) Allow(who peerdiversity.PeerGroupInfo) bool {
	return peers.AtHome(a.host) || a.PeerIPGroupFilter.Allow(who)
}
