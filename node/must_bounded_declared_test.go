package node_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// boundsIn finds, in one file, what by its form is a bound, or a table that needs one:
// a channel with room for more than one, a crew, things under way, each field of a struct
// named Limits, Policy or Tables, and each table of records.
func boundsIn(room, source string) (found []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), room, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if what := sized(n); what != "" {
				found = append(found, room+": "+what)
			}
		case *ast.TypeSpec:
			s, isStruct := n.Type.(*ast.StructType)
			if !isStruct || !slices.Contains([]string{"Limits", "Policy", "Tables"}, n.Name.Name) {
				break
			}
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					found = append(found, room+": "+n.Name.Name+"."+name.Name)
				}
			}
		case *ast.ValueSpec:
			if t, ok := n.Type.(*ast.IndexExpr); ok && types.ExprString(t.X) == "table" {
				found = append(found, room+": table "+n.Names[0].Name)
			}
		}
		return true
	})
	return found, nil
}

// sized is a call that makes something with room for so much, as text.
func sized(call *ast.CallExpr) string {
	fun := types.ExprString(call.Fun)
	switch name := fun[strings.LastIndexByte(fun, '.')+1:]; {
	case fun == "make" && len(call.Args) == 2:
		if _, ok := call.Args[0].(*ast.ChanType); ok && types.ExprString(call.Args[1]) != "1" {
			return "chan " + types.ExprString(call.Args[1])
		}
	case fun == "crew.New" && len(call.Args) == 3:
		return "crew " + types.ExprString(call.Args[1])
	case strings.HasPrefix(name, "NewUnderWay["):
		return "under way " + types.ExprString(call.Args[0])
	case strings.HasPrefix(fun, "crew.NewUnderWay"):
		return "under way " + types.ExprString(call.Args[0])
	}
	return ""
}

// undeclared says what of the found is not declared, what is declared and not there, and
// which declared bound nobody floods: a reason is a sentence, with a space.
func undeclared(found []string, declared map[string]string, floods map[string]func(*testing.T)) (wrong []string) {
	for _, f := range found {
		if declared[f] == "" {
			wrong = append(wrong, f+" is a bound, or needs one: name in declaredBounds what status shows of it, or why nothing")
		}
	}
	for d, as := range declared {
		switch {
		case !slices.Contains(found, d):
			wrong = append(wrong, d+" is declared, and not there")
		case !strings.Contains(as, " ") && floods[as] == nil:
			wrong = append(wrong, d+" is declared as "+as+", which nobody floods")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// TestEveryBoundIsDeclared: what has a bound, or needs one, is shown and flooded, or says
// why not.
func TestEveryBoundIsDeclared(t *testing.T) {
	planted, err := boundsIn("plant", `package plant
type Limits struct { Seeds, Weeds int }
const beds table[int] = "k/b/"
var a, b = make(chan int, 1), make(chan int, 8)
var c, d = crew.New(ctx, most, nil), crew.NewUnderWay[int](most)`)
	want := []string{"plant: Limits.Seeds", "plant: Limits.Weeds", "plant: chan 8", "plant: crew most", "plant: table beds", "plant: under way most"}
	if slices.Sort(planted); err != nil || !slices.Equal(planted, want) {
		t.Fatalf("of what was planted these were found: %q, %v", planted, err)
	}
	all, _ := everyFlood()
	got := undeclared(planted, map[string]string{want[0]: "no.flood", want[1]: "a reason", "plant: chan 9": "a reason", want[2]: "node.fresh"}, all)
	if len(got) != 5 {
		t.Fatalf("of five planted faults these were found: %q", got)
	}
	var found []string
	for _, root := range []string{".", "../store"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			tests := strings.HasSuffix(path, "_test.go") || slices.Contains([]string{"nodetest", "lab", "storetest"}, e.Name())
			if err != nil || e.IsDir() && !tests || !e.IsDir() && (tests || filepath.Ext(path) != ".go") {
				return err
			}
			if e.IsDir() {
				return fs.SkipDir
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			list, err := boundsIn(filepath.ToSlash(filepath.Join("node", filepath.Dir(path))), string(source))
			found = append(found, list...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if wrong := undeclared(found, declaredBounds, all); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	shown := map[string]bool{}
	for _, as := range declaredBounds {
		shown[as] = !strings.Contains(as, " ")
	}
	t.Logf("%d bounds and tables are declared, %d as one that status shows", len(found), len(slices.DeleteFunc(slices.Collect(maps.Values(shown)), func(b bool) bool { return !b })))
}
