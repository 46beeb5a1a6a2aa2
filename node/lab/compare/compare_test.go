package compare

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/node/lab"
)

func result(seed uint64, delivery, latency []float64) lab.Result {
	s := lab.Default()
	s.Seed = seed
	r := lab.Result{Name: "r", Engine: s.Engine, Parameters: s.Parameters(), Made: lab.Made{Program: "1", Go: "go1", Modules: []string{"m v1"}}}
	for i := range delivery {
		r.Runs = append(r.Runs, lab.Figures{InTime: &delivery[i], Latency: lab.Quantiles{P50: latency[i], P99: latency[i] * 2}})
	}
	r.Figures = lab.Spreads(r.Runs)
	return r
}

func TestResults(t *testing.T) {
	a := result(1, []float64{1, 1, 1, 1}, []float64{100, 101, 102, 99})
	b := result(2, []float64{1, 1, 1, 1}, []float64{150, 152, 149, 151})
	b.Made.Go, b.Made.Modules = "go2", []string{"m v2", "n v1"}
	c := Results("A", "B", &a, &b)
	if d := cmp.Diff([]ParameterChange{{"seed", "1", "2"}}, c.Parameters); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]ParameterChange{{"go", "go1", "go2"}, {"m", "v1", "v2"}, {"n", "-", "v1"}}, c.Environment); d != "" {
		t.Error(d)
	}
	find := func(c Comparison, key string) FigureChange {
		return c.Figures[slices.IndexFunc(c.Figures, func(f FigureChange) bool { return f.Key == key })]
	}
	if f := find(c, "latency_p50_ms"); f.BeyondNoise != Yes || *f.Difference != 50 || *f.A != 100.5 {
		t.Errorf("%+v", f)
	}
	if f := find(c, "delivery_60s"); f.BeyondNoise != No || *f.Difference != 0 {
		t.Errorf("%+v", f)
	}
	noisy := result(1, []float64{1, 1, 1, 1}, []float64{60, 240, 90, 160})
	if f := find(Results("A", "B", &a, &noisy), "latency_p50_ms"); f.BeyondNoise != No {
		t.Errorf("%+v", f)
	}
	single := result(1, []float64{1}, []float64{150})
	if f := find(Results("A", "B", &a, &single), "latency_p50_ms"); f.BeyondNoise != Unknown {
		t.Errorf("%+v", f)
	}
	unknown := result(1, nil, nil)
	if f := find(Results("A", "B", &a, &unknown), "delivery_60s"); f.B != nil || f.Difference != nil || f.BeyondNoise != Unknown {
		t.Errorf("%+v", f)
	}
}
