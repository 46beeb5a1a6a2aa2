package protocol

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// A Region is a country (ISO 3166-1 alpha-2, "ZA") or one of its subdivisions
// (ISO 3166-2, "ZA-GP"). It is always coarse: never a town, a postal code or
// coordinates.
type Region string

// Country gives the country's two letters.
func (r Region) Country() string { country, _, _ := strings.Cut(string(r), "-"); return country }

// Valid reports whether the code is on the list, in capitals.
func (r Region) Valid() bool { _, ok := regions()[r]; return ok }

// Within reports whether r is outer, or a subdivision of the country outer.
func (r Region) Within(outer Region) bool {
	return r == outer || outer != "" && !strings.Contains(string(outer), "-") && r.Country() == string(outer)
}

// RegionName gives an English name ("Gauteng, South Africa"). A subdivision whose
// name is not on the list gets its code instead, an unknown region "".
func RegionName(r Region) string { return regions()[r] }

//go:embed lists/regions.tsv
var regionFile string

// regions maps codes to names. The file's lines are country, name and
// subdivisions ("EC Eastern Cape" or only "EC", separated by commas).
var regions = sync.OnceValue(func() map[Region]string {
	all := make(map[Region]string, 6000)
	for line := range strings.Lines(regionFile) {
		cols := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cols) != 3 {
			continue // the first line: name and version
		}
		all[Region(cols[0])] = cols[1]
		for sub := range strings.SplitSeq(cols[2], ",") {
			if code, name, _ := strings.Cut(sub, " "); code != "" {
				all[Region(cols[0]+"-"+code)] = cmp.Or(name, code) + ", " + cols[1]
			}
		}
	}
	return all
})

// formerRegions are codes that people still write.
var formerRegions = map[string]Region{"ZA-GT": "ZA-GP", "ZA-NL": "ZA-KZN", "ZA-NP": "ZA-LP", "UK": "GB", "EL": "GR"}

// NearRegions gives up to n regions that a mistyped code or name may have meant,
// best first.
func NearRegions(text string, n int) []Region {
	code := strings.ToUpper(strings.TrimSpace(clip([]byte(text))))
	name := strings.ToLower(code)
	var found []ranked
	for r, full := range regions() {
		short, _, _ := strings.Cut(strings.ToLower(full), ",")
		d := 4 * distance(name, short)
		if d > len(name) { // a name may be wrong in every fourth letter
			d = 4 + 4*distance(code, string(r))
			if r.Country() != Region(code).Country() {
				d += 2
			}
		}
		if formerRegions[code] == r {
			d = -1
		}
		if d <= 8 || 2*d <= len(name) {
			found = append(found, ranked{d, Category(r)})
		}
	}
	var near []Region
	for _, c := range best(found, n) {
		near = append(near, Region(c))
	}
	return slices.Clip(near)
}
