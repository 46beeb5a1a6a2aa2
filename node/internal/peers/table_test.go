package peers

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

func addrs(texts ...string) (out []ma.Multiaddr) {
	for _, t := range texts {
		out = append(out, ma.StringCast(t))
	}
	return out
}

func keeperAt(texts ...string) protocol.Keeper {
	k := protocol.Keeper{Key: key.Generate[key.Keeper]().Public()}
	for _, a := range addrs(texts...) {
		k.Addrs = append(k.Addrs, a.Bytes())
	}
	return k
}

func nobody(key.KeeperKey) bool { return false }

const farAway = "/ip4/198.51.100.7/udp/4001/quic-v1"

// A node is told on only when we reached it, only with addresses on the IP where we
// did, and never to somebody farther away than that address.
func TestOnlyWhatWasReachedIsToldOn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tb := newTable(key.KeeperKey{}, maxTable)
	unseen, lan, far := keeperAt(farAway), keeperAt("/ip4/192.168.1.9/udp/1/quic-v1"), keeperAt(farAway)
	tb.learn([]protocol.Keeper{unseen, lan, far}, WayExchange)
	tb.met(lan.Key, netip.MustParseAddr("192.168.1.9"), addrs("/ip4/192.168.1.9/udp/1/quic-v1"), now)
	tb.met(far.Key, netip.MustParseAddr("198.51.100.7"),
		addrs("/ip4/203.0.113.66/udp/53/quic-v1", farAway, "/ip4/127.0.0.1/udp/22/quic-v1", "/ip4/198.51.100.7/tcp/4001", farAway), now)
	count := func(to address.Scope) (n int) { return len(tb.share(maxShare, to, now)) }
	if count(address.Loopback) != 2 || count(address.Private) != 2 || count(address.Public) != 1 {
		t.Errorf("told: %d, %d, %d; want 2, 2, 1", count(address.Loopback), count(address.Private), count(address.Public))
	}
	got := tb.share(9, address.Public, now)[0]
	want := addrs(farAway, "/ip4/198.51.100.7/tcp/4001")
	if got.Key != far.Key || len(got.Addrs) != 2 || !slices.Equal(got.Addrs[0], want[0].Bytes()) || !slices.Equal(got.Addrs[1], want[1].Bytes()) {
		t.Errorf("told %v", got)
	}
	tb.failed(far.Key, now)
	if count(address.Public) != 0 {
		t.Error("a node that does not answer is told on")
	}
	if n := len(tb.share(9, address.Loopback, now.Add(25*time.Hour))); n != 0 {
		t.Errorf("%d nodes not reached for a day are told on", n)
	}
}

func TestHearsayDoesNotOverwriteExperience(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tb := newTable(key.KeeperKey{}, maxTable)
	boot, met := keeperAt(farAway), keeperAt(farAway)
	tb.learn([]protocol.Keeper{boot}, WayBootstrap)
	tb.learn([]protocol.Keeper{met}, WayExchange)
	tb.met(met.Key, netip.MustParseAddr("198.51.100.7"), addrs(farAway), now)
	lie := addrs("/ip4/203.0.113.66/udp/53/quic-v1")[0].Bytes()
	tb.learn([]protocol.Keeper{{Key: boot.Key, Addrs: [][]byte{lie}}, {Key: met.Key, Addrs: [][]byte{lie}}, {Key: tb.self, Addrs: [][]byte{lie}}}, WayExchange)
	for _, k := range []key.KeeperKey{boot.Key, met.Key} {
		if got, _ := tb.get(k); !slices.Equal(got.Addrs[0], ma.StringCast(farAway).Bytes()) {
			t.Error("the address was overwritten")
		}
	}
	if len(tb.keys()) != 2 {
		t.Errorf("%d nodes known", len(tb.keys()))
	}
}

// A flood of names fills the table and drives out nobody who works.
func TestTheTableIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tb := newTable(key.KeeperKey{}, maxTable)
	good, boot := keeperAt(farAway), keeperAt(farAway)
	tb.learn([]protocol.Keeper{boot}, WayBootstrap)
	tb.met(good.Key, netip.MustParseAddr("198.51.100.7"), addrs(farAway), now)
	for i := range 2 * maxTable {
		tb.learn([]protocol.Keeper{keeperAt(fmt.Sprintf("/ip4/203.0.113.%d/udp/1/quic-v1", i%250))}, WayExchange)
	}
	if n := len(tb.keys()); n != maxTable {
		t.Errorf("%d nodes, at most %d", n, maxTable)
	}
	for _, k := range []protocol.Keeper{good, boot} {
		if _, ok := tb.get(k.Key); !ok {
			t.Error("a node that works was driven out")
		}
	}
	// One that failed gives way.
	for _, k := range tb.keys() {
		if k != good.Key && k != boot.Key {
			tb.failed(k, now)
		}
	}
	if n := tb.learn([]protocol.Keeper{keeperAt(farAway)}, WayExchange); n != 1 {
		t.Error("no room although most do not answer")
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tb := newTable(key.KeeperKey{}, maxTable)
	boot, other := keeperAt(farAway), keeperAt(farAway)
	tb.learn([]protocol.Keeper{boot}, WayBootstrap)
	tb.learn([]protocol.Keeper{other}, WayExchange)
	if got := tb.candidates(9, now, nobody); len(got) != 2 || got[0].Key != boot.Key {
		t.Fatalf("%d candidates", len(got))
	}
	if got := tb.candidates(9, now, nobody); len(got) != 0 {
		t.Error("dialled twice at once")
	}
	for range 30 {
		tb.failed(boot.Key, now)
		tb.failed(other.Key, now)
	}
	tb.dialed(boot.Key)
	tb.dialed(other.Key)
	if got := tb.candidates(9, now.Add(bootPause/4), nobody); len(got) != 0 {
		t.Error("tried again at once")
	}
	if got := tb.candidates(9, now.Add(2*bootPause), nobody); len(got) != 1 || got[0].Key != boot.Key {
		t.Errorf("after two minutes: %d candidates", len(got))
	}
	if got := tb.candidates(9, now.Add(2*longPause), nobody); len(got) != 1 || got[0].Key != other.Key {
		t.Errorf("in the end: %d candidates", len(got))
	}
	if got := tb.alive(9, now, nobody); len(got) != 0 {
		t.Error("thought alive although it fails")
	}
}

func TestAddresses(t *testing.T) {
	const id = "/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	for _, good := range []string{farAway + id, "/ip6/2001:db8::1/tcp/4001" + id, "/dns4/keeper.example/udp/4001/quic-v1" + id} {
		k, err := address.Parse(good)
		if err != nil || len(k.Addrs) != 1 {
			t.Errorf("%s: %v, %v", good, k, err)
			continue
		}
		if back := address.Texts(k); len(back) != 1 || back[0] != good {
			t.Errorf("%s comes back as %v", good, back)
		}
	}
	for _, bad := range []string{
		"", "x", farAway, id, "/ip4/198.51.100.7" + id + "x", farAway + "/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5",
	} {
		if k, err := address.Parse(bad); err == nil {
			t.Errorf("%q gives %v", bad, k)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add(farAway + "/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5")
	f.Add("/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := address.Parse(text)
		if err != nil {
			return
		}
		for _, back := range address.Texts(k) {
			if again, err := address.Parse(back); err != nil || again.Key != k.Key {
				t.Errorf("%q: %v, %v", back, again, err)
			}
		}
	})
}

func FuzzKeeperAddresses(f *testing.F) {
	f.Add(ma.StringCast(farAway).Bytes())
	f.Add([]byte{4, 127, 0, 0, 1})
	f.Add(ma.StringCast(farAway + "/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8/p2p-circuit").Bytes())
	k := key.Generate[key.Keeper]().Public()
	f.Fuzz(func(t *testing.T, raw []byte) {
		info := address.Info(protocol.Keeper{Key: k, Addrs: [][]byte{raw}})
		for _, a := range info.Addrs {
			if !address.Dialable(a) || len(a.Bytes()) > protocol.MaxAddr || address.Relayed(a) && (len(a) > 5 || !address.IPOf(a).IsValid()) {
				t.Errorf("%v is let through", a)
			}
		}
	})
}

// Who sits at relays is known by what he says himself, told on only as far as we reached
// him there, given as no keeper, and dialled where there is nobody else.
func TestWhoSitsAtRelays(t *testing.T) {
	const relay = "/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8/p2p-circuit"
	seats := addrs(farAway+relay, "/ip4/203.0.113.9/tcp/1"+relay)
	now, nobody := time.Unix(1e9, 0), func(key.KeeperKey) bool { return false }
	tb := newTable(key.Generate[key.Keeper]().Public(), 4)
	hidden, open := key.Generate[key.Keeper]().Public(), key.Generate[key.Keeper]().Public()
	tb.met(hidden, netip.MustParseAddr("192.0.2.1"), addrs("/ip4/192.0.2.1/tcp/1"), now)
	if got := tb.alive(9, now, nobody); len(got) != 1 {
		t.Fatalf("while it was in the open: %v", got)
	}
	tb.sits(hidden, seats)
	if got, _ := tb.get(hidden); !address.RelayedAlone(got.Addrs) || len(got.Addrs) != 2 {
		t.Errorf("it says to sit at two relays, and is known at %v", got.Addrs)
	}
	if got := tb.alive(9, now, func(key.KeeperKey) bool { return true }); len(got) != 0 {
		t.Errorf("given as a keeper: %v", got)
	}
	if got := tb.share(9, address.Public, now); len(got) != 0 {
		t.Errorf("told on, though we did not reach it: %v", got)
	}
	tb.met(hidden, address.IPOf(seats[0]), seats, now)
	if got := tb.share(9, address.Public, now); len(got) != 1 || len(got[0].Addrs) != 1 {
		t.Errorf("once we reached it at one relay: %v", got)
	}
	tb.learn([]protocol.Keeper{{Key: open, Addrs: [][]byte{addrs("/ip4/192.0.2.2/tcp/1")[0].Bytes()}}}, WayExchange)
	if got := tb.candidates(1, now, nobody); len(got) != 1 || got[0].Key != open {
		t.Errorf("before one in the open it is dialled: %v", got)
	}
	if got := tb.candidates(1, now, nobody); len(got) != 1 || got[0].Key != hidden {
		t.Errorf("where there is nobody else: %v", got)
	}
	tb.dialed(hidden)
	tb.later(hidden, now)
	if got := tb.candidates(1, now, nobody); len(got) != 0 {
		t.Errorf("dialled again at once: %v", got)
	}
	for range 9 {
		tb.sits(key.Generate[key.Keeper]().Public(), seats)
	}
	if n := len(tb.keys()); n != 4 {
		t.Errorf("%d are known of 4", n)
	}
}

// The short way to a peer id is libp2p's.
func TestPeerIDs(t *testing.T) {
	for range 100 {
		k := key.Generate[key.Keeper]().Public()
		pub, err := crypto.UnmarshalEd25519PublicKey(k[:])
		if err != nil {
			t.Fatal(err)
		}
		if want, err := peer.IDFromPublicKey(pub); err != nil || address.ID(k) != want {
			t.Fatalf("%s, want %s (%v)", address.ID(k), want, err)
		}
	}
}
