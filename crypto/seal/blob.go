package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/harkmarket/hark/crypto/key"
	"golang.org/x/crypto/chacha20poly1305"
)

// All symmetric locks are XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): a random
// nonce of 24 bytes never repeats, whatever the number of records. Sealed bytes are
// nonce‖ciphertext‖tag.
const (
	nonceSize = chacha20poly1305.NonceSizeX

	// BlobOverhead is what SealRecord and SealUnder add, BodyOverhead what SealBody adds, in bytes.
	BlobOverhead = nonceSize + chacha20poly1305.Overhead
	BodyOverhead = chacha20poly1305.Overhead
)

func aead(k key.Secret) cipher.AEAD {
	a, err := chacha20poly1305.NewX(reveal(k))
	if err != nil {
		panic("seal: " + err.Error()) // only for another key size
	}
	return a
}

func lock(k key.Secret, aad, plain []byte) []byte {
	out := make([]byte, nonceSize, len(plain)+BlobOverhead)
	_, _ = rand.Read(out) // never fails
	return aead(k).Seal(out, out, plain, aad)
}

func unlock(k key.Secret, aad, sealed []byte) ([]byte, error) {
	if k.IsZero() || len(sealed) < BlobOverhead {
		return nil, ErrOpen
	}
	plain, err := aead(k).Open(nil, sealed[:nonceSize], sealed[nonceSize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// recordAAD is LP("hark/1/record")‖LP(name)‖LP(uint64be version)‖LP(schema).
func recordAAD(name string, version uint64, schema string) []byte {
	out := make([]byte, 0, 64+len(name)+len(schema))
	out = appendLP(out, LabelRecord)
	out = appendLP(out, name)
	out = appendLP(out, binary.BigEndian.AppendUint64(nil, version))
	return appendLP(out, schema)
}

// SealRecord locks a record for the disk. Name, version and schema are bound in: a
// record that is put under another name, rolled back to an older version, or read
// as another type does not open. It panics on a zero key.
func SealRecord(k key.Secret, name string, version uint64, schema string, plain []byte) []byte {
	return lock(k, recordAAD(name, version, schema), plain)
}

// OpenRecord opens what SealRecord made with the same arguments; otherwise ErrOpen.
func OpenRecord(k key.Secret, name string, version uint64, schema string, sealed []byte) ([]byte, error) {
	return unlock(k, recordAAD(name, version, schema), sealed)
}

func underAAD(l Label, aad []byte) []byte { return appendLP(LP([]byte(l)), aad) }

// SealUnder locks plain under k for the use that the label names, with header
// LP(label)‖LP(aad). The inner lock of an offer is made with it. It panics on a zero key.
func SealUnder(k key.Secret, l Label, aad, plain []byte) []byte {
	return lock(k, underAAD(l, aad), plain)
}

// OpenUnder opens what SealUnder made with the same label and aad; otherwise ErrOpen.
func OpenUnder(k key.Secret, l Label, aad, sealed []byte) ([]byte, error) {
	return unlock(k, underAAD(l, aad), sealed)
}

// SealBody locks the padded body of an announcement. The nonce is all zeros and not
// sent: a body key encrypts exactly one body, the one of its seq, and must never be
// used again. aad enters as it is. It panics on a zero key.
func SealBody(k key.Secret, aad, padded []byte) []byte {
	return aead(k).Seal(nil, make([]byte, nonceSize), padded, aad)
}

// OpenBody opens what SealBody made. The reader must compare BodyCommitment too:
// ChaCha20-Poly1305 alone lets a sender craft one ciphertext that opens
// differently under two keys, and so say different things to different vendors.
func OpenBody(k key.Secret, aad, sealed []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrOpen
	}
	padded, err := aead(k).Open(nil, make([]byte, nonceSize), sealed, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return padded, nil
}

// BodyCommitment is SHA-256(LP("hark/1/body")‖key‖padded body): it ties an
// announcement to one key and one body.
func BodyCommitment(k key.Secret, padded []byte) [32]byte {
	return Digest(LabelBody, reveal(k), padded)
}
