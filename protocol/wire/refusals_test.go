package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A refusal spoils a valid message in one way.
type refusal struct {
	name string
	want fault.Kind
	fits func(protocol.Message) bool
	do   func(protocol.Message)
}

func no[M protocol.Message](want fault.Kind, name string, do func(M)) refusal {
	var m M
	return refusal{fmt.Sprintf("%T: %s", m, name), want,
		func(m protocol.Message) bool { _, ok := m.(M); return ok }, func(m protocol.Message) { do(m.(M)) }}
}

const bad, newer = fault.Malformed, fault.Unsupported

var (
	smallOrder  = [32]byte{1}
	long        = strings.Repeat("x", protocol.MaxText+1)
	tooFar      = protocol.Money{Minor: protocol.MaxMinor + 1, Currency: "ZAR"}
	someMoney   = protocol.Money{Minor: 5, Currency: "ZAR"}
	minus       = protocol.Money{Minor: -1, Currency: "ZAR"}
	noCurrency  = protocol.Money{Minor: 5, Currency: "zar"}
	twiceNamed  = []protocol.FieldName{"a.b", "a.b"}
	namedTwice  = []protocol.FieldValue{{Name: "a.b"}, {Name: "a.b"}}
	manyStrings = strings.Split(strings.Repeat("x ", protocol.MaxList)+"x", " ")
)

var headerRefusals = []refusal{
	no(bad, "no network", func(m protocol.Message) { m.Head().Net = protocol.Hash{} }),
	no(bad, "no id", func(m protocol.Message) { m.Head().ID = protocol.ID{} }),
	no(bad, "no date", func(m protocol.Message) { m.Head().Created = 0 }),
	no(bad, "ends before it begins", func(m protocol.Message) { m.Head().Expires = m.Head().Created }),
	no(bad, "a reader more or less", func(m protocol.Message) {
		if h := m.Head(); h.To.IsZero() {
			h.To = hash("x")
		} else {
			h.To = protocol.Hash{}
		}
	}),
	no(bad, "a context more or less", func(m protocol.Message) {
		if h := m.Head(); h.Context.IsZero() {
			h.Context = hash("x")
		} else {
			h.Context = protocol.Hash{}
		}
	}),
	no(bad, "another kind's number", func(m protocol.Message) {
		if m.Head().Kind = protocol.KindGrant; fmt.Sprintf("%T", m) == "*protocol.Grant" {
			m.Head().Kind = protocol.KindAck
		}
	}),
	no(bad, "disclosure's number", func(m protocol.Message) { m.Head().Kind = protocol.KindDisclosure }),
}

var announcementRefusals = []refusal{
	no(bad, "another context", func(m *protocol.Announcement) { m.Context = hash("x") }),
	no(bad, "answers", func(m *protocol.Announcement) { m.Re = hash("x") }),
	no(bad, "no seq", func(m *protocol.Announcement) { m.Seq = 0 }),
	no(bad, "no end", func(m *protocol.Announcement) { m.Expires = 0 }),
	no(bad, "lives too long", func(m *protocol.Announcement) { m.Expires = m.Created + protocol.MaxNeedLife + 1 }),
	no(bad, "no status", func(m *protocol.Announcement) { m.Status = 0 }),
	no(newer, "status", func(m *protocol.Announcement) { m.Status = 3 }),
	no(bad, "no reason", func(m *protocol.Announcement) { m.Reason = 0 }),
	no(newer, "relation", func(m *protocol.Announcement) { m.Reason = protocol.ContextRelation }),
	no(newer, "study", func(m *protocol.Announcement) { m.Reason = protocol.ContextStudy }),
	no(newer, "authority", func(m *protocol.Announcement) { m.Reason = protocol.ContextAuthority }),
	no(bad, "category", func(m *protocol.Announcement) { m.Category = "Home.Furniture" }),
	no(bad, "no region", func(m *protocol.Announcement) { m.Region = "" }),
	no(bad, "region", func(m *protocol.Announcement) { m.Region = "za-GP" }),
	no(bad, "no seal", func(m *protocol.Announcement) { m.Seal = key.Encapsulation[key.ContextSeal]{} }),
	no(bad, "no terms", func(m *protocol.Announcement) { m.Terms = protocol.Hash{} }),
	no(bad, "no commitment", func(m *protocol.Announcement) { m.Commitment = protocol.Hash{} }),
	no(bad, "no mailbox", func(m *protocol.Announcement) { m.Mailbox = key.MailboxKey{} }),
	no(bad, "mailbox of small order", func(m *protocol.Announcement) { m.Mailbox = smallOrder }),
	no(bad, "no keeper", func(m *protocol.Announcement) { m.Keepers = nil }),
	no(bad, "four keepers", func(m *protocol.Announcement) { m.Keepers = keepers(4) }),
	no(bad, "keeper of small order", func(m *protocol.Announcement) { m.Keepers[1].Key = smallOrder }),
	no(bad, "keeper twice", func(m *protocol.Announcement) { m.Keepers[1] = m.Keepers[0] }),
	no(bad, "address too long", func(m *protocol.Announcement) { m.Keepers[0].Addrs[0] = make([]byte, protocol.MaxAddr+1) }),
	no(bad, "empty address", func(m *protocol.Announcement) { m.Keepers[0].Addrs[0] = nil }),
	no(bad, "five addresses", func(m *protocol.Announcement) {
		m.Keepers[0].Addrs = [][]byte{{1}, {1}, {1}, {1}, {1}}
	}),
	no(bad, "no body", func(m *protocol.Announcement) { m.Body = nil }),
	no(bad, "body too short", func(m *protocol.Announcement) { m.Body = m.Body[1:] }),
	no(bad, "body too long", func(m *protocol.Announcement) { m.Body = append(m.Body, 1) }),
	no(bad, "field name", func(m *protocol.Announcement) { m.Fields[0].Name = "name" }),
	no(bad, "field twice", func(m *protocol.Announcement) { m.Fields[1].Name = m.Fields[0].Name }),
	no(bad, "17 fields", func(m *protocol.Announcement) {
		m.Fields = nil
		for i := range protocol.MaxFields + 1 {
			m.Fields = append(m.Fields, protocol.FieldOnOffer{Name: protocol.FieldName(fmt.Sprint("a.b", i))})
		}
	}),
	no(bad, "floor off the ladder", func(m *protocol.Announcement) { m.Fields[0].Floor = protocol.Money{Minor: 3, Currency: "ZAR"} }),
	no(bad, "floor without currency", func(m *protocol.Announcement) { m.Fields[0].Floor = noCurrency }),
	no(bad, "nine issuers", func(m *protocol.Announcement) {
		m.Issuers = nil
		for i := range protocol.MaxIssuers + 1 {
			m.Issuers = append(m.Issuers, private[key.Issuer](fmt.Sprint(i)).Public())
		}
	}),
	no(bad, "issuer of small order", func(m *protocol.Announcement) { m.Issuers[0] = smallOrder }),
	no(bad, "issuer twice", func(m *protocol.Announcement) { m.Issuers[1] = m.Issuers[0] }),
	no(bad, "withdrawn with all", func(m *protocol.Announcement) { m.Status = protocol.Withdrawn }),
	no(bad, "withdrawn with terms", func(m *protocol.Announcement) {
		*m = *withdrawal()
		m.Kind, m.Context, m.Terms = 1, contextID, hash("t")
	}),
	no(bad, "lane 0 with effort", func(m *protocol.Announcement) { m.Admission.Effort = 1 }),
	no(bad, "lane 1 without effort", func(m *protocol.Announcement) { m.Admission.Lane = 1 }),
	no(bad, "lane 1 beyond all effort", func(m *protocol.Announcement) { m.Admission = protocol.Admission{Lane: 1, Effort: MaxEffort + 1} }),
}

var agreementRefusals = []refusal{
	no(bad, "reader is not the context", func(m *protocol.Request) { m.To = hash("x") }),
	no(bad, "no announcement", func(m *protocol.Request) { m.Re = protocol.Hash{} }),
	no(bad, "no chain", func(m *protocol.Request) { m.Chain = nil }),
	no(bad, "another passport", func(m *protocol.Request) { m.Passport = hash("x") }),
	no(bad, "another vendor", func(m *protocol.Request) { m.Vendor = hash("x") }),
	no(bad, "chain too long", func(m *protocol.Request) { m.Chain[0] = make([]byte, protocol.MaxChain) }),
	no(newer, "purpose", func(m *protocol.Request) { m.Fields[0].Purpose = "sell-on" }),
	no(bad, "no form", func(m *protocol.Request) { m.Fields[0].Form = 0 }),
	no(newer, "form", func(m *protocol.Request) { m.Fields[0].Form = 5 }),
	no(bad, "field name", func(m *protocol.Request) { m.Fields[0].Name = "x" }),
	no(bad, "minus", func(m *protocol.Request) { m.Fields[0].Price = minus }),
	no(bad, "priced on rail none", func(m *protocol.Request) { m.Fields[0].Price = someMoney }),
	no(bad, "too many recipients", func(m *protocol.Request) { m.Recipients = manyStrings }),
	no(bad, "recipient with a line feed", func(m *protocol.Request) { m.Recipients[0] = "a\nb" }),
	no(bad, "empty recipient", func(m *protocol.Request) { m.Recipients[0] = "" }),
	no(bad, "country", func(m *protocol.Request) { m.Countries[0] = "ZAF" }),
	no(bad, "no basis", func(m *protocol.Request) { m.Basis = 0 }),
	no(newer, "basis", func(m *protocol.Request) { m.Basis = 7 }),
	no(bad, "notice too long", func(m *protocol.Request) { m.Notice.Rights = long }),
	no(bad, "notice with a control character", func(m *protocol.Request) { m.Notice.Law = "a\x1b[2J" }),
	no(bad, "no terms", func(m *protocol.Request) { m.Terms = protocol.Hash{} }),
	no(bad, "no rail", func(m *protocol.Request) { m.Rail = 0 }),
	no(newer, "rail", func(m *protocol.Request) { m.Rail = protocol.RailVoucher + 1 }),
	no(bad, "a voucher for nothing", func(m *protocol.Request) { m.Rail = protocol.RailVoucher }),
	no(bad, "several currencies", func(m *protocol.Request) {
		m.Rail, m.Fields[0].Price = protocol.RailVoucher, someMoney
		m.Fields = append(m.Fields, protocol.FieldAsk{Name: "a.b", Purpose: protocol.PurposeOffer, Form: 1, Price: protocol.Money{Minor: 1, Currency: "EUR"}})
	}),
	no(bad, "no key", func(m *protocol.Request) { m.Seal = key.Encapsulation[key.RequestSeal]{} }),
	no(bad, "no reply capability", func(m *protocol.Request) { m.Reply.Capability = protocol.Capability{} }),
	no(bad, "no reply keeper", func(m *protocol.Request) { m.Reply.Keepers = nil }),
	no(bad, "no reply seed", func(m *protocol.Request) { m.Reply.Seed = protocol.Shared{} }),
	no(bad, "no end", func(m *protocol.Request) { m.Expires = 0 }),

	no(bad, "another signer than the context", func(m *protocol.Grant) { m.Context = hash("x") }),
	no(bad, "request and nonce", func(m *protocol.Grant) { m.Nonce = hash("x") }),
	no(bad, "neither request nor nonce", func(m *protocol.Grant) { m.Re = protocol.Hash{} }),
	no(bad, "another id", func(m *protocol.Grant) { m.Grant = hash("x") }),
	no(bad, "another request", func(m *protocol.Grant) { m.Re = hash("x") }),
	no(bad, "another vendor", func(m *protocol.Grant) { m.To = hash("x") }),
	no(bad, "no reason", func(m *protocol.Grant) { m.Reason = 0 }),
	no(newer, "study", func(m *protocol.Grant) { m.Reason = protocol.ContextStudy }),
	no(newer, "purpose", func(m *protocol.Grant) { m.Fields[0].Purpose = "" }),
	no(bad, "priced field", func(m *protocol.Grant) { m.Fields[0].Price = someMoney }),
	no(bad, "priced", func(m *protocol.Grant) { m.Price = someMoney }),
	no(newer, "rail", func(m *protocol.Grant) { m.Rail = protocol.RailVoucher + 1 }),
	no(bad, "a voucher for nothing", func(m *protocol.Grant) { m.Rail = protocol.RailVoucher }),
	no(bad, "a price beside its fields'", func(m *protocol.Grant) {
		m.Rail, m.Fields[0].Price, m.Price = protocol.RailVoucher, someMoney, protocol.Money{Minor: someMoney.Minor + 1, Currency: someMoney.Currency}
	}),
	no(bad, "a price in another currency than its fields'", func(m *protocol.Grant) {
		m.Rail, m.Fields[0].Price, m.Price = protocol.RailVoucher, someMoney, protocol.Money{Minor: someMoney.Minor, Currency: "EUR"}
	}),
	no(bad, "ends before it starts", func(m *protocol.Grant) { m.End = m.Start }),
	no(bad, "no start", func(m *protocol.Grant) { m.Start = 0 }),
	no(bad, "no terms", func(m *protocol.Grant) { m.Terms = protocol.Hash{} }),
	no(bad, "no offer key", func(m *protocol.Grant) { m.OfferSeal = key.Encapsulation[key.OfferSeal]{} }),
	no(bad, "no duty seal", func(m *protocol.Grant) { m.DutySeal = key.Encapsulation[key.DutySeal]{} }),
	no(bad, "duty key of small order", func(m *protocol.Grant) { m.DutyKey = smallOrder }),
	no(bad, "no offer mailbox", func(m *protocol.Grant) { m.OfferBox = protocol.Address{} }),
	no(bad, "no duty mailbox", func(m *protocol.Grant) { m.DutyBox = protocol.Address{} }),
	no(bad, "capability without a quota", func(m *protocol.Grant) { m.DutyBox.Capability.KiB = 0 }),
	no(bad, "capability without a signature", func(m *protocol.Grant) { m.DutyBox.Capability.Sig = nil }),

	no(bad, "another signer", func(m *protocol.Counter) { m.Context = hash("x") }),
	no(bad, "answers nothing", func(m *protocol.Counter) { m.Re = protocol.Hash{} }),
	no(bad, "field twice", func(m *protocol.Counter) { m.Fields = append(m.Fields, m.Fields[0]) }),
	no(bad, "no way to retry", func(m *protocol.Counter) { m.Retry = protocol.Address{} }),
	no(bad, "another signer", func(m *protocol.Refusal) { m.Context = hash("x") }),
	no(bad, "answers nothing", func(m *protocol.Refusal) { m.Re = protocol.Hash{} }),
	no(bad, "rule too long", func(m *protocol.Refusal) { m.Rule = long }),
	no(bad, "law too long", func(m *protocol.Refusal) { m.Law = long }),

	no(bad, "no grant", func(m *protocol.Receipt) { m.Grant = protocol.Hash{} }),
	no(bad, "answers nothing", func(m *protocol.Receipt) { m.Re = protocol.Hash{} }),
	no(bad, "no rail", func(m *protocol.Receipt) { m.Payment.Rail = 0 }),
	no(newer, "rail", func(m *protocol.Receipt) { m.Payment.Rail = protocol.RailVoucher + 1 }),
	no(bad, "a voucher for nothing", func(m *protocol.Receipt) {
		m.Payment = protocol.Payment{Rail: protocol.RailVoucher, Proof: []byte{1}}
	}),
	no(bad, "no proof", func(m *protocol.Receipt) { m.Payment = protocol.Payment{Rail: protocol.RailVoucher, Amount: someMoney} }),
	no(bad, "proof too large", func(m *protocol.Receipt) {
		m.Payment = protocol.Payment{Rail: protocol.RailVoucher, Amount: someMoney, Proof: make([]byte, protocol.MaxProof+1)}
	}),
	no(bad, "no grant", func(m *protocol.Voucher) { m.Grant = protocol.Hash{} }),
	no(bad, "answers nothing", func(m *protocol.Voucher) { m.Re = protocol.Hash{} }),
	no(bad, "for nothing", func(m *protocol.Voucher) { m.Amount = protocol.Money{Currency: "ZAR"} }),
	no(bad, "without a currency", func(m *protocol.Voucher) { m.Amount.Currency = "" }),
	no(bad, "too large", func(m *protocol.Voucher) { m.Amount = tooFar }),
	no(bad, "less than nothing", func(m *protocol.Voucher) { m.Amount = minus }),
	no(bad, "paid on rail none", func(m *protocol.Receipt) { m.Payment.Amount = someMoney }),
	no(bad, "amount too large", func(m *protocol.Receipt) { m.Payment.Amount = tooFar }),
	no(bad, "proof on rail none", func(m *protocol.Receipt) { m.Payment.Proof = []byte{1} }),
	no(bad, "no duty key", func(m *protocol.Receipt) { m.DutyKey = key.DutyKey{} }),
	no(bad, "no duty seal", func(m *protocol.Receipt) { m.DutySeal = key.Encapsulation[key.DutySeal]{} }),
	no(bad, "no duty mailbox", func(m *protocol.Receipt) { m.DutyBox = protocol.Address{} }),
}

var dealRefusals = []refusal{
	no(bad, "reader is not the context", func(m *protocol.Offer) { m.To = hash("x") }),
	no(bad, "no grant", func(m *protocol.Offer) { m.Grant = protocol.Hash{} }),
	no(bad, "no disclosure", func(m *protocol.Offer) { m.Re = protocol.Hash{} }),
	no(bad, "no product", func(m *protocol.Offer) { m.Product = "" }),
	no(bad, "no title", func(m *protocol.Offer) { m.Title = "" }),
	no(bad, "title of two lines", func(m *protocol.Offer) { m.Title = "a\nb" }),
	no(bad, "description too long", func(m *protocol.Offer) { m.Description = long }),
	no(bad, "price without currency", func(m *protocol.Offer) { m.Price = noCurrency }),
	no(newer, "condition", func(m *protocol.Offer) { m.Condition = 4 }),
	no(bad, "region", func(m *protocol.Offer) { m.Region = "Z1" }),
	no(bad, "no offer", func(m *protocol.DealStep) { m.Offer = protocol.Hash{} }),
	no(bad, "no grant", func(m *protocol.DealStep) { m.Grant = protocol.Hash{} }),
	no(bad, "answers nothing", func(m *protocol.DealStep) { m.Re = protocol.Hash{} }),
	no(bad, "price too large", func(m *protocol.DealStep) { m.Price = tooFar }),
	no(bad, "note too long", func(m *protocol.DealStep) { m.Note = long }),
	no(bad, "no grant", func(m *protocol.Revocation) { m.Grant = protocol.Hash{} }),
	no(bad, "deadline in the past", func(m *protocol.Revocation) { m.Deadline = m.Created - 1 }),
	no(bad, "reason too long", func(m *protocol.Revocation) { m.Reason = long }),
	no(bad, "no grant", func(m *protocol.Deletion) { m.Grant = protocol.Hash{} }),
	no(bad, "too many names", func(m *protocol.Deletion) { m.Deleted = manyStrings }),
	no(bad, "empty place", func(m *protocol.Deletion) { m.Where = []string{""} }),
	no(bad, "kept without a law", func(m *protocol.Deletion) { m.Kept[0].Law = "" }),
	no(bad, "too much kept", func(m *protocol.Deletion) { m.Kept = make([]protocol.Kept, protocol.MaxList+1) }),
	no(bad, "no grant", func(m *protocol.Right) { m.Grant = protocol.Hash{} }),
	no(bad, "no right", func(m *protocol.Right) { m.Exercise = 0 }),
	no(newer, "right", func(m *protocol.Right) { m.Exercise = 5 }),
	no(bad, "field twice", func(m *protocol.Right) { m.Fields = twiceNamed }),
	no(bad, "value twice", func(m *protocol.Right) { m.Values = namedTwice }),
	no(bad, "values without a correction", func(m *protocol.Right) { m.Exercise = protocol.RightAccess }),
	no(bad, "no deadline", func(m *protocol.Right) { m.Deadline = 0 }),
	no(bad, "no grant", func(m *protocol.Answer) { m.Grant = protocol.Hash{} }),
	no(bad, "no right", func(m *protocol.Answer) { m.Re = protocol.Hash{} }),
	no(bad, "no status", func(m *protocol.Answer) { m.Status = 0 }),
	no(newer, "status", func(m *protocol.Answer) { m.Status = 3 }),
	no(bad, "value too long", func(m *protocol.Answer) { m.Values[0].Value = strings.Repeat("x", protocol.MaxValue+1) }),
	no(bad, "text too long", func(m *protocol.Answer) { m.Text = long }),
	no(bad, "no grant", func(m *protocol.Breach) { m.Grant = protocol.Hash{} }),
	no(bad, "nothing said", func(m *protocol.Breach) { m.What = "" }),
	no(bad, "advice too long", func(m *protocol.Breach) { m.Advice = long }),
	no(bad, "field twice", func(m *protocol.Breach) { m.Fields = twiceNamed }),
	no(bad, "no grant", func(m *protocol.Pause) { m.Grant = protocol.Hash{} }),
	no(bad, "reason too long", func(m *protocol.Pause) { m.Reason = long }),
	no(bad, "nothing acknowledged", func(m *protocol.Ack) { m.Acked = nil }),
	no(bad, "zero acknowledged", func(m *protocol.Ack) { m.Acked[0] = protocol.Hash{} }),
	no(bad, "too much acknowledged", func(m *protocol.Ack) { m.Acked = make([]protocol.Hash, protocol.MaxAcked+1) }),
	no(bad, "no device", func(m *protocol.Device) { m.Device = key.DeviceKey{} }),
	no(bad, "name of two lines", func(m *protocol.Device) { m.Name = "a\nb" }),
}

var passportRefusals = []refusal{
	no(bad, "signed by another than its root", func(m *protocol.Passport) { m.Root = rootKey(5).Public() }),
	no(bad, "no seq", func(m *protocol.Passport) { m.Seq = 0 }),
	no(bad, "first with a vendor", func(m *protocol.Passport) { m.Seq = 1 }),
	no(bad, "later without a vendor", func(m *protocol.Passport) { m.Vendor = protocol.Hash{} }),
	no(bad, "later without a predecessor", func(m *protocol.Passport) { m.Re = protocol.Hash{} }),
	no(bad, "no next root", func(m *protocol.Passport) { m.Next = protocol.Hash{} }),
	no(bad, "operational key without roles", func(m *protocol.Passport) { m.Operational[0].Roles = 0 }),
	no(newer, "role", func(m *protocol.Passport) { m.Operational[0].Roles = 9 }),
	no(bad, "operational key without an end", func(m *protocol.Passport) { m.Operational[0].Until = 0 }),
	no(bad, "operational key twice", func(m *protocol.Passport) { m.Operational = append(m.Operational, m.Operational[0]) }),
	no(bad, "operational key of small order", func(m *protocol.Passport) { m.Operational[0].Key = smallOrder }),
	no(bad, "too many operational keys", func(m *protocol.Passport) { m.Operational = make([]protocol.Operational, protocol.MaxOperators+1) }),
	no(bad, "no inbox", func(m *protocol.Passport) { m.Inbox.Box = key.MailboxKey{} }),
	no(bad, "no inbox key", func(m *protocol.Passport) { m.Inbox.Seal = key.Encapsulation[key.InboxSeal]{} }),
	no(bad, "no inbox keeper", func(m *protocol.Passport) { m.Inbox.Keepers = nil }),
	no(bad, "too much effort", func(m *protocol.Passport) { m.Inbox.Effort = MaxEffort + 1 }),
	no(bad, "no name", func(m *protocol.Passport) { m.Name = "" }),
	no(bad, "name too long", func(m *protocol.Passport) { m.Name = long }),
	no(bad, "country", func(m *protocol.Passport) { m.Country = "" }),
	no(newer, "purpose", func(m *protocol.Passport) { m.Uses[0].Purpose = "x" }),
	no(bad, "field twice", func(m *protocol.Passport) { m.Uses[0].Fields = twiceNamed }),
	no(bad, "too many uses", func(m *protocol.Passport) { m.Uses = make([]protocol.IntendedUse, protocol.MaxList+1) }),
}

// TestRefusals: neither end lets a message pass that breaks a rule.
func TestRefusals(t *testing.T) {
	n := len(specimens())
	for _, r := range append(append(append(append(headerRefusals[:len(headerRefusals):len(headerRefusals)], announcementRefusals...), agreementRefusals...), dealRefusals...), passportRefusals...) {
		fitted := 0
		for i := range n {
			s := specimens()[i]
			if !r.fits(s.m) {
				continue
			}
			if exempt := s.m.Head().Kind == protocol.KindDevice && r.name == "<nil>: no network"; exempt {
				continue
			}
			fitted++
			domain := s.m.Head().Kind.Domain()
			r.do(s.m)
			if _, err := s.sign(s.m, nil); !errors.Is(err, r.want) {
				t.Errorf("%s (%T): Sign says %v", r.name, s.m, err)
			}
			payload, err := encodePayload(s.m, nil)
			if err != nil {
				continue // it can't even be written
			}
			s.m.Head().From = s.self
			if _, err := Open(s.forge(domain, payload)); !errors.Is(err, r.want) {
				t.Errorf("%s (%T): Open says %v", r.name, s.m, err)
			}
		}
		if fitted == 0 {
			t.Errorf("%s: fits no message", r.name)
		}
	}
}

func TestDisclosureRefusals(t *testing.T) {
	mac := secret("mac")
	for name, do := range map[string]func(*protocol.Disclosure){
		"no grant":                  func(d *protocol.Disclosure) { d.Grant = protocol.Hash{} },
		"no receipt":                func(d *protocol.Disclosure) { d.Re = protocol.Hash{} },
		"no lease":                  func(d *protocol.Disclosure) { d.Lease = 0 },
		"lease that ended":          func(d *protocol.Disclosure) { d.Until = d.Created - 1 },
		"field twice":               func(d *protocol.Disclosure) { d.Values = namedTwice },
		"body key for nothing":      func(d *protocol.Disclosure) { d.Announcement = protocol.Hash{} },
		"announcement without key":  func(d *protocol.Disclosure) { d.BodyKey = protocol.Shared{} },
		"no sender":                 func(d *protocol.Disclosure) { d.From = protocol.Hash{} },
		"sender of small order":     func(d *protocol.Disclosure) { d.From = smallOrder },
		"no reader":                 func(d *protocol.Disclosure) { d.To = protocol.Hash{} },
		"value with an escape code": func(d *protocol.Disclosure) { d.Values[0].Value = "\x1b" },
	} {
		d := disclosure()
		do(d)
		if _, err := SealDisclosure(d, mac); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SealDisclosure(disclosure(), key.Secret{}); !errors.Is(err, fault.Malformed) {
		t.Error("a disclosure without a MAC key")
	}
}
