// Package storetest holds every kv.Store to the same promises, and breaks them on
// purpose for the tests of the stores above. It is imported by tests alone.
//
//   - [KV] is the conformance suite of kv.Store.
//   - [Failing] is a Store whose n-th write fails.
//   - [Twice] is a Store that runs the function of every Update twice.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A suite is what the checks of KV share.
type suite struct {
	open   func(testing.TB) kv.Store
	reopen func(testing.TB, kv.Store) kv.Store
}

// KV runs the promises of kv.Store. open gives an empty store each time; reopen
// gives the same store again, as after a restart (for one in memory: the store
// itself). The suite closes what it got last.
func KV(t *testing.T, open func(testing.TB) kv.Store, reopen func(testing.TB, kv.Store) kv.Store) {
	s := suite{open, reopen}
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"what is put is found, what is deleted is not", s.basics},
		{"an Update is all or nothing", s.allOrNothing},
		{"a refused write fails its Update", s.refusedWrite},
		{"a transaction sees its own writes", s.ownWrites},
		{"a View is a snapshot", s.snapshot},
		{"Scan goes in order, after a key, within a prefix", s.scan},
		{"Scan shows the state in which it began", s.scanWhileWriting},
		{"nothing handed over is shared", s.noAliasing},
		{"keys have bounds", s.keys},
		{"a transaction has bounds", s.bounds},
		{"concurrent Updates lose nothing", s.counters},
		{"concurrent Updates cannot slip past a Scan", s.phantoms},
		{"a cancelled context stops an Update", s.cancelled},
		{"a panic leaves the store whole", s.panics},
		{"a transaction ends with its function", s.stale},
		{"what was kept is there after a restart", s.durable},
		{"a Purge takes a prefix and nothing else", s.purge},
		{"a closed store is offline", s.closed},
	} {
		t.Run(c.name, c.run)
	}
}

func (s suite) basics(t *testing.T) {
	db := s.fresh(t)
	if _, err := get(t, db, "a"); !errors.Is(err, fault.NotFound) {
		t.Fatalf("Get of nothing = %v, want NotFound", err)
	}
	put(t, db, "a", "1", "b", "2", "empty", "")
	want(t, db, "a", "1")
	want(t, db, "empty", "")
	put(t, db, "a", "3")
	want(t, db, "a", "3")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error {
		return errors.Join(tx.Delete([]byte("a")), tx.Delete([]byte("never there")))
	}))
	if _, err := get(t, db, "a"); !errors.Is(err, fault.NotFound) {
		t.Errorf("Get of a deleted key = %v, want NotFound", err)
	}
	want(t, db, "b", "2")
	if db.Size() < 0 {
		t.Errorf("Size = %d", db.Size())
	}
}

func (s suite) purge(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "a", "0", "b", "0", "b/1", "1", "b/2", "2", "b/3", "3", "b0", "4", "c/1", "5")
	put(t, db, "b/1", "again")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error { return tx.Delete([]byte("b/2")) }))
	must(t, db.Purge(t.Context(), []byte("b/"), []byte("c/"), []byte("never there")))
	must(t, db.Purge(t.Context(), []byte("b/"))) // once more, as after a crash
	must(t, db.Purge(t.Context()))
	var keys []string
	must(t, db.View(t.Context(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, _ []byte) (bool, error) { keys = append(keys, string(k)); return true, nil })
	}))
	if !slices.Equal(keys, []string{"a", "b", "b0"}) {
		t.Errorf("left are %q", keys)
	}
	if err := db.Purge(t.Context(), []byte("a"), nil); !errors.Is(err, fault.Malformed) {
		t.Errorf("an empty prefix: %v", err)
	}
	want(t, db, "a", "0")
	put(t, db, "b/1", "anew")
	want(t, db, "b/1", "anew")
	db = s.reopen(t, db)
	want(t, db, "b/1", "anew")
	if _, err := get(t, db, "b/3"); !errors.Is(err, fault.NotFound) {
		t.Errorf("after a restart: %v", err)
	}
}

func (s suite) allOrNothing(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "old", "1")
	stop := errors.New("stop")
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		must(t, tx.Put([]byte("new"), []byte("2")))
		must(t, tx.Put([]byte("old"), []byte("2")))
		must(t, tx.Delete([]byte("old")))
		return stop
	})
	if err != stop { //nolint:errorlint // unchanged means the very same
		t.Fatalf("Update = %v, want the function's own error, unchanged", err)
	}
	if err := db.View(t.Context(), func(kv.Reader) error { return stop }); err != stop { //nolint:errorlint // unchanged means the very same
		t.Fatalf("View = %v, want the function's own error, unchanged", err)
	}
	want(t, db, "old", "1")
	if _, err := get(t, db, "new"); !errors.Is(err, fault.NotFound) {
		t.Errorf("Get after a failed Update = %v, want NotFound", err)
	}
}

func (s suite) refusedWrite(t *testing.T) {
	db := s.fresh(t)
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		must(t, tx.Put([]byte("a"), []byte("1")))
		_ = tx.Put(nil, []byte("1"))
		return nil // the careless caller
	})
	if !errors.Is(err, fault.Malformed) {
		t.Errorf("Update = %v, want Malformed", err)
	}
	if _, err := get(t, db, "a"); !errors.Is(err, fault.NotFound) {
		t.Errorf("half an Update was kept: %v", err)
	}
}

func (s suite) ownWrites(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "p/1", "old", "p/2", "old", "p/3", "old")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error {
		must(t, tx.Put([]byte("p/0"), []byte("new")))
		must(t, tx.Put([]byte("p/2"), []byte("new")))
		must(t, tx.Delete([]byte("p/3")))
		must(t, tx.Delete([]byte("p/4")))
		must(t, tx.Put([]byte("p/5"), []byte("new")))
		if v, err := tx.Get([]byte("p/2")); string(v) != "new" || err != nil {
			t.Errorf("Get = %q, %v", v, err)
		}
		if _, err := tx.Get([]byte("p/3")); !errors.Is(err, fault.NotFound) {
			t.Errorf("Get of what the transaction deleted = %v", err)
		}
		got, err := list(tx, "p/", "")
		if err != nil {
			return err
		}
		same(t, got, "p/0=new", "p/1=old", "p/2=new", "p/5=new")
		return nil
	}))
	same(t, all(t, db, "p/"), "p/0=new", "p/1=old", "p/2=new", "p/5=new")
}

func (s suite) snapshot(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "a", "1")
	must(t, db.View(t.Context(), func(r kv.Reader) error {
		put(t, db, "a", "2", "b", "2")
		if v, err := r.Get([]byte("a")); string(v) != "1" || err != nil {
			t.Errorf("a View saw a later write: %q, %v", v, err)
		}
		got, err := list(r, "", "")
		same(t, got, "a=1")
		return err
	}))
	same(t, all(t, db, ""), "a=2", "b=2")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error {
		must(t, tx.Put([]byte("a"), []byte("3")))
		return db.View(t.Context(), func(r kv.Reader) error {
			if v, err := r.Get([]byte("a")); string(v) != "2" || err != nil {
				t.Errorf("a View inside an Update saw its writes: %q, %v", v, err)
			}
			return nil
		})
	}))
}

func (s suite) scan(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "a", "1", "p", "1", "p\x00", "1", "p\x00\x00", "1", "p1", "1", "p\xff", "1",
		"p\xff\x01", "1", "p\xff\xff", "1", "q", "1", "\xff", "1", "\xff\xff", "1", "\xff\xff\x00", "1")
	for _, c := range []struct{ prefix, after, want string }{
		{"", "", "a p p\x00 p\x00\x00 p1 p\xff p\xff\x01 p\xff\xff q \xff \xff\xff \xff\xff\x00"},
		{"p", "", "p p\x00 p\x00\x00 p1 p\xff p\xff\x01 p\xff\xff"},
		{"p", "p", "p\x00 p\x00\x00 p1 p\xff p\xff\x01 p\xff\xff"},
		{"p", "p\x00", "p\x00\x00 p1 p\xff p\xff\x01 p\xff\xff"},
		{"p", "p0", "p1 p\xff p\xff\x01 p\xff\xff"},
		{"p", "p\xff\xff", ""},
		{"p", "q", ""},
		{"p", "a", "p p\x00 p\x00\x00 p1 p\xff p\xff\x01 p\xff\xff"},
		{"p\xff", "", "p\xff p\xff\x01 p\xff\xff"},
		{"p\xff", "p\xff", "p\xff\x01 p\xff\xff"},
		{"\xff", "", "\xff \xff\xff \xff\xff\x00"},
		{"\xff\xff", "", "\xff\xff \xff\xff\x00"},
		{"\xff\xff", "\xff\xff", "\xff\xff\x00"},
		{"\xff\xff\xff", "", ""},
		{"", "p\xff\xff", "q \xff \xff\xff \xff\xff\x00"},
		{"nothing", "", ""},
	} {
		wanted := strings.Fields(c.want)
		for i := range wanted {
			wanted[i] += "=1"
		}
		check := func(r kv.Reader) error {
			got, err := list(r, c.prefix, c.after)
			if err == nil && !slices.Equal(got, wanted) {
				t.Errorf("Scan(%q, %q) = %q, want %q", c.prefix, c.after, got, wanted)
			}
			return err
		}
		must(t, db.View(t.Context(), check))
		must(t, db.Update(t.Context(), func(tx kv.Tx) error { return check(tx) }))
	}
	s.scanStops(t, db)
}

func (s suite) scanStops(t *testing.T, db kv.Store) {
	t.Helper()
	stop, calls := errors.New("stop"), 0
	err := db.View(t.Context(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { calls++; return true, stop })
	})
	if err != stop || calls != 1 { //nolint:errorlint // unchanged means the very same
		t.Errorf("Scan = %v after %d calls, want fn's own error after 1", err, calls)
	}
	calls = 0
	must(t, db.View(t.Context(), func(r kv.Reader) error {
		return r.Scan([]byte("p"), nil, func(_, _ []byte) (bool, error) { calls++; return calls < 3, nil })
	}))
	if calls != 3 {
		t.Errorf("Scan called fn %d times after it had wanted no more than 3", calls)
	}
}

func (s suite) scanWhileWriting(t *testing.T) {
	db := s.fresh(t)
	put(t, db, "p/1", "x", "p/2", "x", "p/3", "x")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error {
		var seen []string
		must(t, tx.Put([]byte("p/4"), []byte("x")))
		err := tx.Scan([]byte("p/"), nil, func(key, value []byte) (bool, error) {
			seen = append(seen, string(key)+"="+string(value))
			must(t, tx.Delete([]byte("p/2")))
			must(t, tx.Put([]byte("p/3"), []byte("y")))
			must(t, tx.Put(append(bytes.Clone(key), 'z'), []byte("x")))
			inner, err := list(tx, "p/2", "")
			if len(seen) == 1 && len(inner) != 0 {
				t.Errorf("a Scan inside a Scan saw %q, which was deleted", inner)
			}
			return true, err
		})
		if err == nil {
			same(t, seen, "p/1=x", "p/2=x", "p/3=x", "p/4=x")
		}
		return err
	}))
	same(t, all(t, db, "p/"), "p/1=x", "p/1z=x", "p/2z=x", "p/3=y", "p/3z=x", "p/4=x", "p/4z=x")
}

func (s suite) noAliasing(t *testing.T) {
	db := s.fresh(t)
	k, v := []byte("key"), []byte("value")
	must(t, db.Update(t.Context(), func(tx kv.Tx) error {
		must(t, tx.Put(k, v))
		k[0], v[0] = 'X', 'X'
		got, err := tx.Get([]byte("key"))
		if string(got) != "value" || err != nil {
			t.Errorf("the transaction shares what Put was given: %q, %v", got, err)
			return nil
		}
		got[0] = 'Y'
		k[0], v[0] = 'k', 'v'
		return nil
	}))
	k[0], v[0] = 'Z', 'Z'
	must(t, db.View(t.Context(), func(r kv.Reader) error {
		got, err := r.Get([]byte("key"))
		if err != nil {
			return err
		}
		got[0] = 'Z'
		return nil
	}))
	want(t, db, "key", "value")
	same(t, all(t, db, ""), "key=value")
}

func (s suite) keys(t *testing.T) {
	db := s.fresh(t)
	long := strings.Repeat("k", kv.MaxKey)
	put(t, db, long, "1", "\x00", "2")
	want(t, db, long, "1")
	for _, bad := range []string{"", long + "k", "!badger!x"} {
		for name, op := range map[string]func(kv.Tx) error{
			"Get":    func(tx kv.Tx) error { _, err := tx.Get([]byte(bad)); return err },
			"Put":    func(tx kv.Tx) error { return tx.Put([]byte(bad), nil) },
			"Delete": func(tx kv.Tx) error { return tx.Delete([]byte(bad)) },
		} {
			if err := db.Update(t.Context(), op); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s of a key of %d bytes = %v, want Malformed", name, len(bad), err)
			}
		}
	}
}

func (s suite) bounds(t *testing.T) {
	db := s.fresh(t)
	big := bytes.Repeat([]byte("v"), kv.MaxValue)
	put(t, db, strings.Repeat("k", kv.MaxKey), string(big))
	want(t, db, strings.Repeat("k", kv.MaxKey), string(big))

	tooMuch := func(valueLen, writes int) error {
		return db.Update(t.Context(), func(tx kv.Tx) error {
			for i := range writes {
				if err := tx.Put(fmt.Appendf(nil, "x%d", i), big[:valueLen]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := tooMuch(300<<10, 4); !errors.Is(err, fault.Full) {
		t.Errorf("an Update of 1.2 MiB = %v, want Full", err)
	}
	if err := tooMuch(0, kv.MaxTx/96+1); !errors.Is(err, fault.Full) {
		t.Errorf("an Update of very many keys = %v, want Full", err)
	}
	if got := all(t, db, "x"); len(got) != 0 {
		t.Errorf("%d keys of refused Updates were kept", len(got))
	}
	must(t, tooMuch(200<<10, 4))
	must(t, tooMuch(8, 4000))
}

func (s suite) fresh(t testing.TB) kv.Store {
	t.Helper()
	db := s.open(t)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, db kv.Store, pairs ...string) {
	t.Helper()
	must(t, db.Update(context.WithoutCancel(t.Context()), func(tx kv.Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

func get(t testing.TB, db kv.Store, key string) (value string, err error) {
	t.Helper()
	err = db.View(t.Context(), func(r kv.Reader) error {
		v, err := r.Get([]byte(key))
		value = string(v)
		return err
	})
	return value, err
}

func want(t testing.TB, db kv.Store, key, value string) {
	t.Helper()
	if got, err := get(t, db, key); got != value || err != nil {
		t.Fatalf("Get(%.40q) = %.40q, %v, want %.40q", key, got, err, value)
	}
}

func list(r kv.Reader, prefix, after string) ([]string, error) {
	var got []string
	err := r.Scan([]byte(prefix), []byte(after), func(key, value []byte) (bool, error) {
		got = append(got, string(key)+"="+string(value))
		return true, nil
	})
	return got, err
}

func all(t testing.TB, db kv.Store, prefix string) (got []string) {
	t.Helper()
	must(t, db.View(t.Context(), func(r kv.Reader) (err error) {
		got, err = list(r, prefix, "")
		return err
	}))
	return got
}

func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
