package nodetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// SimConfig says what a simulated world is like.
type SimConfig struct {
	netem.Config
	Shards uint16 // of the network; 4 where zero
	Hints  int    // public nodes that each node knows when it starts; 4 where zero
	Target int    // public nodes to which each dials out; its own number where zero
	Lax    bool   // silent peers, and those that answer no audit, stay in the meshes
	DHT    bool   // nodes take part in the network's DHT
}

// NewSimWorld makes an empty world whose nodes are real hosts, with real gossip,
// over simulated packets; call it inside a synctest bubble.
func NewSimWorld(t testing.TB, cfg SimConfig) *World {
	if cfg.Shards == 0 {
		cfg.Shards = 4
	}
	if cfg.Hints == 0 {
		cfg.Hints = 4
	}
	s := &sim{cfg: cfg, wire: netem.New(cfg.Config), dice: rand.New(rand.NewPCG(cfg.Seed, 1))}
	return &World{
		t: t, sim: s,
		Genesis: node.NewGenesis("simulated", cfg.Shards, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{1}),
	}
}

// A sim is what a simulated world has in place of pipes.
type sim struct {
	cfg    SimConfig
	wire   *netem.Net
	dice   *rand.Rand
	public []protocol.Keeper // that a newcomer may know

	outside int // outsiders that were let in
}

// A place is a member's part in a simulated world.
type place struct {
	host   *netem.Host
	hints  []protocol.Keeper
	Gossip *gossip.Network // the real network of a running node
	table
	see func(Seen) // of a node that spies

	mu     sync.Mutex
	heard  map[protocol.Hash]time.Time // by gossip
	count  [3]int                      // of its verdicts
	blamed time.Time                   // last
	again  func(raw []byte)            // of what was known already
}

// port is the network of a running node, of either kind.
func (m *Member) port() peers.Port {
	if m.w.sim != nil {
		return m.Gossip
	}
	return m.Port
}

// settle gives a newcomer an address, behind a NAT or not, and some public nodes to know.
func (s *sim) settle(nat *netem.Kind) *place {
	p := &place{}
	if nat == nil {
		p.host = s.wire.Add()
	} else {
		p.host = s.wire.AddBehind(*nat)
	}
	for _, i := range s.dice.Perm(len(s.public))[:min(s.cfg.Hints, len(s.public))] {
		p.hints = append(p.hints, s.public[i])
	}
	return p
}

// close ends the packets once all nodes are closed, and lets what they left end.
func (s *sim) close() {
	time.Sleep(time.Minute)
	s.wire.Close()
	time.Sleep(10 * time.Minute)
}

// join is a node's way onto the simulated wire.
func (m *Member) join(ctx context.Context, cfg peers.Config) (peers.Port, error) {
	cfg.Options, cfg.Bootstrap, cfg.Target = m.host.Options(), m.hints, m.w.sim.cfg.Target
	if m.public {
		cfg.Listen = []string{m.host.Listen()}
	}
	if m.see != nil {
		cfg.Tap = m.overhear
	}
	net, err := m.w.ID()
	if err != nil {
		return nil, err
	}
	fresh := m.Gossip == nil
	if m.Gossip, err = gossip.Open(ctx, cfg, net, m.w.Genesis.Shards); err != nil {
		return nil, err
	}
	if m.public {
		m.Gossip.Gossip.Tap, m.Gossip.Gossip.Lax = m.tap, m.w.sim.cfg.Lax
		if m.circle != nil {
			m.Gossip.Gossip.Circle.Close(m.circle.has)
		}
	}
	if m.public && fresh && m.nat == nil {
		m.w.sim.public = append(m.w.sim.public, m.Gossip.Self())
	}
	return m.Gossip, nil
}

// Bytes are how many the node's host sent and received in a simulated world.
func (m *Member) Bytes() (sent, received uint64) { return m.host.Bytes() }

// Packets are how many the node's host sent and received in a simulated world.
func (m *Member) Packets() uint64 { return m.host.Packets() }

// Weather is the simulated network, nil on pipes.
func (w *World) Weather() *netem.Net {
	if w.sim == nil {
		return nil
	}
	return w.sim.wire
}

// Partition cuts the network into these groups; who is in none stays with the first.
func (w *World) Partition(groups ...[]*Member) {
	if w.sim != nil {
		var hosts [][]*netem.Host
		for _, g := range groups {
			var list []*netem.Host
			for _, m := range g {
				list = append(list, m.host)
			}
			hosts = append(hosts, list)
		}
		w.sim.wire.Partition(hosts...)
		return
	}
	group := map[*Member]int{}
	for i, g := range groups {
		for _, m := range g {
			group[m] = i
		}
	}
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			w.Net.SetLink(a.Port, b.Port, group[a] == group[b])
		}
	}
}

// Heal joins what Partition cut.
func (w *World) Heal() { w.Partition() }
