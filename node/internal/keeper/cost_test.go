package keeper_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// A meter counts what passes over the streams that a port dials: bytes both ways,
// and round trips, which begin when something is written after something was read.
type meter struct {
	*nodetest.Port
	mu           sync.Mutex
	bytes, trips int
}

func (m *meter) Dial(ctx context.Context, to protocol.Keeper, proto string) (peers.Conn, error) {
	c, err := m.Port.Dial(ctx, to, proto)
	return &metered{Conn: c, m: m}, err
}

func (m *meter) reset() { m.mu.Lock(); m.bytes, m.trips = 0, 0; m.mu.Unlock() }

type metered struct {
	peers.Conn
	m     *meter
	wrote bool
}

func (c *metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.bytes += n
	c.wrote = false
	return n, err
}

func (c *metered) Write(b []byte) (int, error) {
	c.m.mu.Lock()
	if c.m.bytes += len(b); !c.wrote {
		c.m.trips++
	}
	c.wrote = true
	c.m.mu.Unlock()
	return c.Conn.Write(b)
}

// A forge makes needs of one shard quickly: only what makes each another one is new.
type forge struct {
	seal  key.Encapsulation[key.ContextSeal]
	a     protocol.Announcement
	shard uint16
}

func newForge(at protocol.Keeper) *forge {
	f := &forge{seal: key.GenerateSeal[key.ContextSeal]().Public()}
	f.a = protocol.Announcement{
		Header: protocol.Header{Net: netID, Seq: 1, Created: now(), Expires: now() + 7*protocol.Day},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: f.seal, Terms: terms, Keepers: []protocol.Keeper{at},
	}
	f.shard = wire.Shard(f.a.Category, f.a.Region, shards)
	return f
}

// many makes n needs, on all processors.
func (f *forge) many(n int) [][]byte {
	out := make([][]byte, n)
	var group sync.WaitGroup
	for part := range runtime.NumCPU() {
		group.Go(func() {
			for i := part; i < n; i += runtime.NumCPU() {
				k, a := key.Generate[key.Context](), f.a
				a.ID, a.Mailbox = wire.NewID(), key.Generate[key.Mailbox]().Public()
				a.Body, a.Commitment, _ = wire.SealBody(protocol.Demand{Name: "Desk"}, key.NewSecret(), k.Public(), 1)
				out[i] = must(wire.SignAnnouncement(k, &a, protocol.LaneNone, 0))
			}
		})
	}
	group.Wait()
	return out
}

// A pair is a server and a client that gossip does not reach.
type pair struct {
	server, client *node
	meter          *meter
	forge          *forge
}

func newPair(w *world) *pair {
	p := &pair{}
	one := func(port *nodetest.Port, dial peers.Port) *node {
		n := &node{port: port, board: must(board.Open(kv.Memory(), shards, board.Limits{Entries: 200_000, Bytes: 1 << 30}))}
		n.mail = must(mailbox.Open(kv.Memory(), port.Key(), mailbox.Policy{}))
		n.Keeper = must(keeper.New(context.Background(), keeper.Config{
			Key: port.Key(), Duties: protocol.DefaultDuties, Board: n.board, Mail: n.mail, Port: dial, Log: slog.New(slog.DiscardHandler), Now: time.Now,
			Door: &check.Door{Net: netID, Shards: shards, Lanes: []protocol.LaneRule{{Lane: protocol.LaneNone}}, Memory: n.board},
		}))
		w.Cleanup(func() {
			if err := n.Close(context.Background()); err != nil {
				w.Error(err)
			}
		})
		return n
	}
	server := w.net.Port(true)
	p.server = one(server, server)
	p.meter = &meter{Port: w.net.Port(true)}
	p.client = one(p.meter.Port, p.meter)
	if err := p.server.Serve(); err != nil {
		w.Fatal(err)
	}
	p.forge = newForge(server.Self())
	return p
}

// put keeps announcements on boards and gives their size.
func (p *pair) put(w *world, raws [][]byte, on ...*node) (size int) {
	for _, raw := range raws {
		h := must(wire.OpenAnnouncement(raw))
		for _, n := range on {
			if _, err := n.board.Put(w.Context(), h, time.Now().UnixMilli()); err != nil {
				w.Fatal(err)
			}
		}
		size += len(raw)
	}
	return size
}

// pull lets the client pull what it lacks, and gives what the bar allows for it.
func (p *pair) pull(w *world, missing, size int) (allowed int) {
	p.meter.reset()
	got, err := p.client.Pull(w.Context(), p.server.port.Self(), []uint16{p.forge.shard})
	if err != nil || got != missing {
		w.Fatalf("pulled %d of %d: %v", got, missing, err)
	}
	return size*13/10 + 20<<10
}

// What a pull costs follows what was missing, not what is there.
func TestWhatAPullCosts(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		p.put(w, p.forge.many(4000), p.server, p.client)
		for _, missing := range []int{0, 1, 40, 100} {
			size := p.put(w, p.forge.many(missing), p.server)
			allowed := p.pull(w, missing, size)
			if p.meter.bytes > allowed || p.meter.trips > 6 {
				t.Errorf("%d missing: %d bytes of %d, %d round trips of 6", missing, p.meter.bytes, allowed, p.meter.trips)
			}
			t.Logf("%d missing of 4,000: %d bytes for %d, %d round trips", missing, p.meter.bytes, size, p.meter.trips)
		}
		// All of it, for one who has nothing.
		p.client = newPair(w).client
		if got, err := p.client.Pull(w.Context(), p.server.port.Self(), []uint16{p.forge.shard}); err != nil || got < 4000 {
			t.Errorf("a late joiner pulls %d: %v", got, err)
		}
	})
}

// BenchmarkSync is a client that lacks 100 of 100,000 announcements of one shard and
// pulls from a server that has them all. Bytes count in both directions, round trips
// from first to last, the list of vendors included; x-bytes is their share of
// 1.3 times the size of what was missing and 20 KiB.
func BenchmarkSync(b *testing.B) {
	w := &world{b, nodetest.NewNet(context.Background())}
	b.Cleanup(func() {
		if err := w.net.Close(); err != nil {
			b.Error(err)
		}
	})
	const all, missing = 100_000, 100
	p := newPair(w)
	p.put(w, p.forge.many(all-missing), p.server, p.client)
	bytes, allowed, trips := 0, 0, 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		size := p.put(w, p.forge.many(missing), p.server)
		b.StartTimer()
		allowed += p.pull(w, missing, size)
		bytes, trips = bytes+p.meter.bytes, max(trips, p.meter.trips)
	}
	b.ReportMetric(float64(bytes)/float64(b.N*missing), "bytes/missing")
	b.ReportMetric(float64(bytes)/float64(allowed), "x-bytes")
	b.ReportMetric(float64(trips), "trips")
}
