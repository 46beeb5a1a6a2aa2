package vault_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
)

// What the benchmarks look at: a vault as large as one may be, on disk, and beside it
// the floor, a bare store with as many values of the same size and nothing locked.
const benchFields = vault.MaxFields

func benchName(i int) protocol.FieldName { return protocol.FieldName(fmt.Sprintf("note.n%05d", i)) }

func benchValue(i int) string {
	return fmt.Sprintf("a value of an ordinary length, number %05d, say an address", i)
}

// benchVault fills both and closes them; the secrets open the vault again.
func benchVault(b *testing.B) (dir, bare string, secret, outer key.Secret) {
	dir, bare, secret, outer = b.TempDir(), b.TempDir(), key.NewSecret(), key.NewSecret()
	for _, d := range []string{dir, bare} {
		s := benchOpen(b, d)
		sealed, v := kv.Sealed(s, outer), vault.New(secret)
		for i := 0; i < benchFields; i += 100 {
			var err error
			if d == dir {
				err = sealed.Update(context.Background(), func(tx kv.Tx) error {
					for j := i; j < i+100; j++ {
						if _, err := v.Set(tx, benchName(j), benchValue(j), 1); err != nil {
							return err
						}
					}
					return nil
				})
			} else {
				err = s.Update(context.Background(), func(tx kv.Tx) error {
					for j := i; j < i+100; j++ {
						if err := tx.Put([]byte(benchName(j)), []byte(benchValue(j))); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return dir, bare, secret, outer
}

func benchOpen(b *testing.B, dir string) kv.Store {
	s, err := kv.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func timed(b *testing.B, into *[]time.Duration, fn func() error) {
	began := time.Now()
	if err := fn(); err != nil {
		b.Fatal(err)
	}
	*into = append(*into, time.Since(began))
}

// BenchmarkVaultGet reads one field with its value out of 10,000, and, in turn with
// that, one value of a bare store.
func BenchmarkVaultGet(b *testing.B) {
	dir, bare, secret, outer := benchVault(b)
	s, f := benchOpen(b, dir), benchOpen(b, bare)
	defer func() { _, _ = s.Close(), f.Close() }() // nothing was written
	sealed, v := kv.Sealed(s, outer), vault.New(secret)
	const each = 100
	var ours, floor []time.Duration
	i := 0
	for b.Loop() {
		from := i
		timed(b, &ours, func() error {
			for range each {
				i = (i + 7919) % benchFields
				err := sealed.View(context.Background(), func(r kv.Reader) error {
					got, err := v.Get(r, benchName(i))
					if err == nil && got.Value != benchValue(i) {
						b.Fatalf("field %d is %q", i, got.Value)
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		i = from
		timed(b, &floor, func() error {
			for range each {
				i = (i + 7919) % benchFields
				err := f.View(context.Background(), func(r kv.Reader) error {
					_, err := r.Get([]byte(benchName(i)))
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(ours).Nanoseconds())/1e3/each, "us/op")
	b.ReportMetric(float64(median(floor).Nanoseconds())/1e3/each, "us-bare/op")
}

// BenchmarkVaultOpen opens a store with a vault of 10,000 fields, makes it ready as
// after an unlock, and lists it; in turn with that it opens and scans a bare store.
func BenchmarkVaultOpen(b *testing.B) {
	dir, bare, secret, outer := benchVault(b)
	var ours, floor []time.Duration
	for b.Loop() {
		var s kv.Store
		timed(b, &ours, func() error {
			s = benchOpen(b, dir)
			sealed, v := kv.Sealed(s, outer), vault.New(secret)
			if err := v.Open(context.Background(), sealed, 2); err != nil {
				return err
			}
			return sealed.View(context.Background(), func(r kv.Reader) error {
				all, err := v.List(r)
				if err == nil && len(all) != benchFields {
					b.Fatalf("%d fields", len(all))
				}
				return err
			})
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		timed(b, &floor, func() error {
			s = benchOpen(b, bare)
			n := 0
			err := s.View(context.Background(), func(r kv.Reader) error {
				return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
			})
			if n != benchFields {
				b.Fatalf("%d values", n)
			}
			return err
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours).Seconds(), "s/op")
	b.ReportMetric(median(floor).Seconds(), "s-bare/op")
}
