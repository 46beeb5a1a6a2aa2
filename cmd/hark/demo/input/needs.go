package input

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Need is one line of the input.
type Need struct {
	Input string // the name as it stands in the file
	Spec  desk.NeedSpec
}

const (
	maxNeedsFile = 32 << 20
	maxRowLines  = 100 // lines of one row: a quote that is never closed swallows the rest
	maxErrors    = 5   // named at once
)

// nameColumns are what the column with a need's name may be called, best first.
var nameColumns = []string{"name", "title", "query"}

// otherColumns tell that a first line is a header even where no name is in it.
var otherColumns = []string{
	"id", "category", "region", "max_price", "currency", "quantity", "price", "description", "detail", "manufacturer", "sku",
}

// parseNeeds reads the first limit needs of a file: one a line, or CSV with a header
// and commas, tabs, | or # between the columns.
func parseNeeds(raw []byte, limit int) (in Input, err error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if err := checkText(raw); err != nil {
		return in, err
	}
	first, _ := firstLine(raw)
	sep, header, err := readHeader(first)
	if err != nil {
		return in, err
	}
	var bad []error
	take := func(line int, n Need, cut bool, err error) bool {
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("line %d: %w", line, err))
		case n.Spec.Name == "":
			in.Skipped++
		default:
			in.Needs = append(in.Needs, n)
			if cut {
				in.Cut++
			}
		}
		return len(in.Needs) < limit && len(bad) < maxErrors
	}
	if header == nil {
		eachLine(raw, func(line int, text string) bool {
			n, cut, err := makeNeed(map[string]string{"name": text})
			return take(line, n, cut, err)
		})
	} else if err := eachRow(raw, sep, header, take); err != nil {
		bad = append(bad, err)
	}
	if err := errors.Join(bad...); err != nil {
		return in, err
	}
	if len(in.Needs) == 0 {
		return in, fmt.Errorf("there is no need in it: %w", fault.Malformed)
	}
	return in, nil
}

// checkText refuses what is no text, and says where.
func checkText(raw []byte) error {
	if bytes.HasPrefix(raw, []byte{0xff, 0xfe}) || bytes.HasPrefix(raw, []byte{0xfe, 0xff}) {
		return fmt.Errorf("the file is UTF-16: save it as UTF-8: %w", fault.Malformed)
	}
	line := 0
	for part := range bytes.Lines(raw) {
		line++
		if !utf8.Valid(part) {
			return fmt.Errorf("line %d: not UTF-8: %w", line, fault.Malformed)
		}
		if bytes.IndexByte(part, 0) >= 0 {
			return fmt.Errorf("line %d: a zero byte: this is no text file: %w", line, fault.Malformed)
		}
	}
	return nil
}

// firstLine gives the first line with something in it, and its number.
func firstLine(raw []byte) (text string, number int) {
	eachLine(raw, func(line int, s string) bool {
		text, number = s, line
		return false
	})
	return text, number
}

// eachLine calls fn with each line that is not blank, until it wants no more.
func eachLine(raw []byte, fn func(line int, text string) bool) {
	line := 0
	for part := range bytes.Lines(raw) {
		line++
		if text := strings.TrimSpace(string(part)); text != "" && !fn(line, text) {
			return
		}
	}
}

// readHeader finds the separator and the columns; no columns where the file has
// just one need a line.
func readHeader(line string) (sep rune, header []string, err error) {
	var nameless []string
	for _, sep := range ",\t|#" {
		columns, err := splitLine(line, sep)
		if err != nil {
			continue
		}
		for i := range columns {
			columns[i] = columnName(columns[i])
		}
		if slices.ContainsFunc(columns, func(c string) bool { return slices.Contains(nameColumns, c) }) {
			return sep, columns, nil
		}
		known := func(c string) bool { return slices.Contains(otherColumns, c) }
		if len(columns) > 1 && slices.ContainsFunc(columns, known) {
			nameless = columns
		}
	}
	if nameless != nil {
		return 0, nil, fmt.Errorf("line 1: the header has no column name, title or query, only %s: %w",
			Cut(strings.Join(nameless, ", "), 200), fault.Malformed)
	}
	return 0, nil, nil
}

func splitLine(line string, sep rune) ([]string, error) {
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.LazyQuotes = sep, true
	return r.Read()
}

func columnName(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return r == '-' || r == '_' || unicode.IsSpace(r)
	}), "_")
}

// eachRow reads the rows below the header until take wants no more.
func eachRow(raw []byte, sep rune, header []string, take func(int, Need, bool, error) bool) error {
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = sep, true, -1
	for row := 0; ; row++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			return fmt.Errorf("line %d: %w: %w", e.Line, e.Err, fault.Malformed)
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if row == 0 || blank(cells) {
			continue // the header, or nothing
		}
		if lines := strings.Count(strings.Join(cells, ""), "\n"); lines > maxRowLines {
			return fmt.Errorf("line %d: a quote is opened here and not closed within %d lines: %w", line, maxRowLines, fault.Malformed)
		}
		if len(cells) > len(header) {
			if !take(line, Need{}, false, fmt.Errorf("%d columns, and the header has %d: %w", len(cells), len(header), fault.Malformed)) {
				return nil
			}
			continue
		}
		values := map[string]string{}
		for i, c := range cells {
			if _, twice := values[header[i]]; !twice {
				values[header[i]] = c
			}
		}
		n, cut, err := makeNeed(values)
		if !take(line, n, cut, err) {
			return nil
		}
	}
}

func blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(s string) bool { return strings.TrimSpace(s) != "" })
}

// makeNeed reads the cells of one row; what the row is silent about takes its
// default. A row without a name gives an empty need.
func makeNeed(cells map[string]string) (n Need, cut bool, err error) {
	for _, c := range nameColumns {
		if n.Input = strings.TrimSpace(cells[c]); n.Input != "" {
			break
		}
	}
	if n.Input == "" {
		return n, false, nil
	}
	name := Clean(n.Input)
	n.Spec = desk.NeedSpec{
		Auto: true,
		Name: Cut(name, protocol.MaxName), Description: Cut(Clean(cells["detail"]), protocol.MaxText),
		Category: string(protocol.Unspecified), Region: "ZA", Currency: "ZAR", Quantity: 1,
	}
	err = errors.Join(
		setCategory(&n.Spec, cells["category"]), setRegion(&n.Spec, cells["region"]),
		setPrice(&n.Spec, cells["currency"], cells["max_price"]), setQuantity(&n.Spec, cells["quantity"]))
	return n, len(n.Spec.Name) < len(name), err
}

// setCategory takes a code of the list. Other shops' own categories are passed over.
func setCategory(s *desk.NeedSpec, text string) error {
	c := protocol.Category(strings.ToLower(strings.TrimSpace(text)))
	if !c.WellFormed() {
		return nil
	}
	if list := protocol.Categories(); !list.Has(c) {
		return fmt.Errorf("%q is no category%s: %w", string(c), protocol.NearBy(list.Near(string(c), 3)), fault.Malformed)
	}
	s.Category = string(c)
	return nil
}

func setRegion(s *desk.NeedSpec, text string) error {
	r := strings.ToUpper(strings.TrimSpace(text))
	if r == "" {
		return nil
	}
	if !protocol.Region(r).Valid() {
		return fmt.Errorf("%.40q is no region%s: %w", text, protocol.NearBy(protocol.NearRegions(r, 3)), fault.Malformed)
	}
	s.Region = r
	return nil
}

func setPrice(s *desk.NeedSpec, currency, amount string) error {
	c := protocol.Currency(strings.ToUpper(strings.TrimSpace(currency)))
	if c == "" {
		c = protocol.Currency(s.Currency)
	}
	if !c.Valid() {
		return fmt.Errorf("%.40q is no currency code: %w", currency, fault.Malformed)
	}
	m, err := protocol.ParseAmount(amount, c)
	if errors.Is(err, fault.NotFound) {
		s.Currency = string(c)
		return nil
	}
	s.Currency, s.MaxPrice = string(m.Currency), m.Minor
	return err
}

func setQuantity(s *desk.NeedSpec, text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	q, err := strconv.ParseUint(text, 10, 32)
	if err != nil || q < 1 || q > 1_000_000 {
		return fmt.Errorf("quantity %.40q, want 1 to 1000000: %w", text, fault.Malformed)
	}
	s.Quantity = uint32(q)
	return nil
}

// Clean makes text one line without control or direction characters: what strangers
// wrote must not drive a terminal.
func Clean(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)
	}), " ")
}

// Cut shortens s to at most so many bytes, between two words where it can.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	if s[end] != ' ' {
		if space := strings.LastIndexByte(s[:end], ' '); space > most/2 {
			end = space
		}
	}
	return strings.TrimRight(s[:end], " ")
}
