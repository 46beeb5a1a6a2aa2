package board

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/fingerprint"
	"github.com/harkmarket/hark/store/kv"
)

// spread is the n-th of many ids, as even as real ones.
func spread(n int) protocol.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// wrongRow compares a row with a sorted list, and says where they differ.
func wrongRow(r *row, want []protocol.Hash, prefix uint32, bits uint8) string {
	all := slices.Collect(r.all(0, 0))
	if !slices.Equal(all, want) || r.n != len(want) {
		return "ids or their order"
	}
	var in []protocol.Hash
	var sum fingerprint.Sum
	for _, id := range want {
		if fingerprint.InRange(id, prefix, bits) {
			in = append(in, id)
			sum.Add(fingerprint.SumOf(r.salt, id))
		}
	}
	n, got := r.total(prefix, bits)
	if int(n) != len(in) || got != sum {
		return "sum of a range"
	}
	if !slices.Equal(slices.Collect(r.all(prefix, bits)), in) {
		return "ids of a range"
	}
	return ""
}

// Whatever comes and goes, a row is a sorted list, and knows what its ranges add up to.
func TestARowIsASortedList(t *testing.T) {
	r := newRow(protocol.ID{1}, []protocol.Hash{spread(1), spread(2)})
	want := []protocol.Hash{spread(1), spread(2)}
	slices.SortFunc(want, byHash)
	if wrong := wrongRow(r, want, 0, 0); wrong != "" {
		t.Fatal(wrong)
	}
	r.bin(spread(1)).sum.Add(fingerprint.Sum{1})
	if wrongRow(r, want, 0, 0) != "sum of a range" {
		t.Fatal("a sum that is wrong is not found")
	}
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.IntRange(1, 4000).Draw(t, "different")
		narrow := rapid.Bool().Draw(t, "narrow") // ids that somebody chose: all begin alike
		id := func(n int) protocol.Hash {
			x := spread(n)
			if narrow {
				x[0], x[1] = 7, 7
			}
			return x
		}
		begin := rapid.SliceOfDistinct(rapid.IntRange(0, few), func(n int) int { return n }).Draw(t, "begin")
		var want []protocol.Hash
		for _, n := range begin {
			want = append(want, id(n))
		}
		r := newRow(protocol.ID{9}, want)
		slices.SortFunc(want, byHash)
		seed := rapid.IntRange(0, few).Draw(t, "first")
		for i := range rapid.IntRange(0, 600).Draw(t, "changes") {
			x := id((seed + 7*i) % (few + 1))
			at, found := slices.BinarySearchFunc(want, x, byHash)
			switch {
			case !found:
				want = slices.Insert(want, at, x)
				r.add(x)
				r.add(x) // twice is once
			case i%3 == 0:
				want = slices.Delete(want, at, at+1)
				r.remove(x)
				r.remove(x)
			}
		}
		bits := uint8(rapid.IntRange(0, 32).Draw(t, "bits"))
		prefix := rapid.Uint32().Draw(t, "prefix")
		if len(want) > 0 && rapid.Bool().Draw(t, "known") {
			prefix = fingerprint.Leading(want[seed%len(want)])
		}
		prefix = uint32(uint64(prefix) >> (32 - bits))
		if wrong := wrongRow(r, want, prefix, bits); wrong != "" {
			t.Fatalf("%s, at %d bits of bins", wrong, r.bits)
		}
		cursor := id(seed)
		i, found := slices.BinarySearchFunc(want, cursor, byHash)
		if found {
			i++
		}
		if !slices.Equal(slices.Collect(r.after(cursor)), want[i:]) {
			t.Fatal("ids after one")
		}
	})
}

func TestRangesOfABoard(t *testing.T) {
	b, err := Open(kv.Memory(), 4, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(kv.Memory(), 4, Limits{})
	if err != nil || other.Salt() == b.Salt() || b.Salt().IsZero() {
		t.Errorf("two boards with one salt: %v", err)
	}
	var ids []protocol.Hash
	for n := range 3000 {
		ids = append(ids, spread(n))
	}
	b.shard[2] = newRow(b.salt, ids)
	slices.SortFunc(ids, byHash)
	q := Ranges{Prefixes: []uint32{1, 5, 9}, Bits: 4, Split: 3}
	counts, prints, err := b.Prints(2, q)
	if err != nil || len(counts) != 24 || len(prints) != 24*protocol.PrintSize {
		t.Fatalf("%d parts, %d bytes, %v", len(counts), len(prints), err)
	}
	for i, p := range q.Prefixes {
		for part := range uint32(8) {
			n, sum := b.shard[2].total(p<<3|part, 7)
			print := sum.Print(n)
			at := i*8 + int(part)
			if counts[at] != n || !bytes.Equal(prints[at*16:at*16+16], print[:]) {
				t.Errorf("part %d of range %d", part, p)
			}
		}
	}
	var want, got []protocol.Hash
	for _, id := range ids {
		if h := id[0] >> 4; h == 1 || h == 5 || h == 9 {
			want = append(want, id)
		}
	}
	pages := 0
	for after, more := (protocol.Hash{}), true; more; pages++ {
		var page []protocol.Hash
		if page, more, err = b.Within(2, Ranges{Prefixes: q.Prefixes, Bits: 4}, after, 100); err != nil || len(page) == 0 {
			t.Fatalf("page %d: %d ids, %v", pages, len(page), err)
		}
		got, after = append(got, page...), page[len(page)-1]
	}
	if !slices.Equal(got, want) || pages != (len(want)+99)/100 {
		t.Errorf("%d ids in %d pages, want %d", len(got), pages, len(want))
	}
	for name, q := range map[string]Ranges{
		"too deep": {Prefixes: []uint32{0}, Bits: 33}, "wraps": {Prefixes: []uint32{0}, Bits: 30, Split: 250}, "beyond": {Prefixes: []uint32{2}, Bits: 1},
		"twice": {Prefixes: []uint32{1, 1}, Bits: 1}, "backwards": {Prefixes: []uint32{1, 0}, Bits: 1}, "too many": {Prefixes: make([]uint32, 9), Bits: 4, Split: 8},
	} {
		_, _, err := b.Prints(2, q)
		_, _, err2 := b.Within(2, q, protocol.Hash{}, 1)
		if !errors.Is(err, fault.Malformed) || !errors.Is(err2, fault.Malformed) {
			t.Errorf("%s: %v, %v", name, err, err2)
		}
	}
	empty, _, err := b.Prints(3, Ranges{Prefixes: []uint32{0}, Split: 4})
	if err != nil || len(empty) != 16 || slices.Max(empty) != 0 {
		t.Errorf("a shard with nothing: %v, %v", empty, err)
	}
	if ids, more, err := b.Within(3, Ranges{Prefixes: []uint32{0}}, protocol.Hash{}, 9); len(ids) != 0 || more || err != nil {
		t.Errorf("a shard with nothing: %v, %v, %v", ids, more, err)
	}
}

// BenchmarkRow is one announcement that comes and one that goes among 100,000, and
// the fingerprints of a shard of so many.
func BenchmarkRow(b *testing.B) {
	ids := make([]protocol.Hash, 100_000)
	for i := range ids {
		ids[i] = spread(i)
	}
	r := newRow(protocol.ID{1}, ids)
	b.Run("change", func(b *testing.B) {
		for i := range b.N {
			x := spread(1<<30 + i)
			r.add(x)
			r.remove(x)
		}
	})
	b.Run("whole", func(b *testing.B) {
		for range b.N {
			r.total(0, 0)
		}
	})
	b.Run("fine", func(b *testing.B) {
		for i := range b.N {
			r.total(uint32(i)&0x3fff, 14)
		}
	})
}
