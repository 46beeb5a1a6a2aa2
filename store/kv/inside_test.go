package kv

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/harkmarket/hark/protocol/fault"
)

func openDisk(t *testing.T) *disk {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*disk)
}

func one(tx Tx) error { return tx.Put([]byte("a"), []byte("1")) }

func TestAFullDiskIsNoticedBeforeWriting(t *testing.T) {
	d := openDisk(t)
	if _, known := freeSpace(d.dir); !known {
		t.Skip("free space is not known on this system")
	}
	d.reserve = math.MaxUint64
	if err := d.Update(t.Context(), one); !errors.Is(err, fault.Full) || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Update = %v, want Full", err)
	}
	d.reserve = reserve
	if err := d.Update(t.Context(), one); err != nil {
		t.Errorf("Update with room again = %v", err)
	}
}

func TestAFailedCommitStopsAllWriting(t *testing.T) {
	d := openDisk(t)
	if err := d.commitError(badger.ErrTxnTooBig); !errors.Is(err, fault.Full) || d.broken.Load() {
		t.Fatalf("a transaction that was too big = %v, broken = %v", err, d.broken.Load())
	}
	for cause, kind := range map[error]fault.Kind{syscall.EIO: fault.Internal, syscall.ENOSPC: fault.Full} {
		d.broken.Store(false)
		if err := d.commitError(cause); fault.Of(err) != kind {
			t.Errorf("commit failed with %v = %v, want %v", cause, err, kind)
		}
		if err := d.Update(t.Context(), one); !errors.Is(err, fault.Internal) {
			t.Errorf("Update after that = %v, want Internal", err)
		}
		if err := d.View(t.Context(), func(Reader) error { return nil }); err != nil {
			t.Errorf("View after that = %v", err)
		}
	}
}

func TestAnUpdateRunsABoundedNumberOfTimes(t *testing.T) {
	d := openDisk(t)
	runs := 0
	err := d.Update(t.Context(), func(tx Tx) error {
		runs++
		if runs <= tries { // somebody else is always quicker
			_, _ = tx.Get([]byte("a"))
			txn := d.db.NewTransaction(true)
			if err := errors.Join(txn.Set([]byte("a"), []byte{byte(runs)}), txn.Commit()); err != nil {
				t.Fatal(err)
			}
		}
		return one(tx)
	})
	if err != nil || runs != tries+1 {
		t.Errorf("Update = %v after %d runs, want success in run %d, alone", err, runs, tries+1)
	}
}

func TestAScanRunsAgainAlone(t *testing.T) {
	d := openDisk(t)
	runs := 0
	err := d.Update(t.Context(), func(tx Tx) error {
		runs++
		_ = tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, nil })
		if runs == 1 && (tx.Put([]byte("x"), nil) == nil || tx.Delete([]byte("x")) == nil) {
			t.Error("a run that is void still writes")
		}
		return one(tx)
	})
	if err != nil || runs != 2 {
		t.Errorf("Update = %v after %d runs, want 2", err, runs)
	}
}

func TestErrorsOfOpeningHaveKinds(t *testing.T) {
	for cause, kind := range map[error]fault.Kind{
		syscall.EWOULDBLOCK: fault.Conflict, syscall.EROFS: fault.Denied, syscall.EACCES: fault.Denied,
		syscall.ENOENT: fault.NotFound, syscall.ENOSPC: fault.Full, syscall.EIO: fault.Internal,
	} {
		if err := openError("d", fmt.Errorf("x: %w", cause)); fault.Of(err) != kind {
			t.Errorf("%v = %v, want %v", cause, err, kind)
		}
	}
}

func TestTheLoggerDropsChatter(t *testing.T) {
	var out bytes.Buffer
	l := quiet(slog.New(slog.NewTextHandler(&out, nil)))
	l.Infof("chatter %d", 1)
	l.Debugf("chatter %d", 2)
	l.Warningf("careful %d\n", 3)
	l.Errorf("broken %d", 4)
	if got := out.String(); strings.Contains(got, "chatter") || !strings.Contains(got, "careful 3") || !strings.Contains(got, "broken 4") {
		t.Errorf("logged:\n%s", got)
	}
	if quiet(nil) != nil {
		t.Error("no logger must stay no logger")
	}
}

// The treap must stay a treap whatever is done to it, and old snapshots as they were.
func TestTheTreeStaysInOrderAndShallow(t *testing.T) {
	var root *leaf
	const n = 4096
	for i := range n {
		root = root.with(fmt.Appendf(nil, "%04d", i), nil) // ascending: the worst case for a plain tree
	}
	if d := depth(root); d > 48 {
		t.Errorf("depth %d for %d keys", d, n)
	}
	old := root
	for i := 0; i < n; i += 2 {
		root = root.without(fmt.Appendf(nil, "%04d", i))
	}
	if got := count(root); got != n/2 {
		t.Errorf("%d keys, want %d", got, n/2)
	}
	if got := count(old); got != n {
		t.Errorf("an old snapshot has %d keys, want %d", got, n)
	}
	if root.without([]byte("none")) != root {
		t.Error("deleting nothing made a new tree")
	}
}

func depth(l *leaf) int {
	if l == nil {
		return 0
	}
	return 1 + max(depth(l.left), depth(l.right))
}

func count(root *leaf) (n int) {
	var last []byte
	root.ascend(nil, func(l *leaf) bool {
		if bytes.Compare(last, l.key) >= 0 && n > 0 {
			panic("out of order")
		}
		last = l.key
		n++
		return true
	})
	return n
}
