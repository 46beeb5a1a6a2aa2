package rules

import (
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// MaxEffort is the dearest stamp, in leading zero bits, that anybody can ask for:
// about a day of one core.
const MaxEffort = 40

// Announcement: all rules but life, which the door asks for later.
//
//   - Signed by the context's own key: From and Context are the same key. No To, no
//     Re; seq counts from 1.
//   - Only needs and interests are announced.
//   - Open: a KEM key, a mailbox, 1 to 3 keepers, terms, a body of exactly one bucket
//     and its commitment.
//   - Withdrawn: none of these, and no fields or issuers.
//   - Price floors stand on the 1-2-5 ladder.
func Announcement(a *protocol.Announcement) error {
	r := &rules{of: "announcement"}
	h := &a.Header
	r.must(h.V == protocol.Version && h.Kind == protocol.KindAnnouncement && h.Alg == protocol.AlgEd25519, "header")
	r.must(!h.Net.IsZero() && !h.ID.IsZero(), "no network or id")
	publicKey(r, protocol.ContextID(h.From), "sender")
	r.must(h.Context == h.From, "context is not the sender")
	r.must(h.To.IsZero() && h.Re.IsZero(), "a reader or an answered message")
	r.must(h.Seq != 0 && h.Created != 0 && h.Expires != 0, "no seq or dates")
	r.must(a.Status != 0 && a.Reason != 0, "no status or kind of context")
	r.known(a.Status <= protocol.Withdrawn, "status")
	r.known(a.Reason.Life() > 0, "kind of context")
	r.category(a.Category)
	r.region(a.Region, "region")
	r.admission(a.Admission)
	if a.Status == protocol.Withdrawn {
		r.must(a.Seal.IsZero() && a.Mailbox.IsZero() && len(a.Keepers) == 0 && len(a.Body) == 0 && a.Commitment.IsZero() &&
			len(a.Fields) == 0 && a.Terms.IsZero() && len(a.Issuers) == 0, "a withdrawal that offers something")
		return r.err
	}
	r.must(!a.Seal.IsZero() && !a.Terms.IsZero() && !a.Commitment.IsZero(), "no key, terms or commitment")
	publicKey(r, a.Mailbox, "mailbox")
	r.keepers(a.Keepers, 1, protocol.MaxKeepers)
	r.must(len(a.Body) == protocol.BodyBucket+seal.BodyOverhead, "size of the body")
	fieldNames(r, a.Fields, func(f protocol.FieldOnOffer) protocol.FieldName { return f.Name })
	for _, f := range a.Fields {
		r.money(f.Floor, "price floor")
		r.must(f.Floor.Minor == protocol.Ladder(f.Floor.Minor), "price floor is not on the ladder")
	}
	r.must(len(a.Issuers) <= protocol.MaxIssuers, "number of issuers")
	for i, k := range a.Issuers {
		publicKey(r, k, "issuer")
		for _, other := range a.Issuers[:i] {
			r.must(other != k, "issuer named twice")
		}
	}
	return r.err
}

// admission: lane 0 carries nothing, lane 1 an effort. What another lane carries is
// not known here; the door ignores it.
func (r *rules) admission(a protocol.Admission) {
	switch a.Lane {
	case protocol.LaneNone:
		r.must(a == protocol.Admission{}, "admission")
	case protocol.LaneWork:
		r.must(a.Effort > 0 && a.Effort <= MaxEffort, "admission")
	}
}

// Life: an end after the beginning, and no later than the kind of context allows.
func Life(a *protocol.Announcement) error {
	r := &rules{of: "announcement"}
	r.must(a.Expires > a.Created && a.Expires-a.Created <= a.Reason.Life(), "impossible life")
	return r.err
}

// checkDemand: something is wanted, in at most MaxName and MaxText bytes.
func checkDemand(r *rules, d *protocol.Demand) {
	r.must(d.Name != "", "no name")
	r.line(d.Name, "name", protocol.MaxName)
	r.text(d.Description, "description", protocol.MaxText)
	r.money(d.MaxPrice, "price")
	r.known(d.Condition <= protocol.Refurbished, "condition")
	if d.Region != "" {
		r.region(d.Region, "region")
	}
	if d.Currency != "" {
		r.currency(d.Currency, "currency")
	}
}
