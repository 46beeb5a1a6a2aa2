package seal

import (
	"crypto/hpke"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
)

// Suite 1 is HPKE (RFC 9180) in base mode with MLKEM768-X25519 (0x647a,
// draft-ietf-hpke-pq), HKDF-SHA256 (0x0001) and ChaCha20-Poly1305 (0x0003). Its
// number stands in every letter, so that another can follow.
const Suite = 1

// EncSize is the size of the encapsulated key that travels with a letter, and
// Overhead what sealing adds to the padded text, in bytes.
const (
	EncSize  = 1120
	Overhead = 16
)

// A Class says which lock a letter is under. It is bound into the lock, so that a
// letter of one class never opens as another.
type Class uint8

// The classes of letters.
const (
	First  Class = 1 // a vendor's first word, to a context
	Offer  Class = 2 // an offer, to a grant's offer key
	Duty   Class = 3 // to a grant's duty key
	Vendor Class = 4 // to a vendor's request or inbox key
	Post   Class = 5 // no letter: what is posted to a keeper by way of another
)

var classNames = [...]string{First: "first", Offer: "offer", Duty: "duty", Vendor: "vendor", Post: "post"}

// Valid tells whether c is one of the five classes.
func (c Class) Valid() bool { return c >= First && c <= Post }

// String is the name that is bound into the lock.
func (c Class) String() string {
	if !c.Valid() {
		return fmt.Sprintf("class %d", uint8(c))
	}
	return classNames[c]
}

// info is LP("hark/1/seal")‖LP(class)‖LP(net)‖LP(SHA-256(recipient key)).
func info(c Class, net, recipient [32]byte) []byte {
	out := make([]byte, 0, 128)
	out = appendLP(out, LabelSeal)
	out = appendLP(out, c.String())
	out = appendLP(out, net[:])
	return appendLP(out, recipient[:])
}

// Sealer seals one letter to one key. Use it from one goroutine.
type Sealer struct {
	enc   []byte
	hpke  *hpke.Sender
	spent bool
}

// NewSealer makes the lock of one letter of class c to the holder of key to, on the
// network net (its id). It fails for an unknown class and an unusable key.
func NewSealer[P key.SealPurpose](to key.Encapsulation[P], c Class, net [32]byte) (*Sealer, error) {
	if !c.Valid() {
		return nil, fmt.Errorf("%w: letter %s", ErrForm, c)
	}
	pub, err := to.HPKE()
	if err != nil {
		return nil, fmt.Errorf("seal: recipient: %w", err)
	}
	enc, sender, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(c, net, to.Digest()))
	if err != nil {
		return nil, fmt.Errorf("seal: recipient: %w", err)
	}
	return &Sealer{enc: enc, hpke: sender}, nil
}

// Enc is the encapsulated key, 1120 bytes, that the letter carries. It is known
// before Seal, because it belongs to the letter's authenticated header.
func (s *Sealer) Enc() []byte { return s.enc }

// Seal encrypts padded text, as Pad makes it, under the authenticated header aad. A
// Sealer seals once, because a letter holds one ciphertext. Text that is no bucket
// is refused: its length would be told to everyone.
func (s *Sealer) Seal(aad, padded []byte) ([]byte, error) {
	if !isBucket(len(padded)) {
		return nil, fmt.Errorf("%w: %d bytes are no bucket", ErrForm, len(padded))
	}
	if s.spent {
		return nil, fmt.Errorf("%w: second text in one letter", ErrForm)
	}
	s.spent = true
	return s.hpke.Seal(aad, padded)
}

// Export derives a secret that only the two ends of this letter know (RFC 9180
// section 5.3): exporter_context is the label's bytes, L is 32.
func (s *Sealer) Export(l Label) key.Secret { return export(s.hpke.Export, l) }

func export(from func(string, int) ([]byte, error), l Label) key.Secret {
	raw, err := from(string(l), key.SecretSize)
	if err != nil {
		panic("seal: " + err.Error()) // only for lengths over 65,535
	}
	return secret(raw)
}

// Open opens a letter of class c on network net with key k: enc and ct as they came,
// aad as the reader rebuilt it. exporter gives what the sender's Export gives. Every
// failure is ErrOpen.
func Open[P key.SealPurpose](k key.Decapsulation[P], c Class, net [32]byte, enc, aad, ct []byte) (padded []byte, exporter func(Label) key.Secret, err error) {
	priv, err := k.HPKE()
	if err != nil || !c.Valid() || !isBucket(len(ct)-Overhead) || len(enc) != EncSize {
		return nil, nil, ErrOpen
	}
	to, err := hpke.NewRecipient(enc, priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(c, net, k.Public().Digest()))
	if err != nil {
		return nil, nil, ErrOpen
	}
	padded, err = to.Open(aad, ct)
	if err != nil {
		return nil, nil, ErrOpen
	}
	return padded, func(l Label) key.Secret { return export(to.Export, l) }, nil
}
