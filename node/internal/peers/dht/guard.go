package dht

import (
	"context"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/peers/dht/hoard"
	"github.com/harkmarket/hark/protocol"
)

// refused is a kind of message that does not exist.
const refused pb.Message_MessageType = 127

// A guard stands before the library, and tells the stores where a record comes from.
type guard struct {
	values    *hoard.Values
	providers *hoard.Providers
	budgets   *budget.Budgets // Relayed counts records that are put
}

// request sees every request before the library does. One that is over a budget, or
// carries too much, gets a kind that nobody serves: the library ends the stream.
func (g guard) request(_ context.Context, s network.Stream, m *pb.Message) {
	f, ok := s.(*framed)
	if !ok || !g.fair(f.from, m) {
		m.Type = refused
		return
	}
	switch m.GetType() {
	case pb.Message_PUT_VALUE:
		g.values.Note(f, f.from, string(m.GetKey()))
	case pb.Message_ADD_PROVIDER:
		g.providers.Note(s.Conn().RemotePeer(), f.from)
	}
}

func (g guard) fair(from string, m *pb.Message) bool {
	if g.budgets.Caller(from, 1) != nil {
		return false
	}
	switch m.GetType() {
	case pb.Message_PUT_VALUE:
		return len(m.GetRecord().GetValue()) <= protocol.MaxChainValue && g.budgets.Relayed(from)
	case pb.Message_ADD_PROVIDER:
		return len(m.GetProviderPeers()) == 1 && g.budgets.Relayed(from)
	}
	return true
}

// ended forgets a stream.
func (g guard) ended(f *framed) { g.values.Note(f, "", "") }
