package nodetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/internal/peers/dht/foe"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A TableSybils are hostile nodes of the DHT in a simulated world that sit nearer to one
// place than any public node, and know each other alone.
type TableSybils struct {
	w     *World
	place string
	ring  foe.Ring
	hosts []*peers.Host
}

// How many places are looked at for one that no public node is near to, and how many
// identities the attacker makes for each that it uses.
const (
	placesSeen = 4096
	groundEach = 300
)

// NewTableSybils lets so many in, in so many networks (/16), a share of whom answers with
// lies, where the others say that they have nothing. They stand as public nodes, too,
// which answer no question.
func NewTableSybils(w *World, n, nets int, lies float64) (*TableSybils, error) {
	net, err := w.ID()
	if err != nil {
		return nil, err
	}
	s := &TableSybils{w: w, place: lonely(w)}
	at := w.sim.scatter(n, nets)
	for i, k := range grind(n, s.place) {
		h, err := openFoe(w, at[i], k, w.sim.public)
		if err != nil {
			return s, errors.Join(err, s.Close())
		}
		s.hosts = append(s.hosts, h)
		s.ring.Add(h, net, float64(i) < lies*float64(n))
		h.Serve(peers.ProtoSync, func(_ context.Context, c peers.Conn, _ string) { _ = c.Reset() })
	}
	return s, nil
}

// Shadows tells whether a key of the DHT lies nearer to every Sybil than to any public
// node that is running.
func (s *TableSybils) Shadows(key string) bool {
	nearest := distances(s.w, key)[0]
	return !slices.ContainsFunc(s.hosts, func(h *peers.Host) bool {
		far := foe.Distance(h.Libp2p().ID(), key)
		return bytes.Compare(far[:], nearest[:]) >= 0
	})
}

// Taken is how many records were put at them, which are gone.
func (s *TableSybils) Taken() int { return s.ring.Asked("PUT_VALUE") }

// Close takes them off the network.
func (s *TableSybils) Close() error { return closeAll(s.hosts) }

func closeAll(hosts []*peers.Host) error {
	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// openFoe opens the host of a hostile node, which dials out to all that it is told of.
func openFoe(w *World, at *netem.Host, k key.Private[key.Keeper], know []protocol.Keeper) (*peers.Host, error) {
	net, err := w.ID()
	if err != nil {
		return nil, err
	}
	return peers.Open(context.Background(), peers.Config{
		Profile: peers.Public, Key: k, Listen: []string{at.Listen()}, Bootstrap: know, Target: max(len(know), 1), Options: at.Options(),
		DHT: dht.Protocol(net), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
	})
}

// scatter finds places for n hosts in so many networks, 0: each in one of its own.
func (s *sim) scatter(n, nets int) (out []*netem.Host) {
	for i := range n {
		if nets == 0 || i < nets {
			out = append(out, s.wire.Add())
		} else {
			out = append(out, s.wire.AddBeside(out[i%nets]))
		}
	}
	return out
}

// lonely is the key, of many, to which the nearest public node is farthest.
func lonely(w *World) (best string) {
	var most [32]byte
	for i := range placesSeen {
		at := fmt.Sprint("place ", i)
		if d := distances(w, at); len(d) > 0 && bytes.Compare(d[0][:], most[:]) > 0 {
			best, most = at, d[0]
		}
	}
	return best
}

// grind makes identities and gives those nearest to a place.
func grind(n int, place string) []key.Private[key.Keeper] {
	type ground struct {
		k   key.Private[key.Keeper]
		far int
	}
	var all []ground
	for range n * groundEach {
		k := key.Generate[key.Keeper]()
		far := foe.Distance(peerOf(k.Public()), place)
		all = append(all, ground{k, -leading(far)})
	}
	slices.SortFunc(all, func(a, b ground) int { return cmp.Compare(a.far, b.far) })
	var out []key.Private[key.Keeper]
	for _, g := range all[:n] {
		out = append(out, g.k)
	}
	return out
}

func leading(d [32]byte) int {
	for i, b := range d {
		if b != 0 {
			return 8*i + bits.LeadingZeros8(b)
		}
	}
	return 8 * len(d)
}

// A TableFlood are hostile nodes that put records of their own at others.
type TableFlood struct {
	w      *World
	hosts  []*peers.Host
	values [][]record // of each: announcements and passports that open

	mu    sync.Mutex
	count TableFlooded
}

// TableFlooded is what came of a flood.
type TableFlooded struct {
	Taken, Refused int // records
	Said           int // provider records, which get no answer
	Held, Most     int // the most bytes that one node held at any time, and its bound
	Before, After  int // copies of what stood there, in the DHT of all nodes
}

type record struct {
	key   string
	value []byte
}

// NewTableFlood makes so many, in so many networks, each with so many announcements and as
// many passports, signed by keys of its own.
func NewTableFlood(w *World, n, nets, records int) (*TableFlood, error) {
	f := &TableFlood{w: w}
	for _, at := range w.sim.scatter(n, nets) {
		h, err := openFoe(w, at, key.Generate[key.Keeper](), nil)
		if err != nil {
			return f, errors.Join(err, f.Close())
		}
		f.hosts = append(f.hosts, h)
		var list []record
		for range records {
			r, err := junk(w)
			if err != nil {
				return f, errors.Join(err, f.Close())
			}
			list = append(list, r...)
		}
		f.values = append(f.values, list)
	}
	return f, nil
}

// junk is an announcement and a passport of nobody.
func junk(w *World) ([]record, error) {
	ctx, nobody := key.Generate[key.Context](), []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}
	raw, err := needAt(w, ctx, 0, 24*time.Hour, nobody)
	if err != nil {
		return nil, err
	}
	c, err := passport(w, nobody, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	value, err := wire.JoinChain(c)
	return []record{{dht.AnnKey(ctx.Public()), raw}, {dht.PassportKey(c.Vendor()), value}}, err
}

// Run floods all running public nodes, by all at once: each record once, and beside each
// two provider records, at the place of keepers and at one where nobody looks. It counts
// the copies of what stands there.
func (f *TableFlood) Run(ctx context.Context, there []Published) (TableFlooded, error) {
	net, err := f.w.ID()
	if err != nil {
		return TableFlooded{}, err
	}
	f.count.Before = copies(f.w, there)
	var all []func(context.Context) error
	for _, m := range f.w.Members() {
		for n := range f.hosts {
			if m.public {
				all = append(all, func(ctx context.Context) error { f.pour(ctx, net, n, m); return nil })
			}
		}
	}
	err = AtOnce(ctx, len(all), all)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.After = copies(f.w, there)
	return f.count, err
}

func copies(w *World, all []Published) (n int) {
	for _, m := range w.Members() {
		for _, p := range all {
			if m.public && dht.Holds(m.DHT, p.Key()) {
				n++
			}
		}
	}
	return n
}

// pour is one flooder at one node.
func (f *TableFlood) pour(ctx context.Context, net protocol.Hash, n int, m *Member) {
	line, err := foe.Reach(ctx, f.hosts[n], net, m.port().Self())
	if err != nil {
		f.note(TableFlooded{Refused: len(f.values[n])})
		return
	}
	defer line.Close()
	for _, r := range f.values[n] {
		var c TableFlooded
		if line.Put(ctx, r.key, r.value) == nil {
			c.Taken++
		} else {
			c.Refused++
		}
		for _, at := range []cid.Cid{dht.KeeperPlace(), foe.Somewhere(r.key)} {
			if line.Provide(ctx, at) == nil {
				c.Said++
			}
		}
		c.Held, c.Most = TableFill(m)
		f.note(c)
	}
}

func (f *TableFlood) note(c TableFlooded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.Taken, f.count.Refused, f.count.Said = f.count.Taken+c.Taken, f.count.Refused+c.Refused, f.count.Said+c.Said
	f.count.Held, f.count.Most = max(f.count.Held, c.Held), max(f.count.Most, c.Most)
}

// Close takes them off the network.
func (f *TableFlood) Close() error { return closeAll(f.hosts) }
