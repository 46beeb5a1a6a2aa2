package terms

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/harkmarket/hark/protocol/fault"
)

// A level makes a value coarser, or says that it is not of the shape that it can.
type level func(value string) (string, bool)

// levels are the ways of making a value coarser. Each gives the same for many values, and
// never a value that says more.
var levels = map[string]level{
	"year":      func(v string) (string, bool) { return dated(v, 1) },
	"decade":    func(v string) (string, bool) { return dated(v, 10) },
	"tens":      func(v string) (string, bool) { return banded(v, 10) },
	"hundreds":  func(v string) (string, bool) { return banded(v, 100) },
	"thousands": func(v string) (string, bool) { return banded(v, 1000) },

	"initials": initials,
	"town":     func(v string) (string, bool) { return lastParts(v, 2) },
	"region":   func(v string) (string, bool) { return lastParts(v, 1) },
	"prefix":   prefix,
	"domain":   domain,
}

// Levels lists the ways of making a value coarser, in order.
func Levels() []string { return slices.Sorted(maps.Keys(levels)) }

// Coarsen makes a value coarser: fault.Malformed for a level that is not known, and
// fault.Unsupported where the value is not of the shape that the level takes. No error
// contains the value.
func Coarsen(name, value string) (string, error) {
	l, ok := levels[name]
	if !ok {
		return "", fmt.Errorf("level %.20q is none of %s: %w", name, strings.Join(Levels(), ", "), fault.Malformed)
	}
	coarse, ok := l(value)
	if !ok || coarse == value {
		return "", fmt.Errorf("the level %s makes nothing coarser of this value: %w", name, fault.Unsupported)
	}
	return coarse, nil
}

// dated gives the span of years in which a date lies: 1984, or 1980s.
func dated(v string, years int) (string, bool) {
	t, err := time.Parse(time.DateOnly, strings.TrimSpace(v))
	if err != nil || t.Year() < 1000 {
		return "", false
	}
	y := t.Year() / years * years
	if years == 1 {
		return strconv.Itoa(y), true
	}
	return strconv.Itoa(y) + "s", true
}

// banded gives the band in which a whole number lies: 40-49.
func banded(v string, width int64) (string, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 53)
	if err != nil || n < 0 {
		return "", false
	}
	low := n / width * width
	return fmt.Sprintf("%d-%d", low, low+width-1), true
}

// initials of each word of a name.
func initials(v string) (string, bool) {
	var out []string
	for _, w := range strings.Fields(v) {
		out = append(out, strings.ToUpper(string([]rune(w)[:1]))+".")
	}
	return strings.Join(out, " "), len(out) > 0
}

// lastParts gives the last so many parts of an address, of at least one more. One with a
// number is a house, a street or a postal code, and says more than a town: none is given.
func lastParts(v string, n int) (string, bool) {
	var parts []string
	for _, part := range strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == '\n' }) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) <= n {
		return "", false
	}
	kept := strings.Join(parts[len(parts)-n:], ", ")
	return kept, !strings.ContainsFunc(kept, unicode.IsDigit)
}

// prefix gives the first two places of a postal code.
func prefix(v string) (string, bool) {
	r := []rune(strings.TrimSpace(v))
	if len(r) < 3 || len(r) > 10 || strings.ContainsAny(v, ",\n@") {
		return "", false
	}
	return string(r[:2]) + strings.Repeat("*", len(r)-2), true
}

// domain of an e-mail address.
func domain(v string) (string, bool) {
	_, d, ok := strings.Cut(strings.TrimSpace(v), "@")
	return d, ok && d != ""
}
