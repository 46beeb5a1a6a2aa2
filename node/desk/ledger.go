package desk

import (
	"context"
	"io"
	"time"
)

// A LedgerEntry is one entry of the ledger.
type LedgerEntry struct {
	Seq      int64             `json:"seq"`
	Kind     string            `json:"kind"`
	At       time.Time         `json:"at"`
	AtMS     int64             `json:"at_ms"`
	Body     map[string]string `json:"body,omitempty"`
	Leaf     string            `json:"leaf"`
	Shredded bool              `json:"shredded,omitempty"`
}

// A LedgerProof is one entry, and how it stands in the ledger: Proven tells that it was
// recomputed from its commitment up to the root that the device signs.
type LedgerProof struct {
	Entry  LedgerEntry   `json:"entry"`
	Size   int64         `json:"size"` // entries of the ledger
	Root   string        `json:"root"`
	Path   []string      `json:"path"` // from the entry up to the root
	Proven bool          `json:"proven"`
	Heads  []LedgerCover `json:"heads"` // countersigned heads that cover the entry, the smallest few
}

// A LedgerCover is a head that a vendor has countersigned: from then on no entry below
// Size can be changed without its receipt giving that away.
type LedgerCover struct {
	Size   int64  `json:"size"`
	Vendor string `json:"vendor"`
	Name   string `json:"vendor_name"`
	Grant  string `json:"grant"`
	By     string `json:"by"` // the message that showed it
}

// A LedgerReport is what verifying a ledger found.
type LedgerReport struct {
	Entries  int64    `json:"entries"`
	Root     string   `json:"root"`
	Device   string   `json:"device"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	Heads    int      `json:"heads"` // countersigned heads checked
}

// An ExportSpec says what a bundle of the ledger shows. Bodies is all, own (of entries
// that concern no grant) or none; empty is all. Grants, ids or unique prefixes, limit
// letters and bodies to those grants. Commitments and heads are always all there.
type ExportSpec struct {
	Bodies string   `json:"bodies,omitempty"`
	Grants []string `json:"grants,omitempty"`
}

// Ledger is the desk for the ledger. What Prove, Export and Evidence write, hark-audit
// checks without this node: one entry, the whole ledger with what others have signed,
// and what both sides have signed under one grant, with the promises that lapsed.
type Ledger interface {
	List(ctx context.Context, q Query) (Page[LedgerEntry], error)
	Get(ctx context.Context, seq int64) (LedgerProof, error)
	Verify(ctx context.Context) (LedgerReport, error)
	Prove(ctx context.Context, seq, since int64, w io.Writer) error
	Export(ctx context.Context, s ExportSpec, w io.Writer) error
	Evidence(ctx context.Context, grant string, w io.Writer) error
}
