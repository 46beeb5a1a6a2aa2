package terms

import (
	"os"
	"strings"
	"testing"
)

// specRow finds the row of a table of the specification that holds all the words, in one
// cell or several.
func specRow(spec string, words ...string) bool {
	for line := range strings.Lines(spec) {
		all := strings.HasPrefix(line, "| ")
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// TestSpecTellsReasonsAndLevels: what a refusal stands on, and how a value is made
// coarser, can be read there by who writes another client.
func TestSpecTellsReasonsAndLevels(t *testing.T) {
	raw, err := os.ReadFile("../SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(raw)
	for _, r := range Reasons() {
		if !specRow(spec, "| "+r.Law()+" |", "`"+r.Rule()+"`") {
			t.Errorf("SPEC.md, 14.6 does not tell that %s stands on %s", r.Rule(), r.Law())
		}
		if specRow(strings.ReplaceAll(spec, "`"+r.Rule()+"`", ""), "| "+r.Law()+" |", "`"+r.Rule()+"`") {
			t.Errorf("a row without %s counts as one with it", r.Rule())
		}
	}
	for _, l := range Levels() {
		if !specRow(spec, "| level of a coarser value |", "`"+l+"`") {
			t.Errorf("SPEC.md, 14.4 does not tell the level %s", l)
		}
	}
	for _, example := range []struct{ level, value, coarse string }{
		{"year", "1984-05-17", "1984"}, {"decade", "1984-05-17", "1980s"}, {"tens", "42", "40-49"}, {"initials", "Thandi Mokoena", "T. M."},
	} {
		got, err := Coarsen(example.level, example.value)
		if err != nil || got != example.coarse || !specRow(spec, "`"+example.level+"`", "`"+got+"`") {
			t.Errorf("SPEC.md, 14.4 says that %s of %s is %s; it is %q, %v", example.level, example.value, example.coarse, got, err)
		}
	}
}
