package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

func TestCategoriesShipped(t *testing.T) {
	l, err := ParseCategories(categoryFile)
	if err != nil {
		t.Fatal(err)
	}
	if Categories().Digest() != l.Digest() || l.Version() != 1 {
		t.Fatalf("Categories() is not the embedded list, version %d", l.Version())
	}
	if n := len(l.Sectors()); n < 25 {
		t.Errorf("%d sectors", n)
	}
	if n := len(l.All()); n < 250 {
		t.Errorf("%d categories", n)
	}
	kinds := map[string]int{}
	titles := map[string]Category{}
	for _, i := range l.All() {
		kinds[i.Kind]++
		if other, twice := titles[i.Title]; twice {
			t.Errorf("%s and %s have one title", other, i.Code)
		}
		titles[i.Title] = i.Code
		if !l.Has(i.Code) || !i.Code.WellFormed() {
			t.Errorf("%s", i.Code)
		}
		for _, w := range i.Words { // a category must hear its own words
			if i.Code != Unspecified && len(words(w)) > 0 && !slices.Contains(l.Suggest(w, 400), i.Code) {
				t.Errorf("%s doesn't hear %q", i.Code, w)
			}
		}
	}
	if kinds["goods"] < 80 || kinds["service"] < 80 || kinds["both"] < 20 {
		t.Errorf("goods and services out of balance: %v", kinds)
	}
	for _, c := range []Category{"home.furniture", "insurance.motor", "telecom.mobile-contract", Unspecified} {
		if !l.Has(c) {
			t.Errorf("no %s", c)
		}
	}
}

func TestCategoryListAnswers(t *testing.T) {
	l := Categories()
	if got := Category("insurance.motor").Sector(); got != "insurance" {
		t.Errorf("sector %q", got)
	}
	i, ok := l.Info("home.furniture")
	if !ok || i.Title != "Furniture" || i.Kind != "goods" || !slices.Contains(i.Words, "couch") {
		t.Errorf("info %+v", i)
	}
	i.Words[0] = "changed"
	l.All()[0].Words[0] = "changed"
	if i, _ = l.Info("home.furniture"); i.Words[0] == "changed" || l.All()[0].Words[0] == "changed" {
		t.Error("a caller changed the list")
	}
	if _, ok := l.Info("home.nothing"); ok || l.Has("home") || l.Has("") {
		t.Error("it knows what it does not know")
	}
	if !slices.IsSorted(l.Sectors()) || len(slices.Compact(l.Sectors())) != len(l.Sectors()) {
		t.Error("sectors")
	}
	if l.Digest() != sha256.Sum256(categoryFile) {
		t.Error("digest")
	}
	want, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: 0x12, MhLength: 32}.Sum(categoryFile)
	if err != nil || !l.CID().Equals(want) {
		t.Errorf("CID %s, want %s, %v", l.CID(), want, err)
	}
}

func TestCategoryListRefused(t *testing.T) {
	const head, last = "hark-categories\t1\n", "other.unspecified\tAnything else\tunspecified\tboth\n"
	row := "home.bed\tBeds\tbed,double bed\tgoods\n"
	if _, err := ParseCategories([]byte(head + row + last)); err != nil {
		t.Fatal(err)
	}
	many := strings.Builder{}
	for i := range maxCategories + 1 {
		fmt.Fprintf(&many, "a.b%05d\tT\tw\tgoods\n", i)
	}
	for name, raw := range map[string]string{
		"empty":            "",
		"no end of line":   strings.TrimSuffix(head+row+last, "\n"),
		"no head":          row + last,
		"version 0":        strings.Replace(head, "1", "0", 1) + last,
		"version 01":       strings.Replace(head, "1", "01", 1) + last,
		"version -1":       strings.Replace(head, "1", "-1", 1) + last,
		"version words":    strings.Replace(head, "1", "one", 1) + last,
		"no unspecified":   head + row,
		"twice":            head + row + row + last,
		"out of order":     head + last + row,
		"three columns":    head + "home.bed\tBeds\tbed\n" + last,
		"five columns":     head + "home.bed\tBeds\tbed\tgoods\tx\n" + last,
		"no dot":           head + "home\tBeds\tbed\tgoods\n" + last,
		"two dots":         head + "home.bed.red\tBeds\tbed\tgoods\n" + last,
		"capitals":         head + "home.Bed\tBeds\tbed\tgoods\n" + last,
		"long code":        head + "home." + strings.Repeat("b", 44) + "\tBeds\tbed\tgoods\n" + last,
		"kind":             head + "home.bed\tBeds\tbed\tthing\n" + last,
		"no title":         head + "home.bed\t\tbed\tgoods\n" + last,
		"no words":         head + "home.bed\tBeds\t\tgoods\n" + last,
		"space in words":   head + "home.bed\tBeds\tbed, cot\tgoods\n" + last,
		"too many words":   head + "home.bed\tBeds\ta" + strings.Repeat(",a", MaxList) + "\tgoods\n" + last,
		"control":          head + "home.bed\tBeds\x01\tbed\tgoods\n" + last,
		"carriage return":  strings.ReplaceAll(head+row+last, "\n", "\r\n"),
		"no UTF-8":         head + "home.bed\tBeds\xff\tbed\tgoods\n" + last,
		"empty line":       head + "\n" + row + last,
		"too many rows":    head + many.String() + last,
		"too many bytes":   head + strings.Repeat("x", maxCategoryFile) + "\n" + last,
		"byte order mark":  "\ufeff" + head + row + last,
		"title of a novel": head + "home.bed\t" + strings.Repeat("B", 81) + "\tbed\tgoods\n" + last,
	} {
		if _, err := ParseCategories([]byte(raw)); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// naturalTexts are needs as people write them, with the categories that are fair
// (separated by spaces).
var naturalTexts = []struct{ text, fair string }{
	{"I need a 3 seater couch for my lounge, grey or beige", "home.furniture"},
	{"funeral cover for me and my parents, R20 000", "insurance.funeral"},
	{"someone to drill a borehole on our plot outside Polokwane", "water.boreholes"},
	{"minibus taxi for 14 people to a wedding in Umtata", "transport.minibus-hire"},
	{"prepaid data bundles 20GB monthly", "telecom.data-bundles"},
	{"burst pipe in the bathroom, plumber urgently", "trades.plumbers"},
	{"cheap car insurance for a 2014 hatchback", "insurance.motor"},
	{"school shoes and uniform for grade 4", "education.school-uniforms"},
	{"domestic worker two days a week", "household.domestic-help"},
	{"solar panels and battery for load-shedding", "energy.solar energy.inverters-batteries"},
	{"nguni cattle, 5 heifers", "agriculture.livestock"},
	{"maths tutor for matric", "education.tutoring"},
	{"second hand fridge freezer", "appliances.fridges"},
	{"a used laptop for a student with 16 GB RAM", "computing.laptops"},
	{"room to rent near the university", "property.rooms-rent property.student-housing"},
	{"join a stokvel for december groceries", "finance.stokvels"},
	{"cellphone contract with a smartphone and 10 GB", "telecom.mobile-contract"},
	{"flight to London in July, two adults", "travel.flights"},
	{"my washing machine leaks, who repairs it?", "appliances.repair appliances.laundry"},
	{"braids for saturday", "beauty.hair-braiding"},
	{"divorce lawyer", "legal.family legal.attorneys"},
	{"new tyres for a bakkie 265/65R17", "vehicles.tyres"},
	{"birthday cake with a dinosaur", "events.cakes"},
	{"twin bed frame", "home.beds-mattresses"},
	{"fumigation for cockroaches and bed bugs", "household.pest-control"},
}

func TestCategorySuggest(t *testing.T) {
	l := Categories()
	for _, c := range naturalTexts {
		got := l.Suggest(c.text, 3)
		if len(got) == 0 || !slices.Contains(strings.Fields(c.fair), string(got[0])) {
			t.Errorf("%q: %v, want %s first", c.text, got, c.fair)
		}
	}
	for _, text := range []string{"", "   ", "for the and", "zxqv wgtrf", "!!!"} {
		if got := l.Suggest(text, 3); len(got) != 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
	if l.Suggest("couch", 0) != nil || l.Suggest("couch", -1) != nil {
		t.Error("none asked for, some given")
	}
	if got := l.Suggest(strings.Repeat("couch ", 1_000_000), 1); len(got) != 1 || got[0] != "home.furniture" {
		t.Errorf("a long text: %v", got)
	}
}

func TestCategoryNear(t *testing.T) {
	l := Categories()
	for code, want := range map[string]Category{
		"home.furnture": "home.furniture", "Insurance.Motor": "insurance.motor", "home.fridges": "appliances.fridges",
		"telecom.mobile-contracts": "telecom.mobile-contract", "insurance.car": "insurance.motor", "water.borehole": "water.boreholes",
	} {
		if got := l.Near(code, 3); len(got) == 0 || got[0] != want {
			t.Errorf("%s: %v, want %s first", code, got, want)
		}
	}
	if got := l.Near("qqqqqqqq.zzzzzzzzzz", 3); len(got) != 0 {
		t.Errorf("nothing is near, got %v", got)
	}
	if l.Near("home.furniture", 0) != nil || len(l.Near("home.bed", 2)) != 2 {
		t.Error("count")
	}
}

func TestCategorySingular(t *testing.T) {
	for many, one := range map[string]string{"batteries": "battery", "boxes": "box", "dresses": "dress", "tyres": "tyre", "watches": "watch",
		"potatoes": "potato", "bus": "bus", "glass": "glass", "couches": "couch", "tennis": "tennis", "gas": "gas"} {
		if got := singular(many); got != one {
			t.Errorf("%s: %s", many, got)
		}
	}
}

func TestCategoryDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want || distance(c.b, c.a) != c.want {
			t.Errorf("%s %s: %d", c.a, c.b, got)
		}
	}
}

func FuzzParseCategories(f *testing.F) {
	f.Add([]byte("hark-categories\t1\nhome.bed\tBeds\tbed,double bed\tgoods\nother.unspecified\tAnything else\tunspecified\tboth\n"))
	f.Add([]byte("hark-categories\t2\nother.unspecified\tElse\t-\tboth\n"))
	f.Add([]byte("hark-categories\t01\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, over := alloc.Over(alloc.Most(len(raw)), func() { _, _ = ParseCategories(raw) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(raw))
		}
		l, err := ParseCategories(raw)
		if err != nil {
			return
		}
		var again bytes.Buffer // one spelling: what parses writes back to its own bytes
		fmt.Fprintf(&again, "hark-categories\t%d\n", l.Version())
		for _, i := range l.All() {
			fmt.Fprintf(&again, "%s\t%s\t%s\t%s\n", i.Code, i.Title, strings.Join(i.Words, ","), i.Kind)
		}
		if !bytes.Equal(again.Bytes(), raw) {
			t.Fatalf("%q became %q", raw, again.Bytes())
		}
		for _, c := range append(l.Suggest(string(raw), 5), l.Near(string(raw[:min(len(raw), 100)]), 5)...) {
			if !l.Has(c) {
				t.Fatalf("suggests unknown %s", c)
			}
		}
	})
}
