package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// The sizes of the attack.
const (
	honestNodes = 12
	sybilNodes  = 20
	victims     = 4
	vendorsPut  = 40
	vendorsSeen = 25 // of these, those that the DHT alone does not find
	timesAsked  = 10 // for each vendor, by each victim
)

// TestMust_dht_eclipsed: twenty Sybil nodes sit nearer to the keys of vendors than any
// honest node, so that each record is put at them alone; they keep none, name only
// each other, and are public nodes besides. Asked alone, the DHT finds nothing. A node
// that asks public nodes of every way in, and the DHT last, finds at least 99.9 %.
func TestMust_dht_eclipsed(t *testing.T) {
	g := NewGenesis("eclipsed", 2, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{1})
	net, _, err := wire.NetworkID(g)
	if err != nil {
		t.Fatal(err)
	}
	honest := openHonest(t, g)
	bootstrap := address.Texts(honest[0].port.Self())
	target := farFrom(t, honest)
	t.Log("the honest are there")
	sybils, liars := openSybils(t, net, honest[0].port.Self(), target)
	acquaint(t, honest, honestNodes+sybilNodes)
	t.Log("they know the Sybils")

	vendors := vendorsNear(t, net, target, honest, sybils)
	for i, c := range vendors { // in place of records the Sybils have lies, and keep to them
		for _, table := range liars {
			_ = table.PutValue(t.Context(), "/hark-passport/"+c.Vendor().String(), fmt.Appendf(nil, "lie %d", i)) // at itself, if nowhere else
		}
	}
	putAndLeave(t, net, bootstrap, vendors)
	for _, n := range honest {
		for _, c := range vendors {
			if _, err := n.board.PutPassports(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log("all is put")
	seen := func(rate float64) bool { return rate >= 0.999 }
	her := openVictim(t, g, bootstrap)
	var hidden []wire.Chain // a record that reached an honest node after all is not eclipsed
	for _, c := range vendors {
		if _, err := her.dht.Passports(t.Context(), c.Vendor()); err != nil {
			hidden = append(hidden, c)
		}
	}
	if alone := float64(len(vendors)-len(hidden)) / float64(len(vendors)); seen(alone) || len(hidden) < vendorsSeen {
		t.Fatalf("the DHT alone finds %.0f %% of what is eclipsed: this is no eclipse", 100*alone)
	}
	vendors = hidden[:vendorsSeen]
	found, asked := 0, 0
	for i := range victims {
		if i > 0 {
			her = openVictim(t, g, bootstrap)
		}
		for range timesAsked {
			for _, want := range vendors {
				asked++
				if c, err := her.FindPassport(t.Context(), want.Vendor()); err == nil && c.LatestHash() == want.LatestHash() {
					found++
				}
			}
		}
	}
	rate := float64(found) / float64(asked)
	t.Logf("%d honest nodes, %d Sybils nearest to the keys: the DHT alone finds none of %d passports (%d of %d put were hidden), a node %d of %d (%.2f %%)",
		honestNodes, sybilNodes, vendorsSeen, len(hidden), vendorsPut, found, asked, 100*rate)
	if !seen(rate) {
		t.Errorf("found %.2f %%, want at least 99.9 %%", 100*rate)
	}
}

func openPublic(t *testing.T, g *protocol.Genesis, bootstrap []string) *Node {
	t.Helper()
	p := place(t)
	err := Init(InitOptions{Paths: p, Profile: Public, Network: g, Bootstrap: bootstrap, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, Config{Paths: p, NoAPI: true})
}

func openHonest(t *testing.T, g *protocol.Genesis) (all []*Node) {
	for i := range honestNodes {
		var bootstrap []string
		if i > 0 {
			bootstrap = address.Texts(all[0].port.Self())
		}
		all = append(all, openPublic(t, g, bootstrap))
	}
	return all
}

// openVictim opens a customer's node that was there before: its cache knows another
// honest node.
func openVictim(t *testing.T, g *protocol.Genesis, bootstrap []string) *Node {
	t.Helper()
	p := place(t)
	if err := Init(InitOptions{Paths: p, Network: g, Bootstrap: bootstrap}); err != nil {
		t.Fatal(err)
	}
	n := opened(t, Config{Paths: p, NoAPI: true})
	await(t, "the victim is connected", func() bool { _, connected := netDesk{n}.reached(); return connected > 0 })
	return n
}

// await polls for at most three minutes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 18_000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within three minutes", what)
}

// acquaint waits until most of the network stands in each honest node's DHT list.
func acquaint(t *testing.T, honest []*Node, all int) {
	t.Helper()
	for _, n := range honest {
		await(t, "the DHT knows its nodes", func() bool {
			return n.dht.Nodes() >= all/2
		})
	}
}

// grind makes keys and keeps those whose node ids lie nearest to a place.
func grind(n, tries int, target [32]byte) []ed25519.PrivateKey {
	type ground struct {
		key ed25519.PrivateKey
		far int
	}
	var all []ground
	for range tries {
		_, k, err := ed25519.GenerateKey(nil)
		if err != nil {
			panic(err)
		}
		sk, err := crypto.UnmarshalEd25519PrivateKey(k)
		if err != nil {
			panic(err)
		}
		id, err := peer.IDFromPrivateKey(sk)
		if err != nil {
			panic(err)
		}
		all = append(all, ground{k, -common(sha256.Sum256([]byte(id)), target)})
	}
	slices.SortFunc(all, func(a, b ground) int { return cmp.Compare(a.far, b.far) })
	out := make([]ed25519.PrivateKey, n)
	for i := range out {
		out[i] = all[i].key
	}
	return out
}

// common is the length of the common prefix, in bits.
func common(a, b [32]byte) int {
	for i := range a {
		if d := a[i] ^ b[i]; d != 0 {
			return 8*i + bits.LeadingZeros8(d)
		}
	}
	return 256
}

// A liar takes everything for true, and prefers a lie.
type liar struct{}

func (liar) Validate(string, []byte) error { return nil }

func (liar) Select(_ string, values [][]byte) (int, error) {
	return max(0, slices.IndexFunc(values, func(v []byte) bool { return strings.HasPrefix(string(v), "lie") })), nil
}

// openSybils opens nodes of the attacker: DHT servers that know each other alone, keep
// lies in place of records, and stand as public nodes that never answer.
func openSybils(t *testing.T, net protocol.Hash, bootstrap protocol.Keeper, target [32]byte) (ids []peer.ID, tables []*kad.IpfsDHT) {
	t.Helper()
	ours := map[peer.ID]bool{}
	var dial []func()
	var hosts []host.Host
	for i, k := range grind(sybilNodes, 6000, target) {
		sk, err := crypto.UnmarshalEd25519PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		h, err := libp2p.New(libp2p.Identity(sk), libp2p.Transport(quic.NewTransport), libp2p.Security(tls.ID, tls.New),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		ours[h.ID()] = true
		hosts = append(hosts, h)
		ids = append(ids, h.ID())
		table, err := kad.New(h, kad.ProtocolPrefix(wireproto.ID(strings.TrimSuffix(dht.Protocol(net), "/kad/1.0.0"))), kad.Mode(kad.ModeServer),
			kad.Validator(record.NamespacedValidator{"hark-ann": liar{}, "hark-passport": liar{}}),
			kad.RoutingTableFilter(func(_ any, p peer.ID) bool { return ours[p] }), kad.DisableAutoRefresh())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = table.Close() })
		tables = append(tables, table)
		h.SetStreamHandler(peers.ProtoSync, func(s network.Stream) { _ = s.Reset() })
		dial = append(dial, func() {
			info := address.Info(bootstrap)
			infos := []peer.AddrInfo{info}
			for _, other := range hosts[:i] {
				infos = append(infos, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()})
			}
			for _, to := range infos {
				if err := h.Connect(t.Context(), to); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for _, f := range dial { // once all are known to be ours
		f()
	}
	for _, table := range tables {
		await(t, "the Sybils know each other", func() bool { return table.RoutingTable().Size() == sybilNodes-1 })
	}
	return ids, tables
}

// farFrom finds a place with as few leading bits in common with every honest node as can
// be, so that the keys around it have no honest node near them.
func farFrom(t *testing.T, honest []*Node) (best [32]byte) {
	t.Helper()
	least := 256
	for i := range 4096 {
		at, nearest := sha256.Sum256([]byte{byte(i), byte(i >> 8)}), 0
		for _, n := range honest {
			info := address.Info(n.port.Self())
			nearest = max(nearest, common(at, sha256.Sum256([]byte(info.ID))))
		}
		if nearest < least {
			best, least = at, nearest
		}
	}
	return best
}

// vendorsNear makes vendors whose key lies nearer to every Sybil than to any honest
// node.
func vendorsNear(t *testing.T, net protocol.Hash, target [32]byte, honest []*Node, sybils []peer.ID) (out []wire.Chain) {
	t.Helper()
	place := func(id peer.ID) [32]byte { return sha256.Sum256([]byte(id)) }
	gone := honest[1].port.Self() // no keeper that is there puts the records of these vendors, or has them at hand
	gone.Key = key.Generate[key.Keeper]().Public()
	for i := 0; len(out) < vendorsPut; i++ {
		if i > 200_000 {
			t.Fatalf("only %d vendors in the shadow of the Sybils", len(out))
		}
		raw := firstPassport(t, net, gone)
		id := wire.ID(raw)
		at := sha256.Sum256([]byte("/hark-passport/" + hex.EncodeToString(id[:])))
		if common(at, target) < 2 {
			continue
		}
		nearest := 0
		for _, n := range honest {
			info := address.Info(n.port.Self())
			nearest = max(nearest, common(at, place(info.ID)))
		}
		if slices.ContainsFunc(sybils, func(s peer.ID) bool { return common(at, place(s)) <= nearest }) {
			continue
		}
		c, err := wire.OpenChain([][]byte{raw}, net)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// firstPassport makes a vendor.
func firstPassport(t *testing.T, net protocol.Hash, at protocol.Keeper) []byte {
	t.Helper()
	root, next := key.Generate[key.Root](), key.Generate[key.Root]()
	p := &protocol.Passport{
		Header: protocol.Header{Net: net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: protocol.Second(time.Now().Unix())},
		Root:   root.Public(), Next: wire.NextRoot(next.Public()), Name: "a vendor", Country: "ZA",
		Inbox: protocol.Inbox{Box: key.Generate[key.Mailbox]().Public(), Seal: inboxSeal, Keepers: []protocol.Keeper{at}},
	}
	raw, err := wire.Sign(root, p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func vendorsOf(t *testing.T, keeper *Node, n int) (out []wire.Chain) {
	t.Helper()
	for range n {
		c, err := wire.OpenChain([][]byte{firstPassport(t, keeper.net, keeper.port.Self())}, keeper.net)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

var inboxSeal = key.GenerateSeal[key.InboxSeal]().Public()

// putAndLeave puts the vendors' passports into the DHT from a node that leaves then.
func putAndLeave(t *testing.T, net protocol.Hash, bootstrap []string, vendors []wire.Chain) {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(quic.NewTransport), libp2p.Security(tls.ID, tls.New), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	table, err := kad.New(h, kad.ProtocolPrefix(wireproto.ID(strings.TrimSuffix(dht.Protocol(net), "/kad/1.0.0"))), kad.Mode(kad.ModeClient),
		kad.Validator(record.NamespacedValidator{"hark-passport": liar{}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	k, err := address.Parse(bootstrap[0])
	if err != nil {
		t.Fatal(err)
	}
	info := address.Info(k)
	if err := h.Connect(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	await(t, "the one who puts is in the DHT", func() bool { return table.RoutingTable().Size() > 0 })
	for _, c := range vendors {
		value, err := wire.JoinChain(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := table.PutValue(ctx, "/hark-passport/"+c.Vendor().String(), value); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}
