package hoard

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/protocol/fault"
)

// Limits bound provider records.
type Limits struct {
	Bytes    int
	PerPlace int // records of one place
	PerPeer  int // and of one peer
}

// Providers is the datastore of provider records, in memory and within bounds: in all,
// for each place, for each peer, and by shares of address prefixes as a pool keeps
// them. Of a place that is full, and of the prefix that holds too much, the record
// that was not renewed longest goes first.
type Providers struct {
	lim   Limits
	where func(peer.ID) string // the prefix of a peer that is connected

	mu     sync.Mutex
	pool   *pool
	places map[string]map[string]bool // place -> keys of its records
	peers  map[string]int             // records of a peer
	notes  map[string]string          // the prefix of a peer that brought a record just now
}

var _ ds.Batching = (*Providers)(nil)

// maxNotes bounds the prefixes remembered until the library writes a batch.
const maxNotes = 1024

// NewProviders makes an empty store.
func NewProviders(lim Limits, where func(peer.ID) string) *Providers {
	p := &Providers{
		lim: lim, where: where, pool: newPool(lim.Bytes), places: map[string]map[string]bool{}, peers: map[string]int{}, notes: map[string]string{},
	}
	p.pool.gone = p.forget
	return p
}

// Note remembers from where a peer brings a record.
func (p *Providers) Note(id peer.ID, from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notes) >= maxNotes {
		for other := range p.notes {
			delete(p.notes, other)
			break
		}
	}
	p.notes[string(id)] = from
}

// split is the place and the peer of a datastore key, /providers/<place>/<peer>.
func split(k ds.Key) (place, id string, ok bool) {
	parts := k.List()
	if len(parts) != 3 {
		return "", "", false
	}
	raw, err := raw32.DecodeString(parts[2])
	return parts[1], string(raw), err == nil
}

// Put implements ds.Write. A record for which there is no room is dropped without an
// error: the library would keep the whole batch for another try.
func (p *Providers) Put(_ context.Context, k ds.Key, raw []byte) error {
	place, id, ok := split(k)
	if !ok {
		return fmt.Errorf("hoard: provider key %s: %w", k, fault.Malformed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	from, noted := p.notes[id]
	if delete(p.notes, id); !noted {
		from = p.where(peer.ID(id))
	}
	key := k.String()
	if p.pool.of[key] == nil {
		if p.peers[id] >= p.lim.PerPeer {
			return nil
		}
		if len(p.places[place]) >= p.lim.PerPlace {
			p.makeRoom(place)
		}
		if p.places[place] == nil { // or it was the last one there
			p.places[place] = map[string]bool{}
		}
		p.places[place][key] = true
		p.peers[id]++
	}
	_ = p.pool.put(key, raw, age(raw), from) // it is here, or was dropped
	return nil
}

// age ranks a record by when it was renewed: the longest ago is the highest.
func age(raw []byte) []byte {
	at, _ := binary.Varint(raw)
	return binary.BigEndian.AppendUint64(nil, ^uint64(at))
}

// makeRoom takes from a place a record of the prefix that has most there, the one that
// was not renewed longest.
func (p *Providers) makeRoom(place string) {
	count := map[string]int{}
	for key := range p.places[place] {
		count[p.pool.of[key].owner]++
	}
	var worst *item
	for key := range p.places[place] {
		i := p.pool.of[key]
		if worst == nil || count[i.owner] > count[worst.owner] || count[i.owner] == count[worst.owner] && string(i.rank) > string(worst.rank) {
			worst = i
		}
	}
	p.pool.remove(worst.key)
}

// forget notes that a record left the pool.
func (p *Providers) forget(key string) {
	place, id, _ := split(ds.RawKey(key)) // it was taken in under this key
	if delete(p.places[place], key); len(p.places[place]) == 0 {
		delete(p.places, place)
	}
	if p.peers[id]--; p.peers[id] <= 0 {
		delete(p.peers, id)
	}
}

// Query implements ds.Read: of one place, or everything.
func (p *Providers) Query(_ context.Context, q query.Query) (query.Results, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []query.Entry
	add := func(keys map[string]bool) {
		for key := range keys {
			all = append(all, query.Entry{Key: key, Value: p.pool.of[key].raw})
		}
	}
	if rest, one := strings.CutPrefix(q.Prefix, "/providers/"); one && rest != "" {
		add(p.places[rest])
	} else {
		for _, keys := range p.places {
			add(keys)
		}
	}
	return query.ResultsWithEntries(q, all), nil
}

// Get implements ds.Read.
func (p *Providers) Get(_ context.Context, k ds.Key) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.pool.of[k.String()]; i != nil {
		return i.raw, nil
	}
	return nil, ds.ErrNotFound
}

// Has implements ds.Read.
func (p *Providers) Has(ctx context.Context, k ds.Key) (bool, error) {
	return ds.GetBackedHas(ctx, p, k)
}

// GetSize implements ds.Read.
func (p *Providers) GetSize(ctx context.Context, k ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, p, k)
}

// Delete implements ds.Write.
func (p *Providers) Delete(_ context.Context, k ds.Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pool.remove(k.String())
	return nil
}

// Batch implements ds.Batching.
func (p *Providers) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(p), nil }

// Sync implements ds.Write: memory has nothing to sync.
func (p *Providers) Sync(context.Context, ds.Key) error { return nil }

// Close implements io.Closer.
func (p *Providers) Close() error { return nil }

// Fill is how many bytes are held, of how many.
func (p *Providers) Fill() (bytes, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pool.bytes, p.pool.most
}

// NoCache is the library's cache of providers, which would grow with a place without
// bound: it keeps nothing, and what is asked for comes from the store above.
type NoCache struct{}

// Add implements simplelru.LRUCache.
func (NoCache) Add(_, _ any) bool { return false }

// Get implements simplelru.LRUCache.
func (NoCache) Get(any) (any, bool) { return nil, false }

// Contains implements simplelru.LRUCache.
func (NoCache) Contains(any) bool { return false }

// Peek implements simplelru.LRUCache.
func (NoCache) Peek(any) (any, bool) { return nil, false }

// Remove implements simplelru.LRUCache.
func (NoCache) Remove(any) bool { return false }

// RemoveOldest implements simplelru.LRUCache.
func (NoCache) RemoveOldest() (_, _ any, _ bool) { return nil, nil, false }

// GetOldest implements simplelru.LRUCache.
func (NoCache) GetOldest() (_, _ any, _ bool) { return nil, nil, false }

// Keys implements simplelru.LRUCache.
func (NoCache) Keys() []any { return nil }

// Len implements simplelru.LRUCache.
func (NoCache) Len() int { return 0 }

// Purge implements simplelru.LRUCache.
func (NoCache) Purge() {}

// Resize implements simplelru.LRUCache.
func (NoCache) Resize(int) int { return 0 }
