package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// examples builds the examples, and the program that one of them is a short form of,
// and gives the path of each.
func examples(t *testing.T) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../examples/announce", "../examples/answer", "../examples/audit", "../cmd/hark-audit").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return func(name string) string { return filepath.Join(dir, exe(name)) }
}

// An example is one of them while it runs.
type example struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error

	mu    sync.Mutex
	lines []string
	news  chan struct{} // closed, and made anew, at each line
}

// run starts an example against the node of a home.
func run(t *testing.T, path string, p *process, env []string, args ...string) *example {
	t.Helper()
	x := &example{t: t, cmd: exec.Command(path, args...), done: make(chan error, 1), news: make(chan struct{})}
	x.cmd.Env = append(append(plainEnv(), "HARK_HOME="+p.paths.Config), env...)
	r, w := io.Pipe()
	x.cmd.Stdout, x.cmd.Stderr = w, w
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read(r)
	go func() {
		err := x.cmd.Wait()
		_ = w.Close() // it never fails
		x.done <- err
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // it may have ended before
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), x.said())
		}
	})
	return x
}

func (x *example) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		x.mu.Lock()
		x.lines = append(x.lines, s.Text())
		close(x.news)
		x.news = make(chan struct{})
		x.mu.Unlock()
	}
}

func (x *example) said() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(x.lines, "\n")
}

// says waits until the example has printed a line with these words.
func (x *example) says(words string) string {
	x.t.Helper()
	most := time.After(storyWait)
	for {
		x.mu.Lock()
		news, lines := x.news, x.lines
		x.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, words) {
				return l
			}
		}
		select {
		case <-news:
		case <-most:
			x.t.Fatalf("no line with %q", words)
		}
	}
}

// interrupt ends the example as Ctrl-C does; that is no failure.
func (x *example) interrupt() {
	x.t.Helper()
	if err := x.cmd.Process.Signal(os.Interrupt); err != nil { // Windows knows none
		_ = x.cmd.Process.Kill()
		<-x.done //nolint:errcheck // it was killed, whatever it says
		return
	}
	select {
	case err := <-x.done:
		if err != nil {
			x.t.Errorf("%s, interrupted: %v", filepath.Base(x.cmd.Path), err)
		}
	case <-time.After(stopWait):
		x.t.Errorf("%s does not end", filepath.Base(x.cmd.Path))
	}
}

// TestExamples lets the examples play against real nodes: one makes a vendor, one
// announces a need and sees the offer, one checks the ledger that came of it.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts programs")
	}
	path := examples(t)
	g := youngNetwork()
	public, addrs := publicNodes(t, g, 2)
	her := newProcess(t, "her", node.InitOptions{Profile: node.Personal, Network: g, Bootstrap: addrs})
	startAll(t, her)
	acquainted(t, []*process{her}, len(public))
	if err := her.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Vault().Set(ctx, "location.area", desk.Value("Melville"))
		return err
	}); err != nil {
		t.Fatal(err)
	}

	products := filepath.Join(t.TempDir(), "products.csv")
	if err := os.WriteFile(products, []byte("id,title,price\n1,Grey couch for two,4500.00\n2,Oak table,7999.00\n3,,1.00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	answer := run(t, path("answer"), public[0], nil, "Example Furniture", products)
	answer.says("2 products, 1 rows refused")

	announce := run(t, path("announce"), her, []string{"CATEGORY=home.furniture"}, "a", "grey", "couch")
	first := announce.says("announced ")
	if offer := announce.says("Example Furniture offers"); !strings.Contains(offer, `"Grey couch for two" for ZAR 4 500.00`) {
		t.Errorf("it says %q", offer)
	}
	announce.interrupt()
	seen, said := false, announce.said()
	for _, part := range []string{"category", "home.furniture", "field on offer", "location.area", "one-time mailbox", "sealed need"} {
		if seen = strings.Contains(said, part); !seen {
			t.Errorf("of what strangers see it does not show %q", part)
		}
	}
	_, shown, _ := strings.Cut(said, first)
	shown, _, _ = strings.Cut(shown, "Example Furniture offers")
	if strings.Contains(shown, "couch") || strings.Contains(shown, "Melville") {
		t.Errorf("strangers see her words:\n%s", shown)
	}
	for _, event := range []string{"request.sent", "grant.kept", "offer.sent"} {
		answer.says(event)
	}
	answer.interrupt()
	audits(t, path("audit"), path("hark-audit"), her)
}

// audits checks an exported ledger with the example, and that it finds a flipped bit.
func audits(t *testing.T, path, program string, p *process) {
	t.Helper()
	var export bytes.Buffer
	if err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		export.Reset()
		return h.Ledger().Export(ctx, desk.ExportSpec{}, &export)
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	audit := func(raw []byte) (string, error) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(path, file).CombinedOutput()
		return string(out), err
	}
	good := export.Bytes()
	if out, err := audit(good); err != nil || !strings.Contains(out, "in this order") || !strings.Contains(out, "has countersigned grant") || !strings.Contains(out, "1 that vendors have countersigned") {
		t.Errorf("of what was exported: %v\n%s", err, out)
	}
	if out, err := exec.Command(program, file).CombinedOutput(); err != nil || !strings.Contains(string(out), "All holds.") || !strings.Contains(string(out), "What it does not prove:") {
		t.Errorf("hark-audit of what was exported: %v\n%s", err, out)
	}
	for i := range 24 { // spread over all of it
		raw := bytes.Clone(good)
		at := (2*i + 1) * len(raw) / 48
		raw[at] ^= 1
		out, err := audit(raw)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "not the ledger that its device signed") {
			t.Errorf("a bit flipped at %d of %d, in %q: %v\n%s", at, len(raw), good[max(0, at-10):min(len(good), at+10)], err, out)
		}
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, raw := range map[string][]byte{
		"nothing": nil, "cut short": good[:len(good)/2], "without its second line": bytes.Join(append(lines[:1:1], lines[2:]...), nil),
		"without its last line": bytes.Join(lines[:len(lines)-2], nil),
	} {
		if out, err := audit(raw); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestExamplesRefuse shows what the examples say where they can't do their work.
func TestExamplesRefuse(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts programs")
	}
	path := examples(t)
	home := filepath.Join(t.TempDir(), "nobody")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"announce": {nil, "say what you need"},
		"answer":   {[]string{"a name alone"}, "give your trade name"},
		"audit":    {nil, "name one file"},
	} {
		for _, x := range []struct {
			args []string
			want string
		}{{c.args, c.want}, {map[string][]string{
			"announce": {"a desk"}, "answer": {"Shop", "products.csv"}, "audit": {filepath.Join(home, "ledger")},
		}[name], map[string]string{"announce": "no node is running", "answer": "no node is running", "audit": "no such file"}[name]}} {
			cmd := exec.Command(path(name), x.args...)
			cmd.Env = append(plainEnv(), "HARK_HOME="+home)
			out, err := cmd.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !strings.HasPrefix(string(out), name+": ") || !strings.Contains(string(out), x.want) {
				t.Errorf("%s %v: %v\n%s", name, x.args, err, out)
			}
		}
	}
}
