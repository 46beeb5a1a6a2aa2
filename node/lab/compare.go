package lab

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Measure is one figure of a run that is shown and compared.
type Measure struct {
	Key   string
	Title string
	Unit  string // share, ms, bytes, count
	Head  bool   // it is among the three that every result begins with: delivery, latency, bytes
	of    func(*Figures) *float64
}

// Of is the figure of one run; nil where it is not known.
func (m Measure) Of(f *Figures) *float64 { return m.of(f) }

// Measures are all of them, in the order in which they are shown.
func Measures() []Measure {
	latency := func(pick func(Quantiles) float64) func(*Figures) *float64 {
		return func(f *Figures) *float64 {
			if f.Latency == (Quantiles{}) {
				return nil
			}
			v := pick(f.Latency)
			return &v
		}
	}
	return append([]Measure{
		{"delivery_without_pull", "Delivery by post and gossip alone", "share", true, func(f *Figures) *float64 { return f.Outright }},
		{"delivery_60s", "Delivery within 60 s, with pull", "share", true, func(f *Figures) *float64 { return f.InTime }},
		{"delivery", "Delivery by the end", "share", false, func(f *Figures) *float64 { return f.Ever }},
		{"latency_p50_ms", "Latency, half of all within", "ms", true, latency(func(q Quantiles) float64 { return q.P50 })},
		{"latency_p90_ms", "Latency, 90 % within", "ms", false, latency(func(q Quantiles) float64 { return q.P90 })},
		{"latency_p99_ms", "Latency, 99 % within", "ms", true, latency(func(q Quantiles) float64 { return q.P99 })},
		{"latency_max_ms", "Latency, the longest", "ms", false, latency(func(q Quantiles) float64 { return q.Max })},
		{"bytes_per_node", "Bytes of a public node", "bytes", true, func(f *Figures) *float64 { return f.BytesPerNode }},
		{"bytes_per_announcement", "Bytes of a public node for each announcement", "bytes", true, func(f *Figures) *float64 { return f.BytesPerAnnouncement }},
		{"packets_per_node", "Packets of a public node", "count", false, func(f *Figures) *float64 { return f.PacketsPerNode }},
		{"rpcs_per_node", "Gossip RPCs of a public node", "count", false, func(f *Figures) *float64 { return f.RPCsPerNode }},
		{"judged_per_node", "Announcements that a public node judged", "count", false, func(f *Figures) *float64 { return f.JudgedPerNode }},
		{"cpu_ms_per_node", "CPU time of a node", "ms", false, func(f *Figures) *float64 { return f.CPUPerNode }},
		{"rss_bytes_per_node", "Memory of a public node", "bytes", false, func(f *Figures) *float64 { return f.RSSPerNode }},
		{"sybil_links", "Links with Sybils for each with an honest node", "count", false, func(f *Figures) *float64 { return f.SybilLinks }},
		{"sybil_mesh", "Places in the meshes that are Sybils'", "share", false, func(f *Figures) *float64 { return f.SybilMesh }},
		{"spy_precision_keeper", "First-spy guesses that name a keeper the author posted to", "share", false, func(f *Figures) *float64 { return f.SpyKeeper }},
		{"spy_precision_author", "First-spy guesses that name the author", "share", false, func(f *Figures) *float64 { return f.SpyAuthor }},
		{"spy_chance", "Naming such a keeper by throwing dice", "share", false, func(f *Figures) *float64 { return f.SpyChance }},
	}, slices.Concat(keeperMeasures(), dhtMeasures())...)
}

// A Spread is one figure over all runs of a result.
type Spread struct {
	Key  string  `json:"key"`
	Unit string  `json:"unit"`
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	SD   float64 `json:"sd"` // of the sample; 0 of one run
	Runs int     `json:"runs"`
}

// Spreads are the figures of several runs, without those of which nothing is known.
func Spreads(runs []Figures) []Spread {
	out := []Spread{}
	for _, m := range Measures() {
		var list []float64
		for i := range runs {
			if v := m.Of(&runs[i]); v != nil {
				list = append(list, *v)
			}
		}
		if len(list) == 0 {
			continue
		}
		s := Spread{Key: m.Key, Unit: m.Unit, Mean: *mean(list), Min: slices.Min(list), Max: slices.Max(list), Runs: len(list)}
		for _, v := range list {
			s.SD += (v - s.Mean) * (v - s.Mean)
		}
		s.SD = math.Sqrt(s.SD / float64(max(len(list)-1, 1)))
		out = append(out, s)
	}
	return out
}

// ResultSchema names the form of a Result: run.json of a result folder.
const ResultSchema = "hark.lab/1"

// A Result is what a result folder says in run.json: how it was made, and what came
// out.
type Result struct {
	Name       string      `json:"name"`
	About      string      `json:"about,omitempty"`
	Engine     string      `json:"engine"`
	Seeds      []uint64    `json:"seeds"`
	Made       Made        `json:"made"`
	Bytes      string      `json:"bytes"` // what is counted as bytes
	CPU        string      `json:"cpu"`   // and as CPU time
	Headline   []Spread    `json:"headline"`
	Figures    []Spread    `json:"figures"`
	Runs       []Figures   `json:"runs"`
	Parameters []Parameter `json:"parameters"`
}

// Made says with what and where a result was made.
type Made struct {
	Program  string    `json:"program"` // version of hark
	Go       string    `json:"go"`
	OS       string    `json:"os"`
	Arch     string    `json:"arch"`
	CPUs     int       `json:"cpus"`
	Modules  []string  `json:"modules"` // path and version of every module in the program
	Started  time.Time `json:"started"`
	TookMS   int64     `json:"took_ms"`
	Problems []string  `json:"problems"` // what went wrong in the engine
}

// Headline picks the figures that every result begins with.
func Headline(all []Spread) []Spread {
	out := []Spread{}
	for _, m := range Measures() {
		i := slices.IndexFunc(all, func(s Spread) bool { return s.Key == m.Key })
		if m.Head && i >= 0 {
			out = append(out, all[i])
		}
	}
	return out
}

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

// Compare sets b beside a.
func Compare(nameA, nameB string, a, b *Result) Comparison {
	c := Comparison{A: nameA, B: nameB, Parameters: changes(a.Parameters, b.Parameters), Figures: []FigureChange{}}
	c.Environment = changes(a.Made.parameters(a.Engine), b.Made.parameters(b.Engine))
	for _, m := range Measures() {
		find := func(list []Spread) *Spread {
			if i := slices.IndexFunc(list, func(s Spread) bool { return s.Key == m.Key }); i >= 0 {
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

func (m Made) parameters(engine string) []Parameter {
	out := []Parameter{{Key: "engine", Value: engine}, {Key: "program", Value: m.Program}, {Key: "go", Value: m.Go}, {Key: "system", Value: m.OS + "/" + m.Arch}}
	out = append(out, Parameter{Key: "cpus", Value: strconv.Itoa(m.CPUs)})
	for _, mod := range m.Modules {
		key, version, _ := strings.Cut(mod, " ")
		out = append(out, Parameter{Key: key, Value: version})
	}
	return out
}

// changes lists what differs, in the order of a, then what b alone has.
func changes(a, b []Parameter) []ParameterChange {
	out := []ParameterChange{}
	of := func(list []Parameter, key string) string {
		if i := slices.IndexFunc(list, func(p Parameter) bool { return p.Key == key }); i >= 0 {
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
func beyondNoise(a, b Spread) string {
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
