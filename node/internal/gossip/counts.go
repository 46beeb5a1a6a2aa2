package gossip

import (
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Counts are what the router did since it started. Messages are single announcements,
// RPCs are what carries them and the mesh's own talk.
type Counts struct {
	Kept, Ignored, Blamed    int64 // messages, by verdict
	Throttled                int64 // messages dropped unheard: too many at once
	Duplicates               int64
	Grafts, Prunes           int64
	GatedPeers               int64 // refused by the gater
	ReceivedRPC, SentRPC     int64
	ReceivedBytes, SentBytes int64 // of the messages in them, without the talk around
	DroppedRPC               int64 // a peer's queue was full
}

// A tally counts for Counts. It implements pubsub.RawTracer; all its methods may be
// called from several goroutines.
type tally struct {
	listener

	kept, ignored, blamed, throttled, duplicates  atomic.Int64
	grafts, prunes, gated                         atomic.Int64
	receivedRPC, sentRPC, received, sent, dropped atomic.Int64
}

var _ pubsub.RawTracer = (*tally)(nil)

// Counts gives what the router did since it started.
func (g *Gossip) Counts() Counts {
	t := g.tally
	return Counts{
		Kept: t.kept.Load(), Ignored: t.ignored.Load(), Blamed: t.blamed.Load(), Throttled: t.throttled.Load(),
		Duplicates: t.duplicates.Load(), Grafts: t.grafts.Load(), Prunes: t.prunes.Load(), GatedPeers: t.gated.Load(),
		ReceivedRPC: t.receivedRPC.Load(), SentRPC: t.sentRPC.Load(), ReceivedBytes: t.received.Load(), SentBytes: t.sent.Load(),
		DroppedRPC: t.dropped.Load(),
	}
}

// Graft implements pubsub.RawTracer.
func (t *tally) Graft(peer.ID, string) { t.grafts.Add(1) }

// Prune implements pubsub.RawTracer.
func (t *tally) Prune(peer.ID, string) { t.prunes.Add(1) }

// DeliverMessage implements pubsub.RawTracer.
func (t *tally) DeliverMessage(*pubsub.Message) { t.kept.Add(1) }

// RejectMessage implements pubsub.RawTracer.
func (t *tally) RejectMessage(_ *pubsub.Message, why string) {
	switch why {
	case pubsub.RejectValidationIgnored:
		t.ignored.Add(1)
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		t.throttled.Add(1)
	default:
		t.blamed.Add(1)
	}
}

// DuplicateMessage implements pubsub.RawTracer.
func (t *tally) DuplicateMessage(*pubsub.Message) { t.duplicates.Add(1) }

// ThrottlePeer implements pubsub.RawTracer.
func (t *tally) ThrottlePeer(peer.ID) { t.gated.Add(1) }

// RecvRPC implements pubsub.RawTracer.
func (t *tally) RecvRPC(r *pubsub.RPC) {
	t.receivedRPC.Add(1)
	t.received.Add(load(r))
}

// SendRPCCompleted implements pubsub.RawTracer.
func (t *tally) SendRPCCompleted(r *pubsub.RPC, _ peer.ID, _ time.Duration) {
	t.sentRPC.Add(1)
	t.sent.Add(load(r))
}

// DropRPC implements pubsub.RawTracer.
func (t *tally) DropRPC(*pubsub.RPC, peer.ID) { t.dropped.Add(1) }

// load is the bytes of the messages in an RPC. What the RPC has on the wire would have
// to be worked out anew, on the path of every message.
func load(r *pubsub.RPC) (n int64) {
	for _, m := range r.GetPublish() {
		n += int64(len(m.GetData()))
	}
	return n
}
