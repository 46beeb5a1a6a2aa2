package gossip

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// dialledInMesh fills a node's mesh with twenty strangers who dial in, lets it dial three
// of those who are on the topic and have a mesh already, and tells how few of the three were in its mesh in any second of
// the last two minutes.
func dialledInMesh(t *testing.T, change func(*score.Rules)) (least int) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		hub := simulated(t, net, change)
		nodes := []*Network{hub}
		join := func(n *Network) {
			if err := n.Join([]uint16{1}, func(context.Context, []byte, uint16, string) uint8 { return pass }); err != nil {
				t.Fatal(err)
			}
		}
		join(hub)
		for range 20 {
			nodes = append(nodes, simulated(t, net, func(*score.Rules) {}, hub))
			join(nodes[len(nodes)-1])
		}
		time.Sleep(10 * time.Second)
		var others []*Network // who have enough of each other, so that none of them asks for a place
		for range 10 {
			others = append(others, simulated(t, net, func(*score.Rules) {}, others...))
			join(others[len(others)-1])
		}
		nodes = append(nodes, others...)
		time.Sleep(30 * time.Second)
		var own []peer.ID
		for _, n := range others[:3] {
			info := address.Info(n.Self())
			if err := hub.Libp2p().Connect(t.Context(), info); err != nil {
				t.Fatal(err)
			}
			own = append(own, n.Libp2p().ID())
		}
		time.Sleep(time.Minute)
		least = len(own)
		for range 120 {
			time.Sleep(time.Second)
			in := 0
			for _, p := range hub.Gossip.Mesh(1) {
				if slices.Contains(own, p) {
					in++
				}
			}
			least = min(least, in)
		}
		leave(t, net, nodes)
	})
	return least
}

// TestStrangersDoNotCrowdOutWhomWeDialled: however many dial in, at least Dout of a mesh
// are peers that the node chose itself. Without the quota they are crowded out.
func TestStrangersDoNotCrowdOutWhomWeDialled(t *testing.T) {
	if got := dialledInMesh(t, func(r *score.Rules) { r.Mesh.Dout = 0 }); got >= 3 {
		t.Fatalf("without the quota %d of 3 stay: these strangers are no crowd", got)
	}
	got := dialledInMesh(t, func(*score.Rules) {})
	t.Logf("20 strangers dialled in: at least %d of the 3 that the node dialled are in its mesh at any time", got)
	if got < 3 {
		t.Errorf("%d of 3", got)
	}
}

// told lets a node in whose mesh nobody passes anything on be connected with one that is
// not in it and does, among thirty to whom that one could tell instead what it has. Of
// twenty messages it tells how many came, and how long the slowest took.
func told(t *testing.T, change func(*score.Rules)) (came int, slowest time.Duration) {
	const said = 20
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		apart := func(r *score.Rules) { // whom they dialled, or heard from, gets no place for that
			r.Mesh.Dout, r.Mesh.OpportunisticGraftTicks = 0, 1<<40
			change(r)
		}
		friend, alone := simulated(t, net, apart), simulated(t, net, apart)
		var mu sync.Mutex
		nodes, at, took := []*Network{friend, alone}, map[string]time.Time{}, []time.Duration{}
		join := func(n *Network, hear peers.Hear) {
			if err := n.Join([]uint16{1}, hear); err != nil {
				t.Fatal(err)
			}
		}
		join(friend, func(context.Context, []byte, uint16, string) uint8 { return pass })
		join(alone, func(_ context.Context, raw []byte, _ uint16, _ string) uint8 {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(at[string(raw)]))
			return pass
		})
		for range 30 {
			deaf := simulated(t, net, func(*score.Rules) {}, friend, alone)
			nodes = append(nodes, deaf)
			join(deaf, func(context.Context, []byte, uint16, string) uint8 { return ignore })
		}
		time.Sleep(30 * time.Second)
		if err := alone.Libp2p().Connect(t.Context(), address.Info(friend.Self())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if slices.Contains(alone.Gossip.Mesh(1), friend.Libp2p().ID()) {
			t.Fatal("they are in each other's mesh")
		}
		for i := range uint64(said) {
			raw := binary.BigEndian.AppendUint64(nil, i)
			mu.Lock()
			at[string(raw)] = time.Now()
			mu.Unlock()
			if err := friend.Publish(t.Context(), 1, raw); err != nil {
				t.Fatal(err)
			}
			time.Sleep(9700 * time.Millisecond) // another moment between two heartbeats each time
		}
		mu.Lock()
		came, slowest = len(took), slices.Max(append(took, 0))
		mu.Unlock()
		leave(t, net, nodes)
	})
	return came, slowest
}

// TestWhoIsInNoMeshIsToldAtOnce: a node among peers that drop everything hears of a
// message within a heartbeat, and the time to ask for it, from the one good peer that it is
// connected with. As gossipsub has it, a quarter are told each time.
func TestWhoIsInNoMeshIsToldAtOnce(t *testing.T) {
	soon := func(came int, slowest time.Duration) bool { return came == 20 && slowest <= 1200*time.Millisecond }
	planted := func(r *score.Rules) { r.Mesh.GossipFactor = pubsub.GossipSubGossipFactor }
	came, slowest := told(t, planted)
	t.Logf("planted, a quarter are told: %d of 20 came, the slowest after %v", came, slowest)
	if soon(came, slowest) {
		t.Fatal("when a quarter are told all come at once: the check finds nothing")
	}
	came, slowest = told(t, func(*score.Rules) {})
	t.Logf("%d of 20 came, the slowest after %v", came, slowest)
	if !soon(came, slowest) {
		t.Error("too few, or too late")
	}
}

// afterAFlood has one peer say more at once than a node can judge, all of it worth
// nothing, while another says little that is worth keeping; then both say a hundred things
// slowly. It tells how much of that the node judged, of each.
func afterAFlood(t *testing.T, change func(*score.Rules)) (flooder, honest int64) {
	const flood, after, judgeFor = 1200, 100, 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		hub := simulated(t, net, change)
		nodes := []*Network{hub, simulated(t, net, func(*score.Rules) {}, hub), simulated(t, net, func(*score.Rules) {}, hub)}
		var judged [2]atomic.Int64
		for i, n := range nodes {
			hear := func(_ context.Context, raw []byte, _ uint16, _ string) uint8 {
				if i != 0 {
					return pass
				}
				judged[raw[0]].Add(1)
				time.Sleep(judgeFor)
				if raw[0] == 0 {
					return ignore
				}
				return pass
			}
			if err := n.Join([]uint16{1}, hear); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		said := uint64(0)
		say := func(who byte, pause time.Duration) {
			said++
			if err := nodes[1+who].Publish(t.Context(), 1, binary.BigEndian.AppendUint64([]byte{who}, said)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
		}
		for range 20 {
			say(1, 100*time.Millisecond)
		}
		for range flood {
			say(0, time.Millisecond)
		}
		time.Sleep(2 * judgeFor)
		judged[0].Store(0)
		judged[1].Store(0)
		for range after {
			say(0, 100*time.Millisecond)
			say(1, 100*time.Millisecond)
		}
		time.Sleep(2 * judgeFor)
		flooder, honest = judged[0].Load(), judged[1].Load()
		leave(t, net, nodes)
	})
	return flooder, honest
}

// TestWhoFloodsIsGated: from a peer that made a node drop messages unheard, and brought
// nothing, little is taken for a while; one that brings what is worth keeping is heard as
// before. Without the gater both are.
func TestWhoFloodsIsGated(t *testing.T) {
	gated := func(flooder int64) bool { return flooder <= 30 }
	if flooder, honest := afterAFlood(t, func(r *score.Rules) { r.Gater = nil }); gated(flooder) || honest < 90 {
		t.Fatalf("without the gater %d of 100 of the flooder's and %d of the other's are judged: this flood shows nothing", flooder, honest)
	}
	flooder, honest := afterAFlood(t, func(*score.Rules) {})
	t.Logf("of 100 messages after a flood %d of the flooder's are judged, and %d of the other's", flooder, honest)
	if !gated(flooder) || honest < 90 {
		t.Errorf("%d of the flooder's, %d of the other's", flooder, honest)
	}
}
