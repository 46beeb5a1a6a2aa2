package record

import (
	"encoding/json"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// Agreements after ODRL 2.2: she assigns, the vendor is assigned the use of each field
// for its purpose and time, with the duties to compensate first and to delete after;
// what ODRL has no words for stands in DPV's.

// An agreement is an ODRL Agreement.
type agreement struct {
	Context     json.RawMessage `json:"@context,omitempty"`
	ID          string          `json:"uid"`
	Type        string          `json:"@type"`
	Profile     string          `json:"profile"`
	Assigner    odrlParty       `json:"assigner"`
	Assignee    vendorParty     `json:"assignee"`
	Permission  []rule          `json:"permission"`
	Prohibition []rule          `json:"prohibition"`
	Obligation  []rule          `json:"obligation"`
	facts
}

type odrlParty struct {
	ID   string   `json:"uid"`
	Type []string `json:"@type"`
}

type vendorParty struct {
	odrlParty
	Vendor controller `json:"hark:passportFacts"`
}

// A rule is a permission, a prohibition or a duty.
type rule struct {
	Target     *asset       `json:"target,omitempty"`
	Action     any          `json:"action"` // a name, or an act
	Constraint []constraint `json:"constraint,omitempty"`
	Duty       []rule       `json:"duty,omitempty"`
}

type asset struct {
	ID        string `json:"uid"`
	Type      string `json:"@type"`
	Broader   string `json:"skos:broader,omitempty"`
	Necessity string `json:"dpv:hasNecessity"`
	Form      string `json:"hark:form"`
	Level     string `json:"hark:level,omitempty"`
	Expressly bool   `json:"hark:expressly,omitempty"`
}

// An act is an action that is refined.
type act struct {
	Value      string       `json:"value"`
	Refinement []constraint `json:"refinement"`
}

type constraint struct {
	Left     string `json:"leftOperand"`
	Operator string `json:"operator"`
	Right    any    `json:"rightOperand"`
	Unit     string `json:"unit,omitempty"`
}

func compensate(m protocol.Money) rule {
	c := constraint{Left: "payAmount", Operator: "eq", Right: spell.Literal{Value: spell.Amount(m), Type: "xsd:decimal"}}
	if m.Currency != "" {
		c.Unit = urnCurrency + string(m.Currency)
	}
	return rule{
		Action:     []act{{"compensate", []constraint{c}}},
		Constraint: []constraint{{Left: "event", Operator: "lt", Right: spell.Node{ID: "odrl:policyUsage"}}},
	}
}

// deletion is owed after the time that a value may be kept, or with the end.
func deletion(f Field, end protocol.Second) rule {
	c := constraint{Left: "dateTime", Operator: "lteq", Right: spell.Literal{Value: spell.Moment(end), Type: "xsd:dateTime"}}
	if f.Retention > 0 {
		c = constraint{Left: "elapsedTime", Operator: "lteq", Right: spell.Literal{Value: spell.Days(f.Retention), Type: "xsd:duration"}}
	}
	return rule{Action: "delete", Constraint: []constraint{c}}
}

func agreementOf(e *Entry) agreement {
	r := &e.Record
	a := agreement{
		ID: spell.URN(urnGrant, r.Grant), Type: "Agreement", Profile: odrlProfile,
		Assigner:   odrlParty{spell.URN(urnContext, r.Subject), []string{"Party", "dpv:DataSubject"}},
		Assignee:   vendorParty{odrlParty{spell.URN(urnVendor, r.Vendor.ID), []string{"Party", "dpv:DataController"}}, controllerOf(r)},
		Permission: []rule{}, Prohibition: []rule{}, Obligation: []rule{compensate(r.Price)}, facts: factsOf(r),
	}
	recipients := []string{}
	recipients = append(recipients, r.Recipients...)
	for _, f := range r.Fields {
		_, category := classOf(f.Name)
		target := &asset{fieldURN(r.Grant, f.Name), "Asset", category, necessity(f.Required), spell.Term(formTerms, f.Form), f.Level, f.Expressly}
		use := []constraint{
			{Left: "purpose", Operator: "isA", Right: spell.Node{ID: purposeTerms[f.Purpose]}},
			{Left: "dateTime", Operator: "gteq", Right: spell.Literal{Value: spell.Moment(r.Start), Type: "xsd:dateTime"}},
			{Left: "dateTime", Operator: "lteq", Right: spell.Literal{Value: spell.Moment(r.End), Type: "xsd:dateTime"}},
		}
		a.Permission = append(a.Permission, rule{target, "use", use, []rule{compensate(f.Price), deletion(f, r.End)}})
		a.Prohibition = append(a.Prohibition, rule{
			Target: target, Action: "distribute",
			Constraint: []constraint{{Left: "recipient", Operator: "isNoneOf", Right: recipients}},
		})
	}
	return a
}

func (a *agreement) at(context json.RawMessage) { a.Context = context }

func (a *agreement) entry() (e Entry, err error) {
	var r reader
	e.Grant, e.Subject, e.Vendor = r.URN(urnGrant, a.ID), r.URN(urnContext, a.Assigner.ID), r.party(a.Assignee.Vendor)
	r.take(a.facts, &e.Record)
	for _, p := range a.Permission {
		e.Fields = append(e.Fields, r.permission(e.Grant, p))
	}
	return e, r.Err
}

// permission reads a field back. What it does not look at is compared in the end.
func (r *reader) permission(g protocol.GrantID, p rule) (f Field) {
	if p.Target == nil || len(p.Constraint) == 0 || len(p.Duty) != 2 {
		r.Bad("permission", "")
		return f
	}
	f.Name, f.Form = r.fieldName(g, p.Target.ID), spell.Find[protocol.Form](&r.Reader, formTerms, p.Target.Form)
	f.Required, f.Level, f.Expressly = p.Target.Necessity == necessary, p.Target.Level, p.Target.Expressly
	f.Purpose = r.purpose(spell.Text(p.Constraint[0].Right, "@id"))
	pay, del := p.Duty[0], p.Duty[1]
	if acts, _ := pay.Action.([]any); len(acts) == 1 {
		f.Price = r.pay(acts[0])
	} else {
		r.Bad("duty to compensate", "")
	}
	if len(del.Constraint) == 1 && del.Constraint[0].Left == "elapsedTime" {
		f.Retention = uint32(r.Duration("P", spell.Text(del.Constraint[0].Right, "@value"), "D"))
	}
	return f
}

func (r *reader) pay(a any) protocol.Money {
	m, _ := a.(map[string]any)
	list, _ := m["refinement"].([]any)
	if len(list) != 1 {
		r.Bad("duty to compensate", "")
		return protocol.Money{}
	}
	c, _ := list[0].(map[string]any)
	currency := spell.Text(c, "unit")
	if currency != "" {
		currency = currency[min(len(urnCurrency), len(currency)):]
	}
	return r.Amount(spell.Text(c["rightOperand"], "@value"), currency)
}
