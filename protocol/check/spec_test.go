package check

import (
	"os"
	"strings"
	"testing"
)

// TestSpecTellsEachQuestion: the names of the questions travel in answers to posts.
func TestSpecTellsEachQuestion(t *testing.T) {
	raw, err := os.ReadFile("../SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "### 9.3 Verdicts")
	table, _, ok := strings.Cut(rest, "### 9.4")
	for _, r := range Reasons()[1:] {
		if !ok || !strings.Contains(table, "| "+string(r)+" |") {
			t.Errorf("SPEC.md, 9.3 does not ask the question %s", r)
		}
	}
}
