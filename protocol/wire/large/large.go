// Package large writes and reads the large values that a Disclosure names, as an
// ignorable pair of it:
//
//	150: {1: keepers, 2: [{1: field, 2: version, 3: size, 4: digest, 5: copy key, 6: media type}]}
//
// The values themselves lie at the keepers, as copies sealed under the keys that stand
// here and for this reader alone. A value of another form counts as absent.
package large

import (
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// Key is where they stand in a Disclosure.
const Key = 150

// Extra writes the pair; nothing where there are no values.
func Extra(v protocol.LargeValues) (protocol.Extra, error) {
	if len(v.Values) == 0 || protocol.Edition < 0 {
		return nil, nil
	}
	if err := rules.LargeValues(&v); err != nil {
		return nil, err
	}
	raw, err := canon.Encode(&v)
	if err != nil {
		return nil, fmt.Errorf("large values: %w: %w", err, fault.Malformed)
	}
	return append(protocol.Extra{0x18, Key}, raw...), nil
}

// Of reads it.
func Of(x protocol.Extra) (v protocol.LargeValues) {
	raw, ok := canon.Value(x, Key)
	if !ok || protocol.Edition < 0 {
		return v
	}
	if canon.Decode(raw, &v) != nil || rules.LargeValues(&v) != nil {
		return protocol.LargeValues{}
	}
	return v
}

// In reads it from a disclosure that wire.OpenDisclosure has opened.
func In(disclosure []byte) protocol.LargeValues {
	var outer struct {
		Payload []byte `cbor:"1,keyasint,omitempty"`
		MAC     []byte `cbor:"2,keyasint,omitempty"`
	}
	if _, err := canon.Walk(disclosure); err != nil || canon.Decode(disclosure, &outer) != nil {
		return protocol.LargeValues{}
	}
	d, err := canon.Walk(outer.Payload)
	if err != nil {
		return protocol.LargeValues{}
	}
	return Of(d.Extra())
}

// Token is what a reader shows a keeper to get a copy: only who was told the copy's key
// can make it, and it tells nothing of that key.
func Token(copyKey key.Secret) protocol.Hash {
	return protocol.Hash(seal.Derive(copyKey, seal.LabelCopyToken, nil).Reveal())
}
