package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

func TestVerifyNamesTheEntryAndTheReason(t *testing.T) {
	device := key.Generate[key.Device]()
	w := worldIn(t, kv.Memory(), device)
	w.add("a", "b", "c", "d", "e", "f")
	w.shred(3)
	at := func(seq byte, part string) []byte {
		return []byte("l/r/\x00\x00\x00\x00\x00\x00\x00" + string(seq) + part)
	}
	get := func(tx kv.Tx, k []byte) []byte { v, err := tx.Get(k); must(t, err); return v }
	for name, c := range map[string]struct {
		harm func(kv.Tx) error
		seq  int
		why  string
	}{
		"a rewritten body": {func(tx kv.Tx) error {
			v := get(tx, at(2, "b"))
			return tx.Put(at(2, "b"), append(v[:len(v)-1], 'X'))
		}, 2, "do not match the leaf"},
		"a longer body":      {func(tx kv.Tx) error { return tx.Put(at(2, "b"), append(get(tx, at(2, "b")), 'X')) }, 2, "do not match the leaf"},
		"a moved body":       {func(tx kv.Tx) error { return tx.Put(at(2, "b"), get(tx, at(1, "b"))) }, 2, "do not match the leaf"},
		"a cut body record":  {func(tx kv.Tx) error { return tx.Put(at(2, "b"), get(tx, at(1, "b"))[:40]) }, 2, "body record"},
		"a lost body":        {func(tx kv.Tx) error { return tx.Delete(at(2, "b")) }, 2, "body is missing"},
		"a body come back":   {func(tx kv.Tx) error { return tx.Put(at(3, "b"), get(tx, at(2, "b"))) }, 3, "its body is there"},
		"a flipped leaf bit": {func(tx kv.Tx) error { v := get(tx, at(5, "l")); v[0] ^= 1; return tx.Put(at(5, "l"), v) }, 5, "match the leaf"},
		"a shredded leaf":    {func(tx kv.Tx) error { v := get(tx, at(3, "l")); v[0] ^= 1; return tx.Put(at(3, "l"), v) }, 4, "inner node of level 1"},
		"a flipped node bit": {func(tx kv.Tx) error { v := get(tx, at(4, "l")); v[70] ^= 1; return tx.Put(at(4, "l"), v) }, 4, "inner node of level 2"},
		"a cut leaf record":  {func(tx kv.Tx) error { return tx.Put(at(4, "l"), get(tx, at(4, "l"))[:65]) }, 4, "leaf record"},
		"an odd mark":        {func(tx kv.Tx) error { v := get(tx, at(1, "l")); v[32] = 2; return tx.Put(at(1, "l"), v) }, 1, "leaf record"},
		"a lost entry":       {func(tx kv.Tx) error { return errors.Join(tx.Delete(at(3, "l")), tx.Delete(at(3, "b"))) }, 3, "it is missing"},
		"the last ones lost": {func(tx kv.Tx) error {
			return errors.Join(tx.Delete(at(5, "l")), tx.Delete(at(5, "b")), tx.Delete(at(6, "l")), tx.Delete(at(6, "b")))
		}, 5, "it is missing"},
		"an entry too many":     {func(tx kv.Tx) error { return tx.Put([]byte("l/n"), sizeRecord(w, 5)) }, 6, "beyond the size"},
		"a flipped edge":        {func(tx kv.Tx) error { v := get(tx, []byte("l/n")); v[9] ^= 1; return tx.Put([]byte("l/n"), v) }, 6, "the edge"},
		"a body without a leaf": {func(tx kv.Tx) error { return tx.Put(at(7, "b"), get(tx, at(2, "b"))) }, 7, "without a leaf"},
		"an unknown part":       {func(tx kv.Tx) error { return tx.Put(at(4, "x"), nil) }, 4, "unknown record"},
		"an unknown number":     {func(tx kv.Tx) error { return tx.Put(at(0, "l"), nil) }, 0, "unknown record"},
		"an unknown key":        {func(tx kv.Tx) error { return tx.Put([]byte("l/r/z"), nil) }, 6, "unknown record"},
	} {
		s := copyStore(t, w.store)
		must(t, s.Update(t.Context(), c.harm))
		w := world{t, s, w.Ledger}
		_, err := w.verify()
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), fmt.Sprint("entry ", c.seq)) {
			t.Errorf("%s: Verify = %v, want entry %d, %q", name, err, c.seq, c.why)
		}
	}
	if _, err := w.verify(); err != nil {
		t.Errorf("unharmed: %v", err)
	}
}

// sizeRecord is what l/n held when the ledger had size entries.
func sizeRecord(w world, size int64) (v []byte) {
	w.Helper()
	var stored []tlog.Hash
	for _, e := range w.list(0, int(size), "") {
		more, err := tlog.StoredHashes(e.Seq-1, e.Leaf[:], memoryHashes(stored))
		must(w, err)
		stored = append(stored, more...)
	}
	v = binary.BigEndian.AppendUint64(nil, uint64(size))
	for level := range 48 {
		if size>>level&1 == 1 { // the subtree of 1<<level entries that ends where the lower bits begin
			v = append(v, stored[tlog.StoredHashIndex(level, size>>level-1)][:]...)
		}
	}
	return v
}

// Under the seal even a whole record that is put in another's place is found.
func TestVerifyNamesARecordThatDoesNotOpen(t *testing.T) {
	under, secret := kv.Memory(), key.NewSecret()
	w := worldIn(t, kv.Sealed(under, secret), key.Generate[key.Device]())
	w.add("a", "b", "c")
	must(t, under.Update(t.Context(), func(tx kv.Tx) error {
		k := []byte("l/r/\x00\x00\x00\x00\x00\x00\x00\x02b")
		v, err := tx.Get(k)
		must(t, err)
		v[30] ^= 4
		return tx.Put(k, v)
	}))
	_, err := w.verify()
	if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "up to entry 1") || !strings.Contains(err.Error(), "000262") {
		t.Errorf("Verify = %v", err)
	}
}

// rewrite copies the ledger up to but without entry seq, and goes on with other
// bodies: what an owner with all keys can do to her own store.
func rewrite(t *testing.T, w world, device key.Private[key.Device], seq int64, bodies ...string) world {
	t.Helper()
	other := worldIn(t, kv.Memory(), device)
	must(t, other.update(func(tx kv.Tx) error {
		return w.store.View(t.Context(), func(r kv.Reader) error {
			end := []byte("l/r/\x00\x00\x00\x00\x00\x00\x00" + string(rune(seq)))
			err := r.Scan([]byte("l/r/"), nil, func(k, v []byte) (bool, error) {
				if bytes.Compare(k, end) >= 0 {
					return false, nil
				}
				return true, tx.Put(k, v)
			})
			return errors.Join(err, tx.Put([]byte("l/n"), sizeRecord(w, seq-1)))
		})
	}))
	other.add(bodies...)
	if _, err := other.verify(); err != nil {
		t.Fatalf("the rewritten ledger must look sound from inside: %v", err)
	}
	return other
}

func TestFollowFindsAFork(t *testing.T) {
	device := key.Generate[key.Device]()
	w := worldIn(t, kv.Memory(), device)
	w.add("a", "b", "I owe 100", "d")
	h4 := w.head(10)
	w.add("e")
	forged := rewrite(t, w, device, 3, "I owe 1", "d")
	evil4 := forged.head(11)

	kept, err := ledger.Follow(h4, evil4, ledger.Growth{})
	var fork *ledger.ForkError
	if !errors.As(err, &fork) || !errors.Is(err, fault.Conflict) || kept.Root != h4.Root {
		t.Fatalf("Follow = %v, want a ForkError and the old head", err)
	}
	if err := fork.Check(); err != nil || !strings.Contains(fork.Error(), device.Public().String()) {
		t.Errorf("the accusation does not stand: %v, %v", err, fork)
	}
	for name, false := range map[string]*ledger.ForkError{
		"the same head": {A: h4, B: h4},
		"two sizes":     {A: h4, B: w.head(12)},
		"forged":        {A: h4, B: func() ledger.Head { h := evil4; h.Root[0] ^= 1; return h }()},
		"forged first":  {A: func() ledger.Head { h := evil4; h.Root[0] ^= 1; return h }(), B: h4},
	} {
		if false.Check() == nil {
			t.Errorf("a false accusation stands: %s", name)
		}
	}

	forged.add("e", "f")
	evil6 := forged.head(12)
	for name, p := range map[string]ledger.Growth{
		"its own proof": forged.growth(4, 6), "no proof": {}, "a proof of the true ledger": w.growth(4, 5),
	} {
		if kept, err := ledger.Follow(h4, evil6, p); !errors.Is(err, fault.Malformed) || kept.Size != 4 {
			t.Errorf("Follow to a rewritten ledger with %s = %v, want Malformed", name, err)
		}
	}
	if kept, err := ledger.Follow(h4, w.head(12), w.growth(4, 5)); kept.Size != 5 || err != nil {
		t.Errorf("Follow to the true ledger = %d, %v", kept.Size, err)
	}
}

func TestFollowFindsARollback(t *testing.T) {
	device := key.Generate[key.Device]()
	w := worldIn(t, kv.Memory(), device)
	w.add("a", "b")
	old := copyStore(t, w.store)
	h2 := w.head(10)
	w.add("c")
	h3 := w.head(20)
	back := worldIn(t, old, device) // the owner restores yesterday's disk
	kept, err := ledger.Follow(h3, back.head(30), ledger.Growth{})
	var rollback *ledger.RollbackError
	if !errors.As(err, &rollback) || !errors.Is(err, fault.Conflict) || kept.Size != 3 ||
		rollback.Error() != fmt.Sprintf("ledger: %s went back from size 3 to 2", device.Public()) {
		t.Errorf("Follow = %v, want a RollbackError and the larger head", err)
	}
	if kept, err := ledger.Follow(h3, h2, ledger.Growth{}); kept.Size != 3 || err != nil {
		t.Errorf("a head that comes late = %d, %v, want it to be let pass", kept.Size, err)
	}
	back.add("C")
	if _, err := ledger.Follow(h3, back.head(40), back.growth(2, 3)); !errors.As(err, new(*ledger.ForkError)) {
		t.Errorf("going on from yesterday = %v, want a ForkError", err)
	}
}

func TestFollow(t *testing.T) {
	w, stranger := newWorld(t), newWorld(t)
	h0 := w.head(1)
	w.add("a", "b", "c")
	h3 := w.head(3)
	stranger.add("a", "b", "c", "d")
	w.add("d")
	h4 := w.head(4)
	flip := func(h ledger.Head, change func(*ledger.Head)) ledger.Head {
		h.Sig = bytes.Clone(h.Sig)
		change(&h)
		return h
	}
	for name, c := range map[string]struct {
		old, next ledger.Head
		p         ledger.Growth
		size      int64
		ok        bool
	}{
		"first sight":           {ledger.Head{}, h3, ledger.Growth{}, 3, true},
		"from the empty ledger": {h0, h3, w.growth(0, 3), 3, true},
		"one step":              {h3, h4, w.growth(3, 4), 4, true},
		"the same again":        {h3, h3, ledger.Growth{}, 3, true},
		"another proof":         {h3, h4, w.growth(2, 4), 3, false},
		"no proof":              {h3, h4, ledger.Growth{}, 3, false},
		"a cut proof":           {h3, h4, ledger.Growth{Old: 3, New: 4, Hashes: w.growth(3, 4).Hashes[1:]}, 3, false},
		"a proof for more":      {h3, h4, ledger.Growth{Old: 3, New: 5, Hashes: w.growth(3, 4).Hashes}, 3, false},
		"an endless proof":      {h3, h4, ledger.Growth{Old: 3, New: 4, Hashes: make([][32]byte, 100)}, 3, false},
		"another device":        {h3, stranger.head(5), stranger.growth(3, 4), 3, false},
		"old is not signed":     {flip(h3, func(h *ledger.Head) { h.Root[0] ^= 1 }), h4, w.growth(3, 4), 3, false},
		"flipped size":          {h3, flip(h4, func(h *ledger.Head) { h.Size ^= 1 }), w.growth(3, 4), 3, false},
		"flipped root":          {h3, flip(h4, func(h *ledger.Head) { h.Root[31] ^= 1 }), w.growth(3, 4), 3, false},
		"flipped time":          {h3, flip(h4, func(h *ledger.Head) { h.AtMS ^= 1 }), w.growth(3, 4), 3, false},
		"flipped device":        {h3, flip(h4, func(h *ledger.Head) { h.Device[5] ^= 1 }), w.growth(3, 4), 3, false},
		"flipped signature":     {h3, flip(h4, func(h *ledger.Head) { h.Sig[40] ^= 1 }), w.growth(3, 4), 3, false},
		"no signature":          {h3, flip(h4, func(h *ledger.Head) { h.Sig = nil }), w.growth(3, 4), 3, false},
		"negative size":         {h3, flip(h4, func(h *ledger.Head) { h.Size = -1 }), w.growth(3, 4), 3, false},
		"negative time":         {h3, flip(h4, func(h *ledger.Head) { h.AtMS = -1 }), w.growth(3, 4), 3, false},
		"unsigned first sight":  {ledger.Head{}, flip(h4, func(h *ledger.Head) { h.Sig[1] ^= 1 }), ledger.Growth{}, 0, false},
	} {
		kept, err := ledger.Follow(c.old, c.next, c.p)
		if kept.Size != c.size || (err == nil) != c.ok {
			t.Errorf("%s: Follow = %d, %v", name, kept.Size, err)
		}
		if !c.ok && !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want Malformed: it accuses nobody", name, err)
		}
	}
	if later := w.head(9); later.AtMS != 9 {
		t.Error("the head is not dated")
	} else if kept, err := ledger.Follow(h4, later, ledger.Growth{}); kept.AtMS != 9 || err != nil {
		t.Errorf("nothing new: kept the head of %d, %v, want the fresher one", kept.AtMS, err)
	}
}

func TestBlindedHeads(t *testing.T) {
	w := newWorld(t)
	w.add("a", "b", "c")
	salt := [16]byte{7}
	h3 := w.head(1)
	b := ledger.Blind(h3, salt)
	if b == ledger.Blind(h3, [16]byte{8}) || b == ledger.Blind(w.head(1), [16]byte{}) {
		t.Error("the salt does not matter")
	}
	w.add("d", "e")
	now, p := w.head(2), w.growth(3, 5)
	must(t, ledger.Unblind(b, salt, h3.Root, now, p))
	forged := now
	forged.Root[0] ^= 1
	wrong := h3.Root
	wrong[0] ^= 1
	for name, err := range map[string]error{
		"another salt": ledger.Unblind(b, [16]byte{8}, h3.Root, now, p),
		"another root": ledger.Unblind(b, salt, wrong, now, p),
		"another size": ledger.Unblind(b, salt, h3.Root, now, w.growth(2, 5)),
		"no proof":     ledger.Unblind(b, salt, h3.Root, now, ledger.Growth{Old: 3, New: 5}),
		"an unsigned":  ledger.Unblind(b, salt, h3.Root, forged, p),
		"another ledger": func() error {
			o := newWorld(t)
			o.add("a", "b", "c", "d", "e")
			return ledger.Unblind(b, salt, h3.Root, o.head(2), p)
		}(),
	} {
		if !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want Malformed", name, err)
		}
	}
}

func TestProofsRefuse(t *testing.T) {
	w := newWorld(t)
	w.add("a", "b", "c", "d", "e")
	h := w.head(1)
	w.view(func(r kv.Reader) error {
		p, err := w.Prove(r, 3, 5)
		must(t, err)
		e := w.get(3)
		must(t, ledger.CheckEntry(h, e, p))
		forged, other, moved, cut := h, e, e, p
		forged.Sig = make([]byte, 64)
		other.Body = []byte("C")
		moved.Seq = 2
		cut.Hashes = p.Hashes[1:]
		for name, err := range map[string]error{
			"another body":   ledger.CheckEntry(h, other, p),
			"another number": ledger.CheckEntry(h, moved, p),
			"another entry":  ledger.CheckProof(h, w.get(2).Leaf, p),
			"another size":   ledger.CheckProof(h, e.Leaf, ledger.Proof{Seq: 3, Size: 4, Hashes: p.Hashes}),
			"beyond":         ledger.CheckProof(h, e.Leaf, ledger.Proof{Seq: 6, Size: 5, Hashes: p.Hashes}),
			"number 0":       ledger.CheckProof(h, e.Leaf, ledger.Proof{Seq: 0, Size: 5, Hashes: p.Hashes}),
			"a cut proof":    ledger.CheckProof(h, e.Leaf, cut),
			"endless":        ledger.CheckProof(h, e.Leaf, ledger.Proof{Seq: 3, Size: 5, Hashes: make([][32]byte, 99)}),
			"not signed":     ledger.CheckProof(forged, e.Leaf, p),
			"negative":       ledger.CheckGrowth(h.Root, h.Root, ledger.Growth{Old: -1, New: 5}, 5),
			"backwards":      ledger.CheckGrowth(h.Root, h.Root, ledger.Growth{Old: 6, New: 5}, 5),
			"from nothing":   ledger.CheckGrowth([32]byte{}, h.Root, ledger.Growth{New: 5}, 5),
			"to nothing":     ledger.CheckGrowth(newWorld(t).head(1).Root, h.Root, ledger.Growth{}, 0),
		} {
			if !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: %v, want Malformed", name, err)
			}
		}
		_, e1 := w.Prove(r, 6, 5)
		_, e2 := w.Prove(r, 0, 5)
		_, e3 := w.Prove(r, 1, 6)
		_, e4 := w.Prove(r, 3, 2)
		_, e5 := w.ProveGrowth(r, 3, 6)
		_, e6 := w.ProveGrowth(r, 4, 3)
		_, e7 := w.ProveGrowth(r, -1, 3)
		_, e8 := w.RootAt(r, 6)
		_, e9 := w.RootAt(r, -1)
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8, e9} {
			if !errors.Is(err, fault.NotFound) {
				t.Errorf("refusal %d = %v, want NotFound", i+1, err)
			}
		}
		if _, err := w.Head(r, -1); !errors.Is(err, fault.Malformed) {
			t.Errorf("Head before 1970 = %v", err)
		}
		return nil
	})
}

// Whatever is appended, shredded, aborted and reopened: the ledger verifies, every
// proof checks, and no single changed byte goes unnoticed.
func TestTheLedgerHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		device := key.Generate[key.Device]()
		w := worldIn(t, kv.Memory(), device)
		var bodies []string // by number - 1; "-" when shredded
		abort := errors.New("abort")
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			added, gone := []string(nil), int64(0)
			for range rapid.IntRange(0, 4).Draw(rt, "appends") {
				added = append(added, rapid.StringN(0, 20, 40).Draw(rt, "body")+"+")
			}
			all := int64(len(bodies) + len(added))
			if all > 0 && rapid.Bool().Draw(rt, "shred") {
				gone = rapid.Int64Range(1, all).Draw(rt, "which")
			}
			aborts := rapid.IntRange(0, 3).Draw(rt, "abort") == 0
			err := w.update(func(tx kv.Tx) error {
				for _, b := range added {
					if _, err := w.Append(tx, "note", int64(len(b)), []byte(b)); err != nil {
						return err
					}
				}
				if gone > 0 {
					must(t, w.Shred(tx, gone))
				}
				if aborts {
					return abort
				}
				return nil
			})
			if aborts != errors.Is(err, abort) || (!aborts && err != nil) {
				rt.Fatal(err)
			}
			if !aborts {
				bodies = append(bodies, added...)
				if gone > 0 {
					bodies[gone-1] = "-"
				}
			}
			if rapid.Bool().Draw(rt, "reopen") {
				w = worldIn(t, w.store, device)
			}
		}
		checkAll(rt, w, bodies)
		checkTamper(rt, w)
	})
}

func checkAll(rt *rapid.T, w world, bodies []string) {
	rep, err := w.verify()
	if err != nil || rep.Entries != int64(len(bodies)) {
		rt.Fatalf("Verify = %+v, %v, want %d entries", rep, err, len(bodies))
	}
	h := w.head(1)
	if rep.Root != h.Root {
		rt.Fatalf("Verify computes root %x, the head says %x", rep.Root, h.Root)
	}
	entries := w.list(0, 0, "")
	roots := [][32]byte{w.emptyRoot()}
	var stored []tlog.Hash // the tree once more, by tlog alone
	for i, e := range entries {
		if body := bodies[i]; e.Seq != int64(i+1) || e.Shredded != (body == "-") || (!e.Shredded && string(e.Body) != body) {
			rt.Fatalf("entry %d is %+v, want body %q", i+1, e, body)
		}
		more, err := tlog.StoredHashes(int64(i), e.Leaf[:], memoryHashes(stored))
		if err != nil {
			rt.Fatal(err)
		}
		stored = append(stored, more...)
		root, err := tlog.TreeHash(int64(i+1), memoryHashes(stored))
		if err != nil {
			rt.Fatal(err)
		}
		roots = append(roots, root)
	}
	w.view(func(r kv.Reader) error {
		n := int64(len(entries))
		for size := range n + 1 {
			if root, err := w.RootAt(r, size); root != roots[size] || err != nil {
				rt.Fatalf("RootAt(%d) = %x, %v, want %x", size, root, err, roots[size])
			}
			g, err := w.ProveGrowth(r, size, n)
			if err == nil {
				err = ledger.CheckGrowth(roots[size], h.Root, g, n)
			}
			if err != nil {
				rt.Fatalf("growth from %d to %d: %v", size, n, err)
			}
		}
		for _, e := range entries {
			p, err := w.Prove(r, e.Seq, n)
			if err == nil {
				err = ledger.CheckEntry(h, e, p)
			}
			if err != nil {
				rt.Fatalf("proof of entry %d: %v", e.Seq, err)
			}
		}
		return nil
	})
}

func (w world) emptyRoot() (root [32]byte) {
	w.view(func(r kv.Reader) (err error) { root, err = w.RootAt(r, 0); return err })
	return root
}

func memoryHashes(stored []tlog.Hash) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	}
}

// checkTamper changes one byte of one record, or drops one, and looks that Verify notices.
func checkTamper(rt *rapid.T, w world) {
	s := copyStore(w, w.store)
	var keys [][]byte
	must(w, s.View(context.Background(), func(r kv.Reader) error {
		return r.Scan([]byte("l/"), nil, func(k, _ []byte) (bool, error) {
			keys = append(keys, bytes.Clone(k))
			return true, nil
		})
	}))
	k := keys[rapid.IntRange(0, len(keys)-1).Draw(rt, "record")]
	what := ""
	must(w, s.Update(context.Background(), func(tx kv.Tx) error {
		v, err := tx.Get(k)
		if err != nil {
			return err
		}
		i := rapid.IntRange(-1, len(v)-1).Draw(rt, "byte")
		if i < 0 {
			what = "dropping"
			return tx.Delete(k)
		}
		what = fmt.Sprint("changing byte ", i, " of ", len(v), " of")
		v[i] ^= byte(rapid.IntRange(1, 255).Draw(rt, "change"))
		return tx.Put(k, v)
	}))
	if _, err := (world{w.TB, s, w.Ledger}).verify(); err == nil {
		rt.Fatalf("%s %q goes unnoticed", what, k)
	}
}
