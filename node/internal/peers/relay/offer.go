package relay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers/address"
)

// An offer is the relaying that a node does for others. It is the relay's
// relay.ACLFilter.
type offer struct {
	s      *Service
	server *relay.Relay // nil: shut
	mu     sync.Mutex
	guests map[peer.ID]guest
}

// A guest has a seat here.
type guest struct {
	from  string
	until time.Time
}

func newOffer(s *Service) *offer { return &offer{s: s, guests: map[peer.ID]guest{}} }

// open begins to relay. Only Run calls it, and shut.
func (o *offer) open() {
	if o.server != nil {
		return
	}
	l := o.s.cfg.Limits
	server, err := relay.New(doorman{o.s.host, l.CircuitsOf}, relay.WithACL(o), relay.WithResources(relay.Resources{
		Limit: &relay.RelayLimit{Duration: l.Life, Data: l.Data}, ReservationTTL: seatLife, BufferSize: 4096,
		MaxReservations: l.Seats, MaxReservationsPerIP: l.SeatsOf, MaxReservationsPerASN: l.Seats,
		MaxCircuits: l.CircuitsOf,
	}), relay.WithReservationAddressFilter(address.Direct))
	if err != nil {
		o.s.cfg.Log.Warn("this node can't relay for others", "why", err)
		return
	}
	o.server = server
}

// shut ends it, and every circuit with it.
func (o *offer) shut() {
	if o.server == nil {
		return
	}
	if err := o.server.Close(); err != nil {
		o.s.cfg.Log.Warn("relaying did not end in good order", "why", err)
	}
	o.server = nil
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.guests)
}

// AllowReserve implements relay.ACLFilter: public nodes of this network, at most so
// many, and so many of one address prefix.
func (o *offer) AllowReserve(id peer.ID, at ma.Multiaddr) bool {
	speaks, err := o.s.host.Peerstore().SupportsProtocols(id, o.s.cfg.Member)
	if err != nil || len(speaks) == 0 {
		return false
	}
	from := address.Prefix(at)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prune()
	if _, again := o.guests[id]; !again {
		same := 0
		for _, g := range o.guests {
			if g.from == from {
				same++
			}
		}
		if same >= o.s.cfg.Limits.SeatsOf || len(o.guests) >= o.s.cfg.Limits.Seats {
			return false
		}
	}
	o.guests[id] = guest{from, time.Now().Add(seatLife)}
	return true
}

// AllowConnect implements relay.ACLFilter: anybody may call a guest, since customers
// have nothing to show that they are of this network; who has no seat is not called.
func (o *offer) AllowConnect(_ peer.ID, _ ma.Multiaddr, to peer.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prune()
	_, ok := o.guests[to]
	return ok
}

// prune forgets guests that have gone: libp2p takes their seat away as well. Called with
// mu held.
func (o *offer) prune() {
	now := time.Now()
	for id, g := range o.guests {
		if now.After(g.until) || o.s.host.Network().Connectedness(id) != network.Connected {
			delete(o.guests, id)
		}
	}
}

func (o *offer) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prune()
	return len(o.guests)
}

// circuits counts those that are open: each has one stream to its guest.
func (o *offer) circuits() (n int) {
	for _, c := range o.s.host.Network().Conns() {
		n += streams(c, proto.ProtoIDv2Stop, network.DirOutbound)
	}
	return n
}

func streams(c network.Conn, of wireproto.ID, way network.Direction) (n int) {
	for _, s := range c.GetStreams() {
		if s.Protocol() == of && s.Stat().Direction == way {
			n++
		}
	}
	return n
}

// A doorman is the host that the relay serves on: streams of one address prefix, idle
// ones too, are so many and no more.
type doorman struct {
	host.Host
	most int
}

// SetStreamHandler implements host.Host.
func (d doorman) SetStreamHandler(id wireproto.ID, serve network.StreamHandler) {
	d.Host.SetStreamHandler(id, func(s network.Stream) {
		from, n := address.Prefix(s.Conn().RemoteMultiaddr()), 0
		for _, c := range d.Network().Conns() {
			if address.Prefix(c.RemoteMultiaddr()) == from {
				n += streams(c, id, network.DirInbound)
			}
		}
		if n > d.most {
			_ = s.ResetWithError(network.StreamResourceLimitExceeded) // it is told, or gone
			return
		}
		serve(s)
	})
}
