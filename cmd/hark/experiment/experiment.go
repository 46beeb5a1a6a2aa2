// Package experiment runs a scenario into a result folder:
//
//  1. the engine is found: this program's own processes, or the program hark-lab,
//     which holds the simulated network and its test code;
//  2. for each seed, the engine plays the plan, and what it sees is written to the
//     folder's raw data as it comes;
//  3. figures, plots and page are computed from the raw data, also where a run was
//     broken off; what went wrong stands in them.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/harkmarket/hark/cmd/hark/stage"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/node/lab/report"
)

// An Experiment is what is to be run.
type Experiment struct {
	Scenario lab.Scenario
	Out      string // the result folder
	Program  string // this program's own binary
	Version  string
	Show     func(run, runs int, p play.Progress)
}

// An engine plays one run.
type engine interface {
	run(ctx context.Context, s lab.Scenario, seed uint64, sink lab.Sink, show play.Show) error
	counts() (bytes, cpu string) // what it counts
}

// Run runs all seeds. The result is nil where nothing was begun.
func (e *Experiment) Run(ctx context.Context) (*lab.Result, error) {
	var on engine = processes{program: e.Program}
	if e.Scenario.Engine == lab.Simulated || e.Scenario.Armed() {
		sim, clean, err := findSimulator(ctx, e.Program)
		if err != nil {
			return nil, err
		}
		defer clean()
		if on = sim; e.Scenario.Engine == lab.Processes {
			on = processes{program: e.Program, attackers: sim.program}
		}
	}
	if err := report.Create(e.Out, e.Scenario); err != nil {
		return nil, err
	}
	started := time.Now()
	made := e.made()
	for n := range e.Scenario.Seeds {
		seed := e.Scenario.Seed + uint64(n)
		if err := e.once(ctx, on, n, seed); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("the experiment was broken off: %w", err)
			}
			made.Problems = append(made.Problems, err.Error())
			break
		}
	}
	made.TookMS = time.Since(started).Milliseconds()
	s, res, err := report.Load(e.Out)
	if err == nil {
		res.Made = made
		res.Bytes, res.CPU = on.counts()
		err = report.Write(e.Out, s, res)
	}
	if len(made.Problems) > 0 {
		err = errors.Join(errors.New(made.Problems[len(made.Problems)-1]), err)
	}
	if err != nil {
		return nil, err
	}
	return &res, nil
}

// once plays one seed.
func (e *Experiment) once(ctx context.Context, on engine, n int, seed uint64) error {
	raw, err := report.OpenRaw(e.Out, seed)
	if err != nil {
		return err
	}
	show := func(p play.Progress) {
		if e.Show != nil {
			e.Show(n+1, e.Scenario.Seeds, p)
		}
	}
	err = on.run(ctx, e.Scenario, seed, raw.Sink, show)
	return errors.Join(err, raw.Close())
}

// made says with what this result is made.
func (e *Experiment) made() lab.Made {
	m := lab.Made{
		Program: e.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Started: time.Now().UTC(),
		Modules: []string{}, Problems: []string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			m.Modules = append(m.Modules, d.Path+" "+d.Version)
		}
	}
	slices.Sort(m.Modules)
	return m
}

// processes is the engine of real processes.
type processes struct {
	program   string
	attackers string // the program that has the attackers; empty: there are none
}

func (processes) counts() (bytes, cpu string) {
	return "those of announcements in gossip and in posts, sent and received, without the talk around them", "what the operating system counts for each public node's process from when the load began"
}

// run puts up the network, plays the plan and takes it down again, whatever happens.
func (p processes) run(ctx context.Context, s lab.Scenario, seed uint64, sink lab.Sink, show play.Show) (err error) {
	dir, err := os.MkdirTemp("", "hark-lab-")
	if err != nil {
		return fmt.Errorf("folder for the homes: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	plan := s.Plan(seed)
	st, err := stage.New(s, plan, p.program, dir, cancel)
	if err != nil {
		return err
	}
	if p.attackers != "" {
		st.Arm(p.attackers, s)
	}
	err = play.Run(ctx, s, plan, st, sink, show)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause // why it was stopped says more than that it was
	}
	return errors.Join(err, st.Close())
}
