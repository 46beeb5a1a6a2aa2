package dht

import (
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/node/internal/peers/limits"
)

// maxMessage is the longest message of the DHT, either way: a value and twenty nodes,
// or the providers of a place. The library would set aside 4 MiB on a stranger's word.
const maxMessage = 128 << 10

// A gate is a host that lets the DHT see no message longer than maxMessage, and charges
// what it reads to the DHT's limit.
type gate struct {
	host.Host
	where func(peer.ID) string
	ended func(*framed)
}

// A framed stream is one that the gate let in.
type framed struct {
	*limits.Messages
	from string // the other side's address prefix
}

// SetStreamHandler implements host.Host.
func (g gate) SetStreamHandler(id wireproto.ID, serve network.StreamHandler) {
	g.Host.SetStreamHandler(id, func(s network.Stream) {
		f := &framed{limits.NewMessages(s, maxMessage), g.where(s.Conn().RemotePeer())}
		defer g.ended(f)
		serve(f)
	})
}

// NewStream implements host.Host.
func (g gate) NewStream(ctx context.Context, p peer.ID, ids ...wireproto.ID) (network.Stream, error) {
	s, err := g.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return limits.NewMessages(s, maxMessage), nil
}
