package key

import (
	"encoding/base32"
	"fmt"
	"strings"
)

// The text form is prefix + lower-case base32 (RFC 4648 section 6, no padding).
// The prefix ends in "1", which base32 does not use, so prefix and key part in
// one place only.
var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encodeText(prefix string, raw []byte) string {
	return prefix + lower.EncodeToString(raw)
}

// decodeText accepts exactly what encodeText writes for n bytes. The decoder of
// the standard library skips line breaks and ignores the spare bits of the last
// letter; comparing with the re-encoding closes both.
func decodeText(prefix, text string, n int) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) != lower.EncodedLen(n) {
		return nil, fmt.Errorf("%w: want %s and %d letters", ErrForm, prefix, lower.EncodedLen(n))
	}
	raw, err := lower.DecodeString(rest)
	if err != nil || len(raw) != n || lower.EncodeToString(raw) != rest {
		return nil, fmt.Errorf("%w: not the one spelling of %s", ErrForm, prefix)
	}
	return raw, nil
}
