package relay

import (
	"cmp"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"

	"github.com/harkmarket/hark/node/internal/peers/limits"
)

// Limits bound what a node does for others. What is zero takes its usual value.
type Limits struct {
	Seats      int           // reservations, of all
	SeatsOf    int           // of one address prefix
	CircuitsOf int           // at once, of one node, and of callers of one address prefix
	Data       int64         // bytes of a circuit, each way
	Life       time.Duration // of a circuit
	Questions  int           // of AutoNAT a minute, of all
	Shy        int           // relays remembered that failed
}

// maxCircuits is how many circuits a relay carries at once: each takes one stream to
// the one who is called, of which there are no more.
const maxCircuits = 64

func (l Limits) orDefault() Limits {
	return Limits{
		Seats: cmp.Or(l.Seats, 64), SeatsOf: cmp.Or(l.SeatsOf, 4), CircuitsOf: cmp.Or(l.CircuitsOf, 8), Data: cmp.Or(l.Data, 1<<20),
		Life: cmp.Or(l.Life, 2*time.Minute), Questions: cmp.Or(l.Questions, 60), Shy: cmp.Or(l.Shy, 64),
	}
}

// The other bounds.
const (
	questionsOf   = 12 // a minute, of one node
	questionsData = 12 // a minute, of those that cost the asker data, since they lead elsewhere
	questionsNow  = 2  // at once, of one node

	wantSeats = 2 // that a node takes
	perSeat   = 2 // addresses of one relay that are announced
	triesNow  = 4 // relays asked before this node looks around again
	maxPunch  = 4 // addresses of the other side that a punch dials
)

// How long things last.
const (
	seatLife  = 30 * time.Minute // granted
	tryPause  = 5 * time.Minute  // between two tries of a seat
	tryWait   = 10 * time.Second
	shyFor    = 10 * time.Minute // a relay that did not carry is not asked again; it may have been this node
	againFor  = 2 * time.Minute  // one that could not be had just now
	lookPause = 5 * time.Second
)

// Streams bounds the protocols of reaching others.
var Streams = map[protocol.ID]limits.Stream{
	proto.ProtoIDv2Hop:         {All: 256, Peer: 8, AllMiB: 8, PeerMiB: 1},
	proto.ProtoIDv2Stop:        {All: maxCircuits, Peer: 32, AllMiB: 8, PeerMiB: 4},
	holepunch.Protocol:         {All: 32, Peer: 2, AllMiB: 1, PeerMiB: 1},
	autonatv2.DialProtocol:     {All: 32, Peer: 4, AllMiB: 4, PeerMiB: 1},
	autonatv2.DialBackProtocol: {All: 16, Peer: 2, AllMiB: 1, PeerMiB: 1},
}
