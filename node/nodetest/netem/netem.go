// Package netem is a simulated internet for real libp2p hosts: QUIC over packets that
// take time, get lost, and don't cross a partition. It runs inside testing/synctest,
// where its time is the bubble's, and stands on github.com/marcopolo/simnet.
//
//  1. New starts an empty network with a latency, a loss and a bandwidth.
//  2. Add gives a host an address in a /16 of its own, as strangers have them; Options
//     has libp2p send and receive there and nowhere else. AddBeside gives one a
//     neighbour in its /16 (address.go).
//  3. AddBehind gives one a private address behind a NAT of its own (nat.go).
//  4. SetLoss, Partition, Heal and SetOnline change the weather. What is on its way
//     when they are called still arrives.
//  5. Close ends it, once the hosts are closed.
package netem

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// Config is the weather at the start. What is zero takes the value of Default, but
// for Loss.
type Config struct {
	Latency time.Duration // one way, least
	Jitter  time.Duration // at most so much more, drawn for each pair of hosts
	Loss    float64       // of packets, 0 to 1
	Bits    int           // a second, of each host each way
	Seed    uint64        // of what is drawn
}

// Default is a broadband network.
var Default = Config{Latency: 20 * time.Millisecond, Jitter: 60 * time.Millisecond, Bits: 50_000_000, Seed: 1}

// A Net is a simulated internet. Make it with New.
type Net struct {
	cfg  Config
	wire *simnet.Simnet

	mu    sync.Mutex
	dice  *rand.Rand
	loss  float64
	nets  int                  // /16 that are taken
	hosts map[netip.Addr]*Host // by the address inside
	nats  map[netip.Addr]*nat  // by the address outside
}

// New starts an empty network.
func New(cfg Config) *Net {
	if cfg.Latency == 0 {
		cfg.Latency, cfg.Jitter = Default.Latency, Default.Jitter
	}
	if cfg.Bits == 0 {
		cfg.Bits = Default.Bits
	}
	if cfg.Seed == 0 {
		cfg.Seed = Default.Seed
	}
	n := &Net{cfg: cfg, loss: cfg.Loss, hosts: map[netip.Addr]*Host{}, nats: map[netip.Addr]*nat{}}
	n.dice = rand.New(rand.NewPCG(cfg.Seed, 0))
	n.wire = &simnet.Simnet{LatencyFunc: n.latency, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	n.wire.Start()
	return n
}

// Close ends the network.
func (n *Net) Close() { n.wire.Close() }

// latency is the same for every packet between two hosts, so that packets stay in order.
func (n *Net) latency(p *simnet.Packet) time.Duration {
	if n.cfg.Jitter <= 0 {
		return n.cfg.Latency
	}
	a, b := number(p.From), number(p.To)
	draw := rand.NewPCG(n.cfg.Seed, uint64(min(a, b))<<32|uint64(max(a, b))).Uint64()
	return n.cfg.Latency + time.Duration(draw%uint64(n.cfg.Jitter))
}

// A Host is one place on the network. Make it with Add.
type Host struct {
	net            *Net
	number         int // of its /16
	third          byte
	beside         int // hosts that AddBeside put there
	group          int // of a partition
	offline        bool
	next           int  // port for a host that does not listen
	nat            *nat // nil: it is out in the open
	sent, received atomic.Uint64
	packets        atomic.Uint64 // of both
}

// port is where hosts listen.
const port = 8000

// Listen is the multiaddress for a host to listen on.
func (h *Host) Listen() string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", h.IP(), port) }

// Bytes are how many were sent and received, UDP payload.
func (h *Host) Bytes() (sent, received uint64) { return h.sent.Load(), h.received.Load() }

// Options put a libp2p host with a QUIC transport here. They don't go together with
// NAT port mapping.
func (h *Host) Options() []libp2p.Option {
	start := func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(m.Close)) // libp2p closes only one that it made itself
		}
		return m, err
	}
	return []libp2p.Option{libp2p.QUICReuse(start,
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source{h}, nil }),
		quicreuse.OverrideListenUDP(func(_ string, at *net.UDPAddr) (net.PacketConn, error) { return h.socket(at.Port) }),
	)}
}

// source says that packets leave from the host's one address.
type source struct{ *Host }

func (s source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return s.ip(), nil
}

// socket opens a port of the host, any free one for 0.
func (h *Host) socket(at int) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if at == 0 {
		h.next++
		at = h.next
	}
	link := simnet.LinkSettings{BitsPerSecond: h.net.cfg.Bits}
	c := h.net.wire.NewEndpoint(&net.UDPAddr{IP: h.ip(), Port: at}, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link})
	return &socket{c, h}, nil
}

// A socket is a host's way onto the network, and the place where packets are lost.
type socket struct {
	*simnet.SimConn
	host *Host
}

// Packets are how many the host sent and received.
func (h *Host) Packets() uint64 { return h.packets.Load() }

// WriteTo implements net.PacketConn. A packet that is lost was sent nevertheless.
func (s *socket) WriteTo(p []byte, to net.Addr) (int, error) {
	s.host.sent.Add(uint64(len(p)))
	s.host.packets.Add(1)
	at, ok := s.host.net.route(s.host, portOf(s.SimConn.LocalAddr()), to)
	if !ok {
		return len(p), nil
	}
	return s.SimConn.WriteTo(p, at)
}

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	k, from, err := s.SimConn.ReadFrom(p)
	s.host.received.Add(uint64(max(k, 0)))
	s.host.packets.Add(1)
	if err != nil {
		return k, from, err
	}
	return k, s.host.net.seenFrom(from, s.host, portOf(s.SimConn.LocalAddr())), nil
}

// route finds where a packet gets to, if it gets through.
func (n *Net) route(from *Host, port uint16, to net.Addr) (net.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return nil, false
	}
	dest := unmapped(u.AddrPort())
	source := netip.AddrPortFrom(from.IP(), port)
	if from.nat != nil {
		source = from.nat.out(port, dest)
	}
	if behind := n.nats[dest.Addr()]; behind != nil {
		if dest, ok = behind.in(dest.Port(), source); !ok {
			return nil, false
		}
	} else if h := n.hosts[dest.Addr()]; h != nil && h.nat != nil {
		return nil, false // a private address leads nowhere
	}
	other := n.hosts[dest.Addr()]
	if other == nil || from.offline || other.offline || from.group != other.group {
		return nil, false
	}
	return udp(dest), n.loss == 0 || n.dice.Float64() >= n.loss
}

// SetLoss lets so many packets of all get lost from now on, 0 to 1.
func (n *Net) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Partition cuts the network: who is in no group stays with the first.
func (n *Net) Partition(groups ...[]*Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hosts {
		h.group = 0
	}
	for i, g := range groups {
		for _, h := range g {
			h.group = i
		}
	}
}

// Heal joins what Partition cut.
func (n *Net) Heal() { n.Partition() }

// SetOnline takes a host off the network, or back.
func (h *Host) SetOnline(yes bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.offline = !yes
}
