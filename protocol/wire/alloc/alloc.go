// Package alloc measures what a decoder allocates, for the tests of all decoders: none
// may make much of a few bytes.
package alloc

import (
	"math"
	"runtime"
)

// Most is what decoding n bytes may allocate unless a decoder has a bound of its own: a
// small multiple of what came, and what the running program adds by itself.
func Most(n int) uint64 { return 64<<10 + 64*uint64(n) }

// Over reports whether f allocates more than most bytes, and how many. The counter is
// that of the whole process, so the least of a few goes counts: what else runs only ever
// adds.
func Over(most uint64, f func()) (got uint64, over bool) {
	got = math.MaxUint64
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if got = min(got, after.TotalAlloc-before.TotalAlloc); got <= most {
			return got, false
		}
	}
	return got, true
}
