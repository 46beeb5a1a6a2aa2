// Package board keeps the announcements that are on the market now, by shard, and
// the passports of vendors. It is public: what stands here, anybody may have.
//
// The flow of an announcement:
//
//  1. The door (protocol/check) asks [Board.Seen] and [Board.Precedence], which
//     answer from memory, and hands on what it passes.
//  2. [Board.Put] keeps it if it comes before what is known of its context:
//     withdrawn before open, then higher seq, then lower hash. It is on disk before
//     anybody can read it here.
//  3. [Board.Find] and [Board.Get] show it; [Board.Prints] shows nodes that pull
//     where they lack something, [Board.Within] and [Board.IDs] list it to them.
//  4. [Board.Expire] removes it at its date. What was withdrawn stays as a tombstone
//     until then.
//
// There is one record per context. When an earlier version of it would have lived
// longer than the one that holds, its shadow, a record without bytes, stays until
// that earlier date, so that the earlier version can't come back.
//
// When the board is full, the record that expires soonest gives way to a new one
// that expires later than it; else the new one is refused as fault.Full. Of passports
// the one that nobody asked for longest gives way: a vendor that is at work shows its
// own again to a keeper that lacks it.
package board

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// Limits bounds a board. What is zero takes the value of [DefaultLimits].
type Limits struct {
	Entries       int   // contexts
	Bytes         int64 // of their announcements
	Passports     int   // vendors
	PassportBytes int64 // of their chains
}

// DefaultLimits is room for 20,000 contexts and 10,000 vendors.
var DefaultLimits = Limits{Entries: 20_000, Bytes: 64 << 20, Passports: 10_000, PassportBytes: 32 << 20}

// PublicLimits is room for 100,000 contexts: what a node needs that passes a market
// on to others. It costs memory and disk only as far as the market fills it.
var PublicLimits = Limits{Entries: 100_000, Bytes: 384 << 20}

// Or fills in from d what is zero.
func (l Limits) Or(d Limits) Limits {
	l.Entries, l.Bytes = cmp.Or(l.Entries, d.Entries), cmp.Or(l.Bytes, d.Bytes)
	l.Passports, l.PassportBytes = cmp.Or(l.Passports, d.Passports), cmp.Or(l.PassportBytes, d.PassportBytes)
	return l
}

// An Entry is one announcement with what this node knows of it.
type Entry struct {
	Heard   wire.Heard
	HeardMS int64 // when this very version was first heard, ms since 1970
	Shard   uint16
}

// Most entries or ids that one call returns.
const (
	MaxFind = 256
	MaxIDs  = 2048
)

// A Board is safe for concurrent use. It is the only writer of its part of the
// store, so what is in memory decides; it is about 400 bytes per context.
//
//house:allow methods it is also the memory of the door, which asks three questions
type Board struct {
	s      kv.Store
	shards uint16
	lim    Limits
	shelf  shelf
	salt   protocol.ID // of fingerprints

	mu       sync.RWMutex // guards what follows; never held while waiting
	self     key.KeeperKey
	entries  map[protocol.ContextID]*entry
	ids      map[protocol.Hash]*entry             // of what stands in entries
	contexts *row                                 // of what Find may show
	shard    map[uint16]*row                      // of what IDs may show
	ends     ends                                 // all, soonest first
	bytes    int64                                // of announcements
	pending  int                                  // new contexts that are being written
	coming   int64                                // and their bytes
	busy     map[protocol.ContextID]chan struct{} // closed when the change under way is over
}

// Open reads the board in store s into memory, for a network with so many shards.
// It writes nothing.
func Open(s kv.Store, shards uint16, lim Limits) (*Board, error) {
	if shards == 0 {
		return nil, fmt.Errorf("board: no shards: %w", fault.Malformed)
	}
	b := &Board{
		s: s, shards: shards, lim: lim.Or(DefaultLimits),
		entries: map[protocol.ContextID]*entry{}, ids: map[protocol.Hash]*entry{}, shard: map[uint16]*row{},
		busy: map[protocol.ContextID]chan struct{}{}, salt: wire.NewID(),
	}
	b.shelf = shelf{s: s, most: b.lim.Passports, mostBytes: b.lim.PassportBytes, known: map[protocol.VendorID]passport{}}
	err := s.View(context.Background(), func(r kv.Reader) error {
		if err := r.Scan([]byte(prefixEntry), nil, b.load); err != nil {
			return err
		}
		return r.Scan([]byte(prefixPassport), nil, b.shelf.load)
	})
	if err != nil {
		return nil, fmt.Errorf("board: open: %w", err)
	}
	b.index()
	return b, nil
}

// Put keeps an announcement and says whether it was news: not so if it is known, or
// something that comes before it is. It is fault.Expired past its date and
// fault.Full when the board is.
func (b *Board) Put(ctx context.Context, h wire.Heard, nowMS int64) (fresh bool, err error) {
	if h.IsZero() {
		return false, fmt.Errorf("board: nothing was heard: %w", fault.Malformed)
	}
	e, err := b.read(h, nowMS)
	if err != nil {
		return false, err
	}
	for {
		c, wait, err := b.begin(e)
		switch {
		case err != nil:
			return false, fmt.Errorf("board: announcement %s: %w", e.ID.Short(), err)
		case wait != nil:
			if err := await(ctx, wait); err != nil {
				return false, err
			}
			continue
		case c == nil:
			return false, nil
		}
		err = b.s.Update(ctx, func(tx kv.Tx) error { return c.write(tx, h.Raw()) })
		b.end(c, err)
		if err != nil {
			return false, fmt.Errorf("board: announcement %s: %w", e.ID.Short(), err)
		}
		return true, nil
	}
}

func await(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("board: %w", ctx.Err())
	}
}

// Get gives what holds for a context, a withdrawal too; fault.NotFound if nothing.
func (b *Board) Get(ctx context.Context, id protocol.ContextID) (Entry, error) {
	var got Entry
	err := b.s.View(ctx, func(r kv.Reader) error {
		var rec record
		if err := kv.GetCBOR(r, entryKey(id), &rec); err != nil {
			return err
		}
		if len(rec.Raw) == 0 {
			return fmt.Errorf("only its shadow: %w", fault.NotFound)
		}
		h, err := wire.OpenAnnouncement(rec.Raw)
		got = Entry{Heard: h, HeardMS: rec.HeardMS, Shard: rec.shard(b.shards)}
		return err
	})
	if err != nil {
		return Entry{}, fmt.Errorf("board: %s: %w", id, err)
	}
	return got, nil
}

// ByID gives the announcement whose envelope has that hash, if it still holds for
// its context; else fault.NotFound.
func (b *Board) ByID(ctx context.Context, id protocol.Hash) (Entry, error) {
	b.mu.RLock()
	e := b.ids[id]
	b.mu.RUnlock()
	if e != nil {
		got, err := b.Get(ctx, e.context)
		if err != nil || got.Heard.ID() == id {
			return got, err
		}
	}
	return Entry{}, fmt.Errorf("board: announcement %s: %w", id.Short(), fault.NotFound)
}

// IDs lists the announcements of a shard, withdrawals too, by hash from the one
// after the given: at most limit, and never more than MaxIDs.
func (b *Board) IDs(ctx context.Context, shard uint16, after protocol.Hash, limit int) (ids []protocol.Hash, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("board: %w", err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	limit = min(max(limit, 0), MaxIDs)
	for id := range b.shard[shard].after(after) {
		if len(ids) == limit {
			return ids, true, nil
		}
		ids = append(ids, id)
	}
	return ids, false, nil
}

// A Filter chooses announcements. What is zero does not matter.
type Filter struct {
	Sectors []string        // of the category, any of them
	Region  protocol.Region // either lies within the other: who serves ZA-GP hears of needs in ZA too
	Status  protocol.Status
	Text    string // stands in the category's code or English title, whatever the case
}

func (f *Filter) match(e *entry) bool {
	if len(f.Sectors) > 0 && !slices.Contains(f.Sectors, e.Category.Sector()) || f.Status != 0 && f.Status != e.Status {
		return false
	}
	if f.Region != "" && !f.Region.Within(e.Region) && !e.Region.Within(f.Region) {
		return false
	}
	if f.Text == "" {
		return true
	}
	text := strings.ToLower(f.Text)
	info, _ := protocol.Categories().Info(e.Category)
	return strings.Contains(string(e.Category), text) || strings.Contains(strings.ToLower(info.Title), text)
}

// Find lists the announcements that match, in the order of their context ids from
// the one after the given: at most limit, and never more than MaxFind.
func (b *Board) Find(ctx context.Context, f Filter, after protocol.ContextID, limit int) (found []Entry, more bool, err error) {
	limit = min(max(limit, 0), MaxFind)
	for _, id := range b.match(f, after, limit+1) {
		if len(found) == limit {
			return found, true, nil
		}
		e, err := b.Get(ctx, id)
		switch {
		case fault.Of(err) == fault.NotFound:
			continue // expired since
		case err != nil:
			return nil, false, err
		case f.match(&entry{label: labelOf(e.Heard)}): // else it was replaced since
			found = append(found, e)
		}
	}
	return found, false, nil
}

func (b *Board) match(f Filter, after protocol.ContextID, n int) (ids []protocol.ContextID) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for x := range b.contexts.after(protocol.Hash(after)) {
		if len(ids) == n {
			break
		}
		if id := protocol.ContextID(x); f.match(b.entries[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Seen reports whether the announcement of that hash, or its shadow, stands here.
// Versions that another one came before are told by Precedence.
func (b *Board) Seen(id protocol.Hash) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ids[id] != nil
}

// Precedence tells what is known of a context, be it a shadow.
func (b *Board) Precedence(id protocol.ContextID) (seq uint64, status protocol.Status, hash protocol.Hash, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	e := b.entries[id]
	if e == nil {
		return 0, 0, protocol.Hash{}, false
	}
	return e.Seq, e.Status, e.ID, true
}

// Created is when the announcement that Precedence tells of was made, zero for none.
func (b *Board) Created(id protocol.ContextID) protocol.Second {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.entries[id]; e != nil {
		return e.Created
	}
	return 0
}

// Stats shows each bound with its fill.
func (b *Board) Stats() []kv.Fill {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return append([]kv.Fill{
		{Name: "board.entries", Used: int64(len(b.entries)), Cap: int64(b.lim.Entries)},
		{Name: "board.bytes", Used: b.bytes, Cap: b.lim.Bytes},
	}, b.shelf.stats()...)
}

// An ends is a heap of entries, those that leave soonest first.
type ends []*entry

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return sooner(h[i], h[j]) }
func (h ends) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func sooner(a, b *entry) bool {
	return cmp.Or(cmp.Compare(a.leaves(), b.leaves()), byContext(a.context, b.context)) < 0
}

// Push implements heap.Interface.
func (h *ends) Push(x any) {
	e := x.(*entry)
	e.slot = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *ends) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

var _ heap.Interface = (*ends)(nil)

func byHash(a, b protocol.Hash) int { return bytes.Compare(a[:], b[:]) }

func byContext(a, b protocol.ContextID) int { return bytes.Compare(a[:], b[:]) }
