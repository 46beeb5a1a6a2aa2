package record

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record/rows"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// CSV after RFC 4180: one row for each field of each grant, and one without a field
// where a grant has none; what is about the grant stands in each of its rows.

// columns of a row. Title, category and class are derived from field.
var columns = []string{
	"grant", "field", "title", "category", "class", "purpose", "form", "level", "required", "expressly", "retention_days", "price", "price_currency",
	"customer", "reason", "vendor", "vendor_name", "registration", "country", "contact", "information_officer", "authority", "passport",
	"basis", "notice_source", "notice_consequence", "notice_law", "notice_rights", "notice_complaints", "protection", "automated", "recipients", "countries",
	"whole_price", "whole_price_currency", "rail", "start", "end", "lease_seconds", "disclosures_per_day", "terms",
	"requested", "given", "refused", "renewed", "expired", "withdrawn", "revoked", "why", "refused_under", "countersigned",
	"request_envelope", "refusal_envelope", "grant_envelope", "receipt_envelope", "revocation_envelope", "deletion_envelope",
}

const (
	csvStart = "grant,field,title,"
	fieldOf  = 1  // the first column about a field
	grantOf  = 13 // the first after those
)

func writeCSV(entries []Entry) []byte {
	var b bytes.Buffer
	rows.Write(&b, columns)
	for i := range entries {
		for _, row := range rowsOf(&entries[i]) {
			rows.Write(&b, row)
		}
	}
	return b.Bytes()
}

func rowsOf(e *Entry) (list [][]string) {
	about := aboutGrant(&e.Record)
	for _, f := range e.Fields {
		list = append(list, slices.Concat([]string{e.Grant.String()}, aboutField(f), about))
	}
	if len(list) == 0 {
		list = append(list, slices.Concat([]string{e.Grant.String()}, make([]string, grantOf-fieldOf), about))
	}
	return list
}

func aboutField(f Field) []string {
	info, _ := f.Name.Info()
	class, category := classOf(f.Name)
	return []string{
		string(f.Name), info.Title, category, class, purposeTerms[f.Purpose], spell.Term(formTerms, f.Form), f.Level, strconv.FormatBool(f.Required),
		strconv.FormatBool(f.Expressly), strconv.FormatUint(uint64(f.Retention), 10), spell.Amount(f.Price), string(f.Price.Currency),
	}
}

func aboutGrant(r *Record) []string {
	v, n, l := r.Vendor, r.Notice, r.Letters
	countries := make([]string, len(r.Countries))
	for i, c := range r.Countries {
		countries[i] = string(c)
	}
	out := []string{
		r.Subject.String(), spell.Term(reasonTerms, r.Reason), v.ID.String(), v.Name, v.Registration, string(v.Country), v.Contact, v.Officer, v.Authority,
		hexOf(v.Passport), spell.Term(basisTerms, r.Basis), n.Source, n.Consequence, n.Law, n.Rights, n.Complaints, n.Protection, n.Automated, rows.Join(r.Recipients), rows.Join(countries),
		spell.Amount(r.Price), string(r.Price.Currency), spell.Term(railTerms, r.Rail), spell.Moment(r.Start), spell.Moment(r.End),
		strconv.FormatUint(uint64(r.Lease), 10), strconv.FormatUint(uint64(r.PerDay), 10), hexOf(r.Terms),
	}
	for s := Requested; s <= Revoked; s++ {
		out = append(out, spell.Moment(r.At(s)))
	}
	return append(out, r.Why, r.Law, spell.Moment(r.Countersigned), hexOf(l.Request), hexOf(l.Refusal), hexOf(l.Grant), hexOf(l.Receipt),
		hexOf(l.Revocation), hexOf(l.Deletion))
}

func hexOf(h protocol.Hash) string { return spell.URN("", h) }

func readCSV(raw []byte) ([]Entry, error) {
	list, err := rows.Read(raw, MaxFile, 1+MaxEntries*protocol.MaxFields)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || !slices.Equal(list[0], columns) {
		return nil, fmt.Errorf("record: CSV without the right first row: %w", fault.Malformed)
	}
	var entries []Entry
	var again [][]string
	var r reader
	for _, row := range list[1:] {
		if n := len(entries); n == 0 || entries[n-1].Grant.String() != row[0] {
			entries = append(entries, Entry{Record: r.grant(row)})
		}
		if row[fieldOf] != "" {
			e := &entries[len(entries)-1]
			e.Fields = append(e.Fields, r.field(row[fieldOf:grantOf]))
		}
	}
	if r.Err != nil {
		return nil, r.Err
	}
	if _, err := Encode(CSV, entries); err != nil {
		return nil, err
	}
	for i := range entries {
		again = append(again, rowsOf(&entries[i])...)
	}
	if !slices.EqualFunc(list[1:], again, slices.Equal) {
		return nil, fmt.Errorf("record: CSV is not what such grants look like: %w", fault.Malformed)
	}
	return entries, nil
}

func (r *reader) field(row []string) Field {
	retention, err := strconv.ParseUint(row[9], 10, 32)
	if err != nil {
		r.Bad("retention", row[9])
	}
	return Field{
		Name: protocol.FieldName(row[0]), Purpose: r.purpose(row[4]), Form: spell.Find[protocol.Form](&r.Reader, formTerms, row[5]),
		Level: row[6], Required: row[7] == "true", Expressly: row[8] == "true", Retention: uint32(retention), Price: r.Amount(row[10], row[11]),
	}
}

// A cursor hands out the cells of a row one by one.
type cursor struct {
	r    *reader
	row  []string
	next int
}

func (c *cursor) text() string {
	c.next++
	return c.row[c.next-1]
}

func (c *cursor) number(what string) uint32 {
	s := c.text()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		c.r.Bad(what, s)
	}
	return uint32(n)
}

func (c *cursor) hash() protocol.Hash         { return c.r.URN("", c.text()) }
func (c *cursor) moment() protocol.Second     { return c.r.Moment(c.text()) }
func (c *cursor) sum() (m protocol.Money)     { return c.r.Amount(c.text(), c.text()) }
func (c *cursor) region() (g protocol.Region) { return protocol.Region(c.text()) }

// grant reads what a row says about its grant, in the order of the columns.
func (r *reader) grant(row []string) (g Record) {
	c := &cursor{r, row, grantOf}
	g.Grant = r.URN("", row[0])
	g.Subject, g.Reason = c.hash(), spell.Find[protocol.ContextKind](&r.Reader, reasonTerms, c.text())
	g.Vendor.ID, g.Vendor.Name, g.Vendor.Registration, g.Vendor.Country = c.hash(), c.text(), c.text(), c.region()
	g.Vendor.Contact, g.Vendor.Officer, g.Vendor.Authority, g.Vendor.Passport = c.text(), c.text(), c.text(), c.hash()
	g.Basis = spell.Find[protocol.LegalBasis](&r.Reader, basisTerms, c.text())
	n := &g.Notice
	n.Source, n.Consequence, n.Law, n.Rights, n.Complaints = c.text(), c.text(), c.text(), c.text(), c.text()
	n.Protection, n.Automated = c.text(), c.text()
	g.Recipients = rows.Split(c.text())
	for _, s := range rows.Split(c.text()) {
		g.Countries = append(g.Countries, protocol.Region(s))
	}
	g.Price, g.Rail = c.sum(), spell.Find[protocol.Rail](&r.Reader, railTerms, c.text())
	g.Start, g.End = c.moment(), c.moment()
	g.Lease, g.PerDay, g.Terms = protocol.Second(c.number("lease")), c.number("disclosures a day"), c.hash()
	for s := Requested; s <= Revoked; s++ {
		if at := c.moment(); at != 0 {
			g.Statuses = append(g.Statuses, Status{s, at})
		}
	}
	g.Why, g.Law, g.Countersigned = c.text(), c.text(), c.moment()
	l := &g.Letters
	l.Request, l.Refusal, l.Grant, l.Receipt, l.Revocation, l.Deletion = c.hash(), c.hash(), c.hash(), c.hash(), c.hash(), c.hash()
	return g
}
