// Package memory remembers what happened to letters, each table up to a bound: what
// came first is forgotten first.
package memory

import (
	"sync"
	"time"

	"github.com/harkmarket/hark/protocol"
)

// Recent remembers the latest letters that were dealt with, so that three keepers
// that push the same one cost the market one turn.
type Recent struct {
	mu    sync.Mutex
	max   int
	at    map[protocol.Hash]bool
	order []protocol.Hash
}

// NewRecent makes one for at most so many letters.
func NewRecent(most int) *Recent { return &Recent{max: most, at: map[protocol.Hash]bool{}} }

// Has tells whether a letter is remembered.
func (r *Recent) Has(id protocol.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[id]
}

// Add remembers a letter, and reports whether it was new.
func (r *Recent) Add(id protocol.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at[id] {
		return false
	}
	if len(r.order) >= r.max {
		delete(r.at, r.order[0])
		r.order = r.order[1:]
	}
	r.at[id] = true
	r.order = append(r.order, id)
	return true
}

// When remembers moments, the latest max of them.
type When struct {
	mu    sync.Mutex
	max   int
	at    map[protocol.Hash]time.Time
	order []protocol.Hash
}

// NewWhen makes one for at most so many moments.
func NewWhen(most int) *When { return &When{max: most, at: map[protocol.Hash]time.Time{}} }

// Len is how many are remembered.
func (w *When) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.at)
}

// Get gives a moment, if it is remembered.
func (w *When) Get(id protocol.Hash) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.at[id]
	return t, ok
}

// Set remembers a moment in the place of an earlier one.
func (w *When) Set(id protocol.Hash, t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.at[id]; !ok {
		if len(w.order) >= w.max {
			delete(w.at, w.order[0])
			w.order = w.order[1:]
		}
		w.order = append(w.order, id)
	}
	w.at[id] = t
}

// MakeRoom lets any of a full table go where another one is to come in.
func MakeRoom[K comparable, V any](table map[K]V, another K, most int) {
	if _, there := table[another]; there {
		return
	}
	for one := range table {
		if len(table) < most {
			return
		}
		delete(table, one)
	}
}
