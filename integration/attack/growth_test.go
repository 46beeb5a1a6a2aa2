package attack

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// load is what a node of a network spends in a minute. rpcs are those of gossip, sent and
// received; met are connections that were opened, from either side.
type load struct{ bytes, packets, rpcs, judged, met, cpu float64 }

func (l load) String() string {
	return fmt.Sprintf("%.0f kB in %.0f packets, %.0f RPCs, %.1f judged, %.2f connections opened, %.1f ms of CPU",
		l.bytes/1000, l.packets, l.rpcs, l.judged, l.met, l.cpu)
}

// plus adds n times what another is.
func (l load) plus(n float64, m load) load {
	return load{l.bytes + n*m.bytes, l.packets + n*m.packets, l.rpcs + n*m.rpcs, l.judged + n*m.judged, l.met + n*m.met, l.cpu + n*m.cpu}
}

// over is how many times as much it is as another, but for connections.
func (l load) over(m load) string {
	return fmt.Sprintf("bytes × %.3f, packets and RPCs × %.3f, judged × %.3f, CPU × %.3f",
		l.bytes/m.bytes, (l.packets+l.rpcs)/(m.packets+m.rpcs), l.judged/m.judged, l.cpu/m.cpu)
}

// The measured minute is cut into turns, so that what else this machine does meets both
// sides alike.
const (
	turnSpan = 6 * time.Second
	allTurns = int(time.Minute / turnSpan)
)

// settling is how long networks stand before, until meshes are full and few seek more.
func settling() time.Duration {
	if scale() >= 4 {
		return 2 * time.Minute
	}
	return time.Minute
}

// A side is networks of one size, all in a bubble of their own. The bubble's time runs
// while it is the side's turn; before and after that its root waits for a channel from
// outside, with which a bubble's time stands still.
type side struct {
	size, networks int
	seed           uint64
	also           func(t *testing.T, c *crowd) // what its nodes do besides, in each turn
	turn, done     chan struct{}
	met            atomic.Int64
	spent          load    // of all nodes
	allocated      float64 // in all turns, which is what the collector works for
}

func newSide(size, networks int, seed uint64) *side {
	return &side{size: size, networks: networks, seed: seed, turn: make(chan struct{}), done: make(chan struct{})}
}

// run starts the networks, each of nodes on two of four shards, and plays the turns.
func (s *side) run(t *testing.T) {
	defer close(s.done)
	synctest.Test(t, func(t *testing.T) {
		var all []*crowd
		defer func() { end(all) }()
		for i := range s.networks {
			w := nodetest.NewSimWorld(t, nodetest.SimConfig{Config: netem.Config{Seed: s.seed + uint64(i)}, Shards: 4, Target: 4})
			all = append(all, gather(t, w, s.size))
		}
		time.Sleep(settling())
		count := &network.NotifyBundle{ConnectedF: func(network.Network, network.Conn) { s.met.Add(1) }}
		for _, c := range all {
			for _, m := range c.members {
				m.Gossip.Libp2p().Network().Notify(count)
			}
		}
		s.spent = s.spent.plus(-1, total(all))
		synctest.Wait()
		s.done <- struct{}{}
		for n := 0; ; n++ {
			if _, more := <-s.turn; !more {
				break
			}
			s.play(t, all, n)
			synctest.Wait()
			s.done <- struct{}{}
		}
		s.spent = s.spent.plus(1, total(all)).plus(float64(s.met.Load()), load{met: 1})
	})
}

// end closes networks whose nodes are cut off first: else those that are left would dial
// others, as one node after another goes.
func end(all []*crowd) {
	for _, c := range all {
		for _, m := range c.members {
			m.Online(false)
		}
		c.w.Close()
	}
}

// play is one turn: in each network a need on each shard.
func (s *side) play(t *testing.T, all []*crowd, n int) {
	end := time.Now().Add(turnSpan)
	for shard := range uint16(4) {
		for _, c := range all {
			c.post((n*4+int(shard))*7, shard)
		}
		time.Sleep(turnSpan / 5)
	}
	for _, c := range all {
		if s.also != nil {
			s.also(t, c)
		}
	}
	time.Sleep(time.Until(end))
}

// total is what all members have spent since they started, but for connections and CPU.
func total(all []*crowd) (l load) {
	for _, c := range all {
		for _, m := range c.members {
			sent, received := m.Bytes()
			judged, _ := m.Judged()
			gossip := m.Gossip.Gossip.Counts()
			l = l.plus(1, load{
				bytes: float64(sent + received), packets: float64(m.Packets()), judged: float64(judged[0] + judged[1]),
				rpcs: float64(gossip.SentRPC + gossip.ReceivedRPC),
			})
		}
	}
	return l
}

// compare runs two sides, one turn of one after one turn of the other, and gives what each
// of their nodes spent in so many turns. Both have as many nodes, alive in this process at
// the same time: what a simulation of so many costs, with its heap, timers and cold caches,
// it costs both. The collector does not run meanwhile, for its rounds are long and would
// fall to one side or the other by chance: each side pays for the memory that it took what
// the collector, which runs once that is as much as lives, works for it.
func compare(t *testing.T, sides [2]*side, turns int) (each [2]load) {
	t.Helper()
	var running sync.WaitGroup
	ok := true
	for _, s := range sides {
		running.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("side", fmt.Sprint(s.size)), func(context.Context) { s.run(t) })
		})
	}
	for _, s := range sides {
		_, up := <-s.done
		ok = ok && up
	}
	runtime.GC()
	usual := debug.SetGCPercent(-1)
	var ratios []string
	for i := 0; i < turns && ok; i++ {
		var took [2]float64
		for j := range sides {
			at := (i + j) % 2 // each is first every other time
			s := sides[at]
			began, before := cpu(t), allocated()
			s.turn <- struct{}{}
			_, up := <-s.done
			took[at] = milliseconds(cpu(t) - began)
			s.spent.cpu += took[at]
			s.allocated += allocated() - before
			ok = ok && up
		}
		ratios = append(ratios, fmt.Sprintf("%.2f", took[1]/took[0]))
	}
	began := cpu(t)
	runtime.GC()
	round := milliseconds(cpu(t) - began)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(usual)
	for _, s := range sides {
		close(s.turn)
	}
	running.Wait()
	t.Logf("CPU without the collector, turn by turn: × %v; allocated %.0f and %.0f MB, %.0f ms for %.0f MB that live", ratios,
		sides[0].allocated/1e6, sides[1].allocated/1e6, round, float64(m.HeapAlloc)/1e6)
	for i, s := range sides {
		s.spent.cpu += round * s.allocated / float64(m.HeapAlloc)
		each[i] = load{}.plus(1/float64(s.size*s.networks), s.spent)
	}
	return each
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// allocated is how many bytes this process has allocated.
func allocated() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.TotalAlloc)
}

// everyone has each node open a stream to each other one.
func everyone(t *testing.T, c *crowd) {
	for _, m := range c.members {
		for _, other := range c.members {
			if m == other {
				continue
			}
			s, err := m.Gossip.Dial(context.Background(), other.Gossip.Self(), "/hark/sync/1")
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Reset() // it was opened
		}
	}
}

// grown tells what a node of a larger network spends too much, next to one of a smaller.
// Two hundred nodes in one process on a busy machine are too rough a measure of CPU, so
// that it is judged where nothing else runs (quiet). What makes a node's CPU is judged
// always: packets, each of which is encrypted or decrypted and goes through QUIC; RPCs of
// gossip; announcements, each a signature checked and a write; and connections opened,
// whose handshakes cost most of all.
func grown(small, large load, quiet bool) string {
	if large.bytes > small.bytes*1.1 || large.packets+large.rpcs > (small.packets+small.rpcs)*1.1 || large.judged > small.judged*1.1 ||
		large.met > small.met+0.75 || quiet && large.cpu > small.cpu*1.1 {
		return fmt.Sprintf("it grew: %s, then %s", small, large)
	}
	return ""
}

// TestMust_cost_flat: what a node spends does not grow with the network, nor the CPU that
// it takes: one network beside several small ones with as many nodes, in the same process and
// turn by turn. The check finds nodes that go to everyone. The suite compares fifty nodes
// with twice twenty-five; at HARK_SIM_SCALE=4 it is two hundred with four times fifty, and
// CPU is held to the bar too, which wants a machine that does nothing else.
func TestMust_cost_flat(t *testing.T) {
	is := load{bytes: 100, packets: 70, rpcs: 30, judged: 20, met: 0.1, cpu: 10}
	for _, more := range []load{{bytes: 11}, {packets: 11}, {rpcs: 11}, {judged: 3}, {met: 1}, {cpu: 2}} {
		if grown(is, is.plus(1, more), true) == "" {
			t.Fatalf("the check finds nothing wrong with %s more", more)
		}
	}
	few, many := newSide(6, 4, 1), newSide(24, 1, 1)
	few.also, many.also = everyone, everyone
	planted := compare(t, [2]*side{few, many}, 2)
	t.Logf("nodes that go to everyone, each of 6: %s; each of 24: %s; %s", planted[0], planted[1], planted[1].over(planted[0]))
	if grown(planted[0], planted[1], false) == "" || cpu(t) > 0 && planted[1].cpu < 2*planted[0].cpu {
		t.Fatal("that they go to everyone shows too little")
	}
	size, times, turns := 25, 2, allTurns/2
	if scale() >= 4 {
		size, times, turns = 50, 4, allTurns
	}
	each := compare(t, [2]*side{newSide(size, times, 1), newSide(times*size, 1, 1)}, turns)
	t.Logf("each of %d: %s; each of %d: %s; %s", size, each[0], times*size, each[1], each[1].over(each[0]))
	if wrong := grown(each[0], each[1], scale() >= 4); wrong != "" {
		t.Error(wrong)
	}
	// Of four needs in a turn a node follows the shards of two, and posts its share itself.
	needs := float64(2 * turns)
	if least := needs * 0.97; each[0].judged < least-needs/float64(size) || each[1].judged < least-needs/float64(times*size) {
		t.Errorf("gossip brought %.1f and %.1f of %.0f", each[0].judged, each[1].judged, needs)
	}
}
