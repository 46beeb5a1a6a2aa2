package market

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
)

// Paying is how what an agreement costs is paid.
type Paying struct {
	Price     protocol.Money // of the grant; of the request, on a vendor's side, until there is one
	Proof     protocol.Hash  // the voucher that was taken, or given
	SettledMS int64          // when this node's owner said that it was paid
	How       string         // her, or its, own words about that
	Refused   bool           // a payment of another form came, and was noted once
	Booked    Debt           // what this agreement adds to the account of its vendor
}

// A Debt is what one agreement makes a vendor owe. It is never anything that was earned.
type Debt struct {
	Amount protocol.Money
	Due    bool // something was disclosed for it; before that it is only promised
}

// Debt follows from the agreement alone: its price, from the moment when its vendor is bound
// to pay it, and until it is settled. Of a grant that ended before anything was disclosed
// nothing is owed.
func (a *Agreement) Debt() Debt {
	price := a.Paying.Price
	asked := a.Flow.Me == protocol.Vendor && a.Flow.State == flow.Requested
	switch {
	case price.Minor == 0 || a.Paying.SettledMS > 0:
		return Debt{}
	case a.Leases > 0:
		return Debt{price, true}
	case a.Flow.State.Live() || asked:
		return Debt{price, false}
	}
	return Debt{}
}

// An Account sums what one vendor owes to this node's customer or, on a vendor's own node,
// to all customers.
type Account struct {
	Side   protocol.Side
	Vendor protocol.VendorID
	Name   string
	Sums   []Sum // by currency, in order, none of them empty
}

// A Sum is an account's part in one currency, in minor units.
type Sum struct {
	Currency       protocol.Currency
	Owed, Promised int64
	Grants         uint32 // of which it comes
}

// MaxSums bounds the currencies of an account.
const MaxSums = 8

// Sum gives the part in a currency; zero where there is none.
func (a *Account) Sum(c protocol.Currency) Sum {
	for _, s := range a.Sums {
		if s.Currency == c {
			return s
		}
	}
	return Sum{Currency: c}
}

// Room reports whether a price more leaves all that is owed and promised within the most.
func (a *Account) Room(price, most protocol.Money) bool {
	s := a.Sum(price.Currency)
	if s.Grants == 0 && len(a.Sums) >= MaxSums {
		return false
	}
	return price.Currency == most.Currency && price.Minor <= most.Minor-s.Owed-s.Promised
}

// add books a debt, or takes it out again.
func (a *Account) add(d Debt, sign int64) error {
	if d.Amount.Minor == 0 {
		return nil
	}
	i, there := slices.BinarySearchFunc(a.Sums, d.Amount.Currency, func(s Sum, c protocol.Currency) int { return cmp.Compare(s.Currency, c) })
	if !there {
		if len(a.Sums) >= MaxSums {
			return fmt.Errorf("debts of vendor %s in %d currencies: %w", a.Vendor.Short(), len(a.Sums), fault.Full)
		}
		a.Sums = slices.Insert(a.Sums, i, Sum{Currency: d.Amount.Currency})
	}
	s := &a.Sums[i]
	if d.Due {
		s.Owed += sign * d.Amount.Minor
	} else {
		s.Promised += sign * d.Amount.Minor
	}
	s.Grants = uint32(int64(s.Grants) + sign)
	if s.Grants == 0 {
		a.Sums = slices.Delete(a.Sums, i, i+1)
	}
	return nil
}

const accounts table[Account] = "k/g/" // side ‖ vendor

func accountID(s protocol.Side, v protocol.VendorID) []byte { return append([]byte{byte(s)}, v[:]...) }

// GetAccount finds it; a vendor that owes nothing has an empty one.
func GetAccount(r kv.Reader, s protocol.Side, v protocol.VendorID) (Account, error) {
	a, err := accounts.get(r, accountID(s, v))
	if errors.Is(err, fault.NotFound) {
		return Account{Side: s, Vendor: v}, nil
	}
	return a, err
}

// EachAccount calls fn for every account with something in it, those of customers first.
func EachAccount(r kv.Reader, fn func(Account) (bool, error)) error {
	return accounts.scan(r, nil, nil, func(_ []byte, a Account) (bool, error) { return fn(a) })
}

// Book brings the account of an agreement's vendor up to what the agreement now owes. The
// caller keeps the agreement, in the same transaction.
func Book(tx kv.Tx, a *Agreement) error {
	now := a.Debt()
	if now == a.Paying.Booked {
		return nil
	}
	sum, err := GetAccount(tx, a.Flow.Me, a.Vendor)
	if err == nil {
		err = errors.Join(sum.add(a.Paying.Booked, -1), sum.add(now, 1))
	}
	if err != nil {
		return err
	}
	sum.Name, a.Paying.Booked = a.VendorName, now
	id := accountID(sum.Side, sum.Vendor)
	if len(sum.Sums) == 0 {
		return tx.Delete(accounts.key(id))
	}
	return accounts.put(tx, id, sum)
}
