package desks

import (
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestUnknownNamesAreToldAndNotOffered: a slip of the pen under a special group is kept as
// special, its owner is told, and no need offers it. What she says expressly holds.
func TestUnknownNamesAreToldAndNotOffered(t *testing.T) {
	o := open(t)
	set := func(name, class string) desk.Field {
		t.Helper()
		spec := desk.Value("asthma")
		spec.Class = class
		f, err := Vault{o}.Set(t.Context(), name, spec)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := set("health.conditions", ""); f.Class != "special" || !strings.Contains(f.Notice, "did you mean health.condition?") {
		t.Errorf("%+v", f)
	}
	if f := set("health.club", "ordinary"); f.Class != "ordinary" {
		t.Errorf("called ordinary by her: %+v", f)
	}
	if f := set("health.condition", ""); f.Class != "special" || f.Notice != "" {
		t.Errorf("%+v", f)
	}
	need := desk.NeedSpec{Name: "a nurse", Category: "home.furniture", Fields: map[string]int64{"health.conditions": 0}, Auto: true}
	if _, err := (Needs{o}).Create(t.Context(), need); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "did you mean health.condition?") {
		t.Errorf("a need with an unknown field: %v", err)
	}
	need.Fields = map[string]int64{"health.condition": 0}
	if _, err := (Needs{o}).Create(t.Context(), need); err != nil {
		t.Errorf("a need with a known one: %v", err)
	}
}
