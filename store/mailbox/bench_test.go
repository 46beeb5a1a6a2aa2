package mailbox_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// BenchmarkDeposit: x-badger is acknowledged deposits per second with 8 callers,
// divided by what badger itself does per second with 8 callers that write the same
// bytes, synced, under random keys of the same length, in the same run.
func BenchmarkDeposit(b *testing.B) {
	const callers = 8
	s, err := kv.Open(filepath.Join(b.TempDir(), "kv"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := open(b, s, mailbox.Policy{Letters: 1 << 30, Bytes: 1 << 40, LettersPerBox: 1 << 30, BytesPerBox: 1 << 40, Boxes: 1 << 30})
	ready := make([]mailbox.Deposit, b.N)
	for i := range ready {
		ready[i] = under(fmt.Sprint("box", i%16), fmt.Sprint(i))
		ready[i].Cap = capability(fmt.Sprint("box", i%16), fmt.Sprint(i%64), 65535, 65535)
	}
	run := func(from, to int, work func(i int) error) time.Duration {
		var next atomic.Int64
		next.Store(int64(from))
		var wg sync.WaitGroup
		start := time.Now()
		for range callers {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(to); i = next.Add(1) - 1 {
					if err := work(int(i)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	meta := make([]byte, 64)
	bare := func(i int) error {
		return s.Update(context.Background(), func(tx kv.Tx) error {
			k := make([]byte, 4+32+32)
			copy(k, "x/m/")
			binary.BigEndian.PutUint64(k[4:], uint64(i)*0x9e3779b97f4a7c15)
			if err := tx.Put(k, meta); err != nil {
				return err
			}
			k[2] = 'l'
			return tx.Put(k, ready[i].Letter)
		})
	}
	floor := run(0, b.N/2, bare) // half before and half after: a store that grows gets slower
	b.ResetTimer()
	ours := run(0, b.N, func(i int) error {
		_, err := m.Deposit(context.Background(), ready[i], now)
		return err
	})
	b.StopTimer()
	floor += run(b.N/2, b.N, bare)
	b.ReportMetric(float64(floor)/float64(ours), "x-badger")
	b.ReportMetric(float64(b.N)/ours.Seconds(), "deposits/s")
}
