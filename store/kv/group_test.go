package kv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

// A slow store takes a second for each Update, as a disk takes its time to sync, and
// counts them.
type slow struct {
	kv.Store
	updates int
	fail    error // what each Update gives once its second is over
}

func (s *slow) Update(ctx context.Context, fn func(kv.Tx) error) error {
	time.Sleep(time.Second)
	s.updates++
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Update(ctx, fn)
}

// entry writes one key.
func entry(n int) func(kv.Tx) error {
	return func(tx kv.Tx) error { return tx.Put(fmt.Appendf(nil, "r/%04d", n), []byte("x")) }
}

// kept counts the records.
func kept(t *testing.T, s kv.Store) (n int) {
	t.Helper()
	must(t, s.View(t.Context(), func(r kv.Reader) error {
		return r.Scan([]byte("r/"), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	}))
	return n
}

// Who comes while somebody writes shares the next transaction, and is told when that
// one is over, no sooner.
func TestWhoComesMeanwhileSharesATransaction(t *testing.T) {
	for _, row := range []struct{ callers, size, updates int }{
		{1, 10, 1}, {9, 10, 2}, {200, 10, 1 + 4}, {9, kv.MaxTx / 4, 1 + 4}, {4, kv.MaxTx, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &slow{Store: kv.Memory()}
			g := kv.NewGroup(s)
			began := time.Now()
			var wg sync.WaitGroup
			for n := range row.callers {
				wg.Go(func() {
					must(t, g.Update(t.Context(), row.size, entry(n)))
					if _, err := get(s, fmt.Sprintf("r/%04d", n)); err != nil || time.Since(began) < time.Second {
						t.Errorf("told after %v, and there: %v", time.Since(began), err)
					}
				})
			}
			wg.Wait()
			if s.updates != row.updates || kept(t, s) != row.callers {
				t.Errorf("%d callers of %d bytes: %d transactions, want %d; %d kept", row.callers, row.size, s.updates, row.updates, kept(t, s))
			}
		})
	}
}

// shareOne has one caller write, and meanwhile the functions that are to share the
// next transaction join; it gives what each was told.
func shareOne(t *testing.T, g *kv.Group, ctxs []context.Context, fns ...func(kv.Tx) error) []error {
	t.Helper()
	told := make([]error, len(fns))
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Update(t.Context(), 1, func(kv.Tx) error { return nil }) })
	synctest.Wait()
	for i, fn := range fns {
		wg.Go(func() { told[i] = g.Update(ctxs[i], 1, fn) })
		synctest.Wait() // in this order
	}
	wg.Wait()
	return told
}

// Nobody fails, or is kept, for another: neither where one's function gives an error,
// nor where the transaction gets too large, nor where one gave up.
func TestWhoSharesATransactionFailsAlone(t *testing.T) {
	mine := errors.New("mine")
	for name, wrong := range map[string]struct {
		fn   func(kv.Tx) error
		want error
	}{
		"an error":       {func(tx kv.Tx) error { return errors.Join(entry(9)(tx), mine) }, mine},
		"a careless one": {func(tx kv.Tx) error { _ = tx.Put(nil, nil); return entry(9)(tx) }, fault.Malformed},
		"too large":      {func(tx kv.Tx) error { return tx.Put([]byte("r/9"), make([]byte, kv.MaxTx)) }, fault.Full},
		"gave up":        {entry(9), context.DeadlineExceeded},
	} {
		for at := range 3 { // also as the one who leads
			synctest.Test(t, func(t *testing.T) {
				s := &slow{Store: kv.Memory()}
				fns := []func(kv.Tx) error{entry(0), entry(1), entry(2)}
				ctxs := []context.Context{t.Context(), t.Context(), t.Context()}
				fns[at] = wrong.fn
				if errors.Is(wrong.want, context.DeadlineExceeded) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					ctxs[at] = ctx
				}
				for i, err := range shareOne(t, kv.NewGroup(s), ctxs, fns...) {
					if want := map[bool]error{true: wrong.want}[i == at]; !errors.Is(err, want) || want == nil && err != nil {
						t.Errorf("%s as number %d: number %d was told %v", name, at, i, err)
					}
				}
				if n := kept(t, s); n != 2 {
					t.Errorf("%s as number %d: %d of 2 kept", name, at, n)
				}
			})
		}
	}
}

// A disk that fails fails everybody; whoever shares a transaction in which one step
// fails, whichever, is either told so or kept.
func TestAGroupSaysNothingThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Store: kv.Memory(), fail: errors.New("no disk")}
		ctxs := []context.Context{t.Context(), t.Context(), t.Context()}
		for i, err := range shareOne(t, kv.NewGroup(s), ctxs, entry(0), entry(1), entry(2)) {
			if !errors.Is(err, s.fail) {
				t.Errorf("number %d was told %v of a disk that failed", i, err)
			}
		}
		if n := kept(t, s); n != 0 {
			t.Errorf("%d kept", n)
		}
	})
	for n := 2; n < 20; n++ {
		synctest.Test(t, func(t *testing.T) {
			s := storetest.Failing(&slow{Store: kv.Memory()}, n)
			ctxs := []context.Context{t.Context(), t.Context(), t.Context()}
			acknowledged := 0
			for _, err := range shareOne(t, kv.NewGroup(s), ctxs, entry(0), entry(1), entry(2)) {
				if err == nil {
					acknowledged++
				} else if !errors.Is(err, storetest.ErrInjected) {
					t.Error(err)
				}
			}
			if acknowledged < 2 || kept(t, s) != acknowledged {
				t.Errorf("step %d failed: %d acknowledged, %d kept", n, acknowledged, kept(t, s))
			}
		})
	}
}

// A function that panics takes nobody with it who waits in line.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Store: kv.Memory()}
		g := kv.NewGroup(s)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { _ = recover() }()
			_ = g.Update(t.Context(), 1, func(kv.Tx) error { panic("planted") })
		})
		synctest.Wait()
		wg.Go(func() { must(t, g.Update(t.Context(), 1, entry(1))) })
		wg.Wait()
		if n := kept(t, s); n != 1 {
			t.Errorf("%d kept", n)
		}
	})
}

const crashGroupDir = "HARK_TEST_CRASH_GROUP_DIR"

// shareUntilKilled has eight write by turns through a Group; each says what it was
// told is kept.
func shareUntilKilled(dir string) {
	s, err := kv.Open(dir)
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(3)
	}
	g := kv.NewGroup(s)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for n := c; ; n += 8 {
				if err := g.Update(context.Background(), 3000, func(tx kv.Tx) error {
					return tx.Put(fmt.Appendf(nil, "r/%06d", n), []byte(strings.Repeat("x", n*37%3000)))
				}); err != nil {
					fmt.Println("failed:", err)
					os.Exit(3)
				}
				fmt.Println(n)
			}
		})
	}
	wg.Wait()
}

// What one of eight that share transactions was told is kept is there after a kill.
func TestNothingSharedIsLostByAKill(t *testing.T) {
	for _, acks := range []int{1, 9, 200} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashGroupDir+"="+dir)
		told := killedAfter(t, cmd, acks)
		s, err := kv.Open(dir)
		must(t, err)
		for _, n := range told {
			if v, err := get(s, fmt.Sprintf("r/%06d", n)); err != nil || len(v) != n*37%3000 {
				t.Errorf("record %d was acknowledged: %d bytes, %v", n, len(v), err)
			}
		}
		if len(told) < acks {
			t.Errorf("%d acknowledged", len(told))
		}
		must(t, s.Close())
	}
}
