package kv

import (
	"bytes"
	"context"
	"fmt"
	"sync"
)

// Memory returns an empty store that lives in memory: the same promises, nothing
// on disk. It starts no goroutine and takes no time, so it can be used inside a
// testing/synctest bubble. Its Updates run one at a time.
func Memory() Store { return &memory{} }

type memory struct {
	gate
	writing sync.Mutex // held by the one Update that runs

	mu   sync.Mutex // guards root
	root *leaf      // immutable: a snapshot is a pointer to it
}

func (m *memory) snapshot() *leaf {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.root
}

// View implements Store.View.
func (m *memory) View(ctx context.Context, fn func(Reader) error) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	r := &memoryTx{root: m.snapshot()}
	defer r.end()
	return fn(r)
}

// Update implements Store.Update.
func (m *memory) Update(ctx context.Context, fn func(Tx) error) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	m.writing.Lock()
	defer m.writing.Unlock()
	tx := &memoryTx{root: m.snapshot()}
	defer tx.end()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.budget.err != nil {
		return tx.budget.err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("kv: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root = tx.root
	return nil
}

// Purge implements Store.Purge.
func (m *memory) Purge(ctx context.Context, prefixes ...[]byte) error {
	if err := checkPrefixes(prefixes); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	m.writing.Lock()
	defer m.writing.Unlock()
	root := m.snapshot()
	for _, p := range prefixes {
		var gone [][]byte
		root.ascend(p, func(l *leaf) bool {
			if !bytes.HasPrefix(l.key, p) {
				return false
			}
			gone = append(gone, l.key)
			return true
		})
		for _, k := range gone {
			root = root.without(k)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root = root
	return nil
}

// Size implements Store.Size.
func (*memory) Size() int64 { return 0 }

// Close implements Store.Close.
func (m *memory) Close() error {
	m.gate.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root = nil
	return nil
}

// memoryTx implements Tx, and Reader for a View.
type memoryTx struct {
	root   *leaf
	budget budget
	ended  bool
}

func (t *memoryTx) end() { t.ended = true }

// Get implements Reader.Get.
func (t *memoryTx) Get(key []byte) ([]byte, error) {
	if t.ended {
		return nil, errStale()
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	l := t.root.find(key)
	if l == nil {
		return nil, notFound(key)
	}
	return copied(l.value), nil
}

// Scan implements Reader.Scan.
func (t *memoryTx) Scan(prefix, after []byte, fn func(key, value []byte) (bool, error)) error {
	if t.ended {
		return errStale()
	}
	var stop error
	t.root.ascend(seekFrom(prefix, after), func(l *leaf) bool {
		if !bytes.HasPrefix(l.key, prefix) {
			return false
		}
		more, err := fn(l.key, l.value)
		stop = err
		return more && err == nil
	})
	return stop
}

// Put implements Tx.Put.
func (t *memoryTx) Put(key, value []byte) error {
	if err := t.spend(key, value); err != nil {
		return err
	}
	t.root = t.root.with(bytes.Clone(key), copied(value))
	return nil
}

// Delete implements Tx.Delete.
func (t *memoryTx) Delete(key []byte) error {
	if err := t.spend(key, nil); err != nil {
		return err
	}
	t.root = t.root.without(key)
	return nil
}

func (t *memoryTx) spend(key, value []byte) error {
	if t.ended {
		return errStale()
	}
	return t.budget.spend(key, value)
}

// copied is bytes.Clone with one spelling of the empty value.
func copied(b []byte) []byte { return append([]byte{}, b...) }
