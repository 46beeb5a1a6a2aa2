package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// bump adds 1 to the counter under key.
func bump(tx kv.Tx, key string) error {
	var n uint64
	switch old, err := tx.Get([]byte(key)); {
	case err == nil:
		n = binary.BigEndian.Uint64(old)
	case !errors.Is(err, fault.NotFound):
		return err
	}
	return tx.Put([]byte(key), binary.BigEndian.AppendUint64(nil, n+1))
}

// side runs n functions side by side and fails the test with their errors.
func side(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	must(t, errors.Join(errs...))
}

func (s suite) counters(t *testing.T) {
	db := s.fresh(t)
	const workers, rounds = 8, 25
	side(t, workers, func(i int) error {
		for range rounds {
			err := db.Update(t.Context(), func(tx kv.Tx) error {
				return errors.Join(bump(tx, "shared"), bump(tx, fmt.Sprintf("own/%d", i)))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	must(t, db.View(t.Context(), func(r kv.Reader) error {
		v, err := r.Get([]byte("shared"))
		if n := binary.BigEndian.Uint64(v); n != workers*rounds || err != nil {
			t.Errorf("the shared counter stands at %d, %v, want %d", n, err, workers*rounds)
		}
		for i := range workers {
			v, err := r.Get(fmt.Appendf(nil, "own/%d", i))
			if n := binary.BigEndian.Uint64(v); n != rounds || err != nil {
				t.Errorf("counter %d stands at %d, %v, want %d", i, n, err, rounds)
			}
		}
		return nil
	}))
}

// phantoms lets everybody take a seat as long as fewer than 3 are taken. Whoever
// only checks the keys that it has read would let too many in.
func (s suite) phantoms(t *testing.T) {
	db := s.fresh(t)
	const seats = 3
	side(t, 12, func(i int) error {
		return db.Update(t.Context(), func(tx kv.Tx) error {
			taken, err := list(tx, "seat/", "")
			if err != nil || len(taken) >= seats {
				return err
			}
			return tx.Put(fmt.Appendf(nil, "seat/%02d", i), nil)
		})
	})
	if got := all(t, db, "seat/"); len(got) != seats {
		t.Errorf("%d seats were taken of %d: %q", len(got), seats, got)
	}
}

func (s suite) cancelled(t *testing.T) {
	db := s.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Update(ctx, func(tx kv.Tx) error {
		cancel()
		return tx.Put([]byte("a"), []byte("1"))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update that was cancelled before its commit = %v, want Canceled", err)
	}
	ran := false
	if err := db.Update(ctx, func(kv.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Update with a cancelled context = %v, ran = %v", err, ran)
	}
	if err := db.View(ctx, func(kv.Reader) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("View with a cancelled context = %v, ran = %v", err, ran)
	}
	if _, err := get(t, db, "a"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a cancelled Update was kept: %v", err)
	}
}

func (s suite) panics(t *testing.T) {
	db := s.fresh(t)
	func() {
		defer func() {
			if recover() != "oops" {
				t.Error("the function's panic did not come through")
			}
		}()
		_ = db.Update(t.Context(), func(tx kv.Tx) error {
			must(t, tx.Put([]byte("a"), []byte("1")))
			return tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { panic("oops") })
		})
	}()
	if got := all(t, db, ""); len(got) != 0 {
		t.Errorf("an Update that panicked kept %q", got)
	}
	put(t, db, "a", "2")
	want(t, db, "a", "2")
}

func (s suite) stale(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "a", "1")
	var kept kv.Tx
	var read kv.Reader
	must(t, db.Update(t.Context(), func(tx kv.Tx) error { kept = tx; return nil }))
	must(t, db.View(t.Context(), func(r kv.Reader) error { read = r; return nil }))
	never := func(_, _ []byte) (bool, error) { t.Error("Scan still runs"); return false, nil }
	for name, op := range map[string]func() error{
		"Get":           func() error { _, err := read.Get([]byte("a")); return err },
		"Scan":          func() error { return read.Scan(nil, nil, never) },
		"Get of a Tx":   func() error { _, err := kept.Get([]byte("a")); return err },
		"Scan of a Tx":  func() error { return kept.Scan(nil, nil, never) },
		"Put of a Tx":   func() error { return kept.Put([]byte("b"), nil) },
		"Delete of one": func() error { return kept.Delete([]byte("a")) },
	} {
		if op() == nil {
			t.Errorf("%s works after the transaction has ended", name)
		}
	}
	same(t, all(t, db, ""), "a=1")
}

func (s suite) durable(t *testing.T) {
	db := s.open(t)
	for i := range 50 {
		put(t, db, fmt.Sprintf("k%02d", i), fmt.Sprint(i), "last", fmt.Sprint(i))
	}
	must(t, db.Update(t.Context(), func(tx kv.Tx) error { return tx.Delete([]byte("k07")) }))
	before := all(t, db, "")
	db = s.reopen(t, db)
	same(t, all(t, db, ""), before...)
	if len(before) != 50 {
		t.Errorf("%d keys, want 50", len(before))
	}
	put(t, db, "after", "1")
	db = s.reopen(t, db)
	want(t, db, "after", "1")
	want(t, db, "last", "49")
	must(t, db.Close())
}

func (s suite) closed(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "a", "1")
	side(t, 3, func(int) error { return db.Close() })
	for name, err := range map[string]error{
		"View":   db.View(t.Context(), func(kv.Reader) error { t.Error("View ran"); return nil }),
		"Update": db.Update(t.Context(), func(kv.Tx) error { t.Error("Update ran"); return nil }),
	} {
		if !errors.Is(err, fault.Offline) {
			t.Errorf("%s of a closed store = %v, want Offline", name, err)
		}
	}
	must(t, db.Close())
	_ = db.Size()
}
