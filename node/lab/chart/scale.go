package chart

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// A scale maps values to places.
type scale struct {
	min, max float64
	from, to float64 // places
	log      bool
	time     bool
	room     int // how many ticks there may be, about
}

// scales find how far the axes go.
func (c *Chart) scales() (x, y scale) {
	var xs, ys []float64
	for _, l := range c.Lines {
		for _, p := range l.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	for _, b := range c.Bars {
		xs, ys = append(xs, b.From, b.To), append(ys, b.Height)
	}
	for _, m := range c.Marks {
		xs = append(xs, m.X)
	}
	x = newScale(c.X, xs, left, width-right, 7)
	y = newScale(c.Y, ys, height-bottom, top, 6)
	return x, y
}

func newScale(a Axis, values []float64, from, to float64, room int) scale {
	s := scale{min: a.Min, max: a.Max, from: from, to: to, log: a.Log, time: a.Time, room: room}
	for _, v := range values {
		if a.Max == 0 {
			s.max = max(s.max, v)
		}
		if !a.Log {
			s.min = min(s.min, v)
		}
	}
	if a.Log {
		s.min = math.Pow(10, math.Floor(math.Log10(max(s.min, 1e-9))))
		s.max = math.Pow(10, math.Ceil(math.Log10(max(s.max, s.min*10))))
		return s
	}
	if s.max <= s.min {
		s.max = s.min + 1
	}
	if a.Max == 0 { // round up to a tick
		step := s.step()
		s.max = math.Ceil(s.max/step-1e-9) * step
	}
	return s
}

// at is the place of a value; what is outside is drawn on the edge.
func (s scale) at(v float64) float64 {
	v = min(max(v, s.min), s.max)
	share := (v - s.min) / (s.max - s.min)
	if s.log {
		share = math.Log(v/s.min) / math.Log(s.max/s.min)
	}
	return s.from + share*(s.to-s.from)
}

// clockSteps are distances of ticks that suit a clock, in milliseconds.
var clockSteps = []float64{
	1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000,
}

// step is the distance of ticks: 1, 2 or 5 and noughts, or what suits a clock.
func (s scale) step() float64 {
	raw := (s.max - s.min) / float64(s.room)
	for _, step := range clockSteps {
		if s.time && raw > clockSteps[0]/2 && step >= raw*(1-1e-9) {
			return step
		}
	}
	decade := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*decade >= raw*(1-1e-9) {
			return m * decade
		}
	}
	return 10 * decade
}

func (s scale) ticks() (out []float64) {
	if s.log {
		for v := s.min; v <= s.max*1.001 && len(out) < 20; v *= 10 {
			out = append(out, v)
		}
		return out
	}
	step := s.step()
	for i := math.Ceil(s.min / step); i*step <= s.max+step/1000 && len(out) < 20; i++ {
		out = append(out, i*step)
	}
	return out
}

func (a Axis) text(v float64) string {
	if a.Text == nil {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return a.Text(v)
}

// Millis writes milliseconds as people do: 250 ms, 2 s, 3 min.
func Millis(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) < 1000:
		return trim(v) + " ms"
	case math.Abs(v) < 120_000:
		return trim(v/1000) + " s"
	case math.Abs(v) < float64(2*time.Hour.Milliseconds()):
		return trim(v/60_000) + " min"
	}
	return trim(v/3_600_000) + " h"
}

// Bytes writes bytes as people do.
func Bytes(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if math.Abs(v) >= u.size {
			return trim(v/u.size) + " " + u.name
		}
	}
	return trim(v) + " B"
}

// Count writes a number of things, thousands apart.
func Count(v float64) string {
	if math.Abs(v) < 1000 {
		return trim(v)
	}
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Percent writes a share, with as many digits as tell it from all or nothing.
func Percent(v float64) string {
	p := v * 100
	switch {
	case p != 100 && math.Abs(p-100) < 0.05:
		return strconv.FormatFloat(math.Floor(p*10000)/10000, 'f', -1, 64) + " %"
	default:
		return trim(p) + " %"
	}
}

// trim writes three digits at most.
func trim(v float64) string {
	switch {
	case math.Abs(v) >= 99.95 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 9.995:
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}
