// Package canon is the one encoding of everything on the wire: deterministic CBOR
// (RFC 8949 section 4.2.1), narrowed to what this protocol uses. It knows no noun.
//
//	Encode   struct -> bytes
//	Walk     are these bytes in the one form? And where is what
//	Decode   walked bytes -> struct
//
// The form is checked on the bytes as they came, never by encoding again what was
// decoded: that would drop what the struct has no place for.
//
// What the form is: maps with small unsigned keys in ascending order, each once;
// unsigned integers in shortest form; definite lengths; byte strings, UTF-8 text,
// arrays, true and false. No negative integers, tags, floats, null or undefined. A
// zero value (0, false, "", an empty array or map, a byte string that is empty or all
// zeros) is never the value of a map: an absent key means zero. In an array it may
// stand.
package canon

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

var (
	// ErrForm is returned for bytes, or a value, without the one form.
	ErrForm = errors.New("canon: not canonical")
	// ErrUnknown is returned for a map key that the struct does not have.
	ErrUnknown = errors.New("canon: unknown critical key")
)

var encoder = newEncoder()

func newEncoder() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.TagsMd = cbor.TagsForbidden
	m, err := o.EncMode()
	if err != nil {
		panic("canon: cbor options: " + err.Error()) // constants: fails in every test or never
	}
	return m
}

// Encode writes a struct. A value that has no one form (a byte string of zeros, text
// that is not UTF-8, an empty list that is not nil in a struct that is otherwise
// empty) is ErrForm.
func Encode(v any) ([]byte, error) {
	raw, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	_, err = Walk(raw)
	return raw, err
}
