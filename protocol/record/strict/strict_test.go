package strict

import (
	"errors"
	"strings"
	"testing"

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
