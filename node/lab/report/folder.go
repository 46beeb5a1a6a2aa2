// Package report makes and reads the result folder of an experiment:
//
//		scenario.toml       every parameter, also those that nobody set
//		raw/seed-N/*.ndjson what was seen, a file for each kind of record; .gz where large
//		run.json            how it was made, and all figures (schema hark.lab/1)
//		plots/*.svg         delivery over time, latency, bytes of nodes
//		index.html          all of it on one page that needs nothing else
//		reproduce.sh        runs it again
//
//	 1. Create makes the folder and refuses one that holds anything;
//	 2. Raw opens the raw data of one run for writing;
//	 3. Load reads scenario and raw data back, and computes the figures from them;
//	 4. Write writes everything that is made from these. It can be done again at any time;
//	 5. List tells what the result folders in a folder say of themselves.
package report

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/protocol/fault"
)

// Names inside a result folder.
const (
	scenarioFile = "scenario.toml"
	resultFile   = "run.json"
	pageFile     = "index.html"
	scriptFile   = "reproduce.sh"
	rawFolder    = "raw"
	plotFolder   = "plots"
)

// Create makes the folder with the scenario in it.
func Create(dir string, s lab.Scenario) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s holds something already; name a new folder: %w", dir, fault.Conflict)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("result folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, rawFolder), 0o755); err != nil { //nolint:gosec // results are made to be shown around
		return fmt.Errorf("result folder: %w", err)
	}
	raw, err := s.Format()
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return write(filepath.Join(dir, scenarioFile), raw, 0o644)
}

func write(path string, raw []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path, raw, mode); err != nil {
		return fmt.Errorf("result folder: %w", err)
	}
	return nil
}

// A Raw writes the raw data of one run. Its Sink may be called from several
// goroutines; the first error is told by Close.
type Raw struct {
	mu    sync.Mutex
	dir   string
	seed  uint64
	files map[string]*rawFile
	err   error
}

type rawFile struct {
	f   *os.File
	w   *bufio.Writer
	enc *json.Encoder
}

// OpenRaw makes the folder for one run's raw data.
func OpenRaw(dir string, seed uint64) (*Raw, error) {
	r := &Raw{dir: filepath.Join(dir, rawFolder, fmt.Sprintf("seed-%d", seed)), seed: seed, files: map[string]*rawFile{}}
	if err := os.MkdirAll(r.dir, 0o755); err != nil { //nolint:gosec // results are made to be shown around
		return nil, fmt.Errorf("raw data: %w", err)
	}
	return r, nil
}

// Sink writes one record.
func (r *Raw) Sink(rec lab.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	f, err := r.file(rec.Kind)
	if err == nil {
		err = f.enc.Encode(rec)
	}
	r.err = err
}

// file opens the file of a kind when it is needed first. Called with mu held.
func (r *Raw) file(kind string) (*rawFile, error) {
	if f := r.files[kind]; f != nil {
		return f, nil
	}
	if !slices.Contains(lab.Kinds(), kind) {
		return nil, fmt.Errorf("a record of kind %q: %w", kind, fault.Malformed)
	}
	f, err := os.Create(filepath.Join(r.dir, kind+".ndjson"))
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(f)
	out := &rawFile{f, w, json.NewEncoder(w)}
	r.files[kind] = out
	return out, out.enc.Encode(lab.Head{Schema: lab.RawSchema, Kind: kind, Seed: r.seed})
}

// largeFile is from which size on raw data is compressed.
const largeFile = 1 << 20

// Close ends the files, and compresses the large ones.
func (r *Raw) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	for kind, f := range r.files {
		err = errors.Join(err, f.w.Flush(), f.f.Close(), compress(filepath.Join(r.dir, kind+".ndjson")))
	}
	if r.err == nil {
		r.err = fmt.Errorf("the raw data is closed: %w", fault.Internal)
	}
	if err != nil {
		return fmt.Errorf("raw data: %w", err)
	}
	return nil
}

// compress replaces a large file by its compressed form.
func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	if info, err := in.Stat(); err != nil || info.Size() < largeFile {
		return err
	}
	out, err := os.Create(path + ".gz")
	if err != nil {
		return err
	}
	w := gzip.NewWriter(out)
	_, err = io.Copy(w, in)
	if err = errors.Join(err, w.Close(), out.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// maxRaw bounds one file of raw data when it is read, after decompression.
const maxRaw = 4 << 30

// Load reads a result folder's scenario and raw data, and computes the figures anew.
// Of run.json it keeps only how it was made.
func Load(dir string) (lab.Scenario, lab.Result, error) {
	var res lab.Result
	raw, err := readAtMost(filepath.Join(dir, scenarioFile), maxResult)
	if errors.Is(err, os.ErrNotExist) {
		return lab.Scenario{}, res, fmt.Errorf("%s is no result folder, there is no %s in it: %w", dir, scenarioFile, fault.NotFound)
	}
	if err != nil {
		return lab.Scenario{}, res, fmt.Errorf("result folder: %w", err)
	}
	s, err := lab.Parse(filepath.Join(dir, scenarioFile), raw)
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return s, res, err
	}
	if res, err = readResult(dir); err != nil {
		return s, res, err
	}
	res.Runs, res.Seeds = nil, nil
	seeds, err := runs(dir)
	if err != nil {
		return s, res, err
	}
	for _, seed := range seeds {
		records, err := readRaw(dir, seed)
		if err != nil {
			return s, res, err
		}
		res.Seeds = append(res.Seeds, seed)
		res.Runs = append(res.Runs, lab.Compute(s, seed, records))
	}
	fill(&s, &res)
	res.Parameters = slices.DeleteFunc(res.Parameters, func(p lab.Parameter) bool { return isNewer(p.Key, raw) })
	return s, res, nil
}

// isNewer tells of a key that the program which wrote a folder's scenario did not know
// yet: what it did then is not what stands for the key's absence now, so nothing is said.
func isNewer(key string, scenario []byte) bool {
	name, found := strings.CutPrefix(key, "load.post_")
	return found && !bytes.Contains(scenario, []byte("post_"+name))
}

// fill works out what follows from scenario and runs.
func fill(s *lab.Scenario, res *lab.Result) {
	res.Name, res.About, res.Engine, res.Parameters = s.Name, s.About, s.Engine, s.Parameters()
	res.Figures = lab.Spreads(res.Runs)
	res.Headline = lab.Headline(res.Figures)
	if res.Made.Problems == nil {
		res.Made.Problems = []string{}
	}
	if res.Made.Modules == nil {
		res.Made.Modules = []string{}
	}
}

// maxResult bounds run.json and scenario.toml when they are read.
const maxResult = 64 << 20

// readAtMost reads a file that is no larger than most.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s: larger than %d bytes: %w", path, most, fault.Malformed)
	}
	return raw, err
}

// readResult reads run.json, which is not there yet after a run that was broken off.
func readResult(dir string) (res lab.Result, err error) {
	raw, err := readAtMost(filepath.Join(dir, resultFile), maxResult)
	if errors.Is(err, os.ErrNotExist) {
		return res, nil
	}
	if err != nil {
		return res, fmt.Errorf("result folder: %w", err)
	}
	var f file
	if err := json.Unmarshal(raw, &f); err != nil || f.Schema != lab.ResultSchema {
		return res, fmt.Errorf("%s: not of schema %s: %w", filepath.Join(dir, resultFile), lab.ResultSchema, fault.Unsupported)
	}
	return f.Result, nil
}

// A file is run.json.
type file struct {
	Schema string `json:"schema"`
	lab.Result
}

// runs finds the seeds of which there is raw data.
func runs(dir string) (out []uint64, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, rawFolder))
	if err != nil {
		return nil, fmt.Errorf("%s has no raw data: %w", dir, err)
	}
	for _, e := range entries {
		if n, ok := strings.CutPrefix(e.Name(), "seed-"); ok {
			if seed, err := strconv.ParseUint(n, 10, 64); err == nil {
				out = append(out, seed)
			}
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no raw data: %w", dir, fault.NotFound)
	}
	return out, nil
}

func readRaw(dir string, seed uint64) (out []lab.Record, err error) {
	for _, kind := range lab.Kinds() {
		path := filepath.Join(dir, rawFolder, fmt.Sprintf("seed-%d", seed), kind+".ndjson")
		if err := readFile(path, func(r lab.Record) { out = append(out, r) }); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// readFile reads one file of raw data, compressed or not; one that is not there has
// nothing in it.
func readFile(path string, fn func(lab.Record)) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		if f, err = os.Open(path + ".gz"); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	var r io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(f.Name(), ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return err
		}
	}
	_, err = lab.ReadRecords(io.LimitReader(r, maxRaw), fn)
	return err
}

// Write writes run.json, plots, page and script.
func Write(dir string, s lab.Scenario, res lab.Result) error {
	fill(&s, &res)
	raw, err := json.MarshalIndent(file{lab.ResultSchema, res}, "", "  ")
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, plotFolder), 0o755); err != nil { //nolint:gosec // results are made to be shown around
		return fmt.Errorf("result folder: %w", err)
	}
	plots := plotsOf(&res)
	for _, p := range plots {
		if err := write(filepath.Join(dir, plotFolder, p.file+".svg"), []byte(p.chart.SVG(true)), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(
		write(filepath.Join(dir, pageFile), []byte(page(s, res, plots)), 0o644),
		write(filepath.Join(dir, scriptFile), []byte(script(s, res)), 0o755),
		write(filepath.Join(dir, resultFile), append(raw, '\n'), 0o644),
	)
}

// script runs the experiment again.
func script(s lab.Scenario, res lab.Result) string {
	same := "What happens in the network is drawn anew, as in life: the figures come out near\n# those in run.json, not the same."
	if s.Engine == lab.Simulated {
		same = "Delays, losses and peers are drawn from the seed as well; in which order goroutines run\n# is not, so the figures come out near those in run.json, not the same to the last digit."
	}
	return `#!/bin/sh
# Runs this experiment again, with every parameter as it was, into a folder of its own:
#
#   sh reproduce.sh [FOLDER]
#
# The plan (who announces, withdraws, leaves and comes back when) is the same to the
# millisecond. ` + same + `
# Made by hark ` + oneLine(res.Made.Program) + ` with ` + oneLine(res.Made.Go) + `. Set HARK to another program to run it with that.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=${1:-"$here-again"}
hark=${HARK:-hark}
"$hark" lab run "$here/scenario.toml" --out "$out"
"$hark" lab compare "$here" "$out"
`
}

// oneLine keeps a text from ending a comment.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
