package audit

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A What says which kind of wrong a problem is.
type What string

// The kinds.
const (
	Altered    What = "altered"     // form, commitment or signature does not hold: not what was signed
	Fork       What = "fork"        // one device, two histories
	Rollback   What = "rollback"    // a later ledger that is shorter
	Rewritten  What = "rewritten"   // a head that was handed out is no head of this ledger
	LostHead   What = "lost-head"   // a countersigned head that no ledger here accounts for
	OtherGrant What = "other-grant" // a letter of another grant
	Unpaid     What = "unpaid"      // a receipt that does not pay what its grant costs
	WrongKey   What = "wrong-key"   // signed by a key that may not
	Missing    What = "missing"     // a letter without its entry, or an entry without its letter
	Early      What = "early"       // a lapse before its deadline
	Answered   What = "answered"    // a lapse of a promise that was kept
)

// A Problem is something wrong: where and why.
type Problem struct {
	File  string `json:"file"`
	What  What   `json:"what"`
	Entry int64  `json:"entry,omitempty"`
	Grant string `json:"grant,omitempty"`
	Why   string `json:"why"`
}

// String says it in one line.
func (p Problem) String() string {
	s := p.File + ": "
	if p.Entry > 0 {
		s += fmt.Sprintf("entry %d: ", p.Entry)
	}
	return s + string(p.What) + ": " + p.Why
}

// A File is what was found in one file.
type File struct {
	File     string `json:"file"`
	Form     string `json:"form"` // its schema
	Device   string `json:"device,omitempty"`
	Root     string `json:"root,omitempty"`
	AtMS     int64  `json:"at_ms,omitempty"` // when its head was signed
	Entries  int64  `json:"entries"`
	Shredded int64  `json:"shredded"`
	Withheld int64  `json:"withheld"`
	Grants   int    `json:"grants"`
	Letters  int    `json:"letters"`
	Receipts int    `json:"receipts"`
	Deleted  int    `json:"deletions"`
	Lapses   int    `json:"lapses"`
	Heads    int    `json:"heads"` // of this ledger, countersigned by others
}

// A Verdict is what an audit found.
type Verdict struct {
	Schema   string    `json:"schema"`
	OK       bool      `json:"ok"`
	Files    []File    `json:"files"`
	Problems []Problem `json:"problems"`
	More     int       `json:"more_problems,omitempty"` // beyond MaxProblems
	Proven   []string  `json:"proven"`
	Unproven []string  `json:"not_proven"`
}

// VerdictSchema is the schema of a Verdict.
const VerdictSchema = "hark.verdict/1"

// clean keeps words of strangers from driving a terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 400 {
		return string(r[:400]) + "…"
	}
	return s
}

// Write tells people what was found.
func (v Verdict) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range v.Files {
		fmt.Fprintf(&b, "%s (%s): %s\n", f.File, cmp.Or(f.Form, "unknown"), f.counts())
	}
	part := func(head string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "\n%s\n", head)
		}
		for _, s := range list {
			fmt.Fprintf(&b, "  - %s\n", s)
		}
	}
	var wrong []string
	for _, p := range v.Problems {
		wrong = append(wrong, p.String())
	}
	if v.More > 0 {
		wrong = append(wrong, fmt.Sprintf("and %d problems more", v.More))
	}
	part("WRONG:", wrong)
	if v.OK {
		part("What this proves:", v.Proven)
		part("What it does not prove:", v.Unproven)
		b.WriteString("\nAll holds.\n")
	} else {
		b.WriteString("\nIT DOES NOT HOLD: of files with something wrong in them nothing is said to be proven.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f File) counts() string {
	var all []string
	for _, c := range []struct {
		n    int64
		what string
	}{
		{f.Entries, "entries"}, {f.Shredded, "shredded"}, {f.Withheld, "bodies left out"}, {int64(f.Grants), "grants"}, {int64(f.Letters), "letters"},
		{int64(f.Receipts), "receipts"}, {int64(f.Deleted), "deletions"}, {int64(f.Lapses), "lapses"}, {int64(f.Heads), "heads countersigned"},
	} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return cmp.Or(strings.Join(all, ", "), "nothing in it")
}
