// Package dht is this network's own distributed hash table: a hint where something
// may be found, never an authority on what is true. It stands on libp2p's, which no
// other room imports, under the prefix /hark/<net>.
//
//  1. Open starts a server on a public node. A personal node opens a client, when it
//     first needs one: it answers nobody, and asks only for what it found nowhere
//     else, because a lookup tells some twenty strangers what this address looks for.
//  2. Values are the latest announcement of a context and the passports of a vendor.
//     What does not open as that, by that key, is refused by every node. Provider
//     records say who is a keeper and who follows a shard.
//  3. Keepers put what names them as keeper, at once and every 22 hours after, spread
//     over that time; withdrawals too. What is to be put again stands on the board, so
//     that whoever starts again misses nothing (put.go).
//  4. A loop asks for keepers: the fourth way in, beside bootstrap list, cache and
//     exchange (find.go). It keeps a list of DHT nodes of its own for the next start.
//  5. What comes out passes the same door as gossip: the caller sees to it.
//
// Strangers are held down by what they can't make at will, their addresses: a budget
// of requests for each prefix, equal shares of the memory for records (room hoard),
// at most so many of one network in the routing table, and messages of bounded length
// (guard.go, frame.go).
package dht

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	golog "github.com/ipfs/go-log/v2"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht/hoard"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/board"
)

// Limits bound what a node holds for others and how much it may be asked.
type Limits struct {
	AnnBytes      int // of announcements
	PassportBytes int
	ProviderBytes int
	PerPlace      int         // provider records of one place
	PerPeer       int         // and of one peer
	PerGroup      int         // nodes of one network (/16, or the operator's number) in the routing table; 0: 3, and no bound where all are at home
	Requests      budget.Rate // of one address prefix
	Writes        budget.Rate // of these, records put
	Puts          int         // records of this node's that wait to be put at once; 0: 1024
}

// DefaultLimits are some 18 MiB in all, when strangers fill them.
var DefaultLimits = Limits{
	AnnBytes: 8 << 20, PassportBytes: 8 << 20, ProviderBytes: 2 << 20, PerPlace: 256, PerPeer: 64,
	Requests: budget.Rate{PerSecond: 100, Burst: 2000}, Writes: budget.Rate{PerSecond: 10, Burst: 1000},
}

// validity is how long a record counts that nobody renewed, values and providers both.
const validity = 48 * time.Hour

// perGroup and perBucket are the bounds of the routing table where Limits say nothing.
const (
	perGroup  = 3
	perBucket = 2
)

// Config is what a DHT needs. Limits, Book and Board may be left out.
type Config struct {
	Host   *peers.Host
	Net    protocol.Hash
	Shards uint16
	Lanes  []protocol.LaneRule
	Board  *board.Board // whose records are put
	Book   peers.Book   // its list of DHT nodes, from one run to the next
	Limits Limits       // zero: DefaultLimits
	Log    *slog.Logger
	Now    func() time.Time
}

// A DHT is a node's part in the table. Make it with Open.
type DHT struct {
	cfg   Config
	work  *crew.Crew
	guard guard
	puts  *puts
	kick  chan struct{}

	mu     sync.Mutex
	table  *kad.IpfsDHT // nil: a personal node that needed none yet
	closed bool
	shards []uint16 // followed
}

// maxWork bounds the loops and lookups of one node.
const maxWork = 16

// Open starts a server, on a public node. Its loops end with ctx or with Close.
func Open(ctx context.Context, cfg Config) (*DHT, error) {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits
	}
	lim := cfg.Limits
	d := &DHT{
		cfg: cfg, work: crew.New(ctx, maxWork, nil), kick: make(chan struct{}, 1),
		guard: guard{
			values:    hoard.NewValues(string(cfg.Host.Libp2p().ID()), map[string]int{spaceAnn: lim.AnnBytes, spacePassport: lim.PassportBytes}),
			providers: hoard.NewProviders(hoard.Limits{Bytes: lim.ProviderBytes, PerPlace: lim.PerPlace, PerPeer: lim.PerPeer}, cfg.Host.Prefix),
			budgets: budget.New(budget.Limits{Prefix: lim.Requests, Relay: lim.Writes,
				All: budget.Rate{PerSecond: 20 * lim.Requests.PerSecond, Burst: 20 * lim.Requests.Burst}}, cfg.Now),
		},
		puts: newPuts(cmp.Or(lim.Puts, maxPuts)),
	}
	if cfg.Board != nil {
		cfg.Board.For(cfg.Host.Self().Key)
	}
	remember(d.cfg)
	err := d.work.Hire("dht seek", d.seek)
	if cfg.Host.Profile() == peers.Public {
		_, err2 := d.open()
		err = errors.Join(err, err2, d.work.Hire("dht put", (&putter{DHT: d}).run), d.work.Hire("dht provide", d.provideAll))
	}
	if err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}
	return d, nil
}

// open gives the library's table, and makes it the first time.
func (d *DHT) open() (*kad.IpfsDHT, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("dht: closed: %w", fault.Offline)
	}
	if d.table != nil {
		return d.table, nil
	}
	quiet()
	t, err := kad.New(gate{d.cfg.Host.Libp2p(), d.cfg.Host.Prefix, d.guard.ended}, d.options()...)
	if err != nil {
		return nil, fmt.Errorf("dht: %w", err)
	}
	d.table = t
	return t, nil
}

func (d *DHT) options() []kad.Option {
	door := check.Door{Net: d.cfg.Net, Shards: d.cfg.Shards, Lanes: d.cfg.Lanes, Memory: stranger{}}
	out := []kad.Option{
		kad.ProtocolPrefix(wirePrefix(d.cfg.Net)), kad.Mode(kad.ModeServer),
		kad.Validator(record.NamespacedValidator{
			spaceAnn: announcements{door, d.cfg.Now}, spacePassport: passports{d.cfg.Net, d.cfg.Now},
		}),
		kad.ValueDatastore(d.guard.values), kad.ProviderDatastore(d.guard.providers),
		kad.ProviderManagerOpts(records.Cache(hoard.NoCache{}), records.ProvideValidity(validity)),
		kad.MaxRecordAge(validity), kad.ValueGCInterval(time.Hour),
		kad.RoutingTablePeerDiversityFilter(diversity(d.cfg.Host, d.cfg.Limits.PerGroup)),
		kad.AddressFilter(func(a []ma.Multiaddr) []ma.Multiaddr { return peers.Worth(d.cfg.Host, a) }), kad.OnRequestHook(d.guard.request),
		kad.LookupCheckConcurrency(16),
	}
	if d.cfg.Host.Profile() != peers.Public {
		out = append(out, kad.Mode(kad.ModeClient), kad.DisableAutoRefresh())
	}
	return out
}

// Stop ends the loops and keeps the list of nodes for the next run: before the host is
// closed.
func (d *DHT) Stop(ctx context.Context) error {
	err := d.end(ctx)
	if d.table != nil { // nobody sets it any more
		d.save(d.table)
	}
	return err
}

// Close ends the table, after the host was closed: no stranger's request is being
// answered any more.
func (d *DHT) Close(ctx context.Context) error {
	err := d.end(ctx)
	if d.table == nil {
		return err
	}
	return errors.Join(err, d.table.Close())
}

func (d *DHT) end(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	return d.work.Dismiss(ctx)
}

// remember names the nodes of the list that was kept to the host.
func remember(cfg Config) {
	if cfg.Book == nil {
		return
	}
	if list := cfg.Book.Load(); len(list) > 0 {
		cfg.Host.Learn(list, peers.WayDHT)
	}
}

// save keeps the list of DHT nodes for the next run.
func (d *DHT) save(t *kad.IpfsDHT) {
	if d.cfg.Book == nil {
		return
	}
	var list []protocol.Keeper
	for _, id := range t.RoutingTable().ListPeers() {
		k, err := address.Keeper(peer.AddrInfo{ID: id, Addrs: d.cfg.Host.Libp2p().Peerstore().Addrs(id)})
		if err == nil && len(k.Addrs) > 0 && len(list) < maxList {
			list = append(list, k)
		}
	}
	if len(list) > 0 {
		d.cfg.Book.Save(list)
	}
}

// maxList bounds the list kept for the next run.
const maxList = 64

// Fills are the bounded stores and their fill.
func (d *DHT) Fills() map[string]peers.Fill {
	out := map[string]peers.Fill{}
	fill := func(name string, at, limit int) { out[name] = peers.Fill{At: at, Limit: limit} }
	at, limit := d.guard.values.Fill(spaceAnn)
	fill("announcements-bytes", at, limit)
	at, limit = d.guard.values.Fill(spacePassport)
	fill("passports-bytes", at, limit)
	at, limit = d.guard.providers.Fill()
	fill("providers-bytes", at, limit)
	fill("puts", d.puts.size(), d.puts.most)
	return out
}

// Holds tells whether a node holds the value of a key for others, or as what it put.
func Holds(d *DHT, key string) bool { return d.guard.values.Holds(key) }

// quiet keeps the library's log, which has no way into ours, from standard error. What
// it knows and we need is in what its calls return.
var quiet = sync.OnceFunc(func() {
	cfg := golog.GetConfig()
	cfg.Stderr, cfg.Stdout, cfg.Level = false, false, golog.LevelFatal
	golog.SetupLogging(cfg)
})
