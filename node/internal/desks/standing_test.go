package desks

import (
	"slices"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

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
