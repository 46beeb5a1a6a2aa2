package peers

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// probes is how many nodes are dialled to find out whether a transport works.
const probes = 3

// A Transport is one of the two ways to carry streams.
type Transport int

// The transports.
const (
	QUIC Transport = ma.P_QUIC_V1
	TCP  Transport = ma.P_TCP
)

// Probe finds out whether a transport works from here: yes (1) where a node answers
// over it, no (-1) where none of those tried does, 0 where none is known that listens
// on it. It opens connections of its own and closes them.
func (h *Host) Probe(ctx context.Context, over Transport) int {
	s, ok := h.host.Network().(*swarm.Swarm)
	if !ok {
		return 0
	}
	for _, c := range s.Conns() {
		if _, err := c.RemoteMultiaddr().ValueForProtocol(int(over)); err == nil && c.Stat().Direction == network.DirOutbound {
			return 1
		}
	}
	tried := 0
	for _, k := range h.Keepers(maxTable) {
		info, err := AddrInfoFromKeeper(k)
		if err != nil {
			continue
		}
		for _, a := range info.Addrs {
			if _, err := a.ValueForProtocol(int(over)); err != nil {
				continue
			}
			if tried++; tried > probes || ctx.Err() != nil {
				return -1
			}
			dial, cancel := context.WithTimeout(ctx, dialTimeout)
			c, err := s.TransportForDialing(a).Dial(dial, a, info.ID)
			cancel()
			if err == nil {
				_ = c.Close() // it answered
				return 1
			}
			break
		}
	}
	if tried > 0 {
		return -1
	}
	return 0
}

// Reachable tells whether others reach this public node, and how that is known.
func (h *Host) Reachable() (is int, detail string) {
	if h.called() {
		return 1, "somebody opened a connection to this node"
	}
	return 0, "nobody has opened a connection to this node yet"
}

// called tells whether somebody from elsewhere has a connection open to this node.
// Where the whole network is on this machine, that counts too.
func (h *Host) called() bool {
	far := h.horizon()
	for _, c := range h.host.Network().Conns() {
		if ip := ipOf(c.RemoteMultiaddr()); c.Stat().Direction == network.DirInbound && ip.IsValid() && scopeOf(ip) >= far {
			return true
		}
	}
	return false
}
