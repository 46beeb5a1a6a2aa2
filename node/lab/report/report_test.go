package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/compare"
	"github.com/harkmarket/hark/protocol/fault"
)

// folder makes a result folder of two runs, in which n needs were each heard by two
// nodes.
func folder(t *testing.T, s lab.Scenario, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if err := Create(dir, s); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(2) {
		raw, err := OpenRaw(dir, seed+1)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			raw.Sink(lab.Record{Kind: lab.KindNode, Node: name, Public: true, Role: lab.Honest})
			raw.Sink(lab.Record{Kind: lab.KindLife, Node: name, What: "up", Life: 1, Shards: []uint16{0}})
		}
		for i := range n {
			at := int64(i * 10)
			raw.Sink(lab.Record{Kind: lab.KindSaid, MS: at, Node: "p", What: "announced", Context: fmt.Sprint("c", i), Seq: 1, Need: i + 1})
			raw.Sink(lab.Record{Kind: lab.KindHeard, MS: at + 20, Node: "a", Context: fmt.Sprint("c", i), Seq: 1, Way: lab.ByPost})
			raw.Sink(lab.Record{Kind: lab.KindHeard, MS: at + 70 + int64(seed), Node: "b", Context: fmt.Sprint("c", i), Seq: 1, Way: lab.ByGossip})
		}
		for k, name := range []string{"a", "b"} {
			raw.Sink(lab.Record{Kind: lab.KindUsage, MS: 1_000_000, Node: name, Life: 1, Sent: uint64(k+1) * 5000, CPUMS: 70})
		}
		raw.Sink(lab.Record{Kind: lab.KindMark, MS: 1_000_000, What: "end"})
		if err := raw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolderIsWrittenAndReadBack(t *testing.T) {
	s := lab.Default()
	s.Name, s.About = `<b>&"x"`, "a <script>alert(1)</script>"
	dir := folder(t, s, 50)
	got, res, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got); d != "" {
		t.Errorf("the scenario came back otherwise: %s", d)
	}
	if len(res.Runs) != 2 || res.Runs[0].Heard != 100 || *res.Runs[1].Outright != 1 || res.Runs[1].Latency.Max != 71 || len(res.Headline) != 6 {
		t.Errorf("%+v", res)
	}
	res.Made = lab.Made{Program: "v1\nrm -rf x", Go: "go1.26", CPUs: 2, Problems: []string{"a node <died>"}, Modules: []string{"m v1"}}
	res.Bytes, res.CPU = "what was counted", "what it took"
	if err := Write(dir, s, res); err != nil {
		t.Fatal(err)
	}
	_, again, err := Load(dir)
	if err != nil || again.Bytes != res.Bytes || cmp.Diff(res.Made, again.Made) != "" || cmp.Diff(res.Figures, again.Figures) != "" {
		t.Errorf("%v: %+v", err, again)
	}
	page := text(t, dir, pageFile)
	for _, want := range []string{"&lt;b&gt;&amp;", "a node &lt;died&gt;", "links.loss", `role="img"`, "The same as a table", "sh reproduce.sh", "100 %", "prefers-color-scheme:dark", "over 2 runs"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if bad := regexp.MustCompile(`<script|<b>|https?://[^w]|src=|%!|<nil>`).FindString(page); bad != "" {
		t.Errorf("the page holds %q", bad)
	}
	balanced(t, page)
	for _, name := range []string{"delivery", "latency", "bytes"} {
		wellFormed(t, text(t, dir, filepath.Join(plotFolder, name+".svg")))
	}
	script := text(t, dir, scriptFile)
	if !strings.Contains(script, "Made by hark v1 rm -rf x with go1.26.") {
		t.Errorf("%s", script)
	}
	if sh, err := exec.LookPath("sh"); err == nil {
		if out, err := exec.Command(sh, "-n", filepath.Join(dir, scriptFile)).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	}
}

// TestHowNeedsWerePosted: the folder and its page say it, a comparison shows that it
// differs, and of a folder from before the keys nothing is made up.
func TestHowNeedsWerePosted(t *testing.T) {
	s := lab.Default()
	s.Load.PostHops, s.Load.PostDelay = 1, lab.Duration(5*time.Second)
	dir := folder(t, s, 3)
	_, res, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, s, res); err != nil {
		t.Fatal(err)
	}
	page := text(t, dir, pageFile)
	for _, want := range []string{"needs posted straight and held for up to 5s", "load.post_hops", "load.post_delay"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	before := folder(t, lab.Default(), 3)
	_, usual, err := Load(before)
	if err != nil {
		t.Fatal(err)
	}
	differ := func(other lab.Result) string { return fmt.Sprint(compare.Results("a", "b", &res, &other).Parameters) }
	if got := differ(usual); got != "[{load.post_hops 1 2} {load.post_delay 5s 0s}]" {
		t.Errorf("against the usual: %s", got)
	}
	raw := regexp.MustCompile(`(?m)^.*post_(hops|delay) = .*\n`).ReplaceAllString(text(t, before, scenarioFile), "")
	if err := os.WriteFile(filepath.Join(before, scenarioFile), []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	_, old, err := Load(before)
	if err != nil {
		t.Fatal(err)
	}
	if got := differ(old); got != "[{load.post_hops 1 -} {load.post_delay 5s -}]" {
		t.Errorf("against one from before: %s", got)
	}
}

func text(t *testing.T, dir, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for n := 0; ; n++ {
		if _, err := d.Token(); errors.Is(err, io.EOF) && n > 20 {
			return
		} else if err != nil {
			t.Fatalf("%v in %.300s", err, svg)
		}
	}
}

// balanced checks that every element of the page is closed in its place.
func balanced(t *testing.T, page string) {
	t.Helper()
	var open []string
	for _, m := range regexp.MustCompile(`<(/?)([a-z0-9]+)[^>]*?(/?)>`).FindAllStringSubmatch(page, -1) {
		switch {
		case m[2] == "meta" || m[3] == "/":
		case m[1] == "":
			open = append(open, m[2])
		case len(open) == 0 || open[len(open)-1] != m[2]:
			t.Fatalf("</%s> closes %v", m[2], open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
}

// TestLargeRawDataIsCompressed, and read back all the same.
func TestLargeRawDataIsCompressed(t *testing.T) {
	dir := folder(t, lab.Default(), 6000)
	if _, err := os.Stat(filepath.Join(dir, rawFolder, "seed-1", "heard.ndjson.gz")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, rawFolder, "seed-1", "heard.ndjson")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there uncompressed too: %v", err)
	}
	if _, res, err := Load(dir); err != nil || res.Runs[0].Heard != 12_000 {
		t.Errorf("%v", err)
	}
}

// TestListReadsNoMoreThanItMust: what folders say is listed newest first; a result that
// is too large, no JSON or not there is a problem of its folder alone.
func TestListReadsNoMoreThanItMust(t *testing.T) {
	dir := t.TempDir()
	s := lab.Default()
	for day, name := range []string{"old", "new", "broken", "large", "fresh"} {
		s.Name = name
		at := filepath.Join(dir, name)
		if err := Create(at, s); err != nil {
			t.Fatal(err)
		}
		res := lab.Result{Made: lab.Made{Started: time.Date(2026, 1, 1+day, 0, 0, 0, 0, time.UTC)}, Seeds: []uint64{1}}
		if err := Write(at, s, res); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "broken", resultFile), []byte("{"), 0o600), os.Truncate(filepath.Join(dir, "large", resultFile), maxResult+1),
		os.Remove(filepath.Join(dir, "fresh", resultFile)), os.Mkdir(filepath.Join(dir, "no result"), 0o700)); err != nil {
		t.Fatal(err)
	}
	all, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		if l.Name != filepath.Base(l.Folder) || (len(l.Problems) == 0) != (len(l.Seeds) == 1) {
			t.Errorf("%+v", l)
		}
		got = append(got, strings.Join(append([]string{l.Name}, l.Problems...), ": "))
	}
	want := []string{"broken: .*not of schema", "fresh: no figures yet", "large: .*larger than", "new$", "old$"}
	for i, w := range want {
		if len(got) != len(want) || !regexp.MustCompile("^"+w).MatchString(got[i]) {
			t.Fatalf("%q", got)
		}
	}
	for i := range maxListed {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint("more ", i), rawFolder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("more ", i), scenarioFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := List(dir); !errors.Is(err, fault.Full) {
		t.Errorf("more than %d: %v", maxListed, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Load(dir); !errors.Is(err, fault.NotFound) {
		t.Errorf("an empty folder: %v", err)
	}
	if err := Create(dir, lab.Default()); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := Create(dir, lab.Default()); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "holds something already") {
		t.Errorf("a folder that holds something: %v", err)
	}
	if _, _, err := Load(dir); !errors.Is(err, fault.NotFound) {
		t.Errorf("no raw data: %v", err)
	}
	raw, err := OpenRaw(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw.Sink(lab.Record{Kind: "../../etc/passwd"})
	raw.Sink(lab.Record{Kind: lab.KindNode})
	if err := raw.Close(); !errors.Is(err, fault.Malformed) {
		t.Errorf("a record of no kind: %v", err)
	}
	raw.Sink(lab.Record{Kind: lab.KindNode}) // after the end: dropped
	path := filepath.Join(dir, rawFolder, "seed-1", "heard.ndjson")
	if err := os.WriteFile(path, []byte("{\"schema\":\"hark.lab-raw/1\"}\n{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(dir); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "heard.ndjson: line 2") {
		t.Errorf("broken raw data: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, resultFile), []byte(`{"schema":"hark.lab/9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(dir); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a newer result: %v", err)
	}
}
