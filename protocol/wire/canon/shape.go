package canon

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// The decoder is our own because a lenient one opens second spellings: the common
// libraries also read an array of numbers into a byte string, and a text into a
// name that is a byte string. It runs after the walk, so it meets canonical bytes
// only and checks nothing but what goes where. Encoding is fxamacker/cbor's.

// Bounds of a list by what is in it, before the noun's own rules: a list's memory
// stays within a small multiple of the bytes that it came in.
const (
	MaxFixed = 2048 // keys, hashes, numbers
	MaxItems = 64   // anything else
)

// A shape says how a Go type looks on the wire.
type shape struct {
	kind   shapeKind
	limit  uint64 // largest integer, size of fixed bytes, or most elements
	elem   *shape
	fields []field // by key
}

type shapeKind uint8

const (
	shapeUint shapeKind = iota
	shapeInt            // a Go int that is never negative
	shapeBool
	shapeText
	shapeBytes
	shapeFixed  // [n]byte
	shapeBinary // a type that takes its bytes itself
	shapeList
	shapeRecord
)

type field struct {
	key   uint64
	outer int // index of the embedded header, or -1
	index int
	shape *shape
}

var shapes sync.Map // reflect.Type -> *shape

var binaryType = reflect.TypeFor[encoding.BinaryUnmarshaler]()

// shapeOf works a type's shape out once. Types that the wire has no place for
// panic: that is a mistake in a noun, which every test of it finds.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := newShape(t)
	shapes.Store(t, s)
	return s
}

func newShape(t reflect.Type) *shape {
	switch k := t.Kind(); {
	case k == reflect.Array && t.Elem().Kind() == reflect.Uint8:
		return &shape{kind: shapeFixed, limit: uint64(t.Len())}
	case reflect.PointerTo(t).Implements(binaryType):
		return &shape{kind: shapeBinary}
	case k >= reflect.Uint && k <= reflect.Uint64:
		return &shape{kind: shapeUint, limit: 1<<t.Bits() - 1}
	case k == reflect.Int64:
		return &shape{kind: shapeInt, limit: 1<<63 - 1}
	case k == reflect.Bool:
		return &shape{kind: shapeBool}
	case k == reflect.String:
		return &shape{kind: shapeText}
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return &shape{kind: shapeBytes}
	case k == reflect.Slice && t.Elem().Kind() == reflect.Array && t.Elem().Elem().Kind() == reflect.Uint8:
		return &shape{kind: shapeList, limit: MaxFixed, elem: shapeOf(t.Elem())}
	case k == reflect.Slice && t.Elem().Kind() > reflect.Uint8 && t.Elem().Kind() <= reflect.Uint64:
		return &shape{kind: shapeList, limit: MaxFixed, elem: shapeOf(t.Elem())}
	case k == reflect.Slice:
		return &shape{kind: shapeList, limit: MaxItems, elem: shapeOf(t.Elem())}
	case k == reflect.Struct:
		return &shape{kind: shapeRecord, fields: fieldsOf(t, -1)}
	}
	panic("canon: " + t.String() + " has no place on the wire")
}

func fieldsOf(t reflect.Type, outer int) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && outer < 0 {
			all = append(all, fieldsOf(f.Type, i)...)
			continue
		}
		number, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		key, err := strconv.ParseUint(number, 10, 64)
		if err != nil || key >= FirstIgnorable || (len(all) > 0 && all[len(all)-1].key >= key) {
			panic("canon: " + t.String() + "." + f.Name + " has no key in order")
		}
		all = append(all, field{key, outer, i, shapeOf(f.Type)})
	}
	return all
}

// decode reads the item at the walker into v. The bytes were walked before.
func (w *walker) decode(s *shape, v reflect.Value) error {
	start := w.at
	major, n, _ := w.head()
	switch s.kind {
	case shapeUint, shapeInt, shapeBool:
		return w.scalar(s, v, major, n)
	case shapeText:
		if major == majorText {
			v.SetString(string(w.take(n)))
			return nil
		}
	case shapeBytes, shapeFixed, shapeBinary:
		if major == majorBytes {
			return w.bytes(s, v, w.take(n))
		}
	case shapeList:
		if major == majorArray {
			return w.list(s, v, n)
		}
	case shapeRecord:
		if major == majorMap {
			return w.record(s, v, n)
		}
	}
	w.at = start
	return w.bad("another type than its key has")
}

func (w *walker) scalar(s *shape, v reflect.Value, major byte, n uint64) error {
	switch {
	case s.kind == shapeBool && major == majorSimple:
		v.SetBool(n == simpleTrue)
	case s.kind == shapeUint && major == majorUint && n <= s.limit:
		v.SetUint(n)
	case s.kind == shapeInt && major == majorUint && n <= s.limit:
		v.SetInt(int64(n))
	default:
		return w.bad("another type than its key has, or too large")
	}
	return nil
}

// take gives the next n bytes, which stay part of the message.
func (w *walker) take(n uint64) []byte {
	end := w.at + int(n)
	b := w.raw[w.at:end:end]
	w.at = end
	return b
}

func (w *walker) bytes(s *shape, v reflect.Value, b []byte) error {
	switch s.kind {
	case shapeBytes:
		v.SetBytes(b)
	case shapeFixed:
		if uint64(len(b)) != s.limit {
			return w.bad(fmt.Sprintf("%d bytes where %d belong", len(b), s.limit))
		}
		copy(v.Bytes(), b)
	default:
		if err := v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
			return w.bad(err.Error())
		}
	}
	return nil
}

func (w *walker) list(s *shape, v reflect.Value, n uint64) error {
	if n > s.limit {
		return w.bad("too many elements")
	}
	v.Grow(int(n))
	v.SetLen(int(n))
	for i := range int(n) {
		if err := w.decode(s.elem, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) record(s *shape, v reflect.Value, n uint64) error {
	rest := s.fields
	for range n {
		_, key, _ := w.head()
		for len(rest) > 0 && rest[0].key < key {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0].key != key {
			return fmt.Errorf("%w: byte %d: key %d", ErrUnknown, w.at, key)
		}
		f, at := rest[0], v
		if f.outer >= 0 {
			at = v.Field(f.outer)
		}
		if err := w.decode(f.shape, at.Field(f.index)); err != nil {
			return err
		}
	}
	return nil
}

// Decode reads a walked map into the struct that v points to. Its byte strings are
// parts of raw afterwards. A key that the struct lacks is ErrUnknown, a value that
// does not fit ErrForm; v is not to be used then.
func Decode(raw []byte, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		panic(fmt.Sprintf("canon: decode into %T", v))
	}
	w := walker{raw: raw}
	return w.decode(shapeOf(p.Type().Elem()), p.Elem())
}
