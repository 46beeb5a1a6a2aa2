package dht

import (
	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

func wirePrefix(net protocol.Hash) wireproto.ID { return wireproto.ID(prefixOf(net)) }

// diversity bounds how many nodes of one network the routing table takes in, and how
// many an answer may name. Where this node can be reached from home alone, all others
// are of one network, and nothing is bounded.
func diversity(h *peers.Host, n int) peerdiversity.PeerIPGroupFilter {
	if n == 0 && peers.AtHome(h) {
		return anywhere{h}
	}
	if n == 0 {
		n = perGroup
	}
	return kad.NewRTPeerDiversityFilter(h.Libp2p(), min(n, perBucket), n)
}

// anywhere is a filter that lets everybody in.
type anywhere struct{ host *peers.Host }

// Allow implements peerdiversity.PeerIPGroupFilter.
func (anywhere) Allow(peerdiversity.PeerGroupInfo) bool { return true }

// Increment implements peerdiversity.PeerIPGroupFilter.
func (anywhere) Increment(peerdiversity.PeerGroupInfo) {}

// Decrement implements peerdiversity.PeerIPGroupFilter.
func (anywhere) Decrement(peerdiversity.PeerGroupInfo) {}

// PeerAddresses implements peerdiversity.PeerIPGroupFilter.
func (a anywhere) PeerAddresses(id peer.ID) (at []ma.Multiaddr) {
	for _, c := range a.host.Libp2p().Network().ConnsToPeer(id) {
		at = append(at, c.RemoteMultiaddr())
	}
	return at
}
