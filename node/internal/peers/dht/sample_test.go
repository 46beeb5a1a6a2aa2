package dht

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

var testNet = hash("net")

// born is when all passports are made: a vendor's id is the hash of the first.
var born = protocol.Second(time.Now().Unix())

const testShards = 4

// open to all, so that a test need not grind stamps; the tests of validators ask for them.
var openLanes = []protocol.LaneRule{{Lane: protocol.LaneNone}}

func hash(s string) protocol.Hash { return sha256.Sum256([]byte(s)) }

func secret(s string) key.Secret {
	h := hash("secret " + s)
	k, err := key.SecretFrom(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

func private[P key.Purpose](s string) key.Private[P] { return key.FromSeed[P](secret(s)) }

// a sample is an announcement of the context called name.
type sample struct {
	name      string
	seq       uint64
	withdrawn bool
	effort    uint8
	keepers   []protocol.Keeper
	change    func(*protocol.Announcement)
}

func (s sample) sign() []byte {
	ctx := private[key.Context](s.name)
	now := born
	a := &protocol.Announcement{
		Header: protocol.Header{Net: testNet, Seq: max(s.seq, 1), Created: now, Expires: now + protocol.Day},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
	}
	id := hash(fmt.Sprint("id", s.name, s.seq))
	copy(a.ID[:], id[:])
	if s.withdrawn {
		a.Status = protocol.Withdrawn
	} else {
		body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, secret("body"), ctx.Public(), a.Seq)
		if err != nil {
			panic(err)
		}
		a.Seal, a.Terms = key.SealFromSeed[key.ContextSeal](secret(s.name)).Public(), hash("terms")
		a.Mailbox, a.Body, a.Commitment, a.Keepers = private[key.Mailbox](s.name).Public(), body, commitment, s.keepers
		if len(a.Keepers) == 0 {
			a.Keepers = []protocol.Keeper{{Key: private[key.Keeper]("somebody").Public()}}
		}
	}
	if s.change != nil {
		s.change(a)
	}
	lane := uint8(protocol.LaneNone)
	if s.effort > 0 {
		lane = protocol.LaneWork
	}
	raw, err := wire.SignAnnouncement(ctx, a, lane, s.effort)
	if err != nil {
		panic(err)
	}
	return raw
}

func (s sample) key() string { return AnnKey(private[key.Context](s.name).Public()) }

// chain makes n passports of a vendor.
func chain(vendor string, n int, change func(*protocol.Passport)) wire.Chain {
	var raws [][]byte
	root := func(i int) key.Private[key.Root] { return private[key.Root](fmt.Sprint(vendor, i)) }
	for i := range n {
		p := &protocol.Passport{
			Header: protocol.Header{Net: testNet, Kind: protocol.KindPassport, Seq: uint64(i + 1), Created: born},
			Root:   root(i).Public(), Next: wire.NextRoot(root(i + 1).Public()), Name: vendor, Country: "ZA",
			Inbox: protocol.Inbox{Box: private[key.Mailbox](vendor).Public(), Seal: key.SealFromSeed[key.InboxSeal](secret("inbox")).Public(),
				Keepers: []protocol.Keeper{{Key: private[key.Keeper]("somebody").Public()}}},
		}
		h := hash(fmt.Sprint(vendor, i))
		copy(p.ID[:], h[:])
		if i > 0 {
			p.Vendor, p.Re = wire.ID(raws[0]), wire.ID(raws[i-1])
		}
		if change != nil {
			change(p)
		}
		raw, err := wire.Sign(root(i), p)
		if err != nil {
			panic(err)
		}
		raws = append(raws, raw)
	}
	c, err := wire.OpenChain(raws, testNet)
	if err != nil {
		panic(err)
	}
	return c
}

func joined(c wire.Chain) []byte {
	value, err := wire.JoinChain(c)
	if err != nil {
		panic(err)
	}
	return value
}

// a memoryBook is a peers.Book.
type memoryBook struct {
	mu sync.Mutex
	ks []protocol.Keeper
}

func (b *memoryBook) Load() []protocol.Keeper {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ks)
}

func (b *memoryBook) Save(ks []protocol.Keeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ks = slices.Clone(ks)
}

// a node is a host and its DHT.
type node struct {
	*peers.Host
	dht   *DHT
	board *board.Board
	book  *memoryBook
	close func()
}

// a setup says how to open a node.
type setup struct {
	personal  bool
	at        string // IP address, 127.0.0.1
	key       key.Private[key.Keeper]
	bootstrap []protocol.Keeper
	book      *memoryBook // of the DHT
	cache     peers.Book
	off       peers.Way
	limits    Limits
	exchange  peers.Exchange
	place     *netem.Host      // on a simulated network, in a bubble
	now       func() time.Time // time.Now
	store     kv.Store         // of the board, an empty one
	lookups   bool             // it answers lookups, and nothing else
}

func open(tb testing.TB, s setup) *node {
	tb.Helper()
	if s.at == "" {
		s.at = "127.0.0.1"
	}
	if s.book == nil {
		s.book = &memoryBook{}
	}
	if s.key.Seed().IsZero() {
		s.key = key.Generate[key.Keeper]()
	}
	if s.now == nil {
		s.now = time.Now
	}
	log := slog.New(slog.DiscardHandler)
	cfg := peers.Config{
		Profile: peers.Public, Listen: []string{"/ip4/" + s.at + "/udp/0/quic-v1", "/ip4/" + s.at + "/tcp/0"}, Key: s.key, Bootstrap: s.bootstrap,
		Book: s.cache, Exchange: s.exchange, Off: s.off, DHT: Protocol(testNet), Log: log, Now: s.now,
	}
	if s.place != nil {
		cfg.Listen, cfg.Options = []string{s.place.Listen()}, s.place.Options()
	}
	if s.personal {
		cfg.Profile, cfg.Listen = peers.Personal, nil
	}
	h, err := peers.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	n := &node{Host: h, book: s.book}
	if s.store == nil {
		s.store = kv.Memory()
	}
	if n.board, err = board.Open(s.store, testShards, board.Limits{}); err != nil {
		tb.Fatal(err)
	}
	n.dht, err = Open(context.Background(), Config{
		Host: h, Net: testNet, Shards: testShards, Lanes: openLanes, Board: n.board, Book: s.book, Limits: s.limits, Log: log, Now: s.now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	if !s.lookups {
		h.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	}
	n.close = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.dht.Stop(ctx); err != nil {
			tb.Errorf("dht: %v", err)
		}
		if err := h.Close(ctx); err != nil {
			tb.Errorf("host: %v", err)
		}
		if err := n.dht.Close(ctx); err != nil {
			tb.Errorf("dht: %v", err)
		}
	})
	tb.Cleanup(n.close)
	return n
}

// until polls for at most thirty seconds.
func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	tb.Fatalf("%s: not within thirty seconds", what)
}

// ring opens n nodes that know the first, each at an address that at gives, and waits
// until the table of each has at least three of the others.
func ring(tb testing.TB, n int, at func(i int) string, lim Limits) (all []*node) {
	for i := range n {
		s := setup{at: at(i), limits: lim}
		if i > 0 {
			s.bootstrap = []protocol.Keeper{all[0].Self()}
		}
		all = append(all, open(tb, s))
	}
	for _, one := range all {
		until(tb, "in each other's tables", func() bool { return one.size() >= min(3, n-1) })
	}
	return all
}

func (n *node) size() int { return n.dht.Nodes() }

func home(int) string { return "127.0.0.1" }

// raw32 is how the library writes a key inside a datastore's key.
var raw32 = base32.StdEncoding.WithPadding(base32.NoPadding)
