package dht

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// How long lookups take, and how often keepers are looked for.
const (
	lookWait     = 15 * time.Second
	tableWait    = 5 * time.Second // for the first node in a client's table
	seekSoon     = time.Second     // doubled each time
	seekCalm     = time.Hour
	seekHungry   = time.Minute
	hungryFor    = 15 * time.Second // a personal node without a keeper asks after this long
	provideSoon  = 2 * time.Second
	provideEvery = 22 * time.Hour
	maxFound     = 16 // keepers taken from one lookup
	perNet       = 2  // of these, of one address prefix
)

// Announcement looks an announcement up. What comes out has passed the DHT's own
// judges; it has to pass the door like any other. A personal node's lookup tells some
// twenty strangers that this address asks for that need.
func (d *DHT) Announcement(ctx context.Context, c protocol.ContextID) ([]byte, error) {
	return d.value(ctx, AnnKey(c))
}

// Passports looks a vendor's passports up.
func (d *DHT) Passports(ctx context.Context, v protocol.VendorID) (wire.Chain, error) {
	value, err := d.value(ctx, PassportKey(v))
	if err != nil {
		return wire.Chain{}, err
	}
	c, err := openPassports(value, d.cfg.Net)
	if err == nil && c.Vendor() != v {
		err = fmt.Errorf("dht: passports of another vendor: %w", fault.Denied)
	}
	return c, err
}

func (d *DHT) value(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	t, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	// No quorum: a liar's answer must not end the search before the others were asked.
	value, err := t.GetValue(ctx, key, kad.Quorum(0))
	if value != nil {
		return value, nil // the best within the time
	}
	if errors.Is(err, routing.ErrNotFound) {
		return nil, fmt.Errorf("dht: %s: %w", key, fault.NotFound)
	}
	return nil, fmt.Errorf("dht: %s: %v: %w", key, err, fault.Offline)
}

// ready waits until the table has a node in it.
func (d *DHT) ready(ctx context.Context) (*kad.IpfsDHT, error) {
	t, err := d.open()
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(tableWait); t.RoutingTable().Size() == 0; {
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, fmt.Errorf("dht: no node of it is known: %w", fault.Offline)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return t, nil
}

// Keepers looks for public nodes that keep mail; Followers for those that follow a
// shard. At most two of one address prefix, unless all are at home.
func (d *DHT) Keepers(ctx context.Context) ([]protocol.Keeper, error) {
	return d.found(ctx, KeeperPlace())
}

// Followers looks for public nodes that follow a shard.
func (d *DHT) Followers(ctx context.Context, shard uint16) ([]protocol.Keeper, error) {
	return d.found(ctx, shardPlace(d.cfg.Shards, shard))
}

func (d *DHT) found(ctx context.Context, at cid.Cid) ([]protocol.Keeper, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	t, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	var all []protocol.Keeper
	for info := range t.FindProvidersAsync(ctx, at, 8*maxFound) {
		if info.ID == d.cfg.Host.Libp2p().ID() {
			continue
		}
		if len(info.Addrs) == 0 {
			info.Addrs = d.cfg.Host.Libp2p().Peerstore().Addrs(info.ID)
		}
		k, err := address.Keeper(peer.AddrInfo{ID: info.ID, Addrs: peers.Worth(d.cfg.Host, info.Addrs)})
		if err == nil && len(k.Addrs) > 0 {
			all = append(all, k)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return spread(all), nil
}

// spread picks up to maxFound keepers, few of one address prefix.
func spread(all []protocol.Keeper) (out []protocol.Keeper) {
	count := map[string]int{}
	for _, k := range all {
		from := address.PrefixOf(k)
		if count[from]++; len(out) < maxFound && (count[from] <= perNet || peers.Home(from)) {
			out = append(out, k)
		}
	}
	return out
}

// seek is the loop of the fourth way in. A public node looks for keepers at start and
// every hour; a personal node only while it has no connection to any that serves it.
func (d *DHT) seek(ctx context.Context) {
	pause, hungry := seekSoon, time.Time{}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
		case <-time.After(pause):
		}
		alone := alone(d.cfg.Host)
		if !alone {
			hungry = time.Time{}
		} else if hungry.IsZero() {
			hungry = time.Now()
		}
		if d.cfg.Host.Profile() != peers.Public && (!alone || time.Since(hungry) < hungryFor) {
			continue
		}
		longest := seekCalm
		if d.seekOnce(ctx) == 0 || alone {
			longest = seekHungry
		}
		pause = min(2*pause, longest)
	}
}

// seekOnce looks for keepers, and for others that follow what this node follows, and
// says how many were found.
func (d *DHT) seekOnce(ctx context.Context) int {
	found, err := d.Keepers(ctx)
	if err != nil {
		d.cfg.Host.Learn(nil, peers.WayDHT) // it was tried
		remember(d.cfg)
		return 0
	}
	d.cfg.Host.Learn(found, peers.WayDHT)
	d.mu.Lock()
	shards, t := slices.Clone(d.shards), d.table
	d.mu.Unlock()
	if len(shards) > 0 {
		if others, err := d.Followers(ctx, shards[rand.N(len(shards))]); err == nil {
			d.cfg.Host.Learn(others, peers.WayDHT)
		}
	}
	if t != nil {
		d.save(t)
	}
	return len(found)
}

// connected tells whether a public node is connected.
func (d *DHT) connected() bool {
	_, connected, _, _ := d.cfg.Host.Status()
	return connected.At > 0
}

// alone tells whether no public node is connected that does more than answer lookups.
func alone(h *peers.Host) bool {
	return !slices.ContainsFunc(h.View(), func(k peers.Known) bool {
		if !k.Connected {
			return false
		}
		serves, err := h.Libp2p().Peerstore().SupportsProtocols(address.ID(k.Keeper.Key), peers.ProtoSync)
		return err == nil && len(serves) > 0
	})
}

// Follow says which shards this node follows from now on.
func (d *DHT) Follow(shards []uint16) {
	d.mu.Lock()
	d.shards = slices.Clone(shards)
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// provideAll says what this public node does, every 22 hours, and soon after it began
// to do it: it keeps mail, and follows shards.
func (d *DHT) provideAll(ctx context.Context) {
	done := map[cid.Cid]time.Time{}
	pause := provideSoon
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
		if !d.connected() {
			continue
		}
		for _, at := range places(d) {
			if now := d.cfg.Now(); now.Sub(done[at]) >= provideEvery && d.provide(ctx, at) {
				done[at] = now
			}
		}
		if len(done) > 2*maxPlaces {
			clear(done)
		}
	}
}

// maxPlaces bounds the places at which one node is found: what PerPeer of others allows.
const maxPlaces = 64

// places are those at which a node is found.
func places(d *DHT) []cid.Cid {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []cid.Cid{KeeperPlace()}
	for _, s := range d.shards[:min(len(d.shards), maxPlaces-1)] {
		out = append(out, shardPlace(d.cfg.Shards, s))
	}
	return out
}

func (d *DHT) provide(ctx context.Context, at cid.Cid) bool {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	t, err := d.ready(ctx)
	return err == nil && t.Provide(ctx, at, true) == nil
}

// Nodes is how many nodes of the DHT stand in this one's table: none where a personal
// node has not needed it yet.
func (d *DHT) Nodes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.table == nil {
		return 0
	}
	return d.table.RoutingTable().Size()
}
