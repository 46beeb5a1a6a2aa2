package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

const (
	benchBody  = 512
	benchRound = 64 // appends between two looks at the clock
)

func benchStore(b *testing.B) kv.Store {
	b.Helper()
	s, err := kv.Open(b.TempDir())
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return kv.Sealed(s, key.NewSecret())
}

// bareBadger is badger as package kv opens it, and nothing of ours.
func bareBadger(b *testing.B) *badger.DB {
	b.Helper()
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).
		WithMemTableSize(8 << 20).WithNumMemtables(2).WithValueThreshold(1 << 20).WithValueLogFileSize(4 << 20).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).WithNumCompactors(2).
		WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).WithNumGoroutines(2).WithMetricsEnabled(false).WithLogger(nil))
	must(b, err)
	b.Cleanup(func() { must(b, db.Close()) })
	return db
}

// sealing is what package kv adds to a value: nonce and tag.
const sealing = 24 + 16

// BenchmarkLedgerAppend appends entries of 512 bytes, each in a transaction of its own,
// synced before it returns: x-badger is how many a second, against bare badger writing
// as many values of the same sizes in synced transactions, in rounds by turns.
func BenchmarkLedgerAppend(b *testing.B) {
	body := make([]byte, benchBody)
	w, db, n := worldIn(b, benchStore(b), key.Generate[key.Device]()), bareBadger(b), uint64(0)
	record, leaf, edge := make([]byte, 46+benchBody+sealing), make([]byte, 65+sealing), make([]byte, 200+sealing)
	var ratios, appends []float64
	round := func(fn func()) float64 {
		began := time.Now()
		for range benchRound {
			fn()
		}
		return time.Since(began).Seconds() / benchRound
	}
	for b.Loop() {
		ours := round(func() {
			must(b, w.update(func(tx kv.Tx) error { _, err := w.Append(tx, "bench", 1, body); return err }))
		})
		bare := round(func() {
			n++
			id := binary.BigEndian.AppendUint64([]byte("l/r/"), n)
			must(b, db.Update(func(tx *badger.Txn) error {
				return errors.Join(tx.Set(slices.Concat(id, []byte("b")), record), tx.Set(slices.Concat(id, []byte("l")), leaf), tx.Set([]byte("l/n"), edge))
			}))
		})
		ratios, appends = append(ratios, bare/ours), append(appends, 1/ours)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ratios), "x-badger")
	b.ReportMetric(median(appends), "appends/s")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func fill(b *testing.B, w world, n, body int) {
	b.Helper()
	text := make([]byte, body)
	for done := 0; done < n; {
		must(b, w.update(func(tx kv.Tx) error {
			for range min(500, n-done) {
				if _, err := w.Append(tx, "bench", 1, text); err != nil {
					return err
				}
			}
			return nil
		}))
		done += min(500, n-done)
	}
}

// BenchmarkLedgerVerify recomputes a sealed ledger of 100,000 entries on disk, its tree
// and 1,000 blinded heads of it.
func BenchmarkLedgerVerify(b *testing.B) {
	const entries, heads = 100_000, 1000
	w := worldIn(b, benchStore(b), key.Generate[key.Device]())
	fill(b, w, entries, benchBody)
	sizes, blinds, salt := make([]int64, heads), make([][32]byte, heads), [16]byte{1}
	w.view(func(r kv.Reader) error {
		for i := range sizes {
			sizes[i] = int64(i*7919)%entries + 1
			root, err := w.RootAt(r, sizes[i])
			must(b, err)
			blinds[i] = ledger.Blind(ledger.Head{Size: sizes[i], Root: root}, salt)
		}
		return nil
	})
	for b.Loop() {
		w.view(func(r kv.Reader) error {
			_, err := w.Verify(r)
			must(b, err)
			for i, size := range sizes {
				root, err := w.RootAt(r, size)
				must(b, err)
				if ledger.Blind(ledger.Head{Size: size, Root: root}, salt) != blinds[i] {
					b.Fatal("another head")
				}
			}
			return nil
		})
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/100k")
}

// million is a sealed ledger of 1,000,000 entries on disk, made once for the two that
// need it.
var million struct {
	sync.Once
	dir   string
	store kv.Store
	*ledger.Ledger
}

func closeMillion() error {
	if million.store == nil {
		return nil
	}
	return errors.Join(million.store.Close(), os.RemoveAll(million.dir))
}

func ofAMillion(b *testing.B) world {
	b.Helper()
	million.Do(func() {
		dir, err := os.MkdirTemp("", "hark-million-")
		must(b, err)
		million.dir = dir
		s, err := kv.Open(dir)
		must(b, err)
		million.store = kv.Sealed(s, key.NewSecret())
		million.Ledger, err = ledger.Open(context.Background(), million.store, key.Generate[key.Device]())
		must(b, err)
		fill(b, world{b, million.store, million.Ledger}, 1_000_000, 48)
	})
	return world{b, million.store, million.Ledger}
}

// BenchmarkLedgerProve proves one entry among 1,000,000.
func BenchmarkLedgerProve(b *testing.B) {
	w, seq := ofAMillion(b), int64(0)
	for b.Loop() {
		seq = (seq+618_034)%1_000_000 + 1
		w.view(func(r kv.Reader) error { _, err := w.Prove(r, seq, 1_000_000); return err })
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
}

// BenchmarkLedgerCheck checks such a proof: the entry, its path, and the signed head.
func BenchmarkLedgerCheck(b *testing.B) {
	w := ofAMillion(b)
	h, e := w.head(1), w.get(432_198)
	var p ledger.Proof
	w.view(func(r kv.Reader) (err error) { p, err = w.Prove(r, 432_198, 1_000_000); return err })
	for b.Loop() {
		must(b, ledger.CheckEntry(h, e, p))
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
}
