package key

import "crypto/ed25519"

// Private is an Ed25519 signing key for one purpose. The zero value is no key.
// Copies share the expanded key, so signing does not derive it again.
type Private[P Purpose] struct {
	hidden
	// Behind a closure as in Secret. The bytes never move, because crypto/ed25519
	// remembers the precomputed key by their address.
	expanded func() *[ed25519.PrivateKeySize]byte
}

// Generate makes a random key.
func Generate[P Purpose]() Private[P] { return FromSeed[P](NewSecret()) }

// FromSeed makes the key of an RFC 8032 seed. No seed makes no key.
func FromSeed[P Purpose](seed Secret) Private[P] {
	if seed.IsZero() {
		return Private[P]{}
	}
	p := (*[ed25519.PrivateKeySize]byte)(ed25519.NewKeyFromSeed(seed.bytes()[:]))
	return Private[P]{expanded: func() *[ed25519.PrivateKeySize]byte { return p }}
}

// IsZero tells whether there is no key.
func (k Private[P]) IsZero() bool { return k.expanded == nil }

// Public returns the verification key; the zero key's is zero.
func (k Private[P]) Public() Public[P] {
	if k.expanded == nil {
		return Public[P]{}
	}
	return Public[P](k.expanded()[SecretSize:])
}

// Sign returns the 64-byte signature of msg. It panics on a zero key: only a
// mistake in the program leads there, and a missing signature must not pass for one.
func (k Private[P]) Sign(msg []byte) []byte {
	if k.expanded == nil {
		panic("key: Sign without a key")
	}
	return ed25519.Sign(k.expanded()[:], msg)
}

// Seed returns the RFC 8032 seed, from which FromSeed makes the same key.
func (k Private[P]) Seed() Secret {
	if k.expanded == nil {
		return Secret{}
	}
	seed := [SecretSize]byte(k.expanded()[:SecretSize])
	return keep(&seed)
}
