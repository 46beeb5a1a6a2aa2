package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record"
)

// TestExampleRecord: the example tells a record of any format, turns one into another,
// and refuses one that was changed.
func TestExampleRecord(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, exe("record"))
	if out, err := exec.Command("go", "build", "-o", program, "../examples/record").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	e := record.Entry{Record: record.Record{
		Grant: protocol.Hash{1}, Subject: protocol.Hash{2}, Reason: protocol.ContextRelation, Vendor: record.Party{ID: protocol.Hash{3}, Name: "Veld & Vine"},
		Basis: protocol.BasisConsent, Rail: protocol.RailNone, Span: record.Span{Start: 1_800_000_000, End: 1_900_000_000}, Countersigned: 1_800_000_001,
		Fields:   []record.Field{{Name: "contact.delivery-address", Purpose: protocol.PurposeFulfil, Form: protocol.FormValue, Retention: 30}},
		Statuses: []record.Status{{State: record.Given, At: 1_800_000_000}},
		Letters:  record.Letters{Grant: protocol.Hash{4}, Receipt: protocol.Hash{5}},
	}}
	for _, f := range record.Formats() {
		raw, err := record.Encode(f, []record.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, string(f))
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"Veld & Vine", ConsentGiven`) || !strings.Contains(string(out), "contact.delivery-address, to fulfil-contract, kept for 30 days") {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
		other, err := exec.Command(program, file, "odrl").Output()
		want, werr := record.Encode(record.ODRL, []record.Entry{e})
		if err != nil || werr != nil || string(other) != string(want) {
			t.Errorf("%s as odrl: %v, %v\n%s", f, err, werr, other)
		}
		bad := strings.Replace(string(raw), "contact.delivery-address", "contact.delivery_address", 1)
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, file).CombinedOutput(); err == nil {
			t.Errorf("%s, changed, is read:\n%s", f, out)
		}
	}
}
