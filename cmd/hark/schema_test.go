package main

import (
	"fmt"
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

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/compare"
	"github.com/harkmarket/hark/node/lab/report"
)

// schemas are what commands print with --json; a list is the view of its items.
var schemas = map[string]any{
	"hark.status/1": desk.Status{}, "hark.id/1": desk.Identity{}, "hark.peers/1": []desk.Peer{}, "hark.network-info/1": desk.NetworkInfo{}, "hark.netcheck/1": desk.Netcheck{},
	"hark.need/1": desk.Need{}, "hark.needs/1": []desk.Need{}, "hark.stranger/1": desk.Stranger{}, "hark.request/1": desk.Request{},
	"hark.requests/1": []desk.Request{}, "hark.grant/1": desk.Grant{}, "hark.grants/1": []desk.Grant{}, "hark.offer/1": desk.Offer{},
	"hark.offers/1": []desk.Offer{}, "hark.deal/1": desk.Deal{}, "hark.deals/1": []desk.Deal{}, "hark.field/1": desk.Field{},
	"hark.fields/1": []desk.Field{}, "hark.entries/1": []desk.LedgerEntry{}, "hark.entry/1": desk.LedgerProof{}, "hark.ledger/1": desk.LedgerReport{},
	"hark.import/1": desk.ImportReport{}, "hark.products/1": []desk.Product{}, "hark.follow/1": desk.Follow{},
	"hark.passport/1": desk.Passport{}, "hark.passports/1": passportFile{}, "hark.held/1": []desk.HeldRecord{}, "hark.notices/1": []desk.Notice{},
	"hark.notice/1": struct {
		Notice   desk.Notice   `json:"notice"`
		Stranger desk.Stranger `json:"stranger"`
	}{},
	"hark.event/1": desk.Event{}, "hark.letters/1": []desk.LetterReport{}, "hark.error/1": complaint{}, "hark.run/1": runView{},
	"hark.network/1": node.NetworkFile{}, "hark.lab/1": lab.Result{}, "hark.lab-compare/1": compare.Comparison{}, "hark.lab-list/1": []report.Listed{},
	"hark.vault-import/1": desk.VaultReport{}, "hark.record-file/1": desk.RecordFile{}, "hark.record-check/1": desk.RecordCheck{},
	"hark.consent/1": desk.ConsentView{}, "hark.rule/1": desk.ConsentRule{}, "hark.rules/1": []desk.ConsentRule{}, "hark.replays/1": []desk.Replay{},
	"hark.blocked/1": []desk.BlockedVendor{}, "hark.field-names/1": []fieldName{}, "hark.categories/1": []categoryName{},
}

// small are schemas of a few texts or numbers, shown in the scripts.
var small = []string{"hark.paths/1", "hark.version/1", "hark.stop/1", "hark.unlock/1", "hark.lock/1", "hark.rekey/1", "hark.removed/1", "hark.deleted/1", "hark.export/1", "hark.init/1", "hark.lab-scenario/1", "hark.bootstrap/1"}

// keys lists a type's JSON keys with their kinds, those of inner types below them.
func keys(t reflect.Type, at string, out map[string]string) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		out[at] = "time"
	case t.Kind() == reflect.Pointer:
		keys(t.Elem(), at, out)
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array && t.Elem().Kind() != reflect.Uint8:
		keys(t.Elem(), at+"[]", out)
	case t.Kind() == reflect.Map:
		keys(t.Elem(), at+"{}", out)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if t.Field(i).Anonymous && name == "" {
				keys(t.Field(i).Type, at, out) // as encoding/json does
			}
			if name != "" && name != "schema" {
				keys(t.Field(i).Type, strings.TrimPrefix(at+"."+name, "."), out)
			}
		}
	case t.Kind() == reflect.Array:
		out[at] = "hexadecimal"
	default:
		out[at] = regexp.MustCompile(`[0-9]*$`).ReplaceAllString(t.Kind().String(), "")
	}
}

// TestSchemasAreGolden holds what programs may count on.
func TestSchemasAreGolden(t *testing.T) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		out := map[string]string{}
		v := reflect.TypeOf(schemas[name])
		if v.Kind() == reflect.Slice {
			out["next"] = "string"
			keys(v.Elem(), "items[]", out)
		} else {
			keys(v, "", out)
		}
		fmt.Fprintf(&b, "%s\n", name)
		for _, k := range slices.Sorted(maps.Keys(out)) {
			fmt.Fprintf(&b, "  %s %s\n", k, out[k])
		}
	}
	if os.Getenv("HARK_UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile("testdata/schemas.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/schemas.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("what programs count on has changed (-want +got); raise the schema's number, or set HARK_UPDATE_SCRIPTS where keys were only added:\n%s", d)
	}
}

// TestEverySchemaIsHeld finds schemas in the code that no golden file holds.
func TestEverySchemaIsHeld(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(hark\.[a-z-]+/[0-9]+)"`).FindAllSubmatch(raw, -1) {
			found++
			if name := string(m[1]); schemas[name] == nil && !slices.Contains(small, name) {
				t.Errorf("%s: %s is held by no golden file", file, name)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d schemas were found in the code", found)
	}
}
