package key

import (
	"crypto/ed25519"
	"fmt"
)

// Sizes of the Ed25519 forms, in bytes.
const (
	PublicSize    = ed25519.PublicKeySize
	SignatureSize = ed25519.SignatureSize
)

// Public is an Ed25519 verification key (RFC 8032) for one purpose: 32 bytes, the
// compressed point. The zero value is no key and verifies nothing.
type Public[P Purpose] [PublicSize]byte

// Parse reads the text form of a key for purpose P.
func Parse[P Purpose](text string) (Public[P], error) {
	var k Public[P]
	err := k.UnmarshalText([]byte(text))
	return k, err
}

// IsZero tells whether there is no key.
func (k Public[P]) IsZero() bool { return k == Public[P]{} }

// MarshalBinary returns the 32 bytes.
func (k Public[P]) MarshalBinary() ([]byte, error) { return k[:], nil }

// UnmarshalBinary takes exactly 32 bytes. Whether they are a sound point is asked
// by Check, and again by Verify.
func (k *Public[P]) UnmarshalBinary(raw []byte) error {
	if len(raw) != PublicSize {
		return fmt.Errorf("%w: a public key has %d bytes, not %d", ErrForm, PublicSize, len(raw))
	}
	copy(k[:], raw)
	return nil
}

// String is the text form, as MarshalText writes it.
func (k Public[P]) String() string {
	var p P
	return encodeText(p.prefix(), k[:])
}

// MarshalText writes the purpose's prefix and 52 letters of lower-case base32
// without padding, for example "hkcontext1" followed by the key. JSON uses it too.
func (k Public[P]) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads exactly what MarshalText writes: another purpose's prefix,
// capitals, padding, spaces or set spare bits are refused.
func (k *Public[P]) UnmarshalText(text []byte) error {
	var p P
	raw, err := decodeText(p.prefix(), string(text), PublicSize)
	if err != nil {
		return err
	}
	copy(k[:], raw)
	return nil
}

// Check refuses, with ErrWeak, a key that is a point of small order or a second
// spelling of a point. It does not tell whether the bytes are on the curve: a key
// off the curve verifies nothing, so it harms only whoever published it.
func (k Public[P]) Check() error {
	raw := [PublicSize]byte(k)
	if !sound(&raw) {
		return ErrWeak
	}
	return nil
}

// Verify tells whether sig (64 bytes, R‖S) is this key's signature of msg.
// Beyond RFC 8032 it refuses keys and R of small order, and non-canonical
// encodings of the key, R and S. So one message has one signature per nonce, no
// key verifies everything, and all nodes agree. The added checks are byte
// comparisons; the price is that of ed25519.Verify.
func (k Public[P]) Verify(msg, sig []byte) bool {
	raw := [PublicSize]byte(k)
	return verify(&raw, msg, sig)
}

// Verify is [Public.Verify] for a key whose purpose is not known yet, as in an
// envelope that is checked before it is understood.
func Verify(pub [PublicSize]byte, msg, sig []byte) bool { return verify(&pub, msg, sig) }

func verify(pub *[PublicSize]byte, msg, sig []byte) bool {
	if len(sig) != SignatureSize || !sound(pub) || !sound((*[32]byte)(sig)) {
		return false
	}
	// ed25519.Verify refuses S >= L (SetCanonicalBytes) before any point maths, and
	// uses the equation without cofactor, as all nodes must.
	return ed25519.Verify(pub[:], msg, sig)
}

// small holds the y coordinates, little-endian with the sign bit clear, of the
// eight points of small order: the identity, the point of order 2, two of order
// 4, and four of order 8 that share two values of y.
var small = [...][32]byte{
	{},  // order 4: y = 0
	{1}, // the identity: y = 1
	{ // order 2: y = -1
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{ // order 8
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{ // order 8: the negative of the one above
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}

// sound tells whether a compressed point has y < p = 2^255-19 and not one of the
// small-order y. Points with x = 0 and the sign bit set, the other non-canonical
// kind, have y = 1 or -1 and so fall under the second rule.
func sound(point *[32]byte) bool {
	y := *point
	y[31] &= 0x7f
	if y[31] == 0x7f && y[0] >= 0xed && y[1] == 0xff {
		high := true
		for _, b := range y[2:31] {
			high = high && b == 0xff
		}
		if high {
			return false
		}
	}
	for i := range small {
		if y == small[i] {
			return false
		}
	}
	return true
}
