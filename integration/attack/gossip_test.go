package attack

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol/wire"
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
		time.Sleep(2 * time.Minute)
		for i := range 64 {
			c.post(i*7, uint16(i%16))
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		got := c.countOf(func(m *nodetest.Member, shard uint16) bool {
			drawn := wire.Drawn(m.Key.Public(), 16)
			return slices.Contains(drawn[:], shard)
		})
		t.Logf("60 nodes, 16 shards, two of them each: %s", got)
		if got.gossip < 0.999 {
			t.Error("too little")
		}
	})
}

// load is what a node of a network spends in a minute.
type load struct{ bytes, judged, cpu float64 }

// minute measures a network of n nodes, each on two of four shards, with the same
// number of needs on each shard, whatever n.
func minute(t *testing.T, n int) (l load) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 4, Target: 4})
		defer w.Close()
		c := gather(t, w, n)
		time.Sleep(2 * time.Minute)
		bytes, began := func() (b, j float64) {
			for _, m := range c.members {
				sent, received := m.Bytes()
				count, _ := m.Judged()
				b, j = b+float64(sent+received), j+float64(count[0]+count[1])
			}
			return b, j
		}, cpu(t)
		b0, j0 := bytes()
		for i := range 40 {
			c.post(i*7, uint16(i%4))
			time.Sleep(1500 * time.Millisecond)
		}
		b1, j1 := bytes()
		l = load{(b1 - b0) / float64(n), (j1 - j0) / float64(n), (cpu(t) - began).Seconds() * 1000 / float64(n)}
	})
	return l
}

// TestMust_cost_flat: what a node spends does not grow with the network. The CPU is
// that of the whole process, with its noise, and is shown; bytes and what was judged
// are held to the bar.
func TestMust_cost_flat(t *testing.T) {
	grows := func(a, b load) (wrong string) {
		if b.bytes > a.bytes*1.1 || b.judged > a.judged*1.1 {
			wrong = fmt.Sprintf("bytes × %.2f, judged × %.2f", b.bytes/a.bytes, b.judged/a.judged)
		}
		return wrong
	}
	if grows(load{bytes: 100, judged: 10}, load{bytes: 111, judged: 10}) == "" || grows(load{bytes: 100, judged: 10}, load{bytes: 99, judged: 12}) == "" {
		t.Fatal("the check finds nothing")
	}
	small, large := minute(t, 50), minute(t, 200)
	t.Logf("50 nodes: %.0f kB, %.1f judged, %.1f ms of CPU each; 200 nodes: %.0f kB, %.1f judged, %.1f ms: bytes × %.2f, judged × %.2f, CPU × %.2f",
		small.bytes/1000, small.judged, small.cpu, large.bytes/1000, large.judged, large.cpu, large.bytes/small.bytes, large.judged/small.judged, large.cpu/small.cpu)
	if wrong := grows(small, large); wrong != "" {
		t.Error(wrong)
	}
}
