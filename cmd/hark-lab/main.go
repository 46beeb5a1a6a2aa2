// Command hark-lab plays one run of an experiment on a simulated network: real nodes,
// with real gossip, over simulated packets, in the fake time of testing/synctest. It
// is a program of its own because that time, and the network that stands on it, are
// test code, which hark does not carry. People run `hark lab run`, which finds it.
//
//  1. It reads a scenario, complete, on standard input; --seed says which run.
//  2. It plays the plan inside a bubble: time passes as fast as the machine computes.
//  3. It writes records on standard output, a JSON object a line, and on standard
//     error how far it is, in lines that begin with "progress ".
//
// With --attack it plays nothing: it is the peers that attack real processes on loopback,
// and takes their orders, one a line, on standard input.
//
// Exit codes: 0 the run is complete · 1 it is not, and standard error says why · 2
// the scenario or the arguments make no sense.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--attack" {
		if err := takeOrders(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "hark-lab: %v\n", err)
			os.Exit(1)
		}
		return
	}
	s, seed, err := arguments(os.Args[1:], os.Stdin)
	if err != nil {
		fmt.Fprintf(os.Stderr, "hark-lab: %v\n", err)
		os.Exit(2)
	}
	out := os.Stdout
	bubble(func(t *testing.T) bool {
		err := run(t, s, seed, out, os.Stderr)
		if err != nil {
			fmt.Fprintf(os.Stderr, "hark-lab: %v\n", err)
		}
		return err == nil
	})
}

// maxScenario bounds what is read.
const maxScenario = 64 << 10

// arguments reads which run of which scenario is meant.
func arguments(args []string, in io.Reader) (s lab.Scenario, seed uint64, err error) {
	flags := flag.NewFlagSet("hark-lab", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Uint64Var(&seed, "seed", 0, "which run; the scenario's own seed where it is 0")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return s, 0, fmt.Errorf("usage: hark-lab [--seed N] < scenario.toml; people run hark lab run")
	}
	s, err = scenario(in)
	if seed == 0 {
		seed = s.Seed
	}
	return s, seed, err
}

// run plays one run. It is called inside the bubble.
func run(t *testing.T, s lab.Scenario, seed uint64, out, words io.Writer) error {
	w := &writer{out: bufio.NewWriter(out), words: words}
	w.json(w.out, "", lab.Head{Schema: lab.RawSchema, Seed: seed})
	st := newStage(t, s, s.Plan(seed), seed)
	err := play.Run(t.Context(), s, st.plan, st, w.record, w.progress)
	err = errors.Join(err, st.close())
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(err, w.err, w.out.Flush())
}

// scenario reads one and checks it.
func scenario(in io.Reader) (lab.Scenario, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxScenario+1))
	if err != nil {
		return lab.Scenario{}, err
	}
	s, err := lab.Parse("standard input", raw)
	if err == nil {
		err = s.Check()
	}
	if err == nil && s.Engine != lab.Simulated {
		err = fmt.Errorf("engine %q is not mine; hark lab run plays it", s.Engine)
	}
	return s, err
}

// A writer writes records and progress from several goroutines.
type writer struct {
	mu    sync.Mutex
	out   *bufio.Writer
	words io.Writer
	err   error
}

func (w *writer) record(r lab.Record) { w.json(w.out, "", r) }

// progress goes out at once: somebody watches.
func (w *writer) progress(p play.Progress) { w.json(w.words, "progress ", p) }

func (w *writer) json(to io.Writer, before string, v any) {
	raw, err := json.Marshal(v)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.err == nil {
		_, err = fmt.Fprintf(to, "%s%s\n", before, raw)
	}
	if w.err == nil {
		w.err = err
	}
}
