package record

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/harkmarket/hark/protocol"
)

// hostile are texts that break what is careless.
var hostile = []string{
	"", "Veld & Vine", `"quoted", and more`, "=HYPERLINK(\"http://evil.example\",\"x\")", "+27 11 555 0100", "-1+1", "@SUM(A1)", "\tTAB", "\r\n=1",
	"'already marked", "''", "'", "'=1+1", "＝1", "line\nline", "line\r\nline\rline", `back\slash \n`, "</script><script>alert(1)</script>", "\u202eevil\u202c",
	"dpv:ConsentGiven", "urn:hark:grant:" + strings.Repeat("0", 64), "{\"@type\":\"dpv:ConsentRecord\"}", "@context", "\x00\x01", "ß 漢字 🛋️", "\u2028\u2029",
	"\ufeffBOM", " spaces ", ",", ";|", strings.Repeat("x", protocol.MaxText), strings.Repeat("\"", protocol.MaxText), "NULL", "true", "1e99", "&#39;",
}

// A dice throws everything that a record may be, from a seed.
type dice struct{ *rand.Rand }

func throw(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 7))} }

func (d dice) text() string { return hostile[d.IntN(len(hostile))] }

func (d dice) maybe() bool { return d.IntN(2) == 0 }

func (d dice) hash() (h protocol.Hash) {
	for i := range h {
		h[i] = byte(d.Uint32())
	}
	h[0] |= 1
	return h
}

func (d dice) perhaps() (h protocol.Hash) {
	if d.maybe() {
		h = d.hash()
	}
	return h
}

func (d dice) time() protocol.Second { return protocol.Second(1 + d.Uint64N(MaxTime)) }

func (d dice) money() protocol.Money {
	codes := []protocol.Currency{"ZAR", "JPY", "KWD", "CLF", "QQQ"}
	switch d.IntN(4) {
	case 0:
		return protocol.Money{}
	case 1:
		return protocol.Money{Currency: codes[d.IntN(5)]}
	}
	return protocol.Money{Minor: d.Int64N(protocol.MaxMinor), Currency: codes[d.IntN(5)]}
}

func (d dice) region() protocol.Region {
	return []protocol.Region{"", "ZA", "ZA-GP", "DE", "GB-ENG", "US-CA", "QQ", "QQ-7X"}[d.IntN(8)]
}

func (d dice) field() Field {
	all := protocol.Fields()
	f := Field{
		Name: all[d.IntN(len(all))].Name, Form: protocol.Form(1 + d.IntN(4)), Required: d.maybe(), Price: d.money(),
		Purpose: []protocol.Purpose{protocol.PurposeOffer, protocol.PurposeFulfil, protocol.PurposeService, protocol.PurposeIdentity,
			protocol.PurposeContact, protocol.PurposeResearch}[d.IntN(6)],
	}
	if d.IntN(8) == 0 {
		f.Name = protocol.FieldName(fmt.Sprintf("new-%d.thing-of-tomorrow", d.IntN(99)))
	}
	if d.maybe() {
		f.Retention = d.Uint32()
	}
	if f.Expressly = d.maybe(); f.Form == protocol.FormCoarse && d.maybe() {
		f.Level = []string{"year", "tens", "initials", "=1+1", "level of tomorrow", strings.Repeat("x", MaxLevel)}[d.IntN(6)]
	}
	return f
}

// lives are all lives of a consent.
var lives = func() (all [][]State) {
	var walk func(so []State)
	walk = func(so []State) {
		at := State(0)
		if len(so) > 0 {
			at = so[len(so)-1]
			all = append(all, append([]State{}, so...))
		}
		for _, next := range follows[at] {
			walk(append(so, next))
		}
	}
	walk(nil)
	return all
}()

// entry makes one of the given life.
func (d dice) entry(life []State) (e Entry) {
	e.Grant, e.Subject, e.Reason = d.hash(), d.hash(), protocol.ContextKind(1+d.IntN(3))
	e.Vendor = Party{ID: d.hash(), Passport: d.perhaps(), Name: d.text(), Registration: d.text(), Country: d.region(),
		Contact: d.text(), Officer: d.text(), Authority: d.text()}
	e.Basis, e.Rail, e.Price = protocol.LegalBasis(1+d.IntN(6)), protocol.Rail(1+d.IntN(2)), d.money()
	e.Lease = protocol.Second(d.Uint64N(MaxLease+1) * d.Uint64N(2)) // half of them once
	e.PerDay = d.Uint32N(protocol.MaxPerDay + 1)
	for _, s := range life {
		e.Statuses = append(e.Statuses, Status{s, d.time()})
	}
	for range d.IntN(3) {
		e.Recipients = append(e.Recipients, d.text()+".")
	}
	for range d.IntN(3) {
		e.Countries = append(e.Countries, []protocol.Region{"ZA", "NA", "ZA-WC"}[d.IntN(3)])
	}
	for i := range e.Recipients {
		e.Recipients[i] = e.Recipients[i][max(0, len(e.Recipients[i])-protocol.MaxText):]
	}
	for range d.IntN(protocol.MaxFields + 1) {
		e.Fields = append(e.Fields, d.field())
	}
	if d.maybe() {
		e.Start, e.End = d.time(), d.time()
	}
	d.prove(&e)
	return e
}

// prove adds what follows from the life: letters, times, reasons, disclosures.
func (d dice) prove(e *Entry) {
	e.Terms = d.perhaps()
	if e.At(Requested) > 0 {
		e.Letters.Request = d.hash()
		e.Notice.Notice = protocol.Notice{Source: d.text(), Consequence: d.text(), Law: d.text(), Rights: d.text(), Complaints: d.text()}
		e.Notice.Protection, e.Notice.Automated = d.text(), d.text()
	}
	if last := e.Last(); last == Refused || last == Withdrawn {
		e.Why = d.text()
		if last == Refused {
			e.Law, e.Letters.Refusal = d.text(), d.perhaps()
		}
	}
	if e.At(Given) == 0 {
		return
	}
	e.Start, e.End, e.Letters.Grant = d.time(), d.time(), d.hash()
	if e.At(Renewed) > 0 || d.maybe() {
		e.Letters.Receipt, e.Countersigned = d.hash(), d.time()
		for lease := range uint64(d.IntN(5)) {
			e.Disclosures = append(e.Disclosures, Disclosure{At: d.time(), Lease: 1 + lease*7})
			for _, f := range e.Fields {
				last := &e.Disclosures[len(e.Disclosures)-1]
				last.Fields = append(last.Fields, f.Name)
			}
		}
	}
	e.Letters.Revocation, e.Letters.Deletion = d.perhaps(), d.perhaps()
}

// entries makes n, of every life in turn.
func entries(seed uint64, n int) (list []Entry) {
	d := throw(seed)
	for i := range n {
		list = append(list, d.entry(lives[i%len(lives)]))
	}
	return list
}

// plain makes one of ordinary words, with everything present.
func plain(life ...State) Entry {
	d := throw(1)
	e := d.entry(life)
	e.Vendor.Name, e.Vendor.Registration, e.Vendor.Contact = "Veld & Vine", "2019/123456/07", "hello@veld.example"
	e.Vendor.Officer, e.Vendor.Authority, e.Vendor.Country, e.Vendor.Passport = "N. Dlamini", "Information Regulator (South Africa)", "ZA", d.hash()
	if e.At(Requested) > 0 {
		told := protocol.Notice{Source: "from you", Consequence: "no offer can be made", Law: "none", Rights: "all of them", Complaints: "the regulator"}
		e.Notice = Notice{told, "a contract with clauses that bind", "a score of your credit"}
	}
	e.Recipients, e.Countries, e.Terms = []string{"Veld & Vine"}, []protocol.Region{"ZA"}, d.hash()
	e.Price = protocol.Money{Minor: 1250, Currency: "ZAR"}
	e.Lease, e.PerDay = 3600, 5
	e.Why, e.Law = "", ""
	if e.Last() == Refused {
		e.Why, e.Law = "asked before", "POPIA s69(2)"
	}
	e.Fields = []Field{
		{"location.area", protocol.PurposeOffer, protocol.FormCoarse, "town", true, false, 30, protocol.Money{Minor: 500, Currency: "ZAR"}},
		{"health.allergy", protocol.PurposeService, protocol.FormPredicate, "", false, true, 0, protocol.Money{}},
		{"child.age", protocol.PurposeContact, protocol.FormValue, "", false, true, 7, protocol.Money{}},
	}
	if e.Countersigned > 0 {
		e.Disclosures = []Disclosure{{e.Countersigned, 1, []protocol.FieldName{"location.area"}}, {e.Countersigned + 9, 4, []protocol.FieldName{"location.area", "child.age"}}}
	}
	return e
}
