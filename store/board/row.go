package board

import (
	"fmt"
	"iter"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/fingerprint"
)

// A row keeps ids in order, in bins by their leading bits: one that comes or goes
// costs as much as its bin is long, not the row. It also adds up each bin, so that
// the fingerprint of a range is a sum over bins and, within one, over a few ids.
type row struct {
	salt protocol.ID // zero: nothing is added up
	bits uint8       // the bins are told apart by so many
	bins []bin
	n    int
}

type bin struct {
	ids []protocol.Hash // sorted
	sum fingerprint.Sum
}

// Bounds of the bins: how full they are on average before each is halved, and how
// many there are.
const (
	binFill    = 48
	maxBinBits = 16
)

// newRow makes a row of ids in any order.
func newRow(salt protocol.ID, ids []protocol.Hash) *row {
	r := &row{salt: salt}
	for len(ids) > binFill<<r.bits && r.bits < maxBinBits {
		r.bits++
	}
	r.bins = make([]bin, 1<<r.bits)
	for _, id := range ids {
		b := r.bin(id)
		b.ids = append(b.ids, id)
		b.sum.Add(r.sumOf(id))
	}
	for i := range r.bins {
		slices.SortFunc(r.bins[i].ids, byHash)
	}
	r.n = len(ids)
	return r
}

func (r *row) sumOf(id protocol.Hash) fingerprint.Sum {
	if r.salt.IsZero() {
		return fingerprint.Sum{}
	}
	return fingerprint.SumOf(r.salt, id)
}

// index is the place of the bin where ids that begin as lead belong.
func (r *row) index(lead uint32) int { return int(uint64(lead) >> (protocol.MaxRangeBits - r.bits)) }

func (r *row) bin(id protocol.Hash) *bin { return &r.bins[r.index(fingerprint.Leading(id))] }

func (r *row) add(id protocol.Hash) {
	if r.n >= binFill<<r.bits && r.bits < maxBinBits {
		r.halve()
	}
	b := r.bin(id)
	i, found := slices.BinarySearchFunc(b.ids, id, byHash)
	if found {
		return
	}
	b.ids = slices.Insert(b.ids, i, id)
	b.sum.Add(r.sumOf(id))
	r.n++
}

func (r *row) remove(id protocol.Hash) {
	b := r.bin(id)
	i, found := slices.BinarySearchFunc(b.ids, id, byHash)
	if !found {
		return
	}
	b.ids = slices.Delete(b.ids, i, i+1)
	b.sum.Sub(r.sumOf(id))
	r.n--
}

// halve makes two bins of each.
func (r *row) halve() {
	halves := make([]bin, 0, 2*len(r.bins))
	r.bits++
	for i, b := range r.bins {
		cut, _ := slices.BinarySearchFunc(b.ids, uint32(2*i+1), func(id protocol.Hash, _ uint32) int { return r.index(fingerprint.Leading(id)) - (2*i + 1) })
		low, high := bin{ids: slices.Clone(b.ids[:cut])}, bin{ids: slices.Clone(b.ids[cut:]), sum: b.sum}
		for _, id := range low.ids {
			low.sum.Add(r.sumOf(id))
		}
		high.sum.Sub(low.sum)
		halves = append(halves, low, high)
	}
	r.bins = halves
}

// after goes through the ids behind one.
func (r *row) after(id protocol.Hash) iter.Seq[protocol.Hash] {
	return func(yield func(protocol.Hash) bool) {
		if r == nil {
			return
		}
		first := r.index(fingerprint.Leading(id))
		for i, b := range r.bins[first:] {
			from, found := 0, false
			if i == 0 {
				if from, found = slices.BinarySearchFunc(b.ids, id, byHash); found {
					from++
				}
			}
			for _, x := range b.ids[from:] {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// within are the ids of one bin that begin with more bits than bins are told apart by.
func (r *row) within(prefix uint32, bits uint8) []protocol.Hash {
	ids := r.bins[prefix>>(bits-r.bits)].ids
	at := func(p uint64) int {
		i, _ := slices.BinarySearchFunc(ids, p, func(id protocol.Hash, p uint64) int {
			if uint64(fingerprint.Leading(id))>>(protocol.MaxRangeBits-bits) < p {
				return -1
			}
			return 1
		})
		return i
	}
	return ids[at(uint64(prefix)):at(uint64(prefix)+1)]
}

// total counts and adds up the ids that begin with these bits.
func (r *row) total(prefix uint32, bits uint8) (n uint32, sum fingerprint.Sum) {
	if bits > r.bits {
		ids := r.within(prefix, bits)
		for _, id := range ids {
			sum.Add(r.sumOf(id))
		}
		return uint32(len(ids)), sum
	}
	wide := r.bits - bits
	for i := range r.bins[int(prefix)<<wide : int(prefix+1)<<wide] {
		b := &r.bins[int(prefix)<<wide+i]
		n += uint32(len(b.ids))
		sum.Add(b.sum)
	}
	return n, sum
}

// all goes through the ids of a range.
func (r *row) all(prefix uint32, bits uint8) iter.Seq[protocol.Hash] {
	return func(yield func(protocol.Hash) bool) {
		if bits > r.bits {
			for _, id := range r.within(prefix, bits) {
				if !yield(id) {
					return
				}
			}
			return
		}
		wide := r.bits - bits
		for _, b := range r.bins[int(prefix)<<wide : int(prefix+1)<<wide] {
			for _, id := range b.ids {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Ranges chooses ids of a shard by the bits that they begin with, as an operation
// protocol.OpRanges does.
type Ranges struct {
	Prefixes []uint32 // ascending
	Bits     uint8    // of each prefix
	Split    uint8    // further bits, to tell parts apart
}

// check repeats what the wire's rules say, so that no caller can make the board panic.
func (q Ranges) check() error {
	if q.Bits > protocol.MaxRangeBits || q.Split > protocol.MaxRangeBits-q.Bits || len(q.Prefixes) > protocol.MaxPrints>>q.Split {
		return fmt.Errorf("board: %d ranges of %d and %d bits: %w", len(q.Prefixes), q.Bits, q.Split, fault.Malformed)
	}
	for i, p := range q.Prefixes {
		if uint64(p) >= 1<<q.Bits || i > 0 && p <= q.Prefixes[i-1] {
			return fmt.Errorf("board: ranges that overlap or do not exist: %w", fault.Malformed)
		}
	}
	return nil
}

// Salt is what this board's fingerprints depend on: another one at each start.
func (b *Board) Salt() protocol.ID { return b.salt }

// Prints counts and fingerprints the announcements of each part of the ranges of a
// shard, withdrawals too. A fingerprint has protocol.PrintSize bytes.
func (b *Board) Prints(shard uint16, q Ranges) (counts []uint32, prints []byte, err error) {
	if err := q.check(); err != nil {
		return nil, nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	r := b.shard[shard]
	if r == nil {
		r = &row{bins: make([]bin, 1)}
	}
	for _, p := range q.Prefixes {
		for part := range uint32(1) << q.Split {
			n, sum := r.total(p<<q.Split|part, q.Bits+q.Split)
			print := sum.Print(n)
			counts, prints = append(counts, n), append(prints, print[:]...)
		}
	}
	return counts, prints, nil
}

// Within lists the announcements in ranges of a shard, withdrawals too, by hash from
// the one after the given: at most limit, and never more than MaxIDs.
func (b *Board) Within(shard uint16, q Ranges, after protocol.Hash, limit int) (ids []protocol.Hash, more bool, err error) {
	if err := q.check(); err != nil {
		return nil, false, err
	}
	limit = min(max(limit, 0), MaxIDs)
	b.mu.RLock()
	defer b.mu.RUnlock()
	r := b.shard[shard]
	if r == nil {
		return nil, false, nil
	}
	for _, p := range q.Prefixes {
		if uint64(p) < uint64(fingerprint.Leading(after))>>(protocol.MaxRangeBits-q.Bits) {
			continue // all of it was listed
		}
		for id := range r.all(p, q.Bits) {
			switch {
			case byHash(id, after) <= 0 && !after.IsZero():
			case len(ids) == limit:
				return ids, true, nil
			default:
				ids = append(ids, id)
			}
		}
	}
	return ids, false, nil
}

// HeardAt tells when the announcement of that hash was first heard, ms since 1970.
func (b *Board) HeardAt(id protocol.Hash) (ms int64, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.ids[id]; e != nil && e.size > 0 {
		return e.HeardMS, true
	}
	return 0, false
}
