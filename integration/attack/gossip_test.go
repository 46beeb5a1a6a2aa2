package attack

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// TestGossipDeliversWithLoss is needs in a network of forty nodes that loses one packet
// in a hundred: sixty, or a thousand at HARK_SIM_SCALE=17.
func TestGossipDeliversWithLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Config: netem.Config{Loss: 0.01}, Shards: 1, Target: 5})
		defer w.Close()
		c, needs := gather(t, w, 40), min(60*scale(), 1000)
		time.Sleep(30 * time.Second)
		for i := range needs {
			c.post(i, 0)
			time.Sleep(time.Minute / time.Duration(needs))
		}
		time.Sleep(time.Minute)
		got := c.count()
		t.Logf("%d needs, %d nodes, 1 %% of packets lost: %s", needs, len(c.members), got)
		if got.gossip < 0.999 || got.all < 1 || got.worst > time.Minute {
			t.Error("too little, or too late")
		}
	})
}

// TestGossipReachesFewFollowers: sixty nodes, each on two of sixteen shards, so that each
// shard has some eight followers, who know nobody of their own kind when they start;
// most needs are posted at nodes that do not follow their shard.
func TestGossipReachesFewFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 16, Target: 4})
		defer w.Close()
		c := gather(t, w, 60)
		time.Sleep(time.Minute)
		for i := range 64 {
			c.post(i*7, uint16(i%16))
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		got := c.countOf(func(m *nodetest.Member, shard uint16) bool {
			drawn := protocol.Drawn(m.Key.Public(), 16)
			return slices.Contains(drawn[:], shard)
		})
		t.Logf("60 nodes, 16 shards, two of them each: %s", got)
		if got.gossip < 0.999 {
			t.Error("too little")
		}
	})
}

// load is what a node of a network spends in a minute. rpcs are those of gossip, sent and
// received; met are connections that were opened, from either side.
type load struct{ bytes, packets, rpcs, judged, met, cpu float64 }

func (l load) String() string {
	return fmt.Sprintf("%.0f kB in %.0f packets, %.0f RPCs, %.1f judged, %.2f connections opened, %.1f ms of CPU",
		l.bytes/1000, l.packets, l.rpcs, l.judged, l.met, l.cpu)
}

// spent is what one member has spent, but for connections and CPU.
func spent(m *nodetest.Member) load {
	sent, received := m.Bytes()
	judged, _ := m.Judged()
	gossip := m.Gossip.Gossip.Counts()
	return load{
		bytes: float64(sent + received), packets: float64(m.Packets()), judged: float64(judged[0] + judged[1]),
		rpcs: float64(gossip.SentRPC + gossip.ReceivedRPC),
	}
}

// minute measures a network of n nodes, each on two of four shards, with the same
// number of needs on each shard, whatever n.
func minute(t *testing.T, n int, seed uint64) (l load) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Config: netem.Config{Seed: seed}, Shards: 4, Target: 4})
		defer w.Close()
		c := gather(t, w, n)
		time.Sleep(settling)
		var met atomic.Int64
		count := &network.NotifyBundle{ConnectedF: func(network.Network, network.Conn) { met.Add(1) }}
		for _, m := range c.members {
			m.Gossip.Libp2p().Network().Notify(count)
		}
		all := func(sign float64) {
			for _, m := range c.members {
				s := spent(m)
				l.bytes, l.packets, l.judged, l.rpcs = l.bytes+sign*s.bytes, l.packets+sign*s.packets, l.judged+sign*s.judged, l.rpcs+sign*s.rpcs
			}
		}
		began := cpu(t)
		all(-1)
		for i := range 40 {
			c.post(i*7, uint16(i%4))
			time.Sleep(1500 * time.Millisecond)
		}
		all(1)
		each := float64(n)
		l = load{l.bytes / each, l.packets / each, l.rpcs / each, l.judged / each, float64(met.Load()) / each, (cpu(t) - began).Seconds() * 1000 / each}
	})
	return l
}

// four is the mean of four networks, as many nodes in all as the one they are compared
// with: what a node of fifty spends differs from one network to the next by a twentieth.
func four(t *testing.T, n int, seed uint64) (mean load) {
	for i := range uint64(4) {
		l := minute(t, n, 10*seed+i)
		mean.bytes, mean.packets, mean.rpcs = mean.bytes+l.bytes/4, mean.packets+l.packets/4, mean.rpcs+l.rpcs/4
		mean.judged, mean.met, mean.cpu = mean.judged+l.judged/4, mean.met+l.met/4, mean.cpu+l.cpu/4
	}
	return mean
}

// TestMust_cost_flat: what a node spends does not grow with the network. The CPU of
// this process is shown, not held to the bar: two hundred nodes in one process have four times
// the heap and the timers, and what the simulator, the collector and the caches of the
// processor make of that is no node's cost. What makes a node's CPU is held to it: packets,
// each of which is encrypted or decrypted and goes through QUIC; RPCs of gossip;
// announcements judged, each a signature checked and a write; and connections opened, whose
// handshakes cost most of all. TestGrowthBesideItself measures CPU too.
func TestMust_cost_flat(t *testing.T) {
	grows := func(a, b load) string {
		if b.bytes > a.bytes*1.1 || b.packets+b.rpcs > (a.packets+a.rpcs)*1.1 || b.judged > a.judged*1.1 || b.met > a.met+0.75 {
			return fmt.Sprintf("it grew: %s, then %s", a, b)
		}
		return ""
	}
	is := load{bytes: 100, packets: 70, rpcs: 30, judged: 20, met: 0.1}
	for _, more := range []load{{bytes: 11}, {packets: 11}, {rpcs: 11}, {judged: 3}, {met: 1}} {
		if grows(is, load{is.bytes + more.bytes, is.packets + more.packets, is.rpcs + more.rpcs, is.judged + more.judged, is.met + more.met, 0}) == "" {
			t.Fatalf("the check finds nothing wrong with %s more", more)
		}
	}
	small, large := four(t, 50, 1), minute(t, 200, 1)
	t.Logf("each of 50: %s; each of 200: %s; bytes × %.2f, packets and RPCs × %.2f, judged × %.2f, CPU × %.2f", small, large,
		large.bytes/small.bytes, (large.packets+large.rpcs)/(small.packets+small.rpcs), large.judged/small.judged, large.cpu/small.cpu)
	if wrong := grows(small, large); wrong != "" {
		t.Error(wrong)
	}
	// Of forty needs, a node follows the shards of twenty, and posts its share itself.
	if least := 20 * 0.97; small.judged < least-20.0/50 || large.judged < least-20.0/200 {
		t.Errorf("gossip brought %.1f and %.1f of twenty", small.judged, large.judged)
	}
}
