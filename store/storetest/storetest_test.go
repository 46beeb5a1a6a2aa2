package storetest_test

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

func itself(_ testing.TB, s kv.Store) kv.Store { return s }

func TestTheWrappersKeepThePromises(t *testing.T) {
	t.Run("twice", func(t *testing.T) {
		storetest.KV(t, func(testing.TB) kv.Store { return storetest.Twice(kv.Memory()) }, itself)
	})
	t.Run("failing never", func(t *testing.T) {
		storetest.KV(t, func(testing.TB) kv.Store { return storetest.Failing(kv.Memory(), 0) }, itself)
	})
}

func TestFailingFailsOnceAndKeepsNothing(t *testing.T) {
	work := func(s kv.Store) error {
		return s.Update(t.Context(), func(tx kv.Tx) error {
			return errors.Join(tx.Put([]byte("a"), nil), tx.Put([]byte("b"), nil), tx.Delete([]byte("c")))
		})
	}
	failures := 0
	for n := 1; ; n++ {
		s := kv.Memory()
		f := storetest.Failing(s, n)
		err := work(f)
		if err == nil {
			break
		}
		failures++
		if !errors.Is(err, storetest.ErrInjected) {
			t.Fatalf("step %d: %v, want ErrInjected", n, err)
		}
		kept := func(tx kv.Reader) error { _, err := tx.Get([]byte("a")); return err }
		if err := s.View(t.Context(), kept); !errors.Is(err, fault.NotFound) {
			t.Errorf("step %d failed, yet its Update was kept: %v", n, err)
		}
		if err := work(f); err != nil {
			t.Errorf("after step %d nothing works any more: %v", n, err)
		}
	}
	if failures != 4 {
		t.Errorf("%d points of failure, want 3 writes and 1 commit", failures)
	}
}

func TestFailingIsNotForgottenByACarelessCaller(t *testing.T) {
	err := storetest.Failing(kv.Memory(), 1).Update(t.Context(), func(tx kv.Tx) error {
		_ = tx.Put([]byte("a"), nil)
		return nil
	})
	if !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("Update = %v, want ErrInjected", err)
	}
}

func TestTwiceRunsTwice(t *testing.T) {
	runs := 0
	err := storetest.Twice(kv.Memory()).Update(t.Context(), func(kv.Tx) error { runs++; return nil })
	if runs != 2 || err != nil {
		t.Errorf("%d runs, %v", runs, err)
	}
}
