package integration

import (
	"go/ast"
	"slices"
	"strings"
)

// The sizes are smoke detectors. An honest exception says so on the line above what it excepts.
const (
	maxFunction  = 80
	medianOfAll  = 10 // lines of a function, over all functions of the house
	ninetiethPct = 40
	maxFile      = 600
	maxPackage   = 1500
	maxMethods   = 25
	maxFields    = 20
	maxInterface = 7
)

// unboundedRooms may be of any size: cmd/hark is one file for each command.
var unboundedRooms = []string{"cmd/hark"}

// allowanceKinds are the sizes that //house:allow can except.
var allowanceKinds = []string{"function", "file", "package", "methods", "fields", "interface"}

func checkSizes(h *house) []violation {
	return slices.Concat(functionSizes(h), fileSizes(h), methodCounts(h), typeSizes(h))
}

func functionSizes(h *house) (out []violation) {
	var all []int
	for _, f := range h.product() {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			n := h.fset.Position(fn.End()).Line - f.line(fn) + 1
			all = append(all, n)
			if n > maxFunction && !f.allowed("function", f.line(fn)) {
				out = append(out, f.at(fn, "function %s has %d lines, at most %d", fn.Name.Name, n, maxFunction))
			}
		}
	}
	if len(all) == 0 {
		return out
	}
	slices.Sort(all)
	if m := all[(len(all)-1)/2]; m > medianOfAll {
		out = append(out, violation{"(all)", 0, sprint("the median function has %d lines, at most %d", m, medianOfAll)})
	}
	if p := all[(len(all)*9+9)/10-1]; p > ninetiethPct {
		out = append(out, violation{"(all)", 0, sprint("one function in ten has more than %d lines, at most %d", p, ninetiethPct)})
	}
	return out
}

func fileSizes(h *house) (out []violation) {
	for room, files := range h.rooms() {
		total, excepted := 0, slices.Contains(unboundedRooms, room)
		for _, f := range files {
			total += f.lines
			if f.lines > maxFile && !f.allowed("file", f.line(f.ast.Name)) {
				out = append(out, f.at(f.ast.Name, "the file has %d lines, at most %d", f.lines, maxFile))
			}
			if slices.ContainsFunc(f.allowances, func(a *allowance) bool { return a.what == "package" }) {
				excepted = f.allowed("package", f.line(f.ast.Name)) || excepted
			}
		}
		if total > maxPackage && !excepted {
			out = append(out, files[0].at(files[0].ast.Name, "package %s has %d lines, at most %d", room, total, maxPackage))
		}
	}
	return out
}

// methodCounts counts the methods of each type over all files of its package.
func methodCounts(h *house) (out []violation) {
	for _, files := range h.rooms() {
		methods := map[string]int{}
		for _, f := range files {
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && len(fn.Recv.List) == 1 {
					methods[receiver(fn.Recv.List[0].Type)]++
				}
			}
		}
		for _, f := range files {
			eachType(f, func(spec *ast.TypeSpec, line int) {
				if n := methods[spec.Name.Name]; n > maxMethods && !f.allowed("methods", line) {
					out = append(out, f.at(spec, "type %s has %d methods, at most %d", spec.Name.Name, n, maxMethods))
				}
			})
		}
	}
	return out
}

// typeSizes measures structs and interfaces, named or not.
func typeSizes(h *house) (out []violation) {
	for _, files := range h.rooms() {
		ports := interfaces(files)
		for _, f := range files {
			declared := map[ast.Expr]int{}
			eachType(f, func(spec *ast.TypeSpec, line int) { declared[spec.Type] = line })
			ast.Inspect(f.ast, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				line, named := declared[e]
				if !named {
					line = f.line(n)
				}
				switch t := e.(type) {
				case *ast.StructType:
					if c := fieldCount(t); c > maxFields && !f.allowed("fields", line) {
						out = append(out, f.at(n, "a struct of %d fields, at most %d", c, maxFields))
					}
				case *ast.InterfaceType:
					if c := len(methodSet(t, ports, map[string]bool{})); c > maxInterface && !f.allowed("interface", line) {
						out = append(out, f.at(n, "an interface of %d methods, at most %d", c, maxInterface))
					}
				}
				return true
			})
		}
	}
	return out
}

// checkAllowances finds exceptions without a reason, of no known kind, or that except nothing.
func checkAllowances(h *house) (out []violation) {
	checkSizes(h) // notes which exceptions are needed
	for _, f := range h.files {
		for _, a := range f.allowances {
			switch {
			case f.test || f.generated:
				out = append(out, violation{f.path, a.line, "house:allow in a file that no size binds"})
			case !slices.Contains(allowanceKinds, a.what):
				out = append(out, violation{f.path, a.line, sprint("house:allow %q: it is one of %s", a.what, strings.Join(allowanceKinds, ", "))})
			case len(strings.Fields(a.reason)) < 3:
				out = append(out, violation{f.path, a.line, "house:allow without a reason that explains anything"})
			case !h.used[a]:
				out = append(out, violation{f.path, a.line, "house:allow excepts nothing: the next line is within bounds, or is another kind of thing"})
			}
		}
	}
	return out
}

// eachType visits the types that a file declares, with the line on which each declaration starts.
func eachType(f *goFile, visit func(spec *ast.TypeSpec, line int)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		if !ok {
			return true
		}
		for _, s := range decl.Specs {
			if spec, ok := s.(*ast.TypeSpec); ok {
				line := f.line(spec)
				if !decl.Lparen.IsValid() {
					line = f.line(decl)
				}
				visit(spec, line)
			}
		}
		return true
	})
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func fieldCount(t *ast.StructType) (n int) {
	for _, field := range t.Fields.List {
		n += max(1, len(field.Names))
	}
	return n
}

// interfaces returns the interfaces that a package declares, by name.
func interfaces(files []*goFile) map[string]*ast.InterfaceType {
	m := map[string]*ast.InterfaceType{}
	for _, f := range files {
		eachType(f, func(spec *ast.TypeSpec, _ int) {
			if t, ok := spec.Type.(*ast.InterfaceType); ok {
				m[spec.Name.Name] = t
			}
		})
	}
	return m
}

// methodSet collects the methods of an interface, with those of interfaces of the same package that it embeds; one
// embedded from another package counts as one method.
func methodSet(t *ast.InterfaceType, ports map[string]*ast.InterfaceType, seen map[string]bool) map[string]bool {
	for _, m := range t.Methods.List {
		for _, name := range m.Names {
			seen[name.Name] = true
		}
		if len(m.Names) > 0 {
			continue
		}
		switch e := m.Type.(type) {
		case *ast.Ident:
			if p := ports[e.Name]; p != nil && p != t {
				methodSet(p, ports, seen)
			}
		case *ast.SelectorExpr:
			seen["embedded "+e.Sel.Name] = true
		}
	}
	return seen
}
