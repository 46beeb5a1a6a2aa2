package peers

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Bounds of one node. Streams and bytes of the protocols stand in protocolLimits.
const (
	maxTable   = 256 // public nodes remembered
	plenty     = 64  // of these: whoever knows as many asks in its own time, not everyone it meets
	maxShare   = 32  // of these, told to one who asks
	maxWorkers = 32  // goroutines that keep connections up

	maxAddrBook = 16384 // addresses of nodes without a connection, of all that anybody named

	publicTarget   = 8 // connections that the loop keeps to public nodes
	personalTarget = 4

	dialTimeout  = 5 * time.Second
	dialsAtOnce  = 4
	connsPerIP   = 64 // several customers share one address (an office, a mobile network)
	connsPerNet6 = 256
)

// Limits bound a host. What is zero takes its usual value.
type Limits struct {
	Known   int // public nodes remembered
	Conns   int // connections of both directions; a quarter is kept for those that this node makes
	Streams int // incoming streams served at once, of all protocols; one address prefix has at most half
}

func (l Limits) orDefault(p Profile) Limits {
	conns := 512
	if p == Personal {
		conns = 64
	}
	return Limits{Known: cmp.Or(l.Known, maxTable), Conns: cmp.Or(l.Conns, conns), Streams: cmp.Or(l.Streams, 1024)}
}

// A streamLimit bounds one protocol: streams in all and of one peer, each way, and
// the memory (MiB) that libp2p may reserve for them, in all and for one peer.
type streamLimit struct{ all, peer, allMiB, peerMiB int }

// protocolLimits is the table of limits of every protocol that a node speaks.
var protocolLimits = map[protocol.ID]streamLimit{
	ProtoMail:         {768, 32, 64, 16},
	ProtoPost:         {128, 8, 16, 4},
	ProtoSync:         {128, 8, 16, 4},
	"/meshsub/1.3.0":  {256, 4, 16, 2},
	"/meshsub/1.2.0":  {256, 4, 16, 2},
	"/meshsub/1.1.0":  {256, 4, 16, 2},
	"/floodsub/1.0.0": {8, 1, 1, 1}, // spoken by nobody here
}

// dhtLimit bounds the network's DHT protocol. A message takes at most 128 KiB, and a
// node needs one stream to each other node that it asks.
var dhtLimit = streamLimit{192, 4, 32, 2}

// connectionLimits bounds connections and streams of all peers together and of one.
// Whoever fills up what strangers may have leaves room for this node to reach others.
func connectionLimits(l Limits) rcmgr.PartialLimitConfig {
	conns := rcmgr.LimitVal(l.Conns)
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
		ProtocolDefault:     rcmgr.ResourceLimits{Streams: 64, StreamsInbound: 32, StreamsOutbound: 32, Memory: 4 << 20},
		ProtocolPeerDefault: rcmgr.ResourceLimits{Streams: 8, StreamsInbound: 4, StreamsOutbound: 4, Memory: 1 << 20},
	}
}

func newResourceManager(l Limits, dht string) (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	part := connectionLimits(l)
	part.Protocol, part.ProtocolPeer = map[protocol.ID]rcmgr.ResourceLimits{}, map[protocol.ID]rcmgr.ResourceLimits{}
	for id, l := range protocolLimits {
		part.Protocol[id] = both(l.all, l.allMiB)
		part.ProtocolPeer[id] = both(l.peer, l.peerMiB)
	}
	if dht != "" {
		part.Protocol[protocol.ID(dht)] = both(dhtLimit.all, dhtLimit.allMiB)
		part.ProtocolPeer[protocol.ID(dht)] = both(dhtLimit.peer, dhtLimit.peerMiB)
	}
	limits := part.Build(scaling.Scale(256<<20, 1024))
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: connsPerIP}, {PrefixLength: 48, ConnCount: connsPerNet6}}),
		rcmgr.WithConnRateLimiters(connRates()))
	if err != nil {
		return nil, fmt.Errorf("peers: limits: %w", err)
	}
	return m, nil
}

func both(streams, mib int) rcmgr.ResourceLimits {
	n := rcmgr.LimitVal(streams)
	return rcmgr.ResourceLimits{Streams: 2 * n, StreamsInbound: n, StreamsOutbound: n, Memory: rcmgr.LimitVal64(mib << 20)}
}

// connRates bounds new connections of one network a second. This machine itself is
// not bounded: every node of a test network comes from there.
func connRates() *rate.Limiter {
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
