package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

func TestParticulars(t *testing.T) {
	full := protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy", "child.age"}, Protection: "a law", Automated: "a score"}
	for _, m := range []protocol.Particulars{full, {Protection: "a law"}, {}} {
		x, err := ParticularsExtra(m)
		if err != nil || (len(x) == 0) != cmp.Equal(m, protocol.Particulars{}) {
			t.Fatalf("%+v: %x, %v", m, x, err)
		}
		s, err := Open(must(SignExtra(operation, request(), x)))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, ParticularsOf(s.Extra())); d != "" {
			t.Errorf("they come back otherwise (-want +got):\n%s", d)
		}
	}
	for name, m := range map[string]protocol.Particulars{
		"a field twice": {Explicit: []protocol.FieldName{"child.age", "child.age"}}, "no field name": {Explicit: []protocol.FieldName{"Child"}},
		"too many fields": {Explicit: make([]protocol.FieldName, protocol.MaxFields+1)},
		"too long":        {Protection: strings.Repeat("x", protocol.MaxText+1)}, "a control character": {Automated: "a\x00"},
	} {
		if _, err := ParticularsExtra(m); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
		if raw, err := Marshal(&m); err == nil { // what somebody else's program writes counts as not said
			if got := ParticularsOf(append(protocol.Extra("\x18\x80"), raw...)); !cmp.Equal(got, protocol.Particulars{}) {
				t.Errorf("%s is read as %+v", name, got)
			}
		}
	}
}

func TestALevelStandsWithACoarserValue(t *testing.T) {
	for level, want := range map[string]bool{"": true, "region": true, strings.Repeat("x", rules.MaxLevel+1): false, "a\nb": false} {
		g := grant()
		g.Fields[0].Form, g.Fields[0].Level = protocol.FormCoarse, level
		if _, err := Sign(contextKey, g); (err == nil) != want {
			t.Errorf("level %.8q: %v", level, err)
		}
		g.Fields[0].Form = protocol.FormValue
		if _, err := Sign(contextKey, g); (err == nil) != (level == "") {
			t.Errorf("level %.8q beside a value: %v", level, err)
		}
	}
}

func FuzzParticularsOf(f *testing.F) {
	for _, m := range []protocol.Particulars{{Explicit: []protocol.FieldName{"health.allergy"}}, {Protection: "a law", Automated: "a score"}} {
		f.Add([]byte(must(ParticularsExtra(m))))
	}
	f.Add([]byte(extra()))
	f.Fuzz(func(t *testing.T, x []byte) {
		d, err := canon.Walk(append([]byte{0xa1}, x...))
		if err != nil || d.Extras != 1 {
			return
		}
		m := ParticularsOf(d.Extra())
		if again, err := ParticularsExtra(m); err != nil || len(again) > 0 && string(again) != string(d.Extra()) {
			t.Errorf("%x is read as %+v, which is written as %x, %v", x, m, again, err)
		}
	})
}
