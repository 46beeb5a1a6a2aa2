package canon

import "fmt"

// A Reader reads a walked map by hand, where Decode would take too long. The first
// misfit stays in Err, with the kinds of Decode's errors; what is read after it is
// zero.
type Reader struct {
	w   walker
	err error
}

// NewReader reads raw, which Walk found canonical.
func NewReader(raw []byte) Reader { return Reader{w: walker{raw: raw}} }

// Err is the first misfit.
func (r *Reader) Err() error { return r.err }

// expect reads the head of an item of one major type with an argument up to limit.
func (r *Reader) expect(major byte, limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	got, n, _ := r.w.head()
	if got != major || n > limit {
		r.err = r.w.bad("another type than its key has, or too large")
		return 0
	}
	return n
}

// Map reads the head of a map: its number of pairs.
func (r *Reader) Map() int { return int(r.expect(majorMap, maxElements)) }

// Key reads a key of a map.
func (r *Reader) Key() uint64 { return r.expect(majorUint, 1<<64-1) }

// List reads the head of an array of at most limit elements.
func (r *Reader) List(limit int) int { return int(r.expect(majorArray, uint64(limit))) }

// Uint reads an integer up to limit.
func (r *Reader) Uint(limit uint64) uint64 { return r.expect(majorUint, limit) }

// Text reads a text.
func (r *Reader) Text() string { return string(r.take(majorText)) }

// Bytes reads a byte string, which stays part of the raw bytes.
func (r *Reader) Bytes() []byte { return r.take(majorBytes) }

func (r *Reader) take(major byte) []byte {
	n := r.expect(major, 1<<32)
	if r.err != nil {
		return nil
	}
	return r.w.take(n)
}

// Fixed reads a byte string of exactly len(dst) bytes into dst.
func (r *Reader) Fixed(dst []byte) {
	b := r.take(majorBytes)
	if r.err == nil && len(b) != len(dst) {
		r.Misfit(fmt.Sprintf("%d bytes where %d belong", len(b), len(dst)))
	}
	copy(dst, b)
}

// Misfit says that what was read last does not fit.
func (r *Reader) Misfit(what string) {
	if r.err == nil {
		r.err = r.w.bad(what)
	}
}

// Unknown says that the reader's noun has no such key.
func (r *Reader) Unknown(key uint64) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: byte %d: key %d", ErrUnknown, r.w.at, key)
	}
}
