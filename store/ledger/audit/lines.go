package audit

import (
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

// The schemas of the files.
const (
	BundleSchema   = "hark.bundle/1"
	EvidenceSchema = "hark.evidence/1"
	ProofSchema    = "hark.proof/1"
)

// Bounds.
const (
	MaxLetters  = 256 // letters under one grant
	MaxLapses   = 64  // lapses under one grant
	MaxGrants   = 64  // grants that a bundle is limited to
	MaxProblems = 100 // problems told of; more are counted
	maxPath     = 64  // hashes of a proof
)

// Bodies says which bodies a bundle shows.
type Bodies string

// The choices.
const (
	BodiesNone Bodies = "none"
	BodiesOwn  Bodies = "own" // of entries that concern no grant
	BodiesAll  Bodies = "all"
)

type bundleLine struct {
	Schema string             `json:"schema"`
	Net    protocol.Hash      `json:"net"`
	Bodies Bodies             `json:"bodies,omitempty"`
	Grants []protocol.GrantID `json:"grants,omitempty"`
}

type letterLine struct {
	Letter []byte `json:"letter"`
}

type grantLine struct {
	Grant grantFields `json:"grant"`
}

type grantFields struct {
	ID      protocol.GrantID   `json:"id"`
	Context protocol.ContextID `json:"context"`
	Vendor  protocol.VendorID  `json:"vendor"`
	Side    string             `json:"side"`
	Lapses  []Lapse            `json:"lapses,omitempty"`
}

// A Lapse is a promise that its bearer says was not kept.
type Lapse struct {
	Owed string          `json:"owed"` // "deletion" or "answer"
	Re   protocol.Hash   `json:"re"`   // the letter that asked for it
	Due  protocol.Second `json:"due"`
}

// A Case is all that was signed under one grant.
type Case struct {
	ID      protocol.GrantID
	Context protocol.ContextID
	Vendor  protocol.VendorID
	Side    protocol.Side // whose file it is
	Lapses  []Lapse
	Letters [][]byte // envelopes
}

func (c *Case) fields() grantFields {
	return grantFields{c.ID, c.Context, c.Vendor, c.Side.String(), c.Lapses}
}

// An Opening shows what a blinded head was made of.
type Opening struct {
	Blind protocol.Hash `json:"blind"`
	Size  int64         `json:"size"`
	Salt  protocol.ID   `json:"salt"`
}

type openingLine struct {
	Opening Opening `json:"opening"`
}

type sealLine struct {
	Seal sealFields `json:"seal"`
}

type sealFields struct {
	Sig []byte `json:"sig"`
}

// A Writer writes a bundle or evidence, line by line.
type Writer struct {
	w   io.Writer
	sum hash.Hash
}

func (w *Writer) line(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return w.raw(append(raw, '\n'))
}

func (w *Writer) raw(b []byte) error {
	w.sum.Write(b)
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Write implements io.Writer for the lines of the ledger.
func (w *Writer) Write(b []byte) (int, error) { return len(b), w.raw(b) }

func (w *Writer) letters(c Case) error {
	if len(c.Letters) > MaxLetters || len(c.Lapses) > MaxLapses {
		return fmt.Errorf("audit: grant %s: %d letters and %d lapses, at most %d and %d: %w", c.ID.Short(), len(c.Letters), len(c.Lapses), MaxLetters, MaxLapses, fault.Full)
	}
	for _, l := range c.Letters {
		if err := w.line(letterLine{l}); err != nil {
			return err
		}
	}
	return w.line(grantLine{c.fields()})
}

// NewBundle begins a bundle for the network net. With grants it is limited to them:
// only their cases and bodies are there.
func NewBundle(out io.Writer, net protocol.Hash, bodies Bodies, grants []protocol.GrantID) (*Writer, error) {
	if bodies != BodiesAll && bodies != BodiesOwn && bodies != BodiesNone {
		return nil, fmt.Errorf("audit: bodies %.20q, want none, own or all: %w", bodies, fault.Malformed)
	}
	if len(grants) > MaxGrants || len(grants) > 0 && bodies != BodiesAll {
		return nil, fmt.Errorf("audit: a bundle of %d grants, at most %d, with all their bodies: %w", len(grants), MaxGrants, fault.Malformed)
	}
	w := &Writer{w: out, sum: newSum()}
	return w, w.line(bundleLine{BundleSchema, net, bodies, grants})
}

// Case writes what was signed under one grant. All cases come before the openings.
func (w *Writer) Case(c Case) error { return w.letters(c) }

// Open writes an opening. All openings come before the ledger.
func (w *Writer) Open(o Opening) error { return w.line(openingLine{o}) }

// Close writes the ledger as r sees it, and the seal.
func (w *Writer) Close(l *ledger.Ledger, r kv.Reader, atMS int64, keep func(ledger.Entry) bool) error {
	head, err := l.Export(r, w, atMS, keep)
	if err != nil {
		return err
	}
	return w.line(sealLine{sealFields{l.SignSum(head, [32]byte(w.sum.Sum(nil)))}})
}

// WriteEvidence writes what was signed under one grant, alone.
func WriteEvidence(out io.Writer, net protocol.Hash, c Case) error {
	w := &Writer{w: out, sum: newSum()}
	if err := w.line(bundleLine{Schema: EvidenceSchema, Net: net}); err != nil {
		return err
	}
	return w.letters(c)
}

// A Proof shows one entry under a signed head.
type Proof struct {
	Schema string          `json:"schema"`
	Entry  ledger.Entry    `json:"entry"`
	Size   int64           `json:"size"`
	Path   []protocol.Hash `json:"path"`
	Head   ledger.Head     `json:"head"`
	Since  *Since          `json:"since,omitempty"`
}

// A Since shows that the head continues an older ledger.
type Since struct {
	Size int64           `json:"size"`
	Root protocol.Hash   `json:"root"`
	Path []protocol.Hash `json:"path"`
}

// Prove makes the proof of entry seq under a head signed now. With since above 0 it
// also shows that the ledger continues the one of that many entries.
func Prove(l *ledger.Ledger, r kv.Reader, seq, since, atMS int64) (Proof, error) {
	p := Proof{Schema: ProofSchema}
	e, err := l.Get(r, seq)
	if err != nil {
		return p, err
	}
	head, err := l.Head(r, atMS)
	if err != nil {
		return p, err
	}
	path, err := l.Prove(r, seq, head.Size)
	if err != nil {
		return p, err
	}
	p.Entry, p.Head, p.Size, p.Path = e, head, head.Size, named(path.Hashes)
	if since <= 0 {
		return p, nil
	}
	grown, err := l.ProveGrowth(r, since, head.Size)
	if err != nil {
		return p, err
	}
	root, err := l.RootAt(r, since)
	p.Since = &Since{Size: since, Root: root, Path: named(grown.Hashes)}
	return p, err
}

// Write writes the proof as a file.
func (p Proof) Write(w io.Writer) error {
	raw, err := json.Marshal(p)
	if err == nil {
		_, err = w.Write(append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("audit: proof: %w", err)
	}
	return nil
}

// Check tells whether the proof holds.
func (p Proof) Check() error {
	if len(p.Path) > maxPath || p.Since != nil && len(p.Since.Path) > maxPath {
		return fmt.Errorf("audit: a path of more than %d hashes: %w", maxPath, fault.Malformed)
	}
	if err := ledger.CheckEntry(p.Head, p.Entry, ledger.Proof{Seq: p.Entry.Seq, Size: p.Size, Hashes: bare(p.Path)}); err != nil {
		return err
	}
	if s := p.Since; s != nil {
		return ledger.CheckGrowth(s.Root, p.Head.Root, ledger.Growth{Old: s.Size, New: p.Head.Size, Hashes: bare(s.Path)}, p.Head.Size)
	}
	return nil
}

func named(in [][32]byte) []protocol.Hash {
	out := make([]protocol.Hash, len(in)) // never nil, which would print as null
	for i, h := range in {
		out[i] = h
	}
	return out
}

func bare(in []protocol.Hash) [][32]byte {
	out := make([][32]byte, len(in))
	for i, h := range in {
		out[i] = h
	}
	return slices.Clip(out)
}
