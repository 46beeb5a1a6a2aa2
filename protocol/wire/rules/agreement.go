package rules

import (
	"crypto/sha256"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// checkRequest: addressed to the context itself, about one of its announcements; the
// passport chain inline, whose first hash is the vendor and whose last is Passport;
// known purposes, forms and legal basis; a key and an address for the answer.
func checkRequest(r *rules, m *protocol.Request) {
	r.must(m.To == m.Context, "reader is not the context")
	r.must(!m.Re.IsZero(), "names no announcement")
	checkChain(r, m)
	fieldNames(r, m.Fields, func(f protocol.FieldAsk) protocol.FieldName { return f.Name })
	var prices []protocol.Money
	for _, f := range m.Fields {
		r.known(f.Purpose.Known(), "purpose")
		r.form(f.Form)
		r.money(f.Price, "price of a field")
		prices = append(prices, f.Price)
	}
	r.lines(m.Recipients, "recipients")
	r.must(len(m.Countries) <= protocol.MaxList, "number of countries")
	for _, c := range m.Countries {
		r.region(c, "country")
	}
	r.must(m.Basis != 0, "no legal basis")
	r.known(m.Basis <= protocol.BasisLegitimate, "legal basis")
	for _, s := range []string{m.Notice.Source, m.Notice.Consequence, m.Notice.Law, m.Notice.Rights, m.Notice.Complaints} {
		r.text(s, "notice", protocol.MaxText)
	}
	r.must(!m.Terms.IsZero(), "no terms")
	r.paid(m.Rail, prices...)
	r.must(!m.Seal.IsZero(), "no key for the answer")
	r.address(m.Reply, "reply address")
}

func checkChain(r *rules, m *protocol.Request) {
	size := 0
	for _, raw := range m.Chain {
		size += len(raw)
	}
	r.must(len(m.Chain) > 0 && len(m.Chain) <= protocol.MaxPassports && size <= protocol.MaxChain, "size of the passport chain")
	if r.err == nil {
		r.must(sha256.Sum256(m.Chain[0]) == m.Vendor, "vendor is not the chain's first passport")
		r.must(sha256.Sum256(m.Chain[len(m.Chain)-1]) == m.Passport, "passport is not the chain's last")
	}
}

// GrantID is SHA-256(LP("hark/1/grant") ‖ context ‖ vendor ‖ request's hash, or
// nonce where the customer started).
func GrantID(ctx protocol.ContextID, vendor protocol.VendorID, requestOrNonce protocol.Hash) protocol.GrantID {
	return seal.Digest(seal.LabelGrant, ctx[:], vendor[:], requestOrNonce[:])
}

// checkGrant: signed by the context key, To is the vendor; answers a request or carries a
// nonce, never both, and its id follows from that; it costs what its fields cost; both KEM
// keys, her duty key and both mailboxes.
func checkGrant(r *rules, m *protocol.Grant) {
	r.must(m.From == m.Context, "not signed by the context")
	r.must(m.Re.IsZero() != m.Nonce.IsZero(), "needs a request or a nonce")
	seed := m.Re
	if seed.IsZero() {
		seed = m.Nonce
	}
	r.must(m.Grant == GrantID(protocol.ContextID(m.Context), m.To, seed), "grant id")
	r.must(m.Reason != 0, "no kind of context")
	r.known(m.Reason <= protocol.ContextRelation, "kind of context")
	prices := r.grants(m.Fields)
	r.must(m.Start != 0 && m.End > m.Start, "start and end")
	r.money(m.Price, "price")
	total := r.paid(m.Rail, prices...)
	r.must(m.Price.Minor == total.Minor && (total.Minor == 0 || m.Price.Currency == total.Currency), "price is not what its fields cost")
	r.must(!m.Terms.IsZero(), "no terms")
	r.must(!m.OfferSeal.IsZero() && !m.DutySeal.IsZero(), "no offer or duty key")
	publicKey(r, m.DutyKey, "duty key")
	r.address(m.OfferBox, "offer mailbox")
	r.address(m.DutyBox, "duty mailbox")
}

// checkCounter: signed by the context key; answers a request.
func checkCounter(r *rules, m *protocol.Counter) {
	r.must(m.From == m.Context, "not signed by the context")
	r.must(!m.Re.IsZero(), "answers nothing")
	r.grants(m.Fields)
	r.address(m.Retry, "retry address")
}

// checkRefusal: signed by the context key; answers a request.
func checkRefusal(r *rules, m *protocol.Refusal) {
	r.must(m.From == m.Context, "not signed by the context")
	r.must(!m.Re.IsZero(), "answers nothing")
	r.text(m.Rule, "rule", protocol.MaxText)
	r.text(m.Law, "law", protocol.MaxText)
}

// checkReceipt: answers a grant, pays for it, and brings the vendor's duty keys.
func checkReceipt(r *rules, m *protocol.Receipt) {
	r.must(!m.Re.IsZero() && !m.Grant.IsZero(), "names no grant")
	r.money(m.Payment.Amount, "amount")
	r.paid(m.Payment.Rail, m.Payment.Amount)
	r.must(m.Payment.Rail != protocol.RailNone || len(m.Payment.Proof) == 0, "proof of a payment on the rail none")
	r.must(m.Payment.Rail == protocol.RailNone || len(m.Payment.Proof) > 0, "no proof of a payment")
	r.must(len(m.Payment.Proof) <= protocol.MaxProof, "size of the proof of a payment")
	publicKey(r, m.DutyKey, "duty key")
	r.must(!m.DutySeal.IsZero(), "no duty key to seal to")
	r.address(m.DutyBox, "duty mailbox")
}

// checkVoucher: names a grant, and what it owes for it.
func checkVoucher(r *rules, m *protocol.Voucher) {
	r.must(!m.Re.IsZero() && !m.Grant.IsZero(), "names no grant")
	r.money(m.Amount, "amount")
	r.must(m.Amount.Minor > 0, "a voucher for nothing")
}

// checkDisclosure: answers a receipt; leases count from 1; a body key and the announcement
// that it opens come together.
func checkDisclosure(r *rules, m *protocol.Disclosure) {
	r.must(m.Alg == protocol.AlgMAC && m.Kind == protocol.KindDisclosure, "header")
	r.must(!m.Re.IsZero() && !m.Grant.IsZero(), "names no grant")
	r.values(m.Values)
	r.must(m.Lease != 0 && m.Until >= m.Created, "lease")
	r.must(m.Announcement.IsZero() == m.BodyKey.IsZero(), "announcement without body key, or the other way round")
}

// checkPassport: signed by its own root key, which its predecessor committed to; the first
// has seq 1 and names neither vendor nor predecessor. Operational keys are dated.
func checkPassport(r *rules, m *protocol.Passport) {
	publicKey(r, m.Root, "root key")
	r.must(m.From == protocol.Hash(m.Root), "not signed by its root key")
	first := m.Seq == 1
	r.must(m.Seq != 0 && m.Vendor.IsZero() == first && m.Re.IsZero() == first, "seq, vendor and predecessor")
	r.must(!m.Next.IsZero(), "no commitment to the next root key")
	r.must(len(m.Operational) <= protocol.MaxOperators, "number of operational keys")
	for i, o := range m.Operational {
		publicKey(r, o.Key, "operational key")
		r.must(o.Roles != 0 && o.Until > o.From, "roles and dates of an operational key")
		r.known(o.Roles < protocol.RoleInbox<<1, "role")
		for _, other := range m.Operational[:i] {
			r.must(other.Key != o.Key, "operational key listed twice")
		}
	}
	publicKey(r, m.Inbox.Box, "inbox")
	r.must(!m.Inbox.Seal.IsZero(), "no key for the inbox")
	r.keepers(m.Inbox.Keepers, 1, protocol.MaxKeepers)
	r.must(m.Inbox.Effort <= MaxEffort, "effort of the inbox")
	r.must(m.Name != "", "no name")
	for _, s := range []string{m.Name, m.Registration, m.Contact, m.Officer, m.Authority} {
		r.line(s, "name, registration, contact, officer or authority", protocol.MaxName)
	}
	r.region(m.Country, "country")
	r.must(len(m.Uses) <= protocol.MaxList, "number of uses")
	for _, u := range m.Uses {
		r.known(u.Purpose.Known(), "purpose")
		fieldNames(r, u.Fields, func(f protocol.FieldName) protocol.FieldName { return f })
	}
}

// Particulars applies the rules of what a request says besides its notice: well-formed
// field names, each once; words like those of the notice.
func Particulars(m *protocol.Particulars) error {
	r := &rules{of: "particulars"}
	fieldNames(r, m.Explicit, func(f protocol.FieldName) protocol.FieldName { return f })
	r.text(m.Protection, "protection", protocol.MaxText)
	r.text(m.Automated, "automated decisions", protocol.MaxText)
	return r.err
}
