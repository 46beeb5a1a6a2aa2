package main

import (
	"fmt"
	"time"

	"github.com/harkmarket/hark/node/lab/play"
)

// A progressLine shows how far an experiment is: one line that is written over on a
// terminal, a line now and then where that is not wanted, nothing elsewhere.
type progressLine struct {
	a        *app
	terminal bool
	plain    bool // no line is written over
	last     time.Time
	open     bool
}

// plainEvery is how often a line is written where none is written over.
const plainEvery = 5 * time.Second

func (l *progressLine) show(run, runs int, p play.Progress) {
	if !l.terminal || l.plain && time.Since(l.last) < plainEvery {
		return
	}
	l.last = time.Now()
	text := progressText(run, runs, p)
	if l.plain {
		fmt.Fprintln(l.a.stderr, text)
		return
	}
	fmt.Fprintf(l.a.stderr, "\r\x1b[2K%s", text)
	l.open = true
}

// progressText says in one line how far a run is.
func progressText(run, runs int, p play.Progress) string {
	text := ""
	if runs > 1 {
		text = fmt.Sprintf("run %d of %d: ", run, runs)
	}
	text += fmt.Sprintf("%s, %v of %v", p.Phase, p.At.Round(time.Second), p.Of)
	if p.Announced > 0 {
		text += fmt.Sprintf(" · %d of %d needs · %d of %d heard · %d of %d public nodes up", p.Announced, p.Needs, p.Heard, p.Due, p.PublicUp, p.PublicN)
	}
	return text
}

// end leaves the line.
func (l *progressLine) end() {
	if l.open {
		fmt.Fprintln(l.a.stderr)
	}
}
