package nodetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/desk"
)

// waiting does something with the request of a vendor that waits for a customer.
func waiting(m *Member, vendor string, do func(id string) error) error {
	p, err := m.Customer().Requests().List(bg, desk.Query{State: "requested", Vendor: vendor})
	if err != nil {
		return err
	}
	if len(p.Items) != 1 {
		return fmt.Errorf("%d requests of %s wait for %s, want one", len(p.Items), vendor, m.Name)
	}
	return do(p.Items[0].ID)
}

// less grants a request, less the pairs that follow: fields a,b; days 7; coarse
// field=level; price field=minor.
func less(m *Member, vendor string, a []string) error {
	var s desk.LessSpec
	for pair := range slices.Chunk(a, 2) {
		if len(pair) < 2 {
			return fmt.Errorf("%s has no value", pair[0])
		}
		field, is, _ := strings.Cut(pair[1], "=")
		var err error
		switch pair[0] {
		case "fields":
			s.Fields = strings.Split(pair[1], ",")
		case "days":
			s.Days, err = strconv.Atoi(pair[1])
		case "coarse":
			s.Coarse = map[string]string{field: is}
		case "price":
			s.Price = map[string]int64{}
			s.Price[field], err = strconv.ParseInt(is, 10, 64)
		default:
			err = fmt.Errorf("%q is none of fields, days, coarse, price", pair[0])
		}
		if err != nil {
			return err
		}
	}
	return waiting(m, vendor, func(id string) error {
		_, err := m.Customer().Requests().Grant(bg, id, s)
		return err
	})
}

// countRequests counts those of a node's requests that are so.
func countRequests(m *Member, so func(desk.Request) bool) (string, error) {
	p, err := m.Customer().Requests().List(bg, desk.Query{Limit: 500})
	return count(slices.DeleteFunc(p.Items, func(r desk.Request) bool { return !so(r) })), err
}

// pays has a vendor's rules pay so many cents for one grant.
func pays(_ *Story, m *Member, a []string) error {
	minor, err := strconv.ParseInt(a[0], 10, 64)
	if err != nil {
		return err
	}
	f := sells
	f.Pay = desk.Money{Minor: minor, Currency: "ZAR"}
	_, err = m.Vendor().Rules().Set(bg, f)
	return err
}

// credit lets one vendor owe a customer so many cents.
func credit(_ *Story, m *Member, a []string) error {
	minor, err := strconv.ParseInt(a[0], 10, 64)
	if err != nil {
		return err
	}
	_, err = m.Consent().Credit(bg, desk.Money{Minor: minor, Currency: "ZAR"})
	return err
}

// settled says that a vendor paid all that it owes.
func settled(_ *Story, m *Member, a []string) error {
	for _, g := range m.Grants(desk.Query{Vendor: a[0]}) {
		if g.Owed == nil {
			continue
		}
		if _, err := m.Customer().Grants().Settle(bg, g.ID, "in cash"); err != nil {
			return err
		}
	}
	return nil
}

// owed adds up debts: what is owed, and after a + what is promised, where there is some.
func owed(m *Member, of func(desk.Debt) bool) (string, error) {
	st, err := m.Admin().Status(bg)
	var is, will int64
	for _, d := range st.Owed {
		if of(d) {
			is, will = is+d.Owed.Minor, will+d.Promised.Minor
		}
	}
	if will > 0 {
		return fmt.Sprintf("%d + %d", is, will), err
	}
	return fmt.Sprint(is), err
}
