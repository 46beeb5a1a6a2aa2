package record

import (
	"encoding/json"
	"strconv"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// A log after EUDI TS10: each step of the consent is a transaction, each disclosure a
// presentation, with the names of the claims alone. TS10 logs per wallet; this one logs
// per grant, from whichever side, and carries the consent record that it belongs to.

// A journal is the log of one grant.
type journal struct {
	Record       consent       `json:"consentRecord"`
	Transactions []transaction `json:"transactions"`
}

type transaction struct {
	ID     string `json:"transactionIdentifier"`
	Time   string `json:"time"`
	Type   string `json:"transactionType"` // Presentation, or OtherTransaction
	Result string `json:"transactionResult"`
	Detail detail `json:"transactionDetail"`
}

// A detail is TS10's Presentation, or what else happened.
type detail struct {
	What      string   `json:"otherTransaction,omitempty"` // the state, in DPV's words
	Lease     string   `json:"lease,omitempty"`
	PartyID   string   `json:"interactingPartyIdentifier"`
	PartyType string   `json:"interactingPartyType"`
	PartyName string   `json:"interactingPartyName"`
	Contact   []string `json:"interactingPartyContact"`
	Purpose   []string `json:"purpose"`
	Policy    string   `json:"privacyPolicy,omitempty"` // the terms agreed to
	Claims    []string `json:"listOfClaims"`
	Reason    string   `json:"reasonOfNoncompletion,omitempty"`
}

const completed, notCompleted = "Completed", "NotCompleted"

func journalOf(e *Entry) journal {
	j := journal{Record: consentOf(e), Transactions: []transaction{}}
	names := []string{}
	for _, f := range e.Fields {
		names = append(names, string(f.Name))
	}
	for _, s := range e.Statuses {
		t := transaction{ID: e.Grant.String() + "/" + s.State.Term()[len("dpv:"):], Time: spell.Moment(s.At), Type: "OtherTransaction", Result: completed}
		t.Detail = detailOf(e, names)
		t.Detail.What = s.State.Term()
		if s.State == Refused {
			t.Result, t.Detail.Reason = notCompleted, e.Why
		}
		j.Transactions = append(j.Transactions, t)
	}
	for _, d := range e.Disclosures {
		claims := []string{}
		for _, f := range d.Fields {
			claims = append(claims, string(f))
		}
		lease := strconv.FormatUint(d.Lease, 10)
		t := transaction{ID: e.Grant.String() + "/" + lease, Time: spell.Moment(d.At), Type: "Presentation", Result: completed, Detail: detailOf(e, claims)}
		t.Detail.Lease = lease
		j.Transactions = append(j.Transactions, t)
	}
	return j
}

func detailOf(e *Entry, claims []string) detail {
	d := detail{
		PartyID: spell.URN(urnVendor, e.Vendor.ID), PartyType: "ServiceProvider", PartyName: e.Vendor.Name,
		Contact: []string{}, Purpose: []string{}, Policy: spell.URN(urnTerms, e.Terms), Claims: claims,
	}
	for _, s := range []string{e.Vendor.Registration, string(e.Vendor.Country), e.Vendor.Contact} {
		if s != "" {
			d.Contact = append(d.Contact, s)
		}
	}
	seen := map[protocol.Purpose]bool{}
	for _, f := range e.Fields {
		if !seen[f.Purpose] {
			seen[f.Purpose] = true
			d.Purpose = append(d.Purpose, purposeTerms[f.Purpose])
		}
	}
	return d
}

func (j *journal) entry() (Entry, error) {
	e, err := j.Record.entry()
	if err != nil {
		return e, err
	}
	var r reader
	for _, t := range j.Transactions {
		if t.Type != "Presentation" {
			continue
		}
		lease, err := strconv.ParseUint(t.Detail.Lease, 10, 53)
		if err != nil {
			r.Bad("lease", t.Detail.Lease)
		}
		d := Disclosure{At: r.Moment(t.Time), Lease: lease}
		for _, c := range t.Detail.Claims {
			d.Fields = append(d.Fields, protocol.FieldName(c))
		}
		e.Disclosures = append(e.Disclosures, d)
	}
	return e, r.Err
}

func (j *journal) at(context json.RawMessage) { j.Record.Context = context }
