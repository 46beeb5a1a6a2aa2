package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// house is the repository as the rules see it: a set of files, real or made up by a test.
type house struct {
	module string            // the module's path, from go.mod
	paths  map[string]string // every file: slash-separated path -> text (kept for Go files, go.mod, .gitignore); an empty folder ends in "/"
	fset   *token.FileSet
	files  []*goFile   // every Go file outside testdata that parses, by path
	broken []violation // those that do not
	used   map[*allowance]bool
}

// goFile is one parsed Go file.
type goFile struct {
	path, room string // room is the folder of the file
	test       bool
	generated  bool
	lines      int
	ast        *ast.File
	allowances []*allowance
	house      *house
}

// allowance is a comment that excepts the declaration on the next line from one size: //house:allow <what> <reason>.
type allowance struct {
	line         int
	what, reason string
}

// build parses a set of files into a house.
func build(paths map[string]string) *house {
	h := &house{paths: paths, fset: token.NewFileSet(), used: map[*allowance]bool{}}
	h.module = modfile.ModulePath([]byte(paths["go.mod"]))
	for p, text := range paths {
		if path.Ext(p) == ".go" && !slices.Contains(strings.Split(p, "/"), "testdata") && !strings.HasPrefix(p, ".") {
			h.parse(p, text)
		}
	}
	slices.SortFunc(h.files, func(a, b *goFile) int { return strings.Compare(a.path, b.path) })
	return h
}

func (h *house) parse(p, text string) {
	tree, err := parser.ParseFile(h.fset, p, text, parser.ParseComments)
	if err != nil {
		h.broken = append(h.broken, violation{p, 0, err.Error()})
		return
	}
	f := &goFile{path: p, room: path.Dir(p), ast: tree, house: h, lines: strings.Count(text, "\n")}
	f.test = strings.HasSuffix(p, "_test.go")
	f.generated = strings.HasSuffix(p, "_templ.go") || ast.IsGenerated(tree)
	for _, group := range tree.Comments {
		for _, c := range group.List {
			if rest, ok := strings.CutPrefix(c.Text, "//house:allow"); ok {
				what, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
				f.allowances = append(f.allowances, &allowance{h.fset.Position(c.Pos()).Line, what, strings.TrimSpace(reason)})
			}
		}
	}
	h.files = append(h.files, f)
}

func checkParses(h *house) []violation { return h.broken }

// product returns the files that the laws bind: no tests, nothing generated.
func (h *house) product() []*goFile {
	return slices.DeleteFunc(slices.Clone(h.files), func(f *goFile) bool { return f.test || f.generated })
}

// rooms groups the product's files by folder.
func (h *house) rooms() map[string][]*goFile {
	m := map[string][]*goFile{}
	for _, f := range h.product() {
		m[f.room] = append(m[f.room], f)
	}
	return m
}

// roomOf turns an import path of this module into a room.
func (h *house) roomOf(imp string) (room string, ours bool) {
	return strings.CutPrefix(imp, h.module+"/")
}

// ignored tells whether .gitignore names an entry of the top level.
func (h *house) ignored(top string) bool {
	for line := range strings.Lines(h.paths[".gitignore"]) {
		pattern := strings.Trim(strings.TrimSpace(line), "/")
		if hit, _ := path.Match(pattern, top); hit && !strings.HasPrefix(pattern, "#") {
			return true
		}
	}
	return false
}

func (f *goFile) line(n ast.Node) int { return f.house.fset.Position(n.Pos()).Line }

func (f *goFile) at(n ast.Node, format string, args ...any) violation {
	return violation{f.path, f.line(n), fmt.Sprintf(format, args...)}
}

// allowed tells whether a comment directly above the line excepts it from one size, for a reason.
func (f *goFile) allowed(what string, line int) bool {
	for _, a := range f.allowances {
		if a.what == what && a.line == line-1 && a.reason != "" {
			f.house.used[a] = true
			return true
		}
	}
	return false
}

// localName is the name under which a file knows a package, or "" if it does not import it.
func (f *goFile) localName(pkg string) string {
	for _, imp := range f.ast.Imports {
		if importPath(imp) != pkg {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// refers tells whether an expression is pkg.name for one of the names (all packages here have the name of their path's end).
func (f *goFile) refers(e ast.Expr, pkg string, names ...string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || !slices.Contains(names, sel.Sel.Name) {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Obj == nil && id.Name == f.localName(pkg)
}

// uses tells whether the file mentions pkg.name at all.
func (f *goFile) uses(pkg, name string) (found bool) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && f.refers(e, pkg, name) {
			found = true
		}
		return !found
	})
	return found
}

// holdsContext tells whether a value of the type is, or holds, a context. A function that takes one is none.
func (f *goFile) holdsContext(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.SelectorExpr:
		return f.refers(t, "context", "Context")
	case *ast.StarExpr:
		return f.holdsContext(t.X)
	case *ast.ArrayType:
		return f.holdsContext(t.Elt)
	case *ast.ChanType:
		return f.holdsContext(t.Value)
	case *ast.MapType:
		return f.holdsContext(t.Key) || f.holdsContext(t.Value)
	}
	return false
}

func importPath(imp *ast.ImportSpec) string {
	p, _ := strconv.Unquote(imp.Path.Value)
	return p
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// realTree reads the repository that this test stands in.
func realTree(t *testing.T) map[string]string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	err = filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, full)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return enter(paths, full, rel)
		}
		paths[rel] = ""
		if strings.HasSuffix(rel, ".go") || rel == "go.mod" || rel == ".gitignore" {
			text, err := os.ReadFile(full)
			paths[rel] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if paths["go.mod"] == "" {
		t.Fatalf("%s is not the root of the module", root)
	}
	return paths
}

// enter notes an empty folder, and keeps the walk out of folders whose content is no part of the house.
func enter(paths map[string]string, full, rel string) error {
	if strings.HasPrefix(rel, ".") && rel != "." {
		paths[rel] = ""
		return filepath.SkipDir
	}
	entries, err := os.ReadDir(full)
	if len(entries) == 0 {
		paths[rel+"/"] = ""
	}
	return err
}
