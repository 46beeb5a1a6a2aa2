package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// Counter answers a request that waits with what she would grant, and for how much. The
// vendor may ask once more, and carries the capability for it, so that it works on no
// second stamp.
func (m *Market) Counter(ctx context.Context, id protocol.GrantID, less Less, prices map[protocol.FieldName]int64) error {
	return m.command(ctx, "counter", func(t *turn) error {
		a, c, err := t.waiting(id)
		if err != nil {
			return err
		}
		q, err := t.askingOf(&a, &c)
		if err != nil {
			return err
		}
		fields, err := t.lessOf(terms.GrantFields(q.r), less)
		if err != nil {
			return err
		}
		priced := 0
		for i := range fields {
			if p, ok := prices[fields[i].Name]; ok {
				fields[i].Price = protocol.Money{Minor: p, Currency: cmp.Or(c.Demand.Currency, "ZAR")}
				priced++
			}
		}
		if priced != len(prices) {
			return fmt.Errorf("a price is named for a field that is not among those to be granted: %w", fault.Malformed)
		}
		if err := t.affords(a.Vendor, fields); err != nil {
			return err
		}
		until := a.Terms.End
		if less.Days > 0 {
			until = min(until, t.now+protocol.Second(less.Days)*protocol.Day)
		}
		return t.counter(&a, c, q, fields, until)
	})
}

func (t *turn) counter(a *records.Agreement, c records.Context, q asking, fields []protocol.FieldGrant, until protocol.Second) error {
	retry, err := t.admit(key.FromSeed[key.Mailbox](c.Keys.Box.Secret()), c.Keepers, t.now+t.letters(), replyLetters, replyKiB)
	if err != nil {
		return err
	}
	m := &protocol.Counter{
		Header: t.header(protocol.KindCounter, q.r.Vendor, protocol.Hash(c.ID), t.letters()),
		Fields: fields, Until: until, Retry: retry,
	}
	m.Re = q.id
	signed, err := wire.Sign(key.FromSeed[key.Context](c.Keys.Sign.Secret()), m)
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	a.Terms.Fields, a.Terms.End, a.Terms.Why, a.Terms.Law = fields, until, "she would grant something else", terms.HerWord.Law()
	if err := t.decided(a, terms.HerWord.Refuse(""), "person"); err != nil {
		return err
	}
	a.Terms.Consent.Less = true
	e := flow.Event{Kind: protocol.KindCounter, ID: wire.ID(signed), Re: q.id, By: protocol.Customer}
	if err := t.advance(a, e, "counter.sent", append(consentNote(a), "fields", granted(fields))...); err != nil {
		return err
	}
	raw, _, err := wire.SealLetter(q.r.Seal, seal.Vendor, t.m.cfg.Net, q.r.Reply.Capability.Box, m.Expires, signed)
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	return t.put(outbox.Item{Data: raw, Kind: protocol.KindCounter, Grant: a.ID, Expires: m.Expires}, q.r.Reply)
}

// countered keeps a counter-proposal, and the way in which the next request goes. Whether
// there is one is for the vendor's rules to say, and for its owner.
func (t *turn) countered(a records.Agreement, s wire.Signed) error {
	m, err := wire.As[*protocol.Counter](s)
	if err != nil {
		return err
	}
	a.Terms.Fields, a.Terms.End, a.Theirs.Box = m.Fields, m.Until, m.Retry
	if err := t.advance(&a, said(s, protocol.Customer, 0), "request.countered", "fields", granted(m.Fields)); err != nil {
		return err
	}
	return t.meet(&a, m)
}

// again tells by which way an announcement is asked about: none yet; or, where the
// request was countered, the way that the counter opened. Anything else was asked before,
// and a vendor asks once.
func (t *turn) again(c protocol.ContextID, v protocol.VendorID) (retry *protocol.Address, err error) {
	was, err := records.Asked(t, c)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := records.GetAgreement(t, wire.GrantID(c, v, was))
	if err == nil && a.Flow.State == flow.Countered && !a.Theirs.Box.Seed.IsZero() {
		return &a.Theirs.Box, nil
	}
	d := terms.AskedBefore.Refuse("need %s was asked already, by request %s", short(c), was.Short())
	return nil, fmt.Errorf("%w: %w", because(d), fault.Conflict)
}
