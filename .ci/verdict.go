// Command verdict reads the output of `go test -json` and judges it more strictly than go test does: a test that
// skips needs a named exception, and each test that must hold has to have run and passed.
//
//	go test -json ./... | verdict -skips .ci/skips -musts .ci/musts
//
// It prints what go test would print of packages and failures, then a table of what was skipped and why, then one of
// what must hold, then the counts. It exits 1 if anything failed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// keptLines bounds what is kept, and printed, of one test's output.
const keptLines = 300

func main() {
	skips := flag.String("skips", "", "file of named exceptions")
	musts := flag.String("musts", "", "file of what must hold; none if empty")
	shared := flag.Bool("shared", false, "the shared data is there, so nothing may skip for want of it")
	table := flag.String("table", "", "append what was skipped and why to this file")
	results := flag.String("results", "", "write one line for each top-level test to this file: outcome, package, name, seconds")
	flag.Parse()

	j := newJudge(os.Stdout)
	err := cmp.Or(
		j.readExceptions(*skips, *shared),
		j.readMusts(*musts),
		j.read(os.Stdin),
		j.save(*table, *results),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(2)
	}
	if !j.close() {
		os.Exit(1)
	}
}

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// exception is one line of the file of exceptions.
type exception struct {
	when, reason string
	pattern      *regexp.Regexp
	used         bool
}

// outcome is how one test ended.
type outcome struct {
	action, pkg, test, said string
	seconds                 float64
}

type judge struct {
	out        io.Writer
	exceptions []*exception
	shared     bool
	musts      []string
	strict     bool                // every always-exception must be used, every must must hold
	said       map[string][]string // package and test -> its last lines of output
	ended      []outcome
	wrong      []string
}

func newJudge(out io.Writer) *judge { return &judge{out: out, said: map[string][]string{}} }

// lines reads the lines of a file that are neither empty nor comments.
func lines(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out, nil
}

func (j *judge) readExceptions(file string, shared bool) error {
	j.shared = shared
	if file == "" {
		return nil
	}
	all, err := lines(file)
	for _, line := range all {
		f := strings.Fields(line)
		if len(f) < 5 || !slices.Contains([]string{"always", "no-shared", "check"}, f[0]) {
			return fmt.Errorf("%s: %q: want a kind (always, no-shared, check), a pattern, and a reason of some words", file, line)
		}
		re, err := regexp.Compile(f[1])
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		j.exceptions = append(j.exceptions, &exception{when: f[0], pattern: re, reason: strings.Join(f[2:], " ")})
	}
	return err
}

func (j *judge) readMusts(file string) error {
	if file == "" {
		return nil
	}
	all, err := lines(file)
	if err == nil && len(all) == 0 {
		err = errors.New(file + " names nothing")
	}
	for _, slug := range all {
		j.musts = append(j.musts, "TestMust_"+strings.ReplaceAll(slug, "-", "_"))
	}
	j.strict = true
	return err
}

func (j *judge) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Fprintln(j.out, in.Text()) // the go command speaks plainly when it can't start
			continue
		}
		j.see(e)
	}
	return in.Err()
}

func (j *judge) see(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(j.out, e.Output)
	case "build-fail":
		j.fault("%s does not build", e.ImportPath)
	case "output":
		if e.Test == "" && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL")) {
			fmt.Fprint(j.out, e.Output)
			return
		}
		kept := append(j.said[key], e.Output)
		if len(kept) > keptLines {
			kept = slices.Clone(kept[len(kept)-keptLines:])
		}
		j.said[key] = kept
	case "pass", "fail", "skip":
		j.end(e, key)
	}
}

// end judges one finished test, or package if e names no test.
func (j *judge) end(e event, key string) {
	said := j.said[key]
	delete(j.said, key)
	if e.Test == "" {
		if e.Action == "fail" {
			j.fault("package %s failed", e.Package)
			j.unfinished(e.Package, said)
		}
		return
	}
	o := outcome{action: e.Action, pkg: e.Package, test: e.Test, seconds: e.Elapsed}
	switch e.Action {
	case "fail":
		j.fault("%s in %s failed", e.Test, e.Package)
		j.print(said)
	case "skip":
		o.said = j.excuse(e, message(said))
	}
	j.ended = append(j.ended, o)
}

// unfinished prints what a failed package and those of its tests said that never ended: a panic, or the time ran out.
func (j *judge) unfinished(pkg string, said []string) {
	j.print(said)
	for _, key := range slices.Sorted(maps.Keys(j.said)) {
		if name, ok := strings.CutPrefix(key, pkg+" "); ok {
			j.fault("%s in %s did not end", name, pkg)
			j.print(j.said[key])
			delete(j.said, key)
		}
	}
}

func (j *judge) print(said []string) { fmt.Fprint(j.out, strings.Join(said, "")) }

func (j *judge) fault(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

// excuse looks for the exception that a skip falls under and returns its reason.
func (j *judge) excuse(e event, said string) string {
	for _, x := range j.exceptions {
		usable := x.when == "always" || x.when == "no-shared" && !j.shared
		if usable && x.pattern.MatchString(e.Test+": "+said) {
			x.used = true
			return x.reason
		}
	}
	j.fault("%s in %s skipped without a named exception: %s", e.Test, e.Package, said)
	return "NO EXCEPTION: " + said
}

// message is what a test said, without go test's own lines.
func message(said []string) string {
	var words []string
	for _, s := range said {
		if s = strings.TrimSpace(s); !strings.HasPrefix(s, "===") && !strings.HasPrefix(s, "---") {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

// count counts top-level tests that passed or failed, and all that skipped.
func (j *judge) count() (passed, failed, skipped int) {
	for _, o := range j.ended {
		top := !strings.Contains(o.test, "/")
		switch {
		case o.action == "skip":
			skipped++
		case o.action == "pass" && top:
			passed++
		case o.action == "fail" && top:
			failed++
		}
	}
	return passed, failed, skipped
}

// save writes the tables that later steps read.
func (j *judge) save(table, results string) error {
	var skipped, all strings.Builder
	for _, o := range j.ended {
		if o.action == "skip" {
			fmt.Fprintf(&skipped, "%s\t%s\n", o.test, o.said)
		}
		if !strings.Contains(o.test, "/") {
			fmt.Fprintf(&all, "%s %s %s %.1f\n", o.action, o.pkg, o.test, o.seconds)
		}
	}
	return cmp.Or(appendTo(table, skipped.String()), appendTo(results, all.String()))
}

func appendTo(file, text string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return cmp.Or(err, f.Close())
}

// close prints the tables and tells whether all is well.
func (j *judge) close() bool {
	for _, o := range j.ended {
		if o.action == "skip" {
			fmt.Fprintf(j.out, "skipped: %-50s %s\n", o.test, o.said)
		}
	}
	j.judgeMusts()
	if j.strict {
		for _, x := range j.exceptions {
			if x.when == "always" && !x.used {
				j.fault("the exception %q excuses nothing any more", x.pattern)
			}
		}
	}
	passed, failed, skipped := j.count()
	if passed == 0 {
		j.fault("no test ran")
	}
	for _, w := range j.wrong {
		fmt.Fprintln(j.out, "WRONG:", w)
	}
	fmt.Fprintf(j.out, "tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return len(j.wrong) == 0
}

// judgeMusts wants each test that must hold to have passed, and each test that says so to be on the list.
func (j *judge) judgeMusts() {
	if len(j.musts) == 0 {
		return
	}
	state := map[string]string{}
	for _, o := range j.ended {
		if strings.HasPrefix(o.test, "TestMust_") && !strings.Contains(o.test, "/") {
			if state[o.test] == "" || o.action != "pass" {
				state[o.test] = o.action
			}
			if !slices.Contains(j.musts, o.test) {
				j.fault("%s in %s is not on the list of what must hold", o.test, o.pkg)
			}
		}
	}
	for _, name := range j.musts {
		s := cmp.Or(state[name], "did not run")
		fmt.Fprintf(j.out, "must hold: %-48s %s\n", name, s)
		if s != "pass" {
			j.fault("%s must hold: %s", name, s)
		}
	}
}
