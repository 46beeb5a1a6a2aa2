package node_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/terms"
)

// shaped makes the values of a field such that they can be made coarser, each another; and
// names the levels at which. The others can be given by their initials.
var shaped = map[protocol.FieldName]struct {
	value  func(n int) string
	levels []string
}{
	"contact.email":         {func(n int) string { return fmt.Sprintf("her-%d@of-%d.example", n, n) }, []string{"domain"}},
	"contact.address":       {func(n int) string { return fmt.Sprintf("%d Long Road, Sub-%d, Townville, Gauteng", n, n) }, []string{"town", "region"}},
	"contact.hours":         {func(n int) string { return time.Unix(0, 0).UTC().AddDate(20, 0, 37*n).Format(time.DateOnly) }, []string{"year", "decade"}},
	"demographic.age-range": {func(n int) string { return fmt.Sprint(1_234_000 + n) }, []string{"tens", "hundreds", "thousands"}},
	"preference.delivery":   {func(n int) string { return fmt.Sprintf("zq%06d", n) }, []string{"prefix"}},
}

func valueOf(f protocol.FieldName, serial int) string {
	if s, ok := shaped[f]; ok {
		return s.value(serial)
	}
	return fmt.Sprintf("value %d of %s", serial, f)
}

func levelsOf(f protocol.FieldName) []string {
	if s, ok := shaped[f]; ok {
		return s.levels
	}
	return []string{"initials"}
}

// everyLevel: histories may draw each level that there is, and the values have the shape.
func everyLevel(t *testing.T) {
	drawn := map[string]bool{}
	for _, f := range ordinary {
		for _, level := range levelsOf(f) {
			drawn[level] = true
			a, err := terms.Coarsen(level, valueOf(f, 7))
			if err != nil || a == valueOf(f, 7) {
				t.Errorf("%s of %s: %q, %v", level, f, a, err)
			}
		}
		if valueOf(f, 7) == valueOf(f, 8) {
			t.Errorf("two values of %s are one", f)
		}
	}
	for _, level := range terms.Levels() {
		if !drawn[level] {
			t.Errorf("no history draws the level %s", level)
		}
	}
}

// readers are the vault's methods that give values, or lead to them.
var readers = []string{"Get", "History", "View", "Large", "Download", "List", "Upload"}

// waysOut finds where a file reads values from the vault: "file: Method".
func waysOut(name string, f *ast.File) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(readers, sel.Sel.Name) {
			return true
		}
		of, ok := sel.X.(*ast.SelectorExpr)
		if ok && of.Sel.Name == "Vault" {
			out = append(out, name+": "+sel.Sel.Name)
		}
		return true
	})
	return out
}

// oneWayOut: on the way to the wire nothing reads the vault but View, in one place; the
// list of names beside it is the planted leak's, and what waits for her is tried against
// her own rule for a field, and whether its value can be made coarser. The owner's own desks read all, and hand
// values to nobody but her.
func oneWayOut(t *testing.T) {
	planted, err := parser.ParseFile(token.NewFileSet(), "planted.go", "package market\nfunc (t *turn) x() { t.m.cfg.Stores.Vault.Get(t, \"contact.email\") }", 0)
	if err != nil || len(waysOut("planted.go", planted)) != 1 {
		t.Fatalf("a planted way out is not found: %v", err)
	}
	var found []string
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		slashed := filepath.ToSlash(path)
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(slashed, "internal/desks/") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		found = append(found, waysOut(slashed, f)...)
		return nil
	})
	if want := []string{"internal/market/standing.go: Large", "internal/market/standing.go: List", "internal/market/standing.go: View", "internal/market/waiting.go: Get"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(found)), want) {
		t.Errorf("values are read from the vault at %q, want %q; %v", found, want, err)
	}
}
