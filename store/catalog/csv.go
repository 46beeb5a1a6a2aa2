package catalog

import (
	"errors"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/catalog/sheet"
)

// A File is what ReadCSV found in a file.
type File struct {
	Products []Product
	Rows     int        // rows with something in them, without the header: products and unusable ones
	Errors   []RowError // at most MaxErrors; the last one tells how many more there are
	Columns  []string   // as the header names them
}

// A RowError is a row that could not be used, and why.
type RowError struct {
	Row  int // as a spreadsheet counts: the header is row 1; 0 for the count of what was left out
	What string
}

// MaxErrors bounds the list of unusable rows.
const MaxErrors = 100

// columns are the columns that are read, with the names that they go by in the
// files of shops, best first. Others are passed over.
var columns = map[string][]string{
	"id":          {"id", "product_id", "item_id", "sku", "handle", "code"},
	"title":       {"title", "name", "product_name", "product_title", "product"},
	"description": {"description", "detail", "details", "body_(html)", "body_html", "product_description"},
	"price":       {"price", "variant_price", "unit_price", "amount"},
	"currency":    {"currency", "price_currency", "currency_code"},
	"category":    {"category"},
	"region":      {"region"},
	"condition":   {"condition"},
}

// ReadCSV reads products from a file with a header: UTF-8, separated by commas,
// tabs, | , ; or #, with or without quotes after RFC 4180. Columns id and title (or
// name) must be there; description, price, currency, category, region and condition
// may be; all others are passed over. A price in the file may name its currency,
// else the currency column does, else defaultCurrency; an empty or zero price means
// on request. A category is a code of this project's list; other shops' categories
// are passed over. HTML is taken out of titles and descriptions.
//
// A row that cannot be used is reported and costs nothing else. The error is for the
// file as a whole: fault.Malformed where it is no such file, fault.Full beyond
// MaxProducts rows or 256 MiB.
func ReadCSV(r io.Reader, defaultCurrency protocol.Currency) (File, error) {
	in := sheet.New(r)
	where, f, err := readHeader(in)
	if err != nil {
		return File{}, err
	}
	t := table{where: where, width: len(f.Columns), currency: defaultCurrency, seen: map[string]int{}}
	bad := 0
	report := func(what string) {
		if bad++; bad <= MaxErrors {
			f.Errors = append(f.Errors, RowError{in.Row, what})
		}
	}
	for {
		row, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			if bad > MaxErrors {
				f.Errors[MaxErrors-1] = RowError{0, fmt.Sprintf("and %d rows more", bad-MaxErrors+1)}
			}
			return f, nil
		case errors.Is(err, sheet.ErrRow):
			report(err.Error())
		case err != nil:
			return File{}, err
		case blank(row):
			continue
		default:
			if p, why := t.product(row, in.Row); why != "" {
				report(why)
			} else {
				f.Products = append(f.Products, p)
			}
		}
		if f.Rows++; f.Rows > MaxProducts {
			return File{}, fmt.Errorf("catalog: more than %d rows: %w", MaxProducts, fault.Full)
		}
	}
}

func blank(row []string) bool {
	return !slices.ContainsFunc(row, func(s string) bool { return strings.TrimSpace(s) != "" })
}

// readHeader finds the separator and the columns.
func readHeader(in *sheet.Rows) (where map[string]int, f File, err error) {
	bad := func(format string, args ...any) (map[string]int, File, error) {
		return nil, File{}, fmt.Errorf("catalog: %s: %w", fmt.Sprintf(format, args...), fault.Malformed)
	}
	line, err := in.Header()
	switch {
	case errors.Is(err, io.EOF):
		return bad("the file is empty")
	case errors.Is(err, sheet.ErrRow):
		return bad("the first line is too long for a header")
	case err != nil:
		return nil, File{}, err
	case strings.HasPrefix(line, "\xff\xfe") || strings.HasPrefix(line, "\xfe\xff"):
		return bad("the file is UTF-16: save it as UTF-8")
	case !utf8.ValidString(line):
		return bad("the header is not UTF-8")
	}
	line = strings.TrimPrefix(line, "\ufeff")
	most := 0
	for _, sep := range []byte(",\t|;#") {
		fields, ok := sheet.Split(line, sep)
		if !ok {
			continue
		}
		found := locate(fields)
		if n := 1000*len(found) + len(fields); n > most {
			in.Separate(sep)
			most, where, f.Columns = n, found, fields
		}
	}
	for i := range f.Columns {
		f.Columns[i] = cut(strings.TrimSpace(f.Columns[i]), 80)
	}
	for _, must := range []string{"id", "title"} {
		if _, ok := where[must]; !ok {
			return bad("no column %s among: %s", strings.ReplaceAll(must, "title", "title or name"), cut(strings.Join(f.Columns, ", "), 400))
		}
	}
	return where, f, nil
}

// locate finds the places of the columns that are read.
func locate(header []string) map[string]int {
	names := make([]string, len(header))
	for i, h := range header {
		h = strings.ToLower(strings.Join(strings.FieldsFunc(h, func(r rune) bool { return r == '-' || r == '_' || unicode.IsSpace(r) }), "_"))
		names[i] = strings.TrimPrefix(h, "g:") // of Google's feeds
	}
	where := map[string]int{}
	for column, aliases := range columns {
		for _, a := range aliases {
			if i := slices.Index(names, a); i >= 0 {
				where[column] = i
				break
			}
		}
	}
	return where
}

// A table turns rows into products.
type table struct {
	where    map[string]int
	width    int
	currency protocol.Currency
	seen     map[string]int // id to row
}

func (t *table) product(row []string, n int) (p Product, why string) {
	if len(row) != t.width {
		return p, fmt.Sprintf("%d columns, and the header has %d", len(row), t.width)
	}
	if !utf8.ValidString(strings.Join(row, "")) {
		return p, "not UTF-8"
	}
	get := func(column string) string {
		if i, ok := t.where[column]; ok {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	p = Product{ID: get("id"), Title: tidy(get("title"), false), Description: tidy(get("description"), true)}
	for _, part := range []func() string{
		func() string { return t.price(&p, get("price"), get("currency")) },
		func() string { return setCategory(&p, get("category")) },
		func() string { return setRegion(&p, get("region")) },
		func() string { return setCondition(&p, get("condition")) },
	} {
		if why := part(); why != "" {
			return p, why
		}
	}
	switch before, twice := t.seen[p.ID]; {
	case p.ID == "":
		return p, "no id"
	case p.Title == "":
		return p, "no title"
	case twice:
		return p, fmt.Sprintf("id %.48q stands in row %d already", p.ID, before)
	}
	if err := p.Check(); err != nil {
		return p, strings.TrimSuffix(err.Error(), ": "+fault.Malformed.Error())
	}
	t.seen[p.ID] = n
	return p, ""
}

func (t *table) price(p *Product, amount, currency string) string {
	c := t.currency
	if currency != "" {
		if c = protocol.Currency(strings.ToUpper(currency)); !c.Valid() {
			return fmt.Sprintf("%.16q is no currency code", currency)
		}
	}
	m, err := protocol.ParseAmount(amount, c)
	switch {
	case errors.Is(err, fault.NotFound) || err == nil && m.Minor == 0:
		return ""
	case err != nil:
		return strings.TrimSuffix(err.Error(), ": "+fault.Malformed.Error())
	}
	p.Price = m
	return ""
}

func setCategory(p *Product, text string) string {
	c := protocol.Category(strings.ToLower(text))
	if !c.WellFormed() {
		return "" // a shop's own category, or none
	}
	list := protocol.Categories()
	if !list.Has(c) {
		return fmt.Sprintf("%q is no category%s", text, perhaps(list.Near(text, 3)))
	}
	p.Category = c
	return ""
}

func setRegion(p *Product, text string) string {
	r := protocol.Region(strings.ToUpper(text))
	if text != "" && !r.Valid() {
		return fmt.Sprintf("%.48q is no region%s", text, perhaps(protocol.NearRegions(text, 3)))
	}
	p.Region = r
	return ""
}

func perhaps[S ~string](near []S) string {
	if len(near) == 0 {
		return ""
	}
	var list []string
	for _, n := range near {
		list = append(list, string(n))
	}
	return "; did you mean " + strings.Join(list, ", ") + "?"
}

var conditions = map[string]protocol.Condition{
	"": protocol.AnyCondition, "any": protocol.AnyCondition, "new": protocol.NewCondition, "used": protocol.Used,
	"second-hand": protocol.Used, "second hand": protocol.Used, "pre-owned": protocol.Used,
	"refurbished": protocol.Refurbished, "renewed": protocol.Refurbished,
}

func setCondition(p *Product, text string) string {
	c, ok := conditions[strings.ToLower(text)]
	if !ok {
		return fmt.Sprintf("%.48q is no condition: new, used or refurbished", text)
	}
	p.Condition = c
	return ""
}

var tag = regexp.MustCompile(`</?[a-zA-Z][^<>]{0,500}>`)

// tidy takes out HTML and control characters, and makes runs of blanks one.
func tidy(s string, lines bool) string {
	if strings.Contains(s, "<") {
		s = tag.ReplaceAllString(s, " ")
	}
	if strings.Contains(s, "&") {
		s = html.UnescapeString(s)
	}
	if !lines {
		return oneLine(s)
	}
	var out []string
	for l := range strings.SplitSeq(s, "\n") {
		if l = oneLine(l); l != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}
