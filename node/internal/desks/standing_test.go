package desks

import (
	"errors"
	"slices"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// TestProofKeepsTogether: a proof names each broken promise with its date, gives every
// envelope that is there once, and says nothing of those that are not.
func TestProofKeepsTogether(t *testing.T) {
	o := open(t)
	a := agreement(3, flow.Lapsed)
	a.Letters = records.Letters{Grant: protocol.Hash{1}, Receipt: protocol.Hash{2}, Revocation: protocol.Hash{3}}
	a.Flow.Lapses = []flow.Lapse{{Owed: protocol.KindDeletion, Re: protocol.Hash{3}, Due: 1_800_000_000}, {Owed: protocol.KindAnswer, Re: protocol.Hash{9}, Due: 1_800_000_001}}
	a.Lapses = []string{"no deletion"}
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, a), records.PutEnvelope(tx, protocol.Hash{1}, []byte("one")), records.PutEnvelope(tx, protocol.Hash{3}, []byte("three")))
	})
	p, err := (Grants{o}).Proof(t.Context(), "03")
	if err != nil || p.Schema != desk.ProofSchema || p.Grant != a.ID.String() || len(p.Lapses) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if l := p.Lapses[0]; l.Owed != "deletion" || l.Under != (protocol.Hash{3}).String() || l.Due.Unix() != 1_800_000_000 || l.What != "no deletion" {
		t.Errorf("%+v", l)
	}
	var ids []string
	for _, e := range p.Envelopes {
		ids = append(ids, e.ID+" "+e.Raw)
	}
	if want := []string{(protocol.Hash{1}).String() + " b25l", (protocol.Hash{3}).String() + " dGhyZWU="}; !slices.Equal(ids, want) {
		t.Errorf("envelopes %q, want %q", ids, want)
	}
	if _, err := (Grants{o}).Proof(t.Context(), "77"); !errors.Is(err, fault.NotFound) {
		t.Errorf("of an unknown grant: %v", err)
	}
}

// TestStandingIsShown: counters, limits, the next renewal, and what was taken back.
func TestStandingIsShown(t *testing.T) {
	o := open(t)
	a := agreement(4, flow.Disclosed)
	a.Leases, a.Terms.Lease, a.Flow.Lease = 7, 86_400, 1_800_000_000
	a.Terms.Fields = []protocol.FieldGrant{{Name: "contact.email"}, {Name: "contact.phone"}}
	a.Standing = records.Standing{PerDay: 3, Updates: 2, Withheld: []protocol.FieldName{"contact.phone"}}
	o.keep(t, func(tx kv.Tx) error { return records.PutAgreement(tx, a) })
	v, err := (Grants{o}).Get(t.Context(), "04")
	if err != nil || v.Disclosures != 7 || v.Updates != 2 || v.PerDay != 3 || v.LeaseSeconds != 86_400 || v.Renews.Unix() != 1_800_000_000 ||
		!slices.Equal(v.Withdrawn, []string{"contact.phone"}) {
		t.Errorf("%+v, %v", v, err)
	}
	for q, want := range map[desk.Query]int{{Field: "contact.email"}: 1, {Field: "location.area"}: 0, {}: 1} {
		if p := must((Grants{o}).List(t.Context(), q)); len(p.Items) != want {
			t.Errorf("%+v: %d, want %d", q, len(p.Items), want)
		}
	}
}
