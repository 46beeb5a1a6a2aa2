package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

var sprint = fmt.Sprintf

// TestHouse runs every rule over the real tree.
func TestHouse(t *testing.T) {
	h := build(realTree(t))
	for _, r := range houseRules {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			for _, v := range sorted(r.check(h)) {
				t.Error(v)
			}
		})
	}
}

// TestHouseRulesCanFail plants a violation of each rule in a small clean house, and sees it found.
func TestHouseRulesCanFail(t *testing.T) {
	planted := map[string]bool{}
	for _, p := range plants {
		planted[p.rule] = true
		t.Run(strings.ReplaceAll(p.rule+"/"+p.want, " ", "-"), func(t *testing.T) {
			found := findings(with(p.files))
			if !slices.ContainsFunc(found[p.rule], func(v violation) bool { return strings.Contains(v.String(), p.want) }) {
				t.Fatalf("not found; %s says %v, all say %v", p.rule, found[p.rule], found)
			}
		})
	}
	for _, r := range houseRules {
		if !planted[r.name] {
			t.Errorf("rule %q was never seen to fail", r.name)
		}
	}
}

// TestHouseRulesCanPass shows what the rules leave alone.
func TestHouseRulesCanPass(t *testing.T) {
	if found := findings(with(nil)); len(found) > 0 {
		t.Fatalf("the clean house: %v", found)
	}
	for name, files := range innocents {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if found := findings(with(files)); len(found) > 0 {
				t.Errorf("%v", found)
			}
		})
	}
}

func findings(paths map[string]string) map[string][]violation {
	h, found := build(paths), map[string][]violation{}
	for _, r := range houseRules {
		if vs := sorted(r.check(h)); len(vs) > 0 {
			found[r.name] = vs
		}
	}
	return found
}

const planModule = "example.org/hark"

// with returns a small clean house and what a test adds to it; a file added as "-" is taken away.
func with(added map[string]string) map[string]string {
	paths := map[string]string{
		"README.md":  "",
		"go.mod":     "module " + planModule + "\n\ngo 1.26\n\nrequire golang.org/x/mod v0.42.0 // the Merkle log\n",
		".gitignore": "/dist/\n",
	}
	rooms := strings.Fields(`crypto/key crypto/seal protocol/fault protocol protocol/wire protocol/check protocol/flow
		protocol/terms store/kv store/vault store/ledger store/board store/storetest node node/ui node/nodetest
		node/internal/market node/internal/crew node/internal/gossip node/internal/courier examples/data`)
	for _, room := range rooms {
		name := room[strings.LastIndex(room, "/")+1:]
		paths[room+"/"+name+".go"] = "// Package " + name + " is a room of a small house that was made up for a test.\npackage " + name + "\n"
		paths[room+"/"+name+"_test.go"] = "package " + name + "\n"
	}
	for _, room := range []string{"cmd/hark", "cmd/hark-audit", "examples/audit", "integration", "integration/bench"} {
		paths[room+"/main.go"] = "// Command made up for a test: it shows that programs come in from above.\npackage main\n"
	}
	maps.Copy(paths, added)
	maps.DeleteFunc(paths, func(_, text string) bool { return text == "-" })
	return paths
}

// imports is a file of a package that imports rooms (with a slash in front) or other packages.
func imports(pkg string, list ...string) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "package %s\n", pkg)
	for _, p := range list {
		if strings.HasPrefix(p, "/") {
			p = planModule + p
		}
		fmt.Fprintf(b, "import _ %q\n", p)
	}
	return b.String()
}

// one is a house with a single file added.
func one(path, text string) map[string]string { return map[string]string{path: text} }

// repeat writes n numbered lines.
func repeat(n int, format string) string {
	b := &strings.Builder{}
	for i := range n {
		fmt.Fprintf(b, format+"\n", i)
	}
	return b.String()
}

// longFunc is a function of n lines.
func longFunc(name string, n int) string {
	return "func " + name + "() {\n" + repeat(n-2, "\t_ = %d") + "}\n"
}

// shortFuncs keep the median down where a test plants one long function.
var shortFuncs = repeat(30, "func short%d() {}")

var plants = []struct {
	rule, want string
	files      map[string]string
}{
	{"parses", "expected", one("store/vault/x.go", "package vault\nfunc {\n")},
	{"top level", "scratch: does not belong", one("scratch/x.txt", "")},
	{"top level", "notes.md: does not belong", one("notes.md", "")},
	{"go.mod", "golang.org/x/crypto is a direct dependency without a reason", one("go.mod", "module "+planModule+"\n\nrequire (\n\tgolang.org/x/crypto v0.58.0\n\tgolang.org/x/sys v0.49.0 // indirect\n)\n")},
	{"go.mod", "unknown directive", one("go.mod", "module "+planModule+"\nbanana\n")},

	{"import law", "crypto/seal imports protocol/fault", one("crypto/seal/x.go", imports("seal", "/protocol/fault"))},
	{"import law", "crypto/key imports crypto/seal", one("crypto/key/x.go", imports("key", "/crypto/seal"))},
	{"import law", "protocol/fault imports protocol: the order", one("protocol/fault/x.go", imports("fault", "/protocol"))},
	{"import law", "protocol imports protocol/wire", one("protocol/x.go", imports("protocol", "/protocol/wire"))},
	{"import law", "protocol/wire imports protocol/check", one("protocol/wire/x.go", imports("wire", "/protocol/check"))},
	{"import law", "protocol/flow imports protocol/wire", one("protocol/flow/x.go", imports("flow", "/protocol/wire"))},
	{"import law", "protocol/terms imports protocol/check", one("protocol/terms/x.go", imports("terms", "/protocol/check"))},
	{"import law", "protocol/wire imports store/kv", one("protocol/wire/x.go", imports("wire", "/store/kv"))},
	{"import law", "protocol/gossip imports protocol/wire: the order inside protocol has no line", one("protocol/gossip/x.go", imports("gossip", "/protocol/wire"))},
	{"import law", "store/vault imports store/ledger", one("store/vault/x.go", imports("vault", "/store/ledger"))},
	{"import law", "store/vault imports protocol/check", one("store/vault/x.go", imports("vault", "/protocol/check"))},
	{"import law", "store/kv imports node", one("store/kv/x.go", imports("kv", "/node"))},
	{"import law", "store/vault imports store/storetest: that room is for tests", one("store/vault/x.go", imports("vault", "/store/storetest"))},
	{"import law", "node/internal/gossip imports node/internal/market", one("node/internal/gossip/x.go", imports("gossip", "/node/internal/market"))},
	{"import law", "node/internal/courier imports node/internal/market/book", one("node/internal/courier/x.go", imports("courier", "/node/internal/market/book"))},
	{"import law", "node/internal/market imports node/internal/gossip", one("node/internal/market/x.go", imports("market", "/node/internal/gossip"))},
	{"import law", "node imports node/nodetest", one("node/x.go", imports("node", "/node/nodetest"))},
	{"import law", "node imports examples/data", one("node/x.go", imports("node", "/examples/data"))},
	{"import law", "cmd/hark imports crypto/seal", one("cmd/hark/x.go", imports("main", "/crypto/seal"))},
	{"import law", "cmd/hark imports store/ledger", one("cmd/hark/x.go", imports("main", "/store/ledger"))},
	{"import law", "cmd/hark-audit imports store/vault", one("cmd/hark-audit/x.go", imports("main", "/store/vault"))},
	{"import law", "cmd/hark imports node/internal/gossip", one("cmd/hark/x.go", imports("main", "/node/internal/gossip"))},
	{"import law", "integration/bench imports node/internal/crew", one("integration/bench/x.go", imports("main", "/node/internal/crew"))},
	{"import law", "cmd/hark imports examples/audit", one("cmd/hark/x.go", imports("main", "/examples/audit"))},
	{"import law", "attic imports crypto/key: its floor does not exist", one("attic/x.go", imports("attic", "/crypto/key"))},

	{"lent package", "lent to node/internal/gossip", one("node/internal/courier/x.go", imports("courier", "github.com/libp2p/go-libp2p-pubsub/pb"))},
	{"lent package", "lent to node/internal/peers", one("node/x.go", imports("node", "github.com/libp2p/go-libp2p-kad-dht"))},
	{"lent package", "lent to store/kv", one("store/board/x.go", imports("board", "github.com/dgraph-io/badger/v4"))},
	{"embed", "cmd/hark embeds files", one("cmd/hark/x.go", imports("main", "embed"))},

	{"pure floors", "crypto/key imports os", one("crypto/key/x.go", imports("key", "os"))},
	{"pure floors", "protocol/wire imports net/http", one("protocol/wire/x.go", imports("wire", "net/http"))},
	{"pure floors", "protocol imports log/slog", one("protocol/x.go", imports("protocol", "log/slog"))},
	{"pure floors", "protocol/flow imports context", one("protocol/flow/x.go", imports("flow", "context"))},
	{"pure floors", "time.Now", one("protocol/check/x.go", "package check\nimport \"time\"\nfunc now() time.Time { return time.Now() }\n")},
	{"pure floors", "time.Since", one("crypto/seal/x.go", "package seal\nimport clock \"time\"\nvar f = clock.Since\n")},
	{"testing", "node imports testing", one("node/x.go", imports("node", "testing"))},
	{"testing", "store/kv imports testing/synctest", one("store/kv/x.go", imports("kv", "testing/synctest"))},

	{"goroutines", "a go statement", one("node/internal/gossip/x.go", "package gossip\nfunc f() { go f() }\n")},
	{"goroutines", "a go statement", one("cmd/hark/x.go", "package main\nfunc f() { func() { go f() }() }\n")},
	{"goroutines", "WaitGroup.Go", one("store/kv/x.go", "package kv\nimport \"sync\"\nfunc f() { var wg sync.WaitGroup; wg.Go(f) }\n")},
	{"goroutines", "errgroup", one("node/x.go", imports("node", "golang.org/x/sync/errgroup"))},
	{"context field", "a context in a struct field", one("node/x.go", "package node\nimport \"context\"\ntype N struct { a int; ctx context.Context }\n")},
	{"context field", "a context in a struct field", one("cmd/hark/x.go", "package main\nimport c \"context\"\nvar _ = struct { c.Context }{}\n")},
	{"context field", "a context in a struct field", one("node/x.go", "package node\nimport \"context\"\ntype N struct { all map[string][]context.Context }\n")},

	{"names", "package util", one("store/board/util/x.go", "package util\n")},
	{"names", "package types", one("protocol/types/x.go", "package nouns\n")},
	{"names", "a folder called vendor", one("node/internal/vendor/x.go", "package vendor\n")},
	{"package comment", "package store/board has no comment", one("store/board/board.go", "package board\n")},
	{"package comment", "package cmd/hark has no comment", one("cmd/hark/main.go", "//go:build linux\n\n// Hark.\npackage main\n")},
	{"tests", "store/board has no test", one("store/board/board_test.go", "-")},
	{"testdata", "protocol/testdata/vectors: is an empty folder", one("protocol/testdata/vectors/", "")},
	{"globs", `"testdata/*.json" matches no file`, map[string]string{"protocol/testdata/a.txt": "",
		"protocol/x_test.go": "package protocol\nimport \"path/filepath\"\nvar all, _ = filepath.Glob(\"testdata/*.json\")\n"}},
	{"examples", "an example has at most 100", one("examples/audit/main.go", "// Command audit is an example that became longer than it should be.\npackage main\n"+repeat(100, "// %d"))},
	{"examples", "examples/lab/main.go: examples/lab holds scenarios (.toml) alone", one("examples/lab/main.go", "// Command lab is an example in a folder that holds none, so it is found.\npackage main\n")},
	{"testing", "cmd/hark imports testing", one("cmd/hark/x.go", imports("main", "testing/synctest"))},
	{"import law", "cmd/hark imports node/nodetest: that room is for tests", one("cmd/hark/x.go", imports("main", "/node/nodetest"))},
	{"examples", "an example is one main.go", one("examples/audit/more.go", "package main\n")},

	{"sizes", "function f has 81 lines", one("node/x.go", "package node\n"+shortFuncs+longFunc("f", 81))},
	{"sizes", "the median function has 11 lines", one("node/x.go", "package node\n"+longFunc("f", 11)+longFunc("g", 11)+longFunc("h", 2))},
	{"sizes", "more than 41 lines, at most 40", one("node/x.go", "package node\n"+repeat(8, "func short%d() {}")+longFunc("f", 41)+longFunc("g", 41))},
	{"sizes", "the file has 601 lines", one("node/x.go", "package node\n"+repeat(600, "// %d"))},
	{"sizes", "package node has 1502 lines", map[string]string{"node/x.go": "package node\n" + repeat(499, "// %d"),
		"node/y.go": "package node\n" + repeat(499, "// %d"), "node/z.go": "package node\n" + repeat(499, "// %d")}},
	{"sizes", "type T has 26 methods", map[string]string{"node/x.go": "package node\ntype T[A any] struct{}\n" + repeat(13, "func (t *T[A]) M%d() {}"),
		"node/y.go": "package node\n" + repeat(13, "func (T[A]) N%d() {}")}},
	{"sizes", "a struct of 21 fields", one("node/x.go", "package node\ntype T struct {\n"+repeat(20, "f%d int")+"error\n}\n")},
	{"sizes", "a struct of 21 fields", one("node/x.go", "package node\nfunc f() { _ = struct {\n"+repeat(21, "f%d int")+"}{} }\n")},
	{"sizes", "an interface of 8 methods", one("node/x.go", "package node\ntype I interface {\n"+repeat(8, "M%d()")+"}\n")},
	{"sizes", "an interface of 8 methods", one("node/x.go", "package node\ntype I interface {\nJ\n"+repeat(4, "M%d()")+"}\ntype J interface {\n"+repeat(4, "N%d()")+"}\n")},
	{"sizes", "function f has 90 lines", one("node/x.go", "package node\n"+shortFuncs+"//house:allow function\n"+longFunc("f", 90))},
	{"sizes", "function f has 90 lines", one("node/x.go", "package node\n"+shortFuncs+"//house:allow fields it is not about these\n"+longFunc("f", 90))},

	{"allowances", "without a reason", one("node/x.go", "package node\n"+shortFuncs+"//house:allow function\n"+longFunc("f", 90))},
	{"allowances", "without a reason", one("node/x.go", "package node\n"+shortFuncs+"//house:allow function long\n"+longFunc("f", 90))},
	{"allowances", `"goroutine": it is one of`, one("node/x.go", "package node\n//house:allow goroutine we like it so\nfunc f() {}\n")},
	{"allowances", "excepts nothing", one("node/x.go", "package node\n//house:allow function it was long once upon a time\nfunc f() {}\n")},
	{"allowances", "no size binds", one("node/x_test.go", "package node\n//house:allow function tests may be long anyway\nfunc f() {}\n")},
}

var innocents = map[string]map[string]string{
	"crypto": one("crypto/seal/x.go", imports("seal", "/crypto/key", "crypto/hpke")),
	"protocol": {"protocol/x.go": imports("protocol", "/crypto/key", "/protocol/fault", "embed", "net/netip"),
		"protocol/check/x.go": imports("check", "/protocol", "/protocol/wire", "/protocol/fault", "/crypto/seal"),
		"protocol/flow/x.go":  "package flow\nimport \"time\"\nfunc later(t time.Time) bool { return t.After(time.Unix(0, 0)) }\n"},
	"store": one("store/vault/x.go", imports("vault", "/crypto/seal", "/protocol/wire", "/protocol/terms", "/store/kv", "os", "context")),
	"kv":    one("store/kv/x.go", imports("kv", "github.com/dgraph-io/badger/v4")),
	"node": {"node/x.go": imports("node", "/node/internal/market", "/node/internal/gossip", "/store/vault", "/protocol/flow", "/crypto/seal"),
		"node/internal/market/x.go": imports("market", "/node/internal/crew", "/protocol/flow", "/store/ledger"),
		"node/internal/gossip/x.go": imports("gossip", "github.com/libp2p/go-libp2p-pubsub", "/node/internal/crew")},
	"above": {"cmd/hark/x.go": imports("main", "/node", "/protocol/wire", "/crypto/key", "/examples/data", "/cmd/hark/screen"),
		"cmd/hark-audit/x.go":    imports("main", "/store/ledger", "/protocol"),
		"examples/audit/main.go": "// Command audit is an example that reads a ledger without a node.\n" + imports("main", "/store/ledger"),
		"integration/bench/x.go": imports("main", "/node/nodetest", "github.com/libp2p/go-libp2p-pubsub", "testing")},
	"simulator": {"cmd/hark-lab/main.go": "// Command hark-lab is made up for a test: it stands on the test rooms.\n" + imports("main", "testing/synctest", "/node/nodetest"),
		"examples/lab/market.toml": ""},
	"tests are not bound": one("crypto/key/x_test.go", imports("key", "/node", "os", "net")+"func f() { go f() }\n"),
	"test rooms": {"store/storetest/x.go": imports("storetest", "testing", "/store/kv") + "func f() { go f() }\n",
		"node/nodetest/x.go": imports("nodetest", "testing", "/node", "/store/storetest") + "func f() { go f() }\n"},
	"crew":          one("node/internal/crew/x.go", "package crew\nfunc f() { go f() }\n"),
	"no goroutine":  one("node/x.go", "package node\ntype crew struct{}\nfunc (crew) Go(string, func()) {}\nfunc f(c crew) { c.Go(\"name\", func() {}) }\n"),
	"ctx parameter": one("node/x.go", "package node\nimport \"context\"\ntype N struct { run func(context.Context) error }\nfunc (N) F(ctx context.Context) {}\n"),
	"generated":     one("node/ui/x_templ.go", "package ui\n"+repeat(700, "// %d")),
	"generated too": one("protocol/x.go", "// Code generated by a tool. DO NOT EDIT.\npackage protocol\n"+repeat(700, "// %d")),
	"ignored":       one("dist/hark", ""),
	"any size":      {"cmd/hark/x.go": "package main\n" + repeat(599, "// %d"), "cmd/hark/y.go": "package main\n" + repeat(599, "// %d"), "cmd/hark/z.go": "package main\n" + repeat(599, "// %d")},
	"globs": {"protocol/testdata/vectors/a.json": "",
		"protocol/x_test.go": "package protocol\nimport \"path/filepath\"\nvar all, _ = filepath.Glob(\"testdata/vectors/*.json\")\n"},
	"excepted function":  one("node/x.go", "package node\n"+shortFuncs+"// F is long.\n//\n//house:allow function one table of all that is said\n"+longFunc("F", 90)),
	"excepted struct":    one("node/x.go", "package node\n//house:allow fields the header has that many\ntype T struct {\n"+repeat(21, "f%d int")+"}\n"),
	"excepted interface": one("node/x.go", "package node\n//house:allow interface a foreign interface is met\ntype I interface {\n"+repeat(8, "M%d()")+"}\n"),
	"excepted methods":   one("node/x.go", "package node\n//house:allow methods a foreign interface is met\ntype T struct{}\n"+repeat(26, "func (T) M%d() {}")),
	"excepted file":      one("node/x.go", "//house:allow file one table of all that is said\npackage node\n"+repeat(601, "// %d")),
	"excepted package": {"node/x.go": "//house:allow package one long list in three files\npackage node\n" + repeat(590, "// %d"),
		"node/y.go": "package node\n" + repeat(590, "// %d"), "node/z.go": "package node\n" + repeat(590, "// %d")},
}
