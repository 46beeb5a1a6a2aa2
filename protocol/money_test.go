package protocol

import (
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

func TestMoneyRead(t *testing.T) {
	for _, c := range []struct {
		text string
		c    Currency
		want string
	}{
		{"399", "ZAR", "ZAR 399.00"}, {"0.0", "ZAR", "ZAR 0.00"}, {"0", "JPY", "JPY 0"}, {"1.58095e+03", "USD", "USD 1 580.95"},
		{"1.58095E3", "USD", "USD 1 580.95"}, {"5e-1", "USD", "USD 0.50"}, {"0e99", "USD", "USD 0.00"}, {"15.00 ZAR", "", "ZAR 15.00"},
		{"15.00 ZAR", "USD", "ZAR 15.00"}, {"599.25 gbp", "ZAR", "GBP 599.25"}, {"ZAR 1 234.50", "", "ZAR 1 234.50"},
		{"$1,299.99", "USD", "USD 1 299.99"}, {"$1,299.99", "AUD", "AUD 1 299.99"}, {"US$ 12", "ZAR", "USD 12.00"}, {"R 1 299,00", "ZAR", "ZAR 1 299.00"},
		{"R1299", "", "ZAR 1 299.00"}, {"R 1\u00a0299,00", "ZAR", "ZAR 1 299.00"}, {"R15 ZAR", "ZAR", "ZAR 15.00"}, {"€1.299,99", "ZAR", "EUR 1 299.99"},
		{"1,299,000", "ZAR", "ZAR 1 299 000.00"}, {"1.299.000", "EUR", "EUR 1 299 000.00"}, {"₹12,34,567.50", "INR", "INR 1 234 567.50"},
		{"12'500.00", "CHF", "CHF 12 500.00"}, {"12.5", "ZAR", "ZAR 12.50"}, {"12,5", "ZAR", "ZAR 12.50"}, {"1299.500", "ZAR", "ZAR 1 299.50"},
		{"0.500", "ZAR", "ZAR 0.50"}, {"15.0000", "ZAR", "ZAR 15.00"}, {"399.00", "JPY", "JPY 399"}, {"12.500", "KWD", "KWD 12.500"},
		{"1,299.500", "KWD", "KWD 1 299.500"}, {"¥ 12 000", "JPY", "JPY 12 000"}, {"KSh 1 500", "", "KES 1 500.00"}, {" 7 \t", "ZAR", "ZAR 7.00"},
		{"90000000000000", "ZAR", "ZAR 90 000 000 000 000.00"}, {"00399", "ZAR", "ZAR 399.00"}, {"9e15", "JPY", "JPY 9 000 000 000 000 000"},
	} {
		m, err := ParseAmount(c.text, c.c)
		if err != nil || m.String() != c.want {
			t.Errorf("%q as %q: %v %v, want %s", c.text, c.c, m, err, c.want)
		}
	}
}

func TestMoneyRefused(t *testing.T) {
	for _, c := range []struct {
		text string
		c    Currency
		why  string
	}{
		{"1,299", "ZAR", "decimals or thousands"}, {"1.299", "ZAR", "decimals or thousands"}, {"$1,299", "USD", "decimals or thousands"},
		{"1,299", "KWD", "decimals or thousands"}, {"1,299", "JPY", "decimals or thousands"}, {"1.299,500", "ZAR", "decimals or thousands"},
		{"$5", "ZAR", "write the code"}, {"$5", "", "write the code"}, {"kr 5", "EUR", "write the code"}, {"5", "", "no known currency"},
		{"5", "ZZZ", "no known currency"}, {"5 XXX", "ZAR", "no currency"}, {"5 bananas", "ZAR", "no currency"}, {"$5 EUR", "USD", "two currencies"},
		{"-5", "ZAR", "negative"}, {"R -5", "ZAR", "negative"}, {"−5", "ZAR", "negative"}, {"(5.00)", "ZAR", "negative"}, {"5-", "ZAR", "negative"},
		{"free", "ZAR", "not an amount"}, {"-", "ZAR", "not an amount"}, {".99", "ZAR", "no currency"}, {"15.", "ZAR", "no currency"},
		{"1,29.99", "ZAR", "grouped"}, {"12 34", "ZAR", "grouped"}, {"1,2,3", "ZAR", "grouped"}, {"1.234,567.89", "ZAR", "grouped"},
		{"5 - 10", "ZAR", "grouped"}, {"1.299,5 6", "ZAR", "mixed up"}, {"12.345", "JPY", "decimals or thousands"}, {"12.5", "JPY", "more than the 0 decimals"},
		{"1234.567", "ZAR", "more than the 2 decimals"}, {"1e-3", "ZAR", "more than the 2 decimals"}, {"90000000000000.01", "ZAR", "too large"},
		{"9e99", "ZAR", "too large"}, {"1e20", "JPY", "too large"}, {"99999999999999999999", "ZAR", "too large"}, {"1e999", "ZAR", "not a number"},
		{"1 000e3", "ZAR", "not a number"}, {"1e2e3", "ZAR", "not a number"}, {strings.Repeat("9", 65), "ZAR", "too long"}, {"٣٩٩", "ZAR", "not an amount"},
	} {
		m, err := ParseAmount(c.text, c.c)
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.why) || m != (Money{}) {
			t.Errorf("%q as %q: %v %v, want %q", c.text, c.c, m, err, c.why)
		}
	}
	for _, text := range []string{"", " ", "\t\u00a0"} {
		if _, err := ParseAmount(text, "ZAR"); !errors.Is(err, fault.NotFound) {
			t.Errorf("%q: %v, want no price", text, err)
		}
	}
}

func TestMoneyValid(t *testing.T) {
	for m, want := range map[Money]bool{
		{}: false, {1, ""}: false, {1, "ZZZ"}: false, {-1, "ZAR"}: false, {0, "ZAR"}: true, {MaxMinor, "ZAR"}: true, {MaxMinor + 1, "ZAR"}: false,
	} {
		if m.Valid() != want || m.String() == "" {
			t.Errorf("%v: %v", m, m.Valid())
		}
	}
}

func TestMoneySigns(t *testing.T) {
	for sign, codes := range signs {
		for _, c := range strings.Fields(codes) {
			if !Currency(c).Valid() {
				t.Errorf("%s: %s is no currency", sign, c)
			}
			if m, err := ParseAmount(sign+" 5", Currency(c)); err != nil || m.Currency != Currency(c) {
				t.Errorf("%s 5 as %s: %v %v", sign, c, m, err)
			}
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{"1.58095e+03", "15.00 ZAR", "$1,299.99", "R 1 299,00", "399", "0.0", "", "1,299", "-5", "₹12,34,567.50", "9e99", "kr 5"} {
		f.Add(text, "ZAR")
	}
	f.Add("12.500", "KWD")
	f.Add("12", "CLF")
	f.Fuzz(func(t *testing.T, text, currency string) {
		m, err := ParseAmount(text, Currency(currency))
		if err != nil {
			if m != (Money{}) || !errors.Is(err, fault.Malformed) && !errors.Is(err, fault.NotFound) {
				t.Fatalf("%v %v", m, err)
			}
			return
		}
		if !m.Valid() {
			t.Fatalf("%q gave %#v", text, m)
		}
		if again, err := ParseAmount(m.String(), ""); err != nil || again != m {
			t.Fatalf("%s came back as %v, %v", m, again, err)
		}
	})
}
