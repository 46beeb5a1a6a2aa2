// Package fingerprint tells sets of announcements apart without listing them, so that
// two nodes find what one of them lacks (SPEC.md, the operations on stream sync):
//
//  1. a range of ids is those that begin with the same bits ([InRange]);
//  2. each id adds a number of its own to the range's [Sum], under a salt;
//  3. sum and count give the range's fingerprint ([Sum.Print]).
package fingerprint

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// A Sum is what the ids of a range of announcements add up to, modulo 2^256: what
// comes or goes changes it without a look at the others. It depends on the salt of
// the node that publishes fingerprints, so that nobody can make announcements whose
// sums collide at two nodes.
type Sum [4]uint64 // least significant first

// Add adds o.
func (s *Sum) Add(o Sum) {
	var c uint64
	for i := range s {
		s[i], c = bits.Add64(s[i], o[i], c)
	}
}

// Sub takes o away.
func (s *Sum) Sub(o Sum) {
	var b uint64
	for i := range s {
		s[i], b = bits.Sub64(s[i], o[i], b)
	}
}

// syncPrefix is LP of the label.
var syncPrefix = seal.LP([]byte(seal.LabelSync))

// SumOf is what one id adds: SHA-256(LP("hark/1/sync") ‖ salt ‖ id), as an integer,
// most significant byte first.
func SumOf(salt protocol.ID, id protocol.Hash) (s Sum) {
	var buf [64]byte
	n := copy(buf[:], syncPrefix)
	n += copy(buf[n:], salt[:])
	n += copy(buf[n:], id[:])
	h := sha256.Sum256(buf[:n])
	for i := range s {
		s[3-i] = binary.BigEndian.Uint64(h[8*i:])
	}
	return s
}

// Print is the fingerprint of a range of count ids that add up to s: the first 16
// bytes of SHA-256(LP("hark/1/sync-print") ‖ s ‖ uint32be(count)).
func (s Sum) Print(count uint32) [protocol.PrintSize]byte {
	var buf [36]byte
	for i := range s {
		binary.BigEndian.PutUint64(buf[8*i:], s[3-i])
	}
	binary.BigEndian.PutUint32(buf[32:], count)
	h := seal.Digest(seal.LabelSyncPrint, buf[:])
	return [protocol.PrintSize]byte(h[:])
}

// Leading gives the first 32 bits of an id, by which ranges are told apart.
func Leading(id protocol.Hash) uint32 { return binary.BigEndian.Uint32(id[:]) }

// InRange tells whether an id begins with the given bits.
func InRange(id protocol.Hash, prefix uint32, bits uint8) bool {
	return uint64(Leading(id))>>(protocol.MaxRangeBits-bits) == uint64(prefix)
}
