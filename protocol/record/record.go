// Package record turns one grant, as both sides hold it, into the formats that others
// read, and back: what a standard asks for is made at the edge, and nothing inside
// Hark speaks it.
//
//  1. A node reads what it holds of a grant (the signed request, grant, receipt,
//     revocation and deletion) into a Record, which is plain facts, and for the log
//     into an Entry, which adds what was disclosed when.
//  2. Encode writes them as a consent record or receipt after ISO/IEC TS 27560 (JSON-LD
//     in the words of W3C DPV 2.3), as ODRL 2.2 agreements, as a log after EUDI TS10, or
//     as CSV. The shapes are the JSON Schemas in schema/; the words are those of
//     terms.txt, popia.jsonld and hark.jsonld.
//  3. Decode reads such a file back. It accepts only what Encode would write of the
//     record that it found: a file that says one thing in one place and another in the
//     next, or anything besides, is no record.
//
// A Record never holds the value of a field, and of the customer only the key that she
// made for this one context: nothing in it links her to another vendor. Contexts of
// JSON-LD stand in the files themselves, so that nobody has to fetch one.
package record

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record/differ"
	"github.com/harkmarket/hark/protocol/record/spell"
	"github.com/harkmarket/hark/protocol/strict"
)

// Bounds of a file; beyond them Encode gives fault.Full and Decode fault.Malformed.
const (
	MaxFile    = strict.MaxSize
	MaxEntries = 500          // grants in one file
	MaxLog     = 512          // disclosures of one grant; the latest
	MaxTime    = 253402300799 // the last second that RFC 3339 can write
	MaxLease   = 1<<32 - 1
	MaxLevel   = 32 // bytes of the name of a level, as on the wire
)

// A State is where a consent stands, as DPV names it.
type State uint8

// The states. A consent is requested, or given without a request; a request is given
// or refused; what was given may be renewed, and ends at most once.
const (
	Requested State = 1
	Given     State = 2
	Refused   State = 3
	Renewed   State = 4
	Expired   State = 5
	Withdrawn State = 6 // by her
	Revoked   State = 7 // by the vendor
)

var stateTerms = [...]string{"", "dpv:ConsentRequested", "dpv:ConsentGiven", "dpv:ConsentRefused",
	"dpv:RenewedConsentGiven", "dpv:ConsentExpired", "dpv:ConsentWithdrawn", "dpv:ConsentRevoked"}

// Term is the state in DPV's words; empty for none.
func (s State) Term() string {
	if int(s) >= len(stateTerms) {
		return ""
	}
	return stateTerms[s]
}

// follows says which state may come after which; 0 is the beginning.
var follows = map[State][]State{
	0: {Requested, Given}, Requested: {Given, Refused},
	Given: {Renewed, Expired, Withdrawn, Revoked}, Renewed: {Expired, Withdrawn, Revoked},
}

// A Status is one state and when it began, by the clock of who signed it.
type Status struct {
	State State
	At    protocol.Second
}

// A Party is a vendor by its passport, the one that stood when it asked or, where she
// started, when she granted.
type Party struct {
	ID           protocol.VendorID
	Passport     protocol.Hash // zero where it is not known
	Name         string
	Registration string
	Country      protocol.Region
	Contact      string
	Officer      string // information officer
	Authority    string // supervisory authority
}

// A Field is one field asked for, or granted.
type Field struct {
	Name      protocol.FieldName
	Purpose   protocol.Purpose
	Form      protocol.Form
	Level     string // of a coarser value: how coarse
	Required  bool
	Expressly bool   // asked for expressly, as what is special or a child's has to be
	Retention uint32 // days
	Price     protocol.Money
}

// A Notice is what was told before she decided, with what stands beside the notice of
// the Request.
type Notice struct {
	protocol.Notice
	Protection string // what protects the fields in another country
	Automated  string // decisions that no person takes
}

// A Span is for how long, and how often. Start and End are as granted; End is as asked
// where nothing was granted.
type Span struct {
	Start, End protocol.Second
	Lease      protocol.Second // for which a disclosure is good; 0: its values are used once
	PerDay     uint32          // disclosures in any 24 hours; 0: no bound of hers
}

// Letters are the hashes of the signed envelopes; zero where there is none. The
// notice is a part of the Request, and so has its hash.
type Letters struct {
	Request, Refusal, Grant, Receipt, Revocation, Deletion protocol.Hash
}

// A Record is what both sides know of one grant, or of one request that was not
// granted.
type Record struct {
	Grant      protocol.GrantID
	Subject    protocol.Hash // the customer: her key of this one context
	Reason     protocol.ContextKind
	Vendor     Party
	Basis      protocol.LegalBasis
	Notice     Notice
	Recipients []string
	Countries  []protocol.Region
	Fields     []Field
	Price      protocol.Money
	Rail       protocol.Rail
	Span
	Terms         protocol.Hash
	Statuses      []Status
	Why, Law      string          // of the refusal; Why also of the withdrawal
	Countersigned protocol.Second // when the vendor signed its Receipt; 0: it did not
	Letters       Letters
}

// A Disclosure is one handing over: when it was made and under which lease, and the
// names of what it carried, never a value.
type Disclosure struct {
	At     protocol.Second
	Lease  uint64
	Fields []protocol.FieldName
}

// An Entry is a record and, for the log, its disclosures in order of lease.
type Entry struct {
	Record
	Disclosures []Disclosure
}

// At is when a state began; 0 where it did not.
func (r *Record) At(s State) protocol.Second {
	for _, x := range r.Statuses {
		if x.State == s {
			return x.At
		}
	}
	return 0
}

// Last is the state in which the record leaves the consent.
func (r *Record) Last() State {
	if len(r.Statuses) == 0 {
		return 0
	}
	return r.Statuses[len(r.Statuses)-1].State
}

// Differences names what two entries say differently; none where they are equal.
func (e *Entry) Differences(o *Entry) []string { return differ.Fields(*e, *o) }

// Check refuses what no grant can be: fault.Malformed.
func (r *Record) Check() error {
	bad := func(what string, v any) error {
		return fmt.Errorf("record: %s %.100q: %w", what, fmt.Sprint(v), fault.Malformed)
	}
	switch {
	case r.Grant.IsZero() || r.Subject.IsZero() || r.Vendor.ID.IsZero():
		return bad("without grant, customer or vendor", r.Grant)
	case r.Reason < protocol.ContextNeed || r.Reason > protocol.ContextAuthority:
		return bad("reason", r.Reason)
	case r.Basis < protocol.BasisConsent || r.Basis > protocol.BasisLegitimate:
		return bad("legal basis", r.Basis)
	case r.Rail < protocol.RailNone || r.Rail > protocol.RailVoucher:
		return bad("rail", r.Rail)
	case !spell.Sound(r.Price):
		return bad("price", r.Price)
	case r.Start > MaxTime || r.End > MaxTime || r.Countersigned > MaxTime:
		return bad("time", max(r.Start, r.End, r.Countersigned))
	case r.Lease > MaxLease:
		return bad("lease", r.Lease)
	case r.PerDay > protocol.MaxPerDay:
		return bad("disclosures a day", r.PerDay)
	case (r.Countersigned == 0) != r.Letters.Receipt.IsZero():
		return bad("countersigned", r.Countersigned)
	case r.Letters.Request.IsZero() != (r.At(Requested) == 0) || r.Letters.Grant.IsZero() != (r.At(Given) == 0):
		return bad("letters that do not match the statuses", r.Statuses)
	case r.At(Given) != 0 && (r.Start == 0 || r.End == 0):
		return bad("given without start or end", r.End)
	case r.Letters.Request.IsZero() && r.Notice != (Notice{}):
		return bad("notice without a request", r.Notice.Source)
	}
	if err := r.checkStatuses(); err != nil {
		return err
	}
	if err := r.checkTexts(); err != nil {
		return err
	}
	return checkFields(r.Fields)
}

func (r *Record) checkStatuses() error {
	var at State
	for _, s := range r.Statuses {
		if !slices.Contains(follows[at], s.State) || s.At == 0 || s.At > MaxTime {
			return fmt.Errorf("record: status %d at %d after status %d: %w", s.State, s.At, at, fault.Malformed)
		}
		at = s.State
	}
	if at == 0 || (r.Why != "" && at != Refused && at != Withdrawn) || (r.Law != "" && at != Refused) {
		return fmt.Errorf("record: a reason for status %d: %w", at, fault.Malformed)
	}
	return nil
}

// checkTexts bounds what people wrote.
func (r *Record) checkTexts() error {
	if len(r.Recipients) > protocol.MaxList || len(r.Countries) > protocol.MaxList {
		return fmt.Errorf("record: %d recipients, %d countries: %w", len(r.Recipients), len(r.Countries), fault.Malformed)
	}
	v, n := r.Vendor, r.Notice
	texts := append([]string{v.Name, v.Registration, v.Contact, v.Officer, v.Authority, n.Source, n.Consequence, n.Law, n.Rights,
		n.Complaints, n.Protection, n.Automated, r.Why, r.Law}, r.Recipients...)
	for _, t := range texts {
		if len(t) > protocol.MaxText || !utf8.ValidString(t) {
			return fmt.Errorf("record: a text of %d bytes: %w", len(t), fault.Malformed)
		}
	}
	if slices.Contains(r.Recipients, "") {
		return fmt.Errorf("record: a recipient without a name: %w", fault.Malformed)
	}
	places := r.Countries
	if v.Country != "" {
		places = append(slices.Clone(places), v.Country)
	}
	for _, c := range places {
		if !spell.Region(c) {
			return fmt.Errorf("record: country %.12q: %w", c, fault.Malformed)
		}
	}
	return nil
}

func checkFields(fields []Field) error {
	if len(fields) > protocol.MaxFields {
		return fmt.Errorf("record: %d fields: %w", len(fields), fault.Malformed)
	}
	for _, f := range fields {
		if !f.Name.WellFormed() || !f.Purpose.Known() || f.Form < protocol.FormValue || f.Form > protocol.FormCredential ||
			!spell.Sound(f.Price) || !levelFits(f) {
			return fmt.Errorf("record: field %.60q: %w", f.Name, fault.Malformed)
		}
	}
	return nil
}

// levelFits: as a Grant has it, a line, with a coarser value alone.
func levelFits(f Field) bool {
	line := !strings.ContainsFunc(f.Level, unicode.IsControl) && utf8.ValidString(f.Level)
	return f.Level == "" || f.Form == protocol.FormCoarse && line && len(f.Level) <= MaxLevel
}

// Check refuses what no log can be.
func (e *Entry) Check() error {
	if err := e.Record.Check(); err != nil {
		return err
	}
	if len(e.Disclosures) > MaxLog || len(e.Disclosures) > 0 && e.Countersigned == 0 {
		return fmt.Errorf("record: %d disclosures: %w", len(e.Disclosures), fault.Malformed)
	}
	var last uint64
	for _, d := range e.Disclosures {
		if d.Lease <= last || d.Lease > 1<<53 || d.At == 0 || d.At > MaxTime || len(d.Fields) > protocol.MaxFields {
			return fmt.Errorf("record: disclosure %d: %w", d.Lease, fault.Malformed)
		}
		last = d.Lease
		for _, f := range d.Fields {
			if !f.WellFormed() {
				return fmt.Errorf("record: disclosure of %.60q: %w", f, fault.Malformed)
			}
		}
	}
	return nil
}
