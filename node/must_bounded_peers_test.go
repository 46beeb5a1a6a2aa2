package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// peersFloods are done to real hosts on loopback.
var peersFloods = map[string]func(t *testing.T){
	"peers.connections": connectionFlood,
	"peers.streams":     streamFlood,
	"peers.known":       knownFlood,
	"peers.connected":   connectedFlood,
	"gossip.topics":     topicFlood,
	"gossip.blamed":     blameFlood,
	"gossip.watched":    watchFlood,
	"gossip.judging":    judgeFlood,
}

// openHost opens a host that ends with the test. A public one repeats what it is told.
func openHost(t *testing.T, p peers.Profile, lim peers.Limits, bootstrap ...protocol.Keeper) *peers.Host {
	t.Helper()
	cfg := peers.Config{Profile: p, Key: key.Generate[key.Keeper](), Bootstrap: bootstrap, Limits: lim, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	if p == peers.Public {
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	}
	h, err := peers.Open(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{peers.ProtoMail, peers.ProtoPost, peers.ProtoSync} {
		h.Serve(proto, func(_ context.Context, c peers.Conn, _ string) { _, _ = io.Copy(c, c) })
	}
	t.Cleanup(func() { closeHost(t, h) })
	return h
}

func closeHost(t *testing.T, h interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
}

// talk says something on a stream and wants it back.
func talk(c peers.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// meet opens a stream and talks on it; it stays open.
func meet(t *testing.T, from *peers.Host, to protocol.Keeper, proto string) (peers.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, to, proto)
	if err != nil {
		return nil, err
	}
	return c, talk(c)
}

// mustMeet is meet where nothing may go wrong.
func mustMeet(t *testing.T, from *peers.Host, to protocol.Keeper, who string) peers.Conn {
	t.Helper()
	c, err := meet(t, from, to, peers.ProtoMail)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	return c
}

// within polls for at most ten seconds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: not within ten seconds", what)
}

// connectionFlood lets more hosts connect than there may be connections. Those who are
// there go on, and what is kept for the node's own calls is not taken.
func connectionFlood(t *testing.T) {
	target := openHost(t, peers.Public, peers.Limits{Conns: 16})
	connections := func() peers.Fill { _, _, c, _ := target.Status(); return c }
	friend, shop := openHost(t, peers.Personal, peers.Limits{}), openHost(t, peers.Public, peers.Limits{})
	held := mustMeet(t, friend, target.Self(), "a customer, before")
	refused := 0
	for range 30 {
		if _, err := meet(t, openHost(t, peers.Personal, peers.Limits{}), target.Self(), peers.ProtoMail); err != nil {
			refused++
		}
		if c := connections(); c.At > c.Limit {
			t.Fatalf("%d connections of %d", c.At, c.Limit)
		}
	}
	if refused != 30-11 { // three in four are strangers', of which one is the customer's
		t.Errorf("%d of 30 strangers were refused, want 19", refused)
	}
	for range 4 {
		mustMeet(t, target, openHost(t, peers.Public, peers.Limits{}).Self(), "the node's own call")
	}
	if c := connections(); c.At != 16 || c.Limit != 16 {
		t.Errorf("%d connections of %d, want all 16", c.At, c.Limit)
	}
	if _, err := meet(t, target, shop.Self(), peers.ProtoMail); !errors.Is(err, fault.Offline) {
		t.Errorf("one too many: %v", err)
	}
	if err := talk(held); err != nil {
		t.Errorf("the customer, at the one that is flooded: %v", err)
	}
	mustMeet(t, friend, shop.Self(), "the customer, elsewhere")
}

// streamFlood lets hosts of one address prefix open more streams than are served.
func streamFlood(t *testing.T) {
	target := openHost(t, peers.Public, peers.Limits{Streams: 16})
	streams := func() peers.Fill { _, _, _, s := target.Status(); return s }
	friend := openHost(t, peers.Personal, peers.Limits{})
	held, refused := mustMeet(t, friend, target.Self(), "a customer, before"), 0
	for range 3 {
		stranger := openHost(t, peers.Personal, peers.Limits{})
		for range 6 {
			if _, err := meet(t, stranger, target.Self(), peers.ProtoSync); err != nil {
				refused++
			}
			if s := streams(); s.At > s.Limit {
				t.Fatalf("%d streams of %d", s.At, s.Limit)
			}
		}
	}
	if refused != 18-7 { // one prefix has half, of which one is the customer's
		t.Errorf("%d of 18 streams were refused, want 11", refused)
	}
	for i := range 9 { // another prefix: the node's way to itself
		_, err := meet(t, target, target.Self(), peers.ProtoMail)
		if want := i < 8; (err == nil) != want || !want && !errors.Is(err, fault.Full) {
			t.Errorf("somebody else's stream %d: %v", i, err)
		}
	}
	if s := streams(); s.At != 16 || s.Limit != 16 {
		t.Errorf("%d streams of %d, want all 16", s.At, s.Limit)
	}
	if err := talk(held); err != nil {
		t.Errorf("the customer, at the one that is flooded: %v", err)
	}
}

// nobodies are public nodes that there are not, named as if they were here.
func nobodies(n int) (out []protocol.Keeper) {
	addr := []byte{4, 127, 0, 0, 1, 6, 0, 9} // tcp port 9
	for range n {
		out = append(out, protocol.Keeper{Key: key.Generate[key.Keeper]().Public(), Addrs: [][]byte{addr}})
	}
	return out
}

// knownFlood names more public nodes than are remembered.
func knownFlood(t *testing.T) {
	var there []protocol.Keeper
	for range 7 { // with the friend as many as a node keeps up with: it tries nobody else
		there = append(there, openHost(t, peers.Public, peers.Limits{}).Self())
	}
	friend := openHost(t, peers.Public, peers.Limits{})
	target := openHost(t, peers.Public, peers.Limits{Known: 16}, append(there, friend.Self())...)
	knows := func(h *peers.Host) bool {
		return slices.ContainsFunc(target.View(), func(k peers.Known) bool { return k.Keeper.Key == h.Self().Key && k.Connected })
	}
	within(t, "the friends are connected", func() bool { _, c, _, _ := target.Status(); return c.At == 8 && knows(friend) })
	for range 8 {
		target.Learn(nobodies(24), peers.WayExchange)
		if known, _, _, _ := target.Status(); known.At != 16 || known.Limit != 16 {
			t.Fatalf("%d nodes are known of %d", known.At, known.Limit)
		}
	}
	newcomer := openHost(t, peers.Public, peers.Limits{}, target.Self())
	within(t, "one who is really there is known", func() bool { return knows(newcomer) })
	if known, _, _, _ := target.Status(); known.At != 16 || !knows(friend) {
		t.Errorf("%d nodes are known of 16, the friend: %v", known.At, knows(friend))
	}
}

// connectedFlood lets more public nodes connect than are remembered: none that is there
// is forgotten, and one more is served all the same.
func connectedFlood(t *testing.T) {
	target := openHost(t, peers.Public, peers.Limits{Known: 10})
	var there []*peers.Host
	for range 10 {
		there = append(there, openHost(t, peers.Public, peers.Limits{}, target.Self()))
	}
	connected := func() peers.Fill { _, c, _, _ := target.Status(); return c }
	within(t, "all are connected", func() bool { return connected() == peers.Fill{At: 10, Limit: 10} })
	more := openHost(t, peers.Public, peers.Limits{}, target.Self())
	mustMeet(t, more, target.Self(), "one more")
	for i, h := range there {
		mustMeet(t, h, target.Self(), fmt.Sprint("one that was there, ", i))
	}
	if c := connected(); c.At != 10 {
		t.Errorf("%d nodes are known and connected, of %d", c.At, c.Limit)
	}
}

// shards are those of the network in which gossip is flooded.
const shards = 8

// openGossip opens a host with topics, which ends with the test.
func openGossip(t *testing.T, bootstrap ...protocol.Keeper) *gossip.Network {
	t.Helper()
	n, err := gossip.Open(context.WithoutCancel(t.Context()), peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
		Bootstrap: bootstrap, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}, protocol.Hash{1, 2, 3}, shards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, n) })
	n.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	return n
}

// isHeard publishes until what is published is heard.
func isHeard(t *testing.T, from *gossip.Network, heard *atomic.Int64) {
	t.Helper()
	n, before := 0, heard.Load()
	within(t, "somebody else is heard", func() bool {
		n++
		if err := from.Publish(t.Context(), 3, fmt.Append(nil, "need ", before, n)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		return heard.Load() > before
	})
}

// blameFlood blames more peers than are remembered: whoever would be blamed had to be
// in a mesh, and left since. The one that is there stays in the mesh and is heard; it
// is blamed itself at last, as if it had not been lost among so many.
func blameFlood(t *testing.T) {
	var heard atomic.Int64
	target := openGossip(t)
	other := openGossip(t, target.Self())
	if err := target.Join([]uint16{3}, func(context.Context, []byte, uint16, string) uint8 { heard.Add(1); return 0 }); err != nil {
		t.Fatal(err)
	}
	if err := other.Join([]uint16{3}, func(context.Context, []byte, uint16, string) uint8 { return 0 }); err != nil {
		t.Fatal(err)
	}
	isHeard(t, other, &heard)
	_, blamed := target.Gossip.Status()
	for range blamed.Limit + 100 {
		target.Blame(key.Generate[key.Keeper]().Public(), 3, 5)
		if _, f := target.Gossip.Status(); f.At > f.Limit {
			t.Fatalf("%d are blamed of %d", f.At, f.Limit)
		}
	}
	if _, f := target.Gossip.Status(); f.At != f.Limit {
		t.Errorf("%d are blamed of %d", f.At, f.Limit)
	}
	isHeard(t, other, &heard)
	target.Blame(other.Self().Key, 3, 1) // less than what counts: a place is found for it
	if _, f := target.Gossip.Status(); f.At != f.Limit {
		t.Errorf("%d are blamed of %d", f.At, f.Limit)
	}
	if !slices.ContainsFunc(target.MeshKeepers(3), func(k protocol.Keeper) bool { return k.Key == other.Self().Key }) {
		t.Error("somebody else is out of the mesh")
	}
}

// watchFlood is more peers in meshes than it is counted of what they bring. The others'
// turn comes, and nobody is taken for silent.
func watchFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 2})
		defer w.Close()
		var all []*nodetest.Member
		for i := range 5 {
			all = append(all, w.Carrier(fmt.Sprint("carrier ", i)))
		}
		target := all[0]
		target.Gossip.Gossip.Watch(2)
		time.Sleep(time.Minute)
		for i := range 40 {
			for shard := range uint16(2) {
				raw, err := w.Need(shard, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				if err := all[1+i%4].Post(t.Context(), raw); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(8 * time.Second)
			if f := target.Gossip.Gossip.Watched(); f.At > f.Limit || f.Limit != 2 {
				t.Fatalf("%d are watched of %d", f.At, f.Limit)
			}
		}
		if f := target.Gossip.Gossip.Watched(); f.At != f.Limit {
			t.Errorf("%d are watched of %d", f.At, f.Limit)
		}
		for _, m := range all[1:] {
			if target.Gossip.Gossip.Punished(m.Gossip.Libp2p().ID()) {
				t.Errorf("%s is taken for silent", m.Name)
			}
		}
		if n, err := target.Heard(); err != nil || len(n) != 80 {
			t.Errorf("%d of 80 are on the board: %v", len(n), err)
		}
	})
}

// topicFlood joins all topics and more.
func topicFlood(t *testing.T) {
	var heard atomic.Int64
	hear := func(context.Context, []byte, uint16, string) uint8 { heard.Add(1); return 0 }
	target := openGossip(t)
	other := openGossip(t, target.Self())
	if err := other.Join([]uint16{3}, hear); err != nil {
		t.Fatal(err)
	}
	all := []uint16{}
	for i := range uint16(2 * shards) {
		all = append(all, i)
		err := target.Join(all, hear)
		if want := i < shards; (err == nil) != want || !want && !errors.Is(err, fault.Malformed) {
			t.Errorf("topic %d: %v", i, err)
		}
		if f, _ := target.Gossip.Status(); f.At > f.Limit {
			t.Fatalf("%d topics of %d", f.At, f.Limit)
		}
	}
	if f, _ := target.Gossip.Status(); f != (peers.Fill{At: shards, Limit: shards}) {
		t.Errorf("%d topics of %d", f.At, f.Limit)
	}
	isHeard(t, other, &heard)
}
