package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// parsed reads an SVG as XML and counts its elements.
func parsed(t *testing.T, svg string) map[string]int {
	t.Helper()
	out := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			out[e.Name.Local]++
		}
	}
}

func TestChartsAreWellFormed(t *testing.T) {
	many := Line{Name: "many"}
	for i := range 5000 {
		many.Points = append(many.Points, Point{float64(i), math.Sqrt(float64(i))})
	}
	for name, c := range map[string]Chart{
		"nothing": {ID: "a"},
		"hostile": {ID: "b", Title: `<script>alert("x")</script>&`, Desc: "a \x00 'quote'", Lines: []Line{{Name: "</text><a>", Points: []Point{{1, 2}}}}, Marks: []Mark{{1, "<b>"}}},
		"lines":   {ID: "c", Lines: []Line{many, {Name: "two", Points: []Point{{0, 0}, {5000, 10}}}}, X: Axis{Name: "x", Text: Millis}},
		"log":     {ID: "d", X: Axis{Log: true, Min: 3}, Lines: []Line{{Name: "l", Points: []Point{{0, 0}, {3, .5}, {4000, 1}}}}, Y: Axis{Max: 1, Text: Percent}},
		"bars":    {ID: "e", Bars: []Bar{{0, 10, 3}, {10, 20, 0}, {20, 30, 7}}},
		"level":   {ID: "f", Lines: []Line{{Name: "l", Points: []Point{{5, 5}, {5, 5}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, alone := range []bool{false, true} {
				svg := c.SVG(alone)
				n := parsed(t, svg)
				if n["svg"] != 1 || n["title"] != 1 || n["desc"] != 1 || n["script"] != 0 || (n["style"] == 1) != alone {
					t.Errorf("%v", n)
				}
				if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || len(svg) > 40_000 {
					t.Errorf("%d bytes: %.200s", len(svg), svg)
				}
				if want := 1 + len(c.Lines); n["polyline"] != want { // and the axes
					t.Errorf("%d polylines, want %d", n["polyline"], want)
				}
			}
		})
	}
}

func TestPointsStandWhereTheyShould(t *testing.T) {
	s := newScale(Axis{}, []float64{0, 100}, 0, 200, 5)
	if s.at(50) != 100 || s.at(-5) != 0 || s.at(500) != 200 {
		t.Errorf("%v %v %v", s.at(50), s.at(-5), s.at(500))
	}
	if got := s.ticks(); len(got) != 6 || got[1] != 20 {
		t.Errorf("%v", got)
	}
	l := newScale(Axis{Log: true, Min: 2}, []float64{2, 900}, 0, 300, 5)
	if l.min != 1 || math.Abs(l.max-1000) > 1e-6 || math.Abs(l.at(10)-100) > 1e-6 || len(l.ticks()) != 4 {
		t.Errorf("%+v: %v, %v", l, l.at(10), l.ticks())
	}
}

func TestTicksOfAClock(t *testing.T) {
	s := newScale(Axis{Time: true}, []float64{0, 290_000}, 0, 200, 7)
	if got := s.ticks(); len(got) != 6 || got[1] != 60_000 {
		t.Errorf("%v", got)
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		Millis(250): "250 ms", Millis(2500): "2.5 s", Millis(300_000): "5 min", Millis(0): "0", Bytes(12): "12 B", Count(7): "7", Count(999.4): "999", Count(1234.5): "1,235", Count(-1234567): "-1,234,567", Bytes(1234): "1.23 kB",
		Bytes(45_600_000): "45.6 MB", Percent(1): "100 %", Percent(0.99999): "99.999 %", Percent(0.5): "50 %", Percent(0.1234): "12.3 %", Percent(0): "0 %",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
