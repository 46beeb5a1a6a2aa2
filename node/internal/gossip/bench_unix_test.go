//go:build unix

package gossip

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// The benchmark's networks: every host has eight peers, all in its mesh.
const (
	benchHosts  = 9
	benchRound  = 120                  // messages
	benchPause  = 5 * time.Millisecond // between two of them
	benchRounds = 5
)

// A fleet is a network of hosts that pass messages on.
type fleet struct {
	publish func(at, number int) error
	heard   atomic.Int64 // messages of others, by all hosts
	sent    int
	close   []func() error
}

// round publishes messages and gives the CPU of the process for each message and host.
func (f *fleet) round(b *testing.B) time.Duration {
	b.Helper()
	want := f.heard.Load() + benchRound*(benchHosts-1)
	used := processCPU(b)
	for range benchRound {
		if err := f.publish(f.sent%benchHosts, f.sent); err != nil {
			b.Fatal(err)
		}
		f.sent++
		time.Sleep(benchPause)
	}
	for range 2000 {
		if f.heard.Load() >= want {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := f.heard.Load(); got < want {
		b.Fatalf("%d of %d messages came", got, want)
	}
	return (processCPU(b) - used) / (benchRound * benchHosts)
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMesh is our mesh, at eight peers and no less.
func benchMesh() pubsub.GossipSubParams {
	p := score.MeshParams()
	p.Dlo = p.D
	return p
}

// needs are announcements on shard 0 of a network with one shard.
func needs(b *testing.B, n int) [][]byte {
	b.Helper()
	out := make([][]byte, n)
	for i := range out {
		ctx, now := key.Generate[key.Context](), protocol.Second(time.Now().Unix())
		body, commitment, err := wire.SealBody(protocol.Demand{Name: "nothing"}, key.NewSecret(), ctx.Public(), 1)
		if err != nil {
			b.Fatal(err)
		}
		out[i], err = wire.SignAnnouncement(ctx, &protocol.Announcement{
			Header: protocol.Header{Net: testNet, ID: wire.NewID(), Seq: 1, Created: now, Expires: now + protocol.Day},
			Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA",
			Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: protocol.Hash{8}, Mailbox: key.Generate[key.Mailbox]().Public(),
			Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}, Body: body, Commitment: commitment,
		}, protocol.LaneNone, 0)
		if err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// publicNodes are ours: gossip, the door, the board, what a keeper does with them.
func publicNodes(b *testing.B, raws [][]byte, open func() kv.Store) *fleet {
	b.Helper()
	f := &fleet{}
	var nodes []*Network
	for range benchHosts {
		k := key.Generate[key.Keeper]()
		cfg := peers.Config{Profile: peers.Public, Key: k, Log: quiet(), Now: time.Now, Target: benchHosts, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}
		for _, n := range nodes {
			cfg.Bootstrap = append(cfg.Bootstrap, n.Self())
		}
		h, err := peers.Open(context.Background(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		n, blames := &Network{Host: h}, newBlames(time.Now)
		r := score.For(1, blames.penalty)
		r.Mesh = benchMesh()
		if n.Gossip, err = start(context.Background(), h, Config{Net: testNet, Shards: 1, Log: quiet(), Now: time.Now}, blames, r); err != nil {
			b.Fatal(err)
		}
		store := open()
		onBoard, err := board.Open(store, 1, board.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		boxes, err := mailbox.Open(store, k, mailbox.Policy{})
		if err != nil {
			b.Fatal(err)
		}
		kept, err := keeper.New(context.Background(), keeper.Config{
			Key: k, Duties: protocol.DefaultDuties, Board: onBoard, Mail: boxes, Port: n, Log: quiet(), Now: time.Now, Tell: n.Tell,
			Door:  &check.Door{Net: testNet, Shards: 1, Lanes: []protocol.LaneRule{{Lane: protocol.LaneNone}}, Memory: onBoard},
			Fresh: func(wire.Heard) { f.heard.Add(1) },
		})
		if err == nil {
			err = errors.Join(kept.Serve(), kept.Join([]uint16{0}))
		}
		if err != nil {
			b.Fatal(err)
		}
		nodes = append(nodes, n)
		f.close = append(f.close, func() error { return kept.Close(context.Background()) }, func() error { return n.Close(context.Background()) }, store.Close)
	}
	benchUntil(b, func() bool {
		return !slices.ContainsFunc(nodes, func(n *Network) bool { return len(n.Gossip.Mesh(0)) < benchHosts-1 })
	})
	f.publish = func(at, number int) error { return nodes[at].Publish(context.Background(), 0, raws[number]) }
	return f
}

// bareHosts are libp2p and gossipsub with the same mesh, and a validator that checks
// an Ed25519 signature and then does what else is asked.
func bareHosts(b *testing.B, raws [][]byte, also func() func(raw []byte) error) *fleet {
	b.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signed := make([][]byte, len(raws))
	for i, raw := range raws {
		body := raw[:len(raw)-ed25519.SignatureSize]
		signed[i] = append(slices.Clone(body), ed25519.Sign(private, body)...)
	}
	f := &fleet{}
	ctx, stop := context.WithCancel(context.Background())
	var hosts []host.Host
	var topics []*pubsub.Topic
	var routers []*pubsub.PubSub
	for range benchHosts {
		h, err := libp2p.New(libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics(), libp2p.DisableRelay())
		if err != nil {
			b.Fatal(err)
		}
		for _, other := range hosts {
			if err := h.Connect(ctx, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}); err != nil {
				b.Fatal(err)
			}
		}
		router, err := pubsub.NewGossipSub(ctx, h, pubsub.WithGossipSubParams(benchMesh()), pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
			pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(messageID))
		if err != nil {
			b.Fatal(err)
		}
		keep := also()
		judge := func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
			raw := m.GetData()
			if from == h.ID() {
				return pubsub.ValidationAccept
			}
			if at := len(raw) - ed25519.SignatureSize; !ed25519.Verify(pub, raw[:at], raw[at:]) || keep(raw) != nil {
				return pubsub.ValidationReject
			}
			f.heard.Add(1)
			return pubsub.ValidationAccept
		}
		topic, err := join(router, judge)
		if err != nil {
			b.Fatal(err)
		}
		hosts, topics, routers = append(hosts, h), append(topics, topic), append(routers, router)
		f.close = append(f.close, h.Close)
	}
	f.close = append(f.close, func() error { stop(); return nil })
	benchUntil(b, func() bool {
		return !slices.ContainsFunc(routers, func(r *pubsub.PubSub) bool { return len(r.ListPeers("topic")) < benchHosts-1 })
	})
	time.Sleep(3 * time.Second) // heartbeats fill the meshes
	f.publish = func(at, number int) error { return topics[at].Publish(ctx, signed[number]) }
	return f
}

func join(router *pubsub.PubSub, judge pubsub.ValidatorEx) (*pubsub.Topic, error) {
	if err := router.RegisterTopicValidator("topic", judge); err != nil {
		return nil, err
	}
	topic, err := router.Join("topic")
	if err != nil {
		return nil, err
	}
	_, err = topic.Subscribe(pubsub.WithBufferSize(1 << 14))
	return topic, err
}

func benchUntil(b *testing.B, ok func() bool) {
	b.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatal("the meshes are not full within thirty seconds")
}

// BenchmarkGossip is CPU for each message and host: received, judged, kept and passed
// on in a mesh of eight, of a public node of ours and of bare gossipsub with an Ed25519
// validator, in turns. memory: our board is in memory, and gossipsub keeps nothing.
// badger: both put each message on disk, synced.
func BenchmarkGossip(b *testing.B) {
	raws := needs(b, benchRound*(benchRounds+1))
	b.Run("memory", func(b *testing.B) {
		nothing := func() func([]byte) error { return func([]byte) error { return nil } }
		compare(b, "x-pubsub", publicNodes(b, raws, kv.Memory), bareHosts(b, raws, nothing))
	})
	b.Run("badger", func(b *testing.B) {
		dir := b.TempDir()
		n := 0
		open := func() kv.Store {
			n++
			s, err := kv.Open(fmt.Sprint(dir, "/ours", n))
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		var bare *fleet
		var dbs []func() error
		bare = bareHosts(b, raws, func() func([]byte) error {
			n++
			db, err := badger.Open(badger.DefaultOptions(fmt.Sprint(dir, "/bare", n)).WithSyncWrites(true).WithMemTableSize(8 << 20).
				WithValueThreshold(1 << 20).WithValueLogFileSize(4 << 20).WithNumCompactors(2).WithLogger(nil))
			if err != nil {
				b.Fatal(err)
			}
			dbs = append(dbs, db.Close)
			return func(raw []byte) error {
				return db.Update(func(tx *badger.Txn) error { return tx.Set(append([]byte("b/a/"), raw[len(raw)-32:]...), raw) })
			}
		})
		bare.close = append(bare.close, dbs...)
		compare(b, "x-pubsub-badger", publicNodes(b, raws, open), bare)
	})
}

// compare runs both in turns and reports medians.
func compare(b *testing.B, name string, ours, bare *fleet) {
	b.Helper()
	for b.Loop() { //nolint:revive // the rounds are counted below
	}
	var a, z []time.Duration
	var x []float64
	for i := range benchRounds + 1 {
		o, p := ours.round(b), bare.round(b)
		if i > 0 { // the first warms up
			a, z, x = append(a, o), append(z, p), append(x, float64(o)/float64(p))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(a).Microseconds()), "µs-ours")
	b.ReportMetric(float64(median(z).Microseconds()), "µs-bare")
	b.ReportMetric(median(x), name)
	for _, f := range []*fleet{ours, bare} {
		for _, c := range f.close {
			if err := c(); err != nil {
				b.Error(err)
			}
		}
	}
}

func median[T cmp.Ordered](list []T) T { slices.Sort(list); return list[len(list)/2] }
