package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A stage is a simulated network. Its methods are called inside the bubble.
type stage struct {
	s       lab.Scenario
	plan    lab.Plan
	w       *nodetest.World
	members []*nodetest.Member // nil: an outsider
	outside []*nodetest.Outsider
	sybils  []*nodetest.Outsider // those of them that are
	saw     play.Saw
	cpu     time.Duration // of the process when the network was up
	keepers
	censors *censors
	floods  int // so far
	double  map[peer.ID]bool
	since   map[stay]time.Time
	seed    uint64
	records records

	starting chan struct{} // holds the one that starts

	mu   sync.Mutex
	up   map[int]bool
	base map[int]play.Usage // of a node before it came up: bytes and packets, which the network counts
}

var _ play.Stage = (*stage)(nil)

func newStage(t testing.TB, s lab.Scenario, plan lab.Plan, seed uint64) *stage {
	cfg := nodetest.SimConfig{
		Config: netem.Config{
			Latency: time.Duration(s.Links.Latency), Jitter: time.Duration(s.Links.Jitter), Bits: s.Links.Bandwidth, Loss: s.Links.Loss, Seed: seed,
		},
		Shards: s.Network.Shards, Target: s.Network.Dials, DHT: s.Network.DHT,
	}
	st := &stage{s: s, plan: plan, seed: seed, w: nodetest.NewSimWorld(t, cfg), starting: make(chan struct{}, 1), up: map[int]bool{}, base: map[int]play.Usage{}}
	lane := protocol.LaneRule{Lane: protocol.LaneNone}
	if s.Network.Work > 0 {
		lane = protocol.LaneRule{Lane: protocol.LaneWork, Effort: s.Network.Work}
	}
	st.w.Genesis.Lanes = []protocol.LaneRule{lane}
	if len(s.Network.Ways) > 0 {
		st.w.Ways = s.Network.Ways
	}
	st.double, st.since = map[peer.ID]bool{}, map[stay]time.Time{}
	if n := s.DHTFlood.Bytes; n > 0 {
		nodetest.BoundTables(st.w, n)
	}
	st.w.Post(s.Load.PostHops, time.Duration(s.Load.PostDelay))
	if s.Load.PostBy == lab.ByStrangers {
		nodetest.PostByStrangers(st.w)
	}
	st.issuer = key.Generate[key.Issuer]()
	return st
}

// Nodes come one after another, then get to know each other. In the DHT they look for
// keepers after 1, 3, 7, … 255 seconds, and then ever less: what is measured is the time
// after that.
const (
	startGap  = 100 * time.Millisecond
	meetTime  = 30 * time.Second
	tableTime = 5 * time.Minute
)

// Open implements play.Stage.
func (st *stage) Open(ctx context.Context, saw play.Saw) error {
	st.saw = saw
	var err error
	if st.censors, err = newCensors(st.w); err != nil {
		return err
	}
	st.members = make([]*nodetest.Member, len(st.plan.Players))
	for _, i := range comeIn(st.plan.Players) {
		p := st.plan.Players[i]
		if !p.Whole() {
			if st.members[i], err = st.letIn(p); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			continue
		}
		st.w.Log = play.Listen(p.Name, saw)
		st.members[i] = st.member(p)
		st.members[i].SetClock(p.Skew)
		st.members[i].Again(func(raw []byte) { st.again(p.Name, raw) })
		if p.Late {
			continue
		}
		st.members[i].Start()
		st.up[i] = true
		time.Sleep(startGap)
	}
	time.Sleep(meetTime)
	if st.s.Network.DHT {
		time.Sleep(tableTime - meetTime)
		if err := st.publish(ctx, st.seed); err != nil {
			return err
		}
	}
	st.loaded.Store(true)
	st.cpu = processCPU()
	return ctx.Err()
}

// again notes that gossip brought what the node had already: where that came by pull,
// pull was faster, and gossip did not fail.
func (st *stage) again(node string, raw []byte) {
	if d, err := wire.ReadAnnouncement(raw); err == nil {
		id := d.A().ContextID()
		st.saw(time.Now(), lab.Record{Kind: lab.KindAgain, Node: node, Context: brief(id[:]), Seq: d.A().Seq})
	}
}

// outsiderDials is to how many nodes an outsider dials out: it wants to be in every
// mesh.
const outsiderDials = 64

// letIn starts somebody who is no whole node, or a node that is silent; nil: an outsider.
func (st *stage) letIn(p lab.Player) (*nodetest.Member, error) {
	switch p.Role {
	case lab.Censor:
		return nil, hostiles{st}.censor()
	case lab.Silent, lab.Double:
		return hostiles{st}.silent(p)
	}
	o, err := st.w.Outsider(outsiderDials, func([]byte, *nodetest.Member) bool { return false })
	if err == nil {
		st.outside, st.sybils = append(st.outside, o), append(st.sybils, o)
	}
	return nil, err
}

// House implements play.Stage.
func (st *stage) House(i int) desk.House {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.up[i] {
		return nil
	}
	return st.members[i].Node
}

// Move implements play.Stage. Who goes down is off the network before it can say so.
// No lock is held while a node opens or closes: that takes the bubble's time, which
// stands still while anybody waits for a lock.
func (st *stage) Move(_ context.Context, i int, up bool) error {
	m := st.members[i]
	if !up {
		st.set(i, false)
		m.Online(false)
		m.Stop()
		return nil
	}
	was := carried(m)
	m.Online(true)
	st.starting <- struct{}{} // the world's log is that of the node which starts
	st.w.Log = play.Listen(st.plan.Players[i].Name, st.saw)
	m.Start()
	<-st.starting
	st.mu.Lock()
	st.base[i] = was
	st.mu.Unlock()
	st.set(i, true)
	return nil
}

func (st *stage) set(i int, up bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.up[i] = up
}

// Cut implements play.Stage.
func (st *stage) Cut(_ context.Context, apart bool) error {
	if !apart {
		st.w.Heal()
		return nil
	}
	var sides [2][]*nodetest.Member
	for i, m := range st.members {
		if m != nil {
			side := st.plan.Players[i].Side
			sides[side] = append(sides[side], m)
		}
	}
	st.w.Partition(sides[0], sides[1])
	return nil
}

// Usage implements play.Stage.
func (st *stage) Usage(_ context.Context, i int) (u play.Usage, known bool, err error) {
	if i < 0 {
		return play.Usage{CPU: processCPU() - st.cpu}, true, nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	m := st.members[i]
	u = carried(m)
	u.Sent, u.Received, u.Packets = u.Sent-st.base[i].Sent, u.Received-st.base[i].Received, u.Packets-st.base[i].Packets
	if g := m.Gossip.Gossip; g != nil {
		c := g.Counts()
		u.RPCs, u.Judged = c.SentRPC+c.ReceivedRPC, c.Kept+c.Ignored
		if len(st.sybils) > 0 {
			u.Links, u.Mesh = m.Company(st.sybils)
		}
	}
	u.DHT = part(m)
	return u, true, nil
}

// carried is what the network has carried for a member in all.
func carried(m *nodetest.Member) (u play.Usage) {
	u.Sent, u.Received = m.Bytes()
	u.Packets = m.Packets()
	return u
}

// Flush implements play.Stage: what nodes say is heard at once.
func (*stage) Flush() {}

// close takes the network down.
func (st *stage) close() error {
	var err error
	for _, o := range st.outside {
		err = errors.Join(err, o.Close())
	}
	err = errors.Join(err, st.records.close())
	st.w.Close()
	return err
}
