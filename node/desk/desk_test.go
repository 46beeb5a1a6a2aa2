package desk

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol"
)

var update = flag.Bool("update", false, "write the golden file anew")

// views are all structs that cross the counter, in either direction.
var views = []any{
	Query{}, Page[Product]{}, Money{}, Due{}, NeedSpec{}, Need{}, FieldPrice{}, Stranger{}, StrangerPart{}, Request{}, FieldAsk{}, StringPair{},
	AskSpec{}, Grant{}, GrantTimes{}, HeadCheck{}, RightView{}, HeldValue{}, Lacked{}, GiveSpec{}, RightSpec{}, Offer{}, OfferSpec{}, Deal{}, Step{}, Field{}, Blob{}, FieldSpec{}, VaultImport{}, VaultReport{},
	VaultChange{}, LedgerEntry{},
	LedgerProof{}, LedgerCover{}, ExportSpec{}, LedgerReport{}, Product{}, ImportReport{}, RowError{}, ImportSpec{}, Follow{}, Passport{}, OpKey{}, IntendedUse{}, PassportSpec{}, HeldRecord{}, Large{},
	Notice{}, Peer{}, NetworkInfo{}, Identity{}, Evidence{}, Fill{}, Problem{}, Status{}, KeeperReport{}, KeeperProof{}, LetterReport{}, Event{},
	WayIn{}, Check{}, Netcheck{}, RecordSpec{}, RecordFile{}, RecordCheck{}, RecordItem{},
	ConsentRule{}, PromptBudget{}, BlockedVendor{}, WithheldVendor{}, Debt{}, ConsentView{}, Replay{}, ConsentTest{}, LessSpec{}, SnoozeSpec{},
}

// name is a view's Go name, without what it is a page of.
func name(v any) string {
	n, _, _ := strings.Cut(reflect.TypeOf(v).Name(), "[")
	return n
}

func TestTheListOfViewsIsWhole(t *testing.T) {
	listed := map[string]bool{}
	for _, v := range views {
		listed[name(v)] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if _, isStruct := s.Type.(*ast.StructType); isStruct && !listed[s.Name.Name] {
				t.Errorf("%s: %s is in no test", path, s.Name.Name)
			}
			return false
		})
	}
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// secret are words that no name of a field may hold: a view never carries one.
var secret = regexp.MustCompile(`(?i)secret|seed|passphrase|password|private|mnemonic|token|master`)

// eachField calls fn with every field of a type, of what it embeds and of what it holds.
func eachField(t reflect.Type, path string, fn func(path string, f reflect.StructField)) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		eachField(t.Elem(), path, fn)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			fn(path+"."+f.Name, f)
			eachField(f.Type, path+"."+f.Name, fn)
		}
	}
}

// plain tells whether a field's type is one that JSON shows as it stands: no bytes, no floats, nothing
// that encodes itself, such as a key would.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return t.PkgPath() == ""
	case reflect.Pointer, reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8 && plain(t.Elem())
	case reflect.Map:
		return t.Key().Kind() == reflect.String && plain(t.Elem())
	case reflect.Struct:
		return t == reflect.TypeFor[time.Time]() || t.PkgPath() == reflect.TypeFor[Query]().PkgPath()
	}
	return false
}

func TestViewsEncodeAsTheyStand(t *testing.T) {
	for _, v := range views {
		eachField(reflect.TypeOf(v), name(v), func(path string, f reflect.StructField) {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case !f.IsExported() || f.Anonymous:
				t.Errorf("%s is hidden or embedded", path)
			case !snake.MatchString(tag):
				t.Errorf("%s is written as %q", path, tag)
			case secret.MatchString(tag) || secret.MatchString(f.Name):
				t.Errorf("%s is named like a secret", path)
			case !plain(f.Type):
				t.Errorf("%s is a %s", path, f.Type)
			}
		})
	}
}

// The rules above, on views that break them.
func TestTheRulesForViewsCanFail(t *testing.T) {
	type bytes struct {
		Raw []byte `json:"raw"`
	}
	type key struct {
		Key protocol.Hash `json:"key"`
	}
	for _, v := range []any{bytes{}, key{}, struct{ F float64 }{}, struct{ S protocol.Shared }{}, struct{ M map[int]string }{}} {
		eachField(reflect.TypeOf(v), "planted", func(path string, f reflect.StructField) {
			if plain(f.Type) {
				t.Errorf("%s passes for plain", f.Type)
			}
		})
	}
	for _, tag := range []string{"", "Key", "vendorName", "vendor-name", "_x", "x_"} {
		if snake.MatchString(tag) {
			t.Errorf("%q passes for snake case", tag)
		}
	}
	for _, word := range []string{"OfferSecret", "body_seed", "Passphrase", "private_key"} {
		if !secret.MatchString(word) {
			t.Errorf("%q passes for harmless", word)
		}
	}
}

// fill puts a value that differs from zero into everything, the same at each run.
func fill(v reflect.Value, word string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(word)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), word)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), word)
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e, word)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), e)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_700_000_000, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), strings.ToLower(v.Type().Field(i).Name))
		}
	}
}

// TestShapes holds every view, full and empty, against the golden file: programs of others read these.
func TestShapes(t *testing.T) {
	got := map[string]json.RawMessage{}
	for _, v := range views {
		full := reflect.New(reflect.TypeOf(v)).Elem()
		fill(full, "word")
		for suffix, v := range map[string]any{"": full.Interface(), ".empty": v} {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got[name(v)+suffix] = raw
		}
	}
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "%s %s\n", n, got[n])
	}
	const golden = "testdata/views.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("go test ./node/desk -update writes the golden file anew (-want +got)\n%s", d)
	}
}

// What a full view encodes to is read back as the same view.
func TestViewsComeBack(t *testing.T) {
	for _, v := range views {
		full := reflect.New(reflect.TypeOf(v)).Elem()
		fill(full, "word")
		raw, err := json.Marshal(full.Interface())
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(v))
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(back.Interface()); err != nil {
			t.Errorf("%s: %v", name(v), err)
		}
		if d := cmp.Diff(full.Interface(), back.Elem().Interface()); d != "" {
			t.Errorf("%s (-sent +read)\n%s", name(v), d)
		}
	}
}

func TestShowMoney(t *testing.T) {
	for _, c := range []struct {
		m    protocol.Money
		want *Money
	}{
		{protocol.Money{}, nil},
		{protocol.Money{Minor: 129900, Currency: "ZAR"}, &Money{129900, "ZAR", "ZAR 1 299.00"}},
		{protocol.Money{Minor: 500, Currency: "JPY"}, &Money{500, "JPY", "JPY 500"}},
		{protocol.Money{Currency: "ZAR"}, &Money{0, "ZAR", "ZAR 0.00"}}, // free of charge is an amount
	} {
		if d := cmp.Diff(c.want, ShowMoney(c.m)); d != "" {
			t.Errorf("%v (-want +got)\n%s", c.m, d)
		}
	}
}
