// Package reconcile finds out where two sets of announcement ids differ, at the cost
// of the difference and not of the sets. It is range-based set reconciliation with a
// server that only reads: it is asked for fingerprints and ids, never told any.
//
//  1. Find asks for the fingerprints of 16 equal parts of the space of ids. They
//     come with the other side's salt, under which this side adds up its own ids.
//  2. A part whose fingerprint is the same here is done. One that differs is asked
//     about again: split into smaller parts, or, where few ids are left in it or
//     nearly all are missing here, listed.
//  3. All questions that stand at one moment go out together: the depth of the
//     splits, not their number, decides how many round trips it takes.
//  4. What a list has and this side lacks is missing here; what this side has in a
//     listed range and the list lacks is lacking there.
//
// The other side may lie. Ranges only get smaller and lists only go forwards, so
// that any conversation ends; beyond that rounds, fingerprints and ids are bounded,
// and an answer that does not fit its question ends it at once. What a liar can do
// is to hide what it has: so a node asks two of different operators.
//
// A fingerprint is a hash of a sum of hashed ids modulo 2^256. Who can choose a
// thousand ids finds sets that add up to the same in some 2^33 steps (the generalized
// birthday problem). Were sums the same everywhere, a third party could place such
// sets so that a need of somebody else is hidden from all who compare. So each node
// adds up under a salt of its own, drawn at its start: what collides at one node does
// not at the second that is asked. A node that makes collisions under its own salt
// only hides what it could have left out anyway.
package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/fingerprint"
)

// Bounds of one conversation.
const (
	Window    = 8       // questions in one round trip
	MaxRounds = 64      // round trips
	MaxPrints = 1 << 16 // fingerprints
	MaxIDs    = 1 << 17 // ids listed
	MaxVain   = 32      // ranges whose fingerprint differs and whose ids do not
)

// What is asked next.
const (
	firstSplit = 4  // 16 parts: a shard that is equal costs some 350 bytes
	maxSplit   = 6  // parts of one range, so that few differences don't cost many fingerprints
	leaf       = 8  // ids that a range is split down to, ...
	listed     = 24 // ... and at which it is listed; chance puts more than 16 into one leaf of some hundreds, which cost a round trip
)

// A Question is about ranges of a shard, as in an operation protocol.OpRanges.
type Question struct {
	Ranges      []uint32
	Bits, Split uint8
	After       protocol.Hash
}

// An Answer has fingerprints and counts where the question had a Split, else ids.
type Answer struct {
	Salt   protocol.ID
	Counts []uint32
	Prints []byte
	IDs    []protocol.Hash
	More   bool
}

// An Ask puts at most Window questions to the other side in one round trip and
// gives as many answers, in order.
type Ask func(ctx context.Context, qs []Question) ([]Answer, error)

// A Difference is what Find found.
type Difference struct {
	Missing []protocol.Hash // they have it, this side has not
	Lacking []protocol.Hash // the other way round
	Rounds  int             // round trips
}

// Find compares ids, in ascending order, with what the other side has. With an error
// comes what was found until then.
func Find(ctx context.Context, ask Ask, ids []protocol.Hash) (Difference, error) {
	w := &walk{ids: ids, next: []Question{{Ranges: []uint32{0}, Split: firstSplit}}}
	for len(w.next) > 0 {
		if w.diff.Rounds == MaxRounds {
			return w.diff, fmt.Errorf("reconcile: no end after %d rounds: %w", MaxRounds, fault.Full)
		}
		if err := w.round(ctx, ask); err != nil {
			return w.diff, err
		}
	}
	return w.diff, nil
}

// A walk is one conversation.
type walk struct {
	ids    []protocol.Hash
	salt   protocol.ID
	sums   []fingerprint.Sum // sums[i] is that of ids[:i]
	next   []Question
	prints int // that came
	listed int // ids that came
	vain   int // ranges whose fingerprint differed for nothing
	diff   Difference
}

// wrong is an answer that does not fit.
func wrong(what string) error { return fmt.Errorf("reconcile: %s: %w", what, fault.Malformed) }

func (w *walk) round(ctx context.Context, ask Ask) error {
	now := w.next[:min(Window, len(w.next))]
	w.next = w.next[len(now):]
	w.diff.Rounds++
	answers, err := ask(ctx, now)
	if err != nil {
		return err
	}
	if len(answers) != len(now) {
		return wrong("not as many answers as questions")
	}
	todo := plan{}
	for i, q := range now {
		if q.Split > 0 {
			err = w.compare(q, answers[i], todo)
		} else {
			err = w.read(q, answers[i])
		}
		if err != nil {
			return err
		}
	}
	w.next = append(w.next, todo.questions()...)
	return nil
}

// compare looks at fingerprints and plans what to ask about the parts that differ.
func (w *walk) compare(q Question, a Answer, todo plan) error {
	parts := len(q.Ranges) << q.Split
	if len(a.Counts) != parts || len(a.Prints) != parts*protocol.PrintSize {
		return wrong("not a fingerprint for each part")
	}
	if w.prints += parts; w.prints > MaxPrints {
		return fmt.Errorf("reconcile: more than %d fingerprints: %w", MaxPrints, fault.Full)
	}
	if err := w.under(a.Salt); err != nil {
		return err
	}
	depth := q.Bits + q.Split
	for i, theirs := range a.Counts {
		part := q.Ranges[i>>q.Split]<<q.Split | uint32(i)&(1<<q.Split-1)
		from, to := w.span(part, depth)
		mine := w.print(from, to)
		switch {
		case bytes.Equal(mine[:], a.Prints[i*protocol.PrintSize:][:protocol.PrintSize]):
		case theirs == 0:
			w.diff.Lacking = append(w.diff.Lacking, w.ids[from:to]...)
		default:
			todo.add(part, depth, splitOf(theirs, to-from, depth), theirs)
		}
	}
	return nil
}

// splitOf is how finely to ask about a range that differs; 0: for its ids.
func splitOf(theirs uint32, mine int, depth uint8) uint8 {
	if theirs <= listed || uint64(theirs) >= 2*uint64(mine) || depth == protocol.MaxRangeBits {
		return 0
	}
	return min(uint8(bits.Len32((theirs-1)/leaf)), maxSplit, protocol.MaxRangeBits-depth)
}

// under adds up the own ids under the other side's salt, which stays the same.
func (w *walk) under(salt protocol.ID) error {
	if salt.IsZero() || !w.salt.IsZero() && w.salt != salt {
		return wrong("another salt")
	}
	if !w.salt.IsZero() {
		return nil
	}
	w.salt, w.sums = salt, make([]fingerprint.Sum, len(w.ids)+1)
	for i, id := range w.ids {
		w.sums[i+1] = w.sums[i]
		w.sums[i+1].Add(fingerprint.SumOf(salt, id))
	}
	return nil
}

// span finds the own ids of a range.
func (w *walk) span(prefix uint32, bits uint8) (from, to int) {
	at := func(p uint64) int {
		i, _ := slices.BinarySearchFunc(w.ids, p, func(id protocol.Hash, p uint64) int {
			return cmp.Or(cmp.Compare(uint64(fingerprint.Leading(id))>>(protocol.MaxRangeBits-bits), p), 1)
		})
		return i
	}
	return at(uint64(prefix)), at(uint64(prefix) + 1)
}

func (w *walk) print(from, to int) [protocol.PrintSize]byte {
	sum := w.sums[to]
	sum.Sub(w.sums[from])
	return sum.Print(uint32(to - from))
}

// read takes a list of ids, notes the differences in what it covers, and plans to
// ask for the rest.
func (w *walk) read(q Question, a Answer) error {
	if err := fits(q, a); err != nil {
		return err
	}
	if w.listed += len(a.IDs); w.listed > MaxIDs {
		return fmt.Errorf("reconcile: more than %d ids: %w", MaxIDs, fault.Full)
	}
	for _, id := range a.IDs {
		if _, mine := slices.BinarySearchFunc(w.ids, id, byHash); !mine {
			w.diff.Missing = append(w.diff.Missing, id)
		}
	}
	theirs, whole := walk{ids: a.IDs}, q.After.IsZero() && !a.More
	for _, p := range q.Ranges {
		from, to := w.span(p, q.Bits)
		for _, id := range w.ids[from:to] {
			covered := byHash(id, q.After) > 0 && (!a.More || byHash(id, a.IDs[len(a.IDs)-1]) < 0)
			if _, known := slices.BinarySearchFunc(a.IDs, id, byHash); covered && !known {
				w.diff.Lacking = append(w.diff.Lacking, id)
			}
		}
		if i, j := theirs.span(p, q.Bits); whole && slices.Equal(w.ids[from:to], a.IDs[i:j]) {
			w.vain++
		}
	}
	if w.vain > MaxVain {
		return wrong("fingerprints that differ where the ids do not")
	}
	if a.More {
		last := a.IDs[len(a.IDs)-1]
		at, _ := slices.BinarySearch(q.Ranges, uint32(uint64(fingerprint.Leading(last))>>(protocol.MaxRangeBits-q.Bits)))
		w.next = append(w.next, Question{Ranges: q.Ranges[at:], Bits: q.Bits, After: last})
	}
	return nil
}

// fits checks a list: ascending, from the cursor on, within the ranges asked for.
func fits(q Question, a Answer) error {
	if len(a.IDs) > protocol.MaxPrints || a.More && len(a.IDs) == 0 {
		return wrong("a page without an end, or too long")
	}
	last, at := q.After, 0
	for _, id := range a.IDs {
		for at < len(q.Ranges) && !fingerprint.InRange(id, q.Ranges[at], q.Bits) {
			at++
		}
		if at == len(q.Ranges) || byHash(id, last) <= 0 {
			return wrong("an id out of order or out of range")
		}
		last = id
	}
	return nil
}

// A plan gathers ranges that can be asked about in one question.
type plan map[depth][]part

type depth struct{ bits, split uint8 }

type part struct{ prefix, count uint32 }

func (p plan) add(prefix uint32, bits, split uint8, count uint32) {
	d := depth{bits, split}
	p[d] = append(p[d], part{prefix, count})
}

// questions packs ranges so that each question has one answer: as many fingerprints
// as fit, or about as many ids. A range of more ids comes in pages.
func (p plan) questions() (qs []Question) {
	for d, parts := range p {
		slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.prefix, b.prefix) })
		most := protocol.MaxRanges
		if d.split > 0 {
			most = min(most, protocol.MaxPrints>>d.split)
		}
		q, ids := Question{Bits: d.bits, Split: d.split}, uint64(0)
		for _, r := range parts {
			ids += uint64(r.count)
			if len(q.Ranges) == most || d.split == 0 && len(q.Ranges) > 0 && ids > protocol.MaxPrints {
				qs = append(qs, q)
				q.Ranges, ids = nil, uint64(r.count)
			}
			q.Ranges = append(q.Ranges, r.prefix)
		}
		qs = append(qs, q)
	}
	return qs
}

func byHash(a, b protocol.Hash) int { return bytes.Compare(a[:], b[:]) }
