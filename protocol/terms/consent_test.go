package terms

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

func TestRules(t *testing.T) {
	good := Rule{Name: "known-shops", Action: Allow, When: "vendor.known"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Rule{
		"no name": {Action: Allow, When: "true"}, "a name with blanks": {Name: "known shops", Action: Allow, When: "true"},
		"a long name": {Name: strings.Repeat("x", MaxRuleName+1), Action: Allow, When: "true"}, "a name like a flag": {Name: "-x", Action: Allow, When: "true"},
		"no action": {Name: "x", When: "true"}, "another action": {Name: "x", Action: 4, When: "true"},
		"no condition": {Name: "x", Action: Allow, When: " "}, "a long condition": {Name: "x", Action: Allow, When: strings.Repeat(" ", MaxRuleText) + "true"},
	} {
		if err := r.Check(); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, other := range []Rule{{"known-shop", Allow, "svendor.known"}, {"known-shops", DenyAll, "vendor.known"}, {"known-shops", Allow, "vendor.known "}} {
		if other.Hash() == good.Hash() {
			t.Errorf("%+v has the hash of another rule", other)
		}
	}
	for _, a := range []Action{Allow, AskHer, DenyAll} {
		if got, err := ParseAction(a.String()); err != nil || got != a {
			t.Errorf("%s comes back as %s, %v", a, got, err)
		}
	}
	for _, text := range []string{"", "Allow", "refuse"} {
		if a, err := ParseAction(text); !errors.Is(err, fault.Malformed) {
			t.Errorf("%q is %s, %v", text, a, err)
		}
	}
	for _, r := range []Rule{OfferedRule, AlwaysRule} {
		if r.Check() != nil || r.Action != Allow {
			t.Errorf("the built-in rule %+v", r)
		}
	}
}

func TestCoarseValues(t *testing.T) {
	for _, c := range [][3]string{
		{"year", "1984-05-17", "1984"}, {"decade", "1984-05-17", "1980s"}, {"tens", "47", "40-49"}, {"hundreds", "1250", "1200-1299"},
		{"thousands", "25999", "25000-25999"}, {"initials", "Thandi  Nkosi", "T. N."}, {"initials", "élodie", "É."},
		{"town", "12 Main Road, Melville, Johannesburg", "Melville, Johannesburg"}, {"region", "12 Main Road\nMelville\nGauteng", "Gauteng"},
		{"prefix", "2092", "20**"}, {"domain", "thandi@example.org", "example.org"},
	} {
		if got, err := Coarsen(c[0], c[1]); err != nil || got != c[2] {
			t.Errorf("%s of %s: %q, %v", c[0], c[1], got, err)
		}
	}
	for _, c := range [][2]string{
		{"year", "in May 1984"}, {"year", "1984"}, {"tens", "about 40"}, {"tens", "-4"}, {"initials", " "}, {"initials", "T."}, {"town", "Melville, Johannesburg"}, {"town", "Flat 3, 12 Main Road, Melville"}, {"region", "12 Main Road, Melville, 2092"},
		{"region", "Melville"}, {"prefix", "20"}, {"prefix", "a@b.c"}, {"domain", "thandi"}, {"domain", "thandi@"},
	} {
		got, err := Coarsen(c[0], c[1])
		if !errors.Is(err, fault.Unsupported) || strings.Contains(err.Error(), c[1]) && strings.TrimSpace(c[1]) != "" {
			t.Errorf("%s of %q: %q, %v", c[0], c[1], got, err)
		}
	}
	if _, err := Coarsen("vague", "x"); !errors.Is(err, fault.Malformed) {
		t.Error(err)
	}
	if l := Levels(); len(l) != 10 || !slices.IsSorted(l) {
		t.Errorf("levels %q", l)
	}
}

// Whatever it is, a coarser value is no longer than it may be, and never the value.
func FuzzCoarsen(f *testing.F) {
	for _, v := range []string{"1984-05-17", "47", "Thandi Nkosi", "12 Main Road, Melville, Johannesburg", "2092", "thandi@example.org", "", "\n", "ﬁ", "9007199254740993"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for _, l := range Levels() {
			got, err := Coarsen(l, v)
			if err == nil && (got == v || got == "") {
				t.Errorf("%s of %q is %q", l, v, got)
			}
		}
	})
}
