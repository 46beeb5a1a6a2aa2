package desks

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/record"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// someRecord is a file that a node may be shown.
var someRecord = func() string {
	raw := must(record.Encode(record.CSV, []record.Entry{{Record: record.Record{
		Grant: protocol.Hash{9}, Subject: protocol.Hash{8}, Reason: protocol.ContextNeed, Vendor: record.Party{ID: protocol.Hash{7}},
		Basis: protocol.BasisConsent, Rail: protocol.RailNone, Statuses: []record.Status{{State: record.Requested, At: 9}},
		Letters: record.Letters{Request: protocol.Hash{6}},
	}}}))
	return string(raw)
}()

// Agreements whose envelopes are gone still export, by this node's own times.
func TestRecordsWithoutEnvelopes(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error {
		for i, s := range []flow.AgreementState{flow.Granted, flow.Disclosed, flow.Refused} {
			a := agreement(byte(i+1), s)
			a.Terms.Fields = []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue}}
			a.Times.Granted, a.Times.Receipted = 2000, 3000
			switch s {
			case flow.Disclosed:
				a.Letters.Receipt = protocol.Hash{0xdd}
			case flow.Refused:
				a.Letters.Grant = protocol.Hash{}
				a.Flow.Heard = []flow.Event{{Kind: protocol.KindRefusal, ID: protocol.Hash{0xee}, At: 5}}
				a.Terms.Why = "no"
			}
			if err := records.PutAgreement(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	d := Records{o}
	for as, want := range map[string]int{"27560": 3, "ts10": 3, "csv": 3, "odrl": 2, "receipt": 1} {
		f := must(d.Export(t.Context(), desk.RecordSpec{As: as}))
		if f.Grants != want || f.LeftOut != 3-want || f.As != as {
			t.Errorf("%s: %d grants, %d left out, want %d", as, f.Grants, f.LeftOut, want)
		}
		c := must(d.Check(t.Context(), strings.NewReader(f.Text)))
		if c.As != as || !c.Same || len(c.Items) != want {
			t.Errorf("%s: %+v", as, c)
		}
		// Somebody else does not have them, and what was changed is not the same.
		if c := must((Records{open(t)}).Check(t.Context(), strings.NewReader(f.Text))); c.Same || c.Items[0].Held != "none" {
			t.Errorf("%s at a stranger's: %+v", as, c)
		}
	}
	f := must(d.Export(t.Context(), desk.RecordSpec{As: "csv"}))
	c := must(d.Check(t.Context(), strings.NewReader(strings.ReplaceAll(f.Text, "Veld & Vine", "Veld & Wine"))))
	if c.Same || c.Items[0].Held != "other" || !slices.Equal(c.Items[0].Differs, []string{"vendor.name"}) {
		t.Errorf("a changed file: %+v", c)
	}
	if one := must(d.Export(t.Context(), desk.RecordSpec{As: "27560", ID: protocol.Hash{3}.String()[:6]})); one.Grants != 1 || !strings.Contains(one.Text, "dpv:ConsentRefused") {
		t.Errorf("one: %+v", one)
	}
	page := must(d.Export(t.Context(), desk.RecordSpec{As: "csv", Limit: 2}))
	rest := must(d.Export(t.Context(), desk.RecordSpec{As: "csv", Limit: 2, After: page.Next}))
	if page.Grants != 2 || rest.Grants != 1 || rest.Next != "" {
		t.Errorf("pages of %d and %d, then %q", page.Grants, rest.Grants, rest.Next)
	}
}

// More than fits into one file goes on in the next, and nothing is lost between.
func TestRecordsOverManyFiles(t *testing.T) {
	o := open(t)
	const n = 240
	for part := range 4 { // a transaction holds not all
		o.keep(t, func(tx kv.Tx) error {
			for i := range n / 4 {
				a := agreement(byte(part+1), flow.Disclosed)
				a.ID[1], a.Times.Granted = byte(i), 2000
				for _, f := range protocol.Fields()[:protocol.MaxFields] {
					a.Terms.Fields = append(a.Terms.Fields, protocol.FieldGrant{Name: f.Name, Purpose: protocol.PurposeOffer, Form: protocol.FormValue})
				}
				if err := records.PutAgreement(tx, a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	files, grants, after := 0, 0, ""
	for more := true; more; more = after != "" {
		f := must((Records{o}).Export(t.Context(), desk.RecordSpec{As: "odrl", After: after}))
		if len(f.Text) > record.MaxFile || f.Grants == 0 {
			t.Fatalf("a file of %d grants and %d bytes", f.Grants, len(f.Text))
		}
		files, grants, after = files+1, grants+f.Grants, f.Next
	}
	if files < 2 || grants != n {
		t.Errorf("%d grants in %d files", grants, files)
	}
}

func TestRecordsRefuse(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error {
		a := agreement(1, flow.Requested)
		a.Letters.Grant = protocol.Hash{}
		return records.PutAgreement(tx, a)
	})
	d := Records{o}
	for what, c := range map[string]struct {
		as, id string
		want   error
	}{
		"a format of nobody":                {"pdf", "", fault.Malformed},
		"a receipt of what was not granted": {"receipt", "01", fault.Conflict},
		"a grant that is not here":          {"27560", "77", fault.NotFound},
	} {
		if _, err := d.Export(t.Context(), desk.RecordSpec{As: c.as, ID: c.id}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, file := range map[string]string{
		"nothing": "", "no record": `{"@type":"dpv:ConsentRecord"}`, "words": "dear sir", "a large file": strings.Repeat(" ", record.MaxFile+1) + someRecord,
		"a record and more": someRecord + "x",
	} {
		if v, err := d.Check(t.Context(), strings.NewReader(file)); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
	}
	if v := must(d.Check(t.Context(), strings.NewReader(someRecord))); v.Same || v.Items[0].State != "dpv:ConsentRequested" {
		t.Errorf("a stranger's record: %+v", v)
	}
}
