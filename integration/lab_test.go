package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/compare"
)

// labResult is what the tests read of run.json.
type labResult struct {
	Schema   string    `json:"schema"`
	Seeds    []uint64  `json:"seeds"`
	Headline []figure  `json:"headline"`
	Figures  []figure  `json:"figures"`
	Runs     []labRun  `json:"runs"`
	Made     labMade   `json:"made"`
	Params   []keyPair `json:"parameters"`
}

type figure struct {
	Key  string  `json:"key"`
	Mean float64 `json:"mean"`
}

type labRun struct {
	Announced, Failed, Pairs, Heard int
	Unjudged                        int `json:"pairs_unjudged"`
	Latency                         struct {
		P50 float64 `json:"p50"`
	} `json:"latency_ms"`
}

type labMade struct {
	Go       string   `json:"go"`
	Problems []string `json:"problems"`
}

type keyPair struct{ Key, Value string }

// runLab writes the scenario and runs it into a result folder.
func runLab(t *testing.T, scenario string, args ...string) (dir string, res labResult) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a whole network")
	}
	ctx, cancel := context.WithTimeout(t.Context(), storyWait)
	defer cancel()
	base := t.TempDir()
	file := filepath.Join(base, "scenario.toml")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(base, "out")
	cmd := exec.CommandContext(ctx, program(t), append([]string{"lab", "run", file, "--out", dir, "--json"}, args...)...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "TMPDIR="+base)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil || res.Schema != lab.ResultSchema {
		t.Fatalf("%v: %.300s", err, out.String())
	}
	if errs.Len() > 0 {
		t.Errorf("said without a terminal: %s", errs.String())
	}
	for _, f := range []string{"scenario.toml", "run.json", "index.html", "reproduce.sh", "plots/delivery.svg", "plots/latency.svg", "plots/bytes.svg"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(base, "hark-lab-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return dir, res
}

func (r labResult) figure(key string) float64 {
	for _, f := range r.Figures {
		if f.Key == key {
			return f.Mean
		}
	}
	return -1
}

// TestLabOnProcesses: real processes, one of which is killed and comes back, one comes late,
// and one is flooded.
func TestLabOnProcesses(t *testing.T) {
	_, res := runLab(t, `
name = "tiny"
duration = "6s"
settle = "70s"
[network]
public = 4
personal = 2
[load]
needs = 5
[churn]
per_minute = 10.0
downtime = "2s"
[late]
count = 1
from = "3s"
[floods]
count = 1
rate = 500
for = "1s"
every = "3s"
`)
	if len(res.Runs) != 1 || len(res.Made.Problems) > 0 || len(res.Params) < 20 || res.Made.Go == "" {
		t.Fatalf("%+v", res)
	}
	r := res.Runs[0]
	if r.Announced != 5 || r.Failed != 0 || r.Pairs+r.Unjudged != 20 || r.Heard != r.Pairs || r.Pairs < 10 || r.Latency.P50 <= 0 {
		t.Errorf("%+v", r)
	}
	if res.figure("late_delivery") != 1 || res.figure("late_live") < 1 || res.figure("flood_sent") < 250 || res.figure("flood_looked_at") < 1 || res.figure("flood_delivery_60s") != 1 {
		t.Errorf("%+v", res.Figures)
	}
	if res.figure("delivery_60s") != 1 || res.figure("bytes_per_node") <= 0 || res.figure("rpcs_per_node") <= 0 || res.figure("judged_per_node") <= 0 || len(res.Headline) < 4 {
		t.Errorf("%+v", res.Figures)
	}
}

const simulatedScenario = `
name = "tiny"
engine = "simulated"
duration = "20s"
settle = "70s"
seeds = 2
[network]
public = 5
personal = 2
[links]
loss = 0.02
[load]
needs = 8
withdrawn = 0.3
[churn]
per_minute = 6.0
downtime = "5s"
[sybils]
count = 2
[spies]
count = 1
[clock]
skew = "5s"
share = 0.3
`

// TestLabSimulated: real nodes on a simulated network, with all that can go wrong at
// once; the same seed plays the same plan.
func TestLabSimulated(t *testing.T) {
	simulatorBeside(t)
	one, res := runLab(t, simulatedScenario)
	if len(res.Runs) != 2 || len(res.Seeds) != 2 || len(res.Made.Problems) > 0 {
		t.Fatalf("%+v", res)
	}
	for _, r := range res.Runs {
		if r.Announced < 8 || r.Failed != 0 || r.Heard != r.Pairs || r.Pairs < 20 || r.Latency.P50 < 20 {
			t.Errorf("%+v", r)
		}
	}
	if res.figure("delivery_60s") != 1 || res.figure("bytes_per_node") <= 0 || res.figure("packets_per_node") <= res.figure("rpcs_per_node") || res.figure("judged_per_node") <= 0 {
		t.Errorf("%+v", res.Figures)
	}
	two, _ := runLab(t, simulatedScenario)
	for _, seed := range []string{"seed-1", "seed-2"} {
		for _, f := range []string{"node.ndjson", "announcement.ndjson"} {
			a, b := planned(t, one, seed, f), planned(t, two, seed, f)
			if a != b || a == "" {
				t.Errorf("%s of %s differs between two runs:\n%s\n%s", f, seed, a, b)
			}
		}
	}
	if planned(t, one, "seed-1", "announcement.ndjson") == planned(t, one, "seed-2", "announcement.ndjson") {
		t.Error("two seeds have one plan")
	}
	out, err := exec.Command(program(t), "lab", "compare", one, two, "--json").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"schema": "hark.lab-compare/1"`) || !strings.Contains(string(out), `"parameters": []`) || strings.Contains(string(out), compare.Unknown) {
		t.Errorf("%v: %s", err, out)
	}
}

// simulatorBeside builds hark-lab beside the program, which else builds it anew in each run,
// as it does in TestLabOnProcesses.
func simulatorBeside(t *testing.T) {
	t.Helper()
	at := filepath.Join(filepath.Dir(program(t)), exe("hark-lab"))
	if _, err := os.Stat(at); err == nil {
		return
	}
	if out, err := exec.Command("go", "build", "-o", at, "../cmd/hark-lab").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// planned is what the plan alone decides of the raw data.
func planned(t *testing.T, dir, seed, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "raw", seed, file))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := lab.ReadRecords(bytes.NewReader(raw), func(r lab.Record) {
		r.Context, r.TookMS, r.Keepers = "", 0, nil // keys are drawn, and keepers by them
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLabBrokenOff: an interrupt ends all processes; what was seen until then is kept.
func TestLabBrokenOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a whole network")
	}
	base := t.TempDir()
	file, dir := filepath.Join(base, "s.toml"), filepath.Join(base, "out")
	if err := os.WriteFile(file, []byte("name = \"long\"\nduration = \"10m\"\n[network]\npublic = 3\npersonal = 1\n[load]\nneeds = 600\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program(t), "lab", "run", file, "--out", dir)
	cmd.Env = append(os.Environ(), "TMPDIR="+base)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended long before
	heard := filepath.Join(dir, "raw", "seed-1", "node.ndjson")
	for range 600 {
		if _, err := os.Stat(heard); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(errs.String(), "the experiment was broken off") {
		t.Errorf("%v: %s", err, errs.String())
	}
	raw, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil || !strings.Contains(string(raw), "the experiment was broken off") {
		t.Errorf("%v: %.300s", err, raw)
	}
	if left, _ := filepath.Glob(filepath.Join(base, "hark-lab-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
