// Package spell writes the small things of a record as standards spell them (names,
// times, durations, amounts, places) and reads exactly these spellings back.
package spell

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Reader undoes spellings and keeps the first thing that was wrong in Err.
type Reader struct{ Err error }

// Bad notes that s is no what.
func (r *Reader) Bad(what, s string) {
	if r.Err == nil {
		r.Err = fmt.Errorf("%s %s: %w", what, fmt.Sprintf("%.100q", s), fault.Malformed)
	}
}

// URN spells a hash; nothing where there is none.
func URN(kind string, h protocol.Hash) string {
	if h.IsZero() {
		return ""
	}
	return kind + h.String()
}

// URN reads a hash; an empty text is none.
func (r *Reader) URN(kind, s string) (h protocol.Hash) {
	if s == "" {
		return h
	}
	text, ok := strings.CutPrefix(s, kind)
	if !ok || h.UnmarshalText([]byte(text)) != nil {
		r.Bad("name", s)
	}
	return h
}

// Moment spells a time; nothing where it is 0.
func Moment(s protocol.Second) string {
	if s == 0 {
		return ""
	}
	return time.Unix(int64(s), 0).UTC().Format(time.RFC3339)
}

// Moment reads what Moment spells.
func (r *Reader) Moment(s string) protocol.Second {
	if s == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() <= 0 || t.UTC().Format(time.RFC3339) != s {
		r.Bad("time", s)
		return 0
	}
	return protocol.Second(t.Unix())
}

// Days spells a number of days as ISO 8601 does; nothing where it is 0.
func Days(n uint32) string { return duration("P", uint64(n), "D") }

// Seconds spells a number of seconds.
func Seconds(n protocol.Second) string { return duration("PT", uint64(n), "S") }

func duration(before string, n uint64, after string) string {
	if n == 0 {
		return ""
	}
	return before + strconv.FormatUint(n, 10) + after
}

// Duration reads what stands between before and after.
func (r *Reader) Duration(before, s, after string) uint64 {
	if s == "" {
		return 0
	}
	text := strings.TrimSuffix(strings.TrimPrefix(s, before), after)
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || duration(before, n, after) != s {
		r.Bad("duration", s)
	}
	return n
}

// Amount spells money as a decimal without its currency: 12.00; 0 where there is none.
func Amount(m protocol.Money) string {
	n := m.Currency.Decimals()
	digits := fmt.Sprintf("%0*d", n+1, m.Minor)
	if n == 0 {
		return digits
	}
	return digits[:len(digits)-n] + "." + digits[len(digits)-n:]
}

// A Sum is an amount of money in JSON-LD; without a currency there is none to be paid.
type Sum struct {
	Type     string `json:"@type"`
	Value    string `json:"schema:value"`
	Currency string `json:"schema:currency,omitempty"`
}

// SumOf writes one.
func SumOf(m protocol.Money) Sum {
	return Sum{"schema:MonetaryAmount", Amount(m), string(m.Currency)}
}

// Amount reads what Amount spells.
func (r *Reader) Amount(s, currency string) protocol.Money {
	minor, err := strconv.ParseInt(strings.Replace(s, ".", "", 1), 10, 64)
	m := protocol.Money{Minor: minor, Currency: protocol.Currency(currency)}
	if err != nil || !Sound(m) || Amount(m) != s {
		r.Bad("amount", s)
		return protocol.Money{}
	}
	return m
}

// subdivision begins the name of a part of a country, of which DPV has not all.
const subdivision = "urn:iso:std:iso:3166:-2:"

// Place spells a country in DPV's words, and a part of one as ISO 3166-2 has it.
func Place(c protocol.Region) string {
	switch c {
	case "":
		return ""
	case protocol.Region(c.Country()):
		return "loc:" + string(c)
	}
	return subdivision + string(c)
}

// Place reads what Place spells.
func (r *Reader) Place(s string) protocol.Region {
	c := protocol.Region(strings.TrimPrefix(strings.TrimPrefix(s, "loc:"), subdivision))
	if Place(c) != s || s != "" && !Region(c) {
		r.Bad("place", s)
	}
	return c
}

// Find gives the number whose term is s.
func Find[K ~uint8](r *Reader, terms []string, s string) K {
	for i, t := range terms {
		if t == s && s != "" {
			return K(i)
		}
	}
	r.Bad("term", s)
	return 0
}

// Term gives the term of a number; none beyond the list.
func Term[K ~uint8](terms []string, k K) string {
	if int(k) >= len(terms) {
		return ""
	}
	return terms[k]
}

// Sound reports whether m is an amount, or none at all. The wire lets a currency pass
// that this program does not know, and so does this: it counts in whole units.
func Sound(m protocol.Money) bool {
	return m == (protocol.Money{}) || capitals(string(m.Currency), 3, 3) && m.Minor >= 0 && m.Minor <= protocol.MaxMinor
}

// Region reports whether c has the shape of a country or a part of one, as on the wire.
func Region(c protocol.Region) bool {
	country, part, cut := strings.Cut(string(c), "-")
	return capitals(country, 2, 2) && (!cut || capitals(strings.Map(letter, part), 1, 3))
}

// letter lets digits pass as letters.
func letter(c rune) rune {
	if c >= '0' && c <= '9' {
		return 'A'
	}
	return c
}

func capitals(s string, least, most int) bool {
	for _, c := range []byte(s) {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

// A Node names a thing in JSON-LD.
type Node struct {
	ID string `json:"@id"`
}

// A Literal is a value with its type.
type Literal struct {
	Value string `json:"@value"`
	Type  string `json:"@type"`
}

// Text finds a text in an object that was read as any; empty where there is none.
func Text(v any, name string) string {
	m, _ := v.(map[string]any)
	s, _ := m[name].(string)
	return s
}
