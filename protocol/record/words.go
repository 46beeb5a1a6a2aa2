package record

import (
	"embed"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record/spell"
)

// The words that exports use, for those who read them.
var (
	// Context is the JSON-LD context that stands in each file.
	//go:embed context.jsonld
	Context []byte
	// POPIA maps the Protection of Personal Information Act of South Africa to DPV:
	// grounds (s11), notice (s18), direct marketing (s69), roles and regulator.
	//go:embed popia.jsonld
	POPIA []byte
	// Hark are the few words for which no vocabulary has one.
	//go:embed hark.jsonld
	Hark []byte
	// Listed are the words of others that exports use, one to a line.
	//go:embed terms.txt
	Listed []byte
	// Schemas are the shapes of the formats, as JSON Schema 2020-12.
	//go:embed schema/*.json
	Schemas embed.FS
)

// Terms by number; number 0 is none.
var (
	basisTerms = []string{"", "dpv:Consent", "dpv:ContractPerformance", "dpv:LegalObligation", "dpv:VitalInterestOfDataSubject",
		"dpv:OfficialAuthorityOfController", "dpv:LegitimateInterestOfController"}
	popiaBases  = []string{"", "popia:S11-1-a", "popia:S11-1-b", "popia:S11-1-c", "popia:S11-1-d", "popia:S11-1-e", "popia:S11-1-f"}
	reasonTerms = []string{"", "hark:Need", "hark:Interest", "hark:Relation", "hark:Study", "hark:AuthorityRequest"}
	formTerms   = []string{"", "hark:Value", "hark:CoarserValue", "hark:Predicate", "hark:CredentialPresentation"}
	railTerms   = []string{"", "hark:NoPayment", "hark:Voucher"}
)

// purposeTerms are the purposes in DPV's words.
var purposeTerms = map[protocol.Purpose]string{
	protocol.PurposeOffer:    "dpv:EstablishContractualAgreement",
	protocol.PurposeFulfil:   "dpv:FulfilmentOfContractualObligation",
	protocol.PurposeService:  "dpv:ServiceProvision",
	protocol.PurposeIdentity: "dpv:IdentityVerification",
	protocol.PurposeContact:  "dpv:CommunicationManagement",
	protocol.PurposeResearch: "dpv:ServiceOptimisation",
}

// A reader reads spellings and words.
type reader struct{ spell.Reader }

func (r *reader) purpose(s string) protocol.Purpose {
	for p, t := range purposeTerms {
		if t == s {
			return p
		}
	}
	r.Bad("purpose", s)
	return ""
}

// Names under which things of Hark stand in the files of others.
const (
	urnGrant    = "urn:hark:grant:"
	urnReceipt  = "urn:hark:receipt:"
	urnContext  = "urn:hark:context:" // the customer: her key of one context
	urnVendor   = "urn:hark:vendor:"
	urnEnvelope = "urn:hark:envelope:"
	urnTerms    = "urn:hark:terms:"
	urnCurrency = "urn:iso:std:iso:4217:"
)

// Names of the standards, and of this project's profiles of them.
const (
	record27560  = "https://w3id.org/dpv/schema/dpv-27560#record"
	receipt27560 = "https://w3id.org/dpv/schema/dpv-27560#receipt"
	popiaRecord  = "https://github.com/harkmarket/hark/ns/popia#record"
	odrlProfile  = "https://github.com/harkmarket/hark/ns#odrl"
	necessary    = "dpv:Required"
	optional     = "dpv:Optional"
	southAfrica  = "ZA"
)

// underPOPIA reports whether the record names South Africa's law: its vendor is there.
func (r *Record) underPOPIA() bool { return r.Vendor.Country.Country() == southAfrica }

func necessity(required bool) string {
	if required {
		return necessary
	}
	return optional
}

// classOf is the class of a field in DPV's words.
func classOf(f protocol.FieldName) (class, category string) {
	i, _ := f.Info()
	switch i.Class {
	case protocol.Special:
		return "dpv:SpecialCategoryPersonalData", i.DPV
	case protocol.Child:
		return "dpv:SensitivePersonalData", i.DPV
	}
	return "dpv:PersonalData", i.DPV
}
