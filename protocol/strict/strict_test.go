package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/harkmarket/hark/protocol/fault"
)

// read does all that a reader does.
func read(raw []byte, v any) (any, error) {
	tree, err := Open(raw)
	if err == nil {
		err = Into(raw, v)
	}
	return tree, err
}

type doc struct {
	A int   `json:"a"`
	B []doc `json:"b"`
}

func TestOpen(t *testing.T) {
	var d doc
	tree, err := read([]byte(` {"a":1,"b":[{"a":2,"b":[]}]} `), &d)
	if err != nil || d.B[0].A != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := Same(tree, []byte(`{"b":[{"b":[],"a":2}],"a":1}`)); err != nil {
		t.Error(err)
	}
	for _, other := range []string{`{"a":1}`, `{"a":1,"b":[{"a":3,"b":[]}]}`, `{"a":1,"b":[{"a":2,"b":[]}],"c":0}`, `[]`} {
		if err := Same(tree, []byte(other)); !errors.Is(err, fault.Malformed) {
			t.Errorf("same as %s: %v", other, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for what, raw := range map[string]string{
		"a key twice": `{"a":1,"a":1}`, "a key twice, within": `{"b":[{"a":1,"a":2}]}`, "an unknown key": `{"c":1}`, "two documents": `{} {}`, "words after": `{}x`,
		"half": `{"a":`, "nothing": ``, "depth": strings.Repeat(`{"b":[`, 9) + strings.Repeat(`]}`, 9), "no UTF-8": "{\"a\":\xff}",
		"size": strings.Repeat(" ", MaxSize) + "{}", "another kind": `{"a":"1"}`, "a fraction": `{"a":1.5}`,
	} {
		if _, err := read([]byte(raw), &doc{}); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A book has each shape that keys can stand in.
type book struct {
	shelf
	Title string         `json:"title"`
	Parts []part         `json:"parts,omitempty"`
	Notes map[string]int `json:"notes"`
	Next  *book          `json:"next"`
	Own   hex            `json:"own"`
	Bare  bool
	Never bool `json:"-"`
}

type shelf struct {
	Place string `json:"place"`
}

type part struct {
	Page int `json:"page"`
}

// hex reads itself.
type hex struct{ n int }

func (h *hex) UnmarshalJSON(raw []byte) error { h.n = len(raw); return nil }

func TestDecode(t *testing.T) {
	var b book
	good := `{"place":"left","title":"t","parts":[{"page":3}],"notes":{"Any":1},"next":{"title":"u"},"own":{"x":1},"Bare":true}`
	if err := Read(strings.NewReader(good), len(good), &b); err != nil || b.Parts[0].Page != 3 || b.Place != "left" || b.Next.Title != "u" || b.Own.n != 7 || !b.Bare {
		t.Fatalf("%+v, %v", b, err)
	}
	for what, raw := range map[string]string{
		"other case": `{"Title":"t"}`, "both cases": `{"title":"t","TITLE":"u"}`, "other case in an array": `{"parts":[{"Page":1}]}`,
		"other case behind a pointer": `{"next":{"TITLE":"t"}}`, "other case of what is embedded": `{"Place":"left"}`, "lower case": `{"bare":true}`,
		"a folded letter": `{"note\u017f":{}}`, "what is not read": `{"Never":true}`, "unknown": `{"more":1}`, "twice": `{"title":"t","title":"t"}`,
		"twice, escaped": `{"title":"t","\u0074itle":"t"}`, "words after": `{}x`, "two documents": `{}{}`, "another kind": `{"parts":{"page":1}}`, "an array": `[]`,
		"nothing": ``, "null twice": `null null`,
	} {
		var b book
		if err := Decode([]byte(raw), &b); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// endless is a source without an end.
type endless struct{ given int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.given += len(p)
	return len(p), nil
}

func TestReadIsBounded(t *testing.T) {
	e := &endless{}
	if err := Read(e, 1000, &book{}); !errors.Is(err, fault.Malformed) || e.given > 4096 {
		t.Errorf("%d bytes were read: %v", e.given, err)
	}
	if err := Read(iotest.ErrReader(fault.Offline), 1000, &book{}); !errors.Is(err, fault.Offline) {
		t.Error(err)
	}
}

// FuzzDecode: what is read can be written, and is then read as the same.
func FuzzDecode(f *testing.F) {
	for _, raw := range []string{`{"place":"left","parts":[{"page":3}],"notes":{"a":1},"next":{"title":"u"},"Bare":true}`, `{"Title":"t"}`, `{"title":1}`, `null`, `{}{}`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b, c book
		if err := Decode(raw, &b); err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatal(err)
			}
			return
		}
		b.Next = nil // each one written in full could be one level too many
		once, err := json.Marshal(b)
		if err == nil {
			err = Decode(once, &c)
		}
		if twice, _ := json.Marshal(c); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s is read again as %s: %v", once, twice, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"a":2}]}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d doc
		tree, err := read(raw, &d)
		if err == nil {
			err = Same(tree, raw)
		}
		if err != nil && !errors.Is(err, fault.Malformed) {
			t.Fatal(err)
		}
	})
}
