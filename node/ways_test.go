package node

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// What the settings say of the ways in holds, silence is all four, and what is wrong is
// refused with what there is; what a start says goes before them.
func TestWaysSettings(t *testing.T) {
	p := home(t)
	if text := read(t, p.settings()); strings.Contains(text, "ways") {
		t.Errorf("a new home's settings are\n%s", text)
	}
	others := func(on peers.Way) (off peers.Way) {
		for _, w := range peers.AllWays {
			if on&w == 0 {
				off |= w
			}
		}
		return off
	}
	const all = peers.WayBootstrap | peers.WayCache | peers.WayExchange | peers.WayDHT
	plain := "version = 1\nprofile = 'personal'\n"
	for name, c := range map[string]struct {
		text string
		on   peers.Way
		bad  string
	}{
		"silent":       {plain, all, ""},
		"one":          {plain + "ways = ['cache']\n", peers.WayCache, ""},
		"two":          {plain + "ways = ['dht', 'bootstrap']\n", peers.WayBootstrap | peers.WayDHT, ""},
		"one twice":    {plain + "ways = ['exchange', 'exchange']\n", peers.WayExchange, ""},
		"all":          {plain + "ways = ['bootstrap', 'cache', 'exchange', 'dht']\n", all, ""},
		"unknown":      {plain + "ways = ['dht', 'smoke']\n", 0, `ways: "smoke" is no way in; the four are bootstrap, cache, exchange and dht`},
		"in capitals":  {plain + "ways = ['DHT']\n", 0, `"DHT" is no way in`},
		"two of them":  {plain + "ways = ['several']\n", 0, `"several" is no way in`},
		"none":         {plain + "ways = []\n", 0, "ways: without any way in a node finds nobody; name some of bootstrap, cache, exchange and dht"},
		"an empty one": {plain + "ways = ['']\n", 0, `"" is no way in`},
	} {
		t.Run(name, func(t *testing.T) {
			s, ok := settingsOf(t, p, c.text, c.bad)
			if !ok {
				return
			}
			if off, err := s.off(); err != nil || off&all != others(c.on) {
				t.Errorf("off are %b, %v, want %b", off&all, err, others(c.on))
			}
		})
	}
	kept := place(t)
	if err := Init(InitOptions{Paths: kept, Ways: []string{"cache", "dht"}}); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSettings(kept); err != nil || !slices.Equal(s.Ways, []string{"cache", "dht"}) {
		t.Errorf("%v, %v", s.Ways, err)
	}
	for name, ways := range map[string][]string{"none": {}, "an unknown one": {"smoke"}} {
		if _, err := Open(t.Context(), Config{Paths: kept, NoAPI: true, Ways: ways}); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "bootstrap, cache, exchange and dht") {
			t.Errorf("opened with %s: %v", name, err)
		}
	}
	waysOff(t, opened(t, Config{Paths: kept, NoAPI: true, Ways: []string{"exchange"}}), "exchange")
}

// waysOff wants a node to say of all ways in but one that they are off, and to name none
// of them as a problem.
func waysOff(t *testing.T, n *Node, but string) {
	t.Helper()
	s, err := n.Admin().Status(t.Context())
	if err != nil || len(s.Ways) != len(peers.AllWays) {
		t.Fatalf("%+v, %v", s.Ways, err)
	}
	v, err := n.Network().Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range s.Ways {
		if (w.Works == desk.Off) != (w.Way != but) || w.Works == desk.Off && w.Known > 0 {
			t.Errorf("%s alone: status says %+v", but, w)
		}
		if !slices.ContainsFunc(v.Checks, func(c desk.Check) bool {
			return c.Name == "way-"+w.Way && (c.Answer == desk.Off) == (w.Way != but) && strings.HasPrefix(c.Detail, "turned off: ") == (w.Way != but)
		}) {
			t.Errorf("%s alone: netcheck says %+v", but, v.Checks)
		}
	}
	for _, p := range s.Problems {
		if p.Code != "no-peers" && p.Code != "key-file" && p.Code != "locked" {
			t.Errorf("%s alone: a problem: %+v", but, p)
		}
	}
}

// TestEachWayInCarriesTheNodeAlone: in a small market of real nodes on loopback a newcomer
// that uses one way in alone gets in and does what it is there for: its need is heard,
// a public one hears the needs of others, and a vendor's passport is found. Beside it
// stands one that has all the same at hand and does not use that way, but one that has
// nothing to tell: when the newcomer has done all this, that one still has nobody.
func TestEachWayInCarriesTheNodeAlone(t *testing.T) {
	m := openFair(t)
	t.Run("bootstrap", func(t *testing.T) { // the list names a node that is there
		list := address.Texts(m.first.port.Self())
		m.carries(t, "bootstrap", m.newcomer(t, Personal, list), "cache", m.newcomer(t, Personal, list), nil)
	})
	t.Run("cache", func(t *testing.T) { // they were here before, and nobody is left of those on the list
		gone := m.public(t, []string{"bootstrap"}, m.first)
		var homes [2]Paths
		for i := range homes {
			homes[i] = m.newcomer(t, Personal, address.Texts(gone.port.Self()))
			n := opened(t, Config{Paths: homes[i], NoAPI: true, Ways: []string{"bootstrap", "exchange"}})
			await(t, "it was at all three", func() bool { return len(n.port.(*gossip.Network).Tell("127.0.0.0/24", 9)) >= 3 })
			closed(t, n)
			if kept := (book{homes[i].peers()}).Load(); len(kept) < 3 {
				t.Fatalf("%d were kept", len(kept))
			}
		}
		closed(t, gone)
		m.carries(t, "cache", homes[0], "bootstrap", homes[1], nil)
	})
	t.Run("exchange", func(t *testing.T) { // somebody calls, and goes
		m.carries(t, "exchange", m.newcomer(t, Public, nil), "bootstrap", m.newcomer(t, Public, nil), func(n *Node, carried bool) {
			caller := m.public(t, []string{"bootstrap"}, m.first, n)
			await(t, "it is called", func() bool { return m.knows(n, caller) && (!carried || m.knows(n, m.first)) })
			closed(t, caller)
		})
	})
	t.Run("dht", func(t *testing.T) { // the DHT's own list names one that answers lookups and nothing else
		var homes [2]Paths
		for i := range homes {
			homes[i] = m.newcomer(t, Public, nil)
			if err := os.MkdirAll(homes[i].State, 0o700); err != nil {
				t.Fatal(err)
			}
			book{homes[i].dht()}.Save([]protocol.Keeper{m.oracle})
		}
		m.carries(t, "dht", homes[0], "cache", homes[1], nil)
	})
}

// A fair is a market of a few real nodes on loopback, none of which hears of a newcomer
// but from itself, or in the DHT: they exchange no nodes, or one who is lost would be
// found.
type fair struct {
	genesis *protocol.Genesis
	oracle  protocol.Keeper // answers the DHT's lookups, and nothing else
	first   *Node
	vendor  *Node // with a passport
	her     *Node // announces
}

func openFair(t *testing.T) *fair {
	m := &fair{genesis: NewGenesis("a fair", 1, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{9})}
	m.first = m.public(t, []string{"bootstrap", "dht"})
	m.oracle = openOracle(t, m.first)
	m.vendor = m.public(t, []string{"bootstrap", "dht"}, m.first)
	await(t, "the first is in the DHT, and the vendor", func() bool { return m.first.dht.Nodes() == 2 && m.vendor.dht.Nodes() == 2 })
	if _, err := m.vendor.Vendor().Passports().Issue(t.Context(), desk.PassportSpec{Name: "Veld & Vine", Country: "ZA", Contact: "veld@example.org"}); err != nil {
		t.Fatal(err)
	}
	m.her = opened(t, Config{Paths: m.newcomer(t, Personal, slices.Concat(address.Texts(m.first.port.Self()), address.Texts(m.vendor.port.Self()))), NoAPI: true, Ways: []string{"bootstrap"}})
	await(t, "she knows them", func() bool { return m.knows(m.her, m.first) && m.knows(m.her, m.vendor) })
	return m
}

// public opens a public node that uses these ways in and has nodes on its list.
func (m *fair) public(t *testing.T, ways []string, list ...*Node) *Node {
	t.Helper()
	var bootstrap []string
	for _, n := range list {
		bootstrap = append(bootstrap, address.Texts(n.port.Self())...)
	}
	return opened(t, Config{Paths: m.newcomer(t, Public, bootstrap), NoAPI: true, Ways: ways})
}

// newcomer makes a home.
func (m *fair) newcomer(t *testing.T, profile string, bootstrap []string) Paths {
	t.Helper()
	o := InitOptions{Paths: place(t), Profile: profile, Network: m.genesis, Bootstrap: bootstrap}
	if profile == Public {
		o.Listen = []string{"/ip4/127.0.0.1/tcp/0"} // whoever is gone refuses at once
	} else {
		o.PostDelay = "0s"
	}
	if err := Init(o); err != nil {
		t.Fatal(err)
	}
	return o.Paths
}

// openOracle opens a server of the DHT that is no node of the market, and acquaints it
// with one that is.
func openOracle(t *testing.T, with *Node) protocol.Keeper {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(tls.ID, tls.New), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	table, err := kad.New(h, kad.ProtocolPrefix(wireproto.ID(strings.TrimSuffix(dht.Protocol(with.net), "/kad/1.0.0"))), kad.Mode(kad.ModeServer),
		kad.Validator(record.NamespacedValidator{"hark-ann": liar{}, "hark-passport": liar{}}), kad.DisableAutoRefresh())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	if err := h.Connect(t.Context(), address.Info(with.port.Self())); err != nil {
		t.Fatal(err)
	}
	await(t, "they are in each other's tables", func() bool { return table.RoutingTable().Size() == 1 && with.dht.Nodes() == 1 })
	k, err := address.Keeper(peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// knows tells whether a node is connected with another, or was.
func (m *fair) knows(n, other *Node) bool {
	return slices.ContainsFunc(n.port.(interface{ View() []peers.Known }).View(), func(k peers.Known) bool {
		return k.Keeper.Key == other.port.Self().Key && (k.Connected || k.From == "reached")
	})
}

// carries opens two newcomers, of which one uses the way in and the other one with
// nothing to tell, has each introduced where somebody has to, and wants of the one all
// that it is there for, and of the other nothing.
func (m *fair) carries(t *testing.T, way string, with Paths, other string, without Paths, introduce func(n *Node, carried bool)) {
	t.Helper()
	if introduce == nil {
		introduce = func(*Node, bool) {}
	}
	lost := opened(t, Config{Paths: without, NoAPI: true, Ways: []string{other}})
	introduce(lost, false)
	unheard, err := want(t, lost)
	if err != nil && !errors.Is(err, fault.Offline) { // it knows of nobody who could keep the answers
		t.Fatal(err)
	}
	n := opened(t, Config{Paths: with, NoAPI: true, Ways: []string{way}})
	introduce(n, true)

	await(t, "it is in", func() bool { return m.knows(n, m.first) })
	its, err := want(t, n)
	if err != nil {
		t.Fatal(err)
	}
	hers, err := want(t, m.her)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "its need is heard", func() bool { return hears(t, m.first, its) && hears(t, m.vendor, its) })
	await(t, "a need is heard", func() bool {
		return hears(t, m.vendor, hers) && (n.settings.Profile == Personal || hears(t, n, hers))
	})
	who := m.vendorID(t)
	if err := n.fetchPassport(t.Context(), who); err != nil || !n.board.Knows(who) {
		t.Errorf("the vendor's passport: %v", err)
	}
	waysOff(t, n, way)
	if (n.dht != nil) != (way == peers.WayDHT.String()) {
		t.Errorf("by %s alone it takes part in the DHT: %v", way, n.dht != nil)
	}
	await(t, "this way works", func() bool {
		return slices.ContainsFunc(n.ways(), func(w desk.WayIn) bool { return w.Way == way && w.Works == desk.Yes })
	})
	if s, err := n.Admin().Status(t.Context()); err != nil || slices.ContainsFunc(s.Problems, func(p desk.Problem) bool { return p.Code == "no-peers" }) {
		t.Errorf("%+v, %v", s.Problems, err)
	}

	known, connected := (netDesk{lost}).reached()
	if connected > 0 || m.knows(lost, m.first) || m.knows(lost, m.vendor) {
		t.Errorf("without %s %d of %d are connected: this shows nothing", way, connected, known)
	}
	if hears(t, m.first, unheard) || hears(t, lost, hers) {
		t.Errorf("without %s its need is heard (%v), or it hears one (%v): this shows nothing", way, hears(t, m.first, unheard), hears(t, lost, hers))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := lost.fetchPassport(ctx, who); err == nil {
		t.Errorf("without %s it finds a vendor's passport: this shows nothing", way)
	}
	t.Logf("%s alone: in, heard, and the passport found; without it %d nodes known, %d connected", way, known, connected)
}

// want announces a need.
func want(t *testing.T, n *Node) (id protocol.ContextID, err error) {
	t.Helper()
	need, err := n.Customer().Needs().Create(t.Context(), desk.NeedSpec{Name: "a desk", Category: "home.furniture"})
	if err == nil {
		_, err = hex.Decode(id[:], []byte(need.ID))
	}
	return id, err
}

// hears tells whether a need stands on a node's board.
func hears(t *testing.T, n *Node, id protocol.ContextID) bool {
	t.Helper()
	_, err := n.board.Get(t.Context(), id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func (m *fair) vendorID(t *testing.T) (v protocol.VendorID) {
	t.Helper()
	self, err := m.vendor.Network().Self(t.Context())
	if err == nil {
		err = v.UnmarshalText([]byte(self.Vendor))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}
