package experiment

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/protocol/fault"
)

// simulator is the engine of the simulated network: the program hark-lab. It reads a
// scenario on standard input, writes records on standard output, and how far it is on
// standard error, in lines that begin with progressWord.
type simulator struct{ program string }

const (
	simulatorName = "hark-lab"
	progressWord  = "progress "
	maxComplaint  = 16 << 10 // of what it says on standard error
	endWait       = 10 * time.Second
)

func (simulator) counts() (bytes, cpu string) {
	return "all that a node's packets carry, sent and received: gossip, mail, and the talk around them", "that of the whole simulation, divided by all its nodes, from when the load began"
}

// A noSimulator is the error where hark-lab is nowhere.
type noSimulator struct{ near string }

func (e *noSimulator) Error() string {
	return fmt.Sprintf("the simulated engine is the program %s, which is neither in %s nor on the PATH", simulatorName, e.near)
}
func (*noSimulator) Unwrap() error { return fault.NotFound }

// Next is what to do.
func (*noSimulator) Next() string {
	return "go install github.com/harkmarket/hark/cmd/hark-lab@latest, or run this in the source folder, or take --engine processes"
}

// findSimulator looks beside this program, on the PATH, and at last builds it where
// this is its source folder. clean removes what was built.
func findSimulator(ctx context.Context, program string) (s simulator, clean func(), err error) {
	clean = func() {}
	name := simulatorName
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	beside := filepath.Join(filepath.Dir(program), name)
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return simulator{beside}, clean, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return simulator{path}, clean, nil
	}
	compiler, err := exec.LookPath("go")
	mod, modErr := os.ReadFile("go.mod")
	if err != nil || modErr != nil || !bytes.HasPrefix(mod, []byte("module github.com/harkmarket/hark\n")) {
		return s, clean, &noSimulator{filepath.Dir(program)}
	}
	dir, err := os.MkdirTemp("", "hark-lab-")
	if err != nil {
		return s, clean, fmt.Errorf("folder to build %s in: %w", simulatorName, err)
	}
	clean = func() { _ = os.RemoveAll(dir) } // temporary
	built := filepath.Join(dir, name)
	if out, err := exec.CommandContext(ctx, compiler, "build", "-o", built, "./cmd/"+simulatorName).CombinedOutput(); err != nil {
		clean()
		return s, func() {}, fmt.Errorf("building %s: %w\n%s", simulatorName, err, bytes.TrimSpace(out))
	}
	return simulator{built}, clean, nil
}

// run runs hark-lab and reads what it says.
func (m simulator) run(ctx context.Context, s lab.Scenario, seed uint64, sink lab.Sink, show play.Show) error {
	raw, err := s.Format()
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	cmd := exec.CommandContext(ctx, m.program, "--seed", fmt.Sprint(seed))
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(raw), endWait
	if runtime.GOOS != "windows" {
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", simulatorName, err)
	}
	words, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", simulatorName, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", simulatorName, err)
	}
	var said string
	var wg sync.WaitGroup
	wg.Go(func() { said = follow(words, show) })
	_, readErr := lab.ReadRecords(out, sink)
	_, _ = io.Copy(io.Discard, out) // so that it ends
	wg.Wait()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return errors.Join(fmt.Errorf("%s ended (%w); it last said:\n%s", simulatorName, err, said))
	}
	return readErr
}

// follow hands on how far it is, and keeps the end of what else it says.
func follow(r io.Reader, show play.Show) string {
	var said []byte
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), 1<<20)
	for s.Scan() {
		if text, ok := strings.CutPrefix(s.Text(), progressWord); ok {
			var p play.Progress
			if json.Unmarshal([]byte(text), &p) == nil && show != nil {
				show(p)
			}
			continue
		}
		said = append(append(said, s.Bytes()...), '\n')
		said = said[max(0, len(said)-maxComplaint):]
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long must not stop it
	return strings.TrimSpace(string(said))
}
