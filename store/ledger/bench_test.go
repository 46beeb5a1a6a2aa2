package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

const benchBody = 512

func benchStore(b *testing.B) kv.Store {
	b.Helper()
	s, err := kv.Open(b.TempDir())
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return kv.Sealed(s, key.NewSecret())
}

// BenchmarkLedgerAppend appends one entry of 512 bytes in a transaction of its own,
// synced; "bare" writes as many values of the same sizes without a ledger.
func BenchmarkLedgerAppend(b *testing.B) {
	body := make([]byte, benchBody)
	b.Run("ledger", func(b *testing.B) {
		w := worldIn(b, benchStore(b), key.Generate[key.Device]())
		for b.Loop() {
			must(b, w.update(func(tx kv.Tx) error { _, err := w.Append(tx, "bench", 1, body); return err }))
		}
	})
	b.Run("bare", func(b *testing.B) {
		s, n := benchStore(b), uint64(0)
		record, leaf := make([]byte, 46+benchBody), make([]byte, 65)
		for b.Loop() {
			n++
			id := binary.BigEndian.AppendUint64([]byte("l/r/"), n)
			must(b, s.Update(context.Background(), func(tx kv.Tx) error {
				return errors.Join(tx.Put(append(id, 'b'), record), tx.Put(append(id, 'l'), leaf), tx.Put([]byte("l/n"), id))
			}))
		}
	})
	b.Run("memory", func(b *testing.B) {
		w := newWorld(b)
		for b.Loop() {
			must(b, w.update(func(tx kv.Tx) error { _, err := w.Append(tx, "bench", 1, body); return err }))
		}
	})
}

func filled(b *testing.B, s kv.Store, n int) world {
	b.Helper()
	w, body := worldIn(b, s, key.Generate[key.Device]()), make([]byte, benchBody)
	for done := 0; done < n; {
		must(b, w.update(func(tx kv.Tx) error {
			for range min(500, n-done) {
				if _, err := w.Append(tx, "bench", 1, body); err != nil {
					return err
				}
			}
			return nil
		}))
		done += min(500, n-done)
	}
	return w
}

// BenchmarkLedgerVerify recomputes a sealed ledger of 10,000 entries on disk.
func BenchmarkLedgerVerify(b *testing.B) {
	w := filled(b, benchStore(b), 10_000)
	for b.Loop() {
		if _, err := w.verify(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/10_000, "µs/entry")
}

func BenchmarkLedgerProve(b *testing.B) {
	w, seq := filled(b, benchStore(b), 10_000), int64(0)
	for b.Loop() {
		seq = seq%10_000 + 1
		w.view(func(r kv.Reader) error { _, err := w.Prove(r, seq, 10_000); return err })
	}
}

func BenchmarkLedgerCheck(b *testing.B) {
	w := filled(b, kv.Memory(), 10_000)
	h, e := w.head(1), w.get(4321)
	var p ledger.Proof
	w.view(func(r kv.Reader) (err error) { p, err = w.Prove(r, 4321, 10_000); return err })
	for b.Loop() {
		must(b, ledger.CheckEntry(h, e, p))
	}
}
