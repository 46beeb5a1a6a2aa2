package wire

import (
	"fmt"
	"math"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// SealLetter seals plain, a signed envelope or a disclosure, to the holder of key to
// and addresses it to a mailbox. It pads. expires is written as a day, rounded up.
// export derives secrets that only the two ends know.
func SealLetter[P key.SealPurpose](to key.Encapsulation[P], c seal.Class, net protocol.Hash, box key.MailboxKey,
	expires protocol.Second, plain []byte) (raw []byte, export func(seal.Label) key.Secret, err error) {
	padded, err := seal.Pad(plain)
	if err != nil {
		return nil, nil, fmt.Errorf("wire: letter (%w): %w", err, fault.Malformed)
	}
	days := (min(expires, math.MaxUint32*protocol.Day) + protocol.Day - 1) / protocol.Day
	l := protocol.Letter{V: rules.LetterVersion, Suite: seal.Suite, Box: box, Slot: NewID(), Expires: uint32(min(days, math.MaxUint32))}
	sealer, err := seal.NewSealer(to, c, net)
	if err != nil {
		return nil, nil, fmt.Errorf("wire: letter (%w): %w", err, fault.Malformed)
	}
	l.Enc = sealer.Enc()
	aad, err := Marshal(l)
	if err != nil {
		return nil, nil, err
	}
	if l.Sealed, err = sealer.Seal(aad, padded); err != nil {
		return nil, nil, fmt.Errorf("wire: letter (%w): %w", err, fault.Malformed)
	}
	if err := rules.Noun(&l); err != nil {
		return nil, nil, err
	}
	raw, err = Marshal(l)
	return raw, sealer.Export, err
}

// ReadLetter reads what a keeper may see. It keeps a copy of raw.
func ReadLetter(raw []byte) (protocol.Letter, error) {
	var l protocol.Letter
	return l, Unmarshal(raw, &l, protocol.MaxLetter)
}

// OpenLetter opens a letter of class c on network net with key k: fault.Denied where
// it does not open. The letter's authenticated header is the letter without key 7.
func OpenLetter[P key.SealPurpose](k key.Decapsulation[P], c seal.Class, net protocol.Hash, raw []byte) (plain []byte, export func(seal.Label) key.Secret, err error) {
	l, err := ReadLetter(raw)
	if err != nil {
		return nil, nil, err
	}
	sealed := l.Sealed
	l.Sealed = nil
	aad, err := Marshal(l)
	if err != nil {
		return nil, nil, err
	}
	padded, export, err := seal.Open(k, c, net, l.Enc, aad, sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("wire: letter (%w): %w", err, fault.Denied)
	}
	if plain, err = seal.Unpad(padded); err != nil {
		return nil, nil, fmt.Errorf("wire: letter (%w): %w", err, fault.Malformed)
	}
	return plain, export, nil
}

// GrantID is SHA-256(LP("hark/1/grant") ‖ context ‖ vendor ‖ request's hash, or
// nonce where the customer started).
func GrantID(ctx protocol.ContextID, vendor protocol.VendorID, requestOrNonce protocol.Hash) protocol.GrantID {
	return rules.GrantID(ctx, vendor, requestOrNonce)
}

// SealOffer locks a signed Offer under the grant's offer secret; the result is what
// goes into the letter to the grant's offer key. It panics on a zero secret.
func SealOffer(secret key.Secret, grant protocol.GrantID, signed []byte) []byte {
	return seal.SealUnder(secret, seal.LabelOffer, grant[:], signed)
}

// OpenOffer opens the inner lock of an offer: fault.Denied where it does not open.
func OpenOffer(secret key.Secret, grant protocol.GrantID, sealed []byte) ([]byte, error) {
	signed, err := seal.OpenUnder(secret, seal.LabelOffer, grant[:], sealed)
	if err != nil {
		return nil, fmt.Errorf("wire: offer (%w): %w", err, fault.Denied)
	}
	return signed, nil
}
