package attack

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

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
