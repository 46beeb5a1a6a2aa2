package ledger

import (
	"bytes"
	"fmt"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Report is what a check of a whole ledger found.
type Report struct {
	Entries  int64
	Shredded int64    // of these
	Withheld int64    // of these: an export without their bodies
	Root     [32]byte // recomputed from the leaves
	FirstMS  int64    // earliest and latest time of an entry that is not shredded,
	LastMS   int64    // milliseconds since 1970; 0 when there is none
	Head     Head     // the signed head that an export ends with; zero from Verify
}

// count takes an entry into the report.
func (p *Report) count(e Entry) {
	p.Entries++
	switch {
	case e.Shredded:
		p.Shredded++
		return
	case e.Withheld:
		p.Withheld++
		return
	}
	if p.Entries-p.Shredded-p.Withheld == 1 || e.AtMS < p.FirstMS {
		p.FirstMS = e.AtMS
	}
	p.LastMS = max(p.LastMS, e.AtMS)
}

// Verify recomputes the ledger from its first entry: each leaf from its entry's
// fields, each inner node from the leaves, and compares with what is stored. The
// error names the entry and what is wrong with it. What Verify cannot see, an
// owner who rewrote everything, is seen by whoever kept a head.
func (l *Ledger) Verify(r kv.Reader) (Report, error) {
	var report Report
	if err := l.owned(r); err != nil {
		return report, err
	}
	edge, err := readFrontier(r)
	if err != nil {
		return report, err
	}
	size := edge.size
	var f frontier
	err = walk(r, 0, func(e Entry, rec leafRecord) (bool, error) {
		if e.Seq > size {
			return false, fmt.Errorf("ledger: entry %d: beyond the size of %d: %w", e.Seq, size, fault.Malformed)
		}
		for i, node := range f.add(e.Leaf) {
			if rec.nodes[i] != node {
				return false, fmt.Errorf("ledger: entry %d: the inner node of level %d does not match the leaves: %w", e.Seq, i+1, fault.Malformed)
			}
		}
		report.count(e)
		return true, nil
	})
	if err != nil {
		return report, fmt.Errorf("ledger: sound up to entry %d: %w", report.Entries, err)
	}
	if report.Entries != size {
		return report, fmt.Errorf("ledger: entry %d: it is missing: %w", report.Entries+1, fault.Malformed)
	}
	if !bytes.Equal(f.encode(), edge.encode()) {
		return report, fmt.Errorf("ledger: entry %d: the edge of the tree does not match the leaves: %w", size, fault.Malformed)
	}
	report.Root = f.root()
	return report, nil
}
