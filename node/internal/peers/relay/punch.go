package relay

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers/address"
)

// far bounds what a punch dials: whoever calls over a relay can't make this node knock at
// more than a few doors, and at none of its own house.
type far struct{}

// FilterLocal implements holepunch.AddrFilter.
func (far) FilterLocal(_ peer.ID, at []ma.Multiaddr) []ma.Multiaddr { return worthPunching(at) }

// FilterRemote implements holepunch.AddrFilter.
func (far) FilterRemote(_ peer.ID, at []ma.Multiaddr) []ma.Multiaddr { return worthPunching(at) }

func worthPunching(at []ma.Multiaddr) []ma.Multiaddr {
	out := slices.DeleteFunc(slices.Clone(at), func(a ma.Multiaddr) bool {
		return !address.Direct(a) || !address.IPOf(a).IsValid() || address.AddrScope(a) != address.Public
	})
	return out[:min(len(out), maxPunch)]
}

// A gate holds libp2p to the same: whoever is called over a relay first dials the caller
// wherever he says to be. It is a connmgr.ConnectionGater.
type gate struct{ s *Service }

// InterceptAddrDial implements connmgr.ConnectionGater: who came over a relay is dialled no
// nearer than that relay.
func (g gate) InterceptAddrDial(id peer.ID, at ma.Multiaddr) bool {
	g.s.mu.Lock()
	h := g.s.host
	g.s.mu.Unlock()
	return h == nil || !slices.ContainsFunc(h.Network().ConnsToPeer(id), func(c network.Conn) bool {
		return address.Relayed(c.RemoteMultiaddr()) && address.AddrScope(at) < address.AddrScope(c.RemoteMultiaddr())
	})
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (gate) InterceptPeerDial(peer.ID) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool { return true }

// InterceptUpgraded implements connmgr.ConnectionGater.
func (gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
