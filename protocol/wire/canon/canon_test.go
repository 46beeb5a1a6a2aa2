package canon

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/harkmarket/hark/protocol/wire/alloc"
)

type key32 [4]byte

type inner struct {
	N uint8    `cbor:"1,keyasint,omitempty"`
	S []string `cbor:"2,keyasint,omitempty"`
}

// Noun has its embedded header exported, as the protocol's nouns have.
type Noun struct {
	Head
	Int  int64    `cbor:"3,keyasint,omitempty"`
	Flag bool     `cbor:"4,keyasint,omitempty"`
	Raw  []byte   `cbor:"5,keyasint,omitempty"`
	Text string   `cbor:"24,keyasint,omitempty"`
	Keys []key32  `cbor:"25,keyasint,omitempty"`
	In   inner    `cbor:"26,keyasint,omitzero"`
	Ins  []inner  `cbor:"100,keyasint,omitempty"`
	Raws [][]byte `cbor:"127,keyasint,omitempty"`
}

type Head struct {
	V uint8 `cbor:"1,keyasint,omitempty"`
	K key32 `cbor:"2,keyasint,omitzero"`
}

func sample() Noun {
	return Noun{Head{7, key32{1, 2}}, 1 << 40, true, []byte{0, 1}, "tëxt", []key32{{}, {9}}, inner{N: 255, S: []string{"", "x"}}, []inner{{}, {N: 1}}, [][]byte{{}, {1}}}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	for _, v := range []Noun{{}, sample(), {Int: 1}, {Head: Head{V: 1}}} {
		raw, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		var got, second Noun
		if err := Decode(raw, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v, %v", got, err)
		}
		if err := cbor.Unmarshal(raw, &second); err != nil || !reflect.DeepEqual(second, v) {
			t.Errorf("another library reads %+v, %v", second, err)
		}
	}
}

// Bytes that are CBOR, but not in the one form.
func TestNotCanonical(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": "", "array": "80", "number": "01", "cut": "a1", "cut value": "a1 01", "cut int": "a1 01 18", "cut string": "a1 05 42 01",
		"after the end": "a0 00", "second map": "a1 01 01 a0",
		"long int": "a1 01 18 17", "long int 16": "a1 03 19 00ff", "long int 32": "a1 03 1a 0000ffff", "long int 64": "a1 03 1b 00000000ffffffff",
		"long key": "a1 18 01 01", "long length": "a1 05 58 01 01", "long map": "b8 01 01 01", "long array": "a1 18 19 98 01 44 01020304",
		"unsorted": "a2 03 01 01 01", "twice": "a2 01 01 01 01", "text key": "a1 61 61 01", "negative key": "a1 20 01", "bytes key": "a1 41 01 01",
		"zero": "a1 01 00", "false": "a1 04 f4", "empty text": "a1 18 18 60", "empty bytes": "a1 05 40", "zero bytes": "a1 05 43 000000",
		"empty array": "a1 18 19 80", "empty map": "a1 18 1a a0", "zero inside": "a1 18 1a a1 01 00",
		"negative": "a1 03 20", "tag": "a1 03 c0 01", "null": "a1 03 f6", "undefined": "a1 03 f7", "half": "a1 03 f9 3c00", "single": "a1 03 fa 3f800000", "double": "a1 03 fb 3ff0000000000000",
		"simple": "a1 03 f0", "long false": "a1 04 f8 14", "long true": "a1 04 f8 15", "simple 32": "a1 03 f8 20",
		"indefinite map": "bf 01 01 ff", "indefinite array": "a1 18 19 9f ff", "indefinite bytes": "a1 05 5f 41 01 ff", "indefinite text": "a1 18 18 7f 61 61 ff", "break": "a1 05 ff", "reserved": "a1 05 1c",
		"not UTF-8": "a1 18 18 61 ff", "surrogate": "a1 18 18 63 eda080",
		"huge bytes": "a1 05 5b ffffffffffffffff", "huge array": "a1 18 19 9b 7fffffffffffffff", "huge map": "bb 7fffffffffffffff", "many": "a1 18 19 99 1001" + strings.Repeat("01", 4097),
		"deep": "a1 01" + strings.Repeat("81", 8) + "01",
	} {
		if _, err := Walk(unhex(t, s)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]string{
		"empty": "a0", "23": "a1 01 17", "24": "a1 01 18 18", "256": "a1 03 19 0100", "65536": "a1 03 1a 00010000", "2^32": "a1 03 1b 0000000100000000",
		"true": "a1 04 f5", "zeros in an array": "a1 18 19 87 00 f4 40 60 80 a0 43 000000", "as deep as it goes": "a1 01" + strings.Repeat("81", 7) + "01", "ignorable": "a1 18 80 01",
	} {
		if _, err := Walk(unhex(t, s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Canonical bytes that do not fit the struct, among them the second spellings that a
// lenient decoder reads.
func TestMisfits(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want error
	}{
		"unknown key": {"a1 06 01", ErrUnknown}, "unknown inside": {"a1 18 1a a1 03 01", ErrUnknown}, "ignorable": {"a1 18 80 01", ErrUnknown}, "last": {"a1 18 7e 01", ErrUnknown},
		"too large for 8 bits": {"a1 01 19 0100", ErrForm}, "too large for int64": {"a1 03 1b ffffffffffffffff", ErrForm},
		"text for int": {"a1 01 61 61", ErrForm}, "true for int": {"a1 03 f5", ErrForm}, "int for bool": {"a1 04 01", ErrForm}, "int for text": {"a1 18 18 01", ErrForm}, "bytes for text": {"a1 18 18 41 61", ErrForm},
		"text for bytes": {"a1 05 61 61", ErrForm}, "array for bytes": {"a1 05 82 01 02", ErrForm}, "array for a key": {"a1 02 84 01 02 03 04", ErrForm}, "text for a key": {"a1 02 64 61626364", ErrForm},
		"short key": {"a1 02 43 010203", ErrForm}, "long key": {"a1 02 45 0102030405", ErrForm}, "map for array": {"a1 18 19 a1 01 01", ErrForm}, "array for map": {"a1 18 1a 81 01", ErrForm},
		"65 maps": {"a1 18 64 98 41" + strings.Repeat("a0", 65), ErrForm},
	} {
		raw := unhex(t, c.raw)
		if _, err := Walk(raw); err != nil {
			t.Fatalf("%s is not canonical: %v", name, err)
		}
		if err := Decode(raw, new(Noun)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"zero bytes": Noun{Raw: make([]byte, 3)}, "not UTF-8": Noun{Text: "\xff"}, "an empty list that is there": Noun{In: inner{S: []string{}}}, "negative": Noun{Int: -1},
		"array": []int{1}, "text key": map[string]int{"a": 1}, "function": func() {},
	} {
		if _, err := Encode(v); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDocument(t *testing.T) {
	raw := unhex(t, "a5 01 02 03 18 20 18 7f 05 18 80 01 19 012c 41 07")
	d, err := Walk(raw)
	if err != nil {
		t.Fatal(err)
	}
	if d.Uint(1) != 2 || d.Uint(2) != 0 || d.Uint(3) != 32 || d.Count != 5 || d.Extras != 2 || d.LastKey != 127 || !bytes.Equal(raw[d.Last:d.Tail], unhex(t, "18 7f 05")) {
		t.Errorf("%+v", d)
	}
	if !bytes.Equal(d.Extra(), unhex(t, "18 80 01 19 012c 41 07")) || !bytes.Equal(d.Critical(), unhex(t, "a3 01 02 03 18 20 18 7f 05")) {
		t.Errorf("%x %x", d.Extra(), d.Critical())
	}
	bare, err := Walk(d.Critical())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := bare.With(d.Extra()); err != nil || !bytes.Equal(again, raw) {
		t.Errorf("%x %v", again, err)
	}
	for _, x := range []string{"18 7e 01", "18 80", "18 81 01 18 80 01", "18 80 00", "60"} {
		if _, err := bare.With(unhex(t, x)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", x, err)
		}
	}
	for n, want := range map[int]string{0: "a0", 23: "b7", 24: "b818", 255: "b8ff", 256: "b90100"} {
		if got := hex.EncodeToString(MapHead(n)); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestReader(t *testing.T) {
	raw := unhex(t, "a5 01 07 02 44 01020304 05 42 0102 18 18 61 61 18 19 81 01")
	r := NewReader(raw)
	var k key32
	if r.Map() != 5 || r.Key() != 1 || r.Uint(255) != 7 || r.Key() != 2 {
		t.Fatal(r.Err())
	}
	if r.Fixed(k[:]); k != (key32{1, 2, 3, 4}) || r.Key() != 5 || string(r.Bytes()) != "\x01\x02" || r.Key() != 24 || r.Text() != "a" || r.Key() != 25 || r.List(1) != 1 || r.Uint(1) != 1 || r.Err() != nil {
		t.Fatal(r.Err())
	}
	for name, try := range map[string]func(*Reader){
		"type": func(r *Reader) { r.Text() }, "limit": func(r *Reader) { r.Map(); r.Key(); r.Uint(6) }, "size": func(r *Reader) { r.Map(); r.Key(); r.Uint(7); r.Key(); r.Fixed(make([]byte, 3)) },
		"misfit": func(r *Reader) { r.Misfit("x") },
	} {
		r := NewReader(raw)
		try(&r)
		if !errors.Is(r.Err(), ErrForm) || r.Uint(9) != 0 || r.Bytes() != nil {
			t.Errorf("%s: %v", name, r.Err())
		}
		if r.Unknown(3); errors.Is(r.Err(), ErrUnknown) {
			t.Errorf("%s: the first misfit does not stay", name)
		}
	}
	if r := NewReader(raw); true {
		if r.Unknown(3); !errors.Is(r.Err(), ErrUnknown) {
			t.Error(r.Err())
		}
	}
}

func TestShapesThatDoNotFit(t *testing.T) {
	type floats struct {
		F float64 `cbor:"1,keyasint"`
	}
	type unordered struct {
		A uint8 `cbor:"2,keyasint"`
		B uint8 `cbor:"1,keyasint"`
	}
	type ignorable struct {
		A uint8 `cbor:"128,keyasint"`
	}
	for _, v := range []any{new(floats), new(unordered), new(ignorable), Noun{}, nil} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T has a shape", v)
				}
			}()
			_ = Decode([]byte{0xa0}, v)
		}()
	}
}

func FuzzWalk(f *testing.F) {
	raw, err := Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, over := alloc.Over(alloc.Most(len(raw)), func() { _, _ = Walk(raw) }); over {
			t.Errorf("%d bytes allocated for a walk over %d", got, len(raw))
		}
		if _, err := Walk(raw); err != nil {
			return
		}
		if got, over := alloc.Over(alloc.Most(len(raw)), func() { _ = Decode(raw, new(Noun)) }); over {
			t.Errorf("%d bytes allocated for %d", got, len(raw))
		}
		var v Noun
		if err := Decode(raw, &v); err != nil {
			return
		}
		again, err := Encode(v)
		if err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%x is read and written as %x (%v)", raw, again, err)
		}
	})
}

func TestValueFindsOneOfManyPairs(t *testing.T) {
	pairs := []byte{0x18, 0x80, 0x42, 1, 2, 0x18, 0x81, 0x1a, 0, 1, 0, 0, 0x19, 0xea, 0x60, 0x61, 'x'}
	for key, want := range map[uint64]string{128: "\x42\x01\x02", 129: "\x1a\x00\x01\x00\x00", 60000: "\x61x"} {
		if got, ok := Value(pairs, key); !ok || string(got) != want {
			t.Errorf("key %d: %x, %v", key, got, ok)
		}
	}
	if got, ok := Value(pairs, 130); ok {
		t.Errorf("a key that is not there: %x", got)
	}
	for n := range pairs {
		if got, ok := Value(pairs[:n], 60000); ok {
			t.Errorf("%x is found in the first %d bytes", got, n)
		}
	}
}
