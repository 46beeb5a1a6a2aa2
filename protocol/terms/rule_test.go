package terms

import (
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestFieldRules(t *testing.T) {
	for text, want := range map[string]string{
		"ask": "ask", "never": "never", "always:make-offer": "always:make-offer",
		"always: make-offer , fulfil-contract,make-offer": "always:fulfil-contract,make-offer",
	} {
		r, err := ParseFieldRule(text)
		if err != nil || r.String() != want || r.Check(protocol.Ordinary) != nil {
			t.Errorf("%s: %s, %v", text, r, err)
		}
		again, err := ParseFieldRule(r.String())
		if err != nil || again.String() != want {
			t.Errorf("%s does not come back: %s, %v", want, again, err)
		}
	}
	for _, text := range []string{"", "always", "always:", "always:to-spy", "Ask", "ask:make-offer", "never:fulfil-contract", "always:make-offer,", strings.Repeat("always:", 200)} {
		if r, err := ParseFieldRule(text); !errors.Is(err, fault.Malformed) {
			t.Errorf("%.40q gave %s, %v", text, r, err)
		}
	}
	always := FieldRule{Will: Always, For: []protocol.Purpose{protocol.PurposeOffer}}
	for _, class := range []protocol.Sensitivity{protocol.Special, protocol.Child, 0} {
		if err := always.Check(class); !errors.Is(err, fault.Denied) {
			t.Errorf("always for class %s: %v", class, err)
		}
		if err := (FieldRule{Will: Never}).Check(class); err != nil {
			t.Errorf("never for class %s: %v", class, err)
		}
	}
	for _, r := range []FieldRule{{Will: 3}, {Will: Always}, {Will: Ask, For: always.For}, {Will: Always, For: []protocol.Purpose{"x"}},
		{Will: Always, For: []protocol.Purpose{protocol.PurposeOffer, protocol.PurposeOffer}}} {
		if err := r.Check(protocol.Ordinary); !errors.Is(err, fault.Malformed) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestNeverIsNever(t *testing.T) {
	for rule, grant := range map[string]bool{"ask": true, "always:make-offer": true, "never": false} {
		r, err := ParseFieldRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		if d := DecideField("contact.email", protocol.Ordinary, r); d.Grant != grant || !grant && (!strings.Contains(d.Why, "contact.email") || d.Law == "") {
			t.Errorf("%s: %+v", rule, d)
		}
		for _, class := range []protocol.Sensitivity{protocol.Special, protocol.Child, 0, 9} {
			if d := DecideField("contact.email", class, r); d.Grant || d.Why == "" || d.Law == "" || d.Ask != (r.Will != Never) {
				t.Errorf("%s for class %s: %+v", rule, class, d)
			}
		}
	}
}

func FuzzParseFieldRule(f *testing.F) {
	for _, text := range []string{"ask", "never", "always:make-offer,fulfil-contract", "always:", "always:,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseFieldRule(text)
		if err != nil {
			return
		}
		if again, err := ParseFieldRule(r.String()); err != nil || again.String() != r.String() || r.Check(protocol.Ordinary) != nil {
			t.Errorf("%q became %s, then %s, %v", text, r, again, err)
		}
	})
}
