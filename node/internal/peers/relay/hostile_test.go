package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/relay"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// An eavesdropper is a relay of the attacker's own making, in place of a node's. It grants
// seats to all, keeps what it carries, sets no limit, says so, and drops what it likes.
type eavesdropper struct {
	host host.Host
	drop atomic.Bool
	mu   sync.Mutex
	seen bytes.Buffer
}

// wiretap takes over the relaying of a node that has begun to relay.
func (w *town) wiretap(h *peers.Host) *eavesdropper {
	w.t.Helper()
	w.until("it relays", func() bool { return slices.Contains(h.Libp2p().Mux().Protocols(), proto.ProtoIDv2Hop) })
	e := &eavesdropper{host: h.Libp2p()}
	h.Libp2p().SetStreamHandler(proto.ProtoIDv2Hop, e.serve)
	return e
}

// Write implements io.Writer.
func (e *eavesdropper) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen.Write(b)
}

func (e *eavesdropper) saw(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Contains(e.seen.Bytes(), []byte(text))
}

func (e *eavesdropper) serve(s network.Stream) {
	var ask pb.HopMessage
	if err := util.NewDelimitedReader(s, 4096).ReadMsg(&ask); err != nil {
		_ = s.Reset()
		return
	}
	answer := &pb.HopMessage{Type: pb.HopMessage_STATUS.Enum(), Status: pb.Status_OK.Enum()}
	if ask.GetType() == pb.HopMessage_RESERVE {
		until := uint64(time.Now().Add(time.Hour).Unix())
		answer.Reservation = &pb.Reservation{Expire: &until, Addrs: [][]byte{{1, 2, 3}, make([]byte, 90)}}
		_ = util.NewDelimitedWriter(s).WriteMsg(answer)
		_ = s.Close()
		return
	}
	defer func() { _ = s.Reset() }()
	to, err := util.PeerToPeerInfoV2(ask.GetPeer())
	if err != nil || e.drop.Load() {
		return
	}
	on, err := e.host.NewStream(network.WithNoDial(context.Background(), "tap"), to.ID, proto.ProtoIDv2Stop)
	if err != nil {
		return
	}
	defer func() { _ = on.Reset() }()
	call := &pb.StopMessage{Type: pb.StopMessage_CONNECT.Enum(), Peer: util.PeerInfoToPeerV2(peer.AddrInfo{ID: s.Conn().RemotePeer()})}
	var taken pb.StopMessage
	if util.NewDelimitedWriter(on).WriteMsg(call) != nil || util.NewDelimitedReader(on, 4096).ReadMsg(&taken) != nil ||
		util.NewDelimitedWriter(s).WriteMsg(answer) != nil {
		return
	}
	go func() { _, _ = io.Copy(on, io.TeeReader(s, e)); _ = on.CloseWrite() }()
	_, _ = io.Copy(s, io.TeeReader(on, e))
}

// at tells whether one of a node's places is at a relay.
func (w *town) at(k protocol.Keeper, e *eavesdropper) bool {
	w.t.Helper()
	for _, a := range places(w.t, k) {
		if id, err := a.ValueForProtocol(421); err == nil && id == e.host.ID().String() {
			return true
		}
	}
	return false
}

// A relay reads nothing of what it carries, though it sees all bytes; that it claims to
// set no limit gets a pull no further; and once it drops, another takes its place.
func TestAHostileRelay(t *testing.T) {
	inTown(t, 2, func(w *town) {
		t := w.t // the bubble's
		var taps []*eavesdropper
		for _, h := range w.open {
			taps = append(taps, w.wiretap(h))
		}
		called := w.move(w.net.AddBehind(netem.Cone), nil)
		w.seated(called)
		for _, e := range taps {
			if !w.at(called.Self(), e) {
				t.Fatal("it sits elsewhere than planned")
			}
		}
		before := called.Self()
		hers := w.move(w.net.Add(), func(c *peers.Config) { c.Profile, c.Listen = peers.Personal, nil })
		if err := ask(hers, before, peers.ProtoMail); err != nil {
			t.Fatalf("a hostile relay that carries: %v", err)
		}
		if relayed, _ := ways(hers, before); relayed != 1 {
			t.Fatal("she did not come over a relay: the test shows nothing")
		}
		if saw := taps[0].saw("/multistream/1.0.0") || taps[1].saw("/multistream/1.0.0"); !saw {
			t.Error("the wiretap saw not even what is said in clear: the test shows nothing")
		}
		for _, e := range taps {
			if e.saw("word") || e.saw(peers.ProtoMail) {
				t.Error("the relay read what was said, or which protocol it was said in")
			}
		}
		if err := ask(hers, before, peers.ProtoSync); !errors.Is(err, fault.Offline) {
			t.Errorf("a pull over a relay that claims no limit: %v", err)
		}
		info := address.Info(before)
		s, err := hers.Libp2p().NewStream(network.WithAllowLimitedConn(context.Background(), "test"), info.ID, peers.ProtoSync)
		if err == nil { // she insists
			_, _ = s.Write([]byte("word"))
			if n, err := io.ReadFull(s, make([]byte, 4)); err == nil {
				t.Errorf("%d bytes of a pull that came over a relay were answered", n)
			}
		}

		for range 2 {
			called.Learn([]protocol.Keeper{w.move(w.net.Add(), nil).Self()}, peers.WayExchange)
		}
		time.Sleep(11 * time.Minute) // it tried its seats twice
		if !w.at(called.Self(), taps[0]) || !w.at(called.Self(), taps[1]) {
			t.Error("a relay that carries was given up")
		}
		if err := hers.Libp2p().Network().ClosePeer(info.ID); err != nil {
			t.Fatal(err)
		}
		taps[0].drop.Store(true)
		taps[1].drop.Store(true)
		began := time.Now()
		if err := ask(hers, before, peers.ProtoMail); err == nil {
			t.Fatal("an answer over relays that drop all: the test shows nothing")
		}
		w.until("two others took their place", func() bool {
			return !w.at(called.Self(), taps[0]) && !w.at(called.Self(), taps[1]) && called.Relay().Fills()["seats"].At == 2
		})
		t.Logf("two relays that drop were replaced within %v", time.Since(began).Round(time.Second))
		if err := ask(hers, called.Self(), peers.ProtoMail); err != nil {
			t.Errorf("over those that took their place: %v", err)
		}
	})
}

// A circuit carries so many bytes, and no more.
func TestACircuitIsBounded(t *testing.T) {
	inTown(t, 0, func(w *town) {
		t := w.t // the bubble's
		for range 4 {
			w.open = append(w.open, w.move(w.net.Add(), func(c *peers.Config) { c.Relay = relay.Limits{Data: 64 << 10} }))
		}
		called := w.move(w.net.AddBehind(netem.Cone), nil)
		w.seated(called)
		hers := w.move(w.net.Add(), func(c *peers.Config) { c.Profile, c.Listen = peers.Personal, nil })
		if err := ask(hers, called.Self(), peers.ProtoMail); err != nil {
			t.Fatal(err)
		}
		c, err := hers.Dial(context.Background(), called.Self(), peers.ProtoMail)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for err = c.SetDeadline(time.Now().Add(time.Minute)); err == nil && sent < 1<<20; sent += 1 << 10 {
			if _, err = c.Write(make([]byte, 1<<10)); err == nil {
				_, err = io.ReadFull(c, make([]byte, 1<<10))
			}
		}
		if err == nil || sent > 64<<10 {
			t.Errorf("%d bytes went over a circuit of %d (%v)", sent, 64<<10, err)
		}
		_ = c.Reset() // it is dead
		if err := ask(hers, called.Self(), peers.ProtoMail); err != nil {
			t.Errorf("over the next circuit: %v", err)
		}
	})
}

// Who calls over a relay says that he is in this node's own house, and beside it: nobody
// knocks at a door in the house.
func TestWhoCallsOverARelayIsNotDialledAtHome(t *testing.T) {
	inTown(t, 5, func(w *town) {
		t := w.t // the bubble's
		called := w.move(w.net.AddBehind(netem.Cone), nil)
		w.seated(called)
		home, far := ma.StringCast("/ip4/10.0.5.77/udp/53/quic-v1"), ma.StringCast("/ip4/1.0.99.1/udp/53/quic-v1")
		caller := w.move(w.net.AddBehind(netem.Symmetric), nil)
		w.seated(caller)
		info := address.Info(caller.Self())
		if err := ask(caller, called.Self(), peers.ProtoMail); err != nil {
			t.Fatal(err)
		}
		net := called.Libp2p().Network().(*swarm.Swarm)
		refused := func() (at []string) {
			called.Libp2p().Peerstore().AddAddrs(info.ID, []ma.Multiaddr{home, far}, time.Hour) // as identify does
			net.Backoff().Clear(info.ID)
			ctx, cancel := context.WithTimeout(network.WithForceDirectDial(context.Background(), "punch"), 10*time.Second)
			defer cancel()
			_, err := net.DialPeer(ctx, info.ID)
			var all *swarm.DialError
			if !errors.As(err, &all) {
				t.Fatalf("no straight way leads there, and yet: %v", err)
			}
			for _, one := range all.DialErrors {
				if errors.Is(one.Cause, swarm.ErrGaterDisallowedConnection) {
					at = append(at, one.Address.String())
				}
			}
			return at
		}
		if at := refused(); !slices.Equal(at, []string{home.String()}) {
			t.Errorf("refused are %v, want %v alone", at, home)
		}
	})
}
