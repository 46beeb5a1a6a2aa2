package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/strict"
	"github.com/harkmarket/hark/store/ledger"
)

func newSum() hash.Hash { return sha256.New() }

// A known root is what some file proves of a device's ledger.
type root struct {
	size int64
	root [32]byte
}

// A read file is what later files are held against.
type read struct {
	File
	head     ledger.Head // zero for evidence
	bundle   bool        // with openings: it accounts for every head that went out
	vendor   bool        // it holds cases of a vendor's side, and no openings
	leaves   [][32]byte  // of a whole ledger
	roots    []root      // that it proves
	openings map[protocol.Hash]Opening
	claims   map[protocol.Hash]claim
	letters  map[protocol.Hash]bool // signed letters in it, and whether an entry names them
	partial  bool                   // some bodies or letters were left out
}

// An Auditor holds files against each other. The zero Auditor is not one: see New.
type Auditor struct {
	now     protocol.Second
	inOrder bool
	files   []*read
	verdict Verdict
}

// New makes an auditor that knows what time it is. In order says that files are added
// in the order in which they were received, so that a shorter ledger after a longer one
// went back, whatever its date says.
func New(now time.Time, inOrder bool) *Auditor {
	return &Auditor{now: protocol.Second(max(now.Unix(), 0)), inOrder: inOrder, verdict: Verdict{
		Schema: VerdictSchema, Files: []File{}, Problems: []Problem{}, Proven: []string{}, Unproven: []string{},
	}}
}

func (a *Auditor) wrong(p Problem) {
	if len(a.verdict.Problems) >= MaxProblems {
		a.verdict.More++
		return
	}
	a.verdict.Problems = append(a.verdict.Problems, p)
}

// Add reads and checks one file. The name is what problems call it. The error is one of
// reading; what is wrong with what was read is a problem.
func (a *Auditor) Add(name string, r io.Reader) error {
	f := &read{File: File{File: clean(name)}, openings: map[protocol.Hash]Opening{}, claims: map[protocol.Hash]claim{}, letters: map[protocol.Hash]bool{}}
	watched := &watched{r: r}
	in := ledger.NewLines(watched)
	var err error
	switch {
	case in.Starts(`{"schema":"` + BundleSchema + `"`):
		f.Form = BundleSchema
		err = a.addBundle(f, in)
	case in.Starts(`{"schema":"` + EvidenceSchema + `"`):
		f.Form = EvidenceSchema
		err = a.addEvidence(f, in)
	case in.Starts(`{"schema":"` + ProofSchema + `"`):
		f.Form = ProofSchema
		err = a.addProof(f, in)
	case in.Starts(`{"schema":"` + ledger.Schema + `"`):
		f.Form = ledger.Schema
		if err = f.ledger(in, nil); err == nil {
			err = in.End()
		}
	default:
		err = fmt.Errorf("no bundle, evidence, proof or ledger of a form that is known here: %w", fault.Unsupported)
	}
	if watched.err != nil {
		return fmt.Errorf("audit: %s: %w", f.File.File, watched.err)
	}
	a.verdict.Files = append(a.verdict.Files, f.File)
	if err != nil {
		a.wrong(Problem{File: f.File.File, What: Altered, Why: clean(strings.TrimPrefix(err.Error(), "ledger: "))})
		return nil // nothing of it is held against others
	}
	a.files = append(a.files, f)
	a.words(f)
	return nil
}

// watched tells an error of reading from one of what was read.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// addBundle reads a bundle.
func (a *Auditor) addBundle(f *read, in *ledger.Lines) error {
	var head bundleLine
	if err := in.Next(&head); err != nil {
		return err
	}
	switch {
	case head.Bodies != BodiesAll && head.Bodies != BodiesOwn && head.Bodies != BodiesNone:
		return in.Errorf("bodies %.20q: %w", head.Bodies, fault.Malformed)
	case len(head.Grants) > MaxGrants:
		return in.Errorf("%d grants: %w", len(head.Grants), fault.Malformed)
	}
	f.bundle, f.partial = true, head.Bodies != BodiesAll || len(head.Grants) > 0
	for in.Starts(`{"letter":`) || in.Starts(`{"grant":`) {
		if err := a.addCase(f, in, head.Net); err != nil {
			return err
		}
	}
	for in.Starts(`{"opening":`) {
		var o openingLine
		if err := in.Next(&o); err != nil {
			return err
		}
		if _, twice := f.openings[o.Opening.Blind]; twice {
			return in.Errorf("an opening of %s twice: %w", o.Opening.Blind.Short(), fault.Malformed)
		}
		f.openings[o.Opening.Blind] = o.Opening
	}
	if err := f.ledger(in, a.entry(f)); err != nil {
		return err
	}
	sum := in.Sum()
	var end sealLine
	if err := in.Next(&end); err != nil {
		return err
	}
	if err := f.head.CheckSum(sum, end.Seal.Sig); err != nil {
		return in.Errorf("a line was changed, dropped or added after the device had sealed the file: %w", err)
	}
	if err := in.End(); err != nil {
		return err
	}
	a.accounted(f)
	a.opened(f)
	return nil
}

// addCase reads the letters under one grant, and judges them.
func (a *Auditor) addCase(f *read, in *ledger.Lines, net protocol.Hash) error {
	var c Case
	for in.Starts(`{"letter":`) {
		var l letterLine
		if err := in.Next(&l); err != nil {
			return err
		}
		if len(c.Letters) == MaxLetters {
			return in.Errorf("more than %d letters under one grant: %w", MaxLetters, fault.Full)
		}
		c.Letters = append(c.Letters, l.Letter)
	}
	var g grantLine
	if err := in.Next(&g); err != nil {
		return err
	}
	side := map[string]protocol.Side{"customer": protocol.Customer, "vendor": protocol.Vendor}[g.Grant.Side]
	if side == 0 || len(g.Grant.Lapses) > MaxLapses {
		return in.Errorf("side %.20q, %d lapses: %w", g.Grant.Side, len(g.Grant.Lapses), fault.Malformed)
	}
	c.ID, c.Context, c.Vendor, c.Side, c.Lapses = g.Grant.ID, g.Grant.Context, g.Grant.Vendor, side, g.Grant.Lapses
	a.take(f, judge(c, net, a.now))
	return nil
}

// take adds a judged case to its file and to the verdict.
func (a *Auditor) take(f *read, j *judged) {
	f.Grants++
	f.Letters += len(j.letters)
	f.Deleted += j.deleted
	f.Lapses += len(j.Lapses)
	if j.r != nil {
		f.Receipts++
	}
	f.vendor = f.vendor || j.Side == protocol.Vendor
	for _, p := range j.problems {
		p.File = f.File.File
		a.wrong(p)
	}
	for blind, c := range j.claims {
		c.file = len(a.files)
		f.claims[blind] = c
	}
	for _, s := range j.letters {
		if k := s.Kind(); k != protocol.KindPassport && k != protocol.KindAck {
			f.letters[s.ID()] = false
		}
	}
	a.say(f, j)
}

// addEvidence reads evidence: one case.
func (a *Auditor) addEvidence(f *read, in *ledger.Lines) error {
	var head bundleLine
	if err := in.Next(&head); err != nil {
		return err
	}
	if head.Bodies != "" || head.Grants != nil {
		return in.Errorf("evidence has no bodies and no list of grants: %w", fault.Malformed)
	}
	if err := a.addCase(f, in, head.Net); err != nil {
		return err
	}
	return in.End()
}

// addProof reads a proof: one line.
func (a *Auditor) addProof(f *read, in *ledger.Lines) error {
	var p Proof
	if err := in.Next(&p); err != nil {
		return err
	}
	if err := in.End(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	f.headed(p.Head)
	f.Entries = p.Head.Size
	if p.Since != nil {
		f.roots = append(f.roots, root{p.Since.Size, p.Since.Root})
	}
	a.proved(f, p)
	return nil
}

// headed notes the signed head of a file.
func (f *read) headed(h ledger.Head) {
	f.head, f.Device, f.AtMS, f.Root = h, h.Device.String(), h.AtMS, protocol.Hash(h.Root).String()
	f.roots = append(f.roots, root{h.Size, h.Root})
}

// ledger reads the lines of a whole ledger and keeps its leaves.
func (f *read) ledger(in *ledger.Lines, visit func(ledger.Entry) error) error {
	rep, err := ledger.ReadExport(in, func(e ledger.Entry) error {
		f.leaves = append(f.leaves, e.Leaf)
		if visit == nil {
			return nil
		}
		return visit(e)
	})
	if err != nil {
		return err
	}
	f.headed(rep.Head)
	f.Entries, f.Shredded, f.Withheld = rep.Entries, rep.Shredded, rep.Withheld
	return nil
}

// must are the kinds of entry whose letter has to be there.
var must = map[string]bool{"grant.given": true, "receipt.kept": true, "deletion.kept": true, "grant.kept": true, "receipt.sent": true, "deletion.sent": true}

// entry looks, in a bundle, that an entry's letter is there.
func (a *Auditor) entry(f *read) func(ledger.Entry) error {
	return func(e ledger.Entry) error {
		if e.Shredded || e.Withheld {
			return nil
		}
		grant, letter := told(e.Body)
		if letter.IsZero() {
			return nil
		}
		if _, there := f.letters[letter]; there {
			f.letters[letter] = true
		} else if must[e.Kind] {
			a.wrong(Problem{File: f.File.File, What: Missing, Entry: e.Seq, Grant: clean(grant),
				Why: fmt.Sprintf("it tells of %s with the letter %s, which is not in the file", clean(e.Kind), letter.Short())})
		}
		return nil
	}
}

// told reads which letter, of which grant, the body of an entry tells of. A body of
// another shape tells of none; nor does one in which a key stands twice, so that two
// readers could find two letters in it.
func told(body []byte) (grant string, letter protocol.Hash) {
	tree, err := strict.Open(body)
	keys, ok := tree.(map[string]any)
	if err != nil || !ok {
		return "", protocol.Hash{}
	}
	text, _ := keys["envelope"].(string)
	if letter.UnmarshalText([]byte(text)) != nil {
		return "", protocol.Hash{}
	}
	grant, _ = keys["grant"].(string)
	return grant, letter
}

// accounted looks, in a bundle, that every letter has its entry. Where entries have no
// body nobody can tell.
func (a *Auditor) accounted(f *read) {
	if f.Shredded+f.Withheld > 0 {
		return
	}
	for id, named := range f.letters {
		if !named {
			a.wrong(Problem{File: f.File.File, What: Missing, Why: fmt.Sprintf("no entry of the ledger tells of the letter %s: the entry was taken out", id.Short())})
		}
	}
}

// opened looks, in a bundle, that every blinded head that went out is a head of this
// ledger, and that every countersigned one has its opening.
func (a *Auditor) opened(f *read) {
	var sizes []int64
	for _, o := range f.openings {
		if o.Size >= 0 && o.Size <= f.Entries {
			sizes = append(sizes, o.Size)
		}
	}
	roots := rootsAt(f.leaves, sizes)
	for blind, o := range f.openings {
		who := "that went out"
		c, countersigned := f.claims[blind]
		if countersigned {
			who = fmt.Sprintf("that %s countersigned with its %s of %s in grant %s", c.vendor, c.by, day(c.at), c.grant.Short())
			f.Heads++
		}
		r, within := roots[o.Size]
		if !within || protocol.Hash(ledger.Blind(ledger.Head{Size: o.Size, Root: r}, o.Salt)) != blind {
			p := Problem{File: f.File.File, What: Rewritten, Entry: max(o.Size, 0),
				Why: fmt.Sprintf("the head of %d entries %s is no head of this ledger: one of its first %d entries was changed, dropped or added later, or the ledger went back", o.Size, who, o.Size)}
			if countersigned {
				p.Grant = c.grant.String()
			}
			a.wrong(p)
		}
	}
	for blind, c := range f.claims {
		if _, ok := f.openings[blind]; !ok && c.side == protocol.Customer {
			a.wrong(Problem{File: f.File.File, What: LostHead, Grant: c.grant.String(),
				Why: fmt.Sprintf("the head that %s countersigned with its %s of %s in grant %s is none that this ledger accounts for", c.vendor, c.by, day(c.at), c.grant.Short())})
		}
	}
}

// rootsAt computes the roots that a ledger had at some sizes, in one pass.
func rootsAt(leaves [][32]byte, sizes []int64) map[int64][32]byte {
	out := map[int64][32]byte{}
	for _, s := range sizes {
		out[s] = [32]byte{}
	}
	var t ledger.Tree
	for i := 0; ; i++ {
		if _, wanted := out[t.Size()]; wanted {
			out[t.Size()] = t.Root()
		}
		if i == len(leaves) {
			return out
		}
		t.Add(leaves[i])
	}
}

// deviceKey makes maps of files by device.
type deviceKey = key.Public[key.Device]
