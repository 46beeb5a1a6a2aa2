// Package edge reads what this node holds of its grants into records for others.
//
//  1. All that both sides know comes from the signed envelopes, which both keep: what
//     was asked and told from the Request, what was granted from the Grant, with what
//     stands beside them under ignorable keys, the times from their headers. So the customer and the vendor read the same record.
//  2. Disclosures are in no envelope that a vendor keeps. They come from the ledger,
//     where each side noted the names of what went over, and when it was made.
//  3. Where an envelope is gone, or never was (a grant that ended before its vendor
//     knew of it), the times are this node's own.
//
// Nothing here reads a value of a field.
package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
)

// A Source is where records are read from.
type Source struct {
	kv.Reader
	Ledger    *ledger.Ledger
	Passports func(context.Context, protocol.VendorID) (wire.Chain, error)
	Now       protocol.Second
}

// Entries reads agreements into entries, each with its disclosures, in the same order.
func (s Source) Entries(ctx context.Context, list []records.Agreement) ([]record.Entry, error) {
	out := make([]record.Entry, 0, len(list))
	at := map[protocol.GrantID]int{}
	for _, a := range list {
		r, err := s.record(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("record of grant %s: %w", a.ID.Short(), err)
		}
		at[a.ID] = len(out)
		out = append(out, record.Entry{Record: r})
	}
	if err := s.disclosures(out, at); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	for i := range out {
		renew(&out[i])
	}
	return out, nil
}

// opened reads a kept envelope; ok is false where there is none.
func opened[M protocol.Message](s Source, id protocol.Hash) (m M, ok bool, err error) {
	m, _, ok, err = whole[M](s, id)
	return m, ok, err
}

// whole also gives what stands under ignorable keys.
func whole[M protocol.Message](s Source, id protocol.Hash) (m M, x protocol.Extra, ok bool, err error) {
	if id.IsZero() {
		return m, nil, false, nil
	}
	raw, err := records.GetEnvelope(s, id)
	if errors.Is(err, fault.NotFound) {
		return m, nil, false, nil
	}
	if err != nil {
		return m, nil, false, err
	}
	signed, err := wire.Open(raw)
	if err != nil {
		return m, nil, false, err
	}
	m, err = wire.As[M](signed)
	return m, signed.Extra(), err == nil, err
}

// record puts together what both sides know.
func (s Source) record(ctx context.Context, a records.Agreement) (r record.Record, err error) {
	r = record.Record{
		Grant: a.ID, Subject: protocol.Hash(a.Context), Reason: a.Reason, Vendor: record.Party{ID: a.Vendor, Name: a.VendorName},
		Basis: protocol.BasisConsent, Rail: protocol.RailNone,
	}
	b := builder{Source: s, a: a, r: &r}
	for _, step := range []func(context.Context) error{b.request, b.refusal, b.grant, b.receipt, b.end} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// A builder adds to one record, letter by letter.
type builder struct {
	Source
	a records.Agreement
	r *record.Record
}

// began notes a state. A time of this node's own, in milliseconds, stands in where the
// letter is not kept.
func (b *builder) began(s record.State, at protocol.Second, ownMS int64) {
	if at == 0 {
		at = protocol.Second(ownMS / 1000)
	}
	b.r.Statuses = append(b.r.Statuses, record.Status{State: s, At: writable(max(at, 1))})
}

// writable is a time that can be written: nobody can tell the later ones apart.
func writable(t protocol.Second) protocol.Second { return min(t, record.MaxTime) }

func (b *builder) request(context.Context) error {
	id := b.a.Letters.Request
	if id.IsZero() {
		return nil
	}
	m, x, ok, err := whole[*protocol.Request](b.Source, id)
	if err != nil {
		return err
	}
	b.r.Letters.Request = id
	if !ok {
		b.began(record.Requested, 0, b.a.Times.Requested)
		return nil
	}
	b.began(record.Requested, m.Created, 0)
	more := particulars.Of(x)
	b.r.Basis, b.r.Recipients, b.r.Countries = m.Basis, m.Recipients, m.Countries
	b.r.Notice = record.Notice{Notice: m.Notice, Protection: more.Protection, Automated: more.Automated}
	b.r.Terms, b.r.Rail, b.r.End = m.Terms, m.Rail, writable(m.Until)
	for _, f := range m.Fields {
		b.r.Fields = append(b.r.Fields, record.Field{
			Name: f.Name, Purpose: f.Purpose, Form: f.Form, Required: f.Required, Expressly: slices.Contains(more.Explicit, f.Name),
			Retention: f.Retention, Price: f.Price,
		})
	}
	chain, err := wire.OpenChain(m.Chain, m.Net)
	if err != nil {
		return err
	}
	b.r.Vendor = party(chain, chain.Len()-1)
	return nil
}

func party(c wire.Chain, i int) record.Party {
	id, p := c.At(i)
	return record.Party{
		ID: c.Vendor(), Passport: id, Name: p.Name, Registration: p.Registration, Country: p.Country, Contact: p.Contact,
		Officer: p.Officer, Authority: p.Authority,
	}
}

// refusal also stands for a counter: what was asked was not given.
func (b *builder) refusal(context.Context) error {
	if !b.a.Letters.Grant.IsZero() {
		return nil
	}
	for _, e := range b.a.Flow.Heard {
		if e.Kind != protocol.KindRefusal && e.Kind != protocol.KindCounter {
			continue
		}
		at := e.At
		if e.Kind == protocol.KindRefusal {
			m, ok, err := opened[*protocol.Refusal](b.Source, e.ID)
			if err != nil {
				return err
			}
			b.r.Letters.Refusal = e.ID
			if b.r.Why, b.r.Law = b.a.Terms.Why, b.a.Terms.Law; ok {
				at, b.r.Why, b.r.Law = m.Created, m.Rule, m.Law
			}
		} else {
			b.r.Why = "less was offered instead, and a new request asked for"
		}
		if len(b.r.Statuses) > 0 {
			b.began(record.Refused, at, 0)
		}
		return nil
	}
	return nil
}

func (b *builder) grant(ctx context.Context) error {
	id := b.a.Letters.Grant
	if id.IsZero() {
		return nil
	}
	m, x, ok, err := whole[*protocol.Grant](b.Source, id)
	if err != nil {
		return err
	}
	b.r.Letters.Grant = id
	if !ok {
		b.began(record.Given, 0, b.a.Times.Granted)
		t := b.a.Terms
		b.granted(t.Fields, t.Start, t.End, t.Lease)
		b.r.PerDay = b.a.Standing.PerDay
		return nil
	}
	b.began(record.Given, m.Created, 0)
	b.granted(m.Fields, m.Start, m.End, m.Lease)
	b.r.Price, b.r.Rail, b.r.Terms, b.r.PerDay = m.Price, m.Rail, m.Terms, limits.Of(x).PerDay
	if b.a.Letters.Request.IsZero() {
		return b.chosen(ctx, m.Created)
	}
	return nil
}

// granted puts what was given in the place of what was asked.
func (b *builder) granted(fields []protocol.FieldGrant, start, end, lease protocol.Second) {
	asked := b.r.Fields
	b.r.Fields = nil
	for _, f := range fields {
		i := slices.IndexFunc(asked, func(q record.Field) bool { return q.Name == f.Name && q.Purpose == f.Purpose })
		g := record.Field{Name: f.Name, Purpose: f.Purpose, Form: f.Form, Level: f.Level, Retention: f.Retention, Price: f.Price}
		if i >= 0 {
			g.Required, g.Expressly = asked[i].Required, asked[i].Expressly
		}
		b.r.Fields = append(b.r.Fields, g)
	}
	b.r.Start, b.r.End = max(writable(start), 1), max(writable(end), 1)
	b.r.Lease = min(lease, record.MaxLease)
}

// chosen finds the passport of a vendor that she started with: the latest that was
// signed before she granted.
func (b *builder) chosen(ctx context.Context, at protocol.Second) error {
	chain, err := b.Passports(ctx, b.a.Vendor)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range chain.Len() {
		if _, p := chain.At(i); i == 0 || p.Created <= at {
			b.r.Vendor = party(chain, i)
		}
	}
	return nil
}

func (b *builder) receipt(context.Context) error {
	id := b.a.Letters.Receipt
	if id.IsZero() || b.r.Letters.Grant.IsZero() {
		return nil
	}
	m, ok, err := opened[*protocol.Receipt](b.Source, id)
	if err != nil {
		return err
	}
	b.r.Letters.Receipt = id
	b.r.Countersigned = max(protocol.Second(b.a.Times.Receipted/1000), 1)
	if ok {
		b.r.Countersigned = writable(m.Created)
	}
	return nil
}

// end says how it ended, if it did: by her word, by its date, or by the vendor's.
func (b *builder) end(context.Context) error {
	if b.r.Last() != record.Given {
		return nil
	}
	revoked, reason, err := b.revoked()
	if err != nil {
		return err
	}
	m, ok, err := opened[*protocol.Deletion](b.Source, b.a.Letters.Deletion)
	if err != nil {
		return err
	}
	deleted := protocol.Second(0)
	if b.r.Letters.Deletion = b.a.Letters.Deletion; ok {
		deleted = m.Created
	}
	switch end := b.r.End; {
	case revoked > 0 && revoked < end:
		b.began(record.Withdrawn, revoked, 0)
		b.r.Why = reason
	case deleted > 0 && deleted < end:
		b.began(record.Revoked, deleted, 0)
	case b.Now >= end:
		b.began(record.Expired, end, 0)
	}
	return nil
}

// revoked is when she withdrew; 0 where she did not. Before the vendor has
// countersigned there is no letter, and the time is her node's.
func (b *builder) revoked() (at protocol.Second, reason string, err error) {
	id := b.a.Letters.Revocation
	m, ok, err := opened[*protocol.Revocation](b.Source, id)
	if err != nil {
		return 0, "", err
	}
	b.r.Letters.Revocation = id
	if ok {
		return m.Created, m.Reason, nil
	}
	for _, e := range b.a.Flow.Heard {
		if e.Kind == protocol.KindRevocation {
			return e.At, "", nil
		}
	}
	return 0, "", nil
}

// disclosures reads the ledger once for all entries. What was shredded there is told
// no more.
func (s Source) disclosures(out []record.Entry, at map[protocol.GrantID]int) error {
	for after := int64(0); len(at) > 0; {
		list, err := s.Ledger.List(s, after, ledger.MaxList, "")
		if err != nil {
			return err
		}
		for _, e := range list {
			after = e.Seq
			if e.Shredded || e.Kind != "disclosure.sent" && e.Kind != "disclosure.kept" {
				continue
			}
			grant, d, ok := disclosure(e)
			i, ours := at[grant]
			if !ok || !ours || out[i].Countersigned == 0 {
				continue
			}
			// They may come in another order than they were made; the same one never twice.
			log := out[i].Disclosures
			j, there := slices.BinarySearchFunc(log, d.Lease, func(x record.Disclosure, lease uint64) int { return int(int64(x.Lease) - int64(lease)) })
			if !there {
				log = slices.Insert(log, j, d)
			}
			out[i].Disclosures = log[max(0, len(log)-record.MaxLog):]
		}
		if len(list) < ledger.MaxList {
			return nil
		}
	}
	return nil
}

// disclosure reads a note of the ledger.
func disclosure(e ledger.Entry) (g protocol.GrantID, d record.Disclosure, ok bool) {
	var body map[string]string
	if json.Unmarshal(e.Body, &body) != nil || g.UnmarshalText([]byte(body["grant"])) != nil {
		return g, d, false
	}
	lease, err := strconv.ParseUint(body["lease"], 10, 53)
	if err != nil || lease == 0 {
		return g, d, false
	}
	d = record.Disclosure{At: max(writable(protocol.Second(e.AtMS/1000)), 1), Lease: lease}
	if made, err := strconv.ParseUint(body["made"], 10, 63); err == nil && made > 0 {
		d.At = writable(protocol.Second(made)) // by her clock, as the letter has it
	}
	for _, f := range strings.Fields(body["fields"]) {
		if name := protocol.FieldName(f); name.WellFormed() && len(d.Fields) < protocol.MaxFields {
			d.Fields = append(d.Fields, name)
		}
	}
	return g, d, true
}

// renew tells from the log that the consent was renewed: a lease was given after the
// first. The latest counts.
func renew(e *record.Entry) {
	n := len(e.Disclosures)
	if n == 0 || e.Disclosures[n-1].Lease < 2 {
		return
	}
	i := slices.IndexFunc(e.Statuses, func(s record.Status) bool { return s.State == record.Given })
	e.Statuses = slices.Insert(e.Statuses, i+1, record.Status{State: record.Renewed, At: e.Disclosures[n-1].At})
}
