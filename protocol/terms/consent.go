package terms

import (
	"fmt"
	"strings"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// An Action is what one of her own rules does with a request that nothing stands
// against.
type Action uint8

// The actions, the most restrictive last: of several rules that hold, the last one wins,
// whatever the order in which they were made.
const (
	Silent  Action = 0 // no rule holds
	Allow   Action = 1
	AskHer  Action = 2
	DenyAll Action = 3
)

var actions = [...]string{"", "allow", "ask", "deny"}

// String gives allow, ask or deny.
func (a Action) String() string {
	if int(a) >= len(actions) {
		return fmt.Sprintf("action-%d", uint8(a))
	}
	return actions[a]
}

// ParseAction is the inverse of String.
func ParseAction(text string) (Action, error) {
	for a, name := range actions {
		if name == text && a > 0 {
			return Action(a), nil
		}
	}
	return Silent, fmt.Errorf("action %.20q is none of allow, ask, deny: %w", text, fault.Malformed)
}

// Bounds of her rules.
const (
	MaxRules    = 64
	MaxRuleName = 48
	MaxRuleText = 1024 // bytes of one condition
)

// A Rule is one of her own: what becomes of the requests for which When holds, an
// expression in CEL over a Question.
type Rule struct {
	Name   string `cbor:"1,keyasint,omitempty"`
	Action Action `cbor:"2,keyasint,omitempty"`
	When   string `cbor:"3,keyasint,omitempty"`
}

// Check refuses a rule of another form; whether When can be read, the engine says.
func (r Rule) Check() error {
	why := ""
	switch {
	case !slugName(r.Name):
		why = fmt.Sprintf("a name is 1 to %d lower-case letters, digits and hyphens, as dentists-yes", MaxRuleName)
	case r.Action < Allow || r.Action > DenyAll:
		why = "the action is none of allow, ask, deny"
	case strings.TrimSpace(r.When) == "":
		why = "it has no condition; the one that always holds is true"
	case len(r.When) > MaxRuleText:
		why = fmt.Sprintf("a condition of %d bytes, at most %d; make several rules of it", len(r.When), MaxRuleText)
	}
	if why != "" {
		return fmt.Errorf("rule %.60q: %s: %w", r.Name, why, fault.Malformed)
	}
	return nil
}

func slugName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= MaxRuleName && s[0] != '-'
}

// Hash names exactly this rule: what the ledger holds beside the name, which may come to
// mean another rule later.
func (r Rule) Hash() protocol.Hash {
	return seal.Digest(seal.LabelConsentRule, []byte(r.Name), []byte{byte(r.Action)}, []byte(r.When))
}

// The rules that are built in. OfferedRule grants what a need offers, where its owner
// said so when she announced it; AlwaysRule grants what her rules for each of the fields
// give for the purpose; CounterRule grants what meets a counter that she made herself. All
// only allow: a rule of hers that asks or denies wins.
var (
	OfferedRule = Rule{Name: "need-offers", Action: Allow, When: "need.auto && request.on_offer"}
	AlwaysRule  = Rule{Name: "field-always", Action: Allow, When: "size(fields) > 0 && fields.all(f, f.always)"}
	CounterRule = Rule{Name: "counter-met", Action: Allow, When: "request.counter_met"}
)

// A Question is what a rule may ask about: all that her node knows of a request, and no
// value of her vault.
type Question struct {
	Request AboutRequest
	Vendor  AboutVendor
	Need    AboutNeed
	Price   protocol.Money // of all fields together
	Fields  []AboutField
}

// AboutRequest is what a rule may know of the request itself.
type AboutRequest struct {
	OnOffer  bool   // nothing but what the need offers
	PriceMet bool   // at or above her floor prices
	Answers  bool   // it asks for no more, and pays no less, than a counter of hers named
	Basis    string // consent or contract
	Days     int64  // of access
	Special  bool   // something special, or a child's, is among the fields
	Abroad   bool   // information leaves her country
	Automat  bool   // it tells of decisions that no person takes
}

// AboutVendor is what a rule may know of who asks.
type AboutVendor struct {
	ID, Name, Country string
	Registration      string
	Passport          int64 // how many passports it has had
	Known             bool  // she granted it something before
	Granted, Refused  int64 // requests of it, under all her needs
	Lapses            int64 // promises to her that it broke
}

// AboutNeed is what a rule may know of what was asked about.
type AboutNeed struct {
	Kind, Name, Category, Sector, Region string
	Auto                                 bool // its owner said: grant what it offers
}

// AboutField is what a rule may know of one field that is asked for.
type AboutField struct {
	Name     string
	Class    string // ordinary, special, child
	Purpose  string
	Required bool
	Days     int64 // for which it would be kept
	Price    int64 // minor units
	OnOffer  bool
	Always   bool // her rule for the field gives it for this purpose
}

// A Verdict is what her rules say together.
type Verdict struct {
	Action Action
	Rule   Rule   // of those that hold and win, the first by name
	Why    string // where a rule could not be evaluated
}
