// Package kv is the ground that every store of a node stands on: an ordered map
// from bytes to bytes with transactions.
//
// There is one interface, [Store], and three things behind it:
//
//   - [Open] keeps the map in a folder (badger) and syncs it before it says so;
//   - [Memory] keeps it in memory, for tests and simulated networks;
//   - [Sealed] wraps either and encrypts the values, each bound to its key.
//
// [OpenReadOnly] opens the folder of a node that has stopped, for an audit.
// Package storetest holds all of them to the promises written at the interfaces.
//
// Keys are readable on disk, also under Sealed: no private text goes into a key.
// A deleted or overwritten value is gone for every reader at once, but its sealed
// bytes stay in badger's files until compaction. What must be erased for good is
// sealed under a key of its own; [Store.Purge] takes that key's bytes off the disk.
package kv

import (
	"bytes"
	"context"
	"fmt"

	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds that every Store enforces.
const (
	// MaxKey is the longest key in bytes; the shortest has 1.
	MaxKey = 1024
	// MaxTx bounds one Update: the sum, over its Puts and Deletes, of the lengths
	// of key and value plus putCost. Beyond it Put and Delete give fault.Full.
	MaxTx = 1 << 20
	// MaxValue is a length in bytes at which one value always fits into an Update
	// of its own, sealed or not.
	MaxValue = MaxTx - MaxKey - 1024

	// putCost is what a write costs beside its bytes. With it badger's own two
	// limits (15 % of a memtable, and a number of entries) are never the first to
	// be reached, so all Stores refuse the same transactions.
	putCost = 96
)

// A Reader reads one snapshot of a Store. It is used by one goroutine, and not
// after the function that it was handed to has returned.
type Reader interface {
	// Get returns a copy of the value, or an error of kind fault.NotFound.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for each key that begins with prefix and is greater than
	// after, in bytewise ascending order, until fn says that it wants no more or
	// returns an error, which Scan returns unchanged. An empty prefix means all
	// keys, an empty after means from the first. What fn gets is valid until it
	// returns and must not be changed. Scan shows the state in which it began,
	// so fn may Put, Delete and Scan as it likes.
	Scan(prefix, after []byte, fn func(key, value []byte) (more bool, err error)) error
}

// A Tx reads and writes. Reads see the transaction's own writes.
type Tx interface {
	Reader
	// Put sets the value of key. It keeps neither slice.
	Put(key, value []byte) error
	// Delete removes key; it is no error when there is none.
	Delete(key []byte) error
}

// A Store is an ordered map with transactions, for use by many goroutines.
type Store interface {
	// View runs fn on a snapshot and returns fn's error unchanged. It may be
	// called inside an Update, whose writes it does not see.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs fn and keeps all of its writes or none. When it returns nil
	// they are on disk, synced. When fn returns an error nothing is kept and that
	// error comes back unchanged. A Put or Delete that failed fails the Update,
	// even if fn did not look.
	//
	// Updates are serializable, Scans included: the outcome is that of running
	// them one after another. For that fn may run more than once, so it must have
	// no effect outside tx; and it must not call Update or Close, which would
	// wait for it for ever. The number of runs is bounded.
	//
	// A cancelled ctx stops an Update that has not begun to commit.
	Update(ctx context.Context, fn func(Tx) error) error

	// Purge deletes every key that begins with one of the prefixes, and takes the
	// bytes of all their values off the disk: present ones, and those that were
	// overwritten or deleted before. It waits for the Updates in progress and holds
	// up later ones; nothing may be written under the prefixes meanwhile. After an
	// error, or a crash on the way, deleted values may be back: note durably what is
	// to be purged, and purge it again.
	Purge(ctx context.Context, prefixes ...[]byte) error
	// Size is the space taken on disk in bytes, 0 for memory.
	Size() int64

	// Close waits for the calls in progress and releases everything. Calling it
	// again does nothing; every other call then gives fault.Offline.
	Close() error
}

// checkKey holds every Store to the same keys. Badger keeps "!badger!" for itself.
func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("kv: a key of %d bytes, not 1 to %d: %w", len(key), MaxKey, fault.Malformed)
	}
	if bytes.HasPrefix(key, []byte("!badger!")) {
		return fmt.Errorf("kv: a key that begins with !badger!: %w", fault.Malformed)
	}
	return nil
}

// checkPrefixes holds every Purge to the same prefixes; an empty one would be the
// whole store.
func checkPrefixes(prefixes [][]byte) error {
	for _, p := range prefixes {
		if err := checkKey(p); err != nil {
			return err
		}
	}
	return nil
}

// seekFrom returns the least key that a Scan of prefix after the given key may show.
func seekFrom(prefix, after []byte) []byte {
	if len(after) == 0 || bytes.Compare(after, prefix) < 0 {
		return prefix
	}
	return append(bytes.Clone(after), 0)
}

// A budget counts what one transaction may still write.
type budget struct {
	spent int
	err   error // the first refusal; it stays
}

func (b *budget) spend(key, value []byte) error {
	if b.err != nil {
		return b.err
	}
	if b.err = checkKey(key); b.err != nil {
		return b.err
	}
	b.spent += len(key) + len(value) + putCost
	if b.spent > MaxTx {
		b.err = fmt.Errorf("kv: a transaction of more than %d bytes: %w", MaxTx, fault.Full)
	}
	return b.err
}

func notFound(key []byte) error { return fmt.Errorf("kv: %x: %w", key, fault.NotFound) }

func errStale() error {
	return fmt.Errorf("kv: used after its transaction had ended: %w", fault.Internal)
}
