package canon

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Bounds of the walk. A map inside an array inside a map … of a payload is at most
// five deep today.
const (
	maxDepth    = 8
	maxElements = 4096 // of one array or map
)

// The major types of CBOR (RFC 8949 section 3.1) that are in use.
const (
	majorUint   = 0
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorSimple = 7
)

const (
	simpleFalse = 20
	simpleTrue  = 21
)

// FirstIgnorable is the first key of a payload that a reader may leave unread.
const FirstIgnorable = 128

// A walker goes over raw CBOR once and accepts only the one deterministic form
// (RFC 8949 section 4.2.1) narrowed to what this protocol uses: unsigned integers
// in shortest form, byte strings, UTF-8 text, arrays, maps with ascending unsigned
// keys, true and false; definite lengths; and no zero value as a map value.
type walker struct {
	raw []byte
	at  int
}

func (w *walker) bad(what string) error {
	return fmt.Errorf("%w: byte %d: %s", ErrForm, w.at, what)
}

// head reads one initial byte and its argument. ok is false where the argument is
// not in shortest form, is indefinite, or runs over the end.
func (w *walker) head() (major byte, n uint64, ok bool) {
	if w.at >= len(w.raw) {
		return 0, 0, false
	}
	b := w.raw[w.at]
	major, n = b>>5, uint64(b&31)
	if n < 24 {
		w.at++
		return major, n, true
	}
	size := 1 << (n & 7) // 24, 25, 26, 27: 1, 2, 4, 8 bytes
	if n > 27 || len(w.raw)-w.at-1 < size || major == majorSimple {
		return 0, 0, false
	}
	rest := w.raw[w.at+1:]
	w.at += 1 + size
	var least uint64
	switch size {
	case 1:
		n, least = uint64(rest[0]), 24
	case 2:
		n, least = uint64(binary.BigEndian.Uint16(rest)), 1<<8
	case 4:
		n, least = uint64(binary.BigEndian.Uint32(rest)), 1<<16
	default:
		n, least = binary.BigEndian.Uint64(rest), 1<<32
	}
	return major, n, n >= least
}

// item walks one data item. zero tells whether it is a zero value.
func (w *walker) item(depth int) (zero bool, err error) {
	start := w.at
	major, n, ok := w.head()
	if !ok {
		w.at = start
		return false, w.bad("no shortest form of a known item")
	}
	switch major {
	case majorUint:
		return n == 0, nil
	case majorBytes, majorText:
		return w.str(major, n)
	case majorArray, majorMap:
		if depth >= maxDepth || n > maxElements || n > uint64(len(w.raw)-w.at) {
			return false, w.bad("too deep or too many elements")
		}
		return n == 0, w.elements(major, n, depth)
	case majorSimple:
		if n == simpleFalse || n == simpleTrue {
			return n == simpleFalse, nil
		}
	}
	return false, w.bad("negative integer, tag, float, null or undefined")
}

func (w *walker) str(major byte, n uint64) (zero bool, err error) {
	if n > uint64(len(w.raw)-w.at) {
		return false, w.bad("string runs over the end")
	}
	s := w.raw[w.at : w.at+int(n)]
	w.at += int(n)
	if major == majorText {
		if !utf8.Valid(s) {
			return false, w.bad("text is not UTF-8")
		}
		return n == 0, nil
	}
	return allZero(s), nil
}

func (w *walker) elements(major byte, n uint64, depth int) error {
	if major == majorMap {
		return w.pairs(n, depth, nil)
	}
	for range n {
		if _, err := w.item(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// pairs walks n pairs of a map; d, if there is one, notes where they stand.
func (w *walker) pairs(n uint64, depth int, d *Document) error {
	var last uint64
	for i := range n {
		start := w.at
		major, key, ok := w.head()
		if !ok || major != majorUint || (i > 0 && key <= last) {
			return w.bad("map key is no unsigned integer, or out of order, or double")
		}
		last = key
		value := w.at
		zero, err := w.item(depth + 1)
		if err != nil {
			return err
		}
		if zero {
			return w.bad("zero value written")
		}
		if d != nil {
			d.note(key, start, value)
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// A Document is a canonical map as Walk found it.
type Document struct {
	Raw     []byte
	Count   int    // pairs in all
	Extras  int    // ignorable pairs
	First   int    // offset of the first pair
	Tail    int    // offset of the first ignorable pair, or the end
	LastKey uint64 // the last critical key
	Last    int    // offset of its pair, which ends at Tail; without any pair: Tail
	head    [5]int // offsets of the values of keys 1 to 4; 0: absent
}

// Walk checks raw, which must be one map and nothing after it.
func Walk(raw []byte) (Document, error) {
	w := walker{raw: raw}
	d := Document{Raw: raw, Tail: len(raw), Last: len(raw)}
	major, n, ok := w.head()
	if !ok || major != majorMap || n > maxElements || n > uint64(len(raw)) {
		return d, fmt.Errorf("%w: not a map", ErrForm)
	}
	d.Count, d.First = int(n), w.at
	err := w.pairs(n, 0, &d)
	if err == nil && w.at != len(raw) {
		err = w.bad("bytes after the end")
	}
	return d, err
}

// note remembers where a pair of the outer map stands.
func (d *Document) note(key uint64, start, value int) {
	if key >= FirstIgnorable {
		d.Extras++
		d.Tail = min(d.Tail, start)
		return
	}
	d.LastKey, d.Last = key, start
	if key < uint64(len(d.head)) {
		d.head[key] = value
	}
}

// Uint gives the unsigned integer under one of the keys 1 to 4; 0 where there is none.
func (d *Document) Uint(key int) uint64 {
	if d.head[key] == 0 {
		return 0
	}
	w := walker{raw: d.Raw, at: d.head[key]}
	if major, n, _ := w.head(); major == majorUint {
		return n
	}
	return 0
}

// Extra gives the ignorable pairs as they came.
func (d *Document) Extra() []byte { return d.Raw[d.Tail:] }

// Critical gives the map without its ignorable pairs.
func (d *Document) Critical() []byte {
	if d.Extras == 0 {
		return d.Raw
	}
	return append(MapHead(d.Count-d.Extras), d.Raw[d.First:d.Tail]...)
}

// With gives the map with ignorable pairs put after its own.
func (d *Document) With(extra []byte) ([]byte, error) {
	pairs, w := 0, walker{raw: extra}
	for ; w.at < len(extra); pairs++ {
		if err := w.pairs(1, 0, nil); err != nil {
			return nil, err
		}
	}
	raw := append(append(MapHead(d.Count+pairs), d.Raw[d.First:]...), extra...)
	all, err := Walk(raw)
	if err == nil && all.Extras != d.Extras+pairs {
		err = fmt.Errorf("%w: ignorable keys start at %d", ErrForm, FirstIgnorable)
	}
	return raw, err
}

// Value finds what stands under a key among pairs such as Extra gives: one item as it is
// written.
func Value(pairs []byte, key uint64) (value []byte, ok bool) {
	w := &walker{raw: pairs}
	for w.at < len(pairs) {
		major, k, good := w.head()
		if !good || major != majorUint {
			return nil, false
		}
		start := w.at
		if _, err := w.item(1); err != nil {
			return nil, false
		}
		if k == key {
			return pairs[start:w.at], true
		}
	}
	return nil, false
}

// MapHead is the head of a map of n pairs, n < 65,536.
func MapHead(n int) []byte {
	switch {
	case n < 24:
		return []byte{majorMap<<5 | byte(n)}
	case n < 1<<8:
		return []byte{majorMap<<5 | 24, byte(n)}
	}
	return []byte{majorMap<<5 | 25, byte(n >> 8), byte(n)}
}
