// Package card reads a vCard (RFC 2426 and 6350, versions 3.0 and 4.0) into values
// of vault fields. A file comes from anywhere, so everything about it is bounded:
//
//  1. [Read] takes at most MaxFile bytes and undoes the folding of lines itself,
//     since doing it line by line costs the square of their number;
//  2. lines that no field could take are passed over, the rest goes to the parser;
//  3. exactly one person's card is accepted, and each of its properties is mapped to
//     a field or named among what was ignored, with the reason.
package card

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-vcard"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of a file.
const (
	MaxFile  = 4 << 20 // bytes, a picture included
	maxLine  = 32 << 10
	maxLines = 2000
)

// A Value is one field's value, and the property that it comes from.
type Value struct {
	Field protocol.FieldName
	Text  string
	From  string // as TEL
}

// Read reads the one card in src. It gives the values in the order of their fields'
// names, and what was ignored. A file of another form gives fault.Malformed.
func Read(src io.Reader) (values []Value, ignored []string, err error) {
	raw, err := io.ReadAll(io.LimitReader(src, MaxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("vcard: %w", err)
	}
	if len(raw) > MaxFile {
		return nil, nil, fmt.Errorf("vcard: more than %d bytes: %w", MaxFile, fault.Malformed)
	}
	if !utf8.Valid(raw) {
		return nil, nil, fmt.Errorf("vcard: not UTF-8: %w", fault.Malformed)
	}
	text, ignored, err := lines(raw)
	if err != nil {
		return nil, nil, err
	}
	dec := vcard.NewDecoder(bytes.NewReader(text))
	c, err := dec.Decode()
	if err != nil {
		return nil, nil, fmt.Errorf("vcard: not one card from BEGIN:VCARD to END:VCARD: %w", fault.Malformed)
	}
	if _, err := dec.Decode(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("vcard: more than one card; a vault is about one person, so keep only hers: %w", fault.Malformed)
	}
	if v := c.Value(vcard.FieldVersion); v != "3.0" && v != "4.0" {
		return nil, nil, fmt.Errorf("vcard: version %.20q, want 3.0 or 4.0: %w", v, fault.Unsupported)
	}
	if k := strings.ToLower(c.Value(vcard.FieldKind)); k != "" && k != "individual" {
		return nil, nil, fmt.Errorf("vcard: the card of a %.20s, not of a person: %w", k, fault.Malformed)
	}
	m := mapping{values: map[protocol.FieldName]Value{}, ignored: ignored}
	m.card(c)
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		values = append(values, m.values[name])
	}
	return values, m.ignored, nil
}

// lines undoes folding and passes over what is too long for a field. Every line that
// it gives ends in a line feed.
func lines(raw []byte) (text []byte, ignored []string, err error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	raw = bytes.ReplaceAll(raw, []byte("\n "), nil)
	raw = bytes.ReplaceAll(raw, []byte("\n\t"), nil)
	n := 0
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSpace(line)
		if n++; n > maxLines {
			return nil, nil, fmt.Errorf("vcard: more than %d lines: %w", maxLines, fault.Malformed)
		}
		switch {
		case len(line) == 0:
		case len(line) > maxLine:
			name, _, _ := bytes.Cut(line[:maxLine], []byte(":"))
			name, _, _ = bytes.Cut(name, []byte(";"))
			ignored = append(ignored, fmt.Sprintf("%s: larger than a field's value; set it from a file of its own", shown(string(name))))
		default:
			text = append(append(text, line...), '\n')
		}
	}
	return text, ignored, nil
}

// shown makes a stranger's word fit to be printed.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, s)
	return cmp.Or(s[:min(len(s), 32)], "a line without a name")
}

// A mapping gathers values; the first for a field stays.
type mapping struct {
	values  map[protocol.FieldName]Value
	ignored []string
}

func (m *mapping) set(name protocol.FieldName, text, from string) {
	text = tidy(text)
	switch had, ok := m.values[name]; {
	case text == "":
	case ok && had.Text == text:
	case ok:
		m.ignore(from, "a second value for "+string(name))
	case len(text) > protocol.MaxValue:
		m.ignore(from, "larger than a field's value")
	default:
		m.values[name] = Value{Field: name, Text: text, From: from}
	}
}

func (m *mapping) ignore(from, why string) {
	if len(m.ignored) < maxLines {
		m.ignored = append(m.ignored, shown(from)+": "+why)
	}
}

// tidy takes control characters and empty ends from a value.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// plain are the properties whose value is a field's value as it stands.
var plain = map[string]protocol.FieldName{
	"FN": "identity.name", "NICKNAME": "identity.nickname", "BIRTHPLACE": "identity.birth-place",
	"LANG": "contact.language", "IMPP": "contact.messenger", "SOCIALPROFILE": "contact.social", "X-SOCIALPROFILE": "contact.social",
	"TITLE": "work.occupation", "HOBBY": "interest.hobby", "INTEREST": "interest.topic", "GEO": "location.home",
}

// silent are the properties that tell about the card, not about the person.
var silent = map[string]bool{"VERSION": true, "PRODID": true, "UID": true, "REV": true, "KIND": true, "SORT-STRING": true, "CLIENTPIDMAP": true, "SOURCE": true}

// at are the properties of which one kind is for work.
var at = map[string]struct{ home, work protocol.FieldName }{
	"EMAIL": {"contact.email", "contact.work-email"},
	"TEL":   {"contact.phone", "contact.work-phone"},
}

func (m *mapping) card(c vcard.Card) {
	for _, k := range slices.Sorted(maps.Keys(c)) {
		list := slices.Clone(c[k])
		slices.SortStableFunc(list, func(a, b *vcard.Field) int { return preference(a) - preference(b) })
		for _, f := range list {
			m.property(k, f)
		}
	}
}

func (m *mapping) property(k string, f *vcard.Field) {
	parts := split(f.Value)
	switch name, ok := plain[k]; {
	case ok:
		m.set(name, strings.ReplaceAll(f.Value, `\;`, ";"), k)
		return
	case silent[k]:
		return
	}
	if to, ok := at[k]; ok {
		name := to.home
		if f.Params.HasType("work") && !f.Params.HasType("home") {
			name = to.work
		}
		m.set(name, strings.TrimPrefix(strings.TrimPrefix(f.Value, "tel:"), "mailto:"), k)
		return
	}
	switch k {
	case "N":
		m.set("identity.family-name", parts[0], k)
		m.set("identity.given-name", strings.TrimSpace(part(parts, 1)+" "+part(parts, 2)), k)
	case "ORG":
		m.set("work.employer", strings.Join(filled(parts), ", "), k)
	case "BDAY":
		m.set("identity.birth-date", birthday(f.Value), k)
	case "GENDER":
		m.set("demographic.gender", gender(parts), k)
	case "ADR":
		m.address(f, parts)
	default:
		m.ignore(k, "no field takes it")
	}
}

func (m *mapping) address(f *vcard.Field, parts []string) {
	if f.Params.HasType("work") && !f.Params.HasType("home") {
		m.set("work.place", strings.Join(filled(parts), "\n"), "ADR")
		return
	}
	m.set("contact.address", strings.Join(filled(parts), "\n"), "ADR")
	for i, name := range map[int]protocol.FieldName{3: "location.city", 4: "location.region", 5: "location.postcode", 6: "location.country"} {
		m.set(name, part(parts, i), "ADR")
	}
}

// preference of a property, the smallest first: PREF=1 to 100 of version 4.0, and
// TYPE=pref of 3.0.
func preference(f *vcard.Field) int {
	n := 0
	for _, c := range f.Params.Get(vcard.ParamPreferred) {
		if c < '0' || c > '9' || n > 100 {
			return 101
		}
		n = n*10 + int(c-'0')
	}
	switch {
	case n > 0:
		return n
	case f.Params.HasType("pref"):
		return 1
	}
	return 101
}

// split takes a structured value apart at semicolons that no backslash precedes.
func split(s string) (parts []string) {
	const hidden = "\x00"
	s = strings.ReplaceAll(strings.ReplaceAll(s, hidden, ""), `\;`, hidden)
	for p := range strings.SplitSeq(s, ";") {
		parts = append(parts, strings.TrimSpace(strings.ReplaceAll(p, hidden, ";")))
	}
	return parts
}

func part(parts []string, i int) string {
	if i < len(parts) {
		return parts[i]
	}
	return ""
}

func filled(parts []string) (out []string) {
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

// birthday writes 19850412 and 1985-04-12T00:00:00Z as 1985-04-12; anything else
// stays as it is.
func birthday(s string) string {
	day, _, _ := strings.Cut(s, "T")
	if len(day) == 8 && strings.Trim(day, "0123456789") == "" {
		return day[:4] + "-" + day[4:6] + "-" + day[6:]
	}
	return cmp.Or(day, s)
}

func gender(parts []string) string {
	if words := part(parts, 1); words != "" {
		return words
	}
	return map[string]string{"M": "male", "F": "female", "O": "other"}[parts[0]]
}
