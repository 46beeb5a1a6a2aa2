package desks

import (
	"cmp"
	"context"
	"fmt"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// priceOf is what a request pays for all of its fields.
func priceOf(a records.Agreement) *desk.Money {
	list := make([]protocol.Money, len(a.Terms.Asked))
	for i, f := range a.Terms.Asked {
		list[i] = f.Price
	}
	total, _ := protocol.Sum(list...) // what came over the wire has a sum
	return desk.ShowMoney(total)
}

// counterOf is what she would grant instead of what was asked.
func counterOf(a records.Agreement) (out []desk.FieldPrice) {
	if a.Flow.State != flow.Countered {
		return nil
	}
	for _, f := range a.Terms.Fields {
		out = append(out, desk.FieldPrice{Field: string(f.Name), Price: desk.ShowMoney(f.Price)})
	}
	return out
}

// showPaying adds what a grant costs, and what of it is owed.
func showPaying(v *desk.Grant, a records.Agreement) {
	if a.Paying.Price.Minor == 0 {
		return
	}
	v.Price, v.Rail = desk.ShowMoney(a.Paying.Price), "voucher"
	v.Settled, v.SettledHow = momentMS(a.Paying.SettledMS), a.Paying.How
	if d := a.Debt(); d.Due {
		v.Owed = desk.ShowMoney(d.Amount)
	}
}

// priced puts prices to what a vendor asks for by hand. What costs something is not asked for
// by mistake.
func priced(fields []protocol.FieldAsk, spec desk.AskSpec, offer []protocol.FieldOnOffer) error {
	cur := protocol.Currency(cmp.Or(spec.Currency, "ZAR"))
	if !cur.Valid() {
		return fmt.Errorf("currency %q is not in ISO 4217: %w", spec.Currency, fault.Malformed)
	}
	named := 0
	for i, f := range fields {
		if minor, ok := spec.Price[string(f.Name)]; ok {
			fields[i].Price = protocol.Money{Minor: minor, Currency: cur}
			named++
		}
		if !fields[i].Price.Valid() && fields[i].Price.Minor != 0 {
			return fmt.Errorf("field %q at the price %s: %w", string(f.Name), fields[i].Price, fault.Malformed)
		}
		for _, o := range offer {
			if o.Name == f.Name && o.Floor.Minor > fields[i].Price.Minor {
				return fmt.Errorf("field %q costs at least %s; name a price for it, or leave it out: %w", string(f.Name), o.Floor, fault.Malformed)
			}
		}
	}
	if named != len(spec.Price) {
		return fmt.Errorf("a price is named for a field that is not asked for: %w", fault.Malformed)
	}
	return nil
}

// readMoney reads an amount where there is one.
func readMoney(into *protocol.Money, v desk.Money) error {
	if v.Minor == 0 && v.Currency == "" {
		return nil
	}
	m := protocol.Money{Minor: v.Minor, Currency: protocol.Currency(v.Currency)}
	if !m.Valid() {
		return fmt.Errorf("an amount of %s: %w", m, fault.Malformed)
	}
	*into = m
	return nil
}

// Settle implements desk.Grants.
func (d Grants) Settle(ctx context.Context, id, how string) (desk.Grant, error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return desk.Grant{}, err
	}
	if err := d.Market.Settle(ctx, gid, how); err != nil {
		return desk.Grant{}, err
	}
	return d.Get(ctx, hexOf(gid))
}

// Credit implements desk.Consent.
func (d Consent) Credit(ctx context.Context, most desk.Money) (desk.ConsentView, error) {
	var m protocol.Money
	if err := readMoney(&m, most); err != nil {
		return desk.ConsentView{}, err
	}
	if err := d.Market.SetCredit(ctx, m); err != nil {
		return desk.ConsentView{}, err
	}
	return d.Get(ctx)
}

// credits lists the most that one vendor may owe.
func credits(r kv.Reader) ([]desk.Money, error) {
	list, err := market.Credits(r)
	out := []desk.Money{}
	for _, m := range list {
		out = append(out, *desk.ShowMoney(m))
	}
	return out, err
}

// maxDebts bounds the list of what is owed.
const maxDebts = 100

// Debts lists what vendors owe, and what this one does, for status.
func Debts(r kv.Reader) ([]desk.Debt, error) {
	out := []desk.Debt{}
	err := records.EachAccount(r, func(a records.Account) (bool, error) {
		for _, s := range a.Sums {
			of := func(minor int64) desk.Money {
				return *desk.ShowMoney(protocol.Money{Minor: minor, Currency: s.Currency})
			}
			v := desk.Debt{
				Side: a.Side.String(), Vendor: a.Vendor.String(), Name: a.Name, Owed: of(s.Owed), Promised: of(s.Promised), Grants: int(s.Grants),
			}
			if a.Side == protocol.Customer {
				most, err := market.CreditOf(r, s.Currency)
				if err != nil {
					return false, err
				}
				v.Most = desk.ShowMoney(most)
			}
			out = append(out, v)
		}
		return len(out) < maxDebts, nil
	})
	return out[:min(len(out), maxDebts)], err
}
