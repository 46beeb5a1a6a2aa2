// Package seal locks what leaves a node and what lies on its disk. It knows
// nothing of markets: who may read what is decided above it.
//
// What it holds, one file each:
//
//	labels.go    every label: two uses of one key or hash never mean the same bytes
//	digest.go    LP, Digest, Derive, MAC: how labels enter hashes and keys
//	pad.go       buckets of 1 to 64 KiB, so that a size says little
//	letter.go    letters: sealed to somebody's public key (HPKE, hybrid post-quantum)
//	blob.go      symmetric locks: records at rest, announcement bodies, the inner lock of an offer
//	chunk.go     large values in chunks, of which none can be moved, dropped or added
//	envelope.go  signed envelopes: who said it, unchanged (libp2p RFC 0002), under a strict reader
//
// A letter is made in three steps and opened in the reverse order:
//
//  1. the signed envelope, SignEnvelope, says who speaks;
//  2. Pad hides how much is said;
//  3. NewSealer and Seal hide it from everyone but the holder of one key.
//
// HPKE in base mode does not say who sealed: that is what the envelope inside is
// for. What must not be provable to others is authenticated by MAC instead, under
// a key that both sides export from an earlier letter.
package seal

import "errors"

var (
	// ErrForm is returned for bytes that are not in the one right form.
	ErrForm = errors.New("seal: malformed")
	// ErrOpen is the one answer to everything that does not open: wrong key, wrong
	// context, altered bytes. Telling them apart would help only an attacker.
	ErrOpen = errors.New("seal: does not open")
)
