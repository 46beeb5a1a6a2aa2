package dht

import (
	"context"
	"fmt"
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

func (w *writer) put(s sample) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return w.send.PutValue(ctx, w.to, record.MakePutRecord(s.key(), s.sign()))
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
)

// run floods one node and says what it held, and how many honest records are left.
func (d deluge) run(t *testing.T) (bytes, provBytes int, survived float64) {
	target := open(t, setup{at: "127.0.0.1", limits: d.limits})
	var honest, attackers []*writer
	for i := range honestWriters {
		honest = append(honest, openWriter(t, fmt.Sprintf("127.1.%d.1", i), target))
	}
	for i := range attackWriters {
		attackers = append(attackers, openWriter(t, d.attackers(i), target))
	}
	honestly := func(i, j int) sample { return sample{name: fmt.Sprintf("honest %d %d", i, j)} }
	for i, w := range honest {
		for j := range honestRecords {
			if err := w.put(honestly(i, j)); err != nil {
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
			_ = w.provide(fmt.Sprintf("place %d %d", i, j))
			_ = w.provide("keeper")
		}
		held, _ := target.dht.guard.values.Fill(spaceAnn)
		provHeld, _ := target.dht.guard.providers.Fill()
		bytes, provBytes = max(bytes, held), max(provBytes, provHeld)
	}
	there := 0
	for i, w := range honest {
		for j := range honestRecords {
			key := ds.NewKey("/" + spaceAnn + "/" + raw32.EncodeToString([]byte(honestly(i, j).key())))
			if ok, err := target.dht.guard.values.Has(t.Context(), key); ok && err == nil {
				there++
			}
		}
		list, err := target.dht.table.ProviderStore().GetProviders(t.Context(), place([]byte("keeper")).Hash())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			if k.ID == w.id {
				there++
			}
		}
	}
	return bytes, provBytes, float64(there) / float64(honestWriters*(honestRecords+1))
}

// TestMust_dht_flood: whatever is put, a node holds no more than its bound, and what
// honest keepers put is still there. Without bounds, and where honest and attackers
// share one address prefix, the same checks fail.
func TestMust_dht_flood(t *testing.T) {
	lim := DefaultLimits
	lim.AnnBytes, lim.ProviderBytes, lim.PerPlace = capacity, provCapacity, 64
	lim.Writes, lim.Requests = budget.Rate{PerSecond: 1e6, Burst: 1e6}, budget.Rate{PerSecond: 1e6, Burst: 1e6} // the stores alone
	apart := func(i int) string { return fmt.Sprintf("127.2.%d.%d", i%3, 1+i) }
	within := func(bytes, provBytes int) bool { return bytes <= capacity && provBytes <= provCapacity }

	open := lim
	open.AnnBytes, open.ProviderBytes = 1<<40, 1<<40
	if bytes, prov, _ := (deluge{open, apart}).run(t); within(bytes, prov) {
		t.Fatalf("without bounds it holds %d and %d bytes: the flood is too small to show anything", bytes, prov)
	}
	if _, _, left := (deluge{lim, func(i int) string { return fmt.Sprintf("127.1.%d.%d", i%honestWriters, 2+i) }}).run(t); left >= 0.99 {
		t.Fatalf("%.0f %% are left where attackers sit among the honest: the flood is too small to show anything", 100*left)
	}
	bytes, prov, left := deluge{lim, apart}.run(t)
	t.Logf("%d records of %d attackers in 3 prefixes: at most %d of %d bytes of announcements, %d of %d of provider records; %.1f %% of the honest are left",
		3*attackRecords*attackWriters, attackWriters, bytes, capacity, prov, provCapacity, 100*left)
	if !within(bytes, prov) || left < 0.99 {
		t.Errorf("%d and %d bytes, %.1f %% left", bytes, prov, 100*left)
	}
}
