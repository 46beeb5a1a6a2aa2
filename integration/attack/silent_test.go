package attack

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// The topic in which attackers are good, and the one in which they are silent.
const (
	spoken = uint16(0)
	quiet  = uint16(1)
)

// A plot is a network with attackers who are in everybody's mesh, and what came of them.
type plot struct {
	crowd *crowd
	of    map[peer.ID]bool // attackers
}

// sybils adds hosts that pass on everything in one topic and nothing in another, and
// answer nothing.
func sybils(t *testing.T, w *nodetest.World, c *crowd, n int) (ids []peer.ID, closeAll func()) {
	good, err := w.Topic(spoken)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := w.Topic(quiet)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*bare, n)
	for i := range all {
		all[i] = start(t, w.Weather(), good, pubsub.ValidationAccept, greedy)
		drop := func(context.Context, peer.ID, *pubsub.Message) pubsub.ValidationResult {
			return pubsub.ValidationIgnore
		}
		if err := all[i].router.RegisterTopicValidator(bad, drop); err != nil {
			t.Fatal(err)
		}
		second, err := all[i].router.Join(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := second.Subscribe(pubsub.WithBufferSize(4096)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, all[i].host.ID())
	}
	together(n, func(i int) {
		for _, m := range c.members {
			all[i].connect(t, m.Gossip.Libp2p().ID(), m.Gossip.Libp2p().Addrs()...)
		}
	})
	return ids, func() {
		for _, a := range all {
			a.close(t)
		}
	}
}

// traitors adds whole nodes, which pull and answer as all do, and pass on by gossip
// what comes in one topic and nothing in another.
func traitors(t *testing.T, w *nodetest.World, _ *crowd, n int) (ids []peer.ID, closeAll func()) {
	for i := range n {
		m := w.Carrier(fmt.Sprint("traitor ", i))
		err := m.Gossip.Join([]uint16{spoken, quiet}, func(_ context.Context, _ []byte, shard uint16, _ string) uint8 {
			if shard == quiet {
				return 1
			}
			return 0
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Gossip.Libp2p().ID())
		time.Sleep(100 * time.Millisecond)
	}
	return ids, func() {}
}

// count tells how many places in the honest meshes of a topic are the attackers', of how
// many, and how many of the honest anybody honest punishes.
func (p *plot) count(shard uint16) (theirs, places, wronged int) {
	for _, m := range p.crowd.members {
		for _, other := range m.Gossip.Gossip.Mesh(shard) {
			places++
			if p.of[other] {
				theirs++
			}
		}
		for _, other := range p.crowd.members {
			if m.Gossip.Gossip.Punished(other.Gossip.Libp2p().ID()) {
				wronged++
			}
		}
	}
	return theirs, places, wronged
}

// A verdict is how a plot went.
type verdict struct {
	before, places int           // the attackers', of so many, before anything is said
	after          int           // the attackers' at the end
	out            time.Duration // until the last of them was out for good; -1 for never
	stay           time.Duration // the longest of one of them in the mesh of an honest one
	wronged        int           // honest peers that were punished by an honest one at once
}

// stays tells how long the attacker that is longest in an honest mesh of the quiet topic
// is in it; since remembers when they came.
func (p *plot) stays(since map[[2]peer.ID]time.Time) (longest time.Duration) {
	for _, m := range p.crowd.members {
		in := m.Gossip.Gossip.Mesh(quiet)
		for bad := range p.of {
			pair := [2]peer.ID{m.Gossip.Libp2p().ID(), bad}
			if !slices.Contains(in, bad) {
				delete(since, pair)
				continue
			}
			if since[pair].IsZero() {
				since[pair] = time.Now()
			}
			longest = max(longest, time.Since(since[pair]))
		}
	}
	return longest
}

// play lets a need be posted every eight seconds in the quiet topic, and one for three of
// these in the other, for eleven minutes.
func play(t *testing.T, lax bool, honest, bad int, attack plan) (v verdict) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 2, Lax: lax})
		defer w.Close()
		p := &plot{crowd: gather(t, w, honest), of: map[peer.ID]bool{}}
		ids, closeAll := attack(t, w, p.crowd, bad)
		defer closeAll()
		for _, id := range ids {
			p.of[id] = true
		}
		time.Sleep(time.Minute)
		v.before, v.places, _ = p.count(quiet)
		v.out = -1
		began, since := time.Now(), map[[2]peer.ID]time.Time{}
		for i := 0; time.Since(began) < 11*time.Minute; i++ {
			p.crowd.post(i, quiet)
			if i%3 == 0 {
				p.crowd.post(i+1, spoken)
			}
			for range 2 {
				time.Sleep(4 * time.Second)
				theirs, _, wronged := p.count(quiet)
				v.after, v.wronged, v.stay = theirs, max(v.wronged, wronged), max(v.stay, p.stays(since))
				if theirs > 0 {
					v.out = -1
				} else if v.out < 0 {
					v.out = time.Since(began)
				}
			}
		}
	})
	return v
}

// A plan adds so many attackers to a crowd.
type plan func(t *testing.T, w *nodetest.World, c *crowd, n int) (ids []peer.ID, closeAll func())

// TestMust_score_offset: who is good in one topic and silent in another is out of each
// mesh of that one within ten minutes, be it a bare Sybil or a whole node that pulls and
// answers truthfully; and nobody honest is. Two that connect late, because one draws the
// other to pull from, have their minutes late: at the end a tenth of the places may be such.
func TestMust_score_offset(t *testing.T) {
	for _, a := range []struct {
		what        string
		honest, bad int
		attack      plan
	}{
		{"bare Sybils", 6, 8, sybils},
		{"whole nodes that pull and answer truthfully", 6, 6, traitors},
	} {
		planted := play(t, true, a.honest, a.bad, a.attack)
		t.Logf("planted, %s, let be: %d of %d places in the meshes theirs; after 11 minutes %d, one stayed for %v", a.what, planted.before, planted.places, planted.after, planted.stay)
		late := func(v verdict) bool { return v.before == 0 || v.stay > 10*time.Minute || 10*v.after > v.before }
		if planted.before == 0 || !late(planted) {
			t.Fatalf("%s are out of the mesh without the defence: the check finds nothing", a.what)
		}
		v := play(t, false, a.honest, a.bad, a.attack)
		t.Logf("%d honest, %d %s, good in one topic and silent in another: %d of %d places theirs; none stayed for longer than %v; after 11 minutes %d, the last gone after %v (-1ns: not gone); honest nodes punished: %d",
			a.honest, a.bad, a.what, v.before, v.places, v.stay, v.after, v.out, v.wronged)
		if late(v) || v.wronged > 0 {
			t.Errorf("%s: %+v", a.what, v)
		}
	}
}

// TestNobodyHonestIsSilent: in networks of several kinds nobody honest is put out of a
// mesh, and none comes near it. HARK_SIM_SCALE=3 has sixty nodes on two of sixteen shards.
func TestNobodyHonestIsSilent(t *testing.T) {
	for _, n := range []struct {
		what   string
		nodes  int
		cfg    nodetest.SimConfig
		churn  bool
		rounds int           // in each of which a need is posted on each shard
		pause  time.Duration // between two rounds
	}{
		{"six nodes", 6, nodetest.SimConfig{Shards: 1}, false, 120, 6 * time.Second},
		{"twenty nodes, slow links of up to half a second, 1 % loss, churn", 20,
			nodetest.SimConfig{Config: netem.Config{Latency: 20 * time.Millisecond, Jitter: 480 * time.Millisecond, Loss: 0.01}, Shards: 1, Target: 5}, true, 60, 8 * time.Second},
		{"few followers", 15 * min(1+scale(), 4), nodetest.SimConfig{Shards: 4 * uint16(min(1+scale(), 4)), Target: 4}, false, 35, 9 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewSimWorld(t, n.cfg)
			defer w.Close()
			p := &plot{crowd: gather(t, w, n.nodes)}
			time.Sleep(time.Minute)
			wronged := 0
			for i := range n.rounds {
				for shard := range n.cfg.Shards {
					p.crowd.post(i*7+int(shard)*3, shard)
				}
				time.Sleep(n.pause)
				if m := p.crowd.members[(i+3)%n.nodes]; n.churn && i%8 == 7 {
					m.Stop()
					m.Start()
				}
				_, _, now := p.count(0)
				wronged = max(wronged, now)
			}
			least, of, watched := -1, 0, 0
			for _, m := range p.crowd.members {
				brought, all := m.Gossip.Gossip.Least()
				if of = all; brought >= 0 && (least < 0 || brought < least) {
					least = brought
				}
				watched += m.Gossip.Gossip.Watched().At
			}
			t.Logf("%s: %d nodes, %d shards, %d pairs of a node and a mesh peer; the peer that brought the fewest brought %d of its last %d; punished: %d", n.what, n.nodes, n.cfg.Shards, watched, least, of, wronged)
			if wronged > 0 || least < 0 {
				t.Error("honest peers were punished, or nobody was known for long enough")
			}
		})
	}
}
