package attack

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// scale makes the crowds of these tests larger: HARK_SIM_SCALE=4 is the size of which
// the threat table speaks, 40 honest nodes and 160 Sybils.
func scale() int {
	n, err := strconv.Atoi(os.Getenv("HARK_SIM_SCALE"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// bare is a libp2p host with gossipsub on a simulated network, and nothing of ours.
type bare struct {
	host   host.Host
	router *pubsub.PubSub
	topic  *pubsub.Topic
	stop   context.CancelFunc
	mu     sync.Mutex
	heard  map[string]time.Time
}

// start opens a bare host whose validator says verdict to everything.
func start(t *testing.T, net *netem.Net, topic string, verdict pubsub.ValidationResult, change func(*pubsub.GossipSubParams)) *bare {
	t.Helper()
	at := net.Add()
	h, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings(at.Listen()),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	params := pubsub.DefaultGossipSubParams()
	change(&params)
	ctx, stop := context.WithCancel(context.Background())
	b := &bare{host: h, stop: stop, heard: map[string]time.Time{}}
	b.router, err = pubsub.NewGossipSub(ctx, h, pubsub.WithGossipSubParams(params), pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.GetData()) }))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == h.ID() {
			return pubsub.ValidationAccept
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.heard[string(m.GetData())] = time.Now()
		return verdict
	}
	if err := b.router.RegisterTopicValidator(topic, judge); err != nil {
		t.Fatal(err)
	}
	if b.topic, err = b.router.Join(topic); err != nil {
		t.Fatal(err)
	}
	if _, err := b.topic.Subscribe(pubsub.WithBufferSize(4096)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bare) close(t *testing.T) {
	b.stop()
	if err := b.host.Close(); err != nil {
		t.Error(err)
	}
}

func (b *bare) connect(t *testing.T, id peer.ID, at ...ma.Multiaddr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b.host.Peerstore().AddAddrs(id, at, peerstore.PermanentAddrTTL)
	if err := b.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: at}); err != nil {
		t.Fatal(err)
	}
}

// greedy wants to be in everybody's mesh.
func greedy(p *pubsub.GossipSubParams) { p.D, p.Dlo, p.Dhi, p.Dout, p.Dscore = 200, 200, 400, 0, 0 }

// together runs n calls at once, in the bubble.
func together(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// TestMust_sybil_mesh: Sybils connect with every honest node, get into the meshes, and
// pass nothing on.
func TestMust_sybil_mesh(t *testing.T) {
	var calm, without outcome
	synctest.Test(t, func(t *testing.T) { calm = undefended(t, 8, 0) })
	synctest.Test(t, func(t *testing.T) { without = undefended(t, 8, 40) })
	if !calm.holds() {
		t.Fatalf("without Sybils a bare mesh gives %s", calm)
	}
	t.Logf("planted, gossipsub without quota, scores, gossip and pull: %s", without)
	if without.holds() {
		t.Fatal("a mesh without defences holds: the check finds nothing")
	}
	synctest.Test(t, func(t *testing.T) {
		honest, sybils := 10*scale(), max(60, 40*scale())
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1, Target: 3})
		defer w.Close()
		topic, err := w.Topic(0)
		if err != nil {
			t.Fatal(err)
		}
		c := gather(t, w, honest)
		attackers := make([]*bare, sybils)
		for i := range attackers {
			attackers[i] = start(t, w.Weather(), topic, pubsub.ValidationIgnore, greedy)
		}
		together(sybils, func(i int) {
			for _, m := range c.members {
				attackers[i].connect(t, m.Gossip.Libp2p().ID(), m.Gossip.Libp2p().Addrs()...)
			}
		})
		time.Sleep(time.Minute)
		inMesh, links, of := 0, 0, map[peer.ID]bool{}
		for _, a := range attackers {
			of[a.host.ID()] = true
			links += len(a.host.Network().Conns())
		}
		mesh, honestLinks := 0, 0
		for _, m := range c.members {
			honestLinks += len(m.Gossip.Libp2p().Network().Conns())
			for _, p := range m.Gossip.Gossip.Mesh(0) {
				mesh++
				if of[p] {
					inMesh++
				}
			}
		}
		honestLinks -= links
		for i := range 30 {
			c.post(i, 0)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		got := c.count()
		t.Logf("%d honest, %d Sybils, %.0f links of Sybils for one of the honest, %d of %d places in the meshes theirs: %s",
			honest, sybils, float64(links)/float64(max(honestLinks, 1)), inMesh, mesh, got)
		if !got.holds() || got.all < 1 || got.worst > time.Minute {
			t.Error("too little, or too late")
		}
		for _, a := range attackers {
			a.close(t)
		}
	})
}

// holds is what gossip must reach.
func (o outcome) holds() bool { return o.gossip >= 0.999 && o.p99 <= 2*time.Second }

// undefended is the same attack on gossipsub without a quota of links dialled, scores,
// gossip about ids, or pull.
func undefended(t *testing.T, honest, sybils int) (o outcome) {
	net := netem.New(netem.Config{})
	all := make([]*bare, honest+sybils)
	for i := range all {
		verdict, change := pubsub.ValidationAccept, func(p *pubsub.GossipSubParams) { p.Dout, p.Dlazy, p.GossipFactor = 0, 0, 0 }
		if i >= honest {
			verdict, change = pubsub.ValidationIgnore, greedy
		}
		all[i] = start(t, net, "topic", verdict, change)
	}
	together(sybils, func(i int) {
		for _, h := range all[:honest] {
			all[honest+i].connect(t, h.host.ID(), h.host.Addrs()...)
		}
	})
	for i, h := range all[:honest] {
		for j := range 4 {
			other := all[(i+j+1)%honest]
			h.connect(t, other.host.ID(), other.host.Addrs()...)
		}
	}
	time.Sleep(time.Minute)
	posted := map[string]time.Time{}
	for i := range 20 {
		raw := make([]byte, 900)
		_, _ = rand.Read(raw) // it never fails
		binary.BigEndian.PutUint64(raw, uint64(i))
		posted[string(raw)] = time.Now()
		if err := all[i%honest].topic.Publish(context.Background(), raw); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	time.Sleep(20 * time.Second)
	came := 0
	for _, h := range all[:honest] {
		for id, at := range posted {
			if heard, ok := h.heard[id]; ok {
				came++
				o.p99 = max(o.p99, heard.Sub(at))
			}
		}
	}
	o.gossip = float64(came) / float64(20*(honest-1))
	o.all = o.gossip
	for _, b := range all {
		b.close(t)
	}
	time.Sleep(time.Minute)
	net.Close()
	time.Sleep(10 * time.Minute)
	return o
}
