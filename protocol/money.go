package protocol

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/protocol/fault"
)

// MaxMinor is the largest amount, in the currency's smallest unit.
const MaxMinor int64 = 9e15

// Money is an amount of a currency in its smallest unit: cents for ZAR, whole yen
// for JPY, fils for KWD. It is never negative and never a float.
type Money struct {
	Minor    int64    `cbor:"1,keyasint,omitempty"`
	Currency Currency `cbor:"2,keyasint,omitempty"`
}

// Valid reports whether the currency is known and the amount between 0 and MaxMinor.
func (m Money) Valid() bool { return m.Currency.Valid() && m.Minor >= 0 && m.Minor <= MaxMinor }

// Sum adds amounts of one currency; nothing costs 0 in none. ok is false where they are of
// several currencies, or come to more than MaxMinor.
func Sum(list ...Money) (total Money, ok bool) {
	for _, m := range list {
		if m.Minor == 0 {
			continue
		}
		if m.Minor < 0 || m.Minor > MaxMinor-total.Minor || total.Minor > 0 && m.Currency != total.Currency {
			return Money{}, false
		}
		total = Money{total.Minor + m.Minor, m.Currency}
	}
	return total, true
}

// String gives "ZAR 1 234.50": the code, thousands apart, a dot before decimals.
// ParseAmount reads it back.
func (m Money) String() string {
	if !m.Valid() {
		return fmt.Sprintf("%q %d minor units", string(m.Currency), m.Minor)
	}
	n := m.Currency.Decimals()
	digits := fmt.Sprintf("%0*d", n+1, m.Minor)
	whole, rest := digits[:len(digits)-n], digits[len(digits)-n:]
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + " " + whole[i:]
	}
	if n > 0 {
		whole += "." + rest
	}
	return string(m.Currency) + " " + whole
}

// signs are the ways to write a currency beside its code. Where a sign fits
// several, the currency that the caller expects decides.
var signs = map[string]string{
	"R": "ZAR", "r": "ZAR", "$": "USD AUD BBD BMD BND BSD BZD CAD FJD GYD HKD JMD KYD LRD NAD NZD SBD SGD SRD TTD TWD XCD ARS CLP COP CUP CVE DOP MXN NIO UYU",
	"US$": "USD", "A$": "AUD", "C$": "CAD NIO", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "NT$": "TWD", "N$": "NAD", "R$": "BRL", "€": "EUR",
	"£": "GBP EGP FKP GIP SHP SSP SYP", "¥": "JPY CNY", "₹": "INR", "Rs": "INR LKR MUR NPR PKR SCR", "Rs.": "INR LKR MUR NPR PKR SCR",
	"₦": "NGN", "₩": "KRW KPW", "₽": "RUB", "₺": "TRY", "₴": "UAH", "₫": "VND", "₪": "ILS", "₱": "PHP CUP", "฿": "THB", "₵": "GHS", "GH₵": "GHS",
	"KSh": "KES", "Ksh": "KES", "USh": "UGX", "TSh": "TZS", "P": "BWP PHP", "K": "ZMW PGK MMK", "E": "SZL", "M": "LSL", "MT": "MZN", "Br": "ETB BYN",
	"zł": "PLN", "Kč": "CZK", "kr": "DKK ISK NOK SEK", "Fr.": "CHF", "Ft": "HUF", "lei": "RON", "RM": "MYR", "Rp": "IDR", "S/": "PEN", "FCFA": "XAF XOF",
}

var (
	amountForm = regexp.MustCompile(`^([^0-9]*)([0-9](?:.*[0-9])?)([^0-9]*)$`)
	floatForm  = regexp.MustCompile(`^([0-9]{1,20})(?:\.([0-9]{1,20}))?(?:[eE]([+-]?[0-9]{1,2}))?$`)
	groupForm  = regexp.MustCompile(`^[0-9]{1,3}(G[0-9]{3})+$|^[0-9]{1,2}(G[0-9]{2})+G[0-9]{3}$`)
)

// ParseAmount reads a price as it stands in people's files: "399", "1.58095e+03",
// "15.00 ZAR", "$1,299.99", "R 1 299,00". A currency in the text wins over c, which
// holds where the text is silent. Nothing is guessed: "1,299" might be 1299 or
// 1.299 and is refused, and so is a sign that fits several currencies of which c
// is none. (A dot before as many digits as the currency has decimals is decimal.)
// Errors are fault.NotFound for an empty text (no price), else fault.Malformed; no
// amount is negative or above MaxMinor.
func ParseAmount(text string, c Currency) (Money, error) {
	bad := func(why string) (Money, error) {
		return Money{}, fmt.Errorf("price %q: %s: %w", clip([]byte(text)), why, fault.Malformed)
	}
	if len(text) > 64 {
		return bad("too long")
	}
	clean := strings.Join(strings.Fields(text), " ") // every kind of space is one
	if clean == "" {
		return Money{}, fmt.Errorf("no price: %w", fault.NotFound)
	}
	part := amountForm.FindStringSubmatch(clean)
	if part == nil {
		return bad("not an amount")
	}
	before, number, after := strings.TrimSpace(part[1]), part[2], strings.TrimSpace(part[3])
	if strings.ContainsAny(before+after, "-−–()") {
		return bad("negative, or not an amount")
	}
	for i, sign := range []string{before, after} {
		if sign == "" {
			continue
		}
		meant, why := currencyOf(sign, c)
		if why != "" {
			return bad(why)
		}
		if i == 1 && before != "" && meant != c {
			return bad("two currencies")
		}
		c = meant
	}
	if !c.Valid() {
		return bad("no known currency")
	}
	plain, why := plainNumber(number, c.Decimals())
	if why != "" {
		return bad(why)
	}
	minor, why := minorUnits(plain, c.Decimals())
	if why != "" {
		return bad(why)
	}
	return Money{minor, c}, nil
}

// currencyOf finds the currency that a sign or code means, where c is expected.
func currencyOf(sign string, c Currency) (Currency, string) {
	if code := Currency(strings.ToUpper(sign)); code.Valid() {
		return code, ""
	}
	fits := strings.Fields(signs[sign])
	switch {
	case len(fits) == 0:
		return "", fmt.Sprintf("%q is no currency", sign)
	case slices.Contains(fits, string(c)):
		return c, ""
	case len(fits) > 1:
		return "", fmt.Sprintf("%q fits %s and others: write the code", sign, fits[0])
	}
	return Currency(fits[0]), ""
}

// plainNumber takes the thousands marks out and makes the decimal mark a dot.
func plainNumber(s string, decimals int) (plain, why string) {
	if strings.ContainsAny(s, "eE") {
		return s, ""
	}
	last := strings.LastIndexAny(s, ".,")
	if last < 0 || strings.Count(s, s[last:last+1]) > 1 { // no decimal mark: whole units
		return ungroup(s)
	}
	whole, rest := s[:last], s[last+1:]
	if strings.Trim(rest, "0123456789") != "" {
		return "", "marks of thousands and decimals are mixed up"
	}
	long := len(whole) > 3 && !strings.ContainsAny(whole, " .,'’") || whole[0] == '0'
	if len(rest) == 3 && !long && (decimals != 3 || s[last] != '.') {
		return "", fmt.Sprintf("%s could be decimals or thousands: write %s without marks, or with %d decimals", rest, whole, max(decimals, 1))
	}
	if whole, why = ungroup(whole); why != "" {
		return "", why
	}
	return whole + "." + rest, ""
}

// ungroup takes out one kind of thousands mark that stands where it should.
func ungroup(s string) (plain, why string) {
	for _, mark := range []string{" ", ",", ".", "'", "’"} {
		if groupForm.MatchString(strings.ReplaceAll(s, mark, "G")) {
			return strings.ReplaceAll(s, mark, ""), ""
		}
	}
	if strings.Trim(s, "0123456789") != "" {
		return "", "digits are not grouped in thousands"
	}
	return s, ""
}

// minorUnits shifts an exact decimal number, perhaps with an exponent.
func minorUnits(number string, decimals int) (minor int64, why string) {
	part := floatForm.FindStringSubmatch(number)
	if part == nil {
		return 0, "not a number"
	}
	exponent, _ := strconv.Atoi(part[3]) // at most two digits
	digits := strings.TrimLeft(part[1]+part[2], "0")
	shift := decimals + exponent - len(part[2])
	for ; shift < 0 && strings.HasSuffix(digits, "0"); shift++ {
		digits = digits[:len(digits)-1]
	}
	if digits == "" {
		return 0, ""
	}
	if shift < 0 {
		return 0, fmt.Sprintf("more than the %d decimals of its currency", decimals)
	}
	if len(digits)+shift > 18 {
		return 0, "too large"
	}
	minor, err := strconv.ParseInt(digits+strings.Repeat("0", shift), 10, 64)
	if err != nil || minor > MaxMinor {
		return 0, "too large"
	}
	return minor, ""
}
