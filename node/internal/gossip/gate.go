package gossip

import (
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/node/internal/peers/limits"
)

// A gate is a host that charges what the router reads to the limits of its protocols,
// and ends a stream whose message begins and does not come: the router would wait for it
// with 64 KiB set aside.
type gate struct {
	host.Host
	most int
}

// SetStreamHandler implements host.Host.
func (g gate) SetStreamHandler(id protocol.ID, serve network.StreamHandler) {
	g.Host.SetStreamHandler(id, func(s network.Stream) { serve(limits.NewMessages(s, uint64(g.most))) })
}
