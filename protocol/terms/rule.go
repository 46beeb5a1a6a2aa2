package terms

import (
	"fmt"
	"slices"
	"strings"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Will is what a person wants done when one field of her vault is asked for.
type Will uint8

// The wills. Ask is the zero value: it leaves the matter to the rules that stand for
// all fields, and to her.
const (
	Ask    Will = 0
	Never  Will = 1
	Always Will = 2 // for the purposes named
)

// A FieldRule is a person's will about one field of her vault. The zero value asks.
type FieldRule struct {
	Will Will               `cbor:"1,keyasint,omitempty"`
	For  []protocol.Purpose `cbor:"2,keyasint,omitempty"` // of Always: 1 to MaxPurposes, in order, each once
}

// MaxPurposes bounds the purposes of one FieldRule.
const MaxPurposes = 8

// ParseFieldRule reads "ask", "never" or "always:make-offer,fulfil-contract".
func ParseFieldRule(text string) (FieldRule, error) {
	will, list, has := strings.Cut(text, ":")
	switch {
	case text == "ask":
		return FieldRule{}, nil
	case text == "never":
		return FieldRule{Will: Never}, nil
	case will != "always" || !has || len(list) > 512:
		return FieldRule{}, fmt.Errorf("rule %.40q: want ask, never or always:PURPOSE,…: %w", text, fault.Malformed)
	}
	r := FieldRule{Will: Always}
	for p := range strings.SplitSeq(list, ",") {
		r.For = append(r.For, protocol.Purpose(strings.TrimSpace(p)))
	}
	slices.Sort(r.For)
	r.For = slices.Compact(r.For)
	return r, r.check()
}

// String is the inverse of ParseFieldRule.
func (r FieldRule) String() string {
	switch r.Will {
	case Ask:
		return "ask"
	case Never:
		return "never"
	}
	list := make([]string, len(r.For))
	for i, p := range r.For {
		list[i] = string(p)
	}
	return "always:" + strings.Join(list, ",")
}

// Check refuses a rule of another form, and one that would give away special
// information or a child's by itself (POPIA ss 26 and 34).
func (r FieldRule) Check(class protocol.Sensitivity) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Will == Always && class != protocol.Ordinary {
		return fmt.Errorf("a rule of always for a field of class %s: only a person grants it: %w", class, fault.Denied)
	}
	return nil
}

func (r FieldRule) check() error {
	switch {
	case r.Will > Always:
		return fmt.Errorf("rule number %d: %w", r.Will, fault.Malformed)
	case (r.Will == Always) != (len(r.For) > 0) || len(r.For) > MaxPurposes:
		return fmt.Errorf("rule %s with %d purposes: %w", r, len(r.For), fault.Malformed)
	}
	for i, p := range r.For {
		if !p.Known() {
			return fmt.Errorf("rule: purpose %.40q is not known: %w", string(p), fault.Malformed)
		}
		if i > 0 && r.For[i-1] >= p {
			return fmt.Errorf("rule: purposes out of order: %w", fault.Malformed)
		}
	}
	return nil
}

// DecideField refuses a field that its owner never gives, and leaves to her one that she
// has put into a class which no rule gives. It comes after Decide, and only ever takes
// away from what that grants.
func DecideField(name protocol.FieldName, class protocol.Sensitivity, r FieldRule) Decision {
	if r.Will == Never {
		return FieldNever.Refuse("%s is never given: her own rule for the field", name)
	}
	if d := FieldIsHers(name, class); d.Ask {
		return d
	}
	return Decision{Grant: true}
}

// Gives reports whether the rule gives the field for a purpose without asking her.
func (r FieldRule) Gives(p protocol.Purpose) bool {
	return r.Will == Always && slices.Contains(r.For, p)
}
