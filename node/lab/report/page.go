package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/chart"
)

// css is all the looks of a page: light and dark, from 320 pixels on.
const css = `:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d4d8dd;--box:#f5f7f9;--link:#0b5cad}
@media (prefers-color-scheme:dark){:root{--paper:#16191d;--ink:#e8eaed;--soft:#a5adb5;--line:#3c4148;--box:#1f2429;--link:#6cb6ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1rem}h1{font-size:1.8rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.25rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.5rem 0 .3rem}
p{max-width:46rem}a{color:var(--link)}.soft{color:var(--soft)}
dl.head{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:.75rem;margin:1rem 0}
dl.head div{display:flex;flex-direction:column;justify-content:space-between;background:var(--box);border:1px solid var(--line);border-radius:.5rem;padding:.75rem}dl.head dt{color:var(--soft);font-size:.9rem}dl.head dd{margin:0;font-size:1.5rem;font-weight:600}dl.head small{display:block;font-size:.85rem;font-weight:400;color:var(--soft)}
.wide{overflow-x:auto}.wide:focus-visible,summary:focus-visible,a:focus-visible{outline:3px solid var(--link);outline-offset:2px}
@media (max-width:40rem){dl.head{grid-template-columns:1fr 1fr;gap:.5rem}dl.head dd{font-size:1.25rem}}
figure{margin:0 0 .5rem}details{margin:0 0 1.5rem}figure svg{display:block;width:100%;min-width:34rem;height:auto;max-width:52rem}figcaption{color:var(--soft);font-size:.9rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.5rem 0}th,td{padding:.3rem .7rem .3rem 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}td.n,th.n{text-align:right}td.n{white-space:nowrap}table.keys td{min-width:8rem;max-width:28rem}table.keys td:nth-child(2){max-width:18rem;overflow-wrap:anywhere}
caption{text-align:left;color:var(--soft)}pre,code{font:.9rem ui-monospace,monospace}pre{background:var(--box);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}
.bad{border-left:4px solid #c62828;padding-left:.75rem}summary{cursor:pointer;padding:.25rem 0}`

// A writer builds a page; what is not markup goes through text.
type writer struct{ strings.Builder }

func (w *writer) put(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = chart.Escape(s)
		}
	}
	fmt.Fprintf(w, format, args...)
}

// page is index.html: it loads nothing, and runs no script.
func page(s lab.Scenario, res lab.Result, plots []plot) string {
	w := &writer{}
	w.put(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>%s – hark lab</title>`, res.Name)
	w.put(`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><style>`)
	w.WriteString(css + chart.Style())
	w.put(`</style></head><body><main><h1>%s</h1>`, res.Name)
	if res.About != "" {
		w.put(`<p>%s</p>`, res.About)
	}
	w.put(`<p class="soft">%s, %s needs, %s engine, %s. Made %s by hark %s.</p>`, nodesText(s), count(s.Load.Needs), res.Engine, runsText(len(res.Runs)),
		res.Made.Started.UTC().Format("2006-01-02 15:04 UTC"), res.Made.Program)
	w.problems(res)
	w.headline(res)
	w.put(`<h2>Plots</h2>`)
	for _, p := range plots {
		w.plot(p)
	}
	w.figures(res)
	w.runs(res)
	w.reproduce(s)
	w.parameters(res)
	w.made(res)
	w.put(`</main></body></html>` + "\n")
	return w.String()
}

func count(n int) string { return chart.Count(float64(n)) }

// nodesText says who was there.
func nodesText(s lab.Scenario) string {
	text := fmt.Sprintf("%s public and %s personal nodes", count(s.Network.Public), count(s.Network.Personal))
	if n := s.Sybils.Count; n > 0 {
		text += fmt.Sprintf(", %d Sybils", n)
	}
	if n := s.Spies.Count; n > 0 {
		text += fmt.Sprintf(", %d spies", n)
	}
	if n := s.Liars.Count; n > 0 {
		text += fmt.Sprintf(", %d keepers that lie", n)
	}
	if n := s.Letters.Vendors; n > 0 {
		text += fmt.Sprintf(", %d of the public ones vendors", n)
	}
	if n := s.MailFlood.Identities; n > 0 {
		text += fmt.Sprintf(", a flood of %s requests", count(n))
	}
	text += s.Attackers() + dhtText(s)
	switch l, d := s.Load, lab.Default().Load; {
	case l.PostHops == 1:
		text += ", needs posted straight"
	case l.PostBy == lab.ByStrangers:
		text += ", needs posted by way of strangers"
	case l.PostDelay != d.PostDelay:
		text += ", needs posted by way of two hops"
	}
	if s.Load.PostDelay > 0 {
		text += fmt.Sprintf(" and held for up to %s", s.Load.PostDelay)
	}
	return text
}

// dhtText says who is in the DHT of simulated nodes.
func dhtText(s lab.Scenario) (text string) {
	if s.Network.DHT {
		text = ", with their DHT"
	}
	if n := s.DHTSybils.PerKey; n > 0 {
		text += fmt.Sprintf(", %d Sybils in it", n)
	}
	if n := s.DHTFlood.Peers; n > 0 {
		text += fmt.Sprintf(", %d who flood it", n)
	}
	return text
}

func runsText(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

func (w *writer) problems(res lab.Result) {
	if len(res.Made.Problems) == 0 {
		return
	}
	w.put(`<div class="bad" role="note"><h2>What went wrong</h2><ul>`)
	for _, p := range res.Made.Problems {
		w.put(`<li>%s</li>`, p)
	}
	w.put(`</ul></div>`)
}

// value writes a figure in its unit.
func value(unit string, v float64) string {
	switch unit {
	case "share":
		return chart.Percent(v)
	case "ms":
		return chart.Millis(v)
	case "count":
		return chart.Count(v)
	}
	return chart.Bytes(v)
}

func title(key string) string {
	all := lab.Measures()
	if i := slices.IndexFunc(all, func(m lab.Measure) bool { return m.Key == key }); i >= 0 {
		return all[i].Title
	}
	return key
}

func (w *writer) headline(res lab.Result) {
	w.put(`<h2>Delivery, latency, bytes</h2><dl class="head">`)
	for _, f := range res.Headline {
		w.put(`<div><dt>%s</dt><dd>%s`, title(f.Key), value(f.Unit, f.Mean))
		if f.Runs > 1 {
			w.put(`<small>%s to %s over %d runs</small>`, value(f.Unit, f.Min), value(f.Unit, f.Max), f.Runs)
		}
		w.put(`</dd></div>`)
	}
	w.put(`</dl><p class="soft">Delivery is the share of pairs of an announcement and a public node that follows its topic and was there. Latency counts from when the customer
asked her node. Bytes are %s.</p>`, res.Bytes)
}

func (w *writer) plot(p plot) {
	w.put(`<h3>%s</h3><figure><div class="wide" role="region" tabindex="0" aria-label="%s">`, p.chart.Title, p.chart.Title)
	w.WriteString(p.chart.SVG(false))
	w.put(`</div><figcaption>%s</figcaption></figure><details><summary>The same as a table</summary>`, p.chart.Desc)
	w.table(p.chart.Title, p.head, p.rows)
	w.put(`</details>`)
}

// table writes a table; all columns but the first are numbers.
func (w *writer) table(caption string, head []string, rows [][]string) {
	class := func(i int) string {
		if i == 0 {
			return ""
		}
		return "n"
	}
	w.put(`<div class="wide" role="region" tabindex="0" aria-label="%s"><table><caption>%s</caption><thead><tr>`, caption, caption)
	for i, h := range head {
		w.put(`<th scope="col" class="%s">%s</th>`, class(i), h)
	}
	w.put(`</tr></thead><tbody>`)
	for _, row := range rows {
		w.put(`<tr>`)
		for i, cell := range row {
			if i == 0 {
				w.put(`<th scope="row">%s</th>`, cell)
			} else {
				w.put(`<td class="n">%s</td>`, cell)
			}
		}
		w.put(`</tr>`)
	}
	w.put(`</tbody></table></div>`)
}

func (w *writer) figures(res lab.Result) {
	var rows [][]string
	for _, f := range res.Figures {
		row := []string{title(f.Key), value(f.Unit, f.Mean)}
		switch {
		case f.Runs > 1:
			row = append(row, value(f.Unit, f.Min), value(f.Unit, f.Max), value(f.Unit, f.SD))
		case len(res.Runs) > 1:
			row = append(row, "–", "–", "–") // known of one run alone
		}
		rows = append(rows, row)
	}
	head := []string{"Figure", "Value"}
	if len(res.Runs) > 1 {
		head = []string{"Figure", "Mean", "Least", "Most", "Standard deviation"}
	}
	w.put(`<h2>All figures</h2>`)
	w.table("Over "+runsText(len(res.Runs)), head, rows)
	w.put(`<p class="soft">CPU time is %s.</p>`, res.CPU)
}

func (w *writer) runs(res lab.Result) {
	var rows [][]string
	for _, f := range res.Runs {
		rows = append(rows, []string{
			fmt.Sprint(f.Seed), count(f.Announced), count(f.Failed), count(f.Pairs), count(f.PairsAtOnce), count(f.HeardOutright), count(f.HeardInTime),
			count(f.Heard), count(f.Unjudged),
		})
	}
	w.table("What was counted in each run", []string{"Seed", "Announced", "Failed", "Pairs", "there from the start", "heard without pull", "heard within 60 s", "heard", "not judged"}, rows)
	w.put(`<p class="soft">A pair is not judged where the node was not there for long enough, or the need was taken back before.</p>`)
}

func (w *writer) reproduce(s lab.Scenario) {
	w.put(`<h2>Run it again</h2><pre>sh reproduce.sh</pre><p>or, with the seeds that follow on these, to see how much is chance:</p><pre>hark lab run scenario.toml --seed %s --out ANOTHER-FOLDER
hark lab compare . ANOTHER-FOLDER</pre><p>The figures and plots here are computed from the files in <code>raw/</code> alone; <code>hark lab report .</code> does it again.</p>`, fmt.Sprint(s.Seed+uint64(s.Seeds)))
}

func (w *writer) parameters(res lab.Result) {
	w.put(`<h2>Parameters</h2><div class="wide" role="region" tabindex="0" aria-label="Parameters"><table class="keys"><caption>Every key of scenario.toml</caption><thead><tr><th scope="col">Key</th><th scope="col">Value</th><th scope="col">Meaning</th></tr></thead><tbody>`)
	means := lab.Meanings()
	for _, p := range res.Parameters {
		w.put(`<tr><th scope="row"><code>%s</code></th><td>%s</td><td>%s</td></tr>`, p.Key, p.Value, means[p.Key])
	}
	w.put(`</tbody></table></div>`)
}

func (w *writer) made(res lab.Result) {
	m := res.Made
	w.put(`<h2>Made with</h2><p>hark %s, %s, %s/%s, %d processors; it took %s.</p><details><summary>%d modules</summary><ul>`, m.Program, m.Go, m.OS, m.Arch, m.CPUs,
		(time.Duration(m.TookMS) * time.Millisecond).Round(100*time.Millisecond).String(), len(m.Modules))
	for _, mod := range m.Modules {
		w.put(`<li><code>%s</code></li>`, mod)
	}
	w.put(`</ul></details>`)
}
