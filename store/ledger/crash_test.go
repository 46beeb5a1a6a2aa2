package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

// The crash harness. A child process, which is this test's own program, appends to a
// ledger as a node does: each entry in one kv.Update together with a record of another
// room. It says on a pipe how far it is, after the Update has returned, and with it how
// far the logs on disk reached then; after so many entries it goes on in silence.
//
//   - kill: SIGKILL at a random moment; the folder is opened as the next start would.
//   - power cut: of a folder that a kill left, a copy in which every log loses what was
//     written after the last acknowledgement, from a random byte on: cut off there, or
//     zeroed, or one sector of it zeroed while later ones stay.
//
// What is simulated of a power cut is the loss of unsynced bytes of logs, since these
// are what an acknowledgement rests on. Not simulated: a disk that lies about a sync, a
// directory that forgets a file, and tables and manifest torn while they are written.
const (
	crashDir   = "HARK_TEST_CRASH_DIR"
	crashAcks  = "HARK_TEST_CRASH_ACKS"  // entries to acknowledge
	crashBody  = "HARK_TEST_CRASH_BODY"  // bytes of a body
	crashAhead = "HARK_TEST_CRASH_AHEAD" // entries acknowledged before they are there: a lie
)

// TestMain lets this program play the process that is killed, and tidies up after the
// benchmarks.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := appendUntilKilled(dir); err != nil {
			fmt.Println("failed:", err)
		}
		os.Exit(3)
	}
	code := m.Run()
	if err := closeMillion(); err != nil {
		fmt.Println("the ledger of the benchmarks:", err)
		code = 1
	}
	os.Exit(code)
}

func number(env string) int64 {
	n, _ := strconv.ParseInt(os.Getenv(env), 10, 64)
	return n
}

var crashSecret = func() key.Secret {
	s, err := key.SecretFrom(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		panic(err)
	}
	return s
}()

// bodyOf is what entry n says.
func bodyOf(n, size int64) []byte {
	line := fmt.Appendf(nil, "entry %d. ", n)
	return bytes.Repeat(line, int(size)/len(line)+1)[:size]
}

func besideKey(n int64) []byte { return binary.BigEndian.AppendUint64([]byte("w/"), uint64(n)) }

// starting keeps children from being started while a folder's lock is let go: for a
// moment a child holds what its parent had open, and so the lock, and the next to open
// the folder would be told that it is in use.
var starting sync.RWMutex

// openCrashed opens a folder as a node does at its start.
func openCrashed(dir string) (kv.Store, *ledger.Ledger, error) {
	starting.RLock()
	defer starting.RUnlock()
	s, err := kv.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("an unreadable start: %w", err)
	}
	sealed := kv.Sealed(s, crashSecret)
	l, err := ledger.Open(context.Background(), sealed, key.FromSeed[key.Device](crashSecret))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("an unreadable start: %w", err), s.Close())
	}
	return sealed, l, nil
}

// appendUntilKilled is the child.
func appendUntilKilled(dir string) error {
	s, l, err := openCrashed(dir)
	if err != nil {
		return err
	}
	var n int64
	if err := s.View(context.Background(), func(r kv.Reader) (err error) { n, err = l.Size(r); return err }); err != nil {
		return err
	}
	acks, ahead, size := number(crashAcks), number(crashAhead), number(crashBody)
	silent := acks + maxSilent
	say := func(n int64) {
		if acks > 0 {
			acks--
			fmt.Printf("%d %s\n", n, reached(dir)) // one write
		}
	}
	for {
		if silent--; silent < 0 { // where the parent is slow, folders do not grow for ever
			time.Sleep(time.Minute)
			return errors.New("nobody has killed the child")
		}
		n++
		if ahead > 0 {
			say(n + ahead - 1)
		}
		err := s.Update(context.Background(), func(tx kv.Tx) error {
			if _, err := l.Append(tx, "crash", n, bodyOf(n, size)); err != nil {
				return err
			}
			return tx.Put(besideKey(n), bodyOf(n, 100))
		})
		if err != nil {
			return err
		}
		if ahead == 0 {
			say(n)
		}
	}
}

// maxSilent is how many entries the child appends at most after its last word.
const maxSilent = 40

// isLog tells the files that acknowledged bytes rest on until they are in a table.
func isLog(name string) bool {
	return strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog")
}

// grown remembers how far a log had been written, so that it is not read again.
var grown = map[string]int64{}

// reached says how far each log in a folder is written: "00001.mem=5120,…".
func reached(dir string) string {
	names, _ := os.ReadDir(dir)
	var all []string
	for _, f := range names {
		if path := filepath.Join(dir, f.Name()); isLog(f.Name()) {
			grown[path] = written(path, grown[path])
			all = append(all, fmt.Sprintf("%s=%d", f.Name(), grown[path]))
		}
	}
	return strings.Join(all, ",")
}

// written is how far a log is written: logs are made long, of zeros, and filled from
// the front with what looks random. 8 KiB of zeros are its end.
func written(path string, from int64) int64 {
	f, err := os.Open(path)
	if err != nil {
		return from
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, 8<<10)
	for at := from; ; {
		n, err := f.ReadAt(buf, at)
		last := n - 1
		for last >= 0 && buf[last] == 0 {
			last--
		}
		if last >= 0 {
			from = at + int64(last) + 1
		}
		if last < 0 || err != nil {
			return from
		}
		at += int64(n)
	}
}

// A crashed is what a kill left.
type crashed struct {
	dir   string
	acked int64
	logs  map[string]int64 // how far each log reached at the last acknowledgement
	body  int64
}

// kill starts the child and kills it after so many acknowledgements and a while.
func kill(dir string, acks, body, ahead int64, wait time.Duration) (c crashed, err error) {
	c = crashed{dir: dir, body: body}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprint(crashAcks, "=", acks), fmt.Sprint(crashBody, "=", body), fmt.Sprint(crashAhead, "=", ahead))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return c, err
	}
	starting.Lock()
	err = cmd.Start()
	starting.Unlock()
	if err != nil {
		return c, err
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		if err := c.ack(in.Text()); err != nil {
			return c, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		if acks--; acks == 0 {
			time.Sleep(wait)
			if err := cmd.Process.Kill(); err != nil { // by its own pid, SIGKILL
				return c, err
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if c.acked == 0 {
		return c, errors.New("the child acknowledged nothing")
	}
	return c, nil
}

func (c *crashed) ack(line string) error {
	n, logs, _ := strings.Cut(line, " ")
	seq, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		return fmt.Errorf("the child says %q", line)
	}
	c.acked, c.logs = seq, map[string]int64{}
	for l := range strings.SplitSeq(logs, ",") {
		name, at, _ := strings.Cut(l, "=")
		if c.logs[name], err = strconv.ParseInt(at, 10, 64); err != nil {
			return fmt.Errorf("the child says %q", line)
		}
	}
	return nil
}

// recent is how many acknowledged entries are compared with what was appended.
const recent = 100

// sound opens a folder and tells what is wrong: an acknowledged entry that is not
// there, a start that fails, a ledger that does not verify, half a transaction.
func (c crashed) sound(dir string) (err error) {
	s, l, err := openCrashed(dir)
	if err != nil {
		return err
	}
	defer func() {
		starting.RLock()
		defer starting.RUnlock()
		err = errors.Join(err, s.Close())
	}()
	return s.View(context.Background(), func(r kv.Reader) error {
		rep, err := l.Verify(r)
		if err != nil {
			return err
		}
		if rep.Entries < c.acked {
			return fmt.Errorf("entry %d was acknowledged, and the ledger has %d", c.acked, rep.Entries)
		}
		beside := int64(0)
		if err := r.Scan([]byte("w/"), nil, func([]byte, []byte) (bool, error) { beside++; return true, nil }); err != nil {
			return err
		}
		if beside != rep.Entries {
			return fmt.Errorf("%d entries, and %d records that were kept with them", rep.Entries, beside)
		}
		return l.Each(r, c.acked-recent, func(e ledger.Entry) (bool, error) { // Verify has held all to their commitments
			if e.AtMS != e.Seq || !bytes.Equal(e.Body, bodyOf(e.Seq, c.body)) {
				return false, fmt.Errorf("entry %d is another one", e.Seq)
			}
			return true, nil
		})
	})
}

// cut makes a copy of the folder whose logs lost what was written after the
// acknowledgement, from a random byte on.
func (c crashed) cut(to string, r *rand.Rand) error { return c.copied(to, r, 0) }

// cutEarly makes one whose logs end so many bytes before the acknowledgement.
func (c crashed) cutEarly(to string, bytes int64) error { return c.copied(to, nil, bytes) }

func (c crashed) copied(to string, r *rand.Rand, early int64) error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		from := filepath.Join(c.dir, f.Name())
		into := filepath.Join(to, f.Name())
		if !isLog(f.Name()) {
			raw, err := os.ReadFile(from)
			if err != nil || f.Name() == "LOCK" {
				if err != nil {
					return err
				}
				continue
			}
			if err := os.WriteFile(into, raw, 0o600); err != nil {
				return err
			}
			continue
		}
		if err := cutLog(from, into, c.logs[f.Name()]-early, r); err != nil {
			return err
		}
	}
	return nil
}

// cutLog copies a log of which the first safe bytes are on the disk for sure. Without r
// it ends there.
func cutLog(from, to string, safe int64, r *rand.Rand) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	end := written(from, 0)
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	raw := make([]byte, end)
	if _, err := f.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	size := info.Size()
	if r == nil {
		return os.WriteFile(to, raw[:min(max(safe, 20), end)], 0o600) // badger's header stays
	}
	at := safe
	if end > safe {
		at += r.Int64N(end - safe + 1)
	}
	switch r.IntN(3) {
	case 0: // the file is shorter
		raw, size = raw[:min(at, end)], at
	case 1: // zeros from there on
		raw = raw[:min(at, end)]
	case 2: // one sector was never written
		for i := at; i < min(at+512, end); i++ {
			raw[i] = 0
		}
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		return err
	}
	return os.Truncate(to, max(size, int64(len(raw)))) // sparse, as it was
}

// cutsPerKill is how many power cuts are made of what one kill left.
const cutsPerKill = 4

// crashPoints is how many are tried: 500, or as many as HARK_CRASHES says.
func crashPoints(t *testing.T) int {
	text := os.Getenv("HARK_CRASHES")
	if text == "" {
		return 500
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("HARK_CRASHES=%q is no number of crashes", text)
	}
	return n
}

// TestMust_crash kills a process that appends, and cuts the power, at random points: no
// acknowledged entry is lost, every start succeeds, and the ledger verifies.
func TestMust_crash(t *testing.T) {
	crashCheckCanFail(t)
	points, seed := int64(crashPoints(t)), rand.Uint64()
	var n crashCounts
	t.Run("points", func(t *testing.T) {
		for w := range 4 {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(w)))
				for home := 1; n.kills.Load()+n.cuts.Load() < points && !t.Failed(); home++ {
					body := int64(40 + r.IntN(400))
					if home%10 == 0 { // bodies that fill a log, so that logs change and tables are written
						body = 60 << 10
					}
					crashHome(t, r, scratch(t, home), body, points, &n)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d crash points: %d kills and %d power cuts, %d of these with unacknowledged bytes to lose; %d acknowledged entries looked at again: 0 lost, 0 unreadable starts, every ledger verifies (seed %d)",
		n.kills.Load()+n.cuts.Load(), n.kills.Load(), n.cuts.Load(), n.loose.Load(), n.entries.Load(), seed)
}

type crashCounts struct{ kills, cuts, loose, entries atomic.Int64 }

// crashHome lets one folder live through several crashes: each next child opens what
// the last kill left.
func crashHome(t *testing.T, r *rand.Rand, top string, body, points int64, n *crashCounts) {
	dir := filepath.Join(top, "home")
	must(t, os.Mkdir(dir, 0o700))
	for range 12 {
		if n.kills.Add(1)+n.cuts.Load() > points {
			n.kills.Add(-1)
			return
		}
		c, err := kill(dir, 1+r.Int64N(12), body, 0, time.Duration(r.IntN(1000))*time.Microsecond)
		if err != nil {
			t.Fatalf("kill: %v", err)
		}
		for range cutsPerKill {
			if n.kills.Load()+n.cuts.Add(1) > points {
				n.cuts.Add(-1)
				break
			}
			if c.loose() {
				n.loose.Add(1)
			}
			to := filepath.Join(top, "cut")
			must(t, os.Mkdir(to, 0o700))
			must(t, c.cut(to, r))
			if err := c.sound(to); err != nil {
				t.Fatalf("power cut after entry %d: %v", c.acked, err)
			}
			n.entries.Add(c.acked)
			must(t, os.RemoveAll(to))
		}
		if r.IntN(2) == 0 {
			continue // the next child opens what the kill left
		}
		if err := c.sound(dir); err != nil {
			t.Fatalf("kill after entry %d: %v", c.acked, err)
		}
		n.entries.Add(c.acked)
	}
}

// scratch is a folder for one home. Most lie in memory, where there is such a place: a
// kill leaves there what it leaves on a disk, a power cut is made by hand, and a sync is
// no wait. Every eighth lies on the disk.
func scratch(t *testing.T, home int) string {
	t.Helper()
	if home%8 != 0 {
		if dir, err := os.MkdirTemp("/dev/shm", "hark-crash-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left of it is memory
			return dir
		}
	}
	return t.TempDir()
}

// loose tells whether bytes were written that nobody had been told of.
func (c crashed) loose() bool {
	for name := range c.logs {
		if written(filepath.Join(c.dir, name), 0) > c.logs[name] {
			return true
		}
	}
	return false
}

// crashCheckCanFail plants what must not be: a child that acknowledges entries before
// they are kept, power that takes acknowledged bytes, and a folder that does not open.
func crashCheckCanFail(t *testing.T) {
	t.Helper()
	liar, err := kill(t.TempDir(), 6, 200, 2*maxSilent, 0)
	must(t, err)
	if err := liar.sound(liar.dir); err == nil || !strings.Contains(err.Error(), "was acknowledged, and the ledger has") {
		t.Fatalf("entries that were acknowledged too early are not missed: %v", err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 6 {
		honest, err := kill(t.TempDir(), 8, 200, 0, 0)
		must(t, err)
		sound := t.TempDir()
		must(t, honest.cut(sound, r))
		must(t, honest.sound(sound))
		unsynced := t.TempDir()
		must(t, honest.cutEarly(unsynced, 300))
		if err := honest.sound(unsynced); err == nil {
			t.Fatalf("round %d: acknowledged bytes that are gone are not missed", round)
		}
	}
	broken := t.TempDir()
	must(t, os.WriteFile(filepath.Join(broken, "MANIFEST"), []byte("no manifest"), 0o600))
	if err := (crashed{}).sound(broken); err == nil || !strings.Contains(err.Error(), "an unreadable start") {
		t.Fatalf("a folder that does not open is not missed: %v", err)
	}
}
