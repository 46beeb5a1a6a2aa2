package network

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

// A Role is what a node is in the show.
type Role string

const (
	Vendor   Role = "vendor"
	Keeper   Role = "keeper"
	Customer Role = "customer"
)

// A Process is one node of a demonstration.
type Process struct {
	Name      string
	Role      Role
	Home      string
	Paths     node.Paths
	Misbehave string         // which promise it breaks; none where empty
	API       *client.Client // once it answers
	Self      desk.Identity

	cmd      *exec.Cmd
	stopping atomic.Bool
	done     chan struct{} // closed when it has ended
	err      error         // how it ended, once done
}

func (p *Process) String() string { return string(p.Role) + " " + p.Name }

// logFile is where a node's own words go.
func (p *Process) logFile() string { return filepath.Join(p.Home, "node.log") }

// start runs the node. ended is called when it ends by itself.
func (p *Process) start(program string, outlive bool, wg *sync.WaitGroup, ended func(*Process)) error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%s: log: %w", p, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	args := []string{"run", "--home", p.Home}
	if p.Misbehave != "" {
		args = append(args, "--misbehave", p.Misbehave)
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = environment(os.Environ())
	p.cmd.SysProcAttr = attributes(outlive)
	p.done = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	wg.Go(func() {
		p.err = p.cmd.Wait()
		close(p.done)
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

// ready waits until the node answers.
func (p *Process) ready(ctx context.Context) error {
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
			return fmt.Errorf("%s ended before it answered (%w); it last said:\n%s", p, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", p, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail gives the last lines of the node's log.
func (p *Process) tail() string {
	raw, err := os.ReadFile(p.logFile())
	if err != nil {
		return "(no log)"
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	lines = lines[max(0, len(lines)-12):]
	return "    " + strings.ToValidUTF8(string(bytes.Join(lines, []byte("\n    "))), "?")
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

// stop ends the process, politely at first.
func (p *Process) stop() error {
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
			return fmt.Errorf("%s did not close well (%w); it last said:\n%s", p, p.err, p.tail())
		}
		return nil
	case <-time.After(stopWait):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("%s did not close within %v and was killed; it last said:\n%s", p, stopWait, p.tail())
}
