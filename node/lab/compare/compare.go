// Package compare sets two results of experiments side by side: which parameters differ,
// what else does, and each figure of both, with whether the difference is more than noise.
package compare

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/lab"
)

// ComparisonSchema names the form of a Comparison.
const ComparisonSchema = "hark.lab-compare/1"

// A Comparison sets result B beside result A.
type Comparison struct {
	A           string            `json:"a"`
	B           string            `json:"b"`
	Parameters  []ParameterChange `json:"parameters"`  // those that differ
	Environment []ParameterChange `json:"environment"` // what else differs: versions, machine
	Figures     []FigureChange    `json:"figures"`
}

// A ParameterChange is a parameter that differs.
type ParameterChange struct {
	Key string `json:"key"`
	A   string `json:"a"`
	B   string `json:"b"`
}

// Answers to a question that may have none yet.
const (
	Yes     = "yes"
	No      = "no"
	Unknown = "not known yet"
)

// A FigureChange is one figure of both. BeyondNoise tells whether the difference is
// more than what differs from seed to seed: Welch's t test at 95 %, which asks for two
// runs on each side.
type FigureChange struct {
	Key         string   `json:"key"`
	Unit        string   `json:"unit"`
	A           *float64 `json:"a"` // means over all runs
	B           *float64 `json:"b"`
	Difference  *float64 `json:"difference"` // B - A
	Relative    *float64 `json:"relative"`   // (B - A) / A
	BeyondNoise string   `json:"beyond_noise"`
}

// Results sets b beside a.
func Results(nameA, nameB string, a, b *lab.Result) Comparison {
	c := Comparison{A: nameA, B: nameB, Parameters: changes(a.Parameters, b.Parameters), Figures: []FigureChange{}}
	c.Environment = changes(environment(a), environment(b))
	for _, m := range lab.Measures() {
		find := func(list []lab.Spread) *lab.Spread {
			if i := slices.IndexFunc(list, func(s lab.Spread) bool { return s.Key == m.Key }); i >= 0 {
				return &list[i]
			}
			return nil
		}
		x, y := find(a.Figures), find(b.Figures)
		if x == nil && y == nil {
			continue
		}
		f := FigureChange{Key: m.Key, Unit: m.Unit, BeyondNoise: Unknown}
		if x != nil {
			f.A = &x.Mean
		}
		if y != nil {
			f.B = &y.Mean
		}
		if x != nil && y != nil {
			d := y.Mean - x.Mean
			f.Difference, f.BeyondNoise = &d, beyondNoise(*x, *y)
			if x.Mean != 0 {
				r := d / x.Mean
				f.Relative = &r
			}
		}
		c.Figures = append(c.Figures, f)
	}
	return c
}

func environment(r *lab.Result) []lab.Parameter {
	m := r.Made
	out := []lab.Parameter{{Key: "engine", Value: r.Engine}, {Key: "program", Value: m.Program}, {Key: "go", Value: m.Go}, {Key: "system", Value: m.OS + "/" + m.Arch}}
	out = append(out, lab.Parameter{Key: "cpus", Value: strconv.Itoa(m.CPUs)})
	for _, mod := range m.Modules {
		key, version, _ := strings.Cut(mod, " ")
		out = append(out, lab.Parameter{Key: key, Value: version})
	}
	return out
}

// changes lists what differs, in the order of a, then what b alone has.
func changes(a, b []lab.Parameter) []ParameterChange {
	out := []ParameterChange{}
	of := func(list []lab.Parameter, key string) string {
		if i := slices.IndexFunc(list, func(p lab.Parameter) bool { return p.Key == key }); i >= 0 {
			return list[i].Value
		}
		return "-"
	}
	for _, p := range slices.Concat(a, b) {
		x, y := of(a, p.Key), of(b, p.Key)
		if x != y && !slices.ContainsFunc(out, func(c ParameterChange) bool { return c.Key == p.Key }) {
			out = append(out, ParameterChange{p.Key, x, y})
		}
	}
	return out
}

// student are the bounds of Student's t for 95 %, two-sided, by degrees of freedom.
var student = []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086}

// beyondNoise is Welch's t test.
func beyondNoise(a, b lab.Spread) string {
	if a.Runs < 2 || b.Runs < 2 {
		return Unknown
	}
	va, vb := a.SD*a.SD/float64(a.Runs), b.SD*b.SD/float64(b.Runs)
	d := math.Abs(b.Mean - a.Mean)
	if va+vb == 0 {
		if d == 0 {
			return No
		}
		return Yes
	}
	freedom := (va + vb) * (va + vb) / (va*va/float64(a.Runs-1) + vb*vb/float64(b.Runs-1))
	bound := 1.96
	if i := int(freedom); i <= len(student) {
		bound = student[cmp.Or(i, 1)-1]
	}
	if d > bound*math.Sqrt(va+vb) {
		return Yes
	}
	return No
}
