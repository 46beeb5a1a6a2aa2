package protocol

import (
	"slices"
	"strings"
	"testing"
)

func TestCurrencyDecimals(t *testing.T) {
	for c, want := range map[Currency]int{"ZAR": 2, "USD": 2, "JPY": 0, "KRW": 0, "KWD": 3, "TND": 3, "CLF": 4, "MGA": 2, "UGX": 0, "XOF": 0, "": 0, "ZZZ": 0} {
		if got := c.Decimals(); got != want {
			t.Errorf("%s: %d", c, got)
		}
	}
	for _, c := range []Currency{"", "zar", "ZZZ", "XXX", "XTS", "XAU", "HRK", " ZAR", "AED AFN", "ZA", "BGN"} {
		if c.Valid() {
			t.Errorf("%q is no currency", c)
		}
	}
}

func TestCurrenciesAreISO(t *testing.T) {
	want := isoCodes(t, "4217", "alpha_3")
	unsold := strings.Fields("XAD XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX")
	for _, code := range want {
		if Currency(code).Valid() == slices.Contains(unsold, code) {
			t.Errorf("%s: valid %v", code, Currency(code).Valid())
		}
	}
	for c := range currencies() {
		if !slices.Contains(want, string(c)) {
			t.Errorf("%s is not in ISO 4217", c)
		}
	}
}
