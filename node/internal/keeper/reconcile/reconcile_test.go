package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func spread(n int) protocol.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// An other is the other side: a sorted list, and what it did.
type other struct {
	salt      protocol.ID
	ids       []protocol.Hash
	added     *walk // of ids, once they are added up
	questions int
	bytes     int
	bend      func(q Question, a *Answer) // a liar's way
}

func sorted(ids []protocol.Hash) []protocol.Hash {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, byHash)
	return slices.Compact(ids)
}

// answer does by brute force what a board does by bins.
func (o *other) answer(q Question) (a Answer) {
	if o.added == nil {
		o.added = &walk{ids: o.ids}
		if err := o.added.under(o.salt); err != nil {
			panic(err)
		}
	}
	w := o.added
	if q.Split > 0 {
		a.Salt = o.salt
		for _, r := range q.Ranges {
			for part := range uint32(1) << q.Split {
				from, to := w.span(r<<q.Split|part, q.Bits+q.Split)
				p := w.print(from, to)
				a.Counts, a.Prints = append(a.Counts, uint32(to-from)), append(a.Prints, p[:]...)
			}
		}
		return a
	}
	for _, r := range q.Ranges {
		from, to := w.span(r, q.Bits)
		for _, id := range o.ids[from:to] {
			if byHash(id, q.After) <= 0 {
				continue
			}
			if a.More = len(a.IDs) == protocol.MaxPrints; a.More {
				return a
			}
			a.IDs = append(a.IDs, id)
		}
	}
	return a
}

func (o *other) ask(_ context.Context, qs []Question) (as []Answer, err error) {
	if len(qs) > Window {
		return nil, errors.New("too many questions at once")
	}
	for _, q := range qs {
		op := protocol.Op{N: 1, Kind: protocol.OpRanges, Ranges: q.Ranges, Bits: q.Bits, Split: q.Split, After: q.After}
		if err := wire.CheckOp(&op, [32]byte{}, protocol.ID{}); err != nil {
			return nil, err
		}
		a := o.answer(q)
		if o.bend != nil {
			o.bend(q, &a)
		}
		o.questions++
		o.bytes += 4*len(q.Ranges) + len(a.Prints) + 3*len(a.Counts) + 34*len(a.IDs) + 100
		as = append(as, a)
	}
	return as, nil
}

// minus are the ids of a that are not in b, both sorted.
func minus(a, b []protocol.Hash) (out []protocol.Hash) {
	for _, id := range a {
		if _, found := slices.BinarySearchFunc(b, id, byHash); !found {
			out = append(out, id)
		}
	}
	return out
}

// wrongDifference says what Find did not find.
func wrongDifference(d Difference, mine, theirs []protocol.Hash) string {
	switch {
	case !slices.Equal(sorted(d.Missing), minus(theirs, mine)) || len(d.Missing) != len(minus(theirs, mine)):
		return "missing"
	case !slices.Equal(sorted(d.Lacking), minus(mine, theirs)) || len(d.Lacking) != len(minus(mine, theirs)):
		return "lacking"
	}
	return ""
}

// Whatever the two sides have, the difference is found, both ways.
func TestTheDifferenceIsFound(t *testing.T) {
	if wrongDifference(Difference{}, nil, []protocol.Hash{spread(1)}) != "missing" || wrongDifference(Difference{}, []protocol.Hash{spread(1)}, nil) != "lacking" {
		t.Fatal("a difference that was not found passes")
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 20, 500, 3000}).Draw(t, "size")
		mineOf, theirsOf := rapid.SampledFrom([]int{0, 1, 9, 10}).Draw(t, "mine"), rapid.SampledFrom([]int{0, 1, 9, 10}).Draw(t, "theirs")
		alike := rapid.IntRange(0, 5).Draw(t, "bytes that somebody chose")
		var mine, theirs []protocol.Hash
		for n := range size {
			id := spread(n)
			for i := range alike {
				id[i] = 0xff
			}
			if int(id[30])%10 < mineOf {
				mine = append(mine, id)
			}
			if int(id[31])%10 < theirsOf {
				theirs = append(theirs, id)
			}
		}
		mine, theirs = sorted(mine), sorted(theirs)
		o := &other{salt: protocol.ID{1}, ids: theirs}
		d, err := Find(context.Background(), o.ask, mine)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := wrongDifference(d, mine, theirs); wrong != "" {
			t.Fatalf("%s: %d and %d found", wrong, len(d.Missing), len(d.Lacking))
		}
	})
}

// What it costs follows the difference.
func TestCost(t *testing.T) {
	var all []protocol.Hash
	for n := range 100_000 {
		all = append(all, spread(n))
	}
	for _, row := range []struct{ missing, rounds, bytes int }{
		{0, 1, 500}, {1, 4, 4_000}, {100, 4, 110_000}, {100_000, 9, 3_600_000},
	} {
		o := &other{salt: protocol.ID{1}, ids: sorted(all)}
		d, err := Find(t.Context(), o.ask, sorted(all[row.missing:]))
		if err != nil || len(d.Missing) != row.missing || len(d.Lacking) != 0 {
			t.Errorf("%d missing: %d and %d found, %v", row.missing, len(d.Missing), len(d.Lacking), err)
		}
		if d.Rounds > row.rounds || o.bytes > row.bytes {
			t.Errorf("%d missing: %d rounds, %d bytes", row.missing, d.Rounds, o.bytes)
		}
		t.Logf("%d missing of 100,000: %d round trips, %d questions, %d bytes", row.missing, d.Rounds, o.questions, o.bytes)
	}
}

// Which hundred is missing, and how many there are in all, does not change what it costs.
func TestCostIsNoMatterOfLuck(t *testing.T) {
	var all []protocol.Hash
	for n := range 100_000 {
		all = append(all, spread(n))
	}
	most := 0
	for at := range 48 {
		theirs := all[:50_000+1_000*at]
		o := &other{salt: protocol.ID{1}, ids: sorted(theirs)}
		d, err := Find(t.Context(), o.ask, sorted(slices.Concat(theirs[:100*at], theirs[100*at+100:])))
		if err != nil || len(d.Missing) != 100 || d.Rounds > 4 {
			t.Errorf("hundred %d of %d: %d found in %d rounds, %v", at, len(theirs), len(d.Missing), d.Rounds, err)
		}
		most = max(most, o.bytes)
	}
	if most > 110_000 {
		t.Errorf("%d bytes", most)
	}
	t.Logf("at most %d bytes", most)
}

// Two nodes that differ altogether still come to an end.
func TestNothingInCommon(t *testing.T) {
	var mine, theirs []protocol.Hash
	for n := range 20_000 {
		mine, theirs = append(mine, spread(2*n)), append(theirs, spread(2*n+1))
	}
	o := &other{salt: protocol.ID{1}, ids: sorted(theirs)}
	d, err := Find(t.Context(), o.ask, sorted(mine))
	if err != nil || len(d.Missing) != 20_000 || len(d.Lacking) != 20_000 {
		t.Errorf("%d and %d found, %v", len(d.Missing), len(d.Lacking), err)
	}
}

// The other side may say what it likes: it ends, soon, and mostly with an error.
func TestLiars(t *testing.T) {
	var ids []protocol.Hash
	for n := range 5000 {
		ids = append(ids, spread(n))
	}
	ids = sorted(ids)
	noise := func(a *Answer) {
		for i := range a.Prints {
			a.Prints[i] ^= byte(i + 1)
		}
	}
	turn := 0
	for name, row := range map[string]struct {
		bend func(q Question, a *Answer)
		want error
	}{
		"fingerprints that never match":    {func(_ Question, a *Answer) { noise(a) }, fault.Malformed},
		"and counts without end":           {func(_ Question, a *Answer) { noise(a); fill(a.Counts, 1<<31) }, nil},
		"and counts that ask for splits":   {func(_ Question, a *Answer) { noise(a); fill(a.Counts, listed+1) }, fault.Malformed},
		"too few fingerprints":             {func(_ Question, a *Answer) { a.Counts = a.Counts[:len(a.Counts)/2] }, fault.Malformed},
		"no fingerprints":                  {func(_ Question, a *Answer) { *a = Answer{} }, fault.Malformed},
		"no salt":                          {func(_ Question, a *Answer) { a.Salt = protocol.ID{} }, fault.Malformed},
		"a new salt each time":             {func(_ Question, a *Answer) { noise(a); turn++; a.Salt = protocol.ID{byte(turn), 1} }, fault.Malformed},
		"ids backwards":                    {lists(noise, func(a *Answer) { slices.Reverse(a.IDs) }), fault.Malformed},
		"ids twice":                        {lists(noise, func(a *Answer) { a.IDs = append(a.IDs, a.IDs[len(a.IDs)-1]) }), fault.Malformed},
		"ids from elsewhere":               {lists(noise, func(a *Answer) { a.IDs = []protocol.Hash{{0: 1}} }), fault.Malformed},
		"pages without end, one id each":   {lists(noise, func(a *Answer) { a.IDs, a.More = a.IDs[:1], true }), fault.Full},
		"pages without end and without id": {lists(noise, func(a *Answer) { a.IDs, a.More = nil, true }), fault.Malformed},
		"more ids than a page has":         {lists(noise, func(a *Answer) { a.IDs = make([]protocol.Hash, protocol.MaxPrints+1) }), fault.Malformed},
		"lists that are empty":             {lists(noise, func(a *Answer) { a.IDs = nil }), nil},
		"ids that nobody has":              {lists(noise, func(a *Answer) { last := &a.IDs[len(a.IDs)-1]; last[31] ^= 1 }), fault.Malformed},
	} {
		o := &other{salt: protocol.ID{1}, ids: ids, bend: row.bend}
		d, err := Find(t.Context(), o.ask, ids[:4000])
		if !errors.Is(err, row.want) || row.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if o.bytes > 6<<20 || d.Rounds > MaxRounds || len(d.Missing) > MaxIDs {
			t.Errorf("%s: %d bytes in %d rounds", name, o.bytes, d.Rounds)
		}
		t.Logf("%s: %d rounds, %d questions, %d bytes: %v", name, d.Rounds, o.questions, o.bytes, err)
	}
	for name, full := range map[string]walk{"fingerprints": {ids: ids, prints: MaxPrints}, "ids": {ids: ids, listed: MaxIDs}} {
		o := &other{salt: protocol.ID{1}, ids: ids}
		full.next = append(full.next, Question{Ranges: []uint32{0}, Split: 1}, Question{Ranges: []uint32{0}})
		if err := full.round(t.Context(), o.ask); !errors.Is(err, fault.Full) {
			t.Errorf("%s beyond the bound: %v", name, err)
		}
	}
	deaf := func(context.Context, []Question) ([]Answer, error) { return nil, nil }
	if _, err := Find(t.Context(), deaf, ids); !errors.Is(err, fault.Malformed) {
		t.Errorf("no answers: %v", err)
	}
	if _, err := Find(t.Context(), func(context.Context, []Question) ([]Answer, error) { return nil, fault.Offline }, ids); !errors.Is(err, fault.Offline) {
		t.Errorf("a stream that breaks: %v", err)
	}
}

func fill(counts []uint32, n uint32) {
	for i := range counts {
		counts[i] = n
	}
}

// lists bends the lists, and makes sure that it comes to them.
func lists(noise, bend func(*Answer)) func(Question, *Answer) {
	return func(q Question, a *Answer) {
		if q.Split > 0 {
			noise(a)
		} else if len(a.IDs) > 0 {
			bend(a)
		}
	}
}

// FuzzFind answers with whatever bytes come.
func FuzzFind(f *testing.F) {
	var ids []protocol.Hash
	for n := range 300 {
		ids = append(ids, spread(n))
	}
	ids = sorted(ids)
	f.Add([]byte{0, 255, 3, 200, 17})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 {
			return
		}
		at := 0
		next := func() byte { at++; return raw[at%len(raw)] + byte(at/len(raw)) }
		o := &other{salt: protocol.ID{1}, ids: ids}
		o.bend = func(q Question, a *Answer) {
			for i := range a.Counts {
				if b := next(); b&1 == 0 {
					a.Counts[i], a.Prints[i*protocol.PrintSize] = uint32(b)<<(b&15), b
				}
			}
			if len(a.IDs) > 0 {
				b := next()
				a.IDs[int(b)%len(a.IDs)][b&31] ^= next()
				a.More = b&3 == 3
				a.IDs = a.IDs[:len(a.IDs)-int(b)%len(a.IDs)]
			}
		}
		d, _ := Find(t.Context(), o.ask, ids[100:])
		if d.Rounds > MaxRounds || len(d.Missing) > MaxIDs || o.questions > MaxRounds*Window {
			t.Errorf("%d rounds, %d missing", d.Rounds, len(d.Missing))
		}
	})
}
