package desks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/ledger/audit"
	records "github.com/harkmarket/hark/store/market"
)

// Ledger implements desk.Ledger.
type Ledger struct{ *Office }

// List implements desk.Ledger; the cursor is the sequence number.
func (d Ledger) List(ctx context.Context, q desk.Query) (page desk.Page[desk.LedgerEntry], err error) {
	from := int64(0)
	if q.After != "" {
		if from, err = strconv.ParseInt(q.After, 10, 64); err != nil || from < 0 {
			return page, fmt.Errorf("page cursor %q is no entry number: %w", q.After, fault.Malformed)
		}
	}
	if q.Kind != "" && !desk.Within(desk.LedgerKinds(), q.Kind) {
		return page, noSuch("kind of entry", q.Kind, desk.LedgerKinds(), fault.Malformed)
	}
	page.Items = []desk.LedgerEntry{}
	err = d.view(ctx, func(r kv.Reader) error {
		named, err := vendorsNamed(r, q.Vendor)
		if err != nil {
			return err
		}
		entries, err := d.Stores.Ledger.Select(r, from, limit(q)+1, selected(q, named))
		for i, e := range entries {
			if i == limit(q) {
				page.Next = strconv.FormatInt(entries[i-1].Seq, 10)
				break
			}
			page.Items = append(page.Items, entry(e))
		}
		return err
	})
	return page, err
}

// selected tells which entries a query selects; nil: all. Grant, vendor and context may
// be the beginning of an id, and the vendor a name. What is shredded has none of these.
func selected(q desk.Query, named []string) func(ledger.Entry) bool {
	if q.Kind == "" && q.Grant == "" && q.Vendor == "" && q.Context == "" && q.Since.IsZero() && q.Until.IsZero() {
		return nil
	}
	return func(e ledger.Entry) bool {
		switch {
		case e.Shredded, q.Kind != "" && e.Kind != q.Kind && !strings.HasPrefix(e.Kind, q.Kind+"."):
			return false
		case !q.Since.IsZero() && e.AtMS < q.Since.UnixMilli(), !q.Until.IsZero() && e.AtMS >= q.Until.UnixMilli():
			return false
		case q.Grant == "" && q.Vendor == "" && q.Context == "":
			return true
		}
		body := bodyOf(e)
		for name, want := range map[string]string{"grant": q.Grant, "vendor": q.Vendor, "context": q.Context} {
			if name == "vendor" && slices.Contains(named, body[name]) {
				continue
			}
			if want != "" && !strings.HasPrefix(body[name], strings.ToLower(want)) {
				return false
			}
		}
		return true
	}
}

// bodyOf reads the body of an entry; one of another shape shows as none.
func bodyOf(e ledger.Entry) (body map[string]string) {
	_ = json.Unmarshal(e.Body, &body)
	return body
}

func entry(e ledger.Entry) desk.LedgerEntry {
	v := desk.LedgerEntry{Seq: e.Seq, Kind: e.Kind, At: momentMS(e.AtMS), AtMS: e.AtMS, Leaf: hexOf(e.Leaf), Shredded: e.Shredded}
	if !e.Shredded {
		v.Body = bodyOf(e)
	}
	return v
}

// maxCovers is how many of the heads that cover an entry are shown.
const maxCovers = 8

// Get implements desk.Ledger.
func (d Ledger) Get(ctx context.Context, seq int64) (v desk.LedgerProof, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		p, err := audit.Prove(d.Stores.Ledger, r, seq, 0, d.Now().UnixMilli())
		if err != nil {
			return notFound(err, fmt.Sprintf("entry %d of the ledger", seq))
		}
		v = desk.LedgerProof{Entry: entry(p.Entry), Size: p.Head.Size, Root: hexOf(p.Head.Root), Path: []string{}, Proven: p.Check() == nil, Heads: []desk.LedgerCover{}}
		for _, h := range p.Path {
			v.Path = append(v.Path, h.String())
		}
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			for _, h := range a.Heads {
				if a.Flow.Me == protocol.Customer && !h.Signed.IsZero() && h.Size >= seq {
					v.Heads = append(v.Heads, desk.LedgerCover{Size: h.Size, Vendor: a.Vendor.String(), Name: a.VendorName, Grant: a.ID.String(), By: h.By})
				}
			}
			slices.SortStableFunc(v.Heads, func(a, b desk.LedgerCover) int { return cmp.Compare(a.Size, b.Size) })
			v.Heads = v.Heads[:min(len(v.Heads), maxCovers)]
			return true, nil
		})
	})
	return v, err
}

// Verify implements desk.Ledger.
func (d Ledger) Verify(ctx context.Context) (v desk.LedgerReport, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		v, err = VerifyLedger(r, d.Stores.Ledger)
		return err
	})
	return v, err
}

// VerifyLedger recomputes a ledger from its entries, and holds it against every
// blinded head that a counterparty has countersigned.
func VerifyLedger(r kv.Reader, l *ledger.Ledger) (v desk.LedgerReport, err error) {
	v.Device = l.Device().String()
	report, err := l.Verify(r)
	if err != nil {
		if fault.Of(err) == fault.Internal {
			return v, err
		}
		v.Problems = append(v.Problems, err.Error())
	}
	v.Entries, v.Root = report.Entries, hexOf(report.Root)
	err = records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		if a.Flow.Me != protocol.Customer {
			return true, nil
		}
		for _, h := range a.Heads {
			if h.Signed.IsZero() {
				continue
			}
			v.Heads++
			root, err := l.RootAt(r, h.Size)
			if err != nil || ledger.Blind(ledger.Head{Size: h.Size, Root: root, Device: l.Device()}, h.Salt) != h.Blind {
				v.Problems = append(v.Problems, fmt.Sprintf("the head of %d entries that vendor %s countersigned in grant %s is not a head of this ledger: the ledger was forked or rewritten",
					h.Size, a.VendorName, a.ID.Short()))
			}
		}
		return true, nil
	})
	v.OK = len(v.Problems) == 0
	return v, err
}

// Prove implements desk.Ledger.
func (d Ledger) Prove(ctx context.Context, seq, since int64, w io.Writer) error {
	return d.view(ctx, func(r kv.Reader) error {
		if since < 0 {
			return fmt.Errorf("a ledger of %d entries: %w", since, fault.Malformed)
		}
		p, err := audit.Prove(d.Stores.Ledger, r, seq, since, d.Now().UnixMilli())
		if err != nil && since > 0 {
			return notFound(err, fmt.Sprintf("entry %d of the ledger, or the ledger of %d entries", seq, since))
		}
		if err != nil {
			return notFound(err, fmt.Sprintf("entry %d of the ledger", seq))
		}
		return p.Write(w)
	})
}

// Evidence implements desk.Ledger.
func (d Ledger) Evidence(ctx context.Context, grant string, w io.Writer) error {
	id, err := d.resolve(ctx, records.Agreements, grant)
	if err != nil {
		return err
	}
	net, err := d.net()
	if err != nil {
		return err
	}
	return d.view(ctx, func(r kv.Reader) error {
		a, err := records.GetAgreement(r, id)
		if err != nil {
			return err
		}
		if a.Letters.Grant.IsZero() {
			return fmt.Errorf("nothing was granted under request %s, so nothing was signed that could be shown: %w", a.ID.Short(), fault.Conflict)
		}
		c, err := d.caseOf(ctx, r, a)
		if err != nil {
			return err
		}
		return audit.WriteEvidence(w, net, c)
	})
}

// Export implements desk.Ledger.
func (d Ledger) Export(ctx context.Context, s desk.ExportSpec, w io.Writer) error {
	net, err := d.net()
	if err != nil {
		return err
	}
	var only []protocol.GrantID
	for _, g := range s.Grants {
		id, err := d.resolve(ctx, records.Agreements, g)
		if err != nil {
			return err
		}
		only = append(only, id)
	}
	if d.Rewrite {
		if err := d.rewrite(ctx); err != nil {
			return err
		}
	}
	bodies := cmp.Or(audit.Bodies(s.Bodies), audit.BodiesAll)
	return d.view(ctx, func(r kv.Reader) error {
		out, err := audit.NewBundle(w, net, bodies, only)
		if err != nil {
			return err
		}
		if bodies == audit.BodiesAll {
			if err := d.cases(ctx, r, out, only); err != nil {
				return err
			}
		}
		if err := openings(r, out); err != nil {
			return err
		}
		return out.Close(d.Stores.Ledger, r, d.Now().UnixMilli(), shown(bodies, only))
	})
}

// net is the network's id.
func (o *Office) net() (protocol.Hash, error) {
	net, _, err := wire.NetworkID(o.Genesis)
	return net, err
}

// shown tells whose bodies a bundle has.
func shown(b audit.Bodies, only []protocol.GrantID) func(ledger.Entry) bool {
	switch {
	case b == audit.BodiesNone:
		return func(ledger.Entry) bool { return false }
	case b == audit.BodiesOwn:
		return func(e ledger.Entry) bool { return bodyOf(e)["grant"] == "" }
	case len(only) > 0:
		return func(e ledger.Entry) bool {
			g := bodyOf(e)["grant"]
			return slices.ContainsFunc(only, func(id protocol.GrantID) bool { return id.String() == g })
		}
	}
	return nil
}

// cases writes what was signed under each grant, or under some.
func (d Ledger) cases(ctx context.Context, r kv.Reader, out *audit.Writer, only []protocol.GrantID) error {
	return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		if a.Letters.Grant.IsZero() || len(only) > 0 && !slices.Contains(only, a.ID) {
			return true, nil
		}
		c, err := d.caseOf(ctx, r, a)
		if err != nil {
			return false, err
		}
		return true, out.Case(c)
	})
}

// openings writes what each blinded head that went out was made of, in no order that
// tells of which grant it was.
func openings(r kv.Reader, out *audit.Writer) error {
	var all []audit.Opening
	err := records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		for _, h := range a.Heads {
			if a.Flow.Me == protocol.Customer {
				all = append(all, audit.Opening{Blind: h.Blind, Size: h.Size, Salt: h.Salt})
			}
		}
		return true, nil
	})
	slices.SortFunc(all, func(a, b audit.Opening) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), slices.Compare(a.Blind[:], b.Blind[:]))
	})
	for _, o := range all {
		if err == nil {
			err = out.Open(o)
		}
	}
	return err
}

// caseOf gathers what was signed under one grant: letters, the passports that say whose
// keys they are signed with, and the promises that lapsed.
func (o *Office) caseOf(ctx context.Context, r kv.Reader, a records.Agreement) (audit.Case, error) {
	c := audit.Case{ID: a.ID, Context: a.Context, Vendor: a.Vendor, Side: a.Flow.Me}
	var err error
	if c.Letters, err = o.passportsOf(ctx, r, a); err != nil {
		return c, err
	}
	l := a.Letters
	ids := []protocol.Hash{l.Request, l.Grant, l.Receipt, l.Revocation, l.Told, l.Deletion, l.Pause, l.Breach}
	for _, right := range a.Rights {
		ids = append(ids, right.ID, right.Answer)
	}
	for _, id := range ids {
		if id.IsZero() || slices.ContainsFunc(c.Letters, func(raw []byte) bool { return wire.ID(raw) == id }) {
			continue
		}
		raw, err := records.GetEnvelope(r, id)
		if errors.Is(err, fault.NotFound) {
			continue // it never had an envelope: a grant that nobody had countersigned was revoked
		}
		if err != nil {
			return c, err
		}
		c.Letters = append(c.Letters, raw)
	}
	for _, x := range a.Flow.Lapses {
		c.Lapses = append(c.Lapses, audit.Lapse{Owed: x.Owed.String(), Re: x.Re, Due: x.Due})
	}
	return c, nil
}

// passportsOf gives the passports that a grant's letters are checked by, first to
// latest: those that were kept with it, or those on the board. Where there are none,
// those in the request have to do.
func (o *Office) passportsOf(ctx context.Context, r kv.Reader, a records.Agreement) (raws [][]byte, err error) {
	for id := a.Letters.Passport; !id.IsZero() && len(raws) < protocol.MaxPassports; {
		raw, err := records.GetEnvelope(r, id)
		if err != nil {
			return nil, err
		}
		s, err := wire.Open(raw)
		if err != nil {
			return nil, err
		}
		raws, id = append(raws, raw), s.Head().Re
	}
	if len(raws) > 0 {
		slices.Reverse(raws)
		return raws, nil
	}
	chain, err := o.Board.Passports(ctx, a.Vendor)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return chain.Raws(), err
}
