// Package chart draws plots as SVG: lines over a linear or logarithmic axis, and bars.
//
//  1. a Chart names its axes and holds lines or bars, in the units of its axes;
//  2. SVG picks round ticks, places everything in a box of 720 × 400, and writes it;
//  3. lines differ by dashes as well as by colour, colours follow the reader's light
//     or dark setting, and a title and a description stand in for the picture.
//
// It takes what it draws as it is: whoever calls it has computed and bounded it.
package chart

import (
	"fmt"
	"math"
	"strings"
)

// A Point is in the units of the axes.
type Point struct{ X, Y float64 }

// A Line joins points, which are in order by X.
type Line struct {
	Name   string
	Points []Point
}

// A Bar stands on the X axis.
type Bar struct{ From, To, Height float64 }

// A Mark is a moment with a name, drawn as an upright line.
type Mark struct {
	X    float64
	Name string
}

// An Axis is one direction of a chart.
type Axis struct {
	Name string
	Time bool                 // milliseconds: ticks stand at whole seconds, minutes and hours
	Log  bool                 // decades; values are above 0
	Min  float64              // where it begins; of a logarithmic one, the least value above 0 that is drawn
	Max  float64              // where it ends; 0: at the greatest value
	Text func(float64) string // how a value is written; %g where nil
}

// A Chart is what is drawn.
type Chart struct {
	ID          string // unique on a page
	Title, Desc string // for those who don't see it
	X, Y        Axis
	Lines       []Line
	Bars        []Bar
	Marks       []Mark
}

// The box.
const (
	width, height            = 720, 400
	left, right, top, bottom = 76, 36, 40, 56
	maxPoints                = 400 // drawn of one line
)

// dashes tell lines apart without colour.
var dashes = []string{"", "8 4", "2 3", "10 3 2 3", "4 4"}

// style follows the reader's setting; a page may set its own colours. The names are
// those of the chart alone.
const style = `.hc{font:14px system-ui,sans-serif}.hc text{fill:var(--hc-ink,#1b1f24)}.hc .hc-axis{stroke:var(--hc-ink,#1b1f24);stroke-width:1}` +
	`.hc .hc-grid{stroke:var(--hc-grid,#d4d8dd);stroke-width:1}.hc .hc-line{fill:none;stroke-width:2.5}.hc .hc-mark{stroke:var(--hc-ink,#1b1f24);stroke-dasharray:3 3}` +
	`.hc .hc-0{stroke:var(--hc-0,#0b5cad)}.hc .hc-1{stroke:var(--hc-1,#a8480b)}.hc .hc-2{stroke:var(--hc-2,#1a7f37)}.hc .hc-3{stroke:var(--hc-3,#8a3ffc)}.hc .hc-4{stroke:var(--hc-4,#b3007a)}` +
	`.hc .hc-bar{fill:var(--hc-0,#0b5cad);stroke:var(--hc-paper,#fff);stroke-width:1}` +
	`@media (prefers-color-scheme:dark){.hc{--hc-ink:#e8eaed;--hc-grid:#3c4148;--hc-paper:#16191d;--hc-0:#6cb6ff;--hc-1:#f69d50;--hc-2:#57d364;--hc-3:#cba6ff;--hc-4:#ff8ad0}}`

// Style is the CSS of charts, for a page that holds several.
func Style() string { return style }

// SVG draws the chart. A chart that stands alone carries its style and a background.
func (c *Chart) SVG(alone bool) string {
	x, y := c.scales()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="hc" viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d">`, width, height, c.ID, c.ID)
	fmt.Fprintf(&b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, c.ID, Escape(c.Title), c.ID, Escape(c.Desc))
	if alone {
		fmt.Fprintf(&b, `<style>%s</style><rect width="%d" height="%d" style="fill:var(--hc-paper,#fff)"/>`, style, width, height)
	}
	c.axes(&b, x, y)
	for _, bar := range c.Bars {
		x0, x1, y1 := x.at(bar.From), x.at(bar.To), y.at(bar.Height)
		fmt.Fprintf(&b, `<rect class="hc-bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x0, y1, max(x1-x0, 1), max(y.at(y.min)-y1, 0))
	}
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<polyline class="hc-line hc-%d"%s points="`, i%5, dash(i))
		for _, p := range thin(l.Points) {
			fmt.Fprintf(&b, "%.1f,%.1f ", x.at(p.X), y.at(p.Y))
		}
		b.WriteString(`"/>`)
	}
	c.legend(&b)
	b.WriteString("</svg>")
	return b.String()
}

func dash(i int) string {
	if d := dashes[i%len(dashes)]; d != "" {
		return fmt.Sprintf(` stroke-dasharray="%s"`, d)
	}
	return ""
}

// thin keeps as many points as can be told apart, the last one among them.
func thin(points []Point) []Point {
	if len(points) <= maxPoints {
		return points
	}
	out := make([]Point, 0, maxPoints+1)
	step := float64(len(points)-1) / (maxPoints - 1)
	for i := range maxPoints {
		out = append(out, points[int(math.Round(float64(i)*step))])
	}
	return out
}

// axes draws grid, ticks and names, and the marks.
func (c *Chart) axes(b *strings.Builder, x, y scale) {
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<line class="hc-grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			left, width-right, y.at(v), y.at(v), left-8, y.at(v)+5, Escape(c.Y.text(v)))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<line class="hc-axis" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			x.at(v), x.at(v), height-bottom, height-bottom+5, x.at(v), height-bottom+21, Escape(c.X.text(v)))
	}
	fmt.Fprintf(b, `<polyline class="hc-axis" fill="none" points="%d,%d %d,%d %d,%d"/>`, left, top, left, height-bottom, width-right, height-bottom)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+width-right)/2, height-10, Escape(c.X.Name))
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+height-bottom)/2, Escape(c.Y.Name))
	for _, m := range c.Marks {
		fmt.Fprintf(b, `<line class="hc-mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d">%s</text>`,
			x.at(m.X), x.at(m.X), top, height-bottom, x.at(m.X)+4, top+14, Escape(m.Name))
	}
}

// legend names the lines above the chart.
func (c *Chart) legend(b *strings.Builder) {
	at := float64(left)
	for i, l := range c.Lines {
		fmt.Fprintf(b, `<line class="hc-line hc-%d"%s x1="%.0f" x2="%.0f" y1="18" y2="18"/><text x="%.0f" y="23">%s</text>`, i%5, dash(i), at, at+34, at+40, Escape(l.Name))
		at += 62 + 7.6*float64(len([]rune(l.Name)))
	}
}

// Escape makes text safe in XML and HTML.
func Escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == '\ufffe' || r == '\uffff' {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)
}
