package record

import (
	"encoding/json"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// Consent records and receipts after ISO/IEC TS 27560, in JSON-LD after DPV's guide.

// A process is one field and what it is for.
type process struct {
	Type    string    `json:"@type"`
	Purpose string    `json:"dpv:hasPurpose"`
	Data    datum     `json:"dpv:hasPersonalData"`
	Storage []storage `json:"dpv:hasStorageCondition,omitempty"`
	Price   spell.Sum `json:"hark:price"`
}

// A datum is a field by its name, never its value.
type datum struct {
	ID        string `json:"@id"`
	Type      string `json:"@type"`
	Broader   string `json:"skos:broader,omitempty"`
	Necessity string `json:"dpv:hasNecessity"`
	Source    string `json:"dpv:hasDataSource"`
	Form      string `json:"hark:form"`
	Level     string `json:"hark:level,omitempty"`
	Expressly bool   `json:"hark:expressly,omitempty"`
}

type storage struct {
	Type     string `json:"@type"`
	Duration string `json:"dpv:hasDuration"`
}

type control struct {
	Type string `json:"@type"`
	At   string `json:"dpv:isExercisedAt"`
}

// A consent is a 27560 consent record.
type consent struct {
	Context    json.RawMessage `json:"@context,omitempty"`
	ID         string          `json:"@id"`
	Type       string          `json:"@type"`
	Identifier string          `json:"dct:identifier"`
	ConformsTo []string        `json:"dct:conformsTo"`
	Subject    subject         `json:"dpv:hasDataSubject"`
	Controller controller      `json:"dpv:hasDataController"`
	Processes  []process       `json:"dpv:hasProcess"`
	Control    control         `json:"dpv:hasConsentControl"`
	facts
}

func consentOf(e *Entry) consent {
	r := &e.Record
	c := consent{
		ID: spell.URN(urnGrant, r.Grant), Type: "dpv:ConsentRecord", Identifier: r.Grant.String(), ConformsTo: []string{record27560},
		Subject: subject{spell.URN(urnContext, r.Subject), "dpv:DataSubject", "dpv:Consumer"}, Controller: controllerOf(r),
		Processes: []process{}, Control: control{"dpv:WithdrawConsent", "hark:Revocation"}, facts: factsOf(r),
	}
	if r.underPOPIA() {
		c.ConformsTo = append(c.ConformsTo, popiaRecord)
	}
	for _, f := range r.Fields {
		class, category := classOf(f.Name)
		p := process{
			Type: "dpv:Process", Purpose: purposeTerms[f.Purpose], Price: spell.SumOf(f.Price),
			Data: datum{fieldURN(r.Grant, f.Name), class, category, necessity(f.Required), "dpv:DataSubjectDataSource", spell.Term(formTerms, f.Form), f.Level, f.Expressly},
		}
		if f.Retention > 0 {
			p.Storage = []storage{{"dpv:StorageDuration", spell.Days(f.Retention)}}
		}
		c.Processes = append(c.Processes, p)
	}
	return c
}

func (c *consent) entry() (e Entry, err error) {
	var r reader
	e.Grant, e.Subject, e.Vendor = r.URN(urnGrant, c.ID), r.URN(urnContext, c.Subject.ID), r.party(c.Controller)
	r.take(c.facts, &e.Record)
	for _, p := range c.Processes {
		f := Field{
			Name: r.fieldName(e.Grant, p.Data.ID), Purpose: r.purpose(p.Purpose), Form: spell.Find[protocol.Form](&r.Reader, formTerms, p.Data.Form),
			Level: p.Data.Level, Required: p.Data.Necessity == necessary, Expressly: p.Data.Expressly, Price: r.Amount(p.Price.Value, p.Price.Currency),
		}
		if len(p.Storage) > 0 {
			f.Retention = uint32(r.Duration("P", p.Storage[0].Duration, "D"))
		}
		e.Fields = append(e.Fields, f)
	}
	return e, r.Err
}

func (c *consent) at(context json.RawMessage) { c.Context = context }

// A receipt is a 27560 consent receipt: the vendor's countersignature, and the record
// that it is about.
type receipt struct {
	Context    json.RawMessage `json:"@context,omitempty"`
	ID         string          `json:"@id"`
	Type       string          `json:"@type"`
	Identifier string          `json:"dct:identifier"`
	ConformsTo string          `json:"dct:conformsTo"`
	Created    string          `json:"dct:created"`
	Publisher  string          `json:"dct:publisher"`
	Recipient  string          `json:"schema:recipient"`
	Record     consent         `json:"dpv:hasRecordOfActivity"`
}

func receiptOf(e *Entry) receipt {
	return receipt{
		ID: spell.URN(urnReceipt, e.Letters.Receipt), Type: "dpv:ConsentReceipt", Identifier: e.Letters.Receipt.String(),
		ConformsTo: receipt27560, Created: spell.Moment(e.Countersigned), Publisher: spell.URN(urnVendor, e.Vendor.ID),
		Recipient: spell.URN(urnContext, e.Subject), Record: consentOf(e),
	}
}

func (c *receipt) entry() (Entry, error) { return c.Record.entry() }

func (c *receipt) at(context json.RawMessage) { c.Context = context }
