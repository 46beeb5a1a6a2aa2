package seal

import (
	"encoding/binary"

	"github.com/harkmarket/hark/crypto/key"
	"golang.org/x/crypto/chacha20poly1305"
)

// ChunkSize is the plaintext of every chunk of a large value but the last, which has
// 1 to ChunkSize bytes.
const ChunkSize = 64 << 10

// chunkAAD is uint64be index ‖ 1 for the last chunk, 0 for any other: the place of a
// chunk, as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015). Nonces are random,
// so a chunk can be written again when its transaction runs again.
func chunkAAD(index uint64, last bool) []byte {
	aad := binary.BigEndian.AppendUint64(make([]byte, 0, 9), index)
	if last {
		return append(aad, 1)
	}
	return append(aad, 0)
}

// SealChunk locks chunk number index, from 0, of a large value under k, which must
// be the key of that one value. It panics on a zero key.
func SealChunk(k key.Secret, index uint64, last bool, plain []byte) []byte {
	return SealUnder(k, LabelBlob, chunkAAD(index, last), plain)
}

// OpenChunk opens what SealChunk made. A chunk that stood elsewhere, one that does
// not have the length that its place asks for, and a last one that is not at the end
// give ErrOpen, so a reader who stops at the first last chunk has read the whole.
func OpenChunk(k key.Secret, index uint64, last bool, sealed []byte) ([]byte, error) {
	n := len(sealed) - BlobOverhead
	if n < 1 || n > ChunkSize || !last && n != ChunkSize {
		return nil, ErrOpen
	}
	return OpenUnder(k, LabelBlob, chunkAAD(index, last), sealed)
}

// CopyOverhead is what SealCopy adds to a chunk, in bytes.
const CopyOverhead = chacha20poly1305.Overhead

// copyNonce is 15 zero bytes ‖ uint64be index ‖ 1 for the last chunk, 0 for any other:
// STREAM's nonce, as in age.
func copyNonce(index uint64, last bool) []byte {
	return append(make([]byte, nonceSize-9), chunkAAD(index, last)...)
}

// SealCopy locks chunk number index of a copy that is handed to one reader. The nonce is
// the place of the chunk and is not sent, so the same copy comes out each time that it is
// made: k must be a random key that encrypts this one value and no other, ever. It
// panics on a zero key.
func SealCopy(k key.Secret, index uint64, last bool, plain []byte) []byte {
	return aead(k).Seal(nil, copyNonce(index, last), plain, LP([]byte(LabelCopy)))
}

// OpenCopy opens what SealCopy made; otherwise, and for a chunk that does not have the
// length that its place asks for, ErrOpen.
func OpenCopy(k key.Secret, index uint64, last bool, sealed []byte) ([]byte, error) {
	n := len(sealed) - CopyOverhead
	if k.IsZero() || n < 1 || n > ChunkSize || !last && n != ChunkSize {
		return nil, ErrOpen
	}
	plain, err := aead(k).Open(nil, copyNonce(index, last), sealed, LP([]byte(LabelCopy)))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
