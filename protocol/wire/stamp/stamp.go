// Package stamp is the work that is paid for being passed on: a nonce is sought, by
// trying one after the other, with which a hash begins with so many zero bits. To find
// it takes about 2^effort hashes, to check it one. What the nonce is ground over is
// the base, made by package wire: it binds the work to one announcement or letter.
package stamp

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
)

// A Step hears, every few thousand hashes, how many went into a stamp. Where it
// answers false the work ends with ErrStopped.
type Step func(tries uint64) (on bool)

// ErrStopped tells that a Step stopped the work.
var ErrStopped = errors.New("wire: the work on a stamp was stopped")

// Work is the number of leading zero bits of SHA-256(base with the nonce, 8 bytes
// big-endian, in its last eight bytes).
func Work(base []byte, nonce uint64) int {
	binary.BigEndian.PutUint64(base[len(base)-8:], nonce)
	sum := sha256.Sum256(base)
	n := 0
	for _, b := range sum {
		n += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return n
}

// stepTries is how many hashes go between two steps: about a millisecond.
const stepTries = 1 << 12

// Grind finds the first nonce that does the work. The bound is never met: it takes
// 2^24 times longer than the dearest stamp.
func Grind(base []byte, effort uint8, step Step) (uint64, error) {
	for nonce := range uint64(1) << 63 {
		if nonce%stepTries == 0 && step != nil && !step(nonce) {
			break
		}
		if Work(base, nonce) >= int(effort) {
			return nonce, nil
		}
	}
	return 0, ErrStopped
}
