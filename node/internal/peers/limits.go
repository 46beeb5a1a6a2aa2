package peers

import (
	"cmp"
	"maps"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/node/internal/peers/limits"
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

	dialTimeout = 5 * time.Second
	punchWait   = 15 * time.Second // over a relay, and until a straight way is punched
	dialsAtOnce = 4
)

// Limits bound a host. What is zero takes its usual value.
type Limits struct {
	Known   int // public nodes remembered
	Conns   int // connections of both directions; a quarter is kept for those that this node makes
	Streams int // incoming streams served at once, of all protocols; one address prefix has at most half, of these and of each protocol's
}

func (l Limits) orDefault(p Profile) Limits {
	conns := 512
	if p == Personal {
		conns = 64
	}
	return Limits{Known: cmp.Or(l.Known, maxTable), Conns: cmp.Or(l.Conns, conns), Streams: cmp.Or(l.Streams, 1024)}
}

// protocolLimits is the table of limits of every protocol that a node speaks; those of
// reaching others stand in room relay. Four fifths of the memory, which is what strangers
// may have, are more than one address prefix can take with its half of the streams: each
// with a frame that is being read (a buffer grows to 128 KiB), and one that is written.
// Of gossip, each stream may wait for a message of 64 KiB.
var protocolLimits = map[protocol.ID]limits.Stream{
	ProtoMail:        {All: 768, Peer: 32, AllMiB: 128, PeerMiB: 16},
	ProtoPost:        {All: 128, Peer: 8, AllMiB: 24, PeerMiB: 4},
	ProtoSync:        {All: 128, Peer: 8, AllMiB: 24, PeerMiB: 4},
	ProtoBlob:        {All: 64, Peer: 4, AllMiB: 32, PeerMiB: 4},
	"/meshsub/1.3.0": {All: 256, Peer: 4, AllMiB: 24, PeerMiB: 2},
	"/meshsub/1.2.0": {All: 256, Peer: 4, AllMiB: 24, PeerMiB: 2},
	"/meshsub/1.1.0": {All: 256, Peer: 4, AllMiB: 24, PeerMiB: 2},
}

// served are how many streams of each protocol are served at once: as many as libp2p
// lets in, shared among those who call.
func served() map[string]int {
	out := map[string]int{}
	for _, id := range []protocol.ID{ProtoMail, ProtoPost, ProtoSync, ProtoBlob} {
		out[string(id)] = protocolLimits[id].All
	}
	return out
}

// dhtLimit bounds the network's DHT protocol. A message takes at most 128 KiB, and a
// node needs one stream to each other node that it asks.
var dhtLimit = limits.Stream{All: 192, Peer: 4, AllMiB: 32, PeerMiB: 2}

// streamLimits are those of the protocols that a node with this DHT speaks.
func streamLimits(dht string) map[protocol.ID]limits.Stream {
	out := maps.Clone(protocolLimits)
	if dht != "" {
		out[protocol.ID(dht)] = dhtLimit
	}
	return out
}
