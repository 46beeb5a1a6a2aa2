// Package limits bounds what libp2p spends: connections, streams and memory, of all
// peers together, of one peer, of one network and of each protocol. Whoever fills up
// what strangers may have leaves room for this node to reach others.
package limits

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Connections of one network.
const (
	connsPerIP   = 64 // several customers share one address (an office, a mobile network)
	connsPerNet6 = 256
)

// A Stream bounds one protocol: streams in all and of one peer, each way, and the
// memory (MiB) that libp2p may reserve for them, in all and for one peer.
type Stream struct{ All, Peer, AllMiB, PeerMiB int }

// connections bounds connections and streams of all peers together and of one.
func connections(most int) rcmgr.PartialLimitConfig {
	conns := rcmgr.LimitVal(most)
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: conns, ConnsInbound: conns * 3 / 4, ConnsOutbound: conns / 2,
			Streams: 4096, StreamsInbound: 2048, StreamsOutbound: 2048, Memory: 256 << 20, FD: 512,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: 64, ConnsInbound: 48, ConnsOutbound: 32, Streams: 256, StreamsInbound: 192, StreamsOutbound: 128,
			Memory: 32 << 20, FD: 64,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 6, ConnsOutbound: 6, Streams: 96, StreamsInbound: 64, StreamsOutbound: 64, Memory: 32 << 20, FD: 8,
		},
		ProtocolDefault:     rcmgr.ResourceLimits{Streams: 48, StreamsInbound: 24, StreamsOutbound: 24, Memory: 2 << 20}, // of those for which nobody set one
		ProtocolPeerDefault: rcmgr.ResourceLimits{Streams: 8, StreamsInbound: 4, StreamsOutbound: 4, Memory: 1 << 20},
	}
}

// Manager holds a host to conns connections of both directions, a quarter kept for
// those that it makes, and to the limits of the protocols that it speaks.
func Manager(conns int, protocols ...map[protocol.ID]Stream) (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	part := connections(conns)
	part.Protocol, part.ProtocolPeer = map[protocol.ID]rcmgr.ResourceLimits{}, map[protocol.ID]rcmgr.ResourceLimits{}
	for _, list := range protocols {
		for id, l := range list {
			part.Protocol[id] = both(l.All, l.AllMiB)
			part.ProtocolPeer[id] = both(l.Peer, l.PeerMiB)
		}
	}
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(part.Build(scaling.Scale(256<<20, 1024))),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIP}, {PrefixLength: 24, ConnCount: max(connsPerIP, conns*3/8)}}, // half of what strangers may have
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: connsPerIP}, {PrefixLength: 48, ConnCount: connsPerNet6}}),
		rcmgr.WithConnRateLimiters(rates()))
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return m, nil
}

func both(streams, mib int) rcmgr.ResourceLimits {
	n := rcmgr.LimitVal(streams)
	return rcmgr.ResourceLimits{Streams: 2 * n, StreamsInbound: n, StreamsOutbound: n, Memory: rcmgr.LimitVal64(mib << 20)}
}

// rates bounds new connections of one network a second. This machine itself is not
// bounded: every node of a test network comes from there.
func rates() *rate.Limiter {
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: 2, Burst: 2 * connsPerIP}}},
			IPv6SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 56, Limit: rate.Limit{RPS: 2, Burst: 2 * connsPerIP}},
				{PrefixLength: 48, Limit: rate.Limit{RPS: 8, Burst: 2 * connsPerNet6}},
			},
			GracePeriod: time.Minute,
		},
	}
}
