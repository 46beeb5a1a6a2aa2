package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// protocols are those that a public node serves.
var protocols = []protocol.ID{"/hark/mail/1", "/hark/post/1", "/hark/sync/1"}

// framed puts a length before bytes.
func framed(n uint32, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), body...)
}

// poison are first words that no honest caller says.
var poison = map[string][]byte{
	"a length of 4 GB":          framed(1<<32-1, []byte("abc")),
	"a length one over":         framed(96<<10+1, []byte("abc")),
	"no length":                 framed(0, nil),
	"noise":                     framed(1000, bytes.Repeat([]byte{0xff}, 1000)),
	"arrays in arrays":          framed(90_000, bytes.Repeat([]byte{0x81}, 90_000)),
	"maps in maps":              framed(90_000, bytes.Repeat([]byte{0xa1, 0x01}, 45_000)),
	"an array of 2^63":          framed(9, []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),
	"a text of 2^40":            framed(9, []byte{0x7b, 0, 0, 1, 0, 0, 0, 0, 0}),
	"tags on tags":              framed(50_000, bytes.Repeat([]byte{0xc1}, 50_000)),
	"a map that says 2^32 keys": framed(5, []byte{0xba, 0xff, 0xff, 0xff, 0xff}),
}

// A siege is an attack on one host by streams.
type siege struct {
	t      *testing.T
	target peer.AddrInfo
	open   atomic.Int64 // streams of the attackers that the target has not ended
	most   atomic.Int64
	begun  atomic.Int64
}

// hold writes first words to a stream, and then, where slow, a byte every ten seconds,
// until the target ends the stream.
func (g *siege) hold(h host.Host, proto protocol.ID, first []byte, slow bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := h.NewStream(ctx, g.target.ID, proto)
	if err != nil {
		return // refused: that is an end too
	}
	g.begun.Add(1)
	n := g.open.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	if slow {
		go func() {
			for range 60 {
				if _, err := s.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
	} else if _, err := s.Write(first); err == nil {
		_ = s.CloseWrite()
	}
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Minute))
	if _, err := io.Copy(io.Discard, s); err == nil || !strings.Contains(err.Error(), "deadline") {
		g.open.Add(-1)
	}
	_ = s.Reset()
}

// lay begins the siege: each host opens as many streams of each protocol as it can.
func (g *siege) lay(hosts []host.Host, each int) {
	for _, h := range hosts {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := h.Connect(ctx, g.target); err != nil {
			g.t.Error(err)
		}
		cancel()
		for _, proto := range protocols {
			for range each {
				go g.hold(h, proto, nil, true)
			}
			for _, first := range poison {
				go g.hold(h, proto, first, false)
			}
		}
	}
}

// crowdAt are n hosts at one address.
func crowdAt(t *testing.T, at *netem.Host, n int) (out []host.Host) {
	t.Helper()
	for range n {
		h, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.NoListenAddrs,
			libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableMetrics())...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// patience is after how long the target must have ended every stream that says nothing.
const patience = 2 * time.Minute

// TestMust_slow_streams: connections by the hundred from one address, streams that
// trickle, lengths and nesting that promise gigabytes. Memory stays within what is
// configured, every such stream ends, and honest callers are served.
func TestMust_slow_streams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if left := patient(t); left == 0 {
			t.Fatal("a server that waits for ever ended all streams: the check finds nothing")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1})
		defer w.Close()
		c := gather(t, w, 3)
		time.Sleep(10 * time.Second)
		target := c.members[0].Gossip.Libp2p()
		g := &siege{t: t, target: peer.AddrInfo{ID: target.ID(), Addrs: target.Addrs()}}
		before := heap()

		flood := crowdAt(t, w.Weather().Add(), 100)
		var in atomic.Int64
		together(len(flood), func(i int) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if flood[i].Connect(ctx, g.target) == nil {
				time.Sleep(time.Second) // who is refused is told after the handshake
				if len(flood[i].Network().Conns()) > 0 {
					in.Add(1)
				}
			}
		})
		var slow []host.Host
		for range 10 {
			slow = append(slow, crowdAt(t, w.Weather().Add(), 1)...)
		}
		g.lay(slow, 40)
		var worst time.Duration
		var memory int64
		var streams int
		for i := range 12 {
			time.Sleep(5 * time.Second)
			raw, err := w.Need(0, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			if err := c.members[1+i%2].PostAt(ctx, c.members[0], raw); err != nil {
				t.Errorf("an honest caller: %v", err)
			}
			cancel()
			worst = max(worst, time.Since(began))
			m, n := reserved(t, target)
			memory, streams = max(memory, m), max(streams, n)
		}
		grown := heap() - before
		time.Sleep(patience)
		t.Logf("100 connections from one address: %d let in; 10 hosts began %d streams, %d at once, %d left after %v; %d KiB reserved and %d streams in at most, heap + %d MiB for all hosts together; an honest caller waited %v at most",
			in.Load(), g.begun.Load(), g.most.Load(), g.open.Load(), patience, memory>>10, streams, grown>>20, worst.Round(time.Millisecond))
		if in.Load() == 0 || in.Load() > 64 {
			t.Errorf("%d connections from one address", in.Load())
		}
		if g.begun.Load() < 300 || g.open.Load() > 0 {
			t.Errorf("%d streams of %d are open still", g.open.Load(), g.begun.Load())
		}
		if memory > 256<<20 || grown > 256<<20 || worst > 5*time.Second {
			t.Errorf("%d bytes reserved, heap + %d, an honest caller waited %v", memory, grown, worst)
		}
		for _, h := range append(flood, slow...) {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(11 * time.Minute) // what trickles gives up
	})
}

// reserved is the memory that a host's resource manager has given out, and the streams
// that came in.
func reserved(t *testing.T, h host.Host) (memory int64, streams int) {
	t.Helper()
	err := h.Network().ResourceManager().ViewSystem(func(s network.ResourceScope) error {
		st := s.Stat()
		memory, streams = st.Memory, st.NumStreamsInbound
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return memory, streams
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// patient is a server that trusts lengths, as far as this machine bears it, and has no
// deadline; it tells how many streams of the siege are left.
func patient(t *testing.T) int64 {
	net := netem.New(netem.Config{})
	h := vandal(t, net)
	at := net.Add()
	server, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings(at.Listen()),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		server.SetStreamHandler(p, func(s network.Stream) {
			defer func() { _ = s.Close() }()
			var head [4]byte
			if _, err := io.ReadFull(s, head[:]); err != nil {
				return
			}
			_, _ = io.ReadFull(s, make([]byte, min(binary.BigEndian.Uint32(head[:])+1<<10, 1<<20)))
		})
	}
	g := &siege{t: t, target: peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}}
	g.lay([]host.Host{h}, 5)
	time.Sleep(time.Minute + patience)
	left := g.open.Load()
	for _, one := range []host.Host{h, server} {
		if err := one.Close(); err != nil {
			t.Error(fmt.Errorf("close: %w", err))
		}
	}
	time.Sleep(11 * time.Minute)
	net.Close()
	time.Sleep(10 * time.Minute)
	return left
}
