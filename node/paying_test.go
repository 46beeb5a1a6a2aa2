package node_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record"
)

// TestDearerIsMetByHand: she answers dearer, the vendor's owner asks again at her price, and
// both sides tell the same of it, also to others: its price, its rail, and what is owed.
func TestDearerIsMetByHand(t *testing.T) {
	settled(t, "by hand", func(h *house) {
		ctx := context.Background()
		need, err := h.her.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "a lamp", Category: "home.furniture", Days: 7, Fields: map[string]int64{"location.area": 0}})
		if err != nil {
			t.Fatal(err)
		}
		request := func(m *nodetest.Member, state string) (found desk.Request) {
			t.Helper()
			h.w.Until(15*time.Minute, "a request that is "+state, func() (bool, error) {
				p, err := m.Customer().Requests().List(ctx, desk.Query{Context: need.ID, State: state})
				if len(p.Items) > 0 {
					found = p.Items[0]
				}
				return len(p.Items) == 1, err
			})
			return found
		}
		first := request(h.her, "waiting")
		if _, err := h.her.Customer().Requests().Grant(ctx, first.ID, desk.LessSpec{Price: map[string]int64{"location.area": 5001}}); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "hark consent credit") {
			t.Errorf("a price that no vendor may owe her: %v", err)
		}
		if _, err := h.her.Customer().Requests().Grant(ctx, first.ID, desk.LessSpec{Price: map[string]int64{"location.area": 500}}); err != nil {
			t.Fatal(err)
		}
		told := request(h.vendor, "countered")
		if len(told.Counter) != 1 || told.Counter[0].Price.Text != "ZAR 5.00" {
			t.Errorf("the vendor is told %+v", told.Counter)
		}
		for name, s := range map[string]desk.AskSpec{
			"a price of what is not asked for": {Price: map[string]int64{"contact.email": 1}},
			"a price below nothing":            {Price: map[string]int64{"location.area": -1}},
			"a currency that is none":          {Price: map[string]int64{"location.area": 1}, Currency: "XXQ"},
		} {
			s.Context = need.ID
			if _, err := h.vendor.Customer().Requests().Ask(ctx, s); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		asked, err := h.vendor.Customer().Requests().Ask(ctx, desk.AskSpec{Context: need.ID, Price: map[string]int64{"location.area": 500}})
		if err != nil || asked.Price.Text != "ZAR 5.00" {
			t.Fatalf("%+v, %v", asked.Price, err)
		}
		h.grant = asked.Grant
		h.until("the disclosure", func(g desk.Grant) bool { return g.State == "disclosed" })
		time.Sleep(time.Minute)
		g := h.show()
		its, err := h.vendor.Customer().Grants().Get(ctx, h.grant)
		if err != nil || g.Rail != "voucher" || g.Owed == nil || g.Owed.Text != "ZAR 5.00" || its.Owed == nil || *its.Owed != *g.Owed {
			t.Errorf("she is owed %+v on rail %q, the vendor owes %+v (%v)", g.Owed, g.Rail, its.Owed, err)
		}
		e := h.wantLife(h.grant, everyFormat, record.Requested, record.Given)
		if e.Price != (protocol.Money{Minor: 500, Currency: "ZAR"}) || e.Rail != protocol.RailVoucher {
			t.Errorf("others read %s on rail %d", e.Price, e.Rail)
		}
		odrl := h.exported(h.her, "odrl", h.grant)
		for _, words := range []string{`"compensate"`, `"5.00"`, "hark:Voucher"} {
			if !strings.Contains(odrl, words) {
				t.Errorf("the ODRL agreement lacks %s: %s", words, odrl)
			}
		}
		st, err := h.her.Admin().Status(ctx)
		if err != nil || len(st.Owed) != 1 || st.Owed[0].Owed.Minor != 500 || st.Owed[0].Most.Minor != 5000 || st.Owed[0].Side != "customer" || st.Owed[0].Grants != 1 {
			t.Errorf("status has %+v (%v)", st.Owed, err)
		}
		if g, err = h.her.Customer().Grants().Settle(ctx, h.grant[:12], "in cash"); err != nil || g.Owed != nil || g.Settled.IsZero() || g.SettledHow != "in cash" {
			t.Errorf("settled: %+v, %v", g, err)
		}
		if st, err = h.her.Admin().Status(ctx); err != nil || len(st.Owed) != 0 {
			t.Errorf("then status has %+v (%v)", st.Owed, err)
		}
		var file bytes.Buffer
		if err := h.her.Ledger().Evidence(ctx, h.grant, &file); err != nil || file.Len() == 0 {
			t.Errorf("evidence: %v", err)
		}
	})
}

// TestTheCreditIsHers: how much one vendor may owe is hers to say, by currency.
func TestTheCreditIsHers(t *testing.T) {
	settled(t, "credit", func(h *house) {
		ctx := context.Background()
		credit := func() (out []string) {
			v, err := h.her.Consent().Get(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range v.Credit {
				out = append(out, m.Text)
			}
			return out
		}
		if got := strings.Join(credit(), ", "); got != "ZAR 50.00" {
			t.Errorf("without a word of hers: %s", got)
		}
		for _, m := range []desk.Money{{Minor: 700, Currency: "ZAR"}, {Minor: 10, Currency: "JPY"}, {Minor: 0, Currency: "USD"}} {
			if _, err := h.her.Consent().Credit(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(credit(), ", "); got != "ZAR 7.00, JPY 10, USD 0.00" {
			t.Errorf("then: %s", got)
		}
		for _, m := range []desk.Money{{}, {Minor: -1, Currency: "ZAR"}, {Minor: 1, Currency: "XXQ"}} {
			if _, err := h.her.Consent().Credit(ctx, m); !errors.Is(err, fault.Malformed) {
				t.Errorf("%+v: %v", m, err)
			}
		}
		_, err := h.vendor.Vendor().Rules().Set(ctx, desk.Follow{Ask: true, Pay: desk.Money{Minor: 5, Currency: "ZAR"}, Owe: desk.Money{Minor: 5, Currency: "USD"}})
		if !errors.Is(err, fault.Malformed) {
			t.Errorf("paid in one currency, and bounded in another: %v", err)
		}
	})
}
