package key

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
)

// SecretSize is the size of a Secret in bytes.
const SecretSize = 32

const redacted = "(secret)"

// hidden, embedded first, makes a type unprintable, unencodable and uncomparable.
type hidden struct{ _ [0]func() }

// Format prints "(secret)" for every verb.
func (hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns "(secret)".
func (hidden) String() string { return redacted }

// GoString returns "(secret)".
func (hidden) GoString() string { return redacted }

// MarshalText returns ErrSecret.
func (hidden) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalJSON returns ErrSecret.
func (hidden) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary returns ErrSecret.
func (hidden) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// MarshalCBOR returns ErrSecret.
func (hidden) MarshalCBOR() ([]byte, error) { return nil, ErrSecret }

// Secret is 32 secret bytes: a symmetric key, or the seed of a key pair. The zero
// value is no secret. It is immutable; copies share the bytes. Compare with Equal:
// reflect.DeepEqual, which can't look inside either, calls two secrets different.
type Secret struct {
	hidden
	// A closure, because fmt does not call methods on the unexported fields of other
	// structs but prints their contents, through pointers too when the verb is wrong.
	// No reflection looks into a closure. The zero Secret has none.
	bytes func() *[SecretSize]byte
}

// keep wraps bytes that nobody else writes to.
func keep(p *[SecretSize]byte) Secret {
	return Secret{bytes: func() *[SecretSize]byte { return p }}
}

// NewSecret returns a random secret from the system's generator.
func NewSecret() Secret {
	p := new([SecretSize]byte)
	_, _ = rand.Read(p[:]) // never fails: the program stops where there is no randomness
	return keep(p)
}

// SecretFrom copies exactly 32 bytes into a secret. All zeros are refused: that is
// a key that somebody forgot to make.
func SecretFrom(raw []byte) (Secret, error) {
	if len(raw) != SecretSize {
		return Secret{}, fmt.Errorf("%w: a secret has %d bytes, not %d", ErrForm, SecretSize, len(raw))
	}
	p := [SecretSize]byte(raw)
	if subtle.ConstantTimeCompare(p[:], make([]byte, SecretSize)) == 1 {
		return Secret{}, fmt.Errorf("%w: a secret of zeros", ErrForm)
	}
	return keep(&p), nil
}

// Reveal returns a copy of the 32 bytes, nil for the zero Secret. It is the one
// deliberate way out, for sealing at rest or to a peer, and for deriving keys.
func (s Secret) Reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	out := *s.bytes()
	return out[:]
}

// Equal compares in constant time. No secret equals nothing, not even itself: a
// missing secret must never open a door.
func (s Secret) Equal(t Secret) bool {
	return s.bytes != nil && t.bytes != nil && subtle.ConstantTimeCompare(s.bytes()[:], t.bytes()[:]) == 1
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.bytes == nil }
