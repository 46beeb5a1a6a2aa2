package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
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
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// served are the protocols that a host serves: all of them are besieged, so one that is
// new is too.
func served(h host.Host) []protocol.ID { return h.Mux().Protocols() }

// limitOf is what a host lets a protocol have, and what it has.
func limitOf(t *testing.T, h host.Host, id protocol.ID) (most rcmgr.Limit, now network.ScopeStat) {
	t.Helper()
	err := h.Network().ResourceManager().ViewProtocol(id, func(s network.ProtocolScope) error {
		most, now = s.(rcmgr.ResourceScopeLimiter).Limit(), s.Stat()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return most, now
}

// own tells whether what strangers say on a protocol is read by the node's own code, or
// through it.
func own(id protocol.ID) bool { return strings.HasPrefix(string(id), "/hark/") || gossips(id) }

// unlimited are those served protocols for which nobody set a limit: they share what is
// let to protocols that nobody knows.
func unlimited(t *testing.T, h host.Host) (found []protocol.ID) {
	t.Helper()
	of := func(id protocol.ID) [2]int64 {
		most, _ := limitOf(t, h, id)
		return [2]int64{int64(most.GetStreamLimit(network.DirInbound)), most.GetMemoryLimit()}
	}
	nobody := of("/nobody/1")
	for _, id := range served(h) {
		if got := of(id); got == nobody || got[0] > 1024 || got[1] > 256<<20 {
			found = append(found, id)
		}
	}
	return found
}

// worded puts a length before bytes, as a protocol has it: our own as uint32be, libp2p's
// as an unsigned varint.
func worded(id protocol.ID, n uint32, body []byte) []byte {
	if strings.HasPrefix(string(id), "/hark/") && !strings.Contains(string(id), "/kad/") {
		return append(binary.BigEndian.AppendUint32(nil, n), body...)
	}
	return append(binary.AppendUvarint(nil, uint64(n)), body...)
}

// poison are first words that no honest caller says: a length, and what follows.
var poison = map[string]struct {
	length uint32
	body   []byte
}{
	"a length of 4 GB":          {1<<32 - 1, []byte("abc")},
	"a length one over":         {128<<10 + 1, []byte("abc")},
	"no length":                 {0, nil},
	"noise":                     {1000, bytes.Repeat([]byte{0xff}, 1000)},
	"arrays in arrays":          {90_000, bytes.Repeat([]byte{0x81}, 90_000)},
	"maps in maps":              {90_000, bytes.Repeat([]byte{0xa1, 0x01}, 45_000)},
	"an array of 2^63":          {9, []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	"a text of 2^40":            {9, []byte{0x7b, 0, 0, 1, 0, 0, 0, 0, 0}},
	"tags on tags":              {50_000, bytes.Repeat([]byte{0xc1}, 50_000)},
	"a map that says 2^32 keys": {5, []byte{0xba, 0xff, 0xff, 0xff, 0xff}},
}

// trickles are what slow streams begin with: lengths that the node's own protocols take, and a
// part of what they promise. The rest comes byte by byte.
var trickles = []struct {
	length uint32
	body   []byte
}{{400, []byte{0, 0}}, {60_000, make([]byte, 20_000)}, {60_000, nil}, {400, nil}}

// A siege is an attack on one host by streams.
type siege struct {
	t      *testing.T
	target peer.AddrInfo
	at     []protocol.ID
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
	if _, err := s.Write(first); err == nil && slow {
		go func() {
			for range 60 {
				time.Sleep(10 * time.Second)
				if _, err := s.Write([]byte{0}); err != nil {
					return
				}
			}
		}()
	} else if err == nil {
		_ = s.CloseWrite()
	}
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Minute))
	if _, err := io.Copy(io.Discard, s); err == nil || !strings.Contains(err.Error(), "deadline") {
		g.open.Add(-1)
	}
	_ = s.Reset()
}

// gossips are the versions of gossip. A node serves one stream of a peer.
func gossips(id protocol.ID) bool { return strings.HasPrefix(string(id), "/meshsub/") }

// lay begins the siege: each host opens as many streams of each protocol as it can, of one
// version of gossip each in turn.
func (g *siege) lay(hosts []host.Host, each int) {
	versions := slices.DeleteFunc(slices.Clone(g.at), func(id protocol.ID) bool { return !gossips(id) })
	for i, h := range hosts {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := h.Connect(ctx, g.target); err != nil {
			g.t.Error(err)
		}
		cancel()
		for _, proto := range g.at {
			if gossips(proto) && proto != versions[i%len(versions)] {
				continue
			}
			for _, first := range poison {
				go g.hold(h, proto, worded(proto, first.length, first.body), false)
			}
			for n := range each {
				go func() {
					time.Sleep(time.Second) // one that is poisoned takes another of gossip with it
					first := trickles[n%len(trickles)]
					g.hold(h, proto, worded(proto, first.length, first.body), true)
				}()
			}
		}
	}
}

// A fill is what a protocol had at most.
type fill struct {
	memory  int64
	streams int
}

// look notes what each protocol of a host has now, and in all.
func look(t *testing.T, h host.Host, worst map[protocol.ID]fill) {
	t.Helper()
	for _, id := range served(h) {
		_, now := limitOf(t, h, id)
		worst[id] = fill{max(worst[id].memory, now.Memory), max(worst[id].streams, now.NumStreamsInbound)}
	}
}

// uncharged are protocols that waited for what strangers say, and were charged with no
// memory for it.
func uncharged(worst map[protocol.ID]fill) (found []protocol.ID) {
	for id, most := range worst {
		if most.streams > 0 && most.memory == 0 {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	return found
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

// TestMust_slow_streams: connections by the hundred from one address, streams of every
// protocol that trickle, lengths and nesting that promise gigabytes. Each protocol has a
// limit of its own and is charged with what it reads; memory stays within what is
// configured, every such stream ends, and honest callers are served.
func TestMust_slow_streams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, free := patient(t)
		if left == 0 {
			t.Fatal("a server that waits for ever ended all streams: the check finds nothing")
		}
		if len(free) != len(plain) {
			t.Fatalf("of %d protocols that take memory as it comes, these were found: %v", len(plain), free)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1, DHT: true})
		defer w.Close()
		c := gather(t, w, 3)
		time.Sleep(10 * time.Second)
		target := c.members[0].Gossip.Libp2p()
		limited(t, target)
		g := &siege{t: t, target: peer.AddrInfo{ID: target.ID(), Addrs: target.Addrs()}, at: served(target)}
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
		for range 8 {
			slow = append(slow, crowdAt(t, w.Weather().Add(), 1)...)
		}
		g.lay(slow, 10)
		worst := map[protocol.ID]fill{}
		var waited time.Duration
		var memory int64
		for i := range 60 {
			time.Sleep(time.Second)
			if i%5 == 4 {
				waited = max(waited, honest(t, c, c.members[1+i%2]))
			}
			memory = max(memory, reserved(t, target))
			look(t, target, worst)
		}
		grown := heap() - before
		time.Sleep(patience)
		streams := 0
		for id, most := range worst {
			t.Logf("%3d streams, %3d KiB at most: %s", most.streams, most.memory>>10, id)
			if most.streams == 0 && own(id) {
				t.Errorf("no stream of %s waited: nothing was shown of it", id)
			}
			if limit, _ := limitOf(t, target, id); most.streams > limit.GetStreamLimit(network.DirInbound) || most.memory > limit.GetMemoryLimit() {
				t.Errorf("%s had %+v", id, most)
			}
			streams += most.streams
		}
		t.Logf("100 connections from one address: %d let in; 8 hosts began %d streams of %d protocols, %d at once, %d left after %v; %d KiB reserved and %d streams in at most, heap + %d MiB for all hosts together; an honest caller waited %v at most",
			in.Load(), g.begun.Load(), len(g.at), g.most.Load(), g.open.Load(), patience, memory>>10, streams, grown>>20, waited.Round(time.Millisecond))
		if in.Load() == 0 || in.Load() > 64 {
			t.Errorf("%d connections from one address", in.Load())
		}
		if g.begun.Load() < 300 || g.open.Load() > 0 {
			t.Errorf("%d streams of %d are open still", g.open.Load(), g.begun.Load())
		}
		if free := uncharged(worst); len(free) > 0 {
			t.Errorf("these take memory that nobody counts: %v", free)
		}
		if memory == 0 || memory > 256<<20 || grown > 256<<20 || waited > 5*time.Second {
			t.Errorf("%d bytes reserved, heap + %d, an honest caller waited %v", memory, grown, waited)
		}
		for _, h := range append(flood, slow...) {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(11 * time.Minute) // what trickles gives up
	})
}

// limited sees to it that each protocol that a public node serves has a limit of its own,
// and that one without it is found.
func limited(t *testing.T, target host.Host) {
	t.Helper()
	const planted = "/hark/planted/1"
	target.SetStreamHandler(planted, func(s network.Stream) { _ = s.Reset() })
	if got := unlimited(t, target); !slices.Contains(got, planted) {
		t.Fatalf("a protocol without a limit is not found: %v", got)
	}
	target.RemoveStreamHandler(planted)
	if got := unlimited(t, target); len(got) > 0 {
		t.Errorf("these have no limit of their own: %v", got)
	}
	for _, want := range []string{"/hark/mail/1", "/hark/post/1", "/hark/sync/1", "/hark/blob/1", "/meshsub/1.1.0", "/kad/1.0.0", "/relay/0.2.0/hop", "/dcutr", "/autonat/2/dial-request"} {
		if !slices.ContainsFunc(served(target), func(id protocol.ID) bool { return strings.HasSuffix(string(id), want) }) {
			t.Errorf("%s is not served: %v", want, served(target))
		}
	}
}

// honest posts a need at the target, and tells how long that took.
func honest(t *testing.T, c *crowd, m *nodetest.Member) time.Duration {
	t.Helper()
	raw, err := c.w.Need(0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.PostAt(ctx, c.members[0], raw); err != nil {
		t.Errorf("an honest caller: %v", err)
	}
	return time.Since(began)
}

// reserved is the memory that a host's resource manager has given out.
func reserved(t *testing.T, h host.Host) (memory int64) {
	t.Helper()
	err := h.Network().ResourceManager().ViewSystem(func(s network.ResourceScope) error {
		memory = s.Stat().Memory
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return memory
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// plain are the protocols of the server that is too patient.
var plain = []protocol.ID{"/hark/mail/1", "/hark/post/1", "/hark/sync/1"}

// patient is a server that trusts lengths, as far as this machine bears it, and has no
// deadline; it tells how many streams of the siege are left, and for which of its
// protocols nobody counts the memory.
func patient(t *testing.T) (left int64, free []protocol.ID) {
	net := netem.New(netem.Config{})
	h := vandal(t, net)
	at := net.Add()
	limits, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.DefaultLimits.AutoScale()), rcmgr.WithMetricsDisabled())
	if err != nil {
		t.Fatal(err)
	}
	server, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings(at.Listen()),
		libp2p.ResourceManager(limits), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plain {
		server.SetStreamHandler(p, func(s network.Stream) {
			defer func() { _ = s.Close() }()
			var head [4]byte
			if _, err := io.ReadFull(s, head[:]); err != nil {
				return
			}
			_, _ = io.ReadFull(s, make([]byte, min(binary.BigEndian.Uint32(head[:])+1<<10, 1<<20)))
		})
	}
	g := &siege{t: t, target: peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}, at: plain}
	g.lay([]host.Host{h}, 5)
	time.Sleep(time.Minute)
	worst := map[protocol.ID]fill{}
	look(t, server, worst)
	for _, p := range plain {
		if slices.Contains(uncharged(worst), p) {
			free = append(free, p)
		}
	}
	time.Sleep(patience)
	left = g.open.Load()
	for _, one := range []host.Host{h, server} {
		if err := one.Close(); err != nil {
			t.Error(fmt.Errorf("close: %w", err))
		}
	}
	time.Sleep(11 * time.Minute)
	net.Close()
	time.Sleep(10 * time.Minute)
	return left, free
}
