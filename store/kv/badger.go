package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/harkmarket/hark/protocol/fault"
)

const (
	// tries is how often an Update runs beside others before it runs alone.
	tries = 4
	// reserve is the free disk space in bytes below which Updates are refused.
	// Badger writes through memory maps of sparse files, where a full disk is not
	// an error but kills the process; this is room for its two logs and for a
	// compaction.
	reserve = 96 << 20
)

// An Option changes how Open works.
type Option func(*settings)

type settings struct{ log *slog.Logger }

// WithLog hands badger's warnings and errors to log. Without it badger is silent.
func WithLog(log *slog.Logger) Option { return func(s *settings) { s.log = log } }

// Open opens or makes the store in folder dir. A folder that another process has
// open gives fault.Conflict. After a crash Open replays the log: what an Update
// had said to be kept is there, what was unfinished is not.
func Open(dir string, opts ...Option) (Store, error) {
	var s settings
	for _, o := range opts {
		o(&s)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	if err := mendLocked(dir); err != nil {
		return nil, openError(dir, err)
	}
	db, err := badger.Open(small(dir, s.log))
	if err != nil {
		return nil, openError(dir, err)
	}
	return &disk{db: db, dir: dir, reserve: reserve}, nil
}

func mendLocked(dir string) (err error) {
	unlock, err := lockShared(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return mend(dir)
}

// mend removes logs of no length, over which badger v4.9.6 fails to open for ever
// ("Create a new file"). A kill leaves one between the two steps in which badger
// makes a log (create, extend) and the two in which it drops one that is flushed
// to a table (truncate to nothing, remove); either way nothing is in it.
func mend(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := f.Info()
		if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// small is badger tuned for a node that idles most of the day.
//
//   - Memtables are 8 MiB, at most two. Each has a log of 16 MiB that is mapped
//     into memory but sparse: it costs the pages that were written, not 16 MiB.
//   - Values are sealed or random: compressing them is in vain. Without
//     compression blocks are read from the mapped table and need no cache of
//     their own, neither for blocks nor for the index.
//   - MaxTx is below the value threshold of 1 MiB, so every value lies in the
//     tree, the value log stays empty, and there is no garbage to collect in it.
func small(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(4 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithNumCompactors(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(8).
		WithNumGoroutines(2).
		WithCompactL0OnClose(true).
		WithMetricsEnabled(false).
		WithLogger(quiet(log))
}

// disk implements Store on badger.
type disk struct {
	gate
	db       *badger.DB
	dir      string
	reserve  uint64
	readOnly bool
	discard  func() error // removes the copy that an audit reads, or nil

	// turns is held shared by an Update that runs beside others, and alone by one
	// that met conflicts or that scans. Badger notices a change to a key that was
	// read, but not a new key in a range that was scanned.
	turns  sync.RWMutex
	broken atomic.Bool // a commit failed half-way: nothing more is written

	once     sync.Once
	closeErr error
}

// View implements Store.View.
func (d *disk) View(ctx context.Context, fn func(Reader) error) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	r := &diskTx{txn: txn, alone: true}
	defer r.end()
	return fn(r)
}

// Update implements Store.Update.
func (d *disk) Update(ctx context.Context, fn func(Tx) error) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	if err := d.writable(); err != nil {
		return err
	}
	for range tries {
		again, err := d.beside(ctx, fn)
		if err != nil || again == done {
			return err
		}
		if again == alone {
			break
		}
	}
	d.turns.Lock()
	defer d.turns.Unlock()
	again, err := d.run(ctx, fn, true)
	if err == nil && again != done {
		return fmt.Errorf("kv: a conflict without a second party: %w", fault.Internal)
	}
	return err
}

// A verdict tells what is to be done after one run of an Update's function.
type verdict int

const (
	done   verdict = iota // committed, or failed for good
	beside                // somebody else was quicker: run it again
	alone                 // it scans: run it again with nobody beside it
)

func (d *disk) beside(ctx context.Context, fn func(Tx) error) (verdict, error) {
	d.turns.RLock()
	defer d.turns.RUnlock()
	return d.run(ctx, fn, false)
}

func (d *disk) run(ctx context.Context, fn func(Tx) error, isAlone bool) (verdict, error) {
	txn := d.db.NewTransaction(true)
	defer txn.Discard()
	tx := &diskTx{txn: txn, alone: isAlone}
	defer tx.end()
	err := fn(tx)
	switch {
	case tx.scanned && !isAlone:
		return alone, nil
	case err != nil:
		return done, err
	case tx.budget.err != nil:
		return done, tx.budget.err
	case ctx.Err() != nil:
		return done, fmt.Errorf("kv: %w", ctx.Err())
	}
	switch err := txn.Commit(); {
	case errors.Is(err, badger.ErrConflict):
		return beside, nil
	case err != nil:
		return done, d.commitError(err)
	}
	return done, nil
}

// writable refuses an Update before anything is done.
func (d *disk) writable() error {
	if d.readOnly {
		return fmt.Errorf("kv: the store is open for reading only: %w", fault.Denied)
	}
	if d.broken.Load() {
		return fmt.Errorf("kv: an earlier write failed on disk; restart to go on: %w", fault.Internal)
	}
	if free, ok := freeSpace(d.dir); ok && free < d.reserve {
		return fmt.Errorf("kv: disk full: %d MiB free, %d needed: %w", free>>20, d.reserve>>20, fault.Full)
	}
	return nil
}

// commitError stops all writing when a commit fails on disk: after a failed sync
// nobody knows what was kept, and trying again can report success for lost pages.
func (d *disk) commitError(err error) error {
	switch {
	case errors.Is(err, badger.ErrTxnTooBig):
		return fmt.Errorf("kv: %w: %w", err, fault.Full)
	case errors.Is(err, syscall.ENOSPC):
		d.broken.Store(true)
		return fmt.Errorf("kv: disk full: %w: %w", err, fault.Full)
	}
	d.broken.Store(true)
	return fmt.Errorf("kv: commit: %w", err)
}

// Size implements Store.Size.
func (d *disk) Size() int64 { return diskUse(d.dir) }

// Close implements Store.Close.
func (d *disk) Close() error {
	d.once.Do(func() {
		d.gate.close()
		err := d.db.Close()
		if d.discard != nil {
			err = errors.Join(err, d.discard())
		}
		if err != nil {
			d.closeErr = fmt.Errorf("kv: close: %w", err)
		}
	})
	return d.closeErr
}

// diskTx implements Tx, and Reader for a View.
type diskTx struct {
	txn     *badger.Txn
	budget  budget
	alone   bool // scanning is allowed
	scanned bool // scanning was asked for
	ended   bool
}

func (t *diskTx) end() { t.ended = true }

// Get implements Reader.Get.
func (t *diskTx) Get(key []byte) ([]byte, error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	item, err := t.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, notFound(key)
	}
	if err != nil {
		return nil, fmt.Errorf("kv: %x: %w", key, err)
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("kv: %x: %w", key, err)
	}
	return value, nil
}

// Scan implements Reader.Scan.
func (t *diskTx) Scan(prefix, after []byte, fn func(key, value []byte) (bool, error)) error {
	t.scanned = true
	if err := t.usable(); err != nil {
		return err
	}
	it := t.txn.NewIterator(badger.IteratorOptions{Prefix: bytes.Clone(prefix)})
	defer it.Close()
	for it.Seek(seekFrom(prefix, after)); it.ValidForPrefix(prefix); it.Next() {
		item, more := it.Item(), false
		var stop error
		err := item.Value(func(value []byte) error {
			more, stop = fn(item.Key(), value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("kv: %x: %w", item.Key(), err)
		}
		if stop != nil || !more {
			return stop
		}
	}
	return nil
}

// Put implements Tx.Put.
func (t *diskTx) Put(key, value []byte) error {
	if err := t.spend(key, value); err != nil {
		return err
	}
	return t.keep(t.txn.Set(bytes.Clone(key), bytes.Clone(value)))
}

// Delete implements Tx.Delete.
func (t *diskTx) Delete(key []byte) error {
	if err := t.spend(key, nil); err != nil {
		return err
	}
	return t.keep(t.txn.Delete(bytes.Clone(key)))
}

func (t *diskTx) spend(key, value []byte) error {
	if err := t.usable(); err != nil {
		return err
	}
	return t.budget.spend(key, value)
}

// keep remembers a refused write, so that the Update fails even if nobody looks.
func (t *diskTx) keep(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrTxnTooBig):
		t.budget.err = fmt.Errorf("kv: %w: %w", err, fault.Full)
	default:
		t.budget.err = fmt.Errorf("kv: %w", err)
	}
	return t.budget.err
}

var errAlone = errors.New("kv: this transaction scans and will run again, alone")

func (t *diskTx) usable() error {
	switch {
	case t.ended:
		return errStale()
	case t.scanned && !t.alone:
		return errAlone
	}
	return nil
}

func openError(dir string, err error) error {
	kind := fault.Internal
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK), strings.Contains(err.Error(), "Another process is using"):
		return fmt.Errorf("kv: %s is open in another process: %w", dir, fault.Conflict)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = fault.Denied
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, syscall.ENOSPC):
		kind = fault.Full
	case errors.Is(err, syscall.ENOTDIR):
		kind = fault.Malformed
	}
	return fmt.Errorf("kv: open %s: %w: %w", dir, err, kind)
}

// logger passes what is worth a person's attention to slog and drops the rest.
type logger struct{ log *slog.Logger }

func quiet(log *slog.Logger) badger.Logger {
	if log == nil {
		return nil
	}
	return logger{log}
}

func (l logger) Errorf(format string, a ...any)   { l.log.Error(line(format, a)) }
func (l logger) Warningf(format string, a ...any) { l.log.Warn(line(format, a)) }
func (logger) Infof(string, ...any)               {}
func (logger) Debugf(string, ...any)              {}

func line(format string, a []any) string {
	return "kv: badger: " + strings.TrimSpace(fmt.Sprintf(format, a...))
}
