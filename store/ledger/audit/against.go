package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/harkmarket/hark/protocol"
)

// Verdict holds the files against each other and says what was found. Nothing is
// added after it.
func (a *Auditor) Verdict() Verdict {
	byDevice := map[deviceKey][]*read{}
	for _, f := range a.files {
		if !f.head.Device.IsZero() {
			byDevice[f.head.Device] = append(byDevice[f.head.Device], f)
		}
	}
	for _, f := range a.files { // in the order in which they came
		if same := byDevice[f.head.Device]; len(same) > 1 && same[0] == f {
			a.forks(same)
			a.rollbacks(same)
		}
	}
	a.lost()
	// Maps have no order, a verdict has: by file, then by entry.
	place := map[string]int{}
	for i, f := range a.verdict.Files {
		place[f.File] = i
	}
	slices.SortStableFunc(a.verdict.Problems, func(p, q Problem) int {
		return cmp.Or(cmp.Compare(place[p.File], place[q.File]), cmp.Compare(p.Entry, q.Entry), cmp.Compare(p.What, q.What), cmp.Compare(p.Why, q.Why))
	})
	a.verdict.OK = len(a.verdict.Problems) == 0
	if !a.verdict.OK { // what is wrong in one place says nothing good of another
		a.verdict.Proven, a.verdict.Unproven = []string{}, []string{}
	}
	return a.verdict
}

// forks compares what files prove of one device's ledger: two roots at one size are
// two histories.
func (a *Auditor) forks(files []*read) {
	said := map[[2]*read]bool{}
	differ := func(f, g *read, size int64) {
		if f == g || said[[2]*read{f, g}] || said[[2]*read{g, f}] {
			return
		}
		said[[2]*read{f, g}] = true
		at, where := size, ""
		if first := firstDifference(f.leaves, g.leaves); first > 0 {
			at, where = first, fmt.Sprintf("; the first entry that differs is %d", first)
		}
		a.wrong(Problem{File: g.File.File, What: Fork, Entry: at,
			Why: fmt.Sprintf("device %s tells another history here than in %s: at %d entries the roots differ, and both are signed%s", g.Device, f.File.File, size, where)})
	}
	for _, whole := range files {
		if whole.leaves == nil && whole.Entries > 0 {
			continue
		}
		var sizes []int64
		for _, f := range files {
			for _, r := range f.roots {
				sizes = append(sizes, r.size)
			}
		}
		have := rootsAt(whole.leaves, sizes)
		for _, f := range files {
			for _, r := range f.roots {
				if r.size <= whole.Entries && whole.Form != ProofSchema && have[r.size] != r.root {
					differ(whole, f, r.size)
				}
			}
		}
	}
	for i, f := range files {
		for _, g := range files[i+1:] {
			for _, x := range f.roots {
				for _, y := range g.roots {
					if x.size == y.size && x.root != y.root {
						differ(f, g, x.size)
					}
				}
			}
		}
	}
}

// firstDifference is the first entry in which two ledgers differ, 0 for none.
func firstDifference(a, b [][32]byte) int64 {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i + 1)
		}
	}
	return 0
}

// rollbacks finds ledgers that were shorter later.
func (a *Auditor) rollbacks(files []*read) {
	for i, f := range files {
		for k, g := range files {
			later := g.AtMS > f.AtMS
			if a.inOrder {
				later = k > i
			}
			if later && g.head.Size < f.head.Size {
				a.wrong(Problem{File: g.File.File, What: Rollback, Entry: g.head.Size + 1,
					Why: fmt.Sprintf("the ledger of device %s had %d entries in %s, signed %s, and only %d later, signed %s: it went back, or its clock was set back in between",
						g.Device, f.head.Size, f.File.File, moment(f.AtMS), g.head.Size, moment(g.AtMS))})
				return // one pair says it
			}
		}
	}
}

// lost finds heads that a vendor countersigned, by other files, and that the ledgers
// here do not account for.
func (a *Auditor) lost() {
	var ledgers []*read
	for _, f := range a.files {
		if f.bundle && (!f.vendor || len(f.openings) > 0) {
			ledgers = append(ledgers, f)
		}
	}
	if len(ledgers) == 0 {
		return
	}
	for _, f := range a.files {
	claims:
		for blind, c := range f.claims {
			if f.bundle && c.side == protocol.Customer {
				continue // looked at when it was read
			}
			for _, l := range ledgers {
				if _, ok := l.openings[blind]; ok {
					continue claims
				}
			}
			a.wrong(Problem{File: ledgers[0].File.File, What: LostHead, Grant: c.grant.String(),
				Why: fmt.Sprintf("the head that %s countersigned with its %s of %s in grant %s, by %s, is none that this ledger accounts for", c.vendor, c.by, day(c.at), c.grant.Short(), f.File.File)})
		}
	}
}

func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") }
