package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/chart"
)

// A plot is a chart with the table that says the same.
type plot struct {
	file  string
	chart chart.Chart
	head  []string
	rows  [][]string
}

// plotsOf draws the runs of a result; several runs are drawn as one.
func plotsOf(res *lab.Result) []plot {
	return []plot{delivery(res), latency(res), bytesOf(res)}
}

// delivery shows how the pairs that are due and those that were heard add up.
func delivery(res *lab.Result) plot {
	var due, got []float64
	var marks []chart.Mark
	for i, f := range res.Runs {
		due, got = append(due, f.Series.Due...), append(got, f.Series.Got...)
		if i == 0 {
			for _, m := range f.Series.Marks {
				marks = append(marks, chart.Mark{X: m.MS, Name: m.What})
			}
		}
	}
	slices.Sort(due)
	slices.Sort(got)
	p := plot{file: "delivery", head: []string{"Time", "Due", "Heard", "Share"}}
	p.chart = chart.Chart{
		ID: "delivery", Title: "Delivery over time",
		Desc: fmt.Sprintf("Pairs of an announcement and a public node that should hear it: %s became due, %s were heard.", count(len(due)), count(len(got))),
		X:    chart.Axis{Name: "time since the load began", Time: true, Text: chart.Millis}, Y: chart.Axis{Name: "pairs, added up", Text: chart.Count},
		Lines: []chart.Line{{Name: "due", Points: stairs(due)}, {Name: "heard", Points: stairs(got)}}, Marks: marks,
	}
	end := 0.0
	for _, list := range [][]float64{due, got} {
		if len(list) > 0 {
			end = max(end, list[len(list)-1])
		}
	}
	const rows = 8
	for i := 1; i <= rows && end > 0; i++ {
		at := math.Round(end * float64(i) / rows)
		d, g := below(due, at), below(got, at)
		share := "–"
		if d > 0 {
			share = chart.Percent(float64(g) / float64(d))
		}
		p.rows = append(p.rows, []string{chart.Millis(at), count(d), count(g), share})
	}
	return p
}

// stairs adds up events at sorted times.
func stairs(times []float64) []chart.Point {
	out := []chart.Point{{X: 0, Y: 0}}
	for i, at := range times {
		out = append(out, chart.Point{X: max(at, 0), Y: float64(i + 1)})
	}
	return out
}

// below counts the sorted values up to v.
func below(list []float64, v float64) int {
	n, _ := slices.BinarySearchFunc(list, v, func(a, b float64) int {
		if a <= b {
			return -1
		}
		return 1
	})
	return n
}

var wayNames = []struct{ way, name string }{
	{"", "all"}, {lab.ByPost, "post"}, {lab.ByGossip, "gossip"}, {lab.ByPull, "pull"},
}

// latency shows what share was heard within which time, by the way it came.
func latency(res *lab.Result) plot {
	byWay := map[string][]float64{}
	for _, f := range res.Runs {
		for way, list := range f.Series.LatencyByWay {
			byWay[way] = append(byWay[way], list...)
			byWay[""] = append(byWay[""], list...)
		}
	}
	p := plot{file: "latency", head: []string{"Way", "Pairs", "50 % within", "90 % within", "99 % within", "longest"}}
	p.chart = chart.Chart{
		ID: "latency", Title: "From announced to heard",
		Desc: "Share of the pairs that were heard within a time, by the way in which they were heard.",
		X:    chart.Axis{Name: "time since it was announced", Log: true, Text: chart.Millis}, Y: chart.Axis{Name: "share heard within", Max: 1, Text: chart.Percent},
	}
	for _, w := range wayNames {
		list := byWay[w.way]
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		var points []chart.Point
		for i, v := range list {
			points = append(points, chart.Point{X: max(v, 1), Y: float64(i+1) / float64(len(list))})
		}
		if p.chart.X.Min == 0 {
			p.chart.X.Min = points[0].X
		}
		p.chart.Lines = append(p.chart.Lines, chart.Line{Name: w.name, Points: points})
		q := func(share float64) string {
			return chart.Millis(list[max(0, int(math.Ceil(share*float64(len(list))))-1)])
		}
		p.rows = append(p.rows, []string{w.name, count(len(list)), q(0.5), q(0.9), q(0.99), q(1)})
	}
	return p
}

// bins is how many bars a histogram has.
const bins = 12

// bytesOf shows how the bytes spread over public nodes.
func bytesOf(res *lab.Result) plot {
	var all []float64
	for _, f := range res.Runs {
		all = append(all, f.Series.BytesByNode...)
	}
	p := plot{file: "bytes", head: []string{"From", "To", "Nodes"}}
	p.chart = chart.Chart{
		ID: "bytes", Title: "Bytes of each public node", Desc: "How many public nodes sent and received how many bytes.",
		X: chart.Axis{Name: "bytes sent and received", Text: chart.Bytes}, Y: chart.Axis{Name: "nodes", Text: chart.Count},
	}
	if len(all) == 0 {
		return p
	}
	top := slices.Max(all)
	step := max(top/bins, 1)
	nodes := make([]int, bins)
	for _, v := range all {
		nodes[min(int(v/step), bins-1)]++
	}
	for i, n := range nodes {
		from, to := step*float64(i), step*float64(i+1)
		p.chart.Bars = append(p.chart.Bars, chart.Bar{From: from, To: to, Height: float64(n)})
		if n > 0 {
			p.rows = append(p.rows, []string{chart.Bytes(from), chart.Bytes(to), count(n)})
		}
	}
	return p
}
