package protocol

import (
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Shared is a secret that its owner hands to one counterparty: a body key, an
// offer secret, the seed of a depositor key. Unlike key.Secret it can be written
// to the wire, and only package wire does so, inside sealed letters. It still
// prints, logs and encodes to text as "(secret)".
type Shared struct {
	_ [0]func() // == does not compile
	s key.Secret
}

// Share marks s as to be handed over.
func Share(s key.Secret) Shared { return Shared{s: s} }

// Secret is the secret itself.
func (s Shared) Secret() key.Secret { return s.s }

// IsZero reports whether there is none.
func (s Shared) IsZero() bool { return s.s.IsZero() }

// MarshalBinary gives the 32 bytes, for the inside of a sealed letter or record.
func (s Shared) MarshalBinary() ([]byte, error) { return s.s.Reveal(), nil }

// UnmarshalBinary takes exactly 32 bytes.
func (s *Shared) UnmarshalBinary(b []byte) error {
	v, err := key.SecretFrom(b)
	if err != nil {
		return fmt.Errorf("shared secret: %w", fault.Malformed)
	}
	s.s = v
	return nil
}

// String hides the secret.
func (Shared) String() string { return "(secret)" }

// GoString hides the secret.
func (Shared) GoString() string { return "protocol.Shared{}" }

// MarshalJSON hides the secret.
func (Shared) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }
