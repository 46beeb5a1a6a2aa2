// Package process runs nodes as processes of this program's own binary, on loopback,
// for demonstrations and experiments:
//
//  1. a Process names a home that node.Init has made, and what the node is there for;
//  2. Start runs it, with its words in a file of the home; Ready waits until it answers;
//  3. Stop ends it politely, Kill without a word; it may be started again.
//
// It ends no process but those that it started.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
)

// A Role is what a node is there for.
type Role string

const (
	Vendor   Role = "vendor"
	Keeper   Role = "keeper"
	Customer Role = "customer"
	Practice Role = "practice" // a vendor on a personal node, which customers choose themselves
)

// A Process is one node.
type Process struct {
	Name      string
	Role      Role
	Home      string
	Paths     node.Paths
	Misbehave string         // which promise it breaks; none where empty
	LogLevel  string         // how much it says; as little as usual where empty
	API       *client.Client // once it answers
	Self      desk.Identity

	cmd      *exec.Cmd
	stopping atomic.Bool
	done     chan struct{} // closed when it has ended
	err      error         // how it ended, once done
}

func (p *Process) String() string { return string(p.Role) + " " + p.Name }

// LogFile is where a node's own words go.
func (p *Process) LogFile() string { return filepath.Join(p.Home, "node.log") }

// Start runs the node. ended is called when it ends by itself.
func (p *Process) Start(program string, outlive bool, wg *sync.WaitGroup, ended func(*Process)) error {
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%s: log: %w", p, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	args := []string{"run", "--home", p.Home}
	if p.Misbehave != "" {
		args = append(args, "--misbehave", p.Misbehave)
	}
	if p.LogLevel != "" {
		args = append(args, "--log-level", p.LogLevel)
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = environment(os.Environ())
	p.cmd.SysProcAttr = attributes(outlive)
	done := make(chan struct{})
	p.done = done
	p.stopping.Store(false)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	cmd := p.cmd
	wg.Go(func() {
		p.err = cmd.Wait()
		close(done)
		if !p.stopping.Load() {
			ended(p)
		}
	})
	return nil
}

// environment drops the settings of the user's own node.
func environment(all []string) []string {
	var out []string
	for _, e := range all {
		if !strings.HasPrefix(e, "HARK_") {
			out = append(out, e)
		}
	}
	return out
}

// readyWait bounds how long a node takes from its start to its first answer.
const readyWait = 30 * time.Second

// Ready waits until the node answers.
func (p *Process) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		c, err := client.Open(ctx, p.Paths.API())
		if err == nil {
			p.API = c
			p.Self, err = c.Network().Self(ctx)
			return err
		}
		if !errors.Is(err, client.ErrNotRunning) {
			return fmt.Errorf("%s: %w", p, err)
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it answered (%w); it last said:\n%s", p, p.err, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", p, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Tail gives the last lines of the node's log.
func (p *Process) Tail() string {
	raw, err := os.ReadFile(p.LogFile())
	if err != nil {
		return "(no log)"
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	lines = lines[max(0, len(lines)-12):]
	return "    " + strings.ToValidUTF8(string(bytes.Join(lines, []byte("\n    "))), "?")
}

// Err is how the process ended, once it is not Alive.
func (p *Process) Err() error { return p.err }

// Kill ends the process without a word, and waits until it is gone.
func (p *Process) Kill() {
	if !p.Alive() {
		return
	}
	p.stopping.Store(true)
	if p.API != nil {
		p.API.Close()
	}
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
}

// PID is the process id, 0 before it is started.
func (p *Process) PID() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stopWait is how long a node may take to close.
const stopWait = 10 * time.Second

// Stop ends the process, politely at first.
func (p *Process) Stop() error {
	if !p.Alive() {
		return nil
	}
	p.stopping.Store(true)
	if p.API != nil {
		p.API.Close()
	}
	if runtime.GOOS == "windows" {
		_ = p.cmd.Process.Kill() // it may have ended just now
		<-p.done
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s did not close well (%w); it last said:\n%s", p, p.err, p.Tail())
		}
		return nil
	case <-time.After(stopWait):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("%s did not close within %v and was killed; it last said:\n%s", p, stopWait, p.Tail())
}

// Each runs fn for all of the nodes at once and joins the errors.
func Each(list []*Process, fn func(i int, p *Process) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, p := range list {
		wg.Go(func() { errs[i] = fn(i, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Poll asks until it is so, or the wait is over.
func Poll(ctx context.Context, wait time.Duration, what string, so func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		ok, err := so(ctx)
		if ok && err == nil {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, wait, ctx.Err())
		case <-time.After(pause):
		}
	}
}
