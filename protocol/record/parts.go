package record

import (
	"strings"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// Parts that the JSON-LD formats share. What Encode derives (a class, a category, a
// title) Decode does not look at: it compares the whole at the end.

// A subject is the customer.
type subject struct {
	ID      string `json:"@id"`
	Type    string `json:"@type"`
	Broader string `json:"skos:broader,omitempty"`
}

// A named is a party or office of which a name is told.
type named struct {
	Type    string `json:"@type"`
	Broader string `json:"skos:broader,omitempty"`
	Name    string `json:"dpv:hasName"`
}

// A controller is the vendor, as its passport has it.
type controller struct {
	ID           string `json:"@id"`
	Type         string `json:"@type"`
	Broader      string `json:"skos:broader,omitempty"`
	Name         string `json:"dpv:hasName,omitempty"`
	Registration string `json:"dpv:hasIdentifier,omitempty"`
	Country      string `json:"dpv:hasCountry,omitempty"`
	Contact      string `json:"dpv:hasContact,omitempty"`
	Officer      *named `json:"dpv:hasDataProtectionOfficer,omitempty"`
	Authority    *named `json:"dpv:hasAuthority,omitempty"`
	Passport     string `json:"hark:passport,omitempty"`
}

func controllerOf(r *Record) controller {
	v := r.Vendor
	c := controller{
		ID: spell.URN(urnVendor, v.ID), Type: "dpv:DataController", Name: v.Name, Registration: v.Registration,
		Country: spell.Place(v.Country), Contact: v.Contact, Passport: spell.URN(urnEnvelope, v.Passport),
	}
	broader := func(s string) string {
		if r.underPOPIA() {
			return s
		}
		return ""
	}
	c.Broader = broader("popia:ResponsibleParty")
	if v.Officer != "" {
		c.Officer = &named{"dpv:DataProtectionOfficer", broader("popia:InformationOfficer"), v.Officer}
	}
	if v.Authority != "" {
		c.Authority = &named{"dpv:DataProtectionAuthority", broader("popia:InformationRegulator"), v.Authority}
	}
	return c
}

func (r *reader) party(c controller) Party {
	p := Party{
		ID: r.URN(urnVendor, c.ID), Passport: r.URN(urnEnvelope, c.Passport), Name: c.Name,
		Registration: c.Registration, Country: r.Place(c.Country), Contact: c.Contact,
	}
	if c.Officer != nil {
		p.Officer = c.Officer.Name
	}
	if c.Authority != nil {
		p.Authority = c.Authority.Name
	}
	return p
}

// A notice is what was told before she decided; its id is the signed request's.
type notice struct {
	ID          string `json:"@id"`
	Type        string `json:"@type"`
	Source      string `json:"hark:source,omitempty"`
	Consequence string `json:"dpv:hasConsequence,omitempty"`
	Law         string `json:"hark:law,omitempty"`
	Rights      string `json:"hark:rights,omitempty"`
	Complaints  string `json:"hark:complaints,omitempty"`
	Protection  string `json:"hark:protection,omitempty"`
	Automated   string `json:"hark:automated,omitempty"`
}

// A status is one state of the consent.
type status struct {
	Type []string `json:"@type"`
	At   string   `json:"dpv:isIndicatedAtTime"`
	By   string   `json:"dpv:isIndicatedBy,omitempty"`
}

// envelopes are the signed letters that prove it.
type envelopes struct {
	Request    string `json:"hark:request,omitempty"`
	Refusal    string `json:"hark:refusal,omitempty"`
	Grant      string `json:"hark:grant,omitempty"`
	Receipt    string `json:"hark:receipt,omitempty"`
	Revocation string `json:"hark:revocation,omitempty"`
	Deletion   string `json:"hark:deletion,omitempty"`
}

// facts are what stands in every format in the same words.
type facts struct {
	Reason        string    `json:"hark:reason"`
	Jurisdiction  string    `json:"dpv:hasJurisdiction,omitempty"`
	Law           string    `json:"dpv:hasApplicableLaw,omitempty"`
	Basis         []string  `json:"dpv:hasLegalBasis"`
	Notice        *notice   `json:"dpv:hasNotice,omitempty"`
	Recipients    []named   `json:"dpv:hasRecipient,omitempty"`
	Countries     []string  `json:"dpv:hasLocation,omitempty"`
	From          string    `json:"schema:validFrom,omitempty"`
	Through       string    `json:"schema:validThrough,omitempty"`
	Lease         string    `json:"hark:lease,omitempty"`
	PerDay        uint32    `json:"hark:disclosuresPerDay,omitempty"`
	Rail          string    `json:"hark:rail"`
	Price         spell.Sum `json:"hark:price"`
	Terms         string    `json:"hark:terms,omitempty"`
	Statuses      []status  `json:"dpv:hasConsentStatus"`
	Why           string    `json:"hark:why,omitempty"`
	RefusedUnder  string    `json:"hark:refusedUnder,omitempty"`
	Countersigned string    `json:"hark:countersigned,omitempty"`
	Letters       envelopes `json:"hark:envelopes"`
}

func factsOf(r *Record) facts {
	l := r.Letters
	f := facts{
		Reason: spell.Term(reasonTerms, r.Reason), Jurisdiction: spell.Place(protocol.Region(r.Vendor.Country.Country())),
		Basis: []string{spell.Term(basisTerms, r.Basis)}, From: spell.Moment(r.Start), Through: spell.Moment(r.End), Lease: leaseOf(r), PerDay: r.PerDay,
		Rail: spell.Term(railTerms, r.Rail), Price: spell.SumOf(r.Price), Terms: spell.URN(urnTerms, r.Terms), Statuses: []status{},
		Why: r.Why, RefusedUnder: r.Law, Countersigned: spell.Moment(r.Countersigned),
		Letters: envelopes{
			Request: spell.URN(urnEnvelope, l.Request), Refusal: spell.URN(urnEnvelope, l.Refusal), Grant: spell.URN(urnEnvelope, l.Grant),
			Receipt: spell.URN(urnEnvelope, l.Receipt), Revocation: spell.URN(urnEnvelope, l.Revocation), Deletion: spell.URN(urnEnvelope, l.Deletion),
		},
	}
	if r.underPOPIA() {
		f.Law = "popia:POPIA"
		f.Basis = append(f.Basis, spell.Term(popiaBases, r.Basis))
	}
	if !l.Request.IsZero() {
		n := r.Notice
		f.Notice = &notice{spell.URN(urnEnvelope, l.Request), "dpv:ConsentNotice", n.Source, n.Consequence, n.Law, n.Rights, n.Complaints, n.Protection, n.Automated}
	}
	for _, who := range r.Recipients {
		f.Recipients = append(f.Recipients, named{Type: "dpv:Recipient", Name: who})
	}
	for _, c := range r.Countries {
		f.Countries = append(f.Countries, spell.Place(c))
	}
	for _, s := range r.Statuses {
		f.Statuses = append(f.Statuses, statusOf(r, s))
	}
	return f
}

// once is the lease of what may be used once, at once.
const once = "PT0S"

// leaseOf spells a lease; one of 0 too, where something was given.
func leaseOf(r *Record) string {
	if r.Lease == 0 && r.At(Given) != 0 {
		return once
	}
	return spell.Seconds(r.Lease)
}

// statusOf says who indicated a state: the vendor asks, she answers, and nobody says
// that the time is over.
func statusOf(r *Record, s Status) status {
	v := status{Type: []string{s.State.Term()}, At: spell.Moment(s.At)}
	switch s.State {
	case Requested, Revoked:
		v.By = spell.URN(urnVendor, r.Vendor.ID)
	case Given, Renewed:
		v.Type = append(v.Type, "dpv:ExpressedConsent")
		v.By = spell.URN(urnContext, r.Subject)
	case Refused, Withdrawn:
		v.By = spell.URN(urnContext, r.Subject)
	}
	return v
}

// take reads facts back into a record.
func (r *reader) take(f facts, into *Record) {
	into.Reason = spell.Find[protocol.ContextKind](&r.Reader, reasonTerms, f.Reason)
	into.Basis = spell.Find[protocol.LegalBasis](&r.Reader, basisTerms, first(f.Basis))
	into.Rail = spell.Find[protocol.Rail](&r.Reader, railTerms, f.Rail)
	into.Price = r.Amount(f.Price.Value, f.Price.Currency)
	into.Start, into.End = r.Moment(f.From), r.Moment(f.Through)
	if into.PerDay = f.PerDay; f.Lease != once {
		into.Lease = protocol.Second(r.Duration("PT", f.Lease, "S"))
	}
	into.Terms = r.URN(urnTerms, f.Terms)
	into.Why, into.Law, into.Countersigned = f.Why, f.RefusedUnder, r.Moment(f.Countersigned)
	if n := f.Notice; n != nil {
		told := protocol.Notice{Source: n.Source, Consequence: n.Consequence, Law: n.Law, Rights: n.Rights, Complaints: n.Complaints}
		into.Notice = Notice{told, n.Protection, n.Automated}
	}
	for _, who := range f.Recipients {
		into.Recipients = append(into.Recipients, who.Name)
	}
	for _, c := range f.Countries {
		into.Countries = append(into.Countries, r.Place(c))
	}
	for _, s := range f.Statuses {
		into.Statuses = append(into.Statuses, Status{spell.Find[State](&r.Reader, stateTerms[:], first(s.Type)), r.Moment(s.At)})
	}
	l := f.Letters
	into.Letters = Letters{
		Request: r.URN(urnEnvelope, l.Request), Refusal: r.URN(urnEnvelope, l.Refusal), Grant: r.URN(urnEnvelope, l.Grant),
		Receipt: r.URN(urnEnvelope, l.Receipt), Revocation: r.URN(urnEnvelope, l.Revocation), Deletion: r.URN(urnEnvelope, l.Deletion),
	}
}

// fieldURN names a field within a grant: what is said of it holds there alone.
func fieldURN(g protocol.GrantID, f protocol.FieldName) string {
	return spell.URN(urnGrant, g) + ":" + string(f)
}

func (r *reader) fieldName(g protocol.GrantID, s string) protocol.FieldName {
	name, ok := strings.CutPrefix(s, fieldURN(g, ""))
	if !ok {
		r.Bad("field", s)
	}
	return protocol.FieldName(name)
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
