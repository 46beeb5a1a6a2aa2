package lab

import (
	"math"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/lab/hostile"
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
	all := []Measure{
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
	}
	for _, m := range hostile.Measures() {
		all = append(all, Measure{m.Key, m.Title, m.Unit, false, func(f *Figures) *float64 { return m.Of(&f.Figures) }})
	}
	return append(append(all, keeperMeasures()...), dhtMeasures()...)
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
