package market

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// How what costs something is paid:
//
//  1. A price is named: as a floor on offer, or in a counter. The vendor's node asks (again)
//     at that price where its rules, or its owner, pay it.
//  2. Her node lets no vendor owe her more than she said, over all her needs and relations
//     together: what would go beyond is not granted.
//  3. The vendor's Receipt brings the proof. It is checked against the signed Grant, and
//     written into the ledger, before anything leaves the vault: no pay, no key.
//  4. From the first Disclosure the price is owed. It is settled outside of all this, and
//     each side says so on its own node.

// Rails pay what a grant costs, and check what was paid; package pay does.
type Rails interface {
	// Quote names the rail that pays a price: none for nothing.
	Quote(price protocol.Money) (protocol.Rail, error)
	// Pay writes the proof of payment into a Receipt whose header is made; by signs both.
	Pay(grant wire.Signed, r *protocol.Receipt, by key.Private[key.Operational]) error
	// Verify holds a Receipt to its Grant; proof names the payment, zero where there is none.
	Verify(grant, receipt wire.Signed) (proof protocol.Hash, err error)
	// Settle tells what a payment leaves to be paid.
	Settle(grant, receipt wire.Signed) (protocol.Money, error)
}

// settingCredit names how much one vendor may owe her, by currency.
const settingCredit = "consent.credit"

// DefaultCredit is what one vendor may owe until she says otherwise: so many whole units of
// any currency.
const DefaultCredit = 50

// maxCredits bounds the currencies for which she says otherwise.
const maxCredits = 16

// saidCredits are the currencies for which she said how much one vendor may owe.
func saidCredits(r kv.Reader) (list []protocol.Money, err error) {
	if err = records.GetSetting(r, settingCredit, &list); errors.Is(err, fault.NotFound) {
		err = nil
	}
	return list, err
}

// CreditOf is the most that one vendor may owe her in a currency.
func CreditOf(r kv.Reader, c protocol.Currency) (protocol.Money, error) {
	list, err := saidCredits(r)
	for _, m := range list {
		if m.Currency == c {
			return m, err
		}
	}
	most := protocol.Money{Minor: DefaultCredit, Currency: c}
	for range c.Decimals() {
		most.Minor *= 10
	}
	return most, err
}

// Credits lists the most that one vendor may owe her, by currency: rand first, which is what
// needs are in where nobody says otherwise.
func Credits(r kv.Reader) (list []protocol.Money, err error) {
	said, err := saidCredits(r)
	if err != nil {
		return nil, err
	}
	rand, err := CreditOf(r, "ZAR")
	list = append(list, rand)
	for _, m := range said {
		if m.Currency != rand.Currency {
			list = append(list, m)
		}
	}
	return list, err
}

// SetCredit says how much one vendor may owe her in a currency; 0: nothing is granted for
// money. What is owed already stays owed.
func (m *Market) SetCredit(ctx context.Context, most protocol.Money) error {
	if !most.Valid() {
		return fmt.Errorf("at most %s from one vendor: %w", most, fault.Malformed)
	}
	return m.command(ctx, "credit", func(t *turn) error {
		list, err := saidCredits(t)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(old protocol.Money) bool { return old.Currency == most.Currency })
		if len(list) >= maxCredits {
			return fmt.Errorf("limits in %d currencies, at most so many: %w", len(list), fault.Full)
		}
		if err := records.PutSetting(t, settingCredit, append(list, most)); err != nil {
			return err
		}
		return t.note("consent.credit", map[string]string{"most": most.String()})
	})
}

// credit judges whether a vendor may owe her one price more. What no vendor may owe is
// refused, and the vendor is told. What this one may not owe since it owes something already
// is left to her: a refusal would tell it that she is the customer of another of its grants.
func (t *turn) credit(v protocol.VendorID, price protocol.Money) (terms.Decision, error) {
	if price.Minor == 0 {
		return terms.Decision{Grant: true}, nil
	}
	most, err := CreditOf(t, price.Currency)
	if err != nil {
		return terms.Decision{}, err
	}
	if price.Minor > most.Minor {
		return terms.OverCredit.Refuse("%s is more than she lets a vendor owe her", price), nil
	}
	has, err := records.GetAccount(t, protocol.Customer, v)
	if err != nil || has.Room(price, most) {
		return terms.Decision{Grant: true}, err
	}
	s := has.Sum(price.Currency)
	d := terms.OverCredit.Refuse("this vendor owes you, or has promised, %s already, and may owe %s at most: %s more would go beyond",
		protocol.Money{Minor: s.Owed + s.Promised, Currency: price.Currency}, most, price)
	d.Ask = true
	return d, nil
}

// affords refuses, to her, what would go beyond it.
func (t *turn) affords(v protocol.VendorID, fields []protocol.FieldGrant) error {
	price, err := priceOf(fields)
	if err != nil {
		return err
	}
	d, err := t.credit(v, price)
	if err != nil || d.Grant {
		return err
	}
	return fmt.Errorf("%s (rule %s); settle what was paid with hark grant settle, or say with hark consent credit how much one vendor may owe: %w", d.Why, d.Rule, fault.Denied)
}

// priceOf is what fields cost together.
func priceOf(fields []protocol.FieldGrant) (protocol.Money, error) {
	list := make([]protocol.Money, len(fields))
	for i, f := range fields {
		list[i] = f.Price
	}
	return sum(list)
}

// askedPrice is what a request pays for its fields together.
func askedPrice(fields []protocol.FieldAsk) (protocol.Money, error) {
	list := make([]protocol.Money, len(fields))
	for i, f := range fields {
		list[i] = f.Price
	}
	return sum(list)
}

func sum(list []protocol.Money) (protocol.Money, error) {
	total, ok := protocol.Sum(list...)
	if !ok {
		return total, fmt.Errorf("prices in several currencies, or too high together: %w", fault.Malformed)
	}
	return total, nil
}

// An unpaid is a Receipt that is right but for its payment.
type unpaid struct {
	grant protocol.GrantID
	err   error
}

func (e *unpaid) Error() string {
	return fmt.Sprintf("grant %s is not paid as was agreed: %v", e.grant.Short(), e.err)
}

func (e *unpaid) Unwrap() error { return e.err }

// paid checks the payment in a Receipt against the grant that she signed, and takes it: each
// proof once.
func (t *turn) paid(a *records.Agreement, receipt wire.Signed) error {
	grant, err := t.signed(a.Letters.Grant)
	if err != nil {
		return err
	}
	proof, err := t.m.cfg.Rails.Verify(grant, receipt)
	if err != nil {
		return &unpaid{a.ID, err}
	}
	if proof.IsZero() {
		return nil
	}
	box := key.FromSeed[key.Mailbox](a.Mine.Box.Secret()).Public()
	fresh, err := t.once(box, proof, a.Terms.End+t.m.cfg.Genesis.Duties.Boxes)
	if err != nil {
		return err
	}
	if !fresh {
		return &unpaid{a.ID, fmt.Errorf("voucher %s was taken before: %w", proof.Short(), fault.Denied)}
	}
	a.Paying.Proof = proof
	if !a.Flow.State.Live() {
		return nil // it crossed her revocation: nothing is disclosed, and nothing owed
	}
	return t.note("voucher.taken", agreementNote(a, "amount", a.Paying.Price.String(), "voucher", proof.String()))
}

// unpaid notes, once for each grant, that its vendor tried to have it without paying.
func (t *turn) unpaid(e *unpaid) error {
	a, err := records.GetAgreement(t, e.grant)
	if err != nil || a.Paying.Refused {
		return err
	}
	a.Paying.Refused = true
	d := terms.Unpaid.Refuse("%s", e.Error())
	a.Terms.Why, a.Terms.Law = d.Why, d.Law
	return t.advanceNote(&a, "payment.refused", "rule", d.Rule, "law", d.Law, "why", d.Why)
}

// Settle says that what is owed under a grant was paid: on her node that she has it, on a
// vendor's that it has paid; how, in the owner's own words.
func (m *Market) Settle(ctx context.Context, id protocol.GrantID, how string) error {
	if len(how) > protocol.MaxText {
		return fmt.Errorf("%d bytes of words, at most %d: %w", len(how), protocol.MaxText, fault.Malformed)
	}
	return m.command(ctx, "settle", func(t *turn) error {
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		if !a.Debt().Due {
			return fmt.Errorf("nothing is owed under grant %s: %w", id.Short(), fault.Conflict)
		}
		grant, err := t.signed(a.Letters.Grant)
		if err != nil {
			return err
		}
		receipt, err := t.signed(a.Letters.Receipt)
		if err != nil {
			return err
		}
		price, err := m.cfg.Rails.Settle(grant, receipt)
		if err != nil {
			return err
		}
		a.Paying.SettledMS, a.Paying.How = t.nowMS, how
		return t.advanceNote(&a, "voucher.settled", "amount", price.String(), "voucher", a.Paying.Proof.String(), "how", how)
	})
}

// A countered is a counter of hers, with the request that it answered.
type countered struct {
	a     records.Agreement
	first asking
}

// counterOf finds the counter that a request answers; nil where it answers none.
func (t *turn) counterOf(c *records.Context, q *asking) (*countered, error) {
	if q.after.IsZero() {
		return nil, nil
	}
	a, err := records.GetAgreement(t, q.after)
	if err != nil {
		return nil, err
	}
	first, err := t.askingOf(&a, c)
	if err != nil {
		return nil, err
	}
	return &countered{a, first}, nil
}

// dearer refuses a request that pays less than the counter which it answers named.
func (k *countered) dearer(r *protocol.Request) terms.Decision {
	if k == nil {
		return terms.Decision{}
	}
	for _, f := range r.Fields {
		for _, g := range k.a.Terms.Fields {
			if g.Name == f.Name && !terms.Covers(f.Price, g.Price) {
				return terms.TooCheap.Refuse("%s costs at least %s, as she answered", f.Name, g.Price)
			}
		}
	}
	return terms.Decision{}
}

// met reports whether a request asks for no more, and pays no less, than the counter named,
// and tells nothing else than the request did that she answered.
func (k *countered) met(q *asking) bool {
	if k == nil || len(q.r.Fields) == 0 || q.r.Until == 0 || q.r.Until > k.a.Terms.End {
		return false
	}
	for _, f := range q.r.Fields {
		if !slices.ContainsFunc(k.a.Terms.Fields, func(g protocol.FieldGrant) bool {
			return g.Name == f.Name && g.Purpose == f.Purpose && g.Form == f.Form && f.Retention <= g.Retention && terms.Covers(f.Price, g.Price)
		}) {
			return false
		}
	}
	was := k.first
	return q.r.Basis == was.r.Basis && q.r.Notice == was.r.Notice && slices.Equal(q.r.Recipients, was.r.Recipients) &&
		slices.Equal(q.r.Countries, was.r.Countries) && q.more.Protection == was.more.Protection && q.more.Automated == was.more.Automated
}
