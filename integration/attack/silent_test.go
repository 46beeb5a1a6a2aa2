package attack

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/nodetest"
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
	close func()
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
		drop := func(context.Context, peer.ID, *pubsub.Message) pubsub.ValidationResult { return pubsub.ValidationIgnore }
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
	wronged        int           // honest peers that were ever punished by an honest one
}

// play lets three needs a minute be posted in each topic, for so long.
func play(t *testing.T, lax bool, honest, bad int, long time.Duration, attack func(*testing.T, *nodetest.World, *crowd, int) ([]peer.ID, func())) (v verdict) {
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
		began := time.Now()
		v.out = -1
		for i := 0; time.Since(began) < long; i++ {
			p.crowd.post(i, quiet)
			p.crowd.post(i+1, spoken)
			for range 4 {
				time.Sleep(5 * time.Second)
				theirs, _, wronged := p.count(quiet)
				v.wronged = max(v.wronged, wronged)
				if v.after = theirs; theirs > 0 {
					v.out = -1
				} else if v.out < 0 {
					v.out = time.Since(began)
				}
			}
		}
	})
	return v
}

// TestMust_score_offset: who is good in one topic and silent in another is out of the
// mesh of that one within ten minutes, be it a bare Sybil or a whole node that pulls and
// answers truthfully; and nobody honest is.
func TestMust_score_offset(t *testing.T) {
	for _, a := range []struct {
		what        string
		honest, bad int
		attack      func(*testing.T, *nodetest.World, *crowd, int) ([]peer.ID, func())
	}{
		{"bare Sybils", 6, 8, sybils},
		{"whole nodes that pull honestly", 6, 6, traitors},
	} {
		planted := play(t, true, a.honest, a.bad, 12*time.Minute, a.attack)
		t.Logf("planted, %s, nobody watches: %d of %d places theirs; after 12 minutes %d", a.what, planted.before, planted.places, planted.after)
		if planted.before == 0 || planted.out >= 0 {
			t.Fatalf("%s are out of the mesh without the defence: the check finds nothing", a.what)
		}
		v := play(t, false, a.honest, a.bad, 12*time.Minute, a.attack)
		t.Logf("%d honest, %d %s, good in one topic and silent in another: %d of %d places theirs; all out after %v, %d at the end; honest nodes punished: %d",
			a.honest, a.bad, a.what, v.before, v.places, v.out, v.after, v.wronged)
		if v.before == 0 || v.out < 0 || v.out > 10*time.Minute || v.wronged > 0 {
			t.Errorf("%s: %+v", a.what, v)
		}
	}
}

