package terms

import "fmt"

// A Reason is why a request is refused, or why only a person may decide on it. Each
// names the rule that was broken and the law on which that rule stands.
type Reason uint8

// The reasons. What no request can help, as that its need was withdrawn, stands among
// them too: she owes the vendor no other words.
const (
	Undecidable   Reason = 1 + iota // there is nothing to decide on
	Untold                          // the notice lacks something
	Unregistered                    // beyond the uses that the vendor's passport registers
	Withdrawn                       // the announcement was taken back
	OtherTerms                      // not the terms of the announcement
	OtherGround                     // a ground in law that the market does not know
	UnbuiltRail                     // a way to pay that is not built
	NoEnd                           // access without an end
	NotOnOffer                      // a field that she did not offer
	TwiceNamed                      // a field named twice
	UnknownClass                    // a field whose class in law is not known
	Unmarked                        // special, or a child's, and not asked for expressly
	OtherPurpose                    // not that for which the field was offered
	OtherForm                       // not the value
	TooLong                         // kept for longer than the rule allows
	TooCheap                        // below her floor
	OverCredit                      // more than she lets one vendor owe her
	Unpaid                          // countersigned, and not paid as was agreed
	PassedOn                        // to somebody else
	Abroad                          // to a third country
	FieldNever                      // her own rule for the field
	AskedBefore                     // a second time within a need, or again for what she withheld
	Blocked                         // the vendor is blocked
	HerRule                         // one of her rules
	HerWord                         // she herself
	SpecialIsHers                   // special: only she herself grants it
	ChildIsHers                     // a child's: only she herself grants it
	reasonEnd
)

// The law that reasons stand on. Consent is voluntary and specific (POPIA s1, GDPR art.
// 4(11)): what she gives at her terms and her price is not given at others.
const (
	lawTerms      = "POPIA s11(1)(a), s1 (consent: voluntary, specific); GDPR art. 4(11)"
	lawConsent    = "POPIA s11(1)(a); GDPR art. 6(1)(a)"
	lawMinimality = "POPIA s10; GDPR art. 5(1)(c)"
	lawPurpose    = "POPIA s13; GDPR art. 5(1)(b)"
	lawRetention  = "POPIA s14; GDPR art. 5(1)(e)"
	lawSharing    = "POPIA s15; GDPR art. 5(1)(b)"
	lawNotice     = "POPIA s18(1); GDPR art. 13"
	lawSpecial    = "POPIA s26; GDPR art. 9"
	lawChild      = "POPIA s34; GDPR art. 8"
	lawObject     = "POPIA s11(3); GDPR art. 21"
	lawOnce       = "POPIA s69(2); GDPR art. 21(3)"
	lawTransfer   = "POPIA s72; GDPR art. 44"
)

// reasons is the table of them all.
var reasons = [reasonEnd]struct{ rule, law string }{
	Undecidable:   {"something-to-decide", lawConsent},
	Untold:        {"notice-complete", lawNotice},
	Unregistered:  {"registered-use", lawPurpose},
	Withdrawn:     {"need-open", lawConsent},
	OtherTerms:    {"terms-accepted", lawTerms},
	OtherGround:   {"consent-or-contract", lawConsent},
	UnbuiltRail:   {"rail-built", lawTerms},
	NoEnd:         {"ends", lawRetention},
	NotOnOffer:    {"on-offer", lawMinimality},
	TwiceNamed:    {"named-once", lawMinimality},
	UnknownClass:  {"class-known", lawMinimality},
	Unmarked:      {"special-marked", lawSpecial},
	OtherPurpose:  {"purpose-offered", lawPurpose},
	OtherForm:     {"value-only", lawMinimality},
	TooLong:       {"kept-not-longer", lawRetention},
	TooCheap:      {"price-met", lawTerms},
	OverCredit:    {"credit-left", lawTerms},
	Unpaid:        {"paid-first", lawTerms},
	PassedOn:      {"not-passed-on", lawSharing},
	Abroad:        {"not-abroad", lawTransfer},
	FieldNever:    {"field-never", lawConsent},
	AskedBefore:   {"asked-once", lawOnce},
	Blocked:       {"vendor-blocked", lawObject},
	HerRule:       {"her-rule", lawConsent},
	HerWord:       {"her-decision", lawConsent},
	SpecialIsHers: {"special-is-hers", lawSpecial},
	ChildIsHers:   {"child-is-hers", lawChild},
}

// Reasons lists them all.
func Reasons() []Reason {
	list := make([]Reason, 0, reasonEnd)
	for r := Reason(1); r < reasonEnd; r++ {
		list = append(list, r)
	}
	return list
}

// Rule is the short name of the rule, as notice-complete.
func (r Reason) Rule() string {
	if r >= reasonEnd {
		return ""
	}
	return reasons[r].rule
}

// Law names the sections that the rule stands on, of POPIA, GDPR, or both.
func (r Reason) Law() string {
	if r >= reasonEnd {
		return ""
	}
	return reasons[r].law
}

// Refuse makes the decision to refuse for a reason; why is one sentence without a full
// stop.
func (r Reason) Refuse(why string, args ...any) Decision {
	return Decision{Reason: r, Rule: r.Rule(), Law: r.Law(), Why: fmt.Sprintf(why, args...)}
}

// leave makes the decision to leave a request to her.
func (r Reason) leave(why string, args ...any) Decision {
	d := r.Refuse(why, args...)
	d.Ask = true
	return d
}
