package node_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	relaying "github.com/harkmarket/hark/node/internal/peers/relay"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// relayFloods are done to real hosts on the simulated network.
var relayFloods = map[string]func(t *testing.T){
	"relay.reservations": reservationFlood,
	"relay.circuits":     circuitFlood,
	"relay.questions":    questionFlood,
	"relay.seats":        seatFlood,
	"relay.shy":          shyFlood,
}

// A square is a simulated network with a relay on it, and whoever comes to flood it.
type square struct {
	*testing.T
	net   *netem.Net
	all   []interface{ Close() error }
	relay *peers.Host
}

type closing struct{ *peers.Host }

func (c closing) Close() error { return c.Host.Close(context.Background()) }

// onSquare runs a flood of a relay with these limits.
func onSquare(t *testing.T, lim relaying.Limits, run func(s *square)) {
	synctest.Test(t, func(t *testing.T) {
		s := &square{T: t, net: netem.New(netem.Config{Latency: 5 * time.Millisecond})}
		at := s.net.Add()
		s.relay = s.node(at, func(c *peers.Config) { c.Relay, c.Announce = lim, []string{at.Listen()} })
		time.Sleep(10 * time.Second)
		run(s)
		for _, h := range slices.Backward(s.all) {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		s.net.Close()
		time.Sleep(10 * time.Minute)
	})
}

// node opens a public node of ours.
func (s *square) node(at *netem.Host, with func(*peers.Config), bootstrap ...protocol.Keeper) *peers.Host {
	s.Helper()
	cfg := peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(), Bootstrap: bootstrap,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Target: 1,
	}
	with(&cfg)
	h, err := peers.Open(context.Background(), cfg)
	if err != nil {
		s.Fatal(err)
	}
	for _, proto := range []string{peers.ProtoMail, peers.ProtoSync} {
		h.Serve(proto, func(_ context.Context, c peers.Conn, _ string) { _, _ = io.Copy(c, c) })
	}
	s.all = append(s.all, closing{h})
	return h
}

// stranger is a bare libp2p host that claims to be a public node, and is connected.
func (s *square) stranger(at *netem.Host) host.Host {
	s.Helper()
	h, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.Security(tls.ID, tls.New), libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.EnableRelay(), libp2p.NoListenAddrs)...)
	if err != nil {
		s.Fatal(err)
	}
	s.all = append(s.all, h)
	h.SetStreamHandler(peers.ProtoSync, func(st network.Stream) { _ = st.Close() })
	if err := h.Connect(context.Background(), s.at()); err != nil {
		s.Fatal(err)
	}
	time.Sleep(time.Second) // each learns what the other speaks
	return h
}

func (s *square) at() peer.AddrInfo {
	s.Helper()
	info := address.Info(s.relay.Self())
	if len(info.Addrs) == 0 {
		s.Fatal("the relay is nowhere")
	}
	return info
}

func (s *square) fill(name string) peers.Fill {
	s.Helper()
	f := s.relay.Relay().Fills()[name]
	if f.At > f.Limit {
		s.Fatalf("%s: %d of %d", name, f.At, f.Limit)
	}
	return peers.Fill(f)
}

func (s *square) reserve(h host.Host) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := client.Reserve(ctx, h, peer.AddrInfo{ID: s.at().ID})
	return err
}

// reservationFlood wants more seats than there are, and more than one network may have.
// Who is of no Hark network gets none.
func reservationFlood(t *testing.T) {
	onSquare(t, relaying.Limits{Seats: 6, SeatsOf: 2}, func(s *square) {
		one := s.net.Add()
		granted := 0
		for range 5 {
			if s.reserve(s.stranger(one)) == nil {
				granted++
			}
		}
		if granted != 2 {
			s.Errorf("one address prefix has %d seats, want 2", granted)
		}
		foreign := s.stranger(s.net.Add())
		foreign.RemoveStreamHandler(peers.ProtoSync)
		time.Sleep(time.Second)
		if s.reserve(foreign) == nil {
			s.Error("a seat for somebody of no Hark network")
		}
		for range 8 {
			if s.reserve(s.stranger(s.net.Add())) == nil {
				granted++
			}
		}
		if f := s.fill("reservations"); granted != 6 || f != (peers.Fill{At: 6, Limit: 6}) {
			s.Errorf("%d seats were granted, %+v", granted, f)
		}
		guest := s.all[1].(host.Host) // who has one renews it
		if err := s.reserve(guest); err != nil {
			s.Errorf("a guest who renews: %v", err)
		}
		if err := guest.Network().ClosePeer(s.at().ID); err != nil {
			s.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := s.reserve(s.stranger(s.net.Add())); err != nil {
			s.Errorf("a seat that became free: %v", err)
		}
	})
}

// circuitFlood calls guests more often than a relay carries, and more often than one
// network may.
func circuitFlood(t *testing.T) {
	onSquare(t, relaying.Limits{CircuitsOf: 12, SeatsOf: 4}, func(s *square) {
		var guests []host.Host // a bare host takes seven calls that come from one address
		for range 12 {
			h := s.stranger(s.net.Add())
			if err := s.reserve(h); err != nil {
				s.Fatal(err)
			}
			guests = append(guests, h)
		}
		call := func(h host.Host, to host.Host) error {
			ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(context.Background(), "flood"), 30*time.Second)
			defer cancel()
			return h.Connect(ctx, peer.AddrInfo{ID: to.ID(), Addrs: []ma.Multiaddr{
				s.at().Addrs[0].Encapsulate(ma.StringCast("/p2p/" + s.at().ID.String() + "/p2p-circuit")),
			}})
		}
		office, through := s.net.Add(), 0
		for range 3 {
			h := s.stranger(office)
			for _, g := range guests {
				if call(h, g) == nil {
					through++
				}
			}
		}
		if f := s.fill("circuits"); through != 12 || f.At != 12 {
			s.Errorf("one address prefix has %d circuits, %+v; want 12", through, f)
		}
		for range 9 {
			h := s.stranger(s.net.Add())
			for _, g := range guests {
				if call(h, g) == nil {
					through++
				}
			}
			s.fill("circuits")
		}
		if f := s.fill("circuits"); f.At != f.Limit || through != f.Limit {
			s.Errorf("%d circuits were opened, %+v", through, f)
		}
		time.Sleep(3 * time.Minute) // their life ends
		if f := s.fill("circuits"); f.At != 0 {
			s.Errorf("after their life %+v", f)
		}
		if err := call(s.stranger(s.net.Add()), guests[0]); err != nil {
			s.Errorf("a call once they ended: %v", err)
		}
	})
}

// questionFlood asks AutoNAT for more than it answers in a minute. Each asks the relay to
// dial him at a place where he is not.
func questionFlood(t *testing.T) {
	onSquare(t, relaying.Limits{Questions: 10}, func(s *square) {
		ask := func(h host.Host) error {
			st, err := h.NewStream(context.Background(), s.at().ID, autonatv2.DialProtocol)
			if err != nil {
				return err
			}
			defer func() { _ = st.Reset() }()
			_ = st.SetDeadline(time.Now().Add(time.Minute))
			from := h.Network().ConnsToPeer(s.at().ID)[0].LocalMultiaddr() // nobody listens there
			err = util.NewDelimitedWriter(st).WriteMsg(&pb.Message{Msg: &pb.Message_DialRequest{
				DialRequest: &pb.DialRequest{Addrs: [][]byte{from.Bytes()}, Nonce: 7},
			}})
			if err != nil {
				return err
			}
			var answer pb.Message
			if err := util.NewDelimitedReader(st, 8192).ReadMsg(&answer); err != nil {
				return err
			}
			if got := answer.GetDialResponse().GetStatus(); got != pb.DialResponse_OK {
				return fmt.Errorf("status %v", got)
			}
			return nil
		}
		done := make(chan error, 30)
		for range 30 {
			h := s.stranger(s.net.Add())
			time.AfterFunc(0, func() { done <- ask(h) })
		}
		answered := 0
		for range 30 {
			if <-done == nil {
				answered++
			}
		}
		if f := s.fill("questions"); answered != 10 || f != (peers.Fill{At: 10, Limit: 10}) {
			s.Errorf("%d questions were answered, %+v", answered, f)
		}
		time.Sleep(2 * time.Minute)
		if f := s.fill("questions"); f.At != 0 {
			s.Errorf("two minutes later %+v", f)
		}
		if err := ask(s.stranger(s.net.Add())); err != nil {
			s.Errorf("somebody else, then: %v", err)
		}
	})
}

// seatFlood gives a node behind a NAT more relays than it wants, and takes away those at
// which it sits, one after the other.
func seatFlood(t *testing.T) {
	onSquare(t, relaying.Limits{}, func(s *square) {
		open := []*peers.Host{s.relay}
		known := []protocol.Keeper{s.relay.Self()}
		for range 6 {
			at := s.net.Add()
			h := s.node(at, func(c *peers.Config) { c.Announce = []string{at.Listen()} }, known...)
			open, known = append(open, h), append(known, h.Self())
		}
		h := s.behind(relaying.Limits{}, known...)
		full := func() bool { f := h.Relay().Fills()["seats"]; return f == (relaying.Fill{At: 2, Limit: 2}) }
		s.until("two seats", full)
		for range 3 {
			gone := h.Self().Addrs
			for _, o := range open {
				if near(o.Self(), gone[0]) {
					if err := o.Libp2p().Network().Close(); err != nil {
						s.Fatal(err)
					}
				}
			}
			s.until("another seat in place of one that went", func() bool {
				return full() && !slices.ContainsFunc(h.Self().Addrs, func(raw []byte) bool { return string(raw) == string(gone[0]) })
			})
			time.Sleep(10 * time.Minute)
		}
	})
}

// shyFlood has a node behind a NAT know many relays that give it no seat. It remembers so
// many and no more, and finds two that do.
func shyFlood(t *testing.T) {
	onSquare(t, relaying.Limits{Seats: 1}, func(s *square) {
		known := []protocol.Keeper{s.relay.Self()}
		for range 12 {
			at := s.net.Add()
			h := s.node(at, func(c *peers.Config) { c.Announce, c.Relay = []string{at.Listen()}, relaying.Limits{Seats: 1} }, known...)
			time.Sleep(10 * time.Second)
			s.relay = h
			if err := s.reserve(s.stranger(s.net.Add())); err != nil { // who takes its only seat
				s.Fatal(err)
			}
			known = append(known, h.Self())
		}
		h := s.behind(relaying.Limits{Shy: 8}, known[1:]...)
		s.until("it remembers all that it can", func() bool {
			f := h.Relay().Fills()["shy"]
			if f.At > f.Limit {
				s.Fatalf("%+v", f)
			}
			return f == (relaying.Fill{At: 8, Limit: 8})
		})
		for range 2 {
			at := s.net.Add()
			h.Learn([]protocol.Keeper{s.node(at, func(c *peers.Config) { c.Announce = []string{at.Listen()} }, known...).Self()}, peers.WayExchange)
		}
		s.until("two seats elsewhere", func() bool { return h.Relay().Fills()["seats"].At == 2 })
	})
}

// behind opens a node of ours behind a NAT.
func (s *square) behind(lim relaying.Limits, known ...protocol.Keeper) *peers.Host {
	s.Helper()
	return s.node(s.net.AddBehind(netem.Cone), func(c *peers.Config) { c.Relay, c.Target = lim, 8 }, known...)
}

// near tells whether a raw address lies where a node is.
func near(k protocol.Keeper, raw []byte) bool {
	a, err := ma.NewMultiaddrBytes(raw)
	return err == nil && address.PrefixOf(k) == address.PrefixOf(protocol.Keeper{Addrs: [][]byte{a.Bytes()}})
}

func (s *square) until(what string, ok func() bool) {
	s.Helper()
	for range 7200 {
		if ok() {
			return
		}
		time.Sleep(time.Second)
	}
	s.Fatalf("in two hours it did not come about: %s", what)
}
