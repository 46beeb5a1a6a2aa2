package integration

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node"
)

// The exit codes that these tests see.
const (
	exitOK     = 0
	exitLocked = 4
)

// command runs one command of the real binary on the home of p, with stdin, and gives
// what it printed and its exit code.
func (p *process) command(t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), p.bin, append([]string{"--home", p.paths.Config}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = strings.NewReader(stdin), &out, &problems, plainEnv()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

func TestASecondStartFindsTheFirst(t *testing.T) {
	p := newProcess(t, "only", node.InitOptions{Network: youngNetwork()})
	startAll(t, p)
	first, _, err := p.house(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(first.File().PID)
	out, problems, code := p.command(t, "", "run")
	if code != exitOK || problems != "" || !strings.Contains(out, pid) || !strings.Contains(out, first.URL()) {
		t.Errorf("exit code %d, %q, %q: want 0, process %s and %s", code, out, problems, pid, first.URL())
	}
	out, _, code = p.command(t, "", "run", "--json")
	var v struct {
		Schema  string `json:"schema"`
		URL     string `json:"url"`
		PID     int    `json:"pid"`
		Already bool   `json:"already_running"`
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %q: %v", code, out, err)
	}
	if v.Schema != "hark.run/1" || v.URL != first.URL() || v.PID != first.File().PID || !v.Already {
		t.Errorf("%+v", v)
	}
	if now, err := first.Health(t.Context()); err != nil || now != v.PID {
		t.Errorf("the first one after that: process %d, %v", now, err)
	}
	// After a kill the api.json that is left behind finds nobody, and the home opens again.
	p.kill()
	startAll(t, p)
	again, _, err := p.house(t.Context())
	if err != nil || again.File().PID == v.PID {
		t.Errorf("after a kill: process %d, %v", again.File().PID, err)
	}
}

func TestLockAndUnlock(t *testing.T) {
	const right, wrong = "a long walk on the beach", "a long walk on the beech"
	p := newProcess(t, "locked", node.InitOptions{Network: youngNetwork(), Passphrase: []byte(right), Cheap: true})
	startAll(t, p)
	locked := func(want bool) {
		t.Helper()
		out, problems, code := p.command(t, "", "status", "--json")
		var v struct {
			Locked bool `json:"locked"`
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK || v.Locked != want {
			t.Errorf("status: exit code %d, locked %v, want %v (%v): %s", code, v.Locked, want, err, problems)
		}
	}
	run := func(want int, stdin string, args ...string) string {
		t.Helper()
		out, problems, code := p.command(t, stdin, args...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, out, problems)
		}
		if strings.Contains(out+problems, right) || strings.Contains(out+problems, wrong) {
			t.Errorf("%v prints the passphrase: %s%s", args, out, problems)
		}
		return out
	}
	locked(true)
	run(exitLocked, "", "vault", "list")
	run(exitLocked, wrong, "unlock", "--passphrase", "-")
	locked(true)
	run(exitOK, right, "unlock", "--passphrase", "-")
	locked(false)
	run(exitOK, "Observatory", "vault", "set", "location.area", "-")
	run(exitOK, "", "lock")
	locked(true)
	run(exitLocked, "", "vault", "get", "location.area")
	run(exitOK, right+"\n", "unlock", "--passphrase", "-")
	if out := run(exitOK, "", "vault", "get", "location.area", "--json"); !strings.Contains(out, "Observatory") {
		t.Errorf("after lock and unlock: %s", out)
	}
	if code, err := p.stop(); err != nil || code != exitOK {
		t.Errorf("stop: exit code %d, %v", code, err)
	}
	run(exitLocked, wrong, "run", "--passphrase", "-")
}
