package attack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol/wire"
)

// A crowd is a network of carriers in which needs are posted, and what came of them.
type crowd struct {
	t       *testing.T
	w       *nodetest.World
	members []*nodetest.Member
	posted  map[string]time.Time
	at      map[string]spot
}

// A spot is where a need was posted, and on which shard.
type spot struct {
	m     *nodetest.Member
	shard uint16
}

// gather starts n carriers, a tenth of a second after each other.
func gather(t *testing.T, w *nodetest.World, n int) *crowd {
	c := &crowd{t: t, w: w, posted: map[string]time.Time{}, at: map[string]spot{}}
	for i := range n {
		c.members = append(c.members, w.Carrier(fmt.Sprint("carrier ", i)))
		time.Sleep(100 * time.Millisecond)
	}
	return c
}

// post announces a need on a shard at a member.
func (c *crowd) post(at int, shard uint16) {
	c.t.Helper()
	raw, err := c.w.Need(shard, 24*time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	m := c.members[at%len(c.members)]
	c.posted[wire.ID(raw).String()], c.at[wire.ID(raw).String()] = time.Now(), spot{m, shard}
	if err := m.Post(context.Background(), raw); err != nil {
		c.t.Fatal(err)
	}
}

// An outcome is what came of all that was posted, at all members.
type outcome struct {
	gossip float64       // share that gossip brought within ten seconds, author's node aside
	p99    time.Duration // of what gossip brought
	all    float64       // share that is on the boards
	worst  time.Duration // until it was
}

func (o outcome) String() string {
	return fmt.Sprintf("%.3f %% by gossip, p99 %v; %.3f %% in all, the last after %v",
		100*o.gossip, o.p99.Round(time.Millisecond), 100*o.all, o.worst.Round(time.Millisecond))
}

// count looks what is where, in a network whose nodes all follow all shards.
func (c *crowd) count() outcome {
	return c.countOf(func(*nodetest.Member, uint16) bool { return true })
}

// countOf looks what is where it should be.
func (c *crowd) countOf(follows func(*nodetest.Member, uint16) bool) (o outcome) {
	c.t.Helper()
	var took []time.Duration
	wanted, there, own := 0, 0, 0
	for _, m := range c.members {
		byGossip := m.Gossiped()
		boards, err := m.Heard()
		if err != nil {
			c.t.Fatal(err)
		}
		for id, at := range c.posted {
			if !follows(m, c.at[id].shard) {
				continue
			}
			if wanted++; c.at[id].m == m {
				own++
			}
			if heard, ok := byGossip[id]; ok && heard.Sub(at) < 10*time.Second {
				took = append(took, heard.Sub(at))
			}
			if heard, ok := boards[id]; ok {
				there++
				o.worst = max(o.worst, heard.Sub(at))
			}
		}
	}
	slices.SortFunc(took, cmp.Compare[time.Duration])
	o.gossip = float64(len(took)) / float64(wanted-own)
	if len(took) > 0 {
		o.p99 = took[len(took)*99/100]
	}
	o.all = float64(there) / float64(wanted)
	return o
}
