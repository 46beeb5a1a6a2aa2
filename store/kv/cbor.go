package kv

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/harkmarket/hark/protocol/fault"
)

var encMode, decMode = modes()

// modes fixes how stored records are written (RFC 8949 section 4.2.1, core
// deterministic) and read (no tags, no indefinite lengths, no duplicate or
// unknown map keys: a record of a newer program is refused, not half read).
func modes() (cbor.EncMode, cbor.DecMode) {
	e := cbor.CoreDetEncOptions()
	e.TagsMd = cbor.TagsForbidden
	enc, err := e.EncMode()
	if err != nil {
		panic("kv: cbor options: " + err.Error()) // constants: fails in every test or never
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 16,
		MaxMapPairs:       1 << 16,
	}.DecMode()
	if err != nil {
		panic("kv: cbor options: " + err.Error())
	}
	return enc, dec
}

// PutCBOR stores v under key as deterministic CBOR.
func PutCBOR(tx Tx, key []byte, v any) error {
	raw, err := EncodeCBOR(v)
	if err != nil {
		return fmt.Errorf("kv: %x: %w", key, err)
	}
	return tx.Put(key, raw)
}

// EncodeCBOR gives what PutCBOR stores, for a value that is sealed again first.
func EncodeCBOR(v any) ([]byte, error) {
	raw, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("kv: encode %T: %w", v, err)
	}
	return raw, nil
}

// GetCBOR reads what PutCBOR stored into the pointer v. Bytes that do not fit v
// exactly give fault.Malformed, and v is then not to be used.
func GetCBOR(r Reader, key []byte, v any) error {
	raw, err := r.Get(key)
	if err != nil {
		return err
	}
	return DecodeCBOR(raw, v)
}

// DecodeCBOR reads a value that PutCBOR stored, for use inside a Scan.
func DecodeCBOR(value []byte, v any) error {
	if err := decMode.Unmarshal(value, v); err != nil {
		return fmt.Errorf("kv: decode %T (%w): %w", v, err, fault.Malformed)
	}
	return nil
}
