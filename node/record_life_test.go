package node_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record"
)

// exported is what a node writes of a grant.
func (h *house) exported(m *nodetest.Member, as, id string) string {
	h.t.Helper()
	f, err := m.Records().Export(context.Background(), desk.RecordSpec{As: as, ID: id})
	if err != nil {
		h.t.Fatalf("%s as %s: %v", m.Name, as, err)
	}
	return f.Text
}

// life gives the states of a grant in order, after both sides have written the same
// record of it in every format that there is, and know the other's for their own.
func (h *house) life(id string, formats ...string) (states []record.State, e record.Entry) {
	h.t.Helper()
	for _, as := range formats {
		hers, its := h.exported(h.her, as, id), h.exported(h.vendor, as, id)
		if hers != its {
			h.t.Fatalf("%s: she writes\n%s\nand the vendor\n%s", as, hers, its)
		}
		for _, m := range []*nodetest.Member{h.her, h.vendor} {
			c, err := m.Records().Check(context.Background(), strings.NewReader(hers))
			if err != nil || !c.Same || c.As != as || len(c.Items) != 1 || c.Items[0].Grant != id {
				h.t.Fatalf("%s checks %s: %+v, %v", m.Name, as, c, err)
			}
		}
		for _, value := range []string{"Melville", "evenings", "a couch for two"} {
			if strings.Contains(hers, value) {
				h.t.Errorf("%s holds %q", as, value)
			}
		}
	}
	list, err := record.Decode(record.TS10, []byte(h.exported(h.her, "ts10", id)))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range list[0].Statuses {
		states = append(states, s.State)
	}
	return states, list[0]
}

var everyFormat = []string{"27560", "receipt", "odrl", "ts10", "csv"}

func (h *house) wantLife(id string, formats []string, want ...record.State) record.Entry {
	h.t.Helper()
	got, e := h.life(id, formats...)
	if !slices.Equal(got, want) {
		h.t.Fatalf("states %v, want %v", got, want)
	}
	return e
}

// TestRecordsTellALife: a real grant through its life, on both sides: what is exported
// has the right statuses, and is the same record from either side once the letters are
// over. Until then each side tells what it knows: a disclosure or revocation that the
// vendor has not had yet stands in her record alone.
func TestRecordsTellALife(t *testing.T) {
	settled(t, "given, renewed, withdrawn", func(h *house) {
		e := h.wantLife(h.grant, everyFormat, record.Requested, record.Given)
		if len(e.Disclosures) != 1 || len(e.Disclosures[0].Fields) != 2 || len(e.Fields) == 0 || e.Notice.Rights == "" || e.Vendor.Country != "ZA" ||
			e.Letters.Receipt.IsZero() || e.Basis != protocol.BasisConsent {
			t.Fatalf("a thin record: %+v", e)
		}
		quiet(day-3*time.Hour, h.all[1:4]...)
		h.w.Until(2*time.Hour, "a second lease", func() (bool, error) { return h.show().Disclosures == 2, nil })
		time.Sleep(time.Minute)
		e = h.wantLife(h.grant, everyFormat, record.Requested, record.Given, record.Renewed)
		if d := e.Disclosures; len(d) != 2 || d[1].At <= d[0].At || d[1].At != e.At(record.Renewed) {
			t.Fatalf("renewed at %d, disclosures %+v", e.At(record.Renewed), d)
		}
		// The vendor does not know yet what she knows.
		h.vendor.Online(false)
		h.revoke()
		c, err := h.vendor.Records().Check(context.Background(), strings.NewReader(h.exported(h.her, "27560", h.grant)))
		if err != nil || c.Same || !slices.Equal(c.Items[0].Differs, []string{"statuses", "why", "letters.revocation"}) {
			t.Errorf("before the letter came: %+v, %v", c, err)
		}
		h.vendor.Online(true)
		h.until("the deletion", deleted)
		time.Sleep(time.Minute)
		e = h.wantLife(h.grant, everyFormat, record.Requested, record.Given, record.Renewed, record.Withdrawn)
		if e.Why != "done" || e.Letters.Revocation.IsZero() || e.Letters.Deletion.IsZero() {
			t.Errorf("withdrawn because of %q, letters %+v", e.Why, e.Letters)
		}
	})
	settled(t, "expired", func(h *house) {
		quiet(7*day, h.all...)
		h.until("the end", func(g desk.Grant) bool { return g.State == "deleted" })
		time.Sleep(time.Minute)
		got, e := h.life(h.grant, everyFormat...)
		if got[len(got)-1] != record.Expired || e.At(record.Expired) != e.End || e.Letters.Deletion.IsZero() {
			t.Errorf("states %v, %+v", got, e.Letters)
		}
	})
	settled(t, "refused, and chosen", func(h *house) {
		ctx := context.Background()
		if _, err := h.her.Consent().Add(ctx, desk.ConsentRule{Name: "no-more", Action: "deny", When: "fields.exists(f, !f.on_offer)"}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.vendor.Vendor().Rules().Set(ctx, desk.Follow{Ask: true, AskAlso: []string{"identity.name"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.her.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "another couch", Category: "home.furniture", Days: 7}); err != nil {
			t.Fatal(err)
		}
		refusal := func(m *nodetest.Member) string {
			p, err := m.Customer().Requests().List(ctx, desk.Query{State: "refused"})
			if err != nil || len(p.Items) == 0 {
				return ""
			}
			return p.Items[0].Grant
		}
		h.w.Until(time.Minute, "a refusal", func() (bool, error) { return refusal(h.vendor) != "", nil })
		e := h.wantLife(refusal(h.her), []string{"27560", "ts10", "csv"}, record.Requested, record.Refused)
		if e.Why == "" || e.Law == "" || e.Letters.Refusal.IsZero() {
			t.Errorf("refused because of %q under %q", e.Why, e.Law)
		}
		own, err := h.vendor.Vendor().Passports().Own(ctx)
		if err != nil {
			t.Fatal(err)
		}
		g, err := h.her.Customer().Grants().Give(ctx, desk.GiveSpec{Vendor: own.Vendor, Name: "my couch people", Fields: []string{"location.area"}, PerDay: 2})
		if err != nil {
			t.Fatal(err)
		}
		h.w.Until(time.Minute, "its disclosure", func() (bool, error) {
			v, err := h.her.Customer().Grants().Get(ctx, g.ID)
			return err == nil && v.State == "disclosed", err
		})
		time.Sleep(time.Minute)
		e = h.wantLife(g.ID, everyFormat, record.Given)
		if e.Vendor.Name != "couches" || e.Vendor.Passport.IsZero() || e.Reason != protocol.ContextRelation || e.PerDay != 2 || e.Lease == 0 {
			t.Errorf("she chose %+v, %d a day for %d s", e.Vendor, e.PerDay, e.Lease)
		}
		h.unlinked(g.ID, refusal(h.her), e)
	})
}

// unlinked: two records of one customer and one vendor share nothing but the vendor and
// the terms, so that two vendors could not tell that she is one.
func (h *house) unlinked(a, b string, e record.Entry) {
	h.t.Helper()
	long := regexp.MustCompile(`[0-9a-f]{16,}`)
	theirs := long.FindAllString(h.exported(h.her, "27560", b), -1)
	if !slices.Contains(theirs, e.Vendor.ID.String()) {
		h.t.Fatal("the check finds nothing that is the same")
	}
	for _, s := range long.FindAllString(h.exported(h.her, "27560", a), -1) {
		if slices.Contains(theirs, s) && s != e.Vendor.ID.String() && s != e.Vendor.Passport.String() && s != e.Terms.String() {
			h.t.Errorf("%s stands in both records", s)
		}
	}
}
