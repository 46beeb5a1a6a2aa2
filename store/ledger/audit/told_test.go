package audit

import (
	"strings"
	"testing"
)

// TestToldOfOneLetter: two readers must not find two letters in one body.
func TestToldOfOneLetter(t *testing.T) {
	id, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	if grant, letter := told([]byte(`{"envelope":"` + id + `","grant":"g","more":"x"}`)); grant != "g" || letter.String() != id {
		t.Errorf("told %q, %s", grant, letter)
	}
	for what, body := range map[string]string{
		"twice": `{"envelope":"` + id + `","envelope":"` + other + `"}`, "both cases": `{"ENVELOPE":"` + id + `"}`,
		"in capitals": `{"envelope":"` + strings.ToUpper(id) + `"}`, "after": `{"envelope":"` + id + `"}{}`, "no text": `{"envelope":7}`, "no object": `["envelope"]`, "nothing": ``,
	} {
		if grant, letter := told([]byte(body)); grant != "" || !letter.IsZero() {
			t.Errorf("%s: told %q, %s", what, grant, letter)
		}
	}
}
