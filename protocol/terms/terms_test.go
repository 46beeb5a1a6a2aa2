package terms

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol"
)

// fair is a request that the rule grants, with what it is about.
func fair() (*protocol.Announcement, *protocol.Request, *protocol.Passport) {
	terms := protocol.Hash{7}
	a := &protocol.Announcement{
		Status: protocol.Open, Reason: protocol.ContextNeed, Region: "ZA-GP", Terms: terms,
		Fields: []protocol.FieldOnOffer{
			{Name: "location.area"},
			{Name: "contact.hours"},
			{Name: "financial.income-band", Floor: protocol.Money{Minor: 5000, Currency: "ZAR"}},
			{Name: "health.condition"}, {Name: "child.age"}, {Name: "future.thing"},
		},
	}
	r := &protocol.Request{
		Fields: []protocol.FieldAsk{
			{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30, Required: true},
			{Name: "contact.hours", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30},
		},
		Basis: protocol.BasisConsent, Rail: protocol.RailNone, Terms: terms, Until: 1000,
		Recipients: []string{"Acme"}, Countries: []protocol.Region{"ZA"},
		Notice: protocol.Notice{
			Source: "you", Consequence: "no offer", Law: "none demands it", Rights: "access, correction, objection",
			Complaints: "the Information Regulator",
		},
	}
	p := &protocol.Passport{Name: "Acme", Contact: "acme@example.org", Country: "ZA", Uses: []protocol.IntendedUse{
		{Purpose: protocol.PurposeOffer, Retention: 400, Fields: []protocol.FieldName{"location.area", "contact.hours", "financial.income-band",
			"health.condition", "child.age", "future.thing", "contact.email"}},
		{Purpose: protocol.PurposeResearch, Fields: []protocol.FieldName{"contact.hours"}},
	}}
	return a, r, p
}

// decide decides on a request that asks expressly for what is special.
func decide(a *protocol.Announcement, r *protocol.Request, p *protocol.Passport) Decision {
	return Decide(a, r, p, protocol.Particulars{Explicit: []protocol.FieldName{"health.condition", "child.age"}, Protection: "the law of Kenya"})
}

func TestTheRuleGrantsWhatIsOnOfferAndNoMore(t *testing.T) {
	a, r, p := fair()
	if d := decide(a, r, p); d != (Decision{Grant: true}) {
		t.Fatalf("a fair request: %+v", d)
	}
	want := []protocol.FieldGrant{
		{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30},
		{Name: "contact.hours", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30},
	}
	if diff := cmp.Diff(want, GrantFields(r)); diff != "" {
		t.Errorf("granted fields (-want +got):\n%s", diff)
	}
	r.Basis = protocol.BasisContract
	if d := decide(a, r, p); !d.Grant {
		t.Errorf("on a contract, to nobody else: %+v", d)
	}
	fields := r.Fields
	r.Fields = nil
	if d := decide(a, r, p); !d.Grant {
		t.Errorf("asking for nothing but the need itself: %+v", d)
	}
	r.Fields = fields
	p.Country, r.Countries = "KE", []protocol.Region{"KE", "ZA-WC"}
	if d := decide(a, r, p); !d.Grant {
		t.Errorf("to the vendor's own country, which it names: %+v", d)
	}
}

func TestTheRuleRefuses(t *testing.T) {
	type all struct {
		a *protocol.Announcement
		r *protocol.Request
		p *protocol.Passport
		m *protocol.Particulars
	}
	for _, c := range []struct {
		name, why, law string
		spoil          func(all)
	}{
		{"withdrawn", "withdrawn", "s11", func(x all) { x.a.Status = protocol.Withdrawn }},
		{"other terms", "terms", "s11(1)(a), s1 (consent", func(x all) { x.r.Terms[0]++ }},
		{"no terms", "terms", "s11(1)(a), s1 (consent", func(x all) { x.r.Terms = protocol.Hash{} }},
		{"legitimate interest", "consent", "s11(1)(a)", func(x all) { x.r.Basis = protocol.BasisLegitimate }},
		{"an obligation, law named", "consent", "s11(1)(a)", func(x all) { x.r.Basis, x.r.Notice.Law = protocol.BasisObligation, "FICA" }},
		{"no rail", "rail", "s11(1)(a), s1 (consent", func(x all) { x.r.Rail = 0 }},
		{"a rail that is not built", "rail", "s11(1)(a), s1 (consent", func(x all) { x.r.Rail = protocol.RailVoucher + 1 }},
		{"without end", "until when", "s14", func(x all) { x.r.Until = 0 }},
		{"not on offer", "contact.email is not on offer", "POPIA s10; GDPR art. 5(1)(c)", func(x all) { x.r.Fields[0].Name = "contact.email" }},
		{"twice", "twice", "s10", func(x all) { x.r.Fields[1] = x.r.Fields[0] }},
		{"unknown field", "future.thing", "s10", func(x all) { x.r.Fields[0].Name = "future.thing" }},
		{"special, though on offer", "special", "POPIA s26; GDPR art. 9", func(x all) { x.r.Fields[1].Name = "health.condition" }},
		{"child, though on offer", "child", "POPIA s34; GDPR art. 8", func(x all) { x.r.Fields[1].Name = "child.age" }},
		{"other purpose", "improve-products", "POPIA s13", func(x all) { x.r.Fields[1].Purpose = protocol.PurposeResearch }},
		{"coarser form", "value only", "s10", func(x all) { x.r.Fields[0].Form = protocol.FormCoarse }},
		{"credential", "value only", "s10", func(x all) { x.r.Fields[0].Form = protocol.FormCredential }},
		{"no form", "value only", "s10", func(x all) { x.r.Fields[0].Form = 0 }},
		{"kept too long", "367 days", "s14", func(x all) { x.r.Fields[0].Retention = MaxRetention + 1 }},
		{"below the floor", "at least ZAR 50.00", "s11(1)(a), s1 (consent", func(x all) { x.r.Fields[0].Name = "financial.income-band" }},
		{"floor in another currency", "at least", "s11(1)(a), s1 (consent", func(x all) {
			x.r.Fields[0].Name, x.r.Fields[0].Price = "financial.income-band", protocol.Money{Minor: 9000, Currency: "USD"}
		}},
		{"at the floor, but nothing pays it", "no rail", "s11(1)(a), s1 (consent", func(x all) {
			x.r.Fields[0].Name, x.r.Fields[0].Price = "financial.income-band", protocol.Money{Minor: 5000, Currency: "ZAR"}
		}},
		{"negative price", "no rail", "s11(1)(a), s1 (consent", func(x all) { x.r.Fields[0].Price.Minor = -1 }},
		{"passed on", `"Broker"`, "s15", func(x all) { x.r.Recipients = []string{"Acme", "Broker"} }},
		{"third country", `"US"`, "s72", func(x all) { x.r.Countries = []protocol.Region{"ZA", "US"} }},
		{"vendor abroad, unsaid", "for KE", "s18(1)(g)", func(x all) { x.p.Country = "KE" }},
		{"(a) no source", "comes from", "s18(1)(a)", func(x all) { x.r.Notice.Source = " " }},
		{"(b) no name", "its name", "s18(1)(b)", func(x all) { x.p.Name = "" }},
		{"(b) no contact", "its name", "s18(1)(b)", func(x all) { x.p.Contact = "" }},
		{"(c) no purpose", "purpose", "s18(1)(c)", func(x all) { x.r.Fields[1].Purpose = "" }},
		{"(d) no basis", "free not to", "s18(1)(d)", func(x all) { x.r.Basis = 0 }},
		{"(d) unknown basis", "free not to", "s18(1)(d)", func(x all) { x.r.Basis = 7 }},
		{"(e) no consequence", "what follows", "s18(1)(e)", func(x all) { x.r.Notice.Consequence = "" }},
		{"(f) obligation without law", "which law", "s18(1)(f)", func(x all) { x.r.Basis, x.r.Notice.Law = protocol.BasisObligation, "" }},
		{"(a) a field of no name", "which information", "s18(1)(a)", func(x all) { x.r.Fields[0].Name = "Area" }},
		{"(b) a name of blanks", "its name", "s18(1)(b)", func(x all) { x.p.Name = " " }},
		{"(d) no ground, and no field", "free not to", "s18(1)(d)", func(x all) { x.r.Basis, x.r.Fields = 0, nil }},
		{"(f) of no law, nothing is said", "or that none does", "s18(1)(f)", func(x all) { x.r.Notice.Law = " " }},
		{"(g) its own country untold", "in which country it is", "s18(1)(g)", func(x all) { x.p.Country = "" }},
		{"(g) no country at all", "its own at least", "s18(1)(g)", func(x all) { x.r.Countries = nil }},
		{"(h) an absent list of recipients", "itself by its name", "s18(1)(h)", func(x all) { x.r.Recipients = nil }},
		{"(h) an empty list of recipients", "itself by its name", "s18(1)(h)", func(x all) { x.r.Recipients = []string{} }},
		{"art. 13(1)(d), legitimate interests", "other than consent", "s11(1)(a)", func(x all) { x.r.Basis = protocol.BasisLegitimate }},
		{"(g) no such country", "countries", "s18(1)(g)", func(x all) { x.r.Countries[0] = "ZZ-9" }},
		{"(h) nameless recipient", "who receives", "s18(1)(h)", func(x all) { x.r.Recipients[0] = "" }},
		{"(g) no protection", "protects", "s18(1)(g)", func(x all) { x.r.Countries = append(x.r.Countries, "US"); x.m.Protection = "" }},
		{"(h) kept how long", "how many days", "s18(1)(h)", func(x all) { x.r.Fields[0].Retention = 0 }},
		{"unregistered purpose", "does not register", "POPIA s13", func(x all) { x.r.Fields[0].Purpose = protocol.PurposeResearch }},
		{"unregistered field", "does not register", "POPIA s13", func(x all) { x.r.Fields[0].Name = "identity.id-number" }},
		{"nothing registered", "does not register", "POPIA s13", func(x all) { x.p.Uses = nil }},
		{"longer than registered", "passport registers 20", "POPIA s13", func(x all) { x.p.Uses[0].Retention = 20 }},
		{"special, unmarked", "expressly", "POPIA s26", func(x all) { x.r.Fields[1].Name = "health.condition"; x.m.Explicit = nil }},
		{"child, unmarked", "expressly", "POPIA s26", func(x all) { x.r.Fields[1].Name = "child.age"; x.m.Explicit = x.m.Explicit[:1] }},
		{"(h) no rights", "her rights", "s18(1)(h)", func(x all) { x.r.Notice.Rights = "" }},
		{"(h) no regulator", "complain", "s18(1)(h)", func(x all) { x.r.Notice.Complaints = "" }},
	} {
		a, r, p := fair()
		m := &protocol.Particulars{Explicit: []protocol.FieldName{"health.condition", "child.age"}, Protection: "the law of Kenya"}
		c.spoil(all{a, r, p, m})
		d := Decide(a, r, p, *m)
		if d.Grant || !strings.Contains(d.Why, c.why) || !strings.Contains(d.Law, c.law) || d.Rule == "" || d.Ask != strings.Contains(c.name, "though on offer") {
			t.Errorf("%s: %+v, want a refusal with %q under %q", c.name, d, c.why, c.law)
		}
	}
	a, r, p := fair()
	for i, d := range []Decision{decide(nil, r, p), decide(a, nil, p), decide(a, r, nil)} {
		if d.Grant || d.Why == "" || d.Law == "" {
			t.Errorf("case %d without its subject: %+v", i, d)
		}
	}
}

func TestAnEmptyNoticeMissesEveryLetterThatApplies(t *testing.T) {
	_, r, p := fair()
	if got := MissingNotice(r, p, protocol.Particulars{}, "ZA"); got != nil {
		t.Fatalf("a complete notice misses %q", got)
	}
	r = &protocol.Request{Basis: protocol.BasisObligation, Fields: []protocol.FieldAsk{{}}, Countries: []protocol.Region{"?"}, Recipients: []string{""}}
	var letters string
	for _, m := range MissingNotice(r, &protocol.Passport{}, protocol.Particulars{}, "ZA") {
		letters += m[6:7]
	}
	if letters != "aabcefggghhhh" {
		t.Errorf("letters %q, want aabcefggghhhh", letters)
	}
	if got := MissingNotice(&protocol.Request{}, p, protocol.Particulars{}, "ZA"); !slices.Contains(got, "18(1)(d): whether she is free not to give it") {
		t.Errorf("without a basis: %q", got)
	}
}

// Whatever is asked, a grant never goes beyond what is on offer.
func TestNothingBeyondTheOfferIsEverGranted(t *testing.T) {
	names := []protocol.FieldName{"no.such", "contact.email"}
	for _, f := range protocol.Fields() {
		names = append(names, f.Name)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, r, p := fair()
		r.Fields = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) protocol.FieldAsk {
			return protocol.FieldAsk{
				Name:    rapid.SampledFrom(names).Draw(t, "name"),
				Purpose: rapid.SampledFrom([]protocol.Purpose{protocol.PurposeOffer, protocol.PurposeOffer, protocol.PurposeFulfil}).Draw(t, "purpose"),
				Form:    protocol.Form(rapid.IntRange(1, 2).Draw(t, "form")),
				Price:   protocol.Money{Minor: rapid.Int64Range(0, 1).Draw(t, "price"), Currency: "ZAR"},
			}
		}), 0, 3).Draw(t, "fields")
		if !decide(a, r, p).Grant {
			return
		}
		for _, f := range GrantFields(r) {
			info, _ := f.Name.Info()
			offered := slices.ContainsFunc(a.Fields, func(o protocol.FieldOnOffer) bool { return o.Name == f.Name && o.Floor.Minor == 0 })
			if !offered || info.Class != protocol.Ordinary || f.Form != protocol.FormValue || f.Price.Minor != 0 {
				t.Fatalf("granted %+v", f)
			}
		}
	})
}

func TestMisses(t *testing.T) {
	zar := func(minor int64) protocol.Money { return protocol.Money{Minor: minor, Currency: "ZAR"} }
	for _, c := range []struct {
		name string
		d    protocol.Demand
		o    protocol.Offer
		want []Miss
	}{
		{"nothing wanted", protocol.Demand{}, protocol.Offer{Price: zar(1)}, nil},
		{"at the limit", protocol.Demand{MaxPrice: zar(100)}, protocol.Offer{Price: zar(100)}, nil},
		{"over the limit", protocol.Demand{MaxPrice: zar(100)}, protocol.Offer{Price: zar(101)}, []Miss{Budget}},
		{"price on request", protocol.Demand{MaxPrice: zar(100), Currency: "ZAR"}, protocol.Offer{}, nil},
		{"other currency than the limit", protocol.Demand{MaxPrice: zar(100)}, protocol.Offer{Price: protocol.Money{Minor: 1, Currency: "USD"}}, []Miss{Currency}},
		{"other currency than wanted", protocol.Demand{Currency: "EUR"}, protocol.Offer{Price: zar(1)}, []Miss{Currency}},
		{"limit in a currency that does not compare", protocol.Demand{Currency: "EUR", MaxPrice: zar(5)}, protocol.Offer{Price: protocol.Money{Minor: 1, Currency: "EUR"}}, []Miss{Currency}},
		{"province within country", protocol.Demand{Region: "ZA-GP"}, protocol.Offer{Region: "ZA"}, nil},
		{"country around province", protocol.Demand{Region: "ZA"}, protocol.Offer{Region: "ZA-GP"}, nil},
		{"next province", protocol.Demand{Region: "ZA-GP"}, protocol.Offer{Region: "ZA-WC"}, []Miss{Region}},
		{"next country", protocol.Demand{Region: "ZA"}, protocol.Offer{Region: "NA"}, []Miss{Region}},
		{"region unsaid", protocol.Demand{Region: "ZA"}, protocol.Offer{}, nil},
		{"anywhere", protocol.Demand{}, protocol.Offer{Region: "NA"}, nil},
		{"as wanted", protocol.Demand{Condition: protocol.Used}, protocol.Offer{Condition: protocol.Used}, nil},
		{"used for new", protocol.Demand{Condition: protocol.NewCondition}, protocol.Offer{Condition: protocol.Used}, []Miss{Condition}},
		{"condition unsaid", protocol.Demand{Condition: protocol.NewCondition}, protocol.Offer{}, nil},
		{"one is one", protocol.Demand{Quantity: 1}, protocol.Offer{}, nil},
		{"more than wanted", protocol.Demand{Quantity: 2}, protocol.Offer{Quantity: 3}, nil},
		{"too few", protocol.Demand{Quantity: 3}, protocol.Offer{Quantity: 2}, []Miss{Quantity}},
		{"quantity unsaid is one", protocol.Demand{Quantity: 2}, protocol.Offer{}, []Miss{Quantity}},
		{"in time", protocol.Demand{NeededBy: 60}, protocol.Offer{ReadyBy: 60}, nil},
		{"late", protocol.Demand{NeededBy: 60}, protocol.Offer{ReadyBy: 61}, []Miss{NeededBy}},
		{"ready at once, still in time", protocol.Demand{NeededBy: 50}, protocol.Offer{}, nil},
		{"ready at once, already too late", protocol.Demand{NeededBy: 49}, protocol.Offer{}, []Miss{NeededBy}},
		{"all", protocol.Demand{MaxPrice: zar(1), Region: "ZA", Condition: 1, Quantity: 2, NeededBy: 1},
			protocol.Offer{Price: zar(2), Region: "NA", Condition: 2}, []Miss{Budget, Region, Condition, Quantity, NeededBy}},
	} {
		if got := Misses(c.d, &c.o, 50); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := []string{Budget.String(), NeededBy.String(), Miss(0).String(), Miss(9).String()}; !slices.Equal(got, []string{"budget", "needed-by", "miss-0", "miss-9"}) {
		t.Errorf("names %q", got)
	}
}
