package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

func nobody(peer.ID) float64 { return 0 }

// TestMust_score_offset: rules by which good behaviour in one topic pays for silence in
// another are refused (package score), and would have kept a peer in the mesh that a report
// put out. That such a peer is found is shown at the whole network (package attack).
func TestMust_score_offset(t *testing.T) {
	// The audit is taken by a router under either rules; by the bad ones it is no use.
	spoiled := func(r *score.Rules) { r.Topic.FirstMessageDeliveriesWeight, r.Topic.FirstMessageDeliveriesCap = 20, 20 }
	r := score.For(testShards, nobody)
	if spoiled(&r); !errors.Is(r.Check(testShards), score.ErrOffset) {
		t.Error("such rules are not refused")
	}
	if out := offset(t, spoiled); out >= 0 {
		t.Fatalf("by bad rules the peer was out of the mesh after %v: the check finds nothing", out)
	}
	out := offset(t, func(*score.Rules) {})
	if out < 0 || out > 10*time.Minute {
		t.Errorf("out of the mesh after %v", out)
	}
	t.Logf("a peer perfect in one topic and silent in another: out of the mesh %v after the third report", out)
}

// offset lets a peer earn all it can in shard 0 and withhold in shard 1, of which the
// hub hears by an audit once a minute. It tells how long after the third report the
// peer was out of the mesh of shard 1, -1 for never.
func offset(t *testing.T, change func(*score.Rules)) (out time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		var nodes []*Network
		for range 6 {
			nodes = append(nodes, simulated(t, net, change, nodes...))
		}
		hub, bad := nodes[0], nodes[1]
		for i, n := range nodes {
			hear := func(_ context.Context, _ []byte, shard uint16, _ string) uint8 {
				if i == 1 && shard == 1 {
					return ignore // it takes what comes, and passes nothing on
				}
				return pass
			}
			if err := n.Join([]uint16{0, 1}, hear); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		in := func() bool { return slices.Contains(hub.Gossip.Mesh(1), bad.Libp2p().ID()) }
		for i := range uint64(60) {
			if err := bad.Publish(t.Context(), 0, binary.BigEndian.AppendUint64(nil, i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if !in() {
			t.Fatal("the peer was never in the mesh")
		}
		for range 3 {
			time.Sleep(time.Minute)
			hub.Blame(keeperOf(t, bad), 1, 1)
		}
		began := time.Now()
		for out = -1; time.Since(began) < 10*time.Minute; time.Sleep(time.Second) {
			if !in() {
				out = time.Since(began)
				break
			}
		}
		for _, n := range nodes[2:] {
			if !slices.Contains(hub.Gossip.Mesh(1), n.Libp2p().ID()) {
				t.Error("an honest peer was put out too")
			}
		}
		leave(t, net, nodes)
	})
	return out
}

// simulated opens a public node on a simulated network under changed rules; it knows
// those that are there.
func simulated(t *testing.T, net *netem.Net, change func(*score.Rules), known ...*Network) *Network {
	t.Helper()
	at := net.Add()
	cfg := peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(), Log: quiet(), Now: time.Now,
	}
	for _, n := range known {
		cfg.Bootstrap = append(cfg.Bootstrap, n.Self())
	}
	h, err := peers.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{Host: h}
	blames := newBlames(time.Now)
	r := score.For(testShards, blames.penalty)
	change(&r)
	n.Gossip, err = start(context.Background(), h, Config{Net: testNet, Shards: testShards, Log: quiet(), Now: time.Now}, blames, r)
	if err != nil {
		t.Fatal(err)
	}
	n.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	return n
}

// leave closes nodes and their network inside the bubble.
func leave(t *testing.T, net *netem.Net, nodes []*Network) {
	for _, n := range nodes {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Minute)
	net.Close()
	time.Sleep(15 * time.Minute)
}

func keeperOf(t *testing.T, n *Network) key.KeeperKey {
	t.Helper()
	k, err := address.Keeper(peer.AddrInfo{ID: n.Libp2p().ID()})
	if err != nil {
		t.Fatal(err)
	}
	return k.Key
}

// An honest peer on a quiet topic is never punished: no rule counts what is missing.
func TestQuietTopicsCostNothing(t *testing.T) {
	r := score.For(16, nobody)
	if r.Topic.MeshMessageDeliveriesWeight != 0 || r.Topic.MeshFailurePenaltyWeight != 0 {
		t.Error("deliveries that are missing are scored")
	}
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		var nodes []*Network
		for range 4 {
			nodes = append(nodes, simulated(t, net, func(*score.Rules) {}, nodes...))
			if err := nodes[len(nodes)-1].Join([]uint16{1}, func(context.Context, []byte, uint16, string) uint8 { return pass }); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		for i, n := range nodes {
			if got := len(n.MeshKeepers(1)); got != len(nodes)-1 {
				t.Errorf("node %d: %d peers in the mesh after a silent hour", i, got)
			}
		}
		leave(t, net, nodes)
	})
}

func TestBlamesDecayAndAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBlames(func() time.Time { return now })
	b.report("a", 2, true)
	if p := b.penalty("a"); p != 0 {
		t.Errorf("two withheld cost %v", p)
	}
	now = now.Add(2 * time.Hour)
	b.report("a", 2, true)
	if p := b.penalty("a"); p != 0 {
		t.Errorf("two and two, hours apart, cost %v", p)
	}
	b.report("a", 1, true)
	if p := b.penalty("a"); p != -score.AuditPenalty {
		t.Errorf("three within an hour cost %v", p)
	}
	if b.report("b", 9, false); b.penalty("b") != 0 {
		t.Error("punished although it may not be")
	}
	now = now.Add(blameHalf)
	if p := b.penalty("a"); p != -score.AuditPenalty/2 {
		t.Errorf("%v after %v", p, blameHalf)
	}
	now = now.Add(3 * time.Hour)
	if p := b.penalty("a"); p != 0 {
		t.Errorf("%v after three hours", p)
	}
	for i := range 3 * maxBlamed {
		now = now.Add(time.Second)
		b.report(peer.ID(fmt.Sprint(i)), 3, true)
		if b.size() > maxBlamed {
			t.Fatalf("%d are remembered", b.size())
		}
	}
}

// Reports can put no more than half of those on a topic out of the mesh, and reports
// about nobody, or nothing, do nothing.
func TestBlameEmptiesNoMesh(t *testing.T) {
	nodes, _ := star(t)
	middle := nodes[0]
	middle.Blame(keeperOf(t, nodes[1]), 3, 0)
	middle.Blame(keeperOf(t, nodes[1]), 3, -5)
	middle.Blame(keeperOf(t, nodes[1]), testShards, 5)
	middle.Blame(key.KeeperKey{}, 3, 5)
	if _, blamed := middle.Gossip.Status(); blamed.At != 0 || blamed.Limit != maxBlamed {
		t.Errorf("blamed %+v", blamed)
	}
	punished := 0
	for _, n := range nodes[1:] {
		middle.Blame(keeperOf(t, n), 3, 5)
		if middle.Gossip.blames.penalty(n.Libp2p().ID()) < 0 {
			punished++
		}
	}
	if punished != 1 {
		t.Errorf("%d of two peers are punished", punished)
	}
	until(t, "the other is in the mesh still, and alone", func() bool {
		list := middle.MeshKeepers(3)
		return len(list) == 1 && list[0].Key == keeperOf(t, nodes[2]) && len(list[0].Addrs) > 0
	})
	p := open(t, peers.Personal)
	p.Blame(keeperOf(t, nodes[1]), 3, 5)
	if p.MeshKeepers(3) != nil {
		t.Error("a personal node has a mesh")
	}
}
