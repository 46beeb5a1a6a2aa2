package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record/rows"
)

// shapeOf are the stated shapes, by format.
var shapeOf = map[Format]string{TS27560: "27560.json", Receipt: "receipt.json", ODRL: "odrl.json", TS10: "ts10.json", CSV: "csv.json"}

const schemaRoot = "https://github.com/harkmarket/hark/schema/"

// shapes compiles the schemas that ship. Nothing is fetched: an unknown one is an error.
func shapes(t testing.TB) map[Format]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.AssertFormat()
	files, err := Schemas.ReadDir("schema")
	if err != nil || len(files) != len(shapeOf)+1 {
		t.Fatalf("%d schemas, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := Schemas.ReadFile("schema/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		if err := c.AddResource(schemaRoot+f.Name(), doc); err != nil {
			t.Fatal(err)
		}
	}
	out := map[Format]*jsonschema.Schema{}
	for f, name := range shapeOf {
		if out[f], err = c.Compile(schemaRoot + name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// fits holds a file to the shape of its format.
func fits(s *jsonschema.Schema, f Format, raw []byte) error {
	var doc any
	var err error
	if f == CSV {
		doc, err = objects(raw)
	} else {
		doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	}
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// objects are the rows of a CSV file by the names in its first row.
func objects(raw []byte) (any, error) {
	list, err := rows.Read(raw, MaxFile, 9000)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, row := range list[1:] {
		o := map[string]any{}
		for i, name := range list[0] {
			o[name] = row[i]
		}
		out = append(out, o)
	}
	return out, nil
}

// returns writes entries, holds the file to its shape, and reads the same back: that is
// all that the promise says. It gives the file.
func returns(s *jsonschema.Schema, f Format, list []Entry) ([]byte, error) {
	raw, err := Encode(f, list)
	if err != nil {
		return nil, err
	}
	if err := fits(s, f, raw); err != nil {
		return raw, fmt.Errorf("shape: %w", err)
	}
	if found, err := Detect(raw); err != nil || found != f {
		return raw, fmt.Errorf("taken for %q: %w", found, err)
	}
	back, err := Decode(f, raw)
	if err != nil {
		return raw, err
	}
	if len(back) != len(list) {
		return raw, fmt.Errorf("%d entries came back, of %d", len(back), len(list))
	}
	for i := range list {
		want := f.Plain(list[i])
		if d := want.Differences(&back[i]); len(d) > 0 {
			return raw, fmt.Errorf("entry %d came back with another %v", i, d)
		}
	}
	again, err := Encode(f, back)
	if err == nil && !bytes.Equal(again, raw) {
		err = errors.New("written again it has other bytes")
	}
	return raw, err
}

func held(f Format, list []Entry) []Entry {
	return slices.DeleteFunc(slices.Clone(list), func(e Entry) bool { return !f.Holds(&e) })
}

// TestMust_edges_roundtrip: every export validates against the shape that the project
// states, and re-imports to the same record.
func TestMust_edges_roundtrip(t *testing.T) {
	s := shapes(t)
	planted := plantedViolations(t, s)
	const n = 126
	list := entries(20261126, n)
	files, size := 0, 0
	for _, f := range Formats() {
		some := held(f, list)
		for i := range some {
			raw, err := returns(s[f], f, some[i:i+1])
			if err != nil {
				t.Fatalf("%s of %+v: %v\n%s", f, some[i], err, raw)
			}
			files, size = files+1, size+len(raw)
		}
		for group := range slices.Chunk(some, 40) {
			if raw, err := returns(s[f], f, group); err != nil {
				t.Fatalf("%s of %d: %v\n%.2000s", f, len(group), err, raw)
			}
			files++
		}
		if raw, err := returns(s[f], f, nil); err != nil && !errors.Is(err, fault.Malformed) {
			t.Fatalf("%s of none: %v\n%s", f, err, raw)
		}
	}
	t.Logf("%d random records of %d lives in %d formats: %d files validated and read back the same (%d bytes on average); %d planted violations found",
		n, len(lives), len(Formats()), files, size/files, planted)
}

// plantedViolations breaks good files in every way that counts and sees each found, by
// the shape or by the reader, and the gravest by both.
func plantedViolations(t *testing.T, s map[Format]*jsonschema.Schema) (found int) {
	t.Helper()
	given := plain(Requested, Given, Renewed, Withdrawn)
	// A field that is dropped on the way out.
	less := given
	less.Fields = less.Fields[1:]
	if len(given.Differences(&less)) == 0 {
		t.Error("a record with a field less passes for the same")
	}
	type plant struct {
		f        Format
		what     string
		old, new string
		shape    bool // the shape must find it too
	}
	grant := given.Grant.String()
	for _, p := range []plant{
		{TS27560, "a wrong status", `"dpv:ConsentWithdrawn"`, `"dpv:ConsentRefused"`, true},
		{TS27560, "a status of nowhere", `"dpv:ConsentWithdrawn"`, `"dpv:ConsentPerhaps"`, true},
		{TS27560, "an unknown key", `"dpv:hasProcess"`, `"x:more": 1, "dpv:hasProcess"`, true},
		{TS27560, "a value of a field", `"dpv:hasDataSource": "dpv:DataSubjectDataSource"`, `"dpv:hasDataSource": "dpv:DataSubjectDataSource", "rdf:value": "Melville"`, true},
		{TS27560, "a key twice", `"@type": "dpv:ConsentRecord"`, `"@type": "dpv:ConsentRecord", "@type": "dpv:ConsentRecord"`, false},
		{TS27560, "a key in another case", `"dct:identifier"`, `"DCT:identifier"`, true},
		{TS27560, "another context", `"https://w3id.org/dpv#"`, `"https://evil.example/dpv#"`, true},
		{TS27560, "a category that the field is not of", `"pd:Location"`, `"pd:Name"`, false},
		{TS27560, "a ground that its law does not have", `"popia:S11-1-`, `"popia:S11-9-`, true},
		{TS27560, "a time that is none", `"hark:countersigned": "`, `"hark:countersigned": "x`, true},
		{TS27560, "a level of the value itself", `"hark:form": "hark:CoarserValue"`, `"hark:form": "hark:Value"`, true},
		{TS27560, "a lease that is none", `"hark:lease": "PT3600S"`, `"hark:lease": "PT03600S"`, true},
		{TS27560, "more disclosures a day than there are", `"hark:disclosuresPerDay": 5`, `"hark:disclosuresPerDay": 25`, true},
		{TS27560, "a marker of special information that says no", `"hark:expressly": true`, `"hark:expressly": false`, true},
		{ODRL, "no lease", `"hark:lease": "PT3600S",`, ``, true},
		{ODRL, "a coarse level in one place, and another in the next", `"hark:level": "town"`, `"hark:level": "region"`, false},
		{TS10, "protection abroad of nothing", `"hark:protection": "a contract with clauses that bind"`, `"hark:protection": ""`, true},
		{CSV, "a level of the value itself", "hark:CoarserValue,town", "hark:Value,town", true},
		{CSV, "more disclosures a day than there are", ",3600,5,", ",3600,25,", true},
		{TS27560, "two ids", `"dct:identifier": "` + grant, `"dct:identifier": "` + given.Subject.String(), false},
		{Receipt, "a publisher that did not sign", `"dct:publisher": "urn:hark:vendor:`, `"dct:publisher": "urn:hark:context:`, true},
		{Receipt, "no record", `"dpv:hasRecordOfActivity"`, `"dpv:hasRecords"`, true},
		{ODRL, "no duty to delete", `"action": "delete"`, `"action": "archive"`, true},
		{ODRL, "another price in the duty", `"@value": "5.00"`, `"@value": "5.0"`, false},
		{ODRL, "another end in a constraint", `"operator": "lteq"`, `"operator": "gteq"`, true},
		{ODRL, "a permission to pass it on", `"action": "use"`, `"action": "distribute"`, true},
		{TS10, "a disclosure that did not complete", `"transactionResult": "Completed"`, `"transactionResult": "Perhaps"`, true},
		{TS10, "claims that a field name can't be", `"child.age"`, `"child age"`, true},
		{CSV, "a column less", "grant,field,", "grant,", true},
		{CSV, "a status that can't follow", "hark:NoPayment", "hark:Nothing", true},
		{CSV, "rows of one grant that differ", "Veld & Vine", "Veld & Wine", false},
		{CSV, "a formula", "location.area", "=location.area", true},
	} {
		raw, err := returns(s[p.f], p.f, []Entry{given})
		if err != nil {
			t.Fatalf("%s before anything was planted: %v\n%s", p.f, err, raw)
		}
		bad := bytes.Replace(raw, []byte(p.old), []byte(p.new), 1)
		if bytes.Equal(bad, raw) {
			if p.old == "hark:NoPayment" {
				bad = bytes.Replace(raw, []byte("hark:Voucher"), []byte(p.new), 1)
			}
			if bytes.Equal(bad, raw) {
				t.Errorf("%s, %s: there is no %q to break\n%s", p.f, p.what, p.old, raw)
				continue
			}
		}
		_, err = Decode(p.f, bad)
		if err == nil {
			t.Errorf("%s: %s is read", p.f, p.what)
		}
		if p.shape && fits(s[p.f], p.f, bad) == nil {
			t.Errorf("%s: %s fits the shape", p.f, p.what)
		}
		if err != nil && fault.Of(err) != fault.Malformed {
			t.Errorf("%s: %s gives %v, want Malformed", p.f, p.what, err)
		}
		found++
	}
	return found
}

// TestEveryFormatCarries: what was granted, and what was told, makes a difference in each
// format. A fact that one of them drops would come back as nothing.
func TestEveryFormatCarries(t *testing.T) {
	changes := map[string]func(*Entry){
		"how coarse":               func(e *Entry) { e.Fields[0].Level = "region" },
		"asked for expressly":      func(e *Entry) { e.Fields[1].Expressly = false },
		"special by its name":      func(e *Entry) { e.Fields[1].Name = "preference.brand" },
		"how often a day":          func(e *Entry) { e.PerDay = 6 },
		"no bound of a day":        func(e *Entry) { e.PerDay = 0 },
		"the lease":                func(e *Entry) { e.Lease = 7200 },
		"once":                     func(e *Entry) { e.Lease = 0 },
		"what protects it abroad":  func(e *Entry) { e.Notice.Protection = "a law" },
		"decisions of no person":   func(e *Entry) { e.Notice.Automated = "" },
		"who receives it":          func(e *Entry) { e.Recipients = append(e.Recipients, "Others") },
		"where it goes":            func(e *Entry) { e.Countries[0] = "NA" },
		"how long it is kept":      func(e *Entry) { e.Fields[0].Retention++ },
		"what nobody can tell off": nil,
	}
	base := plain(Requested, Given, Renewed, Withdrawn)
	for what, change := range changes {
		for _, f := range Formats() {
			e := base
			e.Fields, e.Countries, e.Recipients = slices.Clone(base.Fields), slices.Clone(base.Countries), slices.Clone(base.Recipients)
			if change != nil {
				change(&e)
			}
			was, err := Encode(f, []Entry{base})
			if err != nil {
				t.Fatal(err)
			}
			is, err := Encode(f, []Entry{e})
			if err != nil {
				t.Fatalf("%s, %s: %v", f, what, err)
			}
			if bytes.Equal(was, is) != (change == nil) {
				t.Errorf("%s does not carry %s", f, what)
			}
		}
	}
}

// TestEncodeRefuses: what is no record, or is not for the format, is not written.
func TestEncodeRefuses(t *testing.T) {
	asked, refused := plain(Requested), plain(Requested, Refused)
	for _, f := range []Format{Receipt, ODRL} {
		if _, err := Encode(f, []Entry{refused}); !errors.Is(err, fault.Unsupported) {
			t.Errorf("%s of a refusal: %v", f, err)
		}
	}
	twice := []Entry{asked, asked}
	if _, err := Encode(CSV, twice); !errors.Is(err, fault.Malformed) {
		t.Errorf("one grant twice: %v", err)
	}
	if _, err := Encode(CSV, entries(3, MaxEntries+1)); !errors.Is(err, fault.Full) {
		t.Errorf("too many: %v", err)
	}
	if _, err := Encode("pdf", twice[:1]); !errors.Is(err, fault.Malformed) {
		t.Errorf("another format: %v", err)
	}
	for what, change := range map[string]func(*Entry){
		"no customer":              func(e *Entry) { e.Subject = protocol.Hash{} },
		"no status":                func(e *Entry) { e.Statuses = nil },
		"refused, then withdrawn":  func(e *Entry) { e.Statuses = append(e.Statuses, Status{Withdrawn, 9}) },
		"a status at no time":      func(e *Entry) { e.Statuses[0].At = 0 },
		"a law without a refusal":  func(e *Entry) { e.Statuses, e.Letters.Refusal = e.Statuses[:1], protocol.Hash{} },
		"a text that is no UTF-8":  func(e *Entry) { e.Vendor.Name = "\xff" },
		"a text that is too long":  func(e *Entry) { e.Notice.Rights = strings.Repeat("x", protocol.MaxText+1) },
		"a country that is none":   func(e *Entry) { e.Vendor.Country = "Z" },
		"a field that is no field": func(e *Entry) { e.Fields[0].Name = "Location" },
		"a price in no currency":   func(e *Entry) { e.Fields[0].Price = protocol.Money{Minor: 1} },
		"a purpose of its own":     func(e *Entry) { e.Fields[0].Purpose = "sell-on" },
		"too many fields":          func(e *Entry) { e.Fields = make([]Field, protocol.MaxFields+1) },
		"a level of a value":       func(e *Entry) { e.Fields[1].Level = "town" },
		"a level of two lines":     func(e *Entry) { e.Fields[0].Level = "town\ntown" },
		"too long a level":         func(e *Entry) { e.Fields[0].Level = strings.Repeat("x", MaxLevel+1) },
		"too often":                func(e *Entry) { e.PerDay = protocol.MaxPerDay + 1 },
		"automated, untold":        func(e *Entry) { e.Notice.Automated = strings.Repeat("x", protocol.MaxText+1) },
		"too long a lease":         func(e *Entry) { e.Lease = MaxLease + 1 },
		"a request without letter": func(e *Entry) { e.Letters.Request = protocol.Hash{} },
		"log without receipt":      func(e *Entry) { e.Disclosures = []Disclosure{{1, 1, nil}} },
	} {
		e := plain(Requested, Refused)
		change(&e)
		if _, err := Encode(TS10, []Entry{e}); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDecodeRefuses: what a stranger may send instead of a record.
func TestDecodeRefuses(t *testing.T) {
	good, err := Encode(TS27560, []Entry{plain(Given)})
	if err != nil {
		t.Fatal(err)
	}
	for what, raw := range map[string]string{
		"nothing":            "",
		"a list":             "[]",
		"null":               "null",
		"an empty object":    "{}",
		"half":               string(good[:len(good)/2]),
		"two":                string(good) + string(good),
		"depth":              strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"depth in objects":   strings.Repeat(`{"@graph":`, 1000) + "1" + strings.Repeat("}", 1000),
		"size":               strings.Repeat(" ", MaxFile) + string(good),
		"no UTF-8":           strings.Replace(string(good), "Veld", "V\xffld", 1),
		"a number":           "1",
		"a graph of nothing": `{"@context":{},"@graph":[{}]}`,
	} {
		for _, f := range Formats() {
			if list, err := Decode(f, []byte(raw)); fault.Of(err) != fault.Malformed || err == nil {
				t.Errorf("%s as %s: %d records, %v", what, f, len(list), err)
			}
		}
		if f, err := Detect([]byte(raw)); what != "two" && what != "half" && err == nil {
			if _, err := Decode(f, []byte(raw)); err == nil {
				t.Errorf("%s is taken for %s", what, f)
			}
		}
	}
	// Another layout and another order of keys are the same record.
	var tree any
	if err := json.Unmarshal(good, &tree); err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(TS27560, other); err != nil || bytes.Equal(other, good) {
		t.Errorf("in another layout: %v", err)
	}
}

// FuzzDecode: whatever is read, is written as the same record again.
func FuzzDecode(f *testing.F) {
	for i, form := range Formats() {
		for _, list := range [][]Entry{{plain(Requested, Given, Renewed, Expired)}, held(form, entries(uint64(i), 3))} {
			raw, err := Encode(form, list)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), raw)
		}
	}
	f.Add(uint8(0), []byte(`{"@graph":[]}`))
	f.Fuzz(func(t *testing.T, n uint8, raw []byte) {
		form := Formats()[int(n)%len(Formats())]
		_, _ = Detect(raw)
		list, err := Decode(form, raw)
		if err != nil {
			return
		}
		again, err := Encode(form, list)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(form, again)
		if err != nil || len(back) != len(list) {
			t.Fatalf("%d records, then %d: %v", len(list), len(back), err)
		}
		for i := range list {
			if len(list[i].Differences(&back[i])) > 0 {
				t.Fatalf("record %d differs in %v", i, list[i].Differences(&back[i]))
			}
		}
	})
}
