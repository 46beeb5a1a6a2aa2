package wire

import (
	"crypto/sha256"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// maxDisclosure is the longest disclosure: what fits one letter.
const maxDisclosure = seal.MaxMessage

// authenticated is how a disclosure travels: {1: payload, 2: MAC of the payload}.
type authenticated struct {
	Payload []byte `cbor:"1,keyasint,omitempty"`
	MAC     []byte `cbor:"2,keyasint,omitempty"` // HMAC-SHA256 over LP("hark/1/mac") ‖ payload
}

// IsDisclosure tells a disclosure from an envelope by its first byte: the head of a
// map of two against protobuf's field 1.
func IsDisclosure(plain []byte) bool { return len(plain) > 0 && plain[0] == 0xa2 }

// SealDisclosure writes a disclosure authenticated under mac, the secret that both
// ends exported from the Grant letter under seal.LabelDisclose. It sets V, Kind and Alg. x are ignorable pairs.
func SealDisclosure(d *protocol.Disclosure, mac key.Secret, x ...byte) ([]byte, error) {
	d.V, d.Kind, d.Alg = protocol.Version, protocol.KindDisclosure, protocol.AlgMAC
	if mac.IsZero() {
		return nil, fmt.Errorf("wire: disclosure without a key: %w", fault.Malformed)
	}
	if err := rules.Message(d); err != nil {
		return nil, err
	}
	payload, err := encodePayload(d, x)
	if err != nil {
		return nil, err
	}
	sum := seal.MAC(mac, payload)
	raw, err := Marshal(authenticated{payload, sum[:]})
	if err == nil && len(raw) > maxDisclosure {
		err = fmt.Errorf("wire: disclosure of %d bytes, at most %d: %w", len(raw), maxDisclosure, fault.Malformed)
	}
	return raw, err
}

// OpenDisclosure checks the MAC first, fault.Denied where it does not hold, and then
// reads the payload. The hash is SHA-256 of raw, as acknowledgements name it.
func OpenDisclosure(raw []byte, mac key.Secret) (*protocol.Disclosure, protocol.Hash, error) {
	d, _, err := openDisclosure(raw, mac)
	if err != nil {
		return nil, protocol.Hash{}, err
	}
	return d, ID(raw), nil
}

func openDisclosure(raw []byte, mac key.Secret) (*protocol.Disclosure, canon.Document, error) {
	var outer authenticated
	if err := Unmarshal(raw, &outer, maxDisclosure); err != nil {
		return nil, canon.Document{}, err
	}
	if len(outer.Payload) == 0 || len(outer.MAC) != sha256.Size {
		return nil, canon.Document{}, fmt.Errorf("wire: disclosure without payload or MAC: %w", fault.Malformed)
	}
	if !seal.CheckMAC(mac, outer.Payload, outer.MAC) {
		return nil, canon.Document{}, fmt.Errorf("wire: disclosure: %w", fault.Denied)
	}
	d := new(protocol.Disclosure)
	doc, err := decodePayload(outer.Payload, protocol.KindDisclosure, protocol.AlgMAC, d)
	if err == nil {
		err = rules.Message(d)
	}
	return d, doc, err
}
