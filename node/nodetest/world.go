package nodetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/kv"
)

// A World is a network of whole nodes in memory, with the bubble's time. Its nodes
// can be stopped and started again; what they keep stays. It stands on pipes
// (NewWorld), or on real hosts over simulated packets (NewSimWorld).
type World struct {
	t       testing.TB
	Net     *Net // the pipes; nil in a simulated world
	sim     *sim // nil on pipes
	Genesis *protocol.Genesis
	nodes   []*Member
	Log     *slog.Logger // of the nodes started from now on; none where nil
	Limits  node.Limits  // likewise
	Ways    []string     // in, of real hosts, likewise; nil: all that they have
	// TableLimits bound the DHT of a public node, likewise; zero: the usual ones.
	TableLimits dht.Limits
	Posting     *courier.Posting // of personal nodes, likewise; nil: two hops, no delay
}

// NewWorld makes an empty world; call it inside a synctest bubble. It is closed by
// Close, not by a cleanup, which would run outside the bubble.
func NewWorld(t testing.TB) *World {
	return &World{
		t: t, Net: NewNet(context.Background()),
		Genesis: node.NewGenesis("simulated", 4, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{1}),
	}
}

// Close stops all nodes and the network, and lets what they left end.
func (w *World) Close() {
	for _, m := range w.nodes {
		m.Stop()
	}
	if w.sim != nil {
		w.sim.close()
		return
	}
	if err := w.Net.Close(); err != nil {
		w.t.Errorf("nodetest: close: %v", err)
	}
	time.Sleep(time.Minute) // timers of streams that were cut
}

// Post sets how needs leave the personal nodes that are started from now on.
func (w *World) Post(hops int, delay time.Duration) {
	w.Posting = &courier.Posting{TwoHops: hops == 2, Delay: delay}
}

// ID is the network's id.
func (w *World) ID() (protocol.Hash, error) {
	id, _, err := wire.NetworkID(w.Genesis)
	return id, err
}

// A Member is one node of a World.
type Member struct {
	*node.Node
	w      *World
	Name   string
	Store  kv.Store
	Master key.Secret
	Key    key.Private[key.Keeper]
	Port   *Port
	Ports  []*Port // all that it ever had, one for each start
	*place         // in a simulated world
	ahead  atomic.Int64
	public bool
	locked bool
	nat    *netem.Kind // what it stands behind, in a simulated world
	spy    func(Seen)  // is told of all that comes in, likewise
	circle *Circle     // whom it gossips with, in a simulated world; nil: everybody
	mis    string
	draws  int // secrets that were drawn for it
}

// SetClock lets the node's clock go so far ahead of everybody's, or behind, from now on.
func (m *Member) SetClock(ahead time.Duration) { m.ahead.Store(int64(ahead)) }

func (m *Member) now() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

// Public starts a public node: a keeper, and a vendor once it has a passport.
func (w *World) Public(name string) *Member { return w.add(name, true, "") }

// Personal starts a customer's node.
func (w *World) Personal(name string) *Member { return w.add(name, false, "") }

// Misbehaving starts a node that breaks one promise on purpose.
func (w *World) Misbehaving(name string, public bool, how string) *Member {
	return w.add(name, public, how)
}

// Carrier starts a public node whose market stays shut: it holds mail, gossips and
// pulls, and costs less than others.
func (w *World) Carrier(name string) *Member {
	return w.begin(&Member{Name: name, public: true, locked: true})
}

// Behind starts a public node behind a NAT, in a simulated world.
func (w *World) Behind(name string, kind netem.Kind) *Member {
	return w.begin(&Member{Name: name, public: true, nat: &kind})
}

func (w *World) add(name string, public bool, misbehave string) *Member {
	return w.begin(&Member{Name: name, public: public, mis: misbehave})
}

func (w *World) begin(m *Member) *Member {
	enter(w, m)
	m.Start()
	return m
}

// enter gives a member its keys and its place; it does not start.
func enter(w *World, m *Member) {
	m.w, m.Store = w, kv.Memory()
	m.Master, m.Key = draw(m), drawKey(m)
	for s := byte(w.Genesis.Shards); w.sim != nil && s > 1 && m.Key.Public()[0]%s == m.Key.Public()[1]%s; {
		m.Key = drawKey(m) // it shall carry two shards, not one twice
	}
	if w.sim != nil {
		m.place = w.sim.settle(m.nat)
		m.see = m.spy
	}
	w.nodes = append(w.nodes, m)
}

// Start opens the node on what it kept.
func (m *Member) Start() {
	m.w.t.Helper()
	if m.Node != nil {
		return
	}
	profile := node.Personal
	if m.public {
		profile = node.Public
	} else {
		m.Key = drawKey(m) // a personal node is another one at each start
	}
	s := &node.Simulated{
		Key: m.Key, Store: m.Store, Master: m.Master, Genesis: m.w.Genesis, Profile: profile, Limits: m.w.Limits, Posting: m.w.Posting,
		Now: m.now, Locked: m.locked, Search: func(c *catalog.Catalog) seller.Searcher { return words{c} },
	}
	if m.w.sim != nil {
		s.Join = m.join
		if m.w.sim.cfg.DHT {
			s.Table = tableOf(m)
		}
	} else {
		m.Port = m.w.Net.PortOf(m.public, m.Key)
		m.Ports = append(m.Ports, m.Port)
		s.Port = m.Port
	}
	n, err := node.Open(context.Background(), node.Config{Log: m.w.Log, Misbehave: m.mis, Version: "test", Ways: m.w.Ways, Simulated: s})
	if err != nil {
		m.w.t.Fatalf("nodetest: %s: %v", m.Name, err)
	}
	m.Node = n
}

// Stop closes the node; what it kept stays.
func (m *Member) Stop() {
	m.w.t.Helper()
	if m.Node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		m.w.t.Errorf("nodetest: %s: %v", m.Name, err)
	}
	m.Node = nil
}

// Wipe takes from a node all that it kept: it stops, and starts with an empty store.
func (m *Member) Wipe() {
	m.w.t.Helper()
	m.Stop()
	m.Store = kv.Memory()
	m.Start()
}

// Online takes a running node off the network, or back.
func (m *Member) Online(yes bool) {
	if m.w.sim != nil {
		m.host.SetOnline(yes)
		return
	}
	m.w.Net.SetOnline(m.Port, yes)
}

// Sell makes a vendor of a public node: a passport, a catalogue, and rules that ask,
// answer, confirm and fulfil by themselves.
func (m *Member) Sell(catalog string) {
	m.w.t.Helper()
	ctx := context.Background()
	if _, err := m.Vendor().Passports().Issue(ctx, desk.PassportSpec{Name: m.Name, Country: "ZA", Contact: m.Name + "@example.org"}); err != nil {
		m.w.t.Fatalf("nodetest: %s: passport: %v", m.Name, err)
	}
	if catalog != "" {
		if _, err := m.Vendor().Catalog().Import(ctx, reader(catalog), desk.ImportSpec{}); err != nil {
			m.w.t.Fatalf("nodetest: %s: catalogue: %v", m.Name, err)
		}
	}
	if _, err := m.Vendor().Rules().Set(ctx, desk.Follow{Ask: true, Answer: catalog != "", Confirm: true, Fulfil: true}); err != nil {
		m.w.t.Fatalf("nodetest: %s: rules: %v", m.Name, err)
	}
}

// Fill puts fields into a customer's vault.
func (m *Member) Fill(fields map[string]string) {
	m.w.t.Helper()
	for name, value := range fields {
		if _, err := m.Customer().Vault().Set(context.Background(), name, desk.Value(value)); err != nil {
			m.w.t.Fatalf("nodetest: %s: vault: %v", m.Name, err)
		}
	}
}

// Until waits, in the bubble's time, for something to become true, and fails the
// test with what was waited for after most.
func (w *World) Until(most time.Duration, what string, ok func() (bool, error)) {
	w.t.Helper()
	end := time.Now().Add(most)
	var last error
	for time.Now().Before(end) {
		done, err := ok()
		if done && err == nil {
			return
		}
		last = err
		time.Sleep(200 * time.Millisecond)
	}
	w.t.Fatalf("after %v still not so: %s (%v)", most, what, last)
}

// Grants gives a node's grants.
func (m *Member) Grants(q desk.Query) []desk.Grant {
	m.w.t.Helper()
	p, err := m.Customer().Grants().List(context.Background(), q)
	if err != nil {
		m.w.t.Fatalf("nodetest: %s: grants: %v", m.Name, err)
	}
	return p.Items
}

// Offers gives a node's offers.
func (m *Member) Offers(q desk.Query) []desk.Offer {
	m.w.t.Helper()
	p, err := m.Customer().Offers().List(context.Background(), q)
	if err != nil {
		m.w.t.Fatalf("nodetest: %s: offers: %v", m.Name, err)
	}
	return p.Items
}

// States counts a node's grants by state.
func (m *Member) States() string {
	count := map[string]int{}
	for _, g := range m.Grants(desk.Query{}) {
		count[g.State]++
	}
	return fmt.Sprint(count)
}

// words finds products that share a word with the need, those that share more first.
type words struct{ c *catalog.Catalog }

// Search implements seller.Searcher.
func (s words) Search(ctx context.Context, q catalog.Query) ([]catalog.Match, error) {
	list, err := s.c.List(ctx, "", catalog.MaxPage)
	if err != nil {
		return nil, err
	}
	var out []catalog.Match
	for _, p := range list {
		shared := 0
		for _, word := range strings.Fields(strings.ToLower(q.Text)) {
			if len(word) > 3 && strings.Contains(strings.ToLower(p.Title), word) {
				shared++
			}
		}
		sum := p.Price.Minor * int64(max(q.Quantity, 1))
		if shared > 0 && (q.MaxPrice.Minor == 0 || sum <= q.MaxPrice.Minor) {
			out = append(out, catalog.Match{Product: p, Score: float64(shared)})
		}
	}
	slices.SortStableFunc(out, func(a, b catalog.Match) int { return int(b.Score - a.Score) })
	return out[:min(len(out), max(q.Limit, 1))], nil
}

func reader(text string) io.Reader { return strings.NewReader(text) }

// Members lists the nodes that are running.
func (w *World) Members() (out []*Member) {
	for _, m := range w.nodes {
		if m.Node != nil {
			out = append(out, m)
		}
	}
	return out
}

// open lists the running nodes that have a market.
func (w *World) open() []*Member {
	return slices.DeleteFunc(w.Members(), func(m *Member) bool { return m.locked })
}
