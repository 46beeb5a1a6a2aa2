package market

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// overBudget says what is wrong with the prompts that a customer got, as the moments in
// which she got them, and of whom.
func overBudget(list []records.Agreement, b Budget) (wrong []string) {
	for _, a := range list {
		at, of := a.Terms.Consent.PromptedMS, 0
		all := 0
		for _, other := range list {
			if o := other.Terms.Consent.PromptedMS; o > 0 && o <= at && o > at-dayMS {
				all++
				if other.Vendor == a.Vendor {
					of++
				}
			}
		}
		if at > 0 && (all > b.Day || of > b.Vendor) {
			wrong = append(wrong, fmt.Sprintf("within a day %d prompts, %d of them of vendor %s", all, of, a.Vendor.Short()))
		}
	}
	return wrong
}

// TestMust_prompt_budget: no vendor, and no crowd of vendors, makes her node tell her of
// requests more often than she said; who floods uses up its own prompts, and those that
// she knows are heard all the same.
func TestMust_prompt_budget(t *testing.T) {
	flood := func(w *town, n int) (need protocol.ContextID) {
		need = w.wish("location.area")
		for range n {
			if _, opened := w.guest(nil).asks(w, need, protocol.Particulars{}, nil); !opened {
				w.Fatal("a guest's request was not taken")
			}
		}
		return need
	}
	in(t, func(w *town) { // the defence is off
		w.ok(w.her.SetBudget(w.Context(), Budget{Day: MaxPrompts, Vendor: MaxPrompts}))
		flood(w, 12)
		waiting, prompts := w.her.waitingOf()
		if prompts != 12 || len(overBudget(waiting, DefaultBudget)) == 0 {
			t.Fatalf("without a budget %d prompts of 12, and the check finds nothing", prompts)
		}
	})
	for _, b := range []Budget{DefaultBudget, {Day: 2, Vendor: 1, Known: 1}, {}} {
		in(t, func(w *town) {
			w.agree() // she knows the shop
			w.ok(w.her.SetBudget(w.Context(), b))
			crowd := 60
			need := flood(w, crowd)
			_, prompts := w.her.waitingOf()
			if prompts != b.Day-b.Known {
				t.Errorf("a crowd of strangers made %d prompts, their share is %d", prompts, b.Day-b.Known)
			}
			h := must(w.shop.Announcement(w.Context(), need))
			w.grant = must(w.shop.Ask(w.Context(), h, []protocol.FieldAsk{askField(h.A().Fields[0])}, h.A().Expires))
			w.settle()
			waiting, prompts := w.her.waitingOf()
			if told := w.her.agreement(w.grant).Terms.Consent.PromptedMS > 0; told != (b.Known > 0) {
				t.Errorf("after the flood a request of a vendor that she knows is told of: %v", told)
			}
			if wrong := overBudget(waiting, b); len(wrong) > 0 || len(waiting) != crowd+1 {
				t.Errorf("%d requests wait, %d prompts: %v", len(waiting), prompts, wrong)
			}
			t.Logf("budget %d a day, %d of it for vendors that she knows: %d requests of %d strangers made %d prompts, and one of a vendor that she knows %d more",
				b.Day, b.Known, crowd, crowd, b.Day-b.Known, prompts-(b.Day-b.Known))
			if b.Day == 0 {
				return
			}
			time.Sleep(25 * time.Hour) // a day later there are prompts again
			next := w.wish("location.area")
			id, _ := w.guest(nil).asks(w, next, protocol.Particulars{}, nil)
			if w.her.agreement(id).Terms.Consent.PromptedMS == 0 {
				t.Error("a day later there is no prompt")
			}
		})
	}
	in(t, func(w *town) { // one vendor, in many of her needs
		g, stranger := w.guest(nil), w.guest(nil)
		var last protocol.ContextID
		for range 30 {
			last = w.wish("location.area")
			g.asks(w, last, protocol.Particulars{}, nil)
			g.rotate2(w)
		}
		_, prompts := w.her.waitingOf()
		if prompts != DefaultBudget.Vendor {
			t.Errorf("one vendor made %d prompts", prompts)
		}
		id, _ := stranger.asks(w, last, protocol.Particulars{}, nil)
		if w.her.agreement(id).Terms.Consent.PromptedMS == 0 {
			t.Error("the flood used up the prompts of another vendor")
		}
		t.Logf("30 requests of one vendor, under passports that it rotates: %d prompt; another vendor's request the same day is told of", prompts)
	})
}

// rotate2 rotates the guest's passport as long as its chain fits into a request.
func (g *guest) rotate2(w *town) {
	if len(g.chain) < 3 {
		g.rotate(w)
	}
}

// A verdictOf is what came of a request: the rule and the law that were named.
type verdictOf struct{ rule, law, why string }

// section is how a law is named: the act and, in it, a section or an article.
var section = regexp.MustCompile(`^(POPIA s[0-9]+(\([0-9a-z]+\))*|GDPR art\. [0-9]+(\([0-9a-z]+\))*)`)

// lawful: whatever a text names between semicolons is a section of POPIA or an article of
// the GDPR.
func lawful(law string) bool {
	for _, part := range strings.Split(law, "; ") {
		if !section.MatchString(part) {
			return false
		}
	}
	return true
}

// nameless says which reasons name no rule, no law, or the rule of another, and which
// nobody provokes.
func nameless(list []terms.Reason, name func(terms.Reason) (rule, law string), provoke map[terms.Reason]func(*town) verdictOf) (wrong []string) {
	rules := map[string]terms.Reason{}
	for _, r := range list {
		rule, law := name(r)
		if rule == "" || !lawful(law) {
			wrong = append(wrong, fmt.Sprintf("reason %d names rule %q and law %q", r, rule, law))
		}
		if other, ok := rules[rule]; ok && rule != "" {
			wrong = append(wrong, fmt.Sprintf("reasons %d and %d name one rule", other, r))
		}
		rules[rule] = r
		if provoke[r] == nil {
			wrong = append(wrong, fmt.Sprintf("nobody provokes reason %d, %s", r, rule))
		}
	}
	return wrong
}

// decided reads what her node noted about a request, and what the vendor was told where
// it was refused.
func (w *town) decided(id protocol.GrantID, opened bool) verdictOf {
	w.Helper()
	if !opened {
		w.Fatal("the request was not taken")
	}
	a := w.her.agreement(id)
	v := verdictOf{a.Terms.Consent.Rule, a.Terms.Law, a.Terms.Why}
	if a.Flow.State != flow.Refused {
		return v
	}
	var entry map[string]string
	err := w.her.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		list, err := w.her.cfg.Stores.Ledger.List(r, 0, 500, "refusal.sent")
		for _, e := range list {
			var body map[string]string
			if err := jsonUnmarshal(e.Body, &body); err != nil {
				return err
			}
			if body["grant"] == id.String() {
				entry = body
			}
		}
		return err
	})
	w.ok(err)
	if entry["rule"] != v.rule || entry["law"] != v.law || entry["why"] != v.why || entry["notice"] == "" || entry["by"] == "" {
		w.Errorf("the ledger says %v of %+v", entry, v)
	}
	return v
}

// provoked makes a provocation of a change to a request.
func provoked(more protocol.Particulars, pass func(*protocol.Passport), change func(*protocol.Request), fields ...protocol.FieldName) func(*town) verdictOf {
	return func(w *town) verdictOf {
		w.Helper()
		if len(fields) == 0 {
			fields = []protocol.FieldName{"location.area", "contact.hours"}
		}
		return w.decided(w.guest(pass).asks(w, w.wish(fields...), more, change))
	}
}

// pure makes one of a change that no wire carries, or no board.
func pure(change func(*protocol.Announcement, *protocol.Request, *protocol.Passport)) func(*town) verdictOf {
	return func(*town) verdictOf {
		area := protocol.FieldAsk{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30}
		a := &protocol.Announcement{Status: protocol.Open, Region: "ZA", Terms: protocol.Hash{1},
			Fields: []protocol.FieldOnOffer{{Name: "location.area"}, {Name: "future.thing"}, {Name: "financial.income", Floor: protocol.Money{Minor: 100, Currency: "ZAR"}}}}
		p := &protocol.Passport{Name: "x", Contact: "y", Country: "ZA", Uses: []protocol.IntendedUse{
			{Purpose: protocol.PurposeOffer, Fields: []protocol.FieldName{"location.area", "future.thing", "financial.income"}}}}
		r := &protocol.Request{
			Fields: []protocol.FieldAsk{area}, Basis: protocol.BasisConsent, Terms: a.Terms, Rail: protocol.RailNone, Until: 9,
			Notice: notice(p), Recipients: []string{"x"}, Countries: []protocol.Region{"ZA"},
		}
		change(a, r, p)
		if r.Rail == 0 {
			r = nil
		}
		d := terms.Decide(a, r, p, protocol.Particulars{})
		return verdictOf{d.Rule, d.Law, d.Why}
	}
}

// refusalsOf has for each reason what leads to it.
var refusalsOf = map[terms.Reason]func(*town) verdictOf{
	terms.Undecidable:  pure(func(_ *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) { r.Rail = 0 }),
	terms.Untold:       provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Notice.Rights = "" }),
	terms.Unregistered: provoked(protocol.Particulars{}, func(p *protocol.Passport) { p.Uses = nil }, nil),
	terms.Withdrawn: pure(func(a *protocol.Announcement, _ *protocol.Request, _ *protocol.Passport) {
		a.Status = protocol.Withdrawn
	}),
	terms.OtherTerms:  provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Terms[0]++ }),
	terms.OtherGround: provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Basis = protocol.BasisVital }),
	terms.UnbuiltRail: pure(func(_ *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) {
		r.Rail = protocol.RailVoucher + 1
	}),
	terms.NoEnd:      provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Until = 0 }),
	terms.NotOnOffer: provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Fields[0].Name = "contact.email" }),
	terms.TwiceNamed: pure(func(_ *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) {
		r.Fields = append(r.Fields, r.Fields[0])
	}),
	terms.UnknownClass: pure(func(_ *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) {
		r.Fields[0].Name = "future.thing"
	}),
	terms.Unmarked: provoked(protocol.Particulars{}, registers("health.allergy"), nil, "health.allergy"),
	terms.OtherPurpose: provoked(protocol.Particulars{}, func(p *protocol.Passport) {
		p.Uses = append(p.Uses, protocol.IntendedUse{Purpose: protocol.PurposeResearch, Fields: []protocol.FieldName{"location.area"}})
	}, func(r *protocol.Request) { r.Fields[0].Purpose = protocol.PurposeResearch }),
	terms.OtherForm: provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Fields[0].Form = protocol.FormPredicate }),
	terms.TooLong: provoked(protocol.Particulars{}, func(p *protocol.Passport) { p.Uses[0].Retention = 0 }, func(r *protocol.Request) {
		r.Fields[0].Retention = terms.MaxRetention + 1
	}),
	terms.TooCheap: pure(func(_ *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) {
		r.Fields[0].Name = "financial.income"
	}),
	terms.OverCredit: provoked(protocol.Particulars{}, nil, func(r *protocol.Request) {
		r.Rail, r.Fields[0].Price = protocol.RailVoucher, protocol.Money{Minor: 5001, Currency: "ZAR"}
	}),
	terms.Unpaid: func(w *town) verdictOf {
		w.costs(500)
		real := w.until(protocol.KindReceipt)
		w.her.refused(real.Box, w.forged(func(r *protocol.Receipt) { r.Payment.Amount.Minor-- }))
		a := w.her.agreement(w.grant)
		return verdictOf{w.her.last("payment.refused")["rule"], a.Terms.Law, a.Terms.Why}
	},
	terms.PassedOn: provoked(protocol.Particulars{}, nil, func(r *protocol.Request) { r.Recipients = []string{"Broker"} }),
	terms.Abroad: provoked(protocol.Particulars{Protection: "a contract"}, nil, func(r *protocol.Request) {
		r.Countries = []protocol.Region{"US"}
	}),
	terms.FieldNever: func(w *town) verdictOf {
		never := terms.FieldRule{Will: terms.Never}
		need := w.wish("location.area")
		w.vaultRule("location.area", vault.Change{Rule: &never})
		return w.decided(w.guest(nil).asks(w, need, protocol.Particulars{}, nil))
	},
	terms.AskedBefore: func(w *town) verdictOf {
		need, g := w.wish("location.area"), w.guest(nil)
		id, _ := g.asks(w, need, protocol.Particulars{}, nil)
		w.ok(w.her.Refuse(context.Background(), id, "no"))
		g.rotate(w) // under another passport it is the same vendor
		return w.dropped(g, need)
	},
	terms.Blocked: func(w *town) verdictOf {
		need, g := w.wish("location.area"), w.guest(nil)
		w.ok(w.her.Block(context.Background(), g.id, true))
		return w.dropped(g, need)
	},
	terms.HerRule: func(w *town) verdictOf {
		w.ok(w.her.AddRule(context.Background(), terms.Rule{Name: terms.HerRule.Rule(), Action: terms.DenyAll, When: "request.days < 100"}))
		return w.decided(w.guest(nil).asks(w, w.wish("location.area"), protocol.Particulars{}, nil))
	},
	terms.HerWord: func(w *town) verdictOf {
		id, opened := w.guest(nil).asks(w, w.wish("location.area"), protocol.Particulars{}, nil)
		w.ok(w.her.Refuse(context.Background(), id, "not you"))
		return w.decided(id, opened)
	},
	terms.SpecialIsHers: provoked(protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy"}}, registers("health.allergy"), nil, "health.allergy"),
	terms.ChildIsHers:   provoked(protocol.Particulars{Explicit: []protocol.FieldName{"child.age"}}, registers("child.age"), nil, "child.age"),
}

func registers(name protocol.FieldName) func(*protocol.Passport) {
	return func(p *protocol.Passport) {
		p.Uses = []protocol.IntendedUse{{Purpose: protocol.PurposeOffer, Fields: []protocol.FieldName{name}}}
	}
}

func (w *town) vaultRule(name protocol.FieldName, c vault.Change) {
	w.Helper()
	w.ok(w.her.cfg.Stores.KV.Update(context.Background(), func(tx kv.Tx) error {
		_, _, err := w.her.cfg.Stores.Vault.Put(tx, name, c, 2)
		return err
	}))
}

// dropped sends a request of which nothing is kept, and reads the reason that her node
// gives to itself alone.
func (w *town) dropped(g *guest, need protocol.ContextID) (v verdictOf) {
	w.Helper()
	before, said := len(w.her.kept()), len(w.her.entries())
	id, opened := g.asks(w, need, protocol.Particulars{}, nil)
	if opened || len(w.her.kept()) != before || len(w.her.entries()) != said {
		w.Errorf("something was kept of a request that is dropped (opened %v)", opened)
	}
	err := w.her.Do(context.Background(), "look", func(t *turn) error {
		if err := t.blocked(g.id); err != nil {
			return err
		}
		_, err := t.onlyOnce(need, g.id, id)
		return err
	})
	if !errors.Is(err, fault.Denied) {
		w.Fatalf("it is dropped for %v", err)
	}
	for _, r := range []terms.Reason{terms.Blocked, terms.AskedBefore} {
		if strings.Contains(err.Error(), r.Rule()) && strings.Contains(err.Error(), r.Law()) {
			v = verdictOf{r.Rule(), r.Law(), err.Error()}
		}
	}
	return v
}

// TestMust_says_why: each way in which a request is refused, or kept from being granted by
// a rule, names the rule and the law that it stands on, to her, in her ledger, and, where
// the vendor is answered, to the vendor.
func TestMust_says_why(t *testing.T) {
	planted := func(r terms.Reason) (string, string) {
		switch r {
		case terms.Abroad:
			return "not-abroad", ""
		case terms.TooCheap:
			return r.Rule(), "her terms"
		case terms.TooLong:
			return r.Rule(), r.Law() + "; as agreed"
		case terms.NoEnd:
			return terms.Untold.Rule(), "x"
		}
		return r.Rule(), r.Law()
	}
	if wrong := nameless(append(terms.Reasons(), 99), planted, refusalsOf); len(wrong) != 7 { // 99 names nothing, and nobody provokes it
		t.Fatalf("of seven planted faults these were found: %q", wrong)
	}
	name := func(r terms.Reason) (string, string) { return r.Rule(), r.Law() }
	for _, wrong := range nameless(terms.Reasons(), name, refusalsOf) {
		t.Error(wrong)
	}
	for _, r := range terms.Reasons() {
		in(t, func(w *town) {
			got := refusalsOf[r](w)
			law := strings.HasPrefix(got.law, strings.SplitN(r.Law(), ";", 2)[0]) || r == terms.Untold && strings.HasPrefix(got.law, "POPIA s18(1)(")
			if got.rule != r.Rule() || !law || !lawful(got.law) || got.why == "" {
				t.Errorf("%s under %s: it says %+v", r.Rule(), r.Law(), got)
			}
		})
	}
	t.Logf("%d reasons, each provoked, each with its rule and the section or article that it stands on", len(terms.Reasons()))
}

// The vendor reads the same words as she.
func TestTheVendorIsToldWhy(t *testing.T) {
	in(t, func(w *town) {
		w.ok(w.her.AddRule(w.Context(), terms.Rule{Name: "not-them", Action: terms.DenyAll, When: `vendor.name == "Veld & Vine"`}))
		w.ask()
		w.settle()
		a := w.shop.agreement(w.grant)
		if a.Flow.State != flow.Refused || !strings.Contains(a.Terms.Why, "not-them") || a.Terms.Law != terms.HerRule.Law() {
			t.Errorf("%s: %q under %q", a.Flow.State, a.Terms.Why, a.Terms.Law)
		}
		if !slices.Contains(w.her.entries(), "refusal.sent") {
			t.Error("the ledger has no refusal")
		}
	})
}
