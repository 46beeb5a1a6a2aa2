package hoard

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// raw32 is how the library writes a key inside a datastore's key.
var raw32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// Values is the datastore of the DHT's values: in memory, within a bound for each
// namespace. It need not outlive the process: who answers for a record puts it again
// every 22 hours, and nineteen others hold it. So no stranger writes to this disk.
//
// Of the prefix that holds too much, what lies farthest from this node's own id goes
// first: it was the least meant for it.
type Values struct {
	self [32]byte // the place of this node's id

	mu     sync.Mutex
	spaces map[string]*pool
	notes  map[string]note // who is bringing a record just now, by its key
	brings map[any]string  // the key of what somebody is bringing
}

// A note says where a record comes from that is being brought.
type note struct {
	by   any
	from string
}

var _ ds.Batching = (*Values)(nil)

// NewValues makes an empty store for a node, with so many bytes for each namespace.
func NewValues(self string, most map[string]int) *Values {
	v := &Values{self: sha256.Sum256([]byte(self)), spaces: map[string]*pool{}, notes: map[string]note{}, brings: map[any]string{}}
	for space, bytes := range most {
		v.spaces[space] = newPool(bytes)
	}
	return v
}

// Note says that somebody (a stream) is about to bring a record from an address
// prefix, or, with an empty key, that he did.
func (v *Values) Note(by any, from, key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, ok := v.brings[by]; ok && v.notes[old].by == by {
		delete(v.notes, old)
	}
	delete(v.brings, by)
	if key != "" {
		v.notes[key], v.brings[by] = note{by, from}, key
	}
}

// space finds the pool of a datastore key, and the record's own key.
func (v *Values) space(k ds.Key) (*pool, string) {
	parts := k.List()
	if len(parts) != 2 || v.spaces[parts[0]] == nil {
		return nil, ""
	}
	key, err := raw32.DecodeString(parts[1])
	if err != nil {
		return nil, ""
	}
	return v.spaces[parts[0]], string(key)
}

// Put implements ds.Write.
func (v *Values) Put(_ context.Context, k ds.Key, raw []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, key := v.space(k)
	if p == nil {
		return ds.ErrNotFound // no namespace of ours: the validator let nothing such through
	}
	from := "self"
	if n, ok := v.notes[key]; ok {
		from = n.from
	}
	rank := sha256.Sum256([]byte(key))
	for i := range rank {
		rank[i] ^= v.self[i]
	}
	return p.put(k.String(), raw, rank[:], from)
}

// Get implements ds.Read.
func (v *Values) Get(_ context.Context, k ds.Key) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p, _ := v.space(k); p != nil {
		if i := p.of[k.String()]; i != nil {
			return i.raw, nil
		}
	}
	return nil, ds.ErrNotFound
}

// Has implements ds.Read.
func (v *Values) Has(ctx context.Context, k ds.Key) (bool, error) { return ds.GetBackedHas(ctx, v, k) }

// GetSize implements ds.Read.
func (v *Values) GetSize(ctx context.Context, k ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, v, k)
}

// Delete implements ds.Write.
func (v *Values) Delete(_ context.Context, k ds.Key) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p, _ := v.space(k); p != nil {
		p.remove(k.String())
	}
	return nil
}

// Query implements ds.Read: all of one namespace.
func (v *Values) Query(_ context.Context, q query.Query) (query.Results, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []query.Entry
	for space, p := range v.spaces {
		if q.Prefix != "" && q.Prefix != "/" && ds.NewKey(q.Prefix) != ds.NewKey(space) {
			continue
		}
		for _, i := range p.of {
			all = append(all, query.Entry{Key: i.key, Value: i.raw, Size: len(i.raw)})
		}
	}
	return query.ResultsWithEntries(q, all), nil
}

// Batch implements ds.Batching.
func (v *Values) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(v), nil }

// Sync implements ds.Write: memory has nothing to sync.
func (v *Values) Sync(context.Context, ds.Key) error { return nil }

// Close implements io.Closer.
func (v *Values) Close() error { return nil }

// Fill is how many bytes a namespace holds, of how many.
func (v *Values) Fill(space string) (bytes, most int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.spaces[space]
	return p.bytes, p.most
}

// Holds tells whether the value of a key, as the DHT knows it, is here.
func (v *Values) Holds(key string) bool {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) != 3 {
		return false
	}
	ok, err := v.Has(context.Background(), ds.NewKey("/"+parts[1]+"/"+raw32.EncodeToString([]byte(key))))
	return ok && err == nil
}
