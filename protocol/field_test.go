package protocol

import (
	"os"
	"strings"
	"testing"
)

// TestFieldsAreTermsOfDPV holds the vocabulary against the published one: no term is
// invented, and none that DPV calls special is ordinary here.
func TestFieldsAreTermsOfDPV(t *testing.T) {
	raw, err := os.ReadFile("testdata/dpv-pd-2.3.txt")
	if err != nil {
		t.Fatal(err)
	}
	special := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if term, mark, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(term, "pd:") {
			special[term] = mark == "+"
		}
	}
	if len(special) < 200 {
		t.Fatalf("only %d terms were read", len(special))
	}
	seen := map[FieldName]bool{}
	for _, f := range Fields() {
		must, ok := special[f.DPV]
		if !ok {
			t.Errorf("%s: DPV 2.3 has no %s", f.Name, f.DPV)
		}
		if must && f.Class == Ordinary {
			t.Errorf("%s is ordinary, but DPV calls %s special", f.Name, f.DPV)
		}
		if !f.Name.WellFormed() || f.Title == "" || seen[f.Name] || f.Class.String() == "unknown" {
			t.Errorf("%+v is no entry, or a second one", f)
		}
		seen[f.Name] = true
	}
	for group := range strings.FieldsSeq("identity contact demographic interest preference need achievement history document financial health child") {
		has := false
		for name := range seen {
			has = has || strings.HasPrefix(string(name), group+".")
		}
		if !has {
			t.Errorf("no field of group %s", group)
		}
	}
	if _, ok := FieldName("pd.unknown").Info(); ok {
		t.Error("an unknown field has an entry")
	}
}
