// Package key gives every key of the market a Go type of its own, so that the
// compiler refuses to sign, verify or seal with the wrong one.
//
// There are two families, each one generic mechanism over a purpose that exists
// only in the type (a phantom: it costs no byte):
//
//	                     public half        private half
//	signing (Ed25519)    Public[P]          Private[P]         P is one of Purpose
//	sealing (X-Wing)     Encapsulation[P]   Decapsulation[P]   P is one of SealPurpose
//
// A Public[Context] is not a Public[Duty]: assigning one to the other does not
// compile. The aliases ContextKey, DutyKey, … are the same types under shorter
// names.
//
// Public halves are comparable values, serve as map keys, and have one binary
// form (the bare bytes) and one text form (see [Public.MarshalText]). Private
// halves and [Secret], the 32 bytes that everything secret starts from, can't be
// printed, logged, encoded or compared with ==: fmt prints "(secret)", every
// encoder gets [ErrSecret]. The one way out is [Secret.Reveal], to be called
// where a secret is sealed for storage or for the party it is shared with, and
// nowhere else.
//
// Signature checks are stricter than RFC 8032 asks (see [Public.Verify]), so that
// all nodes agree on every signature and nobody can make a key that signs
// everything.
package key

import "errors"

var (
	// ErrForm is returned for bytes or text that are not the one right form of a key.
	ErrForm = errors.New("key: malformed")
	// ErrWeak is returned for an Ed25519 key that no honest party makes: a point of
	// small order, or a second spelling of a point.
	ErrWeak = errors.New("key: small-order or non-canonical point")
	// ErrSecret is returned to every encoder that is handed a secret.
	ErrSecret = errors.New("key: a secret is never encoded")
	// ErrAbsent is returned where a zero key is used as if it were one.
	ErrAbsent = errors.New("key: no key")
)
