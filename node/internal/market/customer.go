package market

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func short[T ~[32]byte](id T) string { return hex.EncodeToString(id[:4]) }

// request takes a vendor's request for access to one of this node's contexts, and
// lets the consent rule decide.
func (t *turn) request(c records.Context, s wire.Signed) error {
	r, err := wire.As[*protocol.Request](s)
	if err != nil {
		return err
	}
	if err := t.blocked(r.Vendor); err != nil {
		return err
	}
	chain, err := t.vouchedBy(r)
	if err != nil {
		return err
	}
	if err := answersUs(c, r.Re); err != nil {
		return err
	}
	heard, err := wire.OpenAnnouncement(c.Raw)
	if err != nil {
		return fmt.Errorf("own announcement: %w", err)
	}
	q := asking{id: s.ID(), r: r, more: particulars.Of(s.Extra()), chain: chain, a: heard.A()}
	id := wire.GrantID(c.ID, r.Vendor, s.ID())
	if q.after, err = t.onlyOnce(c.ID, r.Vendor, id); err != nil {
		return err
	}
	ag := records.Agreement{
		ID: id, Context: c.ID, Reason: c.Flow.Kind, Vendor: r.Vendor, VendorName: chain.Latest().Name,
		Flow:    flow.NewAgreement(protocol.Customer, t.m.cfg.Genesis.Duties),
		Letters: records.Letters{Request: s.ID(), Announcement: r.Re},
		Terms:   records.Terms{Asked: r.Fields, Start: t.now, End: min(r.Until, q.a.Expires), Lease: t.m.cfg.Genesis.Duties.Lease},
		Times:   records.Times{Requested: t.nowMS},
	}
	if err := t.newAgreement(&ag); err != nil {
		return err
	}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	ag.Terms.Consent.After = q.after
	if ag.Terms.Consent.Notice, err = t.keepNotice(q); err != nil {
		return err
	}
	if err := t.advance(&ag, said(s, protocol.Vendor, r.Until), "request.received", "fields", asked(r.Fields), "notice", ag.Terms.Consent.Notice.String()); err != nil {
		return err
	}
	return t.decide(&ag, c, q)
}

// decide does with a request what her rules say: grant it, refuse it, or leave it to her.
func (t *turn) decide(a *records.Agreement, c records.Context, q asking) error {
	d, err := t.withheld(&c, q)
	if err == nil && d.Why == "" {
		d, err = t.judge(&c, q, t.compiled())
	}
	if err != nil {
		return err
	}
	switch {
	case d.Grant:
		a.Terms.Fields = terms.GrantFields(q.r)
		return t.give(a, c, q, d, "rule", false)
	case d.Ask:
		return t.await(a, d)
	}
	return t.refuse(a, c, q.r, q.id, d, "rule")
}

// vouchedBy opens the passport chain of a request and holds its signer to it.
func (t *turn) vouchedBy(r *protocol.Request) (wire.Chain, error) {
	chain, err := t.chain(r)
	if err != nil {
		return chain, err
	}
	if !chain.Operational(key.OperationalKey(r.From), protocol.RoleRequests, t.now) {
		return chain, fmt.Errorf("signed by a key that the passport does not list for now: %w", fault.Denied)
	}
	return chain, nil
}

// chain opens the passports of a request. A later one that was heard elsewhere wins:
// the sender may use a key that was rotated out.
func (t *turn) chain(r *protocol.Request) (wire.Chain, error) {
	chain, err := wire.OpenChain(r.Chain, t.m.cfg.Net)
	if err != nil {
		return chain, fmt.Errorf("passport: %w", err)
	}
	if chain.Vendor() != r.Vendor || chain.LatestHash() != r.Passport {
		return chain, fmt.Errorf("passport is not the one named: %w", fault.Denied)
	}
	known, err := t.m.cfg.Registry.Passport(context.Background(), r.Vendor)
	if err == nil && known.Latest().Seq > chain.Latest().Seq {
		chain = known
	}
	return chain, nil
}

// answersUs accepts a request for the latest announcement or the one before it.
func answersUs(c records.Context, re protocol.Hash) error {
	if c.Flow.State != flow.Announced {
		return fmt.Errorf("need %s is %s: %w", short(c.ID), c.Flow.State, fault.Expired)
	}
	for _, a := range c.Announced[max(0, len(c.Announced)-2):] {
		if a.Hash == re {
			return nil
		}
	}
	return fmt.Errorf("request for an announcement that was not ours: %w", fault.Denied)
}

// onlyOnce refuses a second request of one vendor within a context (POPIA s69(2):
// once), save after a counter, which it gives.
func (t *turn) onlyOnce(c protocol.ContextID, v protocol.VendorID, id protocol.GrantID) (after protocol.GrantID, err error) {
	a, err := records.GetWith(t, c, v)
	switch {
	case errors.Is(err, fault.NotFound):
		return after, nil
	case err != nil:
		return after, err
	case a.ID == id || a.Flow.State != flow.Countered:
		return after, fmt.Errorf("%w: %w", because(terms.AskedBefore.Refuse("vendor %s asked before, and may ask once", v.Short())), fault.Conflict)
	}
	return a.ID, nil
}

// withheld refuses, once she has refused a vendor something, that it asks for the same
// again (POPIA s69(2)), unless it was invited to since: she announced a need afterwards
// that has the field on offer. The vendor is the same under each of its passports.
func (t *turn) withheld(c *records.Context, q asking) (d terms.Decision, err error) {
	known, err := records.GetAcquaintance(t, q.r.Vendor)
	if err != nil {
		return d, err
	}
	for _, f := range records.Sought(q.r.Fields) {
		since := known.WithheldMS(f.Name, f.Purpose)
		offered := f.Name == "" || slices.ContainsFunc(q.a.Fields, func(o protocol.FieldOnOffer) bool { return o.Name == f.Name })
		if since > 0 && (c.CreatedMS <= since || !offered) {
			return terms.AskedBefore.Refuse("she refused this vendor %s to %s on %s, and has announced nothing since that invites to it",
				cmp.Or(string(f.Name), "the need"), f.Purpose, time.UnixMilli(since).UTC().Format(time.DateOnly)), nil
		}
	}
	return d, nil
}

// refuse answers a request with no, and says why. A vendor that asks again under another
// need is not answered: that she knows it from there would tell it that both needs are one
// person's, and silence is what each request meets that waits.
func (t *turn) refuse(a *records.Agreement, c records.Context, r *protocol.Request, re protocol.Hash, d terms.Decision, by string) error {
	a.Terms.Why, a.Terms.Law = d.Why, d.Law
	err := t.decided(a, d, by)
	if err == nil {
		err = t.met(a, func(k *records.Acquaintance) {
			if k.Refused++; by == "person" {
				k.Withhold(r.Fields, t.nowMS)
			}
		})
	}
	if err != nil {
		return err
	}
	m := &protocol.Refusal{
		Header: t.header(protocol.KindRefusal, r.Vendor, protocol.Hash(c.ID), t.letters()),
		Rule:   d.Why, Law: d.Law,
	}
	m.Re = re
	signed, err := wire.Sign(key.FromSeed[key.Context](c.Keys.Sign.Secret()), m)
	if err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	if err := records.PutEnvelope(t, wire.ID(signed), signed); err != nil {
		return err
	}
	e := flow.Event{Kind: protocol.KindRefusal, ID: wire.ID(signed), Re: re, By: protocol.Customer}
	kind, silent := "refusal.sent", d.Reason == terms.AskedBefore
	if silent {
		kind = "refusal.kept"
	}
	if err := t.advance(a, e, kind, append(consentNote(a), "why", d.Why, "law", d.Law)...); err != nil {
		return err
	}
	if silent {
		return nil
	}
	raw, _, err := wire.SealLetter(r.Seal, seal.Vendor, t.m.cfg.Net, r.Reply.Capability.Box, m.Expires, signed)
	if err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	return t.put(outbox.Item{Data: raw, Kind: protocol.KindRefusal, Grant: a.ID, Expires: m.Expires}, r.Reply)
}

// grantTo says where a grant goes: to the answer address of a request, or, where
// the customer starts, to a vendor's inbox.
type grantTo struct {
	re    protocol.Hash
	seal  key.Encapsulation[key.RequestSeal]
	reply protocol.Address
	inbox *protocol.Inbox
	nonce protocol.Hash
}

// grant makes the keys of a grant, signs it and puts it into the outbox. No value
// and no data key leaves with it.
func (t *turn) grant(a *records.Agreement, c records.Context, to grantTo) error {
	lease, err := t.lease(a)
	if err != nil {
		return err
	}
	a.Terms.Lease = lease
	if a.Paying.Price, err = priceOf(a.Terms.Fields); err != nil {
		return err
	}
	g, err := t.draftGrant(a, c, to)
	if err != nil {
		return err
	}
	x, err := limits.Extra(protocol.GrantLimits{PerDay: a.Standing.PerDay})
	if err != nil {
		return err
	}
	signed, err := wire.SignExtra(key.FromSeed[key.Context](c.Keys.Sign.Secret()), g, x)
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	id := wire.ID(signed)
	a.Letters.Grant, a.Times.Granted = id, t.nowMS
	if err := t.met(a, func(k *records.Acquaintance) { k.Granted++ }); err != nil {
		return err
	}
	if err := records.PutEnvelope(t, id, signed); err != nil {
		return err
	}
	it := outbox.Item{Kind: protocol.KindGrant, Grant: a.ID, Envelope: id, Expires: g.Expires}
	var export func(seal.Label) key.Secret
	if to.inbox == nil {
		it.Data, export, err = wire.SealLetter(to.seal, seal.Vendor, t.m.cfg.Net, to.reply.Capability.Box, g.Expires, signed)
	} else {
		it.Data, export, err = wire.SealLetter(to.inbox.Seal, seal.Vendor, t.m.cfg.Net, to.inbox.Box, g.Expires, signed)
	}
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	a.MAC = protocol.Share(export(seal.LabelDisclose))
	e := flow.Event{Kind: protocol.KindGrant, ID: id, Re: to.re, By: protocol.Customer, Until: g.End}
	if err := t.advance(a, e, "grant.given", append(consentNote(a), "fields", granted(a.Terms.Fields))...); err != nil {
		return err
	}
	if to.inbox == nil {
		return t.put(it, to.reply)
	}
	it.What, it.Box, it.Keepers = outbox.Letter, to.inbox.Box, to.inbox.Keepers
	it.First = protocol.FirstContact{Stamp: protocol.Admission{Lane: protocol.LaneWork, Effort: to.inbox.Effort}}
	return t.post(it)
}

// draftGrant makes fresh offer and duty keys and mailboxes for a grant.
func (t *turn) draftGrant(a *records.Agreement, c records.Context, to grantTo) (*protocol.Grant, error) {
	offer, duty := key.GenerateSeal[key.OfferSeal](), key.GenerateSeal[key.DutySeal]()
	sign := key.Generate[key.Duty]()
	end := a.Terms.End
	offerBox, offerAddr, err := t.newBox(records.BoxOffer, a.ID, c.Keepers, end+t.letters(), offerLetters, offerKiB)
	if err != nil {
		return nil, err
	}
	dutyBox, dutyAddr, err := t.newBox(records.BoxDuty, a.ID, c.Keepers, t.dutyUntil(end), dutyLetters, dutyKiB)
	if err != nil {
		return nil, err
	}
	a.Mine = records.DutyKeys{Sign: protocol.Share(sign.Seed()), Seal: protocol.Share(duty.Seed()), Box: protocol.Share(dutyBox.Seed())}
	if err := records.PutOfferKeys(t, a.ID, records.OfferKeys{
		Seal: protocol.Share(offer.Seed()), Secret: protocol.Share(key.NewSecret()), Box: protocol.Share(offerBox.Seed()),
	}); err != nil {
		return nil, err
	}
	rail, err := t.m.cfg.Rails.Quote(a.Paying.Price)
	if err != nil {
		return nil, err
	}
	blind, err := t.blind(a, protocol.KindGrant)
	if err != nil {
		return nil, err
	}
	g := &protocol.Grant{
		Header: t.header(protocol.KindGrant, a.Vendor, protocol.Hash(c.ID), t.letters()),
		Grant:  a.ID, Nonce: to.nonce, Reason: c.Flow.Kind, Fields: a.Terms.Fields,
		Start: a.Terms.Start, End: end, Lease: a.Terms.Lease, Price: a.Paying.Price, Rail: rail, Terms: t.m.cfg.Genesis.Terms,
		OfferSeal: offer.Public(), DutyKey: sign.Public(), DutySeal: duty.Public(),
		OfferBox: offerAddr, DutyBox: dutyAddr, Ledger: blind,
	}
	g.Re = to.re
	return g, nil
}

// A Gift is what a customer gives a vendor of her own accord.
type Gift struct {
	Vendor protocol.VendorID
	Name   string // her own words for the relation
	Fields []protocol.FieldGrant
	Life   protocol.Second
	Lease  protocol.Second // the network's where 0
	PerDay uint32          // disclosures in 24 hours; 0: no limit
	Once   bool            // its values may be used once, at once: a lease of 0
}

// Give starts a relation with a vendor of the customer's choice: a grant without a
// need or a request.
func (m *Market) Give(ctx context.Context, gift Gift) (id protocol.GrantID, err error) {
	v := gift.Vendor
	if m.locked != nil {
		return id, m.locked
	}
	chain, err := m.cfg.Registry.Passport(ctx, v)
	if err != nil {
		return id, fmt.Errorf("passport of vendor %s: %w", v.Short(), err)
	}
	keepers := m.cfg.Places.Keepers(protocol.MaxKeepers)
	if len(keepers) == 0 {
		return id, fmt.Errorf("no keeper is known that could hold the answer: %w", fault.Offline)
	}
	inbox := chain.Latest().Inbox
	err = m.command(ctx, "give", func(t *turn) error {
		sign := key.Generate[key.Context]()
		nonce := protocol.Hash(key.NewSecret().Reveal())
		c := records.Context{
			ID: sign.Public(), Flow: flow.Context{Kind: protocol.ContextRelation}, Name: gift.Name, Keepers: keepers,
			CreatedMS: t.nowMS, Keys: records.ContextKeys{Sign: protocol.Share(sign.Seed())},
		}
		id = wire.GrantID(c.ID, v, nonce)
		t.made = id[:]
		a := records.Agreement{
			ID: id, Context: c.ID, Reason: protocol.ContextRelation, Vendor: v, VendorName: chain.Latest().Name,
			Flow: flow.NewAgreement(protocol.Customer, t.m.cfg.Genesis.Duties),
			Terms: records.Terms{Fields: gift.Fields, Start: t.now, End: t.now + gift.Life, Lease: cmp.Or(gift.Lease, m.cfg.Genesis.Duties.Lease),
				Consent: records.Consent{By: "person", Rule: terms.HerWord.Rule()}},
			Standing: records.Standing{PerDay: gift.PerDay},
		}
		if gift.Once {
			a.Terms.Lease = 0
		}
		if err := errors.Join(m.tally.room(), t.newAgreement(&a)); err != nil {
			return err
		}
		if err := errors.Join(t.putContext(c), t.keepPassports(&a, chain)); err != nil {
			return err
		}
		return t.grant(&a, c, grantTo{inbox: &inbox, nonce: nonce})
	})
	return id, err
}

// receipt takes a vendor's countersignature of a grant. Only when it is right, and
// in the ledger, does anything leave the vault.
func (t *turn) receipt(a records.Agreement, s wire.Signed) error {
	r, err := wire.As[*protocol.Receipt](s)
	if err != nil {
		return err
	}
	if r.Grant != a.ID || r.Re != a.Letters.Grant {
		return fmt.Errorf("receipt for another grant: %w", fault.Denied)
	}
	if !a.Letters.Receipt.IsZero() {
		return fmt.Errorf("grant %s was countersigned before: %w", a.ID.Short(), fault.Conflict)
	}
	chain, err := t.passportOf(&a)
	if err != nil {
		return err
	}
	if !chain.Operational(key.OperationalKey(r.From), protocol.RoleRequests, t.now) {
		return fmt.Errorf("receipt signed by a key that the passport does not list: %w", fault.Denied)
	}
	if !countersigned(&a, r.Ledger, s.ID()) {
		return fmt.Errorf("receipt countersigns another ledger: %w", fault.Denied)
	}
	if err := t.paid(&a, s); err != nil {
		return err
	}
	a.Theirs = records.Counterparty{Sign: r.DutyKey, Seal: r.DutySeal, Box: r.DutyBox}
	a.Letters.Receipt, a.Times.Receipted = s.ID(), t.nowMS
	if err := errors.Join(records.PutEnvelope(t, s.ID(), s.Raw()), t.keepPassports(&a, chain)); err != nil {
		return err
	}
	if err := t.acked(a.Letters.Grant); err != nil {
		return err
	}
	if err := t.advance(&a, said(s, protocol.Vendor, 0), "receipt.kept"); err != nil {
		return err
	}
	if a.Flow.State == flow.Revoked && a.Letters.Revocation.IsZero() {
		return t.tellRevoked(&a, "revoked before it was countersigned")
	}
	return nil
}

// keepPassports keeps the passports by which a vendor's keys were checked: the board
// forgets some, and what was signed has to stay checkable by others.
func (t *turn) keepPassports(a *records.Agreement, chain wire.Chain) error {
	a.Letters.Passport = chain.LatestHash()
	for _, raw := range chain.Raws() {
		if err := records.PutEnvelope(t, wire.ID(raw), raw); err != nil {
			return err
		}
	}
	return nil
}

// passportOf finds the passports of an agreement's vendor: those in its request, or
// those that the customer started from.
func (t *turn) passportOf(a *records.Agreement) (wire.Chain, error) {
	raw, err := records.GetEnvelope(t, a.Letters.Request)
	if err == nil {
		s, err := wire.Open(raw)
		if err != nil {
			return wire.Chain{}, err
		}
		r, err := wire.As[*protocol.Request](s)
		if err != nil {
			return wire.Chain{}, err
		}
		return t.chain(r)
	}
	if !errors.Is(err, fault.NotFound) {
		return wire.Chain{}, err
	}
	return t.m.cfg.Registry.Passport(context.Background(), a.Vendor)
}

// signedGrant reads the grant back from the envelope that was signed.
func (t *turn) signedGrant(a *records.Agreement) (*protocol.Grant, error) {
	s, err := t.signed(a.Letters.Grant)
	if err != nil {
		return nil, fmt.Errorf("grant %s: %w", a.ID.Short(), err)
	}
	return wire.As[*protocol.Grant](s)
}

// signed reads a letter back that is kept as it was signed.
func (t *turn) signed(id protocol.Hash) (wire.Signed, error) {
	raw, err := records.GetEnvelope(t, id)
	if err != nil {
		return wire.Signed{}, err
	}
	return wire.Open(raw)
}

func asked(fields []protocol.FieldAsk) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(f.Name)
	}
	return strings.Join(names, " ")
}

func granted(fields []protocol.FieldGrant) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(f.Name)
	}
	return strings.Join(names, " ")
}

// agreementNote is the body of a ledger entry about an agreement: names and ids,
// never values.
func agreementNote(a *records.Agreement, more ...string) map[string]string {
	n := map[string]string{"grant": a.ID.String(), "context": hexOf(a.Context[:]), "vendor": a.Vendor.String()}
	for i := 0; i+1 < len(more); i += 2 {
		n[more[i]] = more[i+1]
	}
	return n
}
