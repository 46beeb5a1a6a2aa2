package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

// A seat is a place at a relay.
type seat struct {
	relay    peer.ID
	prefix   string
	operator string
	at       []ma.Multiaddr // as others dial it
	until    time.Time
	tried    time.Time
	failed   bool // the last try; after a second one the seat is given up
}

// tag keeps connections to relays from being closed as unused.
const tag = "hark-seat"

// circuits are the addresses of all seats, one of each in turn. Called with mu held.
func (s *Service) circuits() (out []ma.Multiaddr) {
	for i := range perSeat {
		for _, t := range s.seats {
			if i < len(t.at) {
				out = append(out, t.at[i])
			}
		}
	}
	return out
}

// sit keeps the seats: it renews and tries those that there are, gives up those that fail,
// and looks for others.
func (s *Service) sit(ctx context.Context) {
	s.answer(true)
	for _, t := range s.taken() {
		if err := s.keep(ctx, t); err != nil && ctx.Err() == nil {
			s.cfg.Log.Info("a relay is given up", "relay", t.relay, "why", err)
			pause := againFor
			if t.failed {
				pause = shyFor
			}
			s.giveUp(t, pause)
		}
	}
	tries := 0
	for _, info := range s.cfg.Relays() {
		if len(s.taken()) >= wantSeats || tries == triesNow || ctx.Err() != nil {
			return
		}
		if !s.apart(info) {
			continue
		}
		tries++
		t, err := s.reserve(ctx, info)
		if err == nil && !s.apart(peer.AddrInfo{ID: info.ID, Addrs: t.at}) {
			err = errors.New("it is in a network where this node sits already")
		}
		if err != nil {
			s.cfg.Log.Debug("no seat at a relay", "relay", info.ID, "why", err)
			s.shun(info.ID, againFor)
			continue
		}
		if err := s.try(ctx, t); err != nil {
			s.cfg.Log.Info("a relay does not carry what it promised to", "relay", info.ID, "why", err)
			s.shun(info.ID, shyFor)
			continue
		}
		s.settle(t)
	}
}

func (s *Service) taken() []*seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seats)
}

// keep renews a seat in time and tries it now and then.
func (s *Service) keep(ctx context.Context, t *seat) error {
	now := s.cfg.Now()
	if now.After(t.until) || s.host.Network().Connectedness(t.relay) != network.Connected {
		return errors.New("it has gone")
	}
	if t.until.Sub(now) < seatLife/2 {
		fresh, err := s.reserve(ctx, peer.AddrInfo{ID: t.relay})
		if err != nil {
			return err
		}
		t.until = fresh.until
	}
	if now.Sub(t.tried) < tryPause && !t.failed {
		return nil
	}
	t.tried = now
	err := s.try(ctx, t)
	if err != nil && !t.failed {
		t.failed = true
		return nil
	}
	t.failed = err != nil
	return err
}

// apart tells whether a relay may be asked: none that failed of late, nor one of an
// operator or address prefix at which this node sits.
func (s *Service) apart(info peer.AddrInfo) bool {
	prefix, operator := "", s.operator(info.ID)
	if len(info.Addrs) > 0 {
		prefix = address.Prefix(info.Addrs[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, ok := s.shy[info.ID]; ok && s.cfg.Now().Before(until) {
		return false
	}
	return !slices.ContainsFunc(s.seats, func(t *seat) bool {
		return t.relay == info.ID || t.prefix == prefix || operator != "" && t.operator == operator
	})
}

func (s *Service) operator(id peer.ID) string {
	if s.cfg.Operator == nil {
		return ""
	}
	return s.cfg.Operator(id)
}

// reserve asks a relay for a seat. Of the addresses that it says to have those count that
// lie where this node reached it.
func (s *Service) reserve(ctx context.Context, info peer.AddrInfo) (*seat, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWait)
	defer cancel()
	if err := s.host.Connect(ctx, info); err != nil {
		return nil, fmt.Errorf("relay: dial: %w", err)
	}
	granted, err := client.Reserve(ctx, s.host, peer.AddrInfo{ID: info.ID})
	if err != nil {
		return nil, fmt.Errorf("relay: reserve: %w", err)
	}
	t := &seat{relay: info.ID, operator: s.operator(info.ID), tried: s.cfg.Now()}
	t.until = s.cfg.Now().Add(min(time.Until(granted.Expiration), seatLife))
	for _, c := range s.host.Network().ConnsToPeer(info.ID) {
		if there := c.RemoteMultiaddr(); address.Direct(there) && t.at == nil {
			t.prefix, t.at = address.Prefix(there), places(info.ID, there, granted.Addrs)
		}
	}
	if len(t.at) == 0 {
		return nil, errors.New("relay: no way leads to it that others could take")
	}
	return t, nil
}

// places are where others find a seat at a relay that was reached at there, and says to
// be in more places.
func places(relay peer.ID, there ma.Multiaddr, more []ma.Multiaddr) (out []ma.Multiaddr) {
	suffix, err := ma.NewMultiaddr("/p2p/" + relay.String() + "/p2p-circuit")
	if err != nil {
		return nil
	}
	ip := address.IPOf(there)
	all := []ma.Multiaddr{there}
	for _, a := range more {
		all = append(all, a.Decapsulate(ma.StringCast("/p2p/"+relay.String())))
	}
	for _, a := range all {
		if !address.Direct(a) || address.IPOf(a) != ip {
			continue
		}
		at := a.Encapsulate(suffix)
		if address.Circuit(at) && len(at.Bytes()) <= protocol.MaxAddr && !slices.ContainsFunc(out, at.Equal) && len(out) < perSeat {
			out = append(out, at)
		}
	}
	return out
}

// try calls this node over a seat, from a node made up for that and never seen before, so
// that a relay can't tell the call from a stranger's but by the address it comes from.
func (s *Service) try(ctx context.Context, t *seat) error {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, tag), tryWait)
	defer cancel()
	var by *client.Client
	caller, err := s.stranger(&network.NullResourceManager{}, overRelays(&by))
	if err != nil {
		return err
	}
	defer func() { _ = caller.Close() }() // nobody knew it
	if err := caller.Connect(ctx, peer.AddrInfo{ID: s.host.ID(), Addrs: t.at}); err != nil {
		return fmt.Errorf("relay: a call to this node: %w", err)
	}
	return nil
}

func (s *Service) settle(t *seat) {
	s.host.ConnManager().Protect(t.relay, tag)
	s.mu.Lock()
	s.seats = append(s.seats, t)
	s.mu.Unlock()
	s.tell()
}

func (s *Service) giveUp(t *seat, pause time.Duration) {
	s.host.ConnManager().Unprotect(t.relay, tag)
	s.shun(t.relay, pause)
	s.mu.Lock()
	s.seats = slices.DeleteFunc(s.seats, func(other *seat) bool { return other == t })
	s.mu.Unlock()
	s.tell()
}

// leave gives all seats up: this node is reached straight.
func (s *Service) leave() {
	for _, t := range s.taken() {
		s.giveUp(t, 0)
	}
	s.answer(false)
}

// tell has libp2p look again at what this node says of its addresses.
func (s *Service) tell() {
	s.mu.Lock()
	at := s.circuits()
	s.mu.Unlock()
	if err := s.updates.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: at}); err != nil {
		s.cfg.Log.Debug("the seats were not told", "why", err)
	}
}

// shun asks a relay no more for a while.
func (s *Service) shun(id peer.ID, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	soonest := id
	for other, until := range s.shy {
		if !now.Before(until) {
			delete(s.shy, other)
		} else if soonest == id || until.Before(s.shy[soonest]) {
			soonest = other
		}
	}
	if _, again := s.shy[id]; !again && len(s.shy) >= s.cfg.Limits.Shy {
		delete(s.shy, soonest)
	}
	if pause > 0 {
		s.shy[id] = now.Add(pause)
	}
}

// answer lets this node be called over relays from now on, or not. Run alone calls it.
func (s *Service) answer(yes bool) {
	switch {
	case yes && !s.called:
		s.circuit.Start()
	case !yes && s.called:
		s.host.RemoveStreamHandler(proto.ProtoIDv2Stop)
	}
	s.called = yes
}
