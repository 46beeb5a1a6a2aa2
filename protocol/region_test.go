package protocol

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// isoCodes reads one code per entry from the shared copy of the ISO lists. Where
// that copy is absent the test is skipped; where HARK_SHARED names it, it fails.
func isoCodes(t *testing.T, list, field string) []string {
	t.Helper()
	dir, named := os.LookupEnv("HARK_SHARED")
	if !named {
		dir = filepath.Join("..", "..", "shared")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "data", "regions", "iso_"+list+".json"))
	if err != nil && !named {
		t.Skipf("SKIPPED: the ISO %s list is not on this machine (%v)", list, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file map[string][]map[string]string
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, entry := range file[list] {
		codes = append(codes, entry[field])
	}
	if len(codes) < 100 {
		t.Fatalf("only %d codes in %s", len(codes), list)
	}
	return codes
}

func TestRegionsAreISO(t *testing.T) {
	want := append(isoCodes(t, "3166-1", "alpha_2"), isoCodes(t, "3166-2", "code")...)
	for _, code := range want {
		if !Region(code).Valid() {
			t.Errorf("%s is missing", code)
		}
	}
	for r := range regions() {
		if !slices.Contains(want, string(r)) {
			t.Errorf("%s is not in ISO 3166", r)
		}
	}
}

func TestRegionFile(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(regionFile, "\n"), "\n")
	if lines[0] != "hark-regions\t1" || len(lines) != 250 {
		t.Fatalf("head %q, %d lines", lines[0], len(lines))
	}
	for i, line := range lines[1:] {
		cols := strings.Split(line, "\t")
		if len(cols) != 3 || len(cols[0]) != 2 || cols[1] == "" || i > 0 && lines[i] >= line {
			t.Errorf("line %d: %q", i+2, line)
		}
	}
	if n := len(regions()); n != 249+5046 {
		t.Errorf("%d codes", n)
	}
}

func TestRegionValid(t *testing.T) {
	for _, r := range []Region{"ZA", "ZA-GP", "ZA-KZN", "GB-ENG", "US-CA", "DE-BY", "NA", "AQ", "FR-75C"} {
		if !r.Valid() {
			t.Errorf("%s refused", r)
		}
	}
	for _, r := range []Region{"", "ZA-GT", "ZA-NL", "za", "ZA-gp", "ZA-", "-", "-GP", "ZA-GP-1", "XX", "UK", "ZAR", "ZA GP", "ZA-GP ", "hark-regions"} {
		if r.Valid() {
			t.Errorf("%q is no region", r)
		}
	}
}

func TestRegionWithin(t *testing.T) {
	for _, c := range []struct {
		inner, outer Region
		want         bool
	}{
		{"ZA-GP", "ZA", true}, {"ZA", "ZA", true}, {"ZA-GP", "ZA-GP", true}, {"ZA", "ZA-GP", false}, {"ZA-WC", "ZA-GP", false},
		{"NA", "ZA", false}, {"ZA-GP", "", false}, {"", "ZA", false}, {"US-CA", "CA", false}, {"CA", "US-CA", false},
	} {
		if got := c.inner.Within(c.outer); got != c.want {
			t.Errorf("%s within %s: %v", c.inner, c.outer, got)
		}
	}
	if Region("ZA-KZN").Country() != "ZA" || Region("ZA").Country() != "ZA" {
		t.Error("country")
	}
}

func TestRegionName(t *testing.T) {
	for r, want := range map[Region]string{"ZA": "South Africa", "ZA-GP": "Gauteng, South Africa", "US-CA": "CA, United States", "ZA-GT": "", "": ""} {
		if got := RegionName(r); got != want {
			t.Errorf("%s: %q", r, got)
		}
	}
}

func TestRegionNear(t *testing.T) {
	for text, want := range map[string]Region{"ZA-GT": "ZA-GP", "ZA-NL": "ZA-KZN", "za-gp": "ZA-GP", "Gauteng": "ZA-GP", "gautang": "ZA-GP",
		"kwazulu natal": "ZA-KZN", "UK": "GB", "south afrika": "ZA", "Kenia": "KE", "ZA-KZ": "ZA-KZN"} {
		if got := NearRegions(text, 3); len(got) == 0 || got[0] != want || len(got) > 3 {
			t.Errorf("%s: %v, want %s first", text, got, want)
		}
	}
	if got := NearRegions("qwertyuiopasdf", 3); len(got) != 0 {
		t.Errorf("nothing is near, got %v", got)
	}
	if len(NearRegions("ZA", 0)) != 0 || len(NearRegions(strings.Repeat("ZA", 1<<20), 2)) > 2 {
		t.Error("count")
	}
}
