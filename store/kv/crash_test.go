package kv_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/harkmarket/hark/store/kv"
)

const crashDir = "HARK_TEST_CRASH_DIR"

// TestMain lets the test binary play the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	if dir := os.Getenv(crashGroupDir); dir != "" {
		shareUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled says "n" only after record n was kept.
func writeUntilKilled(dir string) {
	s, err := kv.Open(dir)
	for n := 0; err == nil; n++ {
		if last, e := get(s, "last"); n == 0 && e == nil {
			n, _ = strconv.Atoi(last)
			n++
		}
		err = s.Update(context.Background(), func(tx kv.Tx) error {
			if err := tx.Put(fmt.Appendf(nil, "r/%06d", n), fmt.Appendf(nil, "%d:%s", n, strings.Repeat("x", n*37%3000))); err != nil {
				return err
			}
			return tx.Put([]byte("last"), fmt.Append(nil, n))
		})
		if err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println("failed:", err)
	os.Exit(3)
}

// crash starts the writer, kills it once it has acknowledged at least acks
// records, and returns the last one that it acknowledged.
func crash(t *testing.T, dir string, acks int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	told := killedAfter(t, cmd, acks)
	if len(told) == 0 {
		return -1
	}
	return told[len(told)-1]
}

// killedAfter runs a writer until it has acknowledged acks records, kills it, and
// returns all that it acknowledged.
func killedAfter(t *testing.T, cmd *exec.Cmd, acks int) (told []int) {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the writer says %q", lines.Text())
			break
		}
		told = append(told, n)
		if acks--; acks == 0 {
			must(t, cmd.Process.Kill()) // by its own pid, SIGKILL; the rest of its pipe is still read
		}
	}
	_ = cmd.Wait()
	return told
}

// checkRecords looks for every record up to the last one that was acknowledged.
func checkRecords(s kv.Store, acknowledged int) error {
	last, err := get(s, "last")
	if err != nil {
		return err
	}
	kept, err := strconv.Atoi(last)
	if err != nil || kept < acknowledged {
		return fmt.Errorf("record %d was acknowledged, the last one kept is %s", acknowledged, last)
	}
	next := 0
	err = s.View(context.Background(), func(r kv.Reader) error {
		return r.Scan([]byte("r/"), nil, func(key, value []byte) (bool, error) {
			want := fmt.Sprintf("%d:%s", next, strings.Repeat("x", next*37%3000))
			if string(key) != fmt.Sprintf("r/%06d", next) || string(value) != want {
				return false, fmt.Errorf("record %d is %s = %.20s", next, key, value)
			}
			next++
			return true, nil
		})
	})
	if err == nil && next != kept+1 {
		err = fmt.Errorf("%d records, but the last one is %d", next, kept)
	}
	return err
}

func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	dir := t.TempDir()
	for round, acks := range []int{1, 3, 40, 7, 150, 2} {
		acknowledged := crash(t, dir, acks)
		if acknowledged < 0 {
			t.Fatalf("round %d: nothing was acknowledged", round)
		}
		audited, err := kv.OpenReadOnly(dir)
		must(t, err)
		last, err := get(audited, "last")
		must(t, err)
		must(t, audited.Close())
		audit(t, dir, last)
		if round%2 == 0 {
			continue // the next writer opens what the kill left
		}
		s, err := kv.Open(dir)
		must(t, err)
		must(t, checkRecords(s, acknowledged))
		must(t, s.Close())
	}
}

// The check above must be able to fail: it finds each planted loss.
func TestTheCrashTestFindsALoss(t *testing.T) {
	dir := t.TempDir()
	acknowledged := crash(t, dir, 20)
	for name, harm := range map[string]func(kv.Tx) error{
		"the end":    func(tx kv.Tx) error { return tx.Put([]byte("last"), fmt.Append(nil, acknowledged-1)) },
		"one record": func(tx kv.Tx) error { return tx.Delete([]byte("r/000007")) },
		"one byte":   func(tx kv.Tx) error { return tx.Put([]byte("r/000007"), []byte("7;")) },
	} {
		s, err := kv.OpenReadOnly(dir) // a copy: each harm has its own
		must(t, err)
		must(t, checkRecords(s, acknowledged))
		harmed := kv.Memory()
		must(t, harmed.Update(t.Context(), func(tx kv.Tx) error {
			err := s.View(t.Context(), func(r kv.Reader) error {
				return r.Scan(nil, nil, func(k, v []byte) (bool, error) { return true, tx.Put(k, v) })
			})
			if err != nil {
				return err
			}
			return harm(tx)
		}))
		must(t, s.Close())
		if checkRecords(harmed, acknowledged) == nil {
			t.Errorf("losing %s goes unnoticed", name)
		}
	}
}
