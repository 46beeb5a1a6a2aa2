package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A world is a store with a ledger in it.
type world struct {
	testing.TB
	store kv.Store
	*ledger.Ledger
}

func newWorld(t testing.TB) world { return worldIn(t, kv.Memory(), key.Generate[key.Device]()) }

func worldIn(t testing.TB, s kv.Store, device key.Private[key.Device]) world {
	t.Helper()
	l, err := ledger.Open(context.Background(), s, device)
	must(t, err)
	return world{t, s, l}
}

func (w world) update(fn func(kv.Tx) error) error { return w.store.Update(context.Background(), fn) }

func (w world) view(fn func(kv.Reader) error) {
	w.Helper()
	must(w, w.store.View(context.Background(), fn))
}

// add appends entries of kind "note" with these bodies, one transaction for all.
func (w world) add(bodies ...string) {
	w.Helper()
	must(w, w.update(func(tx kv.Tx) error {
		for i, b := range bodies {
			if _, err := w.Append(tx, "note", int64(1000+i), []byte(b)); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (w world) shred(seq int64) {
	w.Helper()
	must(w, w.update(func(tx kv.Tx) error { return w.Shred(tx, seq) }))
}

func (w world) verify() (rep ledger.Report, err error) {
	err = w.store.View(context.Background(), func(r kv.Reader) (err error) {
		rep, err = w.Verify(r)
		return err
	})
	return rep, err
}

func (w world) head(atMS int64) (h ledger.Head) {
	w.Helper()
	w.view(func(r kv.Reader) (err error) { h, err = w.Head(r, atMS); return err })
	return h
}

func (w world) growth(from, to int64) (p ledger.Growth) {
	w.Helper()
	w.view(func(r kv.Reader) (err error) { p, err = w.ProveGrowth(r, from, to); return err })
	return p
}

func (w world) list(after int64, limit int, kind string) (out []ledger.Entry) {
	w.Helper()
	w.view(func(r kv.Reader) (err error) { out, err = w.List(r, after, limit, kind); return err })
	return out
}

func (w world) get(seq int64) (e ledger.Entry) {
	w.Helper()
	w.view(func(r kv.Reader) (err error) { e, err = w.Get(r, seq); return err })
	return e
}

// copyStore returns a store in memory with the same content.
func copyStore(t testing.TB, from kv.Store) kv.Store {
	t.Helper()
	to := kv.Memory()
	must(t, to.Update(context.Background(), func(tx kv.Tx) error {
		return from.View(context.Background(), func(r kv.Reader) error {
			return r.Scan(nil, nil, func(k, v []byte) (bool, error) { return true, tx.Put(k, v) })
		})
	}))
	return to
}

func TestAppendListGet(t *testing.T) {
	w := newWorld(t)
	if got := w.list(0, 10, ""); len(got) != 0 {
		t.Fatalf("an empty ledger lists %v", got)
	}
	var seqs []int64
	body := []byte("0")
	must(t, w.update(func(tx kv.Tx) error {
		seqs = nil
		for i := range 10 {
			body[0] = '0' + byte(i) // reused, as a caller may
			seq, err := w.Append(tx, []string{"grant", "offer.open"}[i%2], int64(100*i), body)
			if err != nil {
				return err
			}
			seqs = append(seqs, seq)
		}
		return nil
	}))
	if fmt.Sprint(seqs) != "[1 2 3 4 5 6 7 8 9 10]" {
		t.Fatalf("numbers %v", seqs)
	}
	show := func(es []ledger.Entry) (s string) {
		for _, e := range es {
			s += fmt.Sprintf("%d%s%s@%d ", e.Seq, e.Kind[:1], e.Body, e.AtMS)
		}
		return s
	}
	for _, c := range []struct {
		after int64
		limit int
		kind  string
		want  string
	}{
		{0, 3, "", "1g0@0 2o1@100 3g2@200 "},
		{3, 2, "", "4o3@300 5g4@400 "},
		{-5, 1, "", "1g0@0 "},
		{9, 0, "", "10o9@900 "},
		{10, 5, "", ""},
		{1 << 40, 5, "", ""},
		{0, 2, "grant", "1g0@0 3g2@200 "},
		{4, 100, "offer.open", "6o5@500 8o7@700 10o9@900 "},
		{0, 9, "none", ""},
	} {
		if got := show(w.list(c.after, c.limit, c.kind)); got != c.want {
			t.Errorf("List(%d, %d, %q) = %q, want %q", c.after, c.limit, c.kind, got, c.want)
		}
	}
	if e := w.get(7); show([]ledger.Entry{e}) != "7g6@600 " || e.Commitment() != e.Leaf {
		t.Errorf("Get(7) = %+v", e)
	}
	w.view(func(r kv.Reader) error {
		for _, seq := range []int64{-1, 0, 11, 1 << 62} {
			if _, err := w.Get(r, seq); !errors.Is(err, fault.NotFound) {
				t.Errorf("Get(%d) = %v, want NotFound", seq, err)
			}
		}
		return nil
	})
}

func TestListIsBounded(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.add(strings.Split(strings.Repeat("x", ledger.MaxList/2), "")...)
	}
	for _, limit := range []int{-1, 0, ledger.MaxList, ledger.MaxList + 1, 1 << 40} {
		if got := len(w.list(0, limit, "")); got != ledger.MaxList {
			t.Errorf("List with limit %d gives %d entries", limit, got)
		}
	}
}

// The leaf is defined in the package comment; this is written from the comment.
func TestTheLeafIsWhatTheCommentSays(t *testing.T) {
	w := newWorld(t)
	w.add("first", "second")
	e := w.get(2)
	lp := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	text := bytes.Join([][]byte{e.Salt[:], {0, 0, 0, 0, 0, 0, 0, 2}, {0, 0, 0, 0, 0, 0, 0x03, 0xe9}, lp("note"), []byte("second")}, nil)
	want := seal.Digest("hark/1/ledger-leaf", text)
	if e.Leaf != want {
		t.Errorf("leaf %x, want %x", e.Leaf, want)
	}
	one := w.get(1)
	root := tlog.NodeHash(tlog.RecordHash(one.Leaf[:]), tlog.RecordHash(e.Leaf[:]))
	if h := w.head(1); tlog.Hash(h.Root) != root {
		t.Errorf("root %x, want %x", h.Root, root)
	}
	if one.Salt == e.Salt || one.Salt == [32]byte{} {
		t.Error("salts are not random")
	}
}

func TestAppendRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		kind string
		at   int64
		body []byte
	}{
		"no kind":             {"", 1, nil},
		"long kind":           {strings.Repeat("k", ledger.MaxKind+1), 1, nil},
		"capitals":            {"Grant", 1, nil},
		"a space":             {"a b", 1, nil},
		"not ASCII":           {"ünit", 1, nil},
		"a line break":        {"a\n", 1, nil},
		"before 1970":         {"grant", -1, nil},
		"a body that is long": {"grant", 1, make([]byte, ledger.MaxBody+1)},
	} {
		err := w.update(func(tx kv.Tx) error { _, err := w.Append(tx, c.kind, c.at, c.body); return err })
		if !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want Malformed", name, err)
		}
	}
	must(t, w.update(func(tx kv.Tx) error {
		_, err := w.Append(tx, strings.Repeat("k", ledger.MaxKind), 0, make([]byte, ledger.MaxBody))
		return err
	}))
	if rep, err := w.verify(); rep.Entries != 1 || err != nil {
		t.Errorf("Verify = %+v, %v", rep, err)
	}
}

func TestAnAbortedTransactionLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	w.add("a", "b", "c")
	before := w.head(1)
	stop := errors.New("stop")
	err := w.update(func(tx kv.Tx) error {
		for range 5 {
			if _, err := w.Append(tx, "note", 1, nil); err != nil {
				return err
			}
		}
		if h, err := w.Head(tx, 1); h.Size != 8 || err != nil {
			t.Errorf("a Head inside the transaction = %d, %v, want its own appends too", h.Size, err)
		}
		return errors.Join(w.Shred(tx, 2), stop)
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if after := w.head(1); after.Size != before.Size || after.Root != before.Root {
		t.Errorf("head %d %x became %d %x", before.Size, before.Root, after.Size, after.Root)
	}
	if rep, err := w.verify(); rep.Entries != 3 || rep.Shredded != 0 || err != nil {
		t.Errorf("Verify = %+v, %v", rep, err)
	}
	w.add("d")
	if e := w.get(4); string(e.Body) != "d" {
		t.Errorf("entry 4 is %q", e.Body)
	}
}

// Whatever write fails, the ledger and what lies beside it stay together.
func TestEveryPointOfFailureKeepsBothOrNeither(t *testing.T) {
	failures := 0
	for n := 1; ; n++ {
		w := newWorld(t)
		w.add("a", "b", "c")
		w.store = storetest.Twice(storetest.Failing(w.store, n))
		err := w.update(func(tx kv.Tx) error {
			_, err := w.Append(tx, "grant", 1, []byte("x"))
			return errors.Join(err, tx.Put([]byte("market/grant"), nil), w.Shred(tx, 1))
		})
		rep, verr := w.verify()
		must(t, verr)
		gone := w.store.View(t.Context(), func(r kv.Reader) error { _, err := r.Get([]byte("market/grant")); return err })
		if err == nil && gone == nil && rep.Entries == 4 && rep.Shredded == 1 {
			if failures++; failures > 8 {
				break // past the last step
			}
			continue
		}
		if !errors.Is(err, storetest.ErrInjected) || gone == nil || rep.Entries != 3 || rep.Shredded != 0 {
			t.Fatalf("step %d: %v, market: %v, ledger: %+v", n, err, gone, rep)
		}
	}
}

func TestShred(t *testing.T) {
	w := newWorld(t)
	w.add("secret one", "two", "three")
	h := w.head(1)
	leaf := w.get(1).Leaf
	w.shred(1)
	w.shred(1) // again: nothing
	if e := w.get(1); !e.Shredded || e.Body != nil || e.Kind != "" || e.AtMS != 0 || e.Salt != [32]byte{} || e.Leaf != leaf {
		t.Errorf("the shredded entry is %+v", e)
	}
	if after := w.head(1); after.Root != h.Root {
		t.Error("shredding changed the root")
	}
	rep, err := w.verify()
	if rep.Entries != 3 || rep.Shredded != 1 || rep.Root != h.Root || rep.FirstMS != 1001 || rep.LastMS != 1002 || err != nil {
		t.Errorf("Verify = %+v, %v", rep, err)
	}
	w.view(func(r kv.Reader) error {
		return r.Scan(nil, nil, func(_, v []byte) (bool, error) {
			if bytes.Contains(v, []byte("secret one")) {
				t.Error("the body is still there")
			}
			return true, nil
		})
	})
	if got := w.list(0, 10, "note"); len(got) != 2 {
		t.Errorf("List by kind shows %d entries, want the 2 that still have one", len(got))
	}
	err = w.update(func(tx kv.Tx) error { return w.Shred(tx, 4) })
	if !errors.Is(err, fault.NotFound) {
		t.Errorf("Shred of nothing = %v, want NotFound", err)
	}
	w.view(func(r kv.Reader) error {
		p, err := w.Prove(r, 1, 3)
		must(t, err)
		return errors.Join(ledger.CheckProof(h, leaf, p), ledger.CheckEntry(h, w.get(1), p))
	})
}

func TestOpenLooksAtTheTop(t *testing.T) {
	device := key.Generate[key.Device]()
	w := worldIn(t, kv.Memory(), device)
	w.add("a", "b", "c")
	again := worldIn(t, w.store, device)
	again.add("d")
	if h := w.head(1); h.Size != 4 || h.Device != device.Public() || w.Device() != h.Device {
		t.Errorf("head %+v", h)
	}
	open := func(s kv.Store, d key.Private[key.Device]) error {
		_, err := ledger.Open(t.Context(), s, d)
		return err
	}
	if err := open(w.store, key.Generate[key.Device]()); !errors.Is(err, fault.Denied) {
		t.Errorf("Open with another device's key = %v, want Denied", err)
	}
	if err := open(w.store, key.Private[key.Device]{}); !errors.Is(err, fault.Malformed) {
		t.Errorf("Open without a key = %v, want Malformed", err)
	}
	for name, harm := range map[string]func(kv.Tx) error{
		"no owner":     func(tx kv.Tx) error { return tx.Delete([]byte("l/d")) },
		"no size":      func(tx kv.Tx) error { return tx.Delete([]byte("l/n")) },
		"a short size": func(tx kv.Tx) error { return tx.Put([]byte("l/n"), []byte{4}) },
		"a huge size":  func(tx kv.Tx) error { return tx.Put([]byte("l/n"), bytes.Repeat([]byte{0xff}, 8)) },
		"too large": func(tx kv.Tx) error {
			return tx.Put([]byte("l/n"), append([]byte{0, 0, 0, 0, 0, 0, 0, 8}, make([]byte, 32)...))
		},
		"another edge": func(tx kv.Tx) error {
			return tx.Put([]byte("l/n"), append([]byte{0, 0, 0, 0, 0, 0, 0, 4}, make([]byte, 32)...))
		},
		"a missing leaf": func(tx kv.Tx) error { return tx.Delete([]byte("l/r/\x00\x00\x00\x00\x00\x00\x00\x04l")) },
	} {
		s := copyStore(t, w.store)
		must(t, s.Update(t.Context(), harm))
		if err := open(s, device); err == nil {
			t.Errorf("%s: Open works", name)
		}
	}
	dir := t.TempDir()
	s, err := kv.Open(dir)
	must(t, err)
	worldIn(t, s, device).add("a")
	must(t, s.Close())
	s, err = kv.OpenReadOnly(dir)
	must(t, err)
	defer s.Close()
	if rep, err := worldIn(t, s, device).verify(); rep.Entries != 1 || err != nil {
		t.Errorf("Verify of a store opened for reading = %+v, %v", rep, err)
	}
}

func TestConcurrentAppendsLeaveNoGap(t *testing.T) {
	s, err := kv.Open(t.TempDir())
	must(t, err)
	defer s.Close()
	w := worldIn(t, kv.Sealed(s, key.NewSecret()), key.Generate[key.Device]())
	const workers, each = 4, 10
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		wg.Go(func() {
			for range each {
				errs[i] = errors.Join(errs[i], w.update(func(tx kv.Tx) error {
					_, err := w.Append(tx, "note", 1, fmt.Append(nil, i))
					return err
				}))
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if rep, err := w.verify(); rep.Entries != workers*each || err != nil {
		t.Errorf("Verify = %+v, %v", rep, err)
	}
}
