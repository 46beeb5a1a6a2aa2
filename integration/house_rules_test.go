package integration

import (
	"cmp"
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// rule is one law of the house. check returns every place that breaks it.
type rule struct {
	name  string
	check func(*house) []violation
}

// houseRules are all the laws, in the order in which they are reported.
var houseRules = []rule{
	{"parses", checkParses},
	{"top level", checkTopLevel},
	{"go.mod", checkRequirements},
	{"import law", checkImports},
	{"lent package", checkLent},
	{"embed", checkEmbeds},
	{"pure floors", checkPure},
	{"testing", checkTesting},
	{"goroutines", checkGoroutines},
	{"context field", checkContextFields},
	{"names", checkNames},
	{"package comment", checkComments},
	{"tests", checkTested},
	{"testdata", checkTestdata},
	{"globs", checkGlobs},
	{"examples", checkExamples},
	{"sizes", checkSizes},
	{"allowances", checkAllowances},
}

// --- what stands where ---

// topLevel is all that the root of the repository may hold, besides what .gitignore names.
var topLevel = []string{
	".ci", ".git", ".gitattributes", ".gitignore", ".golangci.yml",
	"LICENSE", "README.md", "go.mod", "go.sum",
	"cmd", "crypto", "examples", "integration", "node", "protocol", "store",
}

func checkTopLevel(h *house) (out []violation) {
	seen := map[string]bool{}
	for p := range h.paths {
		top, _, _ := strings.Cut(p, "/")
		if seen[top] || slices.Contains(topLevel, top) || h.ignored(top) {
			continue
		}
		seen[top] = true
		out = append(out, violation{top, 0, "does not belong on the top level of the repository"})
	}
	return out
}

func checkRequirements(h *house) (out []violation) {
	mod, err := modfile.Parse("go.mod", []byte(h.paths["go.mod"]), nil)
	if err != nil {
		return []violation{{"go.mod", 0, err.Error()}}
	}
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		var why string
		for _, c := range r.Syntax.Suffix {
			why += strings.TrimSpace(strings.TrimPrefix(c.Token, "//"))
		}
		if why == "" {
			out = append(out, violation{"go.mod", r.Syntax.Start.Line,
				r.Mod.Path + " is a direct dependency without a reason: end its line with `// why`"})
		}
	}
	return out
}

// refusedNames say nothing about what is inside.
var refusedNames = []string{"util", "utils", "helper", "helpers", "common", "misc", "manager", "models", "types"}

func checkNames(h *house) (out []violation) {
	for _, f := range h.product() {
		dir := path.Base(f.room)
		for _, name := range []string{f.ast.Name.Name, dir} {
			if slices.Contains(refusedNames, name) {
				out = append(out, f.at(f.ast.Name, "package %s: the name says nothing about what is inside", name))
				break
			}
		}
		if dir == "vendor" {
			out = append(out, f.at(f.ast.Name,
				"a folder called vendor is passed over by `./...`: its tests would never run; give it another name"))
		}
	}
	return out
}

func checkComments(h *house) (out []violation) {
	for room, files := range h.rooms() {
		words := 0
		for _, f := range files {
			if f.ast.Doc != nil {
				words += len(strings.Fields(f.ast.Doc.Text()))
			}
		}
		if words < 8 {
			out = append(out, files[0].at(files[0].ast.Name,
				"package %s has no comment that tells a newcomer what it is for", room))
		}
	}
	return out
}

func checkTested(h *house) (out []violation) {
	tested := map[string]bool{}
	for _, f := range h.files {
		tested[f.room] = tested[f.room] || f.test
	}
	for room, files := range h.rooms() {
		switch floor(room) {
		case "cmd", "examples", "integration":
			continue
		}
		if !tested[room] {
			out = append(out, files[0].at(files[0].ast.Name, "%s has no test", room))
		}
	}
	return out
}

// checkTestdata finds folders of test data with nothing in them: the test that reads them would pass over nothing.
func checkTestdata(h *house) (out []violation) {
	for p := range h.paths {
		if dir, empty := strings.CutSuffix(p, "/"); empty && slices.Contains(strings.Split(dir, "/"), "testdata") {
			out = append(out, violation{dir, 0, "is an empty folder of test data"})
		}
	}
	return out
}

// checkGlobs finds patterns over test data that match no file: the loop over them would run no case and pass.
func checkGlobs(h *house) (out []violation) {
	for _, f := range h.files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !f.refers(call.Fun, "path/filepath", "Glob") {
				return true
			}
			pattern, ok := literal(call.Args[0])
			if !ok || !strings.Contains(pattern, "testdata/") {
				return true
			}
			full := path.Join(f.room, pattern)
			for p := range h.paths {
				if hit, _ := path.Match(full, p); hit {
					return true
				}
			}
			out = append(out, f.at(call, "%q matches no file", pattern))
			return true
		})
	}
	return out
}

// scenarioFolder holds experiments for hark lab, and no code.
const scenarioFolder = "examples/lab"

func checkExamples(h *house) (out []violation) {
	for p := range h.paths {
		if under(p, scenarioFolder) && path.Ext(p) != ".toml" {
			out = append(out, violation{p, 0, scenarioFolder + " holds scenarios (.toml) alone"})
		}
	}
	for room, files := range h.rooms() {
		if floor(room) != "examples" || under(room, "examples/data") {
			continue
		}
		if len(files) > 1 {
			out = append(out, files[1].at(files[1].ast.Name, "an example is one main.go"))
		}
		if f := files[0]; f.lines > 100 {
			out = append(out, f.at(f.ast.Name, "%d lines: an example has at most 100", f.lines))
		}
	}
	return out
}

// --- who may import whom ---

// protocolOrder is the order inside protocol: each room and the rooms of protocol that it may import.
var protocolOrder = map[string][]string{
	"protocol/fault":            {},
	"protocol":                  {"protocol/fault"},
	"protocol/lists":            {},
	"protocol/fingerprint":      {"protocol"},
	"protocol/wire":             {"protocol", "protocol/fault"},
	"protocol/check":            {"protocol", "protocol/fault", "protocol/wire"},
	"protocol/wire/announce":    {"protocol", "protocol/wire/canon"},
	"protocol/wire/large":       {"protocol", "protocol/fault", "protocol/wire/canon", "protocol/wire/rules"},
	"protocol/wire/limits":      {"protocol", "protocol/fault", "protocol/wire/canon"},
	"protocol/wire/rules":       {"protocol", "protocol/fault"},
	"protocol/wire/particulars": {"protocol", "protocol/fault", "protocol/wire/canon", "protocol/wire/rules"},
	"protocol/wire/voucher":     {"protocol", "protocol/fault", "protocol/wire"}, // two whole letters, and a third within one
	"protocol/flow":             {"protocol", "protocol/fault"},
	"protocol/terms":            {"protocol", "protocol/fault"},
	"protocol/record":           {"protocol", "protocol/fault", "protocol/strict"},
	"protocol/record/differ":    {},
	"protocol/record/rows":      {"protocol/fault"},
	"protocol/record/spell":     {"protocol", "protocol/fault"},
	"protocol/strict":           {"protocol/fault"},
	"protocol/wire/alloc":       {},
}

// storeSees are the rooms of protocol that a store may import.
// flow is among them because the state of a machine is what store/market keeps,
// fingerprint because store/board keeps the sums of its ranges, voucher because an
// auditor holds a receipt to its grant, and strict because a vault is read back from a
// file that somebody else may have written.
var storeSees = []string{"protocol", "protocol/wire", "protocol/fault", "protocol/fingerprint", "protocol/terms", "protocol/flow", "protocol/wire/voucher", "protocol/strict"}

// testRooms are for tests, and for each other.
var testRooms = []string{"store/storetest", "node/nodetest", "protocol/wire/alloc"}

// simulators are programs that stand on the test rooms: hark-lab plays experiments in
// the fake time of testing/synctest, and is a program of its own so that hark carries
// no test code.
var simulators = []string{"cmd/hark-lab"}

// auditors judge a ledger without a node: they alone import it, and its judge, from
// above. The demonstration is among them, as it shows that the judge finds what is wrong.
var auditors = []string{"cmd/hark-audit", "cmd/hark/demo", "examples/audit"}

// marketSees are the rooms beside market that it may import: they know nothing of markets.
var marketSees = []string{"node/internal/crew", "node/internal/clock"}

func checkImports(h *house) (out []violation) {
	for _, f := range h.product() {
		for _, imp := range f.ast.Imports {
			to, ours := h.roomOf(importPath(imp))
			if !ours {
				continue
			}
			if why := refusal(f.room, to); why != "" {
				out = append(out, f.at(imp, "%s imports %s: %s", f.room, to, why))
			}
		}
	}
	return out
}

// refusal says why room from may not import room to, or nothing if it may.
func refusal(from, to string) string {
	if slices.Contains(testRooms, to) && !slices.Contains(testRooms, from) && !slices.Contains(simulators, from) && floor(from) != "integration" {
		return "that room is for tests only"
	}
	if strings.Count(from, "/") > 0 && under(to, from) {
		return "" // its own inner rooms
	}
	switch floor(from) {
	case "crypto":
		return unless(to == "crypto/key", "crypto rooms import only crypto/key of ours")
	case "protocol":
		return refusalInProtocol(from, to)
	case "store":
		return refusalInStore(from, to)
	case "node":
		return refusalInNode(from, to)
	case "cmd", "examples", "integration":
		return refusalAbove(from, to)
	}
	return "its floor does not exist in this house"
}

func refusalInProtocol(from, to string) string {
	switch allowed, known := protocolOrder[from]; {
	case floor(to) == "crypto":
		return ""
	case floor(to) != "protocol":
		return "protocol looks down to crypto only"
	case !known:
		return "the order inside protocol has no line for it; write one first"
	default:
		return unless(slices.Contains(allowed, to), "the order is fault <- protocol <- wire <- check; flow, terms and fingerprint use protocol and fault")
	}
}

func refusalInStore(from, to string) string {
	switch floor(to) {
	case "crypto":
		return ""
	case "protocol":
		return unless(slices.Contains(storeSees, to), "stores see "+strings.Join(storeSees, ", ")+" of it")
	case "store":
		return unless(under(to, "store/kv") || under(from, to), "stores never import each other; kv alone is the ground")
	}
	return "stores look down only"
}

func refusalInNode(from, to string) string {
	inner := under(from, "node/internal")
	switch {
	case slices.Contains([]string{"crypto", "protocol", "store"}, floor(to)):
		return ""
	case floor(to) != "node":
		return "node looks down only"
	case under(from, "node/internal/desks") && under(to, "node/internal/market"):
		return "" // the counter in front of the market: it hands commands to its loop
	case inner && under(to, "node/internal/market"):
		return "market declares what it needs, and node.Open alone puts it together with its neighbours"
	case under(from, "node/internal/market") && !slices.ContainsFunc(marketSees, func(r string) bool { return under(to, r) }):
		return "market imports none of its neighbours"
	}
	return ""
}

func refusalAbove(from, to string) string {
	switch floor(to) {
	case "crypto":
		return unless(to == "crypto/key", "only crypto/key is for people and machines")
	case "protocol":
		return ""
	case "store":
		return unless(under(to, "store/ledger") && slices.Contains(auditors, from), "go through the front door, node; only the auditors read a ledger, and nothing else")
	case "node":
		return unless(!under(to, "node/internal"), "node's inner rooms are closed")
	}
	if to == "examples/data" && floor(from) != "examples" {
		return ""
	}
	return unless(sameHouse(from, to), "programs do not import each other")
}

// sameHouse tells whether two rooms belong to one program: cmd/hark and cmd/hark/… do.
func sameHouse(from, to string) bool {
	a, b := strings.SplitN(from, "/", 3), strings.SplitN(to, "/", 3)
	return len(a) > 1 && len(b) > 1 && a[0] == b[0] && a[1] == b[1]
}

// lentTo names the one room that may use a library, so that it can be exchanged in one place.
var lentTo = map[string]string{
	"cel.dev/cel-go":                      "node/internal/consent",
	"github.com/libp2p/go-libp2p-pubsub":  "node/internal/gossip",
	"github.com/libp2p/go-libp2p-kad-dht": "node/internal/peers",
	"github.com/dgraph-io/badger":         "store/kv",
}

func checkLent(h *house) (out []violation) {
	for _, f := range h.product() {
		if under(f.room, "integration/bench") || under(f.room, "integration/attack") {
			continue // measuring and attacking the bare libraries is what they are for
		}
		for _, imp := range f.ast.Imports {
			for lib, room := range lentTo {
				if under(importPath(imp), lib) && !under(f.room, room) {
					out = append(out, f.at(imp, "%s imports %s, which is lent to %s alone", f.room, lib, room))
				}
			}
		}
	}
	return out
}

// embedders are the rooms that carry files inside the binary, and which.
var embedders = map[string]string{
	"node/ui":         "the pages",
	"protocol":        "category and region lists",
	"protocol/lists":  "category and region lists",
	"examples/data":   "sample needs and catalogues",
	"protocol/record": "vocabularies and the shapes of exports",
}

func checkEmbeds(h *house) (out []violation) {
	for _, f := range h.product() {
		for _, imp := range f.ast.Imports {
			if _, ok := embedders[f.room]; !ok && importPath(imp) == "embed" {
				out = append(out, f.at(imp, "%s embeds files; only node/ui (pages), protocol (lists), protocol/record (vocabularies, shapes) and examples/data do", f.room))
			}
		}
	}
	return out
}

// --- what may be done where ---

// impure are the packages that crypto and protocol never import; a trailing slash means everything below too.
var impure = []string{"net", "net/", "os", "os/", "log", "log/", "context"}

// pureNet are the parts of net that only parse text.
var pureNet = []string{"net/netip", "net/url"}

// clockCalls are the functions of package time that read or wait for the clock.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func checkPure(h *house) (out []violation) {
	for _, f := range h.product() {
		if fl := floor(f.room); fl != "crypto" && fl != "protocol" {
			continue
		}
		for _, imp := range f.ast.Imports {
			p := importPath(imp)
			hit := slices.ContainsFunc(impure, func(s string) bool {
				return p == s || strings.HasSuffix(s, "/") && strings.HasPrefix(p, s)
			})
			if hit && !slices.Contains(pureNet, p) {
				out = append(out, f.at(imp, "%s imports %s: crypto and protocol touch nothing outside themselves", f.room, p))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok && f.refers(e, "time", clockCalls...) {
				out = append(out, f.at(n, "time.%s: time comes in as a value here", e.(*ast.SelectorExpr).Sel.Name))
			}
			return true
		})
	}
	return out
}

func checkTesting(h *house) (out []violation) {
	for _, f := range h.product() {
		if slices.Contains(testRooms, f.room) || slices.Contains(simulators, f.room) || floor(f.room) == "integration" {
			continue
		}
		for _, imp := range f.ast.Imports {
			if under(importPath(imp), "testing") {
				out = append(out, f.at(imp, "%s imports %s: product code carries no test code", f.room, importPath(imp)))
			}
		}
	}
	return out
}

// checkGoroutines holds `go` in one place, so that every goroutine has a name, a boss and someone who waits. Node and
// the floors below can reach that place or must do without; there the ways round the keyword count too.
func checkGoroutines(h *house) (out []violation) {
	for _, f := range h.product() {
		if under(f.room, "node/internal/crew") || floor(f.room) == "integration" || slices.Contains(testRooms, f.room) {
			continue
		}
		above := floor(f.room) == "cmd" || floor(f.room) == "examples"
		waitGroups := f.uses("sync", "WaitGroup")
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, f.at(n, "a go statement outside node/internal/crew: nobody names it or waits for it"))
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if ok && !above && waitGroups && sel.Sel.Name == "Go" && len(n.Args) == 1 {
					out = append(out, f.at(n, "WaitGroup.Go outside node/internal/crew: a goroutine without a name"))
				}
			case *ast.ImportSpec:
				if !above && importPath(n) == "golang.org/x/sync/errgroup" {
					out = append(out, f.at(n, "errgroup outside node/internal/crew: goroutines without a name"))
				}
			}
			return true
		})
	}
	return out
}

func checkContextFields(h *house) (out []violation) {
	for _, f := range h.product() {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			st, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range st.Fields.List {
				if f.holdsContext(field.Type) {
					out = append(out, f.at(field, "a context in a struct field: ctx is a parameter, never a field"))
				}
			}
			return true
		})
	}
	return out
}

// --- small words ---

// floor is the first part of a room's path.
func floor(room string) string { f, _, _ := strings.Cut(room, "/"); return f }

// under tells whether p is dir or lies below it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

// sorted puts violations in the order in which a reader walks the tree.
func sorted(vs []violation) []violation {
	slices.SortFunc(vs, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line), cmp.Compare(a.what, b.what))
	})
	return vs
}

// violation is one place that breaks a rule.
type violation struct {
	path string
	line int // 0 if the whole file or folder is meant
	what string
}

func (v violation) String() string {
	if v.line == 0 {
		return v.path + ": " + v.what
	}
	return fmt.Sprintf("%s:%d: %s", v.path, v.line, v.what)
}
