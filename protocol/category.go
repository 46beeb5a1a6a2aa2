package protocol

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/harkmarket/hark/protocol/fault"
)

// A Category says coarsely what kind of thing or service is wanted:
// "sector.thing", as in "insurance.motor". It never tells brand, model or price.
type Category string

// Unspecified is the category of whatever nobody classified. Every list has it.
const Unspecified Category = "other.unspecified"

// Sector gives the part before the dot.
func (c Category) Sector() string { sector, _, _ := strings.Cut(string(c), "."); return sector }

// WellFormed reports whether c has the shape "sector.thing": lower-case letters,
// digits and hyphens around one dot, at most 48 bytes. A list may not know it.
func (c Category) WellFormed() bool {
	sector, thing, ok := strings.Cut(string(c), ".")
	return ok && len(c) <= 48 && slug(sector) && slug(thing)
}

// CategoryInfo is one row of a list. Kind is "goods", "service" or "both"; Words
// are the English words and phrases that Suggest listens for.
type CategoryInfo struct {
	Code        Category
	Title, Kind string
	Words       []string
}

// A CategoryList is a parsed list; it never changes. Its file starts with the
// line "hark-categories<TAB>version"; every other line is code, title, words
// (separated by commas) and kind, separated by tabs, in the order of the codes.
type CategoryList struct {
	version int
	digest  Hash
	rows    []CategoryInfo   // by code
	weights []map[string]int // per row: how much a single word counts
	rarity  map[string]int   // the fewer rows have a word, the more it says
	places  map[Category]int // code to row
	phrases [][]string       // per row: " two words "
}

//go:embed lists/categories.tsv
var categoryFile []byte

// Categories gives the list that ships with this program.
var Categories = sync.OnceValue(func() *CategoryList {
	l, err := ParseCategories(categoryFile)
	if err != nil { // a test parses the file
		return &CategoryList{}
	}
	return l
})

const maxCategoryFile, maxCategories = 256 << 10, 2000

// ParseCategories reads a list of at most 256 KiB and 2,000 rows. The form is
// strict, so that equal lists have equal digests.
func ParseCategories(raw []byte) (*CategoryList, error) {
	bad := func(line int, why string) (*CategoryList, error) {
		return nil, fmt.Errorf("category list, line %d: %s: %w", line, why, fault.Malformed)
	}
	if len(raw) > maxCategoryFile || !utf8.Valid(raw) || !bytes.HasSuffix(raw, []byte("\n")) ||
		bytes.Count(raw, []byte("\n")) > maxCategories+1 {
		return bad(0, "too long, no UTF-8, or no end of line at its end")
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	number, ok := strings.CutPrefix(lines[0], "hark-categories\t")
	version, err := strconv.Atoi(number)
	if !ok || err != nil || version < 1 || strconv.Itoa(version) != number {
		return bad(1, `want "hark-categories" and a version`)
	}
	l := &CategoryList{version: version, digest: sha256.Sum256(raw), places: map[Category]int{}, rarity: map[string]int{}}
	for i, line := range lines[1:] {
		row, why := parseCategory(line)
		if why == "" && i > 0 && l.rows[i-1].Code >= row.Code {
			why = "codes are not in order"
		}
		if why != "" {
			return bad(i+2, why)
		}
		l.places[row.Code] = i
		l.rows = append(l.rows, row)
	}
	if !l.Has(Unspecified) {
		return bad(len(lines), "no "+string(Unspecified))
	}
	l.index()
	return l, nil
}

// parseCategory reads one line; why is "" when it is sound.
func parseCategory(line string) (row CategoryInfo, why string) {
	cols := strings.Split(line, "\t")
	if len(cols) != 4 {
		return row, "want four columns"
	}
	row = CategoryInfo{Category(cols[0]), cols[1], cols[3], strings.Split(cols[2], ",")}
	if !row.Code.WellFormed() {
		return row, `code is not of the form "sector.thing"`
	}
	if !slices.Contains([]string{"goods", "service", "both"}, row.Kind) {
		return row, "kind is not goods, service or both"
	}
	if len(row.Words) > MaxList {
		return row, "too many words"
	}
	for _, s := range append([]string{row.Title}, row.Words...) {
		if s == "" || len(s) > 80 || s != strings.TrimSpace(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return row, "a title or word is empty, too long or unclean"
		}
	}
	return row, ""
}

// index prepares Suggest.
func (l *CategoryList) index() {
	seen := map[string]int{}
	for _, row := range l.rows {
		weight := map[string]int{}
		hear := func(n int, texts ...string) {
			heard := words(strings.Join(texts, " "))
			slices.Sort(heard)
			for _, w := range slices.Compact(heard) {
				weight[w] += n
			}
		}
		parts := slices.DeleteFunc(slices.Clone(row.Words), func(w string) bool { return len(words(w)) < 2 })
		alone := slices.DeleteFunc(slices.Clone(row.Words), func(w string) bool { return len(words(w)) > 1 })
		hear(2, row.Words...)
		hear(2, alone...)
		hear(2, row.Title)
		hear(2, string(row.Code))
		var phrases []string
		for _, w := range parts {
			phrases = append(phrases, " "+strings.Join(words(w), " ")+" ")
		}
		for w := range weight {
			seen[w]++
		}
		l.weights, l.phrases = append(l.weights, weight), append(l.phrases, phrases)
	}
	for w, n := range seen {
		l.rarity[w] = bits.Len(uint(len(l.rows) / n))
	}
}

// Version is the list's own number, from its first line.
func (l *CategoryList) Version() int { return l.version }

// Digest is the SHA-256 of the file: it names the list in a genesis document.
func (l *CategoryList) Digest() Hash { return l.digest }

// CID is the content address of the file: CIDv1, raw, sha2-256.
func (l *CategoryList) CID() cid.Cid { return l.digest.CID() }

// Has reports whether the list knows c.
func (l *CategoryList) Has(c Category) bool { _, ok := l.places[c]; return ok }

// Info gives c's row.
func (l *CategoryList) Info(c Category) (CategoryInfo, bool) {
	i, ok := l.places[c]
	if !ok {
		return CategoryInfo{}, false
	}
	return l.rows[i].clone(), true
}

func (i CategoryInfo) clone() CategoryInfo { i.Words = slices.Clone(i.Words); return i }

// All gives every row, in the order of the codes.
func (l *CategoryList) All() []CategoryInfo {
	all := make([]CategoryInfo, len(l.rows))
	for i, row := range l.rows {
		all[i] = row.clone()
	}
	return all
}

// Sectors gives every sector once, in order.
func (l *CategoryList) Sectors() (all []string) {
	for _, row := range l.rows {
		if s := row.Code.Sector(); len(all) == 0 || all[len(all)-1] != s {
			all = append(all, s)
		}
	}
	return all
}

// Suggest gives up to n categories that share words with a text in a person's own
// words, best first; none when nothing fits. A rare word counts more than a
// common one and a whole phrase more than its parts. It reads 64 words.
func (l *CategoryList) Suggest(text string, n int) []Category {
	said := words(text[:min(len(text), 1000)])
	said = said[:min(len(said), 64)]
	whole := " " + strings.Join(said, " ") + " "
	slices.Sort(said)
	said = slices.Compact(said)
	var found []ranked
	for i, row := range l.rows {
		score := 0
		for _, w := range said {
			score += l.weights[i][w] * l.rarity[w]
		}
		for _, p := range l.phrases[i] {
			if strings.Contains(whole, p) {
				score += 16 * strings.Count(p, " ")
			}
		}
		if score > 0 {
			found = append(found, ranked{-score, row.Code})
		}
	}
	return best(found, n)
}

// Near gives up to n categories that a mistyped code may have meant, best first:
// by edit distance, then by the words in it.
func (l *CategoryList) Near(code string, n int) []Category {
	code = strings.ToLower(code[:min(len(code), 80)])
	sector, thing, _ := strings.Cut(code, ".")
	known := slices.Contains(l.Sectors(), sector)
	var found []ranked
	for _, row := range l.rows {
		d := distance(thing, string(row.Code[len(row.Code.Sector())+1:]))
		if row.Code.Sector() != sector {
			d += 2
		}
		if d <= 1+len(thing)/4 {
			found = append(found, ranked{d, row.Code})
		} else if d = distance(code, string(row.Code)); !known && d <= 1+len(code)/6 {
			found = append(found, ranked{d, row.Code})
		}
	}
	near := best(found, n)
	for _, c := range l.Suggest(thing+" "+sector, n) {
		if len(near) < n && !slices.Contains(near, c) {
			near = append(near, c)
		}
	}
	return near
}

type ranked struct {
	cost int
	code Category
}

func best(found []ranked, n int) []Category {
	slices.SortFunc(found, func(a, b ranked) int { return cmp.Or(a.cost-b.cost, cmp.Compare(a.code, b.code)) })
	var codes []Category
	for _, f := range found[:max(0, min(n, len(found)))] {
		codes = append(codes, f.code)
	}
	return codes
}

var stopWords = strings.Fields(`a an and are as at be buy by can do for from get good hand has have help i in is it looking
	me my need new of old on or other our please second some someone that the this to under used want we who with you your`)

// words gives a text's words in lower case and without plural endings; stop words
// are left out.
func words(text string) (all []string) {
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if !slices.Contains(stopWords, w) {
			all = append(all, singular(w))
		}
	}
	return all
}

func singular(w string) string {
	for _, s := range []struct{ end, put string }{{"ies", "y"}, {"sses", "ss"}, {"xes", "x"}, {"ches", "ch"}, {"shes", "sh"},
		{"toes", "to"}, {"ss", "ss"}, {"us", "us"}, {"is", "is"}, {"s", ""}} {
		if cut, ok := strings.CutSuffix(w, s.end); ok && len(w) > 3 {
			return cut + s.put
		}
	}
	return w
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	var short [64]int // most words fit, and hundreds are compared with one
	row := short[:min(len(b)+1, len(short))]
	if len(b) >= len(short) {
		row = make([]int, len(b)+1)
	}
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
