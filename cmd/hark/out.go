package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/harkmarket/hark/node/desk"
)

// writeJSON writes v with its schema as the first key.
func (a *app) writeJSON(w io.Writer, schema string, v any, indent bool) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if len(raw) < 2 || raw[0] != '{' {
		return fmt.Errorf("output: %s is no object", schema)
	}
	head := fmt.Appendf(nil, `{"schema":%q`, schema)
	if raw[1] != '}' {
		head = append(head, ',')
	}
	raw = append(head, raw[1:]...)
	if indent {
		var b bytes.Buffer
		if err := json.Indent(&b, raw, "", "  "); err != nil {
			return fmt.Errorf("output: %w", err)
		}
		raw = b.Bytes()
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

// show prints one thing: as JSON, or with what human writes.
func (a *app) show(schema string, v any, human func(p *page)) error {
	if a.JSON {
		return a.writeJSON(a.stdout, schema, v, true)
	}
	p := &page{}
	human(p)
	_, err := p.WriteTo(a.stdout)
	return err
}

// done prints a thing that a command changed: one line for people.
func (a *app) done(schema string, v any, format string, args ...any) error {
	return a.show(schema, v, func(p *page) { p.line(format, args...) })
}

// list prints a page of a list: as JSON, or as a table.
func list[T any](a *app, schema string, items []T, next string, head string, row func(T) []string) error {
	if items == nil {
		items = []T{}
	}
	if a.JSON {
		return a.writeJSON(a.stdout, schema, struct {
			Items []T    `json:"items"`
			Next  string `json:"next,omitempty"`
		}{items, next}, true)
	}
	p := &page{}
	if len(items) == 0 {
		p.line("none")
	} else {
		rows := make([][]string, len(items))
		for i, item := range items {
			rows[i] = row(item)
		}
		p.table(strings.Fields(head), rows)
	}
	if next != "" {
		p.line("\nmore: --after %s", next)
	}
	_, err := p.WriteTo(a.stdout)
	return err
}

// A page is text for people.
type page struct{ bytes.Buffer }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// table writes aligned columns.
func (p *page) table(head []string, rows [][]string) {
	w := tabwriter.NewWriter(p, 0, 0, 2, ' ', 0)
	if len(head) > 0 {
		fmt.Fprintln(w, strings.Join(head, "\t"))
	}
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // into memory
	p.trim()
}

// trim takes spaces from the ends of lines.
func (p *page) trim() {
	lines := strings.Split(p.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	p.Reset()
	p.WriteString(strings.Join(lines, "\n"))
}

// facts writes names and values below each other; empty values are left out.
func (p *page) facts(pairs ...string) {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{pairs[i] + ":", pairs[i+1]})
		}
	}
	p.table(nil, rows)
}

// clean keeps words that strangers wrote from driving the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, s)
}

// short is enough of an id for people; commands take it back as a prefix.
func short(id string) string { return id[:min(len(id), 12)] }

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// spanWords says how long so many seconds are, in the two largest units that they fill:
// 7 days, 1 day 12 hours, 20 seconds.
func spanWords(seconds int64) string {
	var said []string
	for _, unit := range []struct {
		name string
		of   int64
	}{{"day", 86_400}, {"hour", 3_600}, {"minute", 60}, {"second", 1}} {
		n := seconds / unit.of
		if seconds %= unit.of; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, unit.name))
			if n > 1 {
				said[len(said)-1] += "s"
			}
		}
	}
	if len(said) == 0 {
		return "0 seconds"
	}
	return strings.Join(said[:min(len(said), 2)], " ")
}

func whenMS(ms int64) string {
	if ms == 0 {
		return ""
	}
	return when(time.UnixMilli(ms))
}

func money(m *desk.Money) string {
	switch {
	case m == nil:
		return ""
	case m.Text != "":
		return m.Text
	}
	return fmt.Sprintf("%s %d minor units", m.Currency, m.Minor)
}

func due(d desk.Due) string {
	if d.By == "" {
		return ""
	}
	s := d.By + " must act"
	if !d.At.IsZero() {
		s += " by " + when(d.At)
	}
	if d.Otherwise != "" {
		s += "; otherwise " + d.Otherwise
	}
	return s
}

func prices(fields []desk.FieldPrice) string {
	var all []string
	for _, f := range fields {
		if f.Price != nil && f.Price.Minor > 0 {
			all = append(all, f.Field+" ("+money(f.Price)+")")
		} else {
			all = append(all, f.Field)
		}
	}
	return strings.Join(all, ", ")
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
