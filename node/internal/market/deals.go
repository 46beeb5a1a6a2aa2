package market

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// A Proposal is what a vendor offers under a grant.
type Proposal struct {
	Product     string
	Title       string
	Description string
	Price       protocol.Money // of one; zero: on request
	Condition   protocol.Condition
	Region      protocol.Region
	Rank        uint8
	Hold        protocol.Second // ask keepers to show it only after so many seconds
	Again       bool            // also where the same offer was made already
}

// Offer sends proposals under a grant, best first; what was offered already, and has
// not lapsed since, is left out. If nothing is left, an Ack acknowledges the
// disclosure in its place.
func (m *Market) Offer(ctx context.Context, id protocol.GrantID, list []Proposal) (ids []protocol.Hash, err error) {
	err = m.command(ctx, "offer", func(t *turn) error {
		ids = nil
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		if err := a.Flow.May(protocol.Vendor, protocol.KindOffer); err != nil {
			return fmt.Errorf("grant %s: %w", id.Short(), err)
		}
		if a.Flow.Me != protocol.Vendor {
			return fmt.Errorf("grant %s is a vendor's to answer: %w", id.Short(), fault.Denied)
		}
		rec, err := t.m.cfg.Stores.Held.Get(t, id)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		if err != nil || rec.Until <= t.now {
			return fmt.Errorf("the lease on grant %s ended; its values may not be used until she renews it: %w", id.Short(), fault.Conflict)
		}
		a.Answered = true
		for _, p := range list {
			if made, err := t.offered(&a, rec.Demand, p); made || err != nil {
				if err != nil {
					return err
				}
				continue
			}
			oid, err := t.propose(&a, rec.OfferSecret.Secret(), rec.Demand, p)
			if err != nil {
				return err
			}
			ids = append(ids, oid)
			t.made = oid[:]
		}
		if len(ids) == 0 && a.Letters.Disclosure != (protocol.Hash{}) {
			if err := t.owe(&a, a.Letters.Disclosure); err != nil {
				return err
			}
		}
		return t.keep(&a)
	})
	return ids, err
}

// offered tells whether the customer has the same offer already: every lease brings a
// new disclosure of a need that did not change. One that lapsed by its date may come
// again, one that she declined may not.
func (t *turn) offered(a *records.Agreement, d protocol.Demand, p Proposal) (made bool, err error) {
	if p.Again {
		return false, nil
	}
	err = records.EachOf(t, a.ID, func(old records.Deal) (bool, error) {
		o := old.Offer
		same := o.Product == p.Product && o.Quantity == d.Count() && o.Price.Currency == p.Price.Currency && o.Price.Minor == p.Price.Minor*int64(d.Count())
		said := slices.ContainsFunc(old.Steps, func(s records.Step) bool { return s.Kind == protocol.KindDecline })
		made = same && (!old.Flow.State.Final() || said)
		return !made, nil
	})
	return made, err
}

// offerLife is how long an offer stands.
const offerLife = 7 * protocol.Day

// propose signs one offer with the duty key and locks it twice: under the offer
// secret, and to the grant's offer key.
func (t *turn) propose(a *records.Agreement, secret key.Secret, d protocol.Demand, p Proposal) (protocol.Hash, error) {
	o := &protocol.Offer{
		Header: t.header(protocol.KindOffer, protocol.Hash(a.Context), protocol.Hash(a.Context), min(offerLife, t.letters())),
		Grant:  a.ID, Product: p.Product, Title: p.Title, Description: p.Description, Price: p.Price,
		Quantity: d.Count(), Condition: p.Condition, Region: p.Region, Rank: p.Rank,
	}
	if o.Price.Minor > protocol.MaxMinor/int64(d.Count()) {
		return protocol.Hash{}, fmt.Errorf("offer of %d at %s: the sum is too large: %w", d.Count(), p.Price, fault.Malformed)
	}
	o.Price.Minor *= int64(d.Count())
	a.Counter++
	o.Seq, o.Re = a.Counter, a.Letters.Disclosure
	signed, err := wire.Sign(key.FromSeed[key.Duty](a.Mine.Sign.Secret()), o)
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("offer: %w", err)
	}
	id := wire.ID(signed)
	inner := wire.SealOffer(secret, a.ID, signed)
	raw, _, err := wire.SealLetter(a.Theirs.OfferSeal, seal.Offer, t.m.cfg.Net, a.Theirs.OfferBox.Capability.Box, o.Expires, inner)
	if err != nil {
		return id, fmt.Errorf("offer: %w", err)
	}
	deal := records.Deal{
		ID: id, Grant: a.ID, Context: a.Context, Side: protocol.Vendor, Vendor: a.Vendor, VendorName: a.VendorName,
		Offer: *o, AtMS: t.nowMS,
	}
	if err := t.move(&deal, flow.Event{Kind: protocol.KindOffer, ID: id, By: protocol.Vendor, Until: o.Expires}, ""); err != nil {
		return id, err
	}
	if err := records.PutEnvelope(t, id, signed); err != nil {
		return id, err
	}
	if err := t.note("offer.sent", agreementNote(a, "offer", id.String(), "product", p.Product)); err != nil {
		return id, err
	}
	return id, t.put(outbox.Item{
		Data: raw, Envelope: id, Kind: protocol.KindOffer, Grant: a.ID, Expires: o.Expires, Hold: p.Hold,
	}, a.Theirs.OfferBox)
}

// offer keeps an offer that this customer's node opened, checked against her
// constraints: a miss is kept out of her way.
func (t *turn) offer(a records.Agreement, s wire.Signed) error {
	o, err := wire.As[*protocol.Offer](s)
	if err != nil {
		return err
	}
	if o.Grant != a.ID {
		return fmt.Errorf("offer under another grant: %w", fault.Denied)
	}
	if a.Flow.State != flow.Disclosed && a.Flow.State != flow.Suspended {
		if a.Flow.State.Over() {
			a.Offers.LateOpened++ // only a node that kept keys that it should have destroyed comes here
			return t.lateOffer(a)
		}
		return fmt.Errorf("offer under a grant that is %s: %w", a.Flow.State, fault.Conflict)
	}
	if err := t.m.tally.another(&a.Offers.Kept, a.ID); err != nil {
		return err
	}
	c, err := records.GetContext(t, a.Context)
	if err != nil {
		return err
	}
	if _, err := records.GetDeal(t, s.ID()); err == nil {
		return fmt.Errorf("offer %s came before, in another letter: %w", s.ID().Short(), fault.Conflict)
	}
	deal := records.Deal{
		ID: s.ID(), Grant: a.ID, Context: a.Context, Side: protocol.Customer, Vendor: a.Vendor, VendorName: a.VendorName,
		Offer: *o, AtMS: t.nowMS,
	}
	for _, miss := range terms.Misses(c.Demand, o, t.now) {
		deal.Misses = append(deal.Misses, miss.String())
	}
	if err := t.move(&deal, flow.Event{Kind: protocol.KindOffer, ID: s.ID(), By: protocol.Vendor, Until: o.Expires}, ""); err != nil {
		return err
	}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	kind := "offer.opened"
	if len(deal.Misses) > 0 {
		kind = "offer.missed"
	}
	if err := t.note(kind, agreementNote(&a, "offer", s.ID().String())); err != nil {
		return err
	}
	if err := t.acked(o.Re); err != nil {
		return err
	}
	if err := t.owe(&a, s.ID()); err != nil {
		return err
	}
	return t.keep(&a)
}

// move lets a deal take one event, keeps it with its next deadline, and sends the
// Cancel that the state machine asks for where time has cancelled it.
func (t *turn) move(d *records.Deal, e flow.Event, note string) error {
	e.At = t.now
	d.Flow.Me = d.Side
	next, acts, err := flow.NextDeal(d.Flow, e)
	if err != nil {
		return fmt.Errorf("%s of offer %s: %w", e.Kind, d.ID.Short(), err)
	}
	d.Flow = next
	if e.Kind != 0 && len(d.Steps) < records.MaxSteps {
		d.Steps = append(d.Steps, records.Step{Kind: e.Kind, By: e.By, ID: e.ID, AtMS: t.nowMS, Note: note})
		d.LastStep = e.ID
	}
	if slices.Contains(acts, flow.SendCancel) {
		if err := t.cancel(d); err != nil {
			return err
		}
	}
	at := int64(0)
	if due := d.Flow.Due(t.m.cfg.Genesis.Duties); due.At > 0 {
		at = int64(due.At) * 1000
	}
	if err := records.SetDue(t, records.DueDeal, d.ID, at); err != nil {
		return err
	}
	return records.PutDeal(t, *d)
}

// cancel tells the other side that a deal is off.
func (t *turn) cancel(d *records.Deal) error {
	a, err := records.GetAgreement(t, d.Grant)
	if err != nil {
		return err
	}
	m := &protocol.DealStep{Grant: a.ID, Offer: d.ID, Price: d.Offer.Price}
	id, err := t.sendDuty(&a, m, protocol.KindCancel, d.LastStep)
	if err != nil {
		return err
	}
	if err := t.keep(&a); err != nil {
		return err
	}
	return t.move(d, flow.Event{Kind: protocol.KindCancel, ID: id, Re: d.LastStep, By: d.Side}, "")
}

// dealDue tells a deal that time has passed.
func (t *turn) dealDue(id protocol.Hash) error {
	d, err := records.GetDeal(t, id)
	if err != nil {
		return records.SetDue(t, records.DueDeal, id, 0)
	}
	return t.move(&d, flow.Event{}, "")
}

// dealNotes name the ledger entries of a deal's steps.
var dealNotes = map[protocol.Kind]string{
	protocol.KindAccept: "deal.accepted", protocol.KindDecline: "deal.declined", protocol.KindConfirm: "deal.confirmed",
	protocol.KindFulfil: "deal.fulfilled", protocol.KindClose: "deal.closed", protocol.KindCancel: "deal.cancelled",
}

// Step moves a deal on by this side: Accept or Decline an offer, Confirm, Fulfil,
// Close or Cancel a deal.
func (m *Market) Step(ctx context.Context, id protocol.Hash, kind protocol.Kind, note string) error {
	return m.command(ctx, kind.String(), func(t *turn) error {
		d, err := records.GetDeal(t, id)
		if err != nil {
			return err
		}
		a, err := records.GetAgreement(t, d.Grant)
		if err != nil {
			return err
		}
		return t.sendStep(&a, &d, kind, note)
	})
}

// sendStep signs one step of a deal and sends it under duty keys.
func (t *turn) sendStep(a *records.Agreement, d *records.Deal, kind protocol.Kind, note string) error {
	m := &protocol.DealStep{Grant: a.ID, Offer: d.ID, Price: d.Offer.Price, Note: note}
	if err := d.Flow.May(d.Side, kind); err != nil {
		return fmt.Errorf("offer %s is %s: %w", d.ID.Short(), d.Flow.State, err)
	}
	re := d.LastStep
	id, err := t.sendDuty(a, m, kind, re)
	if err != nil {
		return err
	}
	if err := t.move(d, flow.Event{Kind: kind, ID: id, Re: re, By: d.Side}, note); err != nil {
		return err
	}
	if err := t.note(dealNotes[kind], agreementNote(a, "offer", d.ID.String(), "by", d.Side.String(), "envelope", id.String())); err != nil {
		return err
	}
	return t.keep(a)
}

// dealStep takes the other side's step.
func (t *turn) dealStep(a records.Agreement, s wire.Signed) error {
	m, err := wire.As[*protocol.DealStep](s)
	if err != nil {
		return err
	}
	d, err := records.GetDeal(t, m.Offer)
	if err != nil {
		return err
	}
	if m.Grant != a.ID || d.Grant != a.ID || m.Price != d.Offer.Price {
		return fmt.Errorf("%s is not of the offer that was made: %w", s.Kind(), fault.Denied)
	}
	if err := t.move(&d, said(s, d.Side.Other(), 0), m.Note); err != nil {
		return err
	}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	if err := t.note(dealNotes[s.Kind()], agreementNote(&a, "offer", d.ID.String(), "by", d.Side.Other().String(), "envelope", s.ID().String())); err != nil {
		return err
	}
	f := follow(t)
	switch {
	case d.Flow.State == flow.Accepted && d.Side == protocol.Vendor && f.Confirm:
		if err := t.sendStep(&a, &d, protocol.KindConfirm, ""); err != nil {
			return err
		}
		if f.Fulfil {
			return t.sendStep(&a, &d, protocol.KindFulfil, "")
		}
		return nil
	default:
		if err := t.owe(&a, s.ID()); err != nil {
			return err
		}
		return t.keep(&a)
	}
}

// BestOffer finds the standing offer of lowest price for a context, offers on
// request last; fault.NotFound.
func BestOffer(r kv.Reader, c protocol.ContextID) (best records.Deal, err error) {
	found := false
	err = records.EachUnder(r, c, func(a records.Agreement) (bool, error) {
		return true, records.EachOf(r, a.ID, func(d records.Deal) (bool, error) {
			if d.Flow.State == flow.Offered && len(d.Misses) == 0 && (!found || better(d, best)) {
				best, found = d, true
			}
			return true, nil
		})
	})
	if err == nil && !found {
		err = fmt.Errorf("no standing offer: %w", fault.NotFound)
	}
	return best, err
}

func better(a, b records.Deal) bool {
	pa, pb := a.Offer.Price.Minor, b.Offer.Price.Minor
	switch {
	case (pa == 0) != (pb == 0):
		return pb == 0
	case a.Offer.Rank != b.Offer.Rank:
		return a.Offer.Rank < b.Offer.Rank
	case pa != pb:
		return pa < pb
	}
	return a.ID.String() < b.ID.String()
}
