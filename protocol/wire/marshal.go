package wire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// fail gives what canon found its kind.
func fail(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, canon.ErrUnknown):
		return fmt.Errorf("wire: %w: %w", fault.Unsupported, err)
	}
	return fmt.Errorf("wire: %w: %w", fault.Malformed, err)
}

// ID is SHA-256 of the bytes: it names an envelope, a letter or a disclosure.
func ID(raw []byte) protocol.Hash { return sha256.Sum256(raw) }

// Marshal writes one noun as deterministic CBOR (RFC 8949 section 4.2.1). A value
// that has no one spelling is fault.Malformed.
func Marshal(v any) ([]byte, error) {
	raw, err := canon.Encode(v)
	return raw, fail(err)
}

// Unmarshal reads what Marshal writes, at most max bytes, into the struct that v
// points to, and applies the rules of that noun. All keys are critical here: an
// unknown one is fault.Unsupported. v is not to be used after an error.
func Unmarshal(raw []byte, v any, max int) error {
	if len(raw) > max {
		return fmt.Errorf("wire: %T of %d bytes, at most %d: %w", v, len(raw), max, fault.Malformed)
	}
	return unmarshal(bytes.Clone(raw), v)
}

// unmarshal keeps raw.
func unmarshal(raw []byte, v any) error {
	if _, err := canon.Walk(raw); err != nil {
		return fail(err)
	}
	if err := canon.Decode(raw, v); err != nil {
		return fail(err)
	}
	return rules.Noun(v)
}
