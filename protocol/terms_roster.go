package protocol

import (
	"crypto/sha256"
	_ "embed"
)

//go:embed lists/terms.txt
var termsText []byte

// TermsRoster is the content address of the roster of terms that ships with this
// program: identifiers after IEEE 7012-2025, each with one sentence of this
// project's own that says what it allows.
func TermsRoster() Hash { return sha256.Sum256(termsText) }
