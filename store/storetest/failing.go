package storetest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/harkmarket/hark/store/kv"
)

// ErrInjected is what the failing step of a Failing store returns.
var ErrInjected = errors.New("storetest: injected failure")

// Failing returns s, but the failAt-th write step, counted from 1 over the whole
// life of the store, fails with ErrInjected; every step before and after works.
// Steps are each Put, each Delete, and the commit at the end of each Update.
// Whichever it is, nothing of that Update is kept. A test that lets failAt run
// from 1 until nothing fails any more has met every point of failure.
//
//	for n := 1; ; n++ {
//		err := work(storetest.Failing(kv.Memory(), n))
//		if err == nil { break }
//		… errors.Is(err, storetest.ErrInjected), and the store is as before …
//	}
func Failing(s kv.Store, failAt int) kv.Store {
	return &failing{Store: s, failAt: int64(failAt)}
}

type failing struct {
	kv.Store
	failAt int64
	steps  atomic.Int64
}

func (f *failing) step() error {
	if f.steps.Add(1) == f.failAt {
		return ErrInjected
	}
	return nil
}

// Update implements kv.Store.Update.
func (f *failing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return f.Store.Update(ctx, func(tx kv.Tx) error {
		ft := &failingTx{Tx: tx, step: f.step}
		if err := fn(ft); err != nil {
			return err
		}
		if ft.err != nil {
			return ft.err // a failed write fails its Update, also under a careless caller
		}
		return f.step()
	})
}

type failingTx struct {
	kv.Tx
	step func() error
	err  error
}

// Put implements kv.Tx.Put.
func (t *failingTx) Put(key, value []byte) error {
	if err := t.step(); err != nil {
		t.err = err
		return err
	}
	return t.Tx.Put(key, value)
}

// Delete implements kv.Tx.Delete.
func (t *failingTx) Delete(key []byte) error {
	if err := t.step(); err != nil {
		t.err = err
		return err
	}
	return t.Tx.Delete(key)
}

// Twice returns s, but the function of every Update runs twice, and only what the
// second run wrote is kept. It finds functions that have effects outside their
// transaction, which kv.Store forbids because a conflict makes it run them again.
func Twice(s kv.Store) kv.Store { return twice{s} }

type twice struct{ kv.Store }

var errFirstRun = errors.New("storetest: first run")

// Update implements kv.Store.Update.
func (t twice) Update(ctx context.Context, fn func(kv.Tx) error) error {
	err := t.Store.Update(ctx, func(tx kv.Tx) error {
		_ = fn(tx) // its outcome is that of the second run
		return errFirstRun
	})
	if !errors.Is(err, errFirstRun) {
		return err
	}
	return t.Store.Update(ctx, fn)
}
