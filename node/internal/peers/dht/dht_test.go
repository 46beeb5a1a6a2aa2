package dht

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// What one keeper puts, all others find, a personal node too; a withdrawal follows it,
// and nothing brings the announcement back.
func TestWhatIsPutIsFound(t *testing.T) {
	all := ring(t, 5, home, Limits{})
	she := open(t, setup{personal: true, bootstrap: []protocol.Keeper{all[0].Self()}})
	until(t, "she is connected", she.dht.connected)

	need := sample{name: "a desk", keepers: []protocol.Keeper{all[1].Self()}}
	ctx := private[key.Context](need.name).Public()
	if _, err := she.dht.Announcement(t.Context(), ctx); !errors.Is(err, fault.NotFound) {
		t.Errorf("before it is put: %v", err)
	}
	put := func(n *node, raw []byte) {
		h, err := wire.OpenAnnouncement(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.board.Put(t.Context(), h, int64(born)*1000); err != nil {
			t.Fatal(err)
		}
		n.dht.Heard(h)
	}
	first, withdrawal := need.sign(), sample{name: need.name, seq: 2, withdrawn: true}.sign()
	for i, raw := range [][]byte{first, withdrawal} {
		put(all[1], raw)
		for j, n := range append(slices.Clone(all), she) {
			until(t, "found", func() bool {
				got, err := n.dht.Announcement(t.Context(), ctx)
				return err == nil && bytes.Equal(got, raw)
			})
			t.Logf("step %d: found at node %d", i, j)
		}
	}
	table, err := all[2].dht.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.PutValue(t.Context(), need.key(), first); err == nil {
		t.Error("an announcement was put after its withdrawal")
	}
}

// A keeper puts what names it, and nothing else: not a need with other keepers, nor
// the withdrawal of one. What it knows of that it knows after a restart.
func TestOnlyItsKeepersPutIt(t *testing.T) {
	s := setup{key: key.Generate[key.Keeper](), store: kv.Memory()}
	n := open(t, s)
	own := sample{name: "mine", keepers: []protocol.Keeper{n.Self()}}
	back := own
	back.seq = 3
	for _, row := range []struct {
		s    sample
		want bool
	}{
		{sample{name: "other"}, false}, {sample{name: "other", seq: 2, withdrawn: true}, false},
		{own, true}, {sample{name: "mine", seq: 2}, false}, {back, true}, {sample{name: "mine", seq: 4, withdrawn: true}, true},
		{sample{name: "mine", seq: 5, withdrawn: true}, true},
		{sample{name: "left", keepers: own.keepers}, true}, {sample{name: "left", seq: 2}, false}, {sample{name: "left", seq: 3, withdrawn: true}, false},
	} {
		n.close()
		n = open(t, s)
		h, err := wire.OpenAnnouncement(row.s.sign())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.board.Put(t.Context(), h, int64(born)*1000); err != nil {
			t.Fatal(err)
		}
		if got := mine(h.A(), &n.dht.cfg); got != row.want {
			t.Errorf("%+v: %v", row.s, got)
		}
	}
	if _, ok := n.dht.chain(chain("shop", 1, nil)); ok {
		t.Error("passports with another inbox")
	}
	named := chain("shop", 2, func(p *protocol.Passport) { p.Inbox.Keepers = []protocol.Keeper{n.Self()} })
	if one, ok := n.dht.chain(named); !ok || one.key != PassportKey(named.Vendor()) {
		t.Error("its own passports")
	}
}

func TestPassportsAreFound(t *testing.T) {
	all := ring(t, 4, home, Limits{})
	shop := func(n int) wire.Chain {
		return chain("shop", n, func(p *protocol.Passport) { p.Inbox.Keepers = []protocol.Keeper{all[2].Self()} })
	}
	if _, err := all[0].dht.Passports(t.Context(), shop(1).Vendor()); !errors.Is(err, fault.NotFound) {
		t.Errorf("before: %v", err)
	}
	for _, n := range []int{1, 3} {
		all[2].dht.Show(shop(n))
		until(t, "found", func() bool {
			c, err := all[0].dht.Passports(t.Context(), shop(1).Vendor())
			return err == nil && c.Len() == n
		})
	}
}

// Public nodes say that they are keepers, and which shards they follow.
func TestKeepersAndFollowersAreFound(t *testing.T) {
	all := ring(t, 4, home, Limits{})
	all[1].dht.Follow([]uint16{2})
	has := func(list []protocol.Keeper, n *node) bool {
		return slices.ContainsFunc(list, func(k protocol.Keeper) bool { return k.Key == n.Self().Key && len(k.Addrs) > 0 })
	}
	until(t, "keepers", func() bool {
		list, err := all[0].dht.Keepers(t.Context())
		return err == nil && has(list, all[1]) && has(list, all[2]) && has(list, all[3]) && !has(list, all[0])
	})
	until(t, "followers", func() bool {
		list, err := all[3].dht.Followers(t.Context(), 2)
		return err == nil && has(list, all[1]) && len(list) == 1
	})
}

// A personal node answers nobody, and has no table before it needs one.
func TestAPersonalNodeIsNoServer(t *testing.T) {
	n := open(t, setup{})
	she := open(t, setup{personal: true, bootstrap: []protocol.Keeper{n.Self()}})
	until(t, "connected", she.dht.connected)
	if she.dht.table != nil {
		t.Error("it opened a table that it did not need")
	}
	if _, err := she.dht.Announcement(t.Context(), private[key.Context]("x").Public()); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	id := she.Libp2p().ID()
	if ps, _ := n.Libp2p().Peerstore().SupportsProtocols(id, wireName()); len(ps) > 0 {
		t.Error("it says that it serves the DHT")
	}
	if n.size() != 0 {
		t.Error("it is in a routing table")
	}
	alone := open(t, setup{personal: true})
	if _, err := alone.dht.Announcement(t.Context(), private[key.Context]("x").Public()); !errors.Is(err, fault.Offline) {
		t.Errorf("without anybody: %v", err)
	}
}

// The DHT alone carries a node that was in it before: it keeps a list of its own.
func TestTheDHTAloneCarriesANode(t *testing.T) {
	all := ring(t, 4, home, Limits{})
	others := peers.WayBootstrap | peers.WayCache | peers.WayExchange
	for _, personal := range []bool{false, true} {
		book := &memoryBook{}
		first := open(t, setup{personal: personal, bootstrap: []protocol.Keeper{all[0].Self()}, book: book})
		until(t, "connected", first.dht.connected)
		if personal {
			_, _ = first.dht.Keepers(t.Context())
		}
		until(t, "in the table", func() bool { return first.size() > 0 })
		first.close()
		if len(book.Load()) == 0 {
			t.Fatal("no list was kept")
		}
		second := open(t, setup{personal: personal, bootstrap: []protocol.Keeper{all[0].Self()}, book: book, off: others})
		until(t, "back", func() bool { return second.dht.connected() })
		until(t, "by this way", func() bool {
			for _, w := range second.Ways() {
				if (w.Works() == 1) != (w.Way == peers.WayDHT) {
					return false
				}
			}
			return true
		})
	}
}

// TestOneThatAnswersLookupsLeadsIntoTheNetwork: a node that knows but one other, which
// answers the DHT's lookups and nothing else, finds those that serve; a personal one
// asks although it is connected, since that one is of no other use. Where this way is
// off as well it finds nobody.
func TestOneThatAnswersLookupsLeadsIntoTheNetwork(t *testing.T) {
	others := peers.WayBootstrap | peers.WayCache | peers.WayExchange
	in := func(personal bool, off peers.Way) (served, works bool) {
		synctest.Test(t, func(t *testing.T) {
			net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
			oracle := open(t, setup{place: net.Add(), lookups: true})
			first := open(t, setup{place: net.Add(), bootstrap: []protocol.Keeper{oracle.Self()}})
			second := open(t, setup{place: net.Add(), bootstrap: []protocol.Keeper{first.Self()}})
			time.Sleep(time.Minute)
			book := &memoryBook{}
			book.Save([]protocol.Keeper{oracle.Self()})
			n := open(t, setup{place: net.Add(), personal: personal, book: book, off: off})
			time.Sleep(2 * time.Minute)
			for _, k := range n.View() {
				served = served || k.Connected && k.Keeper.Key != oracle.Self().Key
			}
			if slices.ContainsFunc(n.Keepers(99), func(k protocol.Keeper) bool { return k.Key == oracle.Self().Key }) {
				t.Errorf("personal %v: it takes one that answers lookups for a keeper", personal)
			}
			works = slices.ContainsFunc(n.Ways(), func(r peers.WayReport) bool { return r.Way == peers.WayDHT && r.Works() == 1 })
			for _, n := range []*node{n, second, first, oracle} {
				n.close()
			}
			time.Sleep(time.Minute)
			net.Close()
			time.Sleep(15 * time.Minute)
		})
		return served, works
	}
	for _, personal := range []bool{false, true} {
		if served, works := in(personal, others|peers.WayDHT); served || works {
			t.Fatalf("personal %v: one that knows of nobody found somebody", personal)
		}
		if served, works := in(personal, others); !served || !works {
			t.Errorf("personal %v: connected with one that serves %v, and the way works %v", personal, served, works)
		}
	}
}

func TestClosedIsOffline(t *testing.T) {
	n := open(t, setup{})
	n.close()
	if _, err := n.dht.Keepers(t.Context()); !errors.Is(err, fault.Offline) {
		t.Error(err)
	}
}
