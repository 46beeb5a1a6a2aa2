// Package strict reads JSON that somebody else wrote: bounded in size and depth, no key
// twice, none that its reader does not know or spells otherwise, nothing after its end.
// Package encoding/json by itself takes "SCHEMA" for "schema", the later of two equal
// keys, and whatever follows the document.
//
// Decode and Read are for files. What is written again to be compared with what came, as
// a record is, uses Open, Into and Same.
package strict

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of a document.
const (
	MaxSize  = 8 << 20
	MaxDepth = 16
)

// Open walks one JSON document and gives it as maps and lists, numbers as they are
// written: fault.Malformed for anything else.
func Open(raw []byte) (tree any, err error) {
	if err := WellFormed(raw); err != nil {
		return nil, err
	}
	return treeOf(raw)
}

// Read reads a document of at most so many bytes, and nothing beyond them, and decodes
// it. An error of the source itself is given as it is.
func Read(r io.Reader, most int, v any) error {
	raw, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return err
	}
	if len(raw) > most {
		return fmt.Errorf("JSON of more than %d bytes: %w", most, fault.Malformed)
	}
	return Decode(raw, v)
}

// Decode reads a document into what v points to, which must know all its keys, spelt
// just so.
func Decode(raw []byte, v any) error {
	tree, err := Open(raw)
	if err == nil {
		err = spelt(reflect.TypeOf(v), tree)
	}
	if err == nil {
		err = Into(raw, v)
	}
	return err
}

// spelt holds the keys of a document against those of the type that it is read into. A
// type that reads itself answers for its own.
func spelt(t reflect.Type, tree any) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	switch node := tree.(type) {
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil // not of the type, as Into will tell
		}
		for _, child := range node {
			if err := spelt(t.Elem(), child); err != nil {
				return err
			}
		}
	case map[string]any:
		known := func(string) (reflect.Type, bool) { return t, false }
		switch t.Kind() {
		case reflect.Struct:
			fields := keysOf(t)
			known = func(k string) (reflect.Type, bool) { f, ok := fields[k]; return f, ok }
		case reflect.Map:
			known = func(string) (reflect.Type, bool) { return t.Elem(), true }
		default:
			return nil
		}
		for k, child := range node {
			of, ok := known(k)
			if !ok {
				return fmt.Errorf("JSON with the key %s, which has no meaning there: %w", clip(k), fault.Malformed)
			}
			if err := spelt(of, child); err != nil {
				return err
			}
		}
	}
	return nil
}

// keysOf gives the keys of a struct, with those of the structs that it embeds.
func keysOf(t reflect.Type) map[string]reflect.Type {
	keys := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			for k, inner := range keysOf(f.Type) {
				if _, own := keys[k]; !own {
					keys[k] = inner
				}
			}
		case f.IsExported() && name != "-":
			keys[cmp.Or(name, f.Name)] = f.Type
		}
	}
	return keys
}

// Into reads a document that Open has walked into v, which must know all its keys. Of
// their letters it takes both cases: Decode, or Same, sees to that.
func Into(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its own words may repeat a value
		return fmt.Errorf("JSON with a %s where a %s should stand, at byte %d: %w", strings.Fields(e.Value + " value")[0], e.Type, e.Offset, fault.Malformed)
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("JSON with a text where a date should stand: %w", fault.Malformed)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", clip(err.Error()), fault.Malformed)
	}
	return nil
}

// WellFormed walks the document before anything is made of it.
func WellFormed(raw []byte) error {
	bad := func(what string) error { return fmt.Errorf("JSON %s: %w", what, fault.Malformed) }
	if len(raw) > MaxSize || !utf8.Valid(raw) {
		return bad("that is too large, or no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	type level struct {
		keys map[string]bool // nil in an array
		key  bool            // a key comes next
	}
	var stack []level
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil // an unfinished one is io.ErrUnexpectedEOF, or fails to decode
		}
		if err != nil {
			return bad(clip(err.Error()))
		}
		delim, _ := t.(json.Delim)
		if n := len(stack); n > 0 && stack[n-1].keys != nil && delim != '}' {
			top := &stack[n-1]
			if top.key {
				name, _ := t.(string)
				if top.keys[name] {
					return bad("with the key " + clip(name) + " twice")
				}
				top.keys[name] = true
			}
			top.key = !top.key
		}
		switch delim {
		case '{':
			stack = append(stack, level{keys: map[string]bool{}, key: true})
		case '[':
			stack = append(stack, level{})
		case '}', ']':
			stack = stack[:len(stack)-1]
		}
		if len(stack) > MaxDepth {
			return bad("that is too deep")
		}
		if len(stack) == 0 && d.More() {
			return bad("with something after its end")
		}
	}
}

func treeOf(raw []byte) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%s: %w", clip(err.Error()), fault.Malformed)
	}
	return tree, nil
}

// Same compares a document that came with the one that would be written.
func Same(came any, written []byte) error {
	want, err := treeOf(written)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(came, want) {
		return fmt.Errorf("not what such a record looks like, at %s: %w", clip(where("", came, want)), fault.Malformed)
	}
	return nil
}

// where finds the first place in which two trees differ.
func where(at string, a, b any) string {
	if reflect.DeepEqual(a, b) {
		return ""
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		for k := range x {
			if _, there := y[k]; ok && !there {
				return at + "/" + k
			}
		}
		for k := range y {
			if w := where(at+"/"+k, x[k], y[k]); w != "" {
				return w
			}
		}
	case []any:
		y, _ := b.([]any)
		for i := range min(len(x), len(y)) {
			if w := where(fmt.Sprintf("%s/%d", at, i), x[i], y[i]); w != "" {
				return w
			}
		}
	}
	if at == "" {
		return "/"
	}
	return at
}

func clip(s string) string { return fmt.Sprintf("%.100q", s) }
