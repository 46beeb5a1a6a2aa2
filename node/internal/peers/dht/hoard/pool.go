package hoard

import (
	"bytes"
	"container/heap"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol/fault"
)

// overhead is what an item takes in memory beside its key and its bytes, about.
const overhead = 256

// maxBackups is how many address prefixes besides the first may stand for one item.
const maxBackups = 3

// A pool holds strangers' records within a bound. Each is charged to the address
// prefix that brought it. When the pool is full, the prefix that holds most loses the
// record that ranks highest: whoever floods, crowds out himself, and those who hold
// less than an equal share lose nothing. A record that several prefixes brought is
// lost when all of them lost it, so that nobody can take over another's record in
// order to have it thrown away.
//
// It is not safe for concurrent use.
type pool struct {
	items, bytes int // held
	most         int // bytes
	of           map[string]*item
	shares       map[string]*share
	gone         func(key string) // told of each record that left; may be nil
}

// An item is one record.
type item struct {
	key    string
	raw    []byte
	rank   []byte // the highest goes first
	owner  string
	backup []string
	slot   int // in the owner's share
}

func (i *item) size() int { return len(i.key) + len(i.raw) + overhead }

// A share is what one prefix brought: a heap, the highest rank on top.
type share struct {
	items []*item
	bytes int
}

func newPool(most int) *pool {
	return &pool{most: most, of: map[string]*item{}, shares: map[string]*share{}}
}

// put keeps a record; fault.Full where it is the one that has to go.
func (p *pool) put(key string, raw, rank []byte, from string) error {
	i := p.of[key]
	if i == nil {
		i = &item{key: key, raw: raw, rank: rank, owner: from}
		p.of[key] = i
		p.enter(i)
		p.items++
	} else {
		p.leave(i)
		i.raw, i.rank = raw, rank
		p.vouch(i, from)
		p.enter(i)
	}
	for p.bytes > p.most {
		p.evict()
	}
	if p.of[key] == nil {
		return fmt.Errorf("hoard: %d records, %d bytes, and %s holds most of them: %w", p.items, p.bytes, from, fault.Full)
	}
	return nil
}

// vouch notes that from brought a record that is here. Of too many, the one that
// holds most is forgotten.
func (p *pool) vouch(i *item, from string) {
	if from == i.owner || slices.Contains(i.backup, from) {
		return
	}
	if len(i.backup) < maxBackups {
		i.backup = append(i.backup, from)
		return
	}
	worst := 0
	for n, b := range i.backup {
		if p.held(b) > p.held(i.backup[worst]) {
			worst = n
		}
	}
	if p.held(from) < p.held(i.backup[worst]) {
		i.backup[worst] = from
	}
}

func (p *pool) held(from string) int {
	if s := p.shares[from]; s != nil {
		return s.bytes
	}
	return 0
}

// evict takes a record from the prefix that holds most.
func (p *pool) evict() {
	var most *share
	for _, s := range p.shares {
		if most == nil || s.bytes > most.bytes {
			most = s
		}
	}
	i := most.items[0]
	p.leave(i)
	if len(i.backup) == 0 {
		p.drop(i)
		return
	}
	least := 0
	for n, b := range i.backup {
		if p.held(b) < p.held(i.backup[least]) {
			least = n
		}
	}
	i.owner = i.backup[least]
	i.backup = slices.Delete(i.backup, least, least+1)
	p.enter(i)
}

func (p *pool) remove(key string) {
	if i := p.of[key]; i != nil {
		p.leave(i)
		p.drop(i)
	}
}

func (p *pool) drop(i *item) {
	delete(p.of, i.key)
	p.items--
	if p.gone != nil {
		p.gone(i.key)
	}
}

func (p *pool) enter(i *item) {
	s := p.shares[i.owner]
	if s == nil {
		s = &share{}
		p.shares[i.owner] = s
	}
	heap.Push(s, i)
	s.bytes += i.size()
	p.bytes += i.size()
}

func (p *pool) leave(i *item) {
	s := p.shares[i.owner]
	heap.Remove(s, i.slot)
	s.bytes -= i.size()
	p.bytes -= i.size()
	if len(s.items) == 0 {
		delete(p.shares, i.owner)
	}
}

// Len implements heap.Interface.
func (s *share) Len() int { return len(s.items) }

// Less implements heap.Interface.
func (s *share) Less(a, b int) bool { return bytes.Compare(s.items[a].rank, s.items[b].rank) > 0 }

// Swap implements heap.Interface.
func (s *share) Swap(a, b int) {
	s.items[a], s.items[b] = s.items[b], s.items[a]
	s.items[a].slot, s.items[b].slot = a, b
}

// Push implements heap.Interface.
func (s *share) Push(v any) {
	i := v.(*item)
	i.slot = len(s.items)
	s.items = append(s.items, i)
}

// Pop implements heap.Interface.
func (s *share) Pop() any {
	last := len(s.items) - 1
	i := s.items[last]
	s.items[last] = nil
	s.items = s.items[:last]
	return i
}
