package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

var testNet = protocol.Hash{1, 2, 3}

const testShards = 8

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, profile peers.Profile, bootstrap ...protocol.Keeper) *Network {
	t.Helper()
	return openIn(t, testShards, profile, bootstrap...)
}

// openIn opens a node of a network with so many shards.
func openIn(t *testing.T, shards uint16, profile peers.Profile, bootstrap ...protocol.Keeper) *Network {
	t.Helper()
	cfg := peers.Config{Profile: profile, Key: key.Generate[key.Keeper](), Bootstrap: bootstrap, Log: quiet(), Now: time.Now}
	if profile == peers.Public {
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}
	}
	n, err := Open(context.Background(), cfg, testNet, shards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if profile == peers.Public {
		n.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	}
	return n
}

func topicsOf(n *Network) peers.Fill { topics, _ := n.Gossip.Status(); return topics }

// until polls for at most ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: not within ten seconds", what)
}

// An ear remembers what it heard and says no to junk.
type ear struct {
	mu    sync.Mutex
	heard map[string]string
}

func (e *ear) hear(_ context.Context, raw []byte, shard uint16, from string) uint8 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[fmt.Sprintf("%d %s", shard, raw)] = from
	switch {
	case slices.Equal(raw, []byte("junk")):
		return 2
	case slices.Equal(raw, []byte("early")):
		return 1
	}
	return 0
}

func (e *ear) has(what string) bool { _, ok := e.from(what); return ok }

func (e *ear) from(what string) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from, ok := e.heard[what]
	return from, ok
}

// star is a middle that two others know, joined to a shard; the two are not connected.
func star(t *testing.T) (nodes []*Network, ears []*ear) {
	a := open(t, peers.Public)
	nodes = []*Network{a, open(t, peers.Public, a.Self()), open(t, peers.Public, a.Self())}
	for _, n := range nodes {
		e := &ear{heard: map[string]string{}}
		ears = append(ears, e)
		if err := n.Join([]uint16{3}, e.hear); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all have met the middle", func() bool {
		return len(a.Gossip.router.ListPeers(Topic(testNet, testShards, 3))) == 2
	})
	return nodes, ears
}

func TestPublicNodesHearEachOther(t *testing.T) {
	nodes, ears := star(t)
	for i, n := range nodes {
		word := fmt.Sprintf("from %d", i)
		if err := n.Publish(t.Context(), 3, []byte(word)); err != nil {
			t.Fatal(err)
		}
		until(t, word, func() bool {
			for j, e := range ears {
				if j != i && !e.has("3 "+word) {
					return false
				}
			}
			return true
		})
		if ears[i].has("3 " + word) {
			t.Error("a node hears itself")
		}
	}
	if from, _ := ears[0].from("3 from 1"); from != "127.0.0.0/24" {
		t.Errorf("heard from %q, want the address prefix", from)
	}
}

// A message that one node blames or ignores goes no further, and one that passes does.
func TestVerdictsDecideWhatIsPassedOn(t *testing.T) {
	nodes, ears := star(t)
	for _, word := range []string{"junk", "early"} {
		if err := nodes[1].Publish(t.Context(), 3, []byte(word)); err != nil {
			t.Fatal(err)
		}
		until(t, word, func() bool { return ears[0].has("3 " + word) })
	}
	// The same way, from the middle: whoever published junk is out of the mesh now.
	if err := nodes[0].Publish(t.Context(), 3, []byte("good")); err != nil {
		t.Fatal(err)
	}
	until(t, "good", func() bool { return ears[2].has("3 good") })
	if ears[2].has("3 junk") || ears[2].has("3 early") {
		t.Error("what the node in the middle refused was passed on")
	}
	c, sent := nodes[0].Gossip.Counts(), nodes[1].Gossip.Counts()
	if c.Blamed != 1 || c.Ignored != 1 || c.ReceivedBytes < int64(len("junk")+len("early")) || c.ReceivedRPC == 0 || c.SentRPC == 0 {
		t.Errorf("the node in the middle counts %+v", c)
	}
	if sent.SentBytes < int64(len("junk")+len("early")) || sent.Grafts == 0 {
		t.Errorf("who published counts %+v", sent)
	}
	if c := nodes[2].Gossip.Counts(); c.Kept != 1 {
		t.Errorf("who heard it counts %+v", c)
	}
}

// A node that leaves a topic while a GRAFT is under way to it answers that with nothing.
func TestWhoLeavesDuringAGraftHoldsNoPlace(t *testing.T) {
	middle := open(t, peers.Public)
	other := open(t, peers.Public, middle.Self())
	deaf := func(context.Context, []byte, uint16, string) uint8 { return 0 }
	topic := Topic(testNet, testShards, 3)
	if err := middle.Join([]uint16{3}, deaf); err != nil {
		t.Fatal(err)
	}
	_, taken := middle.Gossip.mesh.peers(topic)
	if err := other.Join([]uint16{3}, deaf); err != nil {
		t.Fatal(err)
	}
	<-taken
	if err := other.Join([]uint16{5}, deaf); err != nil {
		t.Fatal(err)
	}
	until(t, "it has left", func() bool { return len(middle.Gossip.router.ListPeers(topic)) == 0 })
	until(t, "its place is free", func() bool { return len(middle.Gossip.Mesh(3)) == 0 })
}

// TestLeavingIsTakenFromWhoIsThere: whatever an RPC says of leaving, it costs the peer's own
// place, once; what a stranger says, or one that says too much, costs nothing.
func TestLeavingIsTakenFromWhoIsThere(t *testing.T) {
	m := newMesh()
	m.Join("a")
	m.Join("b")
	m.Graft("one", "a")
	said := func(n int, topic string, on bool) *pubsub.RPC {
		rpc := &pubsub.RPC{}
		for range n {
			rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Topicid: &topic, Subscribe: &on})
		}
		return rpc
	}
	for what, c := range map[string]struct {
		from peer.ID
		rpc  *pubsub.RPC
		want int
	}{
		"nothing":               {"one", &pubsub.RPC{}, 0},
		"leaving":               {"one", said(1, "a", false), 1},
		"leaving, a thousand":   {"one", said(1000, "a", false), 1},
		"more than is listened": {"one", said(maxShards+maxUnknown+1, "a", false), 0},
		"coming":                {"one", said(1, "a", true), 0},
		"where it is not":       {"one", said(1, "b", false), 0},
		"of no topic":           {"one", said(1, "", false), 0},
		"a stranger":            {"two", said(1, "a", false), 0},
	} {
		if err := m.leave(c.from, c.rpc); err != nil || len(c.rpc.GetControl().GetPrune()) != c.want {
			t.Errorf("%s: %d places given up, want %d (%v)", what, len(c.rpc.GetControl().GetPrune()), c.want, err)
		}
	}
}

func TestANodeHearsOnlyItsShards(t *testing.T) {
	nodes, ears := star(t)
	if err := nodes[2].Join([]uint16{5}, ears[2].hear); err != nil {
		t.Fatal(err)
	}
	until(t, "it has left", func() bool { return len(nodes[0].Gossip.Mesh(3)) == 1 })
	if err := nodes[1].Publish(t.Context(), 3, []byte("late")); err != nil {
		t.Fatal(err)
	}
	until(t, "late", func() bool { return ears[0].has("3 late") })
	if ears[2].has("3 late") {
		t.Error("heard after it left the shard")
	}
	if got := topicsOf(nodes[2]); got.At != 1 || got.Limit != testShards {
		t.Errorf("Status = %+v", got)
	}
	if err := nodes[2].Join([]uint16{testShards}, ears[2].hear); !errors.Is(err, fault.Malformed) {
		t.Errorf("a shard beyond the last: %v", err)
	}
}

func TestAPersonalNodeIsInNoMesh(t *testing.T) {
	p := open(t, peers.Personal)
	if err := p.Join([]uint16{1}, (&ear{}).hear); !errors.Is(err, fault.Unsupported) {
		t.Errorf("Join = %v", err)
	}
	if err := p.Publish(t.Context(), 1, []byte("x")); !errors.Is(err, fault.Unsupported) {
		t.Errorf("Publish = %v", err)
	}
	if _, err := New(t.Context(), p.Host, Config{Net: testNet, Shards: testShards, Log: quiet(), Now: time.Now}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("New = %v", err)
	}
}

func TestOnlyTopicsOfThisNetwork(t *testing.T) {
	filter := ours{testNet, testShards}
	if !filter.CanSubscribe(Topic(testNet, testShards, 7)) {
		t.Error("our own topic is refused")
	}
	for _, name := range []string{
		Topic(testNet, testShards, 8), Topic(testNet, 16, 7), Topic(protocol.Hash{9}, testShards, 7), "", "7", "/7",
		Topic(testNet, testShards, 7) + "/", "x" + Topic(testNet, testShards, 7), Topic(testNet, testShards, 0) + "7",
	} {
		if filter.CanSubscribe(name) {
			t.Errorf("%q is let through", name)
		}
	}
}

func TestCloseWaitsForWhoJudges(t *testing.T) {
	nodes, _ := star(t)
	begun, finish, done := make(chan struct{}, 64), make(chan struct{}), make(chan error)
	slow := func(context.Context, []byte, uint16, string) uint8 {
		begun <- struct{}{}
		<-finish
		return 0
	}
	if err := nodes[0].Join([]uint16{3}, slow); err != nil {
		t.Fatal(err)
	}
	tries := 0
	until(t, "judging", func() bool {
		if tries++; tries%100 == 1 {
			if err := nodes[1].Publish(t.Context(), 3, []byte(fmt.Sprint("slow ", tries))); err != nil {
				t.Fatal(err)
			}
		}
		return len(begun) > 0
	})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := nodes[0].Gossip.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v while an announcement is being judged", err)
	}
	go func() { done <- nodes[0].Gossip.Close(context.Background()) }()
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := nodes[0].Publish(t.Context(), 3, []byte("x")); !errors.Is(err, fault.Offline) {
		t.Errorf("Publish after Close = %v", err)
	}
}

// BenchmarkPublish is from Publish at one node to Hear at its neighbour, loopback.
func BenchmarkPublish(b *testing.B) {
	h := make(chan struct{}, 1)
	var nodes []*Network
	for i := range 2 {
		cfg := peers.Config{Profile: peers.Public, Key: key.Generate[key.Keeper](), Log: quiet(), Now: time.Now, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}
		if i > 0 {
			cfg.Bootstrap = []protocol.Keeper{nodes[0].Self()}
		}
		n, err := Open(b.Context(), cfg, testNet, testShards)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = n.Close(context.Background()) }()
		nodes = append(nodes, n)
		if err := n.Join([]uint16{1}, func(context.Context, []byte, uint16, string) uint8 { h <- struct{}{}; return 0 }); err != nil {
			b.Fatal(err)
		}
	}
	for len(nodes[0].Gossip.Mesh(1)) == 0 || len(nodes[1].Gossip.Mesh(1)) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	n := 0
	for b.Loop() {
		n++
		if err := nodes[1].Publish(b.Context(), 1, []byte(fmt.Sprint("message ", n))); err != nil {
			b.Fatal(err)
		}
		<-h
	}
}
