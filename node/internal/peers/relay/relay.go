package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/fx"

	"github.com/harkmarket/hark/node/internal/peers/address"
)

// A Verdict says whether others reach a node straight.
type Verdict int8

// The verdicts.
const (
	No      Verdict = -1
	Unknown Verdict = 0
	Yes     Verdict = 1
)

// Config is what a Service needs.
type Config struct {
	Public   bool                   // a personal node dials over relays, and nothing else
	Announce []ma.Multiaddr         // where its operator says that it is reached
	Member   wireproto.ID           // a protocol that every public node of this network speaks
	Relays   func() []peer.AddrInfo // public nodes reached straight, best first
	Operator func(peer.ID) string   // who runs a node, "" where unknown; may be nil
	Wire     []libp2p.Option        // transports and security, for the nodes made up to try things
	Limits   Limits
	Log      *slog.Logger
	Now      func() time.Time
}

// A Service is a node's part in reaching those behind NATs. Make it with New, put its
// Options into the host, Attach the host, and Run it.
type Service struct {
	cfg     Config
	host    host.Host
	circuit *client.Client
	dialer  host.Host // of AutoNAT's answers; closed with the host
	updates event.Emitter
	offer   *offer
	asked   window
	called  bool // over relays, if somebody does

	mu                     sync.Mutex
	verdict                Verdict
	reachable, unreachable []ma.Multiaddr
	seats                  []*seat
	shy                    map[peer.ID]time.Time // relays not to be asked before
}

// New makes a service.
func New(cfg Config) *Service {
	cfg.Limits = cfg.Limits.orDefault()
	return &Service{cfg: cfg, shy: map[peer.ID]time.Time{}, asked: window{now: cfg.Now}}
}

// Options are what the host needs, under its limits.
func (s *Service) Options(limits network.ResourceManager) ([]libp2p.Option, error) {
	out := []libp2p.Option{libp2p.DisableRelay(), overRelays(&s.circuit)}
	if !s.cfg.Public {
		return append(out, libp2p.DisableIdentifyAddressDiscovery()), nil
	}
	nat, err := s.autoNAT(limits)
	if err != nil {
		return nil, err
	}
	return append(out, nat, libp2p.EnableHolePunching(holepunch.WithAddrFilter(far{})), libp2p.ConnectionGater(gate{s})), nil
}

// overRelays adds the transport over relays, which so far only dials: libp2p's own option
// would have every node take calls over it.
func overRelays(into **client.Client) libp2p.Option {
	return libp2p.WithFxOption(fx.Invoke(func(h host.Host, up transport.Upgrader) error {
		n, ok := h.Network().(transport.TransportNetwork)
		if !ok {
			return errors.New("relay: the network takes no transport")
		}
		c, err := client.New(h, up)
		if err == nil {
			err = n.AddTransport(c)
		}
		*into = c
		return err
	}))
}

// Attach takes the host that was made with Options.
func (s *Service) Attach(h host.Host) (err error) {
	s.mu.Lock()
	s.host = h // libp2p's loops run already, and call Say
	s.mu.Unlock()
	if !s.cfg.Public {
		return nil
	}
	if len(s.cfg.Announce) > 0 {
		s.verdict = Yes
	}
	s.offer = newOffer(s)
	if s.updates, err = h.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated)); err != nil {
		return fmt.Errorf("relay: events: %w", err)
	}
	if err := h.Network().Listen(ma.StringCast("/p2p-circuit")); err != nil {
		return fmt.Errorf("relay: listen: %w", err)
	}
	return nil
}

// Abandon ends what Options began, where no host came of it.
func (s *Service) Abandon() {
	if s.dialer != nil {
		_ = s.dialer.Close() // nothing hangs on it
	}
}

// Run is the loop: it follows AutoNAT's verdict, and offers or sits accordingly.
func (s *Service) Run(ctx context.Context) {
	defer s.end()
	for ctx.Err() == nil {
		switch s.look() {
		case Yes:
			s.leave()
			s.offer.open()
		case No:
			s.offer.shut()
			s.sit(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookPause):
		}
	}
}

func (s *Service) end() {
	s.offer.shut()
	_ = s.updates.Close() // nobody listens any more
}

// look takes AutoNAT's verdict. One address that is reached is enough; none that is, and
// one of which others found that they don't get through, is a no.
func (s *Service) look() Verdict {
	var reachable, unreachable []ma.Multiaddr
	if h, ok := s.host.(interface {
		ConfirmedAddrs() (reachable, unreachable, unknown []ma.Multiaddr)
	}); ok {
		reachable, unreachable, _ = h.ConfirmedAddrs()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reachable, s.unreachable = reachable, unreachable
	switch {
	case len(s.cfg.Announce) > 0 || len(reachable) > 0:
		s.verdict = Yes
	case len(unreachable) > 0:
		s.verdict = No
	}
	return s.verdict
}

// A Report says what is known of how a public node is reached.
type Report struct {
	Verdict   Verdict
	Announced bool           // by its operator; nobody else was asked
	At        []ma.Multiaddr // where it is reached, or is not
	Relays    []ma.Multiaddr // the seats that it announces
}

// Report tells it.
func (s *Service) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Report{Verdict: s.verdict, At: s.reachable, Relays: s.circuits()}
	switch {
	case len(s.cfg.Announce) > 0:
		r.Announced, r.At = true, s.cfg.Announce
	case s.verdict == No:
		r.At = s.unreachable
	}
	r.At = slices.Clone(r.At)
	return r
}

// Say is what a public node tells others of where it is: what it was told to announce;
// where it listens and is not known to be out of reach, or others got through; and
// behind a NAT its seats. Where others merely see it, nobody may get through.
func (s *Service) Say(listen []ma.Multiaddr) []ma.Multiaddr {
	if len(s.cfg.Announce) > 0 {
		return address.Best(s.cfg.Announce)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.circuits(); s.verdict == No && len(at) > 0 {
		return address.Best(at)
	}
	if s.host != nil {
		if own, err := s.host.Network().InterfaceListenAddresses(); err == nil {
			listen = slices.DeleteFunc(own, func(a ma.Multiaddr) bool { return !address.Direct(a) })
		}
	}
	straight := slices.DeleteFunc(slices.Concat(s.reachable, listen), func(a ma.Multiaddr) bool {
		return slices.ContainsFunc(s.unreachable, a.Equal)
	})
	if len(straight) == 0 {
		straight = slices.Clone(listen) // better a place that may be wrong than none
	}
	return address.Advertised(straight, nil)
}

// Carries tells whether streams of a protocol may go over a relay.
func Carries(proto string) bool { return proto == "/hark/mail/1" || proto == "/hark/post/1" }

// A Fill is how full a bounded thing is.
type Fill struct{ At, Limit int }

// Fills are the bounded things and their fill; none of a personal node.
func (s *Service) Fills() map[string]Fill {
	if !s.cfg.Public {
		return nil
	}
	s.mu.Lock()
	seats, shy := len(s.seats), len(s.shy)
	s.mu.Unlock()
	return map[string]Fill{
		"seats": {seats, wantSeats}, "shy": {shy, s.cfg.Limits.Shy}, "reservations": {s.offer.size(), s.cfg.Limits.Seats},
		"circuits": {s.offer.circuits(), maxCircuits}, "questions": {s.asked.size(), s.cfg.Limits.Questions},
	}
}
