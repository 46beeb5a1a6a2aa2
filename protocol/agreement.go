package protocol

import "github.com/harkmarket/hark/crypto/key"

// A VendorID names a vendor: SHA-256 of its first passport's envelope.
type VendorID = Hash

// A GrantID names a grant: SHA-256(LP("hark/1/grant") ‖ context ‖ vendor ‖ request
// hash, or nonce where the customer started).
type GrantID = Hash

// A Purpose says what a vendor wants data for.
type Purpose string

// The purposes of version 1, after W3C DPV 2.3.
const (
	PurposeOffer    Purpose = "make-offer"       // dpv:EstablishContractualAgreement
	PurposeFulfil   Purpose = "fulfil-contract"  // dpv:FulfilmentOfContractualObligation
	PurposeService  Purpose = "provide-service"  // dpv:ServiceProvision
	PurposeIdentity Purpose = "verify-identity"  // dpv:IdentityVerification
	PurposeContact  Purpose = "stay-in-contact"  // dpv:CommunicationManagement
	PurposeResearch Purpose = "improve-products" // dpv:ServiceOptimisation
)

// Known reports whether p is a purpose of version 1.
func (p Purpose) Known() bool {
	switch p {
	case PurposeOffer, PurposeFulfil, PurposeService, PurposeIdentity, PurposeContact, PurposeResearch:
		return true
	}
	return false
}

// A Form says in what shape a field is asked for or shared.
type Form uint8

// The forms.
const (
	FormValue      Form = 1 // the value itself
	FormCoarse     Form = 2 // a coarser value
	FormPredicate  Form = 3 // a yes or no about it
	FormCredential Form = 4 // a credential's presentation
)

// A Rail is a way to pay: none where nothing is paid, a voucher where something is.
type Rail uint8

// The rails.
const (
	RailNone    Rail = 1
	RailVoucher Rail = 2 // the vendor's signed word that it owes the price
)

// A LegalBasis is the ground in law on which a request stands: POPIA s11(1)(a)-(f),
// GDPR art. 6(1).
type LegalBasis uint8

// The legal bases.
const (
	BasisConsent    LegalBasis = 1
	BasisContract   LegalBasis = 2
	BasisObligation LegalBasis = 3
	BasisVital      LegalBasis = 4
	BasisPublic     LegalBasis = 5
	BasisLegitimate LegalBasis = 6
)

// A FieldAsk is one field that a vendor asks for.
type FieldAsk struct {
	Name      FieldName `cbor:"1,keyasint,omitempty"`
	Purpose   Purpose   `cbor:"2,keyasint,omitempty"`
	Required  bool      `cbor:"3,keyasint,omitempty"` // necessity: without it there can be no offer
	Form      Form      `cbor:"4,keyasint,omitempty"`
	Retention uint32    `cbor:"5,keyasint,omitempty"` // days that the vendor would keep it
	Price     Money     `cbor:"6,keyasint,omitzero"`  // what it pays for it
}

// A Notice tells the customer what POPIA s18(1) and GDPR art. 13 require beyond
// the other fields of a Request.
type Notice struct {
	Source      string `cbor:"1,keyasint,omitempty"` // where the data comes from
	Consequence string `cbor:"2,keyasint,omitempty"` // of not giving it
	Law         string `cbor:"3,keyasint,omitempty"` // that authorises or requires it, if any
	Rights      string `cbor:"4,keyasint,omitempty"`
	Complaints  string `cbor:"5,keyasint,omitempty"` // the regulator
}

// Particulars are what the law wants a Request to say besides its Notice, where it
// applies. They stand under an ignorable key: a program that does not know them takes
// the request for one that says nothing of the kind.
type Particulars struct {
	Explicit   []FieldName `cbor:"1,keyasint,omitempty"` // special, or a child's, and asked for expressly: POPIA s27(1)(a), GDPR art. 9(2)(a)
	Protection string      `cbor:"2,keyasint,omitempty"` // of what goes to another country: POPIA s18(1)(g), GDPR art. 13(1)(f)
	Automated  string      `cbor:"3,keyasint,omitempty"` // decisions that no person takes, and their logic; empty: there are none. GDPR art. 13(2)(f)
}

// A Request asks a customer for access. Signed by an operational key of the vendor
// with the role to sign requests; sealed to the announcement's Seal key.
type Request struct {
	Header                                        // To and Context: the context id; Re: the announcement
	Vendor     VendorID                           `cbor:"16,keyasint,omitzero"`
	Passport   Hash                               `cbor:"17,keyasint,omitzero"`  // the last of Chain
	Chain      [][]byte                           `cbor:"18,keyasint,omitempty"` // passport envelopes, first to latest
	Fields     []FieldAsk                         `cbor:"19,keyasint,omitempty"`
	Recipients []string                           `cbor:"20,keyasint,omitempty"`
	Countries  []Region                           `cbor:"21,keyasint,omitempty"`
	Basis      LegalBasis                         `cbor:"22,keyasint,omitempty"`
	Notice     Notice                             `cbor:"23,keyasint,omitzero"`
	Terms      Hash                               `cbor:"24,keyasint,omitzero"`
	Rail       Rail                               `cbor:"25,keyasint,omitempty"`
	Seal       key.Encapsulation[key.RequestSeal] `cbor:"26,keyasint,omitzero"` // the answer is sealed to it; lives until the Receipt
	Reply      Address                            `cbor:"27,keyasint,omitzero"`
	Until      Second                             `cbor:"28,keyasint,omitempty"` // how long access is wanted
}

// A FieldGrant is one field that the customer allows.
type FieldGrant struct {
	Name      FieldName `cbor:"1,keyasint,omitempty"`
	Purpose   Purpose   `cbor:"2,keyasint,omitempty"`
	Form      Form      `cbor:"3,keyasint,omitempty"`
	Retention uint32    `cbor:"4,keyasint,omitempty"` // days
	Price     Money     `cbor:"5,keyasint,omitzero"`
	Level     string    `cbor:"6,keyasint,omitempty"` // of a coarser value: how coarse
}

// A Grant allows one vendor some fields within one context. It carries no value
// and no data key: those follow, under duty keys, after a valid Receipt. Signed by
// the context key; sealed to the request's Seal key, or to the passport's inbox
// key where the customer starts.
type Grant struct {
	Header                                     // To: the vendor id; Re: the Request, absent where she starts
	Grant     GrantID                          `cbor:"16,keyasint,omitzero"`
	Nonce     Hash                             `cbor:"17,keyasint,omitzero"` // only where she starts
	Reason    ContextKind                      `cbor:"18,keyasint,omitempty"`
	Fields    []FieldGrant                     `cbor:"19,keyasint,omitempty"`
	Start     Second                           `cbor:"20,keyasint,omitempty"`
	End       Second                           `cbor:"21,keyasint,omitempty"`
	Lease     Second                           `cbor:"22,keyasint,omitempty"` // seconds a disclosure stays valid; 0: its values may be used once, at once
	Price     Money                            `cbor:"23,keyasint,omitzero"`
	Rail      Rail                             `cbor:"24,keyasint,omitempty"`
	Terms     Hash                             `cbor:"25,keyasint,omitzero"`
	OfferSeal key.Encapsulation[key.OfferSeal] `cbor:"26,keyasint,omitzero"` // dies with revocation or expiry
	DutyKey   key.DutyKey                      `cbor:"27,keyasint,omitzero"` // her duty keys live on
	DutySeal  key.Encapsulation[key.DutySeal]  `cbor:"28,keyasint,omitzero"`
	OfferBox  Address                          `cbor:"29,keyasint,omitzero"`
	DutyBox   Address                          `cbor:"30,keyasint,omitzero"`
	Ledger    Hash                             `cbor:"31,keyasint,omitzero"` // blinded head of her ledger
}

// GrantLimits are bounds that she sets on her own node's disclosures under a grant.
// They stand under ignorable key 140 of the Grant: who does not know them loses nothing.
type GrantLimits struct {
	PerDay uint32 `cbor:"1,keyasint,omitempty"` // disclosures in any 24 hours, up to MaxPerDay; 0: no limit
}

// A Counter answers a Request with less or dearer; it needs a new Request, which
// may use the capability in Retry. Signed and sealed like a Grant.
type Counter struct {
	Header
	Fields []FieldGrant `cbor:"16,keyasint,omitempty"`
	Until  Second       `cbor:"17,keyasint,omitempty"`
	Retry  Address      `cbor:"18,keyasint,omitzero"`
}

// A Refusal answers a Request with no. Rule and Law say why.
type Refusal struct {
	Header
	Rule string `cbor:"16,keyasint,omitempty"`
	Law  string `cbor:"17,keyasint,omitempty"`
}

// A Payment is the proof of payment in a Receipt, bound to the grant id.
type Payment struct {
	Rail   Rail   `cbor:"1,keyasint,omitempty"`
	Amount Money  `cbor:"2,keyasint,omitzero"`
	Proof  []byte `cbor:"3,keyasint,omitempty"`
}

// A Voucher is a vendor's word that it owes what a Grant costs. It stands in a Receipt as
// the proof of payment and nowhere else: it is credit, not money, good for one grant and
// for nobody but her. Signed by the operational key that signs the Receipt.
type Voucher struct {
	Header         // To: her duty key; Re: the Grant; Created: when it was issued; Expires: until when it is honoured
	Grant  GrantID `cbor:"16,keyasint,omitzero"`
	Amount Money   `cbor:"17,keyasint,omitzero"` // the price of the Grant, to the unit
}

// A Receipt countersigns a Grant and pays for it. Signed by an operational key of
// the vendor, sealed to her duty key. It fixes the vendor's duty keys.
type Receipt struct {
	Header                                   // To: her duty key; Re: the Grant
	Grant    GrantID                         `cbor:"16,keyasint,omitzero"`
	Payment  Payment                         `cbor:"17,keyasint,omitzero"`
	DutyKey  key.DutyKey                     `cbor:"18,keyasint,omitzero"`
	DutySeal key.Encapsulation[key.DutySeal] `cbor:"19,keyasint,omitzero"`
	DutyBox  Address                         `cbor:"20,keyasint,omitzero"`
	Ledger   Hash                            `cbor:"21,keyasint,omitzero"` // the blinded head in the Grant, countersigned
}

// A FieldValue is one disclosed value.
type FieldValue struct {
	Name    FieldName `cbor:"1,keyasint,omitempty"`
	Value   string    `cbor:"2,keyasint,omitempty"`
	Version uint64    `cbor:"3,keyasint,omitempty"`
}

// A Disclosure hands over what was granted, after a valid Receipt. It is not
// signed but authenticated with a MAC whose key both sides hold (the exporter of
// the Grant letter), so the vendor cannot prove to others what she said.
type Disclosure struct {
	Header                    // From: her duty key; To: the vendor's duty key; Re: the Receipt
	Grant        GrantID      `cbor:"16,keyasint,omitzero"`
	Values       []FieldValue `cbor:"17,keyasint,omitempty"`
	Lease        uint64       `cbor:"18,keyasint,omitempty"` // counts leases from 1
	Until        Second       `cbor:"19,keyasint,omitempty"` // end of this lease
	Announcement Hash         `cbor:"20,keyasint,omitzero"`  // whose body BodyKey opens
	BodyKey      Shared       `cbor:"21,keyasint,omitzero"`
	OfferSecret  Shared       `cbor:"22,keyasint,omitzero"`
}
