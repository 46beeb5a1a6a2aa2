package dht

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

// A writer is a node that puts records at another: an honest keeper or an attacker.
type writer struct {
	t     *testing.T
	id    peer.ID
	addrs []ma.Multiaddr
	send  *pb.ProtocolMessenger
	to    peer.ID
}

// openWriter opens one at an IP address; each of 127.0.0.0/8 is this machine's.
func openWriter(t *testing.T, at string, target *node) *writer {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(tls.ID, tls.New), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ListenAddrStrings("/ip4/"+at+"/tcp/0"), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	table, err := kad.New(h, kad.ProtocolPrefix(wirePrefix(testNet)), kad.Mode(kad.ModeClient), kad.DisableAutoRefresh(),
		kad.Validator(record.NamespacedValidator{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	send, err := pb.NewProtocolMessenger(table.MessageSender())
	if err != nil {
		t.Fatal(err)
	}
	info := address.Info(target.Self())
	if err := h.Connect(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	if from, want := target.Prefix(h.ID()), address.PrefixOf(mustKeeper(t, h.ID(), h.Addrs())); from != want {
		t.Fatalf("one that listens at %s comes from %s", want, from)
	}
	return &writer{t, h.ID(), h.Addrs(), send, info.ID}
}

func mustKeeper(t *testing.T, id peer.ID, at []ma.Multiaddr) protocol.Keeper {
	t.Helper()
	k, err := address.Keeper(peer.AddrInfo{ID: id, Addrs: at})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *writer) put(s sample) error { return w.value(s.key(), s.sign()) }

func (w *writer) show(vendor string) error {
	c := chain(vendor, 1, nil)
	return w.value(PassportKey(c.Vendor()), joined(c))
}

func (w *writer) value(key string, raw []byte) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return w.send.PutValue(ctx, w.to, record.MakePutRecord(key, raw))
}

func (w *writer) provide(what string) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return w.send.PutProviderAddrs(ctx, w.to, place([]byte(what)).Hash(), peer.AddrInfo{ID: w.id, Addrs: w.addrs})
}

// A deluge is how a flood goes.
type deluge struct {
	limits    Limits
	attackers func(i int) string // their addresses
}

// The sizes of the flood: records of honest keepers, and of attackers.
const (
	honestWriters = 8
	honestRecords = 20 // of each
	attackWriters = 12
	attackRecords = 150 // of each
	// Equal shares of eleven prefixes are 65,000 bytes, and an honest keeper of the test
	// has 60,000: what an honest one holds beyond an equal share is not defended.
	capacity     = 720_000
	provCapacity = 100_000
	// Of passports each has one in ten of that, so that they take a tenth of the time.
	fewer        = 10
	passCapacity = capacity / fewer
)

// A peak is the most bytes that a node held of each kind.
type peak struct{ announcements, passports, providers int }

func (p *peak) see(g guard) {
	held, _ := g.values.Fill(spaceAnn)
	passports, _ := g.values.Fill(spacePassport)
	providers, _ := g.providers.Fill()
	p.announcements, p.passports, p.providers = max(p.announcements, held), max(p.passports, passports), max(p.providers, providers)
}

func (p peak) within() bool {
	return p.announcements <= capacity && p.passports <= passCapacity && p.providers <= provCapacity
}

// run floods one node and says what it held, and how many honest records are left, of
// all and of the passports.
func (d deluge) run(t *testing.T) (most peak, survived, passports float64) {
	target := open(t, setup{at: "127.0.0.1", limits: d.limits})
	var honest, attackers []*writer
	for i := range honestWriters {
		honest = append(honest, openWriter(t, fmt.Sprintf("127.1.%d.1", i), target))
	}
	for i := range attackWriters {
		attackers = append(attackers, openWriter(t, d.attackers(i), target))
	}
	for i, w := range honest {
		for j := range honestRecords {
			if err := w.put(honestly(i, j)); err != nil {
				t.Fatal(i, j, err)
			}
		}
		for j := range honestRecords / fewer {
			if err := w.show(honestVendor(i, j)); err != nil {
				t.Fatal(i, j, err)
			}
		}
		if err := w.provide("keeper"); err != nil {
			t.Fatal(err)
		}
	}
	for j := range attackRecords {
		for i, w := range attackers {
			_ = w.put(sample{name: fmt.Sprintf("flood %d %d", i, j)}) // refused, or kept
			if j%fewer == 0 {
				_ = w.show(fmt.Sprintf("flood %d %d", i, j))
			}
			_ = w.provide(fmt.Sprintf("place %d %d", i, j))
			_ = w.provide("keeper")
		}
		most.see(target.dht.guard)
	}
	left, shown := standing(t, target, honest)
	perWriter := honestRecords + honestRecords/fewer + 1
	return most, float64(left+shown) / float64(honestWriters*perWriter), float64(shown) / float64(honestWriters*honestRecords/fewer)
}

func honestly(i, j int) sample { return sample{name: fmt.Sprintf("honest %d %d", i, j)} }

func honestVendor(i, j int) string { return fmt.Sprintf("honest %d %d", i, j) }

// standing counts the honest records that are there, and the passports among them apart.
func standing(t *testing.T, target *node, honest []*writer) (left, passports int) {
	has := func(space, key string) bool {
		ok, err := target.dht.guard.values.Has(t.Context(), ds.NewKey("/"+space+"/"+raw32.EncodeToString([]byte(key))))
		return ok && err == nil
	}
	list, err := target.dht.table.ProviderStore().GetProviders(t.Context(), place([]byte("keeper")).Hash())
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range honest {
		for j := range honestRecords {
			if has(spaceAnn, honestly(i, j).key()) {
				left++
			}
		}
		for j := range honestRecords / fewer {
			if has(spacePassport, PassportKey(chain(honestVendor(i, j), 1, nil).Vendor())) {
				passports++
			}
		}
		if slices.ContainsFunc(list, func(k peer.AddrInfo) bool { return k.ID == w.id }) {
			left++
		}
	}
	return left, passports
}

// TestMust_dht_flood: whatever is put, a node holds no more than its bound, and what
// honest keepers put is still there. Without bounds, and where honest and attackers
// share one address prefix, the same checks fail.
func TestMust_dht_flood(t *testing.T) {
	lim := DefaultLimits
	lim.AnnBytes, lim.PassportBytes, lim.ProviderBytes, lim.PerPlace = capacity, passCapacity, provCapacity, 64
	lim.Writes, lim.Requests = budget.Rate{PerSecond: 1e6, Burst: 1e6}, budget.Rate{PerSecond: 1e6, Burst: 1e6} // the stores alone
	apart := func(i int) string { return fmt.Sprintf("127.2.%d.%d", i%3, 1+i) }
	open := lim
	open.AnnBytes, open.PassportBytes, open.ProviderBytes = 1<<40, 1<<40, 1<<40
	if p, _, _ := (deluge{open, apart}).run(t); p.announcements <= capacity || p.passports <= passCapacity || p.providers <= provCapacity {
		t.Fatalf("without bounds it holds %+v bytes: the flood is too small to show anything", p)
	}
	among := func(i int) string { return fmt.Sprintf("127.1.%d.%d", i%honestWriters, 2+i) }
	if _, left, shown := (deluge{lim, among}).run(t); left >= 0.99 || shown >= 0.99 {
		t.Fatalf("%.0f %% are left where attackers sit among the honest, %.0f %% of the passports: the flood is too small to show anything", 100*left, 100*shown)
	}
	p, left, shown := deluge{lim, apart}.run(t)
	t.Logf("%d records of %d attackers in 3 prefixes: at most %d of %d bytes of announcements, %d of %d of passports, %d of %d of provider records; %.1f %% of the honest are left, %.1f %% of their passports",
		(3*attackRecords+attackRecords/fewer)*attackWriters, attackWriters, p.announcements, capacity, p.passports, passCapacity, p.providers, provCapacity, 100*left, 100*shown)
	if !p.within() || left < 0.99 || shown < 0.99 {
		t.Errorf("%+v bytes, %.1f %% left, %.1f %% of the passports", p, 100*left, 100*shown)
	}
}
