package market

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var tableOf = regexp.MustCompile(`(\w+) +table\[.*\] += "(k/[^"]*)"`)

// shared finds tables that lie under one prefix, of which each would read the other's records.
func shared(source string, by map[string]string) (found []string) {
	for _, m := range tableOf.FindAllStringSubmatch(source, -1) {
		if other, taken := by[m[2]]; taken && other != m[1] {
			found = append(found, m[1]+" and "+other+" under "+m[2])
		}
		by[m[2]] = m[1]
	}
	return found
}

func TestEveryTableHasAPrefixOfItsOwn(t *testing.T) {
	if len(shared("a table[int] = \"k/a/\"\n\tb   table[[]byte] = \"k/a/\"", map[string]string{})) != 1 {
		t.Fatal("two tables under one prefix were not found")
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	by := map[string]string{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".go" && name != "tables_test.go" {
			for _, s := range shared(string(source), by) {
				t.Errorf("%s: %s", name, s)
			}
		}
	}
	if len(by) < 16 {
		t.Errorf("only %d tables were found", len(by))
	}
}
