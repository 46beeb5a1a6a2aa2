// Package strict reads JSON that strangers wrote: bounded in size and depth, no key
// twice, nothing that its reader does not know, nothing after its end.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
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

// Into reads a document that Open has walked into v, which must know all its keys.
func Into(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
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
