package peers

import (
	"context"
	"io"
	"time"

	"github.com/harkmarket/hark/protocol"
)

// The stream protocols of version 1.
const (
	ProtoMail = "/hark/mail/1"
	ProtoPost = "/hark/post/1"
	ProtoSync = "/hark/sync/1"
	ProtoBlob = "/hark/blob/1"
)

// A Conn is one ordered, encrypted stream between two nodes.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Reset ends the stream at once, without waiting for the other side.
	Reset() error
}

// A Handler serves one incoming stream and returns when it is done. from is the
// address prefix of the caller (/24 or /56), to which budgets are charged.
type Handler func(ctx context.Context, c Conn, from string)

// A Hear judges bytes that arrived by gossip on a shard's topic. It answers 0 to
// keep and pass on, 1 to ignore, 2 to blame the peer that handed them in
// (check.Verdict).
type Hear func(ctx context.Context, raw []byte, shard uint16, from string) uint8

// A Port is all that a node can do to the network, and all that the network can do
// to it: the real one stands on libp2p, the simulated one (node/nodetest) on
// memory and fake time.
type Port interface {
	// Self is this node as others may name it: its keeper key and, where it
	// listens, its addresses.
	Self() protocol.Keeper
	// Dial opens a stream to a keeper. fault.Offline where it can't be reached.
	Dial(ctx context.Context, to protocol.Keeper, proto string) (Conn, error)
	// Serve answers streams of a protocol from now on; public nodes only.
	Serve(proto string, h Handler)
	// Join subscribes to the topics of shards and hands what arrives to hear;
	// public nodes only. It may be called again with other shards.
	Join(shards []uint16, hear Hear) error
	// Publish gossips bytes that have already passed the door.
	Publish(ctx context.Context, shard uint16, raw []byte) error
	// Keepers lists the public nodes known and thought alive, at most n, own one
	// excluded, drawn in random order.
	Keepers(n int) []protocol.Keeper
	// Close leaves the network; streams end.
	Close(ctx context.Context) error
}
