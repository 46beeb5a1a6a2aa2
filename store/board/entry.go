package board

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

const (
	prefixEntry    = "b/a/" // and a context id
	prefixPassport = "p/"   // and a vendor id
)

func entryKey(id protocol.ContextID) []byte { return append([]byte(prefixEntry), id[:]...) }

// A label is what memory and disk both know of an announcement.
type label struct {
	ID       protocol.Hash     `cbor:"1,keyasint,omitzero"`
	Seq      uint64            `cbor:"2,keyasint,omitempty"`
	Status   protocol.Status   `cbor:"3,keyasint,omitempty"`
	Category protocol.Category `cbor:"4,keyasint,omitempty"`
	Region   protocol.Region   `cbor:"5,keyasint,omitempty"`
	Expires  protocol.Second   `cbor:"6,keyasint,omitempty"`
	Until    protocol.Second   `cbor:"7,keyasint,omitempty"` // the latest expiry of any version: how long its precedence is kept
	HeardMS  int64             `cbor:"8,keyasint,omitempty"`
	Created  protocol.Second   `cbor:"10,keyasint,omitempty"`
	Ours     bool              `cbor:"11,keyasint,omitempty"` // see Board.Ours
}

func (l *label) shard(shards uint16) uint16 { return wire.Shard(l.Category, l.Region, shards) }

// A record is what is stored; a shadow has no Raw.
type record struct {
	label
	Raw []byte `cbor:"9,keyasint,omitempty"`
}

// An entry is what memory knows of a context.
type entry struct {
	label
	context protocol.ContextID
	size    int64 // 0: a shadow
	slot    int   // in the heap
}

// leaves is when Expire has to look at it.
func (e *entry) leaves() protocol.Second {
	if e.size == 0 || e.Status == protocol.Withdrawn {
		return e.Until
	}
	return e.Expires
}

// over compares two versions of one context: positive where a comes before b.
func over(a, b *label) int {
	withdrawn := func(l *label) int { return cmp.Compare(l.Status, protocol.Open) }
	return cmp.Or(cmp.Compare(withdrawn(a), withdrawn(b)), cmp.Compare(a.Seq, b.Seq), -byHash(a.ID, b.ID))
}

func labelOf(h wire.Heard) label {
	a := h.A()
	return label{
		ID: h.ID(), Seq: a.Seq, Status: a.Status, Category: a.Category, Region: a.Region,
		Expires: a.Expires, Until: a.Expires, Created: a.Created,
	}
}

// read makes an entry of what was heard.
func (b *Board) read(h wire.Heard, nowMS int64) (*entry, error) {
	a := h.A()
	e := &entry{context: protocol.ContextID(a.Context), size: int64(len(h.Raw()))}
	e.label = labelOf(h)
	e.HeardMS = nowMS
	b.mu.RLock()
	e.Ours = b.names(a)
	b.mu.RUnlock()
	if int64(min(a.Expires, 1<<40)) <= nowMS/1000 {
		return nil, fmt.Errorf("board: announcement %s: %w", e.ID.Short(), fault.Expired)
	}
	return e, nil
}

// A change is one Put: e comes, old goes, and so do the victims of a full board.
type change struct {
	e, old  *entry
	victims []*entry
	grown   int   // contexts that it adds
	bytes   int64 // and bytes
	over    chan struct{}
}

// maxVictims bounds how many small records give way to one large one.
const maxVictims = 8

// begin decides about e and marks in memory what the change touches. All results are
// nil where e is no news.
func (b *Board) begin(e *entry) (c *change, wait chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if over := b.busy[e.context]; over != nil {
		return nil, over, nil
	}
	c = &change{e: e, old: b.entries[e.context], grown: 1, bytes: e.size}
	if c.old != nil {
		if over(&e.label, &c.old.label) <= 0 {
			return nil, nil, nil
		}
		e.Ours = e.Ours || e.Status == protocol.Withdrawn && c.old.Ours
		e.Until = max(e.Until, c.old.Until)
		c.grown, c.bytes = 0, e.size-c.old.size
	}
	if err := b.makeRoom(c); err != nil {
		return nil, nil, err
	}
	c.over = make(chan struct{})
	b.busy[e.context] = c.over
	for _, v := range c.victims {
		b.busy[v.context] = c.over
		b.drop(v) // its room is taken already
	}
	b.pending += c.grown
	b.coming += max(c.bytes, 0)
	return c, nil, nil
}

// makeRoom chooses victims until c fits. Those that are being changed don't count.
func (b *Board) makeRoom(c *change) error {
	entries := len(b.entries) + b.pending + c.grown
	bytes := b.bytes + b.coming + max(c.bytes, 0)
	if entries <= b.lim.Entries && bytes <= b.lim.Bytes {
		return nil
	}
	var aside []*entry
	for len(b.ends) > 0 && len(c.victims) < maxVictims && len(aside) < 4*maxVictims &&
		(entries > b.lim.Entries || bytes > b.lim.Bytes) && b.ends[0].leaves() < c.e.leaves() {
		v := heap.Pop(&b.ends).(*entry)
		aside = append(aside, v)
		if v != c.old && b.busy[v.context] == nil {
			c.victims = append(c.victims, v)
			entries, bytes = entries-1, bytes-v.size
		}
	}
	for _, v := range aside {
		heap.Push(&b.ends, v)
	}
	if entries > b.lim.Entries || bytes > b.lim.Bytes {
		c.victims = nil
		return fmt.Errorf("%d announcements, %d bytes, and this one expires no later than they: %w", len(b.entries), b.bytes, fault.Full)
	}
	return nil
}

func (c *change) write(tx kv.Tx, raw []byte) error {
	for _, v := range c.victims {
		if err := tx.Delete(entryKey(v.context)); err != nil {
			return err
		}
	}
	return kv.PutCBOR(tx, entryKey(c.e.context), record{c.e.label, raw})
}

// end settles a change in memory, or takes it back.
func (b *Board) end(c *change, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(c.over)
	delete(b.busy, c.e.context)
	b.pending -= c.grown
	b.coming -= max(c.bytes, 0)
	for _, v := range c.victims {
		delete(b.busy, v.context)
		if err != nil {
			b.add(v)
		}
	}
	if err != nil {
		return
	}
	if c.old != nil {
		b.drop(c.old)
	}
	b.add(c.e)
}

// add and drop keep all indexes in step.
func (b *Board) add(e *entry) {
	b.enter(e)
	heap.Push(&b.ends, e)
	if e.size == 0 {
		return
	}
	b.contexts.add(protocol.Hash(e.context))
	s := e.shard(b.shards)
	if b.shard[s] == nil {
		b.shard[s] = newRow(b.salt, nil)
	}
	b.shard[s].add(e.ID)
}

// enter adds e to what is not sorted.
func (b *Board) enter(e *entry) {
	b.entries[e.context], b.ids[e.ID] = e, e
	b.bytes += e.size
}

func (b *Board) drop(e *entry) {
	delete(b.entries, e.context)
	delete(b.ids, e.ID)
	b.bytes -= e.size
	heap.Remove(&b.ends, e.slot)
	if e.size == 0 {
		return
	}
	b.contexts.remove(protocol.Hash(e.context))
	s := e.shard(b.shards)
	if r := b.shard[s]; r != nil {
		if r.remove(e.ID); r.n == 0 {
			delete(b.shard, s)
		}
	}
}

// load takes one record from disk; index then does what add does per entry.
func (b *Board) load(k, v []byte) (bool, error) {
	e := &entry{}
	if err := e.context.UnmarshalBinary(k[len(prefixEntry):]); err != nil {
		return false, fmt.Errorf("key %x: %w", k, fault.Malformed)
	}
	var rec record
	if err := kv.DecodeCBOR(v, &rec); err != nil {
		return false, err
	}
	e.label, e.size = rec.label, int64(len(rec.Raw))
	b.enter(e)
	b.ends.Push(e)
	return true, nil
}

func (b *Board) index() {
	heap.Init(&b.ends)
	var contexts []protocol.Hash
	shards := map[uint16][]protocol.Hash{}
	for _, e := range b.ends {
		if e.size > 0 {
			contexts = append(contexts, protocol.Hash(e.context))
			s := e.shard(b.shards)
			shards[s] = append(shards[s], e.ID)
		}
	}
	b.contexts = newRow(protocol.ID{}, contexts)
	for s, ids := range shards {
		b.shard[s] = newRow(b.salt, ids)
	}
}

// Bounds of one Expire: what it removes, and what it writes at once.
const maxExpire, expireBatch = 8192, 512

// Expire removes what has passed its date and says how many announcements and
// passports went; it stops at 8,192 of each, and is then to be called again.
func (b *Board) Expire(ctx context.Context, now protocol.Second) (n int, err error) {
	for n < maxExpire {
		gone, over := b.due(now)
		if len(gone) == 0 {
			break
		}
		err := b.s.Update(ctx, func(tx kv.Tx) error {
			for _, e := range gone {
				if err := e.fade(tx, now); err != nil {
					return err
				}
			}
			return nil
		})
		b.faded(gone, over, now, err)
		if err != nil {
			return n, fmt.Errorf("board: expire: %w", err)
		}
		n += len(gone)
	}
	p, err := b.shelf.expire(ctx, now)
	return n + p, err
}

// due marks and takes off the heap up to a batch of what has passed its date.
func (b *Board) due(now protocol.Second) (gone []*entry, over chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	over = make(chan struct{})
	var aside []*entry
	for len(b.ends) > 0 && len(gone)+len(aside) < expireBatch && b.ends[0].leaves() <= now {
		e := heap.Pop(&b.ends).(*entry)
		aside = append(aside, e)
		if b.busy[e.context] == nil {
			b.busy[e.context] = over
			gone = append(gone, e)
		}
	}
	for _, e := range aside {
		heap.Push(&b.ends, e)
	}
	return gone, over
}

// fade deletes a record, or leaves its shadow.
func (e *entry) fade(tx kv.Tx, now protocol.Second) error {
	if e.Until > now {
		return kv.PutCBOR(tx, entryKey(e.context), record{label: e.label})
	}
	return tx.Delete(entryKey(e.context))
}

func (b *Board) faded(gone []*entry, over chan struct{}, now protocol.Second, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(over)
	for _, e := range gone {
		delete(b.busy, e.context)
		if err != nil {
			continue
		}
		b.drop(e)
		if e.Until > now {
			b.add(&entry{label: e.label, context: e.context})
		}
	}
}
