package figures

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// A scene is a small market in which everything held: two needs of two customers,
// two vendors that follow and a keeper. Each vendor makes two offers per grant, and
// one more under its first grant, after revocation.
type scene struct {
	views []View
	asked []Asked
}

const (
	ann, ben, north, south, keeper = 0, 1, 2, 3, 4
	began                          = int64(1_000_000)
)

func sound() *scene {
	s := &scene{views: []View{
		{name: "Ann", role: process.Customer}, {name: "Ben", role: process.Customer},
		{name: "North", role: process.Vendor, key: "k-north"}, {name: "South", role: process.Vendor, key: "k-south"},
		{name: "Keeper 1", role: process.Keeper, key: "k-keeper"},
	}}
	for c := range 2 {
		id := fmt.Sprintf("need-%d", c)
		s.asked = append(s.asked, Asked{Input: fmt.Sprintf("wish %d", c), ID: id, Customer: s.views[c].name})
		s.views[c].needs = []desk.Need{{ID: id, Kind: needKind, AnnouncedMS: began}}
		for v, vendor := range []int{north, south} {
			s.grant(c, vendor, id, fmt.Sprintf("grant-%d-%d", c, v), int64(10*(v+1)))
		}
	}
	for i, v := range []int{north, south} { // the late ones
		s.views[v].offers = append(s.views[v].offers, desk.Offer{ID: "late", Context: "need-0"})
		s.views[ann].grants[i].LateOffers = 1
	}
	for i := range s.views {
		v := &s.views[i]
		v.ledger = desk.LedgerReport{Entries: 10, OK: true, Device: "d"}
		v.sent = []desk.LetterReport{{ID: fmt.Sprintf("letter-%d", i), Receipts: []string{"k-north", "k-south", "k-keeper"}}}
		v.Audit = auditOf(v)
	}
	return s
}

// grant plays one grant through, on both sides.
func (s *scene) grant(c, vendor int, need, id string, ms int64) {
	cv, vv := &s.views[c], &s.views[vendor]
	times := desk.GrantTimes{Requested: began + ms, Granted: began + ms, Receipted: began + 2*ms, Disclosed: began + 2*ms, Revoked: began + 5000, Deleted: began + 5000 + ms}
	g := desk.Grant{ID: id, Context: need, VendorName: vv.name, State: "deleted", Disclosures: 1, Times: times}
	q := desk.Request{ID: "r" + id, Grant: id, Context: need, State: "deleted"}
	for _, v := range []*View{cv, vv} {
		v.grants, v.requests = append(v.grants, g), append(v.requests, q)
	}
	vv.board = append(vv.board, desk.Notice{ID: "a" + need, Context: need, HeardMS: began + ms, Bytes: 2800 + len(vv.board)})
	for rank := 1; rank <= 2; rank++ {
		o := desk.Offer{
			ID: fmt.Sprintf("%s-%d", id, rank), Grant: id, Context: need, Vendor: vv.name, VendorName: vv.name, Product: fmt.Sprint(rank), Title: "thing",
			Rank: rank, AtMS: began + 3*ms + int64(rank), Price: &desk.Money{Minor: ms * int64(rank), Currency: "ZAR"},
		}
		vv.offers = append(vv.offers, o)
		if rank == 2 && vendor == south {
			o.Price = nil
		}
		if rank == 2 && vendor == north {
			o.Misses = []string{"budget"}
		}
		cv.offers = append(cv.offers, o)
	}
	if vendor == north {
		d := desk.Deal{ID: id + "-1", State: "closed", Steps: []desk.Step{{Kind: "offer"}, {Kind: "accept"}, {Kind: "close"}}}
		cv.deals, vv.deals = append(cv.deals, d), append(vv.deals, d)
	}
}

// auditOf is what the home of a node says that hides nothing.
func auditOf(v *View) *node.AuditReport {
	c := tally(v)
	side := node.AuditSide{
		Requests: c.Requests, Grants: c.Grants, Refusals: c.Refusals, Receipts: c.Receipts, Disclosures: c.Disclosures, Offers: c.Offers,
		Missed: c.Missed, LateSeen: c.Late, LateOpened: c.LateOpened, Accepted: c.Accepted, Closed: c.Closed, Revoked: c.Revoked, Deletions: c.Deletions,
	}
	a := &node.AuditReport{Ledger: v.ledger, Announced: len(v.needs)}
	if v.role == process.Customer {
		a.AsCustomer = side
	} else {
		a.AsVendor = side
	}
	return a
}

func (s *scene) problems() []string {
	r := Compute(s.views, s.asked)
	r.Needs = len(s.asked)
	return Problems(s.views, s.asked, r)
}

func TestFiguresOfASoundMarket(t *testing.T) {
	s := sound()
	r := Compute(s.views, s.asked)
	r.Needs = 2
	want := Counts{
		Needs: 2, Announced: 2, ExpectedHeard: 4, Heard: 4, Requests: 4, Grants: 4, Receipts: 4, Disclosures: 4,
		Offers: 10, Opened: 6, Missed: 2, Accepted: 2, Closed: 2, Revoked: 4, Deletions: 4, Late: 2, LedgerEntries: 50, LedgersChecked: 5,
	}
	if d := cmp.Diff(want, r.Counts); d != "" {
		t.Error(d)
	}
	if r.Processes != 5 || r.Latency != (Latencies{Heard: Quantiles{10, 20}, Offer: Quantiles{31, 61}, Deletion: Quantiles{10, 20}}) {
		t.Errorf("%+v", r.Latency)
	}
	if r.Bytes.Announcement.Max != 2801 {
		t.Errorf("%+v", r.Bytes)
	}
	var got []string
	for _, a := range r.Answers {
		got = append(got, fmt.Sprintf("%s %s %s %d%s #%d", a.Need, a.Vendor, a.ProductID, a.PriceMinor, a.Currency, a.Rank))
	}
	want2 := []string{
		"wish 0 North 1 10ZAR #1", "wish 0 South 1 20ZAR #2", "wish 0 South 2 0 #3",
		"wish 1 North 1 10ZAR #1", "wish 1 South 1 20ZAR #2", "wish 1 South 2 0 #3",
	}
	if d := cmp.Diff(want2, got); d != "" {
		t.Error(d)
	}
	if p := s.problems(); len(p) != 0 {
		t.Errorf("a sound market has problems: %q", p)
	}
}

// What stands under no need is counted apart, and a practice that made up for a lapse is
// forgiven.
func TestFiguresBesideTheNeeds(t *testing.T) {
	s := sound()
	want := Compute(s.views, s.asked).Counts
	s.views[ann].needs = append(s.views[ann].needs, desk.Need{ID: "interest-1", Kind: "interest", AnnouncedMS: began}, desk.Need{ID: "relation-1", Kind: "relation"})
	s.views[ann].requests = append(s.views[ann].requests, desk.Request{ID: "q", Context: "interest-1", State: "refused"})
	s.views[ann].grants = append(s.views[ann].grants,
		desk.Grant{ID: "g1", Context: "interest-1", State: "deleted", By: "rule", Disclosures: 1},
		desk.Grant{ID: "g2", Context: "interest-1", State: "deleted", By: "person", Less: true, Updates: 2, Disclosures: 3},
		desk.Grant{ID: "g3", Context: "relation-1", State: "deleted", Vendor: "v-dentist", Updates: 1, Lapses: []string{"late"}, Times: desk.GrantTimes{Revoked: began, Deleted: began + 20000}})
	s.views[north].offers = append(s.views[north].offers, desk.Offer{ID: "o", Context: "interest-1"})
	s.views[north].board = append(s.views[north].board, desk.Notice{ID: "ai", Context: "interest-1", HeardMS: began + 1})
	s.views[ann].Audit, s.views[north].Audit = auditOf(&s.views[ann]), auditOf(&s.views[north])
	s.views[ann].Audit.Lapses, s.views[ann].Audit.Announced = []string{"late"}, 2
	s.views = append(s.views, View{name: "Dentist", role: process.Practice, vendor: "v-dentist", ledger: desk.LedgerReport{Entries: 10, OK: true, Device: "d"}})
	want.LedgerEntries, want.LedgersChecked = want.LedgerEntries+10, want.LedgersChecked+1
	r := Compute(s.views, s.asked)
	if d := cmp.Diff(want, r.Counts); d != "" {
		t.Error(d)
	}
	if r.Consent != (Consent{GrantedByRule: 1, GrantedLess: 1, Updates: 3, Lapses: 1}) || r.Latency.Deletion.P99 != 20 {
		t.Errorf("%+v, %+v", r.Consent, r.Latency)
	}
	if p := s.problems(); len(p) != 0 {
		t.Errorf("%q", p)
	}
}

func TestReportKeepsItsForm(t *testing.T) {
	raw, err := json.Marshal(Compute(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":"hark.demo/1","processes":0,"needs":0,"announced":0,"expected_heard":0,"heard":0,"requests":0,"grants":0,"refusals":0,` +
		`"receipts":0,"disclosures":0,"offers":0,"offers_opened":0,"offers_missed_constraints":0,"accepted":0,"closed":0,"revoked":0,"deletions":0,` +
		`"offers_after_revocation":0,"offers_after_revocation_opened":0,"ledger_entries":0,"ledgers_verified":0,"granted_by_rule":0,"granted_less":0,"updates":0,"lapses":0,"audits_ok":0,"latency_ms":{"announce_to_heard":` +
		`{"p50":0,"p99":0},"announce_to_offer":{"p50":0,"p99":0},"revoke_to_deletion":{"p50":0,"p99":0}},"bytes":{"announcement":{"p50":0,"max":0}},` +
		`"answers":[],"problems":[]}`
	if d := cmp.Diff(want, string(raw)); d != "" {
		t.Error(d)
	}
	raw, err = json.Marshal(Answer{})
	if err != nil || string(raw) != `{"need":"","need_id":"","vendor":"","product_id":"","product":"","price_minor":0,"currency":"","rank":0}` {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestQuantiles(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(100 - i)
	}
	for _, c := range []struct {
		values   []int64
		p50, p99 int64
	}{{nil, 0, 0}, {[]int64{7}, 7, 7}, {[]int64{9, 1}, 1, 9}, {[]int64{3, 1, 2}, 2, 3}, {hundred, 50, 99}} {
		if got := quantiles(slices.Clone(c.values)); got != (Quantiles{c.p50, c.p99}) {
			t.Errorf("%v: %+v", c.values, got)
		}
	}
}

// TestProblemsAreFound plants one violation at a time: each must be named, with who
// is to blame.
func TestProblemsAreFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(s *scene)
		want  string
	}{
		{"a vendor hears less", func(s *scene) { s.views[south].board = s.views[south].board[:1] }, "vendor South heard of 1 of 2 needs"},
		{"a need is not announced", func(s *scene) { s.views[ben].needs[0].AnnouncedMS = 0 }, "1 of 2 needs were announced"},
		{"nobody is granted access", func(s *scene) {
			s.asked = append(s.asked, Asked{"a third wish", "need-2", "Ben"})
		}, `no vendor was granted access to the need "a third wish" of customer Ben`},
		{"a request without an answer", func(s *scene) {
			s.views[ann].requests = append(s.views[ann].requests, desk.Request{Context: "need-0", State: "requested"})
		}, "5 requests, but 4 grants and 0 refusals"},
		{"a grant without a receipt", func(s *scene) { s.views[ann].grants[0].Times.Receipted = 0 }, "3 of 4 grants were countersigned"},
		{"a receipt without a disclosure", func(s *scene) { s.views[ann].grants[0].Disclosures = 0 }, "only 3 disclosures"},
		{"an offer is lost", func(s *scene) { s.views[ann].offers = s.views[ann].offers[1:] }, "vendors made 10 offers; 7 were opened"},
		{"a deal stays open", func(s *scene) { s.views[ann].deals[0].State = "fulfilled" }, "2 offers were accepted, but 1 deals closed"},
		{"a grant is not revoked", func(s *scene) { s.views[ann].grants[0].Times.Revoked = 0 }, "3 of 4 grants were revoked"},
		{"a deletion is missing", func(s *scene) { s.views[ann].grants[1].Times.Deleted = 0 }, "3 signed deletions for 4 grants"},
		{"a grant does not end", func(s *scene) { s.views[ann].grants[1].State = "revoked" },
			"grants of customer Ann that did not end with a signed deletion: grant-0-1 of vendor South is revoked"},
		{"nothing comes late", func(s *scene) { s.views[ann].grants[0].LateOffers, s.views[ann].grants[1].LateOffers = 0, 0 }, "nothing was shown about it"},
		{"an offer is opened after revocation", func(s *scene) { s.views[ann].grants[1].LateOpened = 1 },
			"customer Ann opened 1 offers under grants that she had revoked"},
		{"a field is leaked", func(s *scene) { s.views[ann].grants[1].Deleted = []string{"body key", "field health.blood-group"} },
			"customer Ann disclosed what was not granted, as 1 signed deletions of vendors name it: health.blood-group to vendor South"},
		{"a promise lapses", func(s *scene) { s.views[ben].grants[0].Lapses = []string{"no deletion by noon"} },
			"vendor North broke a promise to customer Ben: no deletion by noon"},
		{"a practice does not make up for its lapse", func(s *scene) {
			s.views = append(s.views, View{name: "Dentist", role: process.Practice, vendor: "v-dentist", ledger: s.views[ann].ledger})
			s.views[ben].grants = append(s.views[ben].grants, desk.Grant{ID: "grant-d", Context: "relation-1", Vendor: "v-dentist", VendorName: "Dentist", Lapses: []string{"no deletion by one"}})
		}, "vendor Dentist broke a promise to customer Ben: no deletion by one"},
		{"a ledger is forked", func(s *scene) {
			s.views[ben].ledger.OK, s.views[ben].ledger.Problems = false, []string{"the head of 7 entries is not a head of this ledger"}
		}, "the ledger of customer Ben is not sound: the head of 7 entries"},
		{"a ledger is not verified", func(s *scene) { s.views[keeper].ledger.OK = false }, "the ledger of keeper Keeper 1 is not sound"},
		{"a vendor keeps data", func(s *scene) {
			s.views[south].held = []desk.HeldRecord{{Grant: "grant-1-1", Fields: []string{"location.area"}, Keys: []string{"offer secret"}}}
		}, "vendor South signed that it deleted what it held, and still holds it, under 1 grants: grant-1-1 (location.area, offer secret)"},
		{"a home keeps data", func(s *scene) {
			s.views[north].Audit.HeldAfterDeletion = []node.AuditHeld{{Grant: "grant-0-0", Names: []string{"need"}}}
		}, "the home of vendor North still holds what it signed to have deleted, under 1 grants: grant-0-0 (need)"},
		{"a home keeps offer keys", func(s *scene) { s.views[ben].Audit.OfferKeysAfterEnd = []string{"grant-1-0"} },
			"the home of customer Ben still holds the keys to offers under 1 grants that are over, such as grant-1-0"},
		{"a home's ledger is damaged", func(s *scene) { s.views[south].Audit.Ledger.Problems = []string{"entry 3 was changed"} },
			"the ledger in the home of vendor South is not sound: entry 3 was changed"},
		{"a home disagrees", func(s *scene) { s.views[north].Audit.AsVendor.Receipts-- }, "vendor North: its API says 2 receipts, its home 1"},
		{"a home has another ledger", func(s *scene) { s.views[ann].Audit.Ledger.Entries = 9 }, "customer Ann: its API says 10 ledger entries, its home 9"},
		{"a keeper loses a letter", func(s *scene) {
			s.views[ann].read = []desk.LetterReport{{ID: "letter-2", Missing: []string{"k-south"}}}
		}, "vendor South signed receipts for 1 letters and did not have them when their readers came: letter-2"},
		{"a keeper alters a letter", func(s *scene) {
			s.views[north].read = []desk.LetterReport{{ID: "letter-0", Altered: []string{"k-keeper"}, Missing: []string{"k-keeper"}}}
		}, "keeper Keeper 1 signed receipts for 1 letters and handed out altered ones: letter-0"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s := sound()
			c.plant(s)
			if got := s.problems(); !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("%q is not among %q", c.want, got)
			}
		})
	}
}

// TestNoBlameWithoutProof: a letter that is missing where nobody signed for it
// convicts nobody, and a show that broke off blames nobody for what is unfinished.
func TestNoBlameWithoutProof(t *testing.T) {
	s := sound()
	s.views[ann].read = []desk.LetterReport{{ID: "unknown", Missing: []string{"k-south"}, Altered: []string{"k-north"}}}
	s.views[south].sent[0].Receipts = []string{"k-north"}
	s.views[ben].read = []desk.LetterReport{{ID: "letter-3", Missing: []string{"k-south"}}}
	if got := s.problems(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	s.views[ann].grants[0].State, s.views[ann].grants[0].Times.Deleted = "disclosed", 0
	s.views[south] = View{name: "South", role: process.Vendor} // it died
	if got := Blames(s.views); len(got) != 0 {
		t.Errorf("%q", got)
	}
	s.views[ben].grants[0].LateOpened = 2
	if got := Blames(s.views); len(got) != 1 || !strings.Contains(got[0], "customer Ben opened 2 offers") {
		t.Errorf("%q", got)
	}
}

func TestPagesAreReadToTheEnd(t *testing.T) {
	list := func(_ context.Context, q desk.Query) (desk.Page[int], error) {
		switch q.After {
		case "":
			return desk.Page[int]{Items: []int{1, 2}, Next: "b"}, nil
		case "b":
			return desk.Page[int]{Items: []int{3}}, nil
		}
		return desk.Page[int]{}, fmt.Errorf("page %q", q.After)
	}
	got, err := Pages(t.Context(), list, desk.Query{})
	if err != nil || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	endless := func(context.Context, desk.Query) (desk.Page[int], error) { return desk.Page[int]{Next: "x"}, nil }
	if _, err := Pages(t.Context(), endless, desk.Query{}); err == nil {
		t.Error("an endless list ended")
	}
}
