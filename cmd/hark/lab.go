package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/harkmarket/hark/cmd/hark/experiment"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/chart"
	"github.com/harkmarket/hark/node/lab/compare"
	"github.com/harkmarket/hark/node/lab/report"
	"github.com/harkmarket/hark/protocol/fault"
)

type labCmd struct {
	Run      labRunCmd      `cmd:"" help:"Run an experiment into a result folder that can be run again."`
	Validate labValidateCmd `cmd:"" help:"Check a scenario, and show it in full."`
	Report   labReportCmd   `cmd:"" help:"Compute figures and plots of a result folder anew, from its raw data."`
	List     labListCmd     `cmd:"" help:"List the result folders in a folder, with their headline figures."`
	Compare  labCompareCmd  `cmd:"" help:"Set two result folders side by side: what differs, and whether it is more than chance."`
}

// A choice is a scenario with what the command line changes in it.
type choice struct {
	Scenario string   `arg:"" help:"The scenario: a TOML file, as in examples/lab." placeholder:"FILE"`
	Engine   string   `help:"processes (real ones, on this machine) or simulated (real nodes on a simulated network; needs hark-lab)." placeholder:"ENGINE"`
	Seed     string   `help:"Of the plan: who announces and fails when." placeholder:"N"`
	Seeds    string   `help:"How many runs, each with a seed of its own." placeholder:"N"`
	Set      []string `help:"Change one key of the scenario, as links.loss=0.01. Repeat it." placeholder:"KEY=VALUE" sep:"none"`
}

// read reads the scenario and checks it.
func (c *choice) read() (lab.Scenario, error) {
	raw, err := readScenario(c.Scenario)
	if err != nil {
		return lab.Scenario{}, err
	}
	s, err := lab.Parse(c.Scenario, raw)
	if err != nil {
		return s, err
	}
	for _, pair := range [][2]string{{"engine", c.Engine}, {"seed", c.Seed}, {"seeds", c.Seeds}} {
		if pair[1] != "" {
			c.Set = append(c.Set, pair[0]+"="+pair[1])
		}
	}
	for _, pair := range c.Set {
		if err := s.Set(pair); err != nil {
			return s, &usageError{err}
		}
	}
	err = s.Check()
	if p, ok := errors.AsType[*lab.Problem](err); ok && p.File == "" {
		p.File = c.Scenario
	}
	return s, err
}

// readScenario reads the file; without one of that name, its name with .toml.
func readScenario(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && filepath.Ext(path) == "" {
		raw, err = os.ReadFile(path + ".toml")
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("scenario %s: no such file: %w", path, fault.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	return raw, nil
}

type labRunCmd struct {
	choice
	Out string `help:"The result folder: new, or empty." required:"" placeholder:"DIR"`
}

// Run plays the experiment and prints its headline figures.
func (c *labRunCmd) Run(ctx context.Context, a *app) error {
	s, err := c.read()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	line := &progressLine{a: a, terminal: isTerminal(a.stderr), plain: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"}
	e := experiment.Experiment{Scenario: s, Out: c.Out, Program: program, Version: programVersion(), Show: line.show}
	res, err := e.Run(ctx)
	line.end()
	if res == nil {
		return err
	}
	return errors.Join(a.showResult(c.Out, *res), err)
}

// showResult prints the figures of a result.
func (a *app) showResult(dir string, res lab.Result) error {
	return a.show("hark.lab/1", res, func(p *page) {
		runs := "1 run"
		if n := len(res.Runs); n != 1 {
			runs = fmt.Sprintf("%d runs", n)
		}
		p.line("%s: %s engine, %s", clean(res.Name), res.Engine, runs)
		var rows [][]string
		for _, f := range res.Figures {
			row := []string{measureTitle(f.Key), figure(f.Unit, f.Mean)}
			if f.Runs > 1 {
				row = append(row, figure(f.Unit, f.Min)+" to "+figure(f.Unit, f.Max))
			}
			rows = append(rows, row)
		}
		p.table(nil, rows)
		for _, w := range res.Made.Problems {
			p.line("problem: %s", clean(w))
		}
		p.line("\nsee %s", filepath.Join(dir, "index.html"))
	})
}

func measureTitle(key string) string {
	for _, m := range lab.Measures() {
		if m.Key == key {
			return m.Title
		}
	}
	return key
}

// figure writes a figure in its unit.
func figure(unit string, v float64) string {
	switch unit {
	case "share":
		return chart.Percent(v)
	case "ms":
		return chart.Millis(v)
	case "count":
		return chart.Count(v)
	}
	return chart.Bytes(v)
}

type labValidateCmd struct{ choice }

// Run shows the scenario as it would be run.
func (c *labValidateCmd) Run(a *app) error {
	s, err := c.read()
	if err != nil {
		return err
	}
	raw, err := s.Format()
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	v := struct {
		Name       string          `json:"name"`
		Engine     string          `json:"engine"`
		Parameters []lab.Parameter `json:"parameters"`
	}{s.Name, s.Engine, s.Parameters()}
	return a.show("hark.lab-scenario/1", v, func(p *page) { p.WriteString(string(raw)) })
}

type labReportCmd struct {
	Folder string `arg:"" help:"A result folder." placeholder:"DIR"`
}

// Run reads raw data and writes everything that is made from it.
func (c *labReportCmd) Run(a *app) error {
	s, res, err := report.Load(c.Folder)
	if err != nil {
		return err
	}
	if err := report.Write(c.Folder, s, res); err != nil {
		return err
	}
	return a.showResult(c.Folder, res)
}

type labListCmd struct {
	Folder string `arg:"" optional:"" default:"." help:"Where result folders are, or one of them." placeholder:"DIR"`
}

// Run lists what the folders say of themselves.
func (c *labListCmd) Run(a *app) error {
	all, err := report.List(c.Folder)
	if err != nil {
		return err
	}
	keys := []string{"delivery_without_pull", "delivery_60s", "latency_p99_ms", "bytes_per_node"}
	return list(a, "hark.lab-list/1", all, "", "FOLDER NAME MADE SEED GOSSIP PULL P99 BYTES PROBLEM", func(l report.Listed) []string {
		row := []string{l.Folder, l.Name, cmp.Or(when(l.Started), "–"), seedsText(l.Seeds)}
		for _, key := range keys {
			cell := "–"
			if i := slices.IndexFunc(l.Headline, func(s lab.Spread) bool { return s.Key == key }); i >= 0 {
				cell = figure(l.Headline[i].Unit, l.Headline[i].Mean)
			}
			row = append(row, cell)
		}
		return append(row, strings.Join(l.Problems, "; "))
	})
}

// seedsText says of which seeds there are runs.
func seedsText(seeds []uint64) string {
	switch n := len(seeds); n {
	case 0:
		return "–"
	case 1:
		return fmt.Sprint(seeds[0])
	default:
		return fmt.Sprintf("%d to %d", seeds[0], seeds[n-1])
	}
}

type labCompareCmd struct {
	A string `arg:"" help:"A result folder." placeholder:"A"`
	B string `arg:"" help:"Another one." placeholder:"B"`
}

// Run compares; that they differ is no error.
func (c *labCompareCmd) Run(a *app) error {
	_, one, err := report.Load(c.A)
	if err != nil {
		return err
	}
	_, two, err := report.Load(c.B)
	if err != nil {
		return err
	}
	v := compare.Results(c.A, c.B, &one, &two)
	return a.show("hark.lab-compare/1", v, func(p *page) { writeComparison(p, v) })
}

// writeComparison shows what differs, then the figures side by side.
func writeComparison(p *page, v compare.Comparison) {
	changed := func(title string, list []compare.ParameterChange) {
		if len(list) == 0 {
			return
		}
		p.line("%s\n", title)
		var rows [][]string
		for _, c := range list {
			rows = append(rows, []string{c.Key, c.A, c.B})
		}
		p.table([]string{"KEY", "A", "B"}, rows)
		p.line("")
	}
	p.facts("A", v.A, "B", v.B)
	p.line("")
	changed("Parameters that differ", v.Parameters)
	changed("What else differs", v.Environment)
	if len(v.Parameters)+len(v.Environment) == 0 {
		p.line("Both were made in the same way.\n")
	}
	var rows [][]string
	for _, f := range v.Figures {
		row := []string{measureTitle(f.Key), "–", "–", "–", f.BeyondNoise}
		if f.A != nil {
			row[1] = figure(f.Unit, *f.A)
		}
		if f.B != nil {
			row[2] = figure(f.Unit, *f.B)
		}
		switch {
		case f.Relative != nil && f.Unit != "share":
			row[3] = fmt.Sprintf("%+.1f %%", *f.Relative*100)
		case f.Difference != nil:
			row[3] = fmt.Sprintf("%+.3f points", *f.Difference*100)
		}
		rows = append(rows, row)
	}
	p.table([]string{"FIGURE", "A", "B", "DIFFERENCE", "MORE THAN CHANCE"}, rows)
	if strings.Contains(p.String(), compare.Unknown) {
		p.line("\nWhether it is more than chance is known from two runs on each side on: hark lab run --seeds 5.")
	}
}
