package dump

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol/fault"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// A doc is everything that a document holds.
type doc struct {
	Fields []Field
	Blobs  map[string]string
}

func read(src io.Reader) (doc, error) {
	d := doc{Blobs: map[string]string{}}
	r, err := NewReader(src)
	if err != nil {
		return d, err
	}
	for {
		f, err := r.Field()
		if err == io.EOF {
			break
		}
		if err != nil {
			return d, err
		}
		d.Fields = append(d.Fields, f)
	}
	for {
		name, _, data, err := r.Blob()
		if err == io.EOF {
			return d, nil
		}
		if err != nil {
			return d, err
		}
		all, err := io.ReadAll(data)
		if err != nil {
			return d, err
		}
		d.Blobs[name] += string(all)
	}
}

func write(t testing.TB, d doc) []byte {
	var out bytes.Buffer
	w := NewWriter(&out, noon)
	for _, f := range d.Fields {
		if err := w.Field(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range d.Fields {
		if f.Blob != nil {
			if _, err := io.WriteString(w.Blob(f.Name, f.Version.Version), d.Blobs[f.Name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var sample = doc{
	Fields: []Field{
		{Name: "contact.email", Title: "E-mail address", Category: "pd:EmailAddress", Version: Version{Value: "a@b \"\n<&\u2028", Version: 2, Changed: noon, Checked: noon, Source: "verified"},
			ReviewBy: noon.AddDate(1, 0, 0), Class: "ordinary", MinPrice: &Money{500, "ZAR"}, Rule: "never", History: []Version{{Value: "old", Version: 1, Changed: noon, Source: "self-stated"}}},
		{Name: "document.cv", Version: Version{Version: 3, Blob: &Blob{Bytes: 200_000, SHA256: "ab", Media: "text/plain"}}},
		{Name: "identity.photo", Version: Version{Version: 1, Blob: &Blob{Bytes: 3, SHA256: "cd"}}},
	},
	Blobs: map[string]string{"document.cv": strings.Repeat("0123456789", 20_000), "identity.photo": "abc"},
}

func TestADocumentComesBack(t *testing.T) {
	for name, d := range map[string]doc{"all": sample, "no blobs": {Fields: sample.Fields[:1], Blobs: map[string]string{}}, "empty": {Blobs: map[string]string{}}} {
		got, err := read(iotest.OneByteReader(bytes.NewReader(write(t, d))))
		if diff := cmp.Diff(d, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func TestACutDocumentIsRefusedAtEveryByte(t *testing.T) {
	raw := bytes.TrimSpace(write(t, doc{Fields: sample.Fields[:1:1], Blobs: nil}))
	small := doc{Fields: []Field{sample.Fields[2]}, Blobs: sample.Blobs}
	for _, raw := range [][]byte{raw, bytes.TrimSpace(write(t, small))} {
		for n := range raw {
			if _, err := read(bytes.NewReader(raw[:n])); !errors.Is(err, fault.Malformed) {
				t.Fatalf("cut after %d bytes: %v", n, err)
			}
		}
	}
}

func TestHostileDocumentsAreRefused(t *testing.T) {
	begin := `{"schema":"hark.vault/1","fields":[`
	for name, text := range map[string]string{
		"nothing":        "",
		"an array":       "[]",
		"no schema":      `{"fields":[]}`,
		"another schema": `{"schema":"hark.vault/2","fields":[]}`,
		"unknown key":    begin + `{"name":"a.b","valve":"x"}]}`,
		"unknown part":   begin + `],"more":[]}`,
		"no name":        begin + `{"value":"x"}]}`,
		"wrong type":     begin + `{"name":"a.b","value":7}]}`,
		"not JSON":       begin + `{"name":"a.b",]}`,
		"more after":     begin + `]} {}`,
		"another case":   begin + `{"Name":"a.b","value":"x"}]}`,
		"both cases":     begin + `{"name":"a.b","NAME":"c.d"}]}`,
		"twice":          begin + `{"name":"a.b","value":"x","value":"y"}]}`,
		"twice, earlier": begin + `{"name":"a.b","history":[{"value":"x","value":"y"}]}]}`,
		"chunk, case":    begin + `],"chunks":[{"FIELD":"a.b","version":1,"data":"eA=="}]}`,
		"empty chunk":    begin + `],"chunks":[{"field":"a.b","version":1,"data":""}]}`,
		"no base64":      begin + `],"chunks":[{"field":"a.b","version":1,"data":"!"}]}`,
		"deep":           begin + strings.Repeat(`{"history":[`, 100_000),
	} {
		if _, err := read(strings.NewReader(text)); !errors.Is(err, fault.Malformed) && !errors.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	secret := "the value that no error repeats"
	for _, value := range []string{`"version":"` + secret + `"`, `"value":27821234567`, `"value":["` + secret + `"]`, `"review_by":"` + secret + `"`} {
		_, err := read(strings.NewReader(begin + `{"name":"a.b",` + value + `}]}`))
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "2782") {
			t.Errorf("%s gives %v", value, err)
		}
	}
	broken := errors.New("the cable")
	if _, err := read(io.MultiReader(strings.NewReader(begin), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a broken source: %v", err)
	}
}

// An endless gives the same bytes for ever, and counts them.
type endless struct {
	text string
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.n+i)%len(e.text)]
	}
	e.n += len(p)
	return len(p), nil
}

func TestAnEndlessDocumentIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct{ begin, then string }{
		"a string":  {`{"schema":"hark.vault/1","fields":[{"name":"a.b","value":"`, "x"},
		"spaces":    {`{"schema":"hark.vault/1","fields":[`, " "},
		"a schema":  {`{"schema":"`, "x"},
		"a history": {`{"schema":"hark.vault/1","fields":[{"name":"a.b","history":[{}`, ",{}"},
	} {
		e := &endless{text: c.then}
		if _, err := read(io.MultiReader(strings.NewReader(c.begin), e)); !errors.Is(err, fault.Malformed) || e.n > 4*maxElement {
			t.Errorf("%s: given up after %d bytes with %v", name, e.n, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(write(f, sample)[:2000])
	f.Add(write(f, doc{Fields: []Field{sample.Fields[2]}, Blobs: sample.Blobs}))
	f.Add([]byte(`{"schema":"hark.vault/1","exported":"x","fields":[],"chunks":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := read(bytes.NewReader(raw))
		if err != nil {
			if !errors.Is(err, fault.Malformed) && !errors.Is(err, fault.Unsupported) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, f := range d.Fields {
			if f.Name == "" {
				t.Error("a field without a name")
			}
		}
	})
}
