package market

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
)

// costly is an agreement at a price, in a state, of which so much was disclosed.
func costly(me protocol.Side, s flow.AgreementState, minor int64, leases uint64, settled int64) Agreement {
	return Agreement{
		ID: h(1), Vendor: h(9), VendorName: "Veld & Vine", Flow: flow.Agreement{Me: me, State: s}, Leases: leases,
		Paying: Paying{Price: protocol.Money{Minor: minor, Currency: "ZAR"}, SettledMS: settled},
	}
}

func TestWhatIsOwed(t *testing.T) {
	price := protocol.Money{Minor: 500, Currency: "ZAR"}
	promised, due := Debt{price, false}, Debt{price, true}
	for name, c := range map[string]struct {
		a    Agreement
		want Debt
	}{
		"free of charge":                   {costly(protocol.Customer, flow.Disclosed, 0, 3, 0), Debt{}},
		"asked for, with her":              {costly(protocol.Customer, flow.Requested, 500, 0, 0), Debt{}},
		"asked for, with the vendor":       {costly(protocol.Vendor, flow.Requested, 500, 0, 0), promised},
		"countered":                        {costly(protocol.Vendor, flow.Countered, 500, 0, 0), Debt{}},
		"granted":                          {costly(protocol.Customer, flow.Granted, 500, 0, 0), promised},
		"countersigned":                    {costly(protocol.Customer, flow.Receipted, 500, 0, 0), promised},
		"disclosed":                        {costly(protocol.Customer, flow.Disclosed, 500, 1, 0), due},
		"revoked before anything was said": {costly(protocol.Customer, flow.Revoked, 500, 0, 0), Debt{}},
		"expired before anything was said": {costly(protocol.Vendor, flow.Expired, 500, 0, 0), Debt{}},
		"deleted after it":                 {costly(protocol.Customer, flow.Deleted, 500, 1, 0), due},
		"lapsed after it":                  {costly(protocol.Customer, flow.Lapsed, 500, 1, 0), due},
		"settled":                          {costly(protocol.Customer, flow.Disclosed, 500, 1, 7), Debt{}},
	} {
		if got := c.a.Debt(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Whatever becomes of many agreements, the accounts are what they come to.
func TestAccountsAreTheSumOfTheirDebts(t *testing.T) {
	s := kv.Memory()
	dice := rand.New(rand.NewPCG(1, 2))
	all := make([]Agreement, 40)
	for i := range all {
		side := protocol.Customer
		if i%3 == 0 {
			side = protocol.Vendor
		}
		all[i] = costly(side, flow.Requested, int64(dice.IntN(3)*100), 0, 0)
		all[i].ID, all[i].Vendor = h(byte(i+1)), h(byte(200+i%4))
		all[i].Paying.Price.Currency = []protocol.Currency{"ZAR", "NAD", "ZMW"}[dice.IntN(3)]
	}
	for range 2000 {
		a := &all[dice.IntN(len(all))]
		a.Flow.State = flow.AgreementState(dice.IntN(12))
		a.Leases = uint64(dice.IntN(2))
		a.Paying.SettledMS = int64(dice.IntN(4) / 3)
		update(t, s, func(tx kv.Tx) error { return Book(tx, a) })
	}
	type at struct {
		side   protocol.Side
		vendor protocol.VendorID
		c      protocol.Currency
	}
	want := map[at]Sum{}
	for i := range all {
		if d := all[i].Debt(); d.Amount.Minor > 0 {
			k := at{all[i].Flow.Me, all[i].Vendor, d.Amount.Currency}
			sum := want[k]
			sum.Currency = k.c
			if sum.Grants++; d.Due {
				sum.Owed += d.Amount.Minor
			} else {
				sum.Promised += d.Amount.Minor
			}
			want[k] = sum
		}
	}
	err := s.View(t.Context(), func(r kv.Reader) error {
		return EachAccount(r, func(a Account) (bool, error) {
			for _, got := range a.Sums {
				k := at{a.Side, a.Vendor, got.Currency}
				if got != want[k] {
					t.Errorf("%+v: %+v, want %+v", k, got, want[k])
				}
				delete(want, k)
			}
			return true, nil
		})
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; without an account: %+v", err, want)
	}
}

func TestAnAccountHasBounds(t *testing.T) {
	var a Account
	most := func(c protocol.Currency, minor int64) protocol.Money {
		return protocol.Money{Minor: minor, Currency: c}
	}
	for _, c := range []protocol.Currency{"AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH"} {
		if !a.Room(most(c, 1), most(c, 1)) {
			t.Errorf("no room for %s", c)
		}
		if err := a.add(Debt{most(c, 1), false}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if a.Room(most("III", 1), most("III", 9)) {
		t.Error("there is room for a ninth currency")
	}
	if err := a.add(Debt{most("III", 1), false}, 1); !errors.Is(err, fault.Full) {
		t.Errorf("a ninth currency: %v", err)
	}
	for name, c := range map[string]struct {
		price, most protocol.Money
		want        bool
	}{
		"exactly":          {most("AAA", 4), most("AAA", 5), true},
		"one more":         {most("AAA", 5), most("AAA", 5), false},
		"another currency": {most("AAA", 1), most("BBB", 9), false},
	} {
		if got := a.Room(c.price, c.most); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
