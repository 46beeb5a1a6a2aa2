package key

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// EncapsulationSize is the size of an X-Wing public key in bytes: an ML-KEM-768
// encapsulation key (1184) and an X25519 point (32).
const EncapsulationSize = 1216

// Encapsulation is a public key of MLKEM768-X25519 (X-Wing, HPKE KEM 0x647a,
// draft-ietf-hpke-pq) for one purpose: letters are sealed to it. It is a
// comparable value. The zero value is no key.
type Encapsulation[P SealPurpose] struct{ raw string }

// IsZero tells whether there is no key.
func (k Encapsulation[P]) IsZero() bool { return k.raw == "" }

// MarshalBinary returns the 1216 bytes, ErrAbsent for the zero key.
func (k Encapsulation[P]) MarshalBinary() ([]byte, error) {
	if k.raw == "" {
		return nil, ErrAbsent
	}
	return []byte(k.raw), nil
}

// UnmarshalBinary takes exactly 1216 bytes. Whether ML-KEM accepts them is found
// out by HPKE, when somebody seals to the key: announcements that are only passed
// on must not pay for that.
func (k *Encapsulation[P]) UnmarshalBinary(raw []byte) error {
	if len(raw) != EncapsulationSize {
		return fmt.Errorf("%w: an encapsulation key has %d bytes, not %d", ErrForm, EncapsulationSize, len(raw))
	}
	k.raw = string(raw)
	return nil
}

// MarshalText writes the purpose's prefix and the key in lower-case base32.
func (k Encapsulation[P]) MarshalText() ([]byte, error) {
	if k.raw == "" {
		return nil, ErrAbsent
	}
	var p P
	return []byte(encodeText(p.sealPrefix(), []byte(k.raw))), nil
}

// UnmarshalText reads exactly what MarshalText writes.
func (k *Encapsulation[P]) UnmarshalText(text []byte) error {
	var p P
	raw, err := decodeText(p.sealPrefix(), string(text), EncapsulationSize)
	if err != nil {
		return err
	}
	k.raw = string(raw)
	return nil
}

// String is a short name for people and logs: the purpose and the first 8 bytes
// of the digest in hex. It can't be parsed back; see MarshalText.
func (k Encapsulation[P]) String() string {
	var p P
	name := strings.TrimSuffix(p.sealPrefix(), "1")
	if k.raw == "" {
		return name + ":none"
	}
	d := k.Digest()
	return name + ":" + hex.EncodeToString(d[:8])
}

// Digest is SHA-256 of the 1216 bytes.
func (k Encapsulation[P]) Digest() [32]byte { return sha256.Sum256([]byte(k.raw)) }

// HPKE parses the key. It fails for a zero key and for bytes that ML-KEM refuses
// (FIPS 203 section 7.2: a coefficient out of range).
func (k Encapsulation[P]) HPKE() (hpke.PublicKey, error) {
	if k.raw == "" {
		return nil, ErrAbsent
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey([]byte(k.raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return pub, nil
}

// Decapsulation is a private key of MLKEM768-X25519 for one purpose. It is kept
// as its 32-byte seed; the expanded key is made on first use and shared by all
// copies. The zero value is no key.
type Decapsulation[P SealPurpose] struct {
	hidden
	opener func() *opener // behind a closure as in Secret
}

type opener struct {
	seed Secret
	once sync.Once
	priv hpke.PrivateKey
	pub  string
	err  error
}

// GenerateSeal makes a random key.
func GenerateSeal[P SealPurpose]() Decapsulation[P] { return SealFromSeed[P](NewSecret()) }

// SealFromSeed makes the key of a seed. No seed makes no key.
func SealFromSeed[P SealPurpose](seed Secret) Decapsulation[P] {
	if seed.IsZero() {
		return Decapsulation[P]{}
	}
	o := &opener{seed: seed}
	return Decapsulation[P]{opener: func() *opener { return o }}
}

// IsZero tells whether there is no key.
func (k Decapsulation[P]) IsZero() bool { return k.opener == nil }

// Public returns the encapsulation key; the zero key's is zero.
func (k Decapsulation[P]) Public() Encapsulation[P] {
	if _, err := k.HPKE(); err != nil {
		return Encapsulation[P]{}
	}
	return Encapsulation[P]{raw: k.opener().pub}
}

// Seed returns the seed, from which SealFromSeed makes the same key.
func (k Decapsulation[P]) Seed() Secret {
	if k.opener == nil {
		return Secret{}
	}
	return k.opener().seed
}

// HPKE returns the expanded key. It fails only for a zero key.
func (k Decapsulation[P]) HPKE() (hpke.PrivateKey, error) {
	if k.opener == nil {
		return nil, ErrAbsent
	}
	o := k.opener()
	o.once.Do(o.expand)
	return o.priv, o.err
}

func (o *opener) expand() {
	o.priv, o.err = hpke.MLKEM768X25519().NewPrivateKey(o.seed.bytes()[:])
	if o.err == nil {
		o.pub = string(o.priv.PublicKey().Bytes())
	}
}
