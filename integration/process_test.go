package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Waits are bounds, generous for a busy machine; no test is about how long it takes.
const (
	readyWait = 60 * time.Second // from the start of a process to its first answer
	stopWait  = 30 * time.Second // from SIGTERM to its end
	storyWait = 2 * time.Minute  // for one step of a story between processes
)

var processLog = flag.String("process.log", "warn", "how much processes log: debug, info, warn or error; a test that fails shows the end of it")

// built is where the real binary is built, once for all tests of this package, and once
// more for each edition that a test wants beside it.
var built struct {
	mu   sync.Mutex
	dir  string
	done map[string]error // by build tag, the present edition's under none
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program builds the real binary and gives its path.
func program(t testing.TB) string { return edition(t, "") }

// edition builds the real binary with a build tag and gives its path.
func edition(t testing.TB, tag string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "hark-integration-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.done = dir, map[string]error{}
	}
	bin := filepath.Join(built.dir, exe("hark"+tag))
	err, known := built.done[tag]
	if !known {
		if out, failed := exec.Command("go", "build", "-tags", tag, "-o", bin, "../cmd/hark").CombinedOutput(); failed != nil {
			err = fmt.Errorf("build %s: %w\n%s", tag, failed, out)
		}
		built.done[tag] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func exe(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

// youngNetwork is a network of its own for one test, with cheap admission.
func youngNetwork() *protocol.Genesis {
	var salt protocol.ID
	_, _ = rand.Read(salt[:]) // never fails
	return node.NewGenesis("process test", 4, []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: 8}}, salt)
}

// A process is a home and, while it runs, the one process of the real binary that
// has it open. Its methods may be called from several goroutines.
type process struct {
	name  string
	paths node.Paths
	bin   string
	args  []string // after `hark run`

	striking sync.Mutex // held from a kill to the next start

	mu    sync.Mutex
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
	api   *client.Client
	times int // it was started
}

// newProcess makes a home. A public node listens on a port of its own that stays the
// same from one start to the next, unless the options say where.
func newProcess(t testing.TB, name string, o node.InitOptions) *process {
	t.Helper()
	home := filepath.Join(t.TempDir(), name)
	o.Paths = node.Paths{Config: home, Data: filepath.Join(home, "data"), State: filepath.Join(home, "state")}
	if o.Profile != node.Public {
		o.PostDelay = "0s"
	}
	if o.Profile == node.Public && len(o.Listen) == 0 {
		o.Listen = []string{fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", freePort(t))}
	}
	if err := node.Init(o); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p := &process{name: name, paths: o.Paths, bin: program(t), args: []string{"--log-level", *processLog}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s is here:\n%s\nand last said:\n%s", name, p.whereabouts(), p.tail())
		}
		p.kill()
	})
	return p
}

// freePort finds a UDP port that nobody uses.
func freePort(t testing.TB) int {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func (p *process) logFile() string { return filepath.Join(p.paths.Config, "node.log") }

// start runs `hark run` in the home. It returns before the node answers.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(p.bin, append([]string{"run", "--home", p.paths.Config}, p.args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.SysProcAttr = log, log, plainEnv(), attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is seen where it matters
		close(done)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.done = cmd, done
	p.times++
	return nil
}

// plainEnv is the environment without settings of the user's own node.
func plainEnv() (out []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HARK_") {
			out = append(out, e)
		}
	}
	return out
}

func (p *process) running() (cmd *exec.Cmd, done chan struct{}, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.done, p.times
}

// kill ends the process as `kill -9` does, by its id, and waits for its end.
func (p *process) kill() {
	cmd, done, _ := p.running()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended before
	<-done
}

// stop asks the process to end and gives its exit code.
func (p *process) stop() (int, error) {
	cmd, done, _ := p.running()
	if cmd == nil {
		return 0, nil
	}
	if runtime.GOOS == "windows" {
		p.kill()
		return 0, nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended before
	select {
	case <-done:
		return cmd.ProcessState.ExitCode(), nil
	case <-time.After(stopWait):
		p.kill()
		return -1, fmt.Errorf("%s did not stop within %v; it last said:\n%s", p.name, stopWait, p.tail())
	}
}

// house waits until the node answers, and gives it with the number of its start, so
// that the caller can tell later whether it is still the same process.
func (p *process) house(ctx context.Context) (*client.Client, int, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		cmd, done, times := p.running()
		if c := p.cached(ctx, cmd); c != nil {
			return c, times, nil
		}
		select {
		case <-ctx.Done():
			return nil, times, fmt.Errorf("%s does not answer within %v; it last said:\n%s", p.name, readyWait, p.tail())
		case <-done:
			if _, _, now := p.running(); now == times && !killed(cmd) {
				return nil, times, fmt.Errorf("%s ended by itself (%v); it last said:\n%s", p.name, cmd.ProcessState, p.tail())
			}
			time.Sleep(5 * time.Millisecond) // it is being started again
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cached gives the client of the running process, nil where it does not answer yet.
func (p *process) cached(ctx context.Context, cmd *exec.Cmd) *client.Client {
	p.mu.Lock()
	c := p.api
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if c != nil && c.File().PID == cmd.Process.Pid {
		return c
	}
	c, err := client.Open(ctx, p.paths.API())
	if err != nil || c.File().PID != cmd.Process.Pid {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.api = c
	return c
}

// killed tells whether an ended process was ended by a signal.
func killed(cmd *exec.Cmd) bool {
	s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled()
}

// tail gives the last lines of the node's log.
func (p *process) tail() string {
	raw, err := os.ReadFile(p.logFile())
	if err != nil {
		return "(no log)"
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// whereabouts tells, for a test that failed, what the node is busy with.
func (p *process) whereabouts() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd, _, _ := p.running()
	h := p.cached(ctx, cmd)
	if h == nil {
		return "it does not answer"
	}
	st, err := h.Admin().Status(ctx)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "process %d, %d peers, counts %v, letters %v\n", st.PID, st.Peers, st.Counts, st.Delivery)
	grants, _ := all(ctx, h.Customer().Requests().List, desk.Query{All: true})
	for _, g := range grants {
		fmt.Fprintf(&b, "request %.8s of %.8s in %.8s: %s\n", g.ID, g.Vendor, g.Context, g.State)
	}
	letters, _ := all(ctx, func(ctx context.Context, q desk.Query) (desk.Page[desk.LetterReport], error) {
		return h.Admin().Letters(ctx, true, q)
	}, desk.Query{})
	for _, l := range letters {
		if l.State != "acked" && l.Kind != "ack" {
			fmt.Fprintf(&b, "letter %.8s (%s) to %.8s: %s, %d receipts\n", l.ID, l.Kind, l.Box, l.State, len(l.Receipts))
		}
	}
	return b.String()
}

// ask calls fn with the node until it succeeds: an error counts only where the same
// process still answers. fn must be such that its repetition does nothing twice.
func (p *process) ask(ctx context.Context, fn func(context.Context, desk.House) error) error {
	for {
		h, times, err := p.house(ctx)
		if err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = fn(call, h)
		cancel()
		_, done, now := p.running()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-done:
			continue // it was killed meanwhile
		default:
		}
		if now == times && !passing(err) {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// passing tells an error of the way to a node, or of a node that is starting or
// ending, from one that the node means.
func passing(err error) bool {
	_, told := errors.AsType[*client.Error](err)
	return !told || errors.Is(err, fault.Offline)
}

// until asks again and again until fn says that it is so.
func (p *process) until(ctx context.Context, what string, fn func(context.Context, desk.House) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, storyWait)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		so := false
		err := p.ask(ctx, func(ctx context.Context, h desk.House) (err error) {
			so, err = fn(ctx, h)
			return err
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if so && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %s: not within %v", p.name, what, storyWait)
		case <-time.After(pause):
		}
	}
}

// all reads every page of a list.
func all[T any](ctx context.Context, list func(context.Context, desk.Query) (desk.Page[T], error), q desk.Query) (out []T, err error) {
	q.Limit = 500
	for {
		page, err := list(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, nil
		}
		q.After = page.Next
	}
}

// startAll starts processes and waits until they answer.
func startAll(t testing.TB, list ...*process) {
	t.Helper()
	for _, p := range list {
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range list {
		if _, _, err := p.house(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// identity asks a node who it is.
func identity(t testing.TB, p *process) (id desk.Identity) {
	t.Helper()
	err := p.ask(t.Context(), func(ctx context.Context, h desk.House) (err error) {
		id, err = h.Network().Self(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// publicNodes starts n public nodes that know each other, and gives their addresses.
func publicNodes(t testing.TB, g *protocol.Genesis, n int) (list []*process, addrs []string) {
	t.Helper()
	for i := range n {
		p := newProcess(t, fmt.Sprintf("public-%d", i+1), node.InitOptions{Profile: node.Public, Network: g, Bootstrap: addrs})
		startAll(t, p)
		list, addrs = append(list, p), append(addrs, identity(t, p).Addrs[0])
	}
	acquainted(t, list, n-1)
	return list, addrs
}

// acquainted waits until every node knows and has reached that many public ones.
func acquainted(t testing.TB, list []*process, others int) {
	t.Helper()
	for _, p := range list {
		err := p.until(t.Context(), "should know the public nodes", func(ctx context.Context, h desk.House) (bool, error) {
			peers, err := h.Network().Peers(ctx)
			return len(peers) >= others, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
