package consent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
)

// fair is a question about a request with which nothing is wrong.
func fair() terms.Question {
	return terms.Question{
		Request: terms.AboutRequest{OnOffer: true, PriceMet: true, Basis: "consent", Days: 7},
		Vendor:  terms.AboutVendor{ID: "ab", Name: "Veld & Vine", Country: "ZA", Registration: "2019/1", Passport: 1, Granted: 2, Refused: 1},
		Need:    terms.AboutNeed{Kind: "need", Name: "a couch", Category: "home.furniture", Sector: "home", Region: "ZA-GP", Auto: true},
		Price:   protocol.Money{Minor: 500, Currency: "ZAR"},
		Fields: []terms.AboutField{
			{Name: "location.area", Class: "ordinary", Purpose: "make-offer", Days: 30, OnOffer: true, Always: true},
			{Name: "contact.hours", Class: "ordinary", Purpose: "make-offer", Days: 60, OnOffer: true, Price: 500},
		},
	}
}

func allow(name, when string) terms.Rule {
	return terms.Rule{Name: name, Action: terms.Allow, When: when}
}

func TestConditions(t *testing.T) {
	for when, want := range map[string]bool{
		"true": true, "false": false,
		"request.on_offer && request.price_met":                      true,
		`vendor.name == "Veld & Vine" && vendor.country == "ZA"`:     true,
		`vendor.name.startsWith("Velt")`:                             false,
		`vendor.granted > 1 && vendor.lapses == 0`:                   true,
		`need.sector in ["home", "garden"]`:                          true,
		`need.category.matches("^home[.]")`:                          true,
		`price.minor >= 500 && price.currency == "ZAR"`:              true,
		`fields.all(f, f.class == "ordinary")`:                       true,
		`fields.exists(f, f.name == "contact.email")`:                false,
		`fields.exists(f, f.name == "contact.hours" && f.days > 30)`: true,
		`fields.all(f, f.always)`:                                    false,
		`size(fields) == 2 && fields[0].name == "location.area"`:     true,
		`request.days <= 7 && !request.special && !request.abroad`:   true,
		terms.OfferedRule.When:                                       true,
		terms.AlwaysRule.When:                                        false,
	} {
		s, err := Compile([]terms.Rule{allow("x", when)})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		if got := s.Judge(fair()); (got.Action == terms.Allow) != want || want && got.Rule.When != when {
			t.Errorf("%s: %+v, want %v", when, got, want)
		}
	}
}

func TestEveryWordIsKnown(t *testing.T) {
	for _, v := range variables {
		when := v.name + " == " + map[string]string{"bool": "true", "string": `""`, "int": "0"}[v.is.String()]
		s, err := Compile([]terms.Rule{allow("x", when)})
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if got := s.Judge(fair()); got.Why != "" {
			t.Errorf("%s: %+v", when, got)
		}
	}
	if words := Words(); len(words) != len(variables)+1 || !slices.Contains(words, "vendor.known bool") {
		t.Errorf("words %q", words)
	}
}

func TestTheMostRestrictiveWins(t *testing.T) {
	list := []terms.Rule{
		{Name: "b-yes", Action: terms.Allow, When: "true"}, {Name: "a-yes", Action: terms.Allow, When: "true"},
		{Name: "ask", Action: terms.AskHer, When: `vendor.refused > 0`}, {Name: "no", Action: terms.DenyAll, When: `vendor.country == "NA"`},
	}
	for range 2 {
		slices.Reverse(list) // the order means nothing
		s, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		q := fair()
		if v := s.Judge(q); v.Action != terms.AskHer || v.Rule.Name != "ask" {
			t.Errorf("%+v", v)
		}
		q.Vendor.Refused = 0
		if v := s.Judge(q); v.Action != terms.Allow || v.Rule.Name != "a-yes" {
			t.Errorf("%+v", v)
		}
		q.Vendor.Country = "NA"
		if v := s.Judge(q); v.Action != terms.DenyAll || v.Rule.Name != "no" {
			t.Errorf("%+v", v)
		}
	}
	if v := new(Set).Judge(fair()); v.Action != terms.Silent {
		t.Errorf("without a rule: %+v", v)
	}
}

func TestBadRulesAreRefusedWithTheirPlace(t *testing.T) {
	for when, want := range map[string]string{
		"vendor.nmae == 1":            "column 1",
		`vendor.name == "x`:           "line 1, column",
		"true &&\nvendr.known":        "line 2, column 1",
		"vendor.name":                 "gives string",
		"vendor.granted + 1":          "gives int",
		"vendor.granted == \"two\"":   "no matching overload",
		"fields.all(f, f.klass == 1)": "klass",
		"fields.all(f, f.days":        "line 1",
		"":                            "no condition",
		"[" + strings.Repeat("1,", 400) + "1].size() == 1":         "several rules",
		strings.Repeat("true || ", 200) + "true":                   "at most 1024",
		strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40): "several rules",
	} {
		_, err := Compile([]terms.Rule{allow("mine", when)})
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "mine") {
			t.Errorf("%.40q: %v, want %q", when, err, want)
		}
	}
	for name, list := range map[string][]terms.Rule{
		"two of one name": {allow("x", "true"), allow("x", "false")},
		"too many":        make([]terms.Rule, maxSet+1),
		"no name":         {allow("", "true")}, "a bad name": {allow("A b", "true")},
		"no action": {{Name: "x", When: "true"}}, "another action": {{Name: "x", Action: 9, When: "true"}},
	} {
		if _, err := Compile(list); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A rule that cannot be evaluated, or that costs too much, asks her; one that denies
// still denies.
func TestARuleThatFailsNeverAllows(t *testing.T) {
	dear := "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a+b+c+d > 0))))"
	for _, when := range []string{"fields[7].always", "vendor.granted / vendor.lapses > 1", dear} {
		for action, want := range map[terms.Action]terms.Action{terms.Allow: terms.AskHer, terms.AskHer: terms.AskHer, terms.DenyAll: terms.DenyAll} {
			s, err := Compile([]terms.Rule{{Name: "x", Action: action, When: when}, allow("y", "true")})
			if err != nil {
				t.Fatal(err)
			}
			if v := s.Judge(fair()); v.Action != want || v.Rule.Name != "x" || !strings.Contains(v.Why, "could not be evaluated") {
				t.Errorf("%s with %.30s: %+v", action, when, v)
			}
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, when := range []string{"true", `fields.all(f, f.class == "ordinary")`, `vendor.name.matches("a+b")`, "1/0 == 1", `[1,2].map(x, x*2).size() > price.minor`, "has(fields[0].name)"} {
		f.Add(when)
	}
	f.Fuzz(func(t *testing.T, when string) {
		s, err := Compile([]terms.Rule{allow("x", when)})
		if err != nil {
			return
		}
		if v := s.Judge(fair()); v.Action > terms.AskHer || v.Action == terms.AskHer && v.Why == "" {
			t.Errorf("%q: %+v", when, v)
		}
	})
}

// fifty are rules as people would write them; the last ones hold.
func fifty() (list []terms.Rule) {
	whens := []string{
		`vendor.name == "Shop %d"`, `vendor.country == "NA" && price.minor < %d`, `need.sector == "travel" && vendor.lapses > %d`,
		`fields.exists(f, f.name == "identity.id-number" && f.days > %d)`, `request.on_offer && vendor.known && vendor.granted > %d`,
	}
	for i := range 50 {
		list = append(list, terms.Rule{Name: fmt.Sprintf("rule-%02d", i), Action: terms.Action(1 + i%3), When: fmt.Sprintf(whens[i%5], i)})
	}
	list[49] = allow("rule-49", "request.on_offer && request.price_met && fields.all(f, f.class == \"ordinary\")")
	return list
}

// byHand is what the fifty rules say, written in Go: the floor.
func byHand(q *terms.Question) (v terms.Action) {
	for i := range 49 {
		holds := false
		switch i % 5 {
		case 0:
			holds = q.Vendor.Name == names[i]
		case 1:
			holds = q.Vendor.Country == "NA" && q.Price.Minor < int64(i)
		case 2:
			holds = q.Need.Sector == "travel" && q.Vendor.Lapses > int64(i)
		case 3:
			holds = slices.ContainsFunc(q.Fields, func(f terms.AboutField) bool { return f.Name == "identity.id-number" && f.Days > int64(i) })
		case 4:
			holds = q.Request.OnOffer && q.Vendor.Known && q.Vendor.Granted > int64(i)
		}
		if holds {
			v = max(v, terms.Action(1+i%3))
		}
	}
	if q.Request.OnOffer && q.Request.PriceMet && !slices.ContainsFunc(q.Fields, func(f terms.AboutField) bool { return f.Class != "ordinary" }) {
		v = max(v, terms.Allow)
	}
	return v
}

var names = func() (list [50]string) {
	for i := range list {
		list[i] = fmt.Sprintf("Shop %d", i)
	}
	return list
}()

// BenchmarkConsentRule is one decision over 50 rules, beside the same decision written
// in Go.
func BenchmarkConsentRule(b *testing.B) {
	s, err := Compile(fifty())
	if err != nil {
		b.Fatal(err)
	}
	q := fair()
	if got, want := s.Judge(q).Action, byHand(&q); got != want || got != terms.Allow {
		b.Fatalf("the rules say %s, Go says %s", got, want)
	}
	const rounds = 201 // short ones: on a machine that others use, most are then undisturbed
	var rules, floor []float64
	n := max(b.N/rounds, 1)
	b.ResetTimer()
	for range rounds {
		began := time.Now()
		for range n {
			s.Judge(q)
		}
		rules = append(rules, float64(time.Since(began).Nanoseconds())/1e3/float64(n))
		began = time.Now()
		for range n {
			byHand(&q)
		}
		floor = append(floor, float64(time.Since(began).Nanoseconds())/1e3/float64(n))
	}
	slices.Sort(rules)
	slices.Sort(floor)
	b.ReportMetric(rules[rounds/2], "us/op")
	b.ReportMetric(floor[rounds/2], "floor-us/op")
	b.ReportMetric(0, "ns/op")
}
