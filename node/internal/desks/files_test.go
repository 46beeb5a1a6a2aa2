package desks

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault/dump"
)

func TestEverythingAboutAField(t *testing.T) {
	o := open(t)
	v := Vault{o}
	soon := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	f := must(v.Set(t.Context(), "contact.email", desk.FieldSpec{
		Value: desk.Value("a@example.org").Value, Source: "verified", ReviewBy: &soon, Class: "special", MinPrice: &desk.Money{Minor: 700, Currency: "ZAR"}, Rule: "never",
	}))
	if f.Source != "verified" || !f.ReviewBy.Equal(soon) || !f.Overdue || f.Class != "special" || f.MinPrice == nil || f.MinPrice.Text != "ZAR 7.00" ||
		f.Rule != "never" || f.Category != "pd:EmailAddress" || f.Checked.IsZero() {
		t.Errorf("%+v", f)
	}
	f = must(v.Set(t.Context(), "contact.email", desk.FieldSpec{ReviewBy: &time.Time{}, MinPrice: &desk.Money{}, Rule: "ask"}))
	if f.Overdue || !f.ReviewBy.IsZero() || f.MinPrice != nil || f.Rule != "ask" || f.Version != 1 {
		t.Errorf("taken back: %+v", f)
	}
	must(v.Set(t.Context(), "contact.email", desk.FieldSpec{Rule: "ask"})) // no change, and no entry
	var kinds []string
	for _, e := range must((Ledger{o}).List(t.Context(), desk.Query{})).Items {
		kinds = append(kinds, e.Kind+" "+e.Body["version"])
	}
	if want := []string{"vault.set 1", "vault.about 1"}; !slices.Equal(kinds, want) {
		t.Errorf("the ledger has %q", kinds)
	}
	for name, s := range map[string]desk.FieldSpec{
		"source": {Source: "hearsay"}, "class": {Class: "secret"}, "rule": {Rule: "maybe"}, "currency": {MinPrice: &desk.Money{Minor: 1, Currency: "?"}},
	} {
		if _, err := v.Set(t.Context(), "contact.email", s); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What its owner never gives is put on no offer and into no grant, not even by hand.
func TestNeverIsNeverByHandEither(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email", "location.area", "contact.hours")
	for _, name := range []string{"contact.email", "location.area"} {
		must(Vault{o}.Set(t.Context(), name, desk.FieldSpec{Rule: "never"}))
	}
	if _, err := (Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "x", Fields: map[string]int64{"contact.email": 0}}); !errors.Is(err, fault.Denied) {
		t.Errorf("on offer: %v", err)
	}
	n := must((Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "a desk"}))
	if len(n.Fields) != 1 || n.Fields[0].Field != "contact.hours" {
		t.Errorf("by the template: %+v", n.Fields)
	}
	if _, err := (Grants{o}).ownFields(t.Context(), []string{"contact.email"}, protocol.PurposeOffer); !errors.Is(err, fault.Denied) {
		t.Errorf("into a grant: %v", err)
	}
	var large []string
	for i := range protocol.MaxLarges + 1 {
		large = append(large, fmt.Sprintf("document.n%d", i))
		must(Files{o}.Upload(t.Context(), large[i], "", desk.FieldSpec{}, strings.NewReader("\xff")))
	}
	if got := must(Grants{o}.ownFields(t.Context(), large[1:], protocol.PurposeOffer)); len(got) != protocol.MaxLarges {
		t.Errorf("large values: %+v", got)
	}
	if _, err := (Grants{o}).ownFields(t.Context(), large, protocol.PurposeOffer); !errors.Is(err, fault.Malformed) {
		t.Errorf("one large value too many: %v", err)
	}
}

// A field never goes on offer for less than its owner asks for it anywhere.
func TestTheLeastPriceIsAFloor(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email", "contact.phone", "contact.hours")
	must(Vault{o}.Set(t.Context(), "contact.email", desk.FieldSpec{MinPrice: &desk.Money{Minor: 300, Currency: "ZAR"}}))
	must(Vault{o}.Set(t.Context(), "contact.phone", desk.FieldSpec{MinPrice: &desk.Money{Minor: 300, Currency: "EUR"}}))
	n := must((Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "x", Currency: "ZAR", Fields: map[string]int64{"contact.email": 100, "contact.phone": 100, "contact.hours": 0}}))
	got := map[string]int64{}
	for _, f := range n.Fields {
		got[f.Field] = 0
		if f.Price != nil {
			got[f.Field] = f.Price.Minor
		}
	}
	if got["contact.email"] != 500 || got["contact.phone"] != 100 || got["contact.hours"] != 0 {
		t.Errorf("floors %v", got)
	}
	// What costs something in another currency is not given away for nothing.
	if _, err := (Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "y", Currency: "ZAR", Fields: map[string]int64{"contact.phone": 0}}); !errors.Is(err, fault.Malformed) {
		t.Errorf("named without a price: %v", err)
	}
	must(Vault{o}.Set(t.Context(), "contact.hours", desk.FieldSpec{MinPrice: &desk.Money{Minor: 300, Currency: "EUR"}}))
	if n := must((Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "z", Currency: "ZAR"})); len(n.Fields) != 0 {
		t.Errorf("by the template: %+v", n.Fields)
	}
}

// all gives every field with its value, and every large value.
func all(t *testing.T, o *Office) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range must((Vault{o}).List(t.Context())) {
		var b bytes.Buffer
		if err := (Files{o}).Download(t.Context(), f.Name, 0, &b); err != nil {
			t.Fatal(err)
		}
		out[f.Name] = fmt.Sprintf("%s %s %s %v %s %v %s", b.String(), f.Source, f.Class, f.ReviewBy, f.Rule, f.MinPrice, f.Checked)
	}
	return out
}

func TestAVaultMovesToAnotherHome(t *testing.T) {
	from, to := open(t), open(t)
	review := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for i := range 100 { // more than one batch
		must(Vault{from}.Set(t.Context(), fmt.Sprintf("note.n%d", i), desk.Value(fmt.Sprint("value ", i))))
	}
	must(Vault{from}.Set(t.Context(), "contact.email", desk.Value("old@example.org")))
	must(Vault{from}.Set(t.Context(), "contact.email", desk.FieldSpec{Value: desk.Value("a@example.org").Value, Source: "inferred", ReviewBy: &review, Rule: "never"}))
	pictures := [][]byte{bytes.Repeat([]byte{1}, 200_000), bytes.Repeat([]byte{2}, 300_000)}
	for _, raw := range pictures {
		must((Files{from}).Upload(t.Context(), "identity.photo", "image/png", desk.FieldSpec{Class: "special"}, bytes.NewReader(raw)))
	}
	var file bytes.Buffer
	if err := (Files{from}).Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dry := must((Files{to}).Import(t.Context(), bytes.NewReader(file.Bytes()), desk.VaultImport{Format: "json", DryRun: true}))
	if dry.Added != 102 || dry.Changed != 0 || len(must((Vault{to}).List(t.Context()))) != 0 || len(must((Ledger{to}).List(t.Context(), desk.Query{})).Items) != 0 {
		t.Fatalf("a dry run: %+v", dry)
	}
	done := must((Files{to}).Import(t.Context(), bytes.NewReader(file.Bytes()), desk.VaultImport{Format: "json"}))
	if done.Added != 102 || len(done.Ignored) != 2 {
		t.Errorf("%d added, ignored %v", done.Added, done.Ignored)
	}
	want, got := all(t, from), all(t, to)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %.60q, want %.60q", name, got[name], want[name])
		}
	}
	for _, dryRun := range []bool{true, false} {
		again := must((Files{to}).Import(t.Context(), bytes.NewReader(file.Bytes()), desk.VaultImport{Format: "json", DryRun: dryRun}))
		if again.Added != 0 || again.Changed != 0 || again.Same != 102 {
			t.Errorf("once more: %d added, %d changed, %d the same", again.Added, again.Changed, again.Same)
		}
	}
	for _, c := range must((Files{to}).Import(t.Context(), bytes.NewReader(file.Bytes()), desk.VaultImport{Format: "json", DryRun: true})).Items {
		t.Errorf("what is the same is listed: %+v", c)
	}
}

// What a vault exported is the same to it, whatever it says of classes in so many words,
// and a dry run says so too; where something is said of a large value that differs, both
// say that.
func TestAVaultTakesItsOwnExportForTheSame(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email", "location.area", "contact.hours")
	must(Vault{o}.Set(t.Context(), "note.own", desk.Value("mine")))
	must(Files{o}.Upload(t.Context(), "identity.photo", "image/png", desk.FieldSpec{}, strings.NewReader("\xff picture")))
	var file bytes.Buffer
	if err := (Files{o}).Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	says := func(same, changed int) {
		t.Helper()
		for _, dryRun := range []bool{true, true, false} {
			rep := must((Files{o}).Import(t.Context(), bytes.NewReader(file.Bytes()), desk.VaultImport{Format: "json", DryRun: dryRun}))
			if rep.Same != same || rep.Changed != changed || rep.Added != 0 {
				t.Errorf("dry run %v: %d the same, %d changed, %d added: %+v", dryRun, rep.Same, rep.Changed, rep.Added, rep.Items)
			}
		}
	}
	says(5, 0)
	must(Vault{o}.Set(t.Context(), "identity.photo", desk.FieldSpec{Rule: "never"}))
	says(4, 1)
	says(5, 0)
}

func TestImportsThatAreRefused(t *testing.T) {
	write := func(fn func(*dump.Writer)) string {
		var b bytes.Buffer
		w := dump.NewWriter(&b, time.Unix(1, 0))
		fn(w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	photo := func(size int64, sum string) dump.Field {
		return dump.Field{Name: "identity.photo", Version: dump.Version{Version: 1, Blob: &dump.Blob{Bytes: size, SHA256: sum}}}
	}
	const sumOfX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	put := func(w *dump.Writer, fields ...dump.Field) {
		for _, f := range fields {
			if err := w.Field(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range map[string]string{
		"another sum": write(func(w *dump.Writer) {
			put(w, photo(1, strings.Repeat("0", 64)))
			_, _ = w.Blob("identity.photo", 1).Write([]byte("x"))
		}),
		"another size": write(func(w *dump.Writer) { put(w, photo(2, sumOfX)); _, _ = w.Blob("identity.photo", 1).Write([]byte("x")) }),
		"no bytes":     write(func(w *dump.Writer) { put(w, photo(1, sumOfX)) }),
		"another's":    write(func(w *dump.Writer) { put(w, photo(1, sumOfX)); _, _ = w.Blob("document.cv", 1).Write([]byte("x")) }),
		"twice":        write(func(w *dump.Writer) { put(w, photo(1, sumOfX), photo(1, sumOfX)) }),
		"empty value":  write(func(w *dump.Writer) { put(w, dump.Field{Name: "contact.email"}) }),
		"no name":      write(func(w *dump.Writer) { put(w, dump.Field{Name: "Email", Version: dump.Version{Value: "x"}}) }),
		"unknown source": write(func(w *dump.Writer) {
			put(w, dump.Field{Name: "contact.email", Version: dump.Version{Value: "x", Source: "?"}})
		}),
		"a looser class": write(func(w *dump.Writer) {
			put(w, dump.Field{Name: "health.condition", Class: "ordinary", Version: dump.Version{Value: "x"}})
		}),
		"cut off":   `{"schema":"hark.vault/1","fields":[{"name":"contact.email","value":"x"}`,
		"no export": "{}",
	} {
		for _, dryRun := range []bool{true, false} {
			o := open(t)
			if _, err := (Files{o}).Import(t.Context(), strings.NewReader(text), desk.VaultImport{Format: "json", DryRun: dryRun}); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(must((Vault{o}).List(t.Context()))); n != 0 {
				t.Errorf("%s left %d fields", name, n)
			}
		}
	}
	o := open(t)
	good := write(func(w *dump.Writer) { put(w, photo(1, sumOfX)); _, _ = w.Blob("identity.photo", 1).Write([]byte("x")) })
	if rep, err := (Files{o}).Import(t.Context(), strings.NewReader(good), desk.VaultImport{Format: "json"}); err != nil || rep.Added != 1 {
		t.Errorf("the right one: %+v, %v", rep, err)
	}
	for format, text := range map[string]string{"csv": "a,b", "vcard": "BEGIN:VCARD\nEND:VCARD\n", "": ""} {
		if _, err := (Files{o}).Import(t.Context(), strings.NewReader(text), desk.VaultImport{Format: format}); err == nil {
			t.Errorf("format %q was taken", format)
		}
	}
}

// Values that gave way to newer ones are taken off the disk now and then, not left
// until somebody removes a field.
func TestOldValuesDoNotPileUp(t *testing.T) {
	o := open(t)
	for i := range 200 {
		must(Vault{o}.Set(t.Context(), "contact.email", desk.Value(fmt.Sprint("value ", i))))
	}
	if past := must((Vault{o}).History(t.Context(), "contact.email", true)); len(past) != 10 || past[9].Value != "value 190" {
		t.Errorf("%d versions: %+v", len(past), past)
	}
	fills := must(o.fills(t))
	i := slices.IndexFunc(fills, func(f kv.Fill) bool { return f.Name == "vault.purges" })
	if i < 0 || fills[i].Used >= sweepAt {
		t.Errorf("what waits: %+v", fills)
	}
}

func (o *Office) fills(t *testing.T) (out []kv.Fill, err error) {
	err = o.view(t.Context(), func(r kv.Reader) (err error) {
		out, err = o.Stores.Vault.Fills(r)
		return err
	})
	return out, err
}
