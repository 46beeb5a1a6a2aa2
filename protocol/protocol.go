// Package protocol is the language of the market: its nouns, numbers and limits,
// and nothing that moves. SPEC.md beside it is the normative text, hark.cddl the
// grammar; package wire turns these nouns into bytes and back.
//
// Every noun says what it carries and what it must never carry. All maps on the
// wire have small unsigned integer keys (the numbers in the struct tags), and a
// zero value is never written: an absent key means zero, so that each value has
// exactly one spelling.
//
//house:allow package the nouns and the three lists that they name: categories, regions, currencies
package protocol

import (
	"encoding/hex"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/harkmarket/hark/protocol/fault"
)

// Version is the protocol version that this code speaks. Another version in a
// header means: ignore, and blame nobody.
const Version = 1

// The algorithms that authenticate a payload: Ed25519 (RFC 8032) for everything
// that is signed, HMAC-SHA256 for a Disclosure, which nobody can be held to.
const (
	AlgEd25519 = 1
	AlgMAC     = 2
)

// A Second is a moment in whole seconds since 1970-01-01 UTC, as on the wire.
type Second uint64

// Spans of time in seconds.
const (
	Minute Second = 60
	Hour          = 60 * Minute
	Day           = 24 * Hour
)

// A Hash is a SHA-256 digest, 32 bytes. It names envelopes, documents and grants.
// As text it is lower-case hexadecimal.
type Hash [32]byte

// IsZero reports whether h is the zero hash, which means "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// String gives 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short gives the first 8 hexadecimal digits, for people's eyes only.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// MarshalBinary gives the 32 bytes.
func (h Hash) MarshalBinary() ([]byte, error) { return h[:], nil }

// UnmarshalBinary takes exactly 32 bytes.
func (h *Hash) UnmarshalBinary(b []byte) error {
	if len(b) != len(h) {
		return fmt.Errorf("hash of %d bytes, want 32: %w", len(b), fault.Malformed)
	}
	copy(h[:], b)
	return nil
}

// MarshalText gives the hexadecimal form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 lower-case hexadecimal digits and nothing else.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || hex.EncodeToString(b) != string(text) {
		return fmt.Errorf("hash %q is not lower-case hexadecimal: %w", clip(text), fault.Malformed)
	}
	return h.UnmarshalBinary(b)
}

// CID gives the content address, CIDv1 raw sha2-256. On the wire only the digest
// travels: version, codec and hash function are fixed by the field that holds it.
func (h Hash) CID() cid.Cid {
	m, err := mh.Encode(h[:], mh.SHA2_256)
	if err != nil { // sha2-256 is known to multihash
		panic("protocol: internal error: " + err.Error())
	}
	return cid.NewCidV1(cid.Raw, m)
}

// An ID is 16 random bytes that tell one message or slot from another.
type ID [16]byte

// IsZero reports whether id is unset.
func (id ID) IsZero() bool { return id == ID{} }

// String gives 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText gives the hexadecimal form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 32 lower-case hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || hex.EncodeToString(b) != string(text) {
		return fmt.Errorf("id %q is not lower-case hexadecimal: %w", clip(text), fault.Malformed)
	}
	return id.UnmarshalBinary(b)
}

// MarshalBinary gives the 16 bytes.
func (id ID) MarshalBinary() ([]byte, error) { return id[:], nil }

// UnmarshalBinary takes exactly 16 bytes.
func (id *ID) UnmarshalBinary(b []byte) error {
	if len(b) != len(id) {
		return fmt.Errorf("id of %d bytes, want 16: %w", len(b), fault.Malformed)
	}
	copy(id[:], b)
	return nil
}

func clip(b []byte) string { return string(b[:min(len(b), 80)]) }

// A Kind numbers the kinds of signed payload. The numbers are on the wire:
// append, never reorder. A reserved kind is refused until it is built.
type Kind uint8

// The kinds of version 1.
const (
	KindAnnouncement Kind = 1
	KindRequest      Kind = 2
	KindGrant        Kind = 3
	KindCounter      Kind = 4
	KindRefusal      Kind = 5
	KindReceipt      Kind = 6
	KindDisclosure   Kind = 7
	KindOffer        Kind = 8
	KindAccept       Kind = 9
	KindDecline      Kind = 10
	KindConfirm      Kind = 11
	KindFulfil       Kind = 12
	KindClose        Kind = 13
	KindCancel       Kind = 14
	KindRevocation   Kind = 15
	KindDeletion     Kind = 16
	KindRight        Kind = 17
	KindAnswer       Kind = 18
	KindBreach       Kind = 19
	KindSuspend      Kind = 20
	KindResume       Kind = 21
	KindAck          Kind = 22
	KindPassport     Kind = 23
	KindDevice       Kind = 24
	KindVoucher      Kind = 25 // stands in a Receipt, and never travels by itself

	KindStudy            Kind = 40 // reserved
	KindAuthorityRequest Kind = 41 // reserved
	KindDispute          Kind = 42 // reserved
	KindRating           Kind = 43 // reserved
	KindCounterOffer     Kind = 44 // reserved
)

var kindNames = map[Kind]string{
	KindAnnouncement: "announcement", KindRequest: "request", KindGrant: "grant", KindCounter: "counter",
	KindRefusal: "refusal", KindReceipt: "receipt", KindDisclosure: "disclosure", KindOffer: "offer",
	KindAccept: "accept", KindDecline: "decline", KindConfirm: "confirm", KindFulfil: "fulfil",
	KindClose: "close", KindCancel: "cancel", KindRevocation: "revocation", KindDeletion: "deletion",
	KindRight: "right", KindAnswer: "answer", KindBreach: "breach", KindSuspend: "suspend",
	KindResume: "resume", KindAck: "ack", KindPassport: "passport", KindDevice: "device", KindVoucher: "voucher",
}

// Known reports whether k is a kind that version 1 has built.
func (k Kind) Known() bool { return kindNames[k] != "" }

// String names the kind, as in its domain label.
func (k Kind) String() string {
	if n := kindNames[k]; n != "" {
		return n
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Domain is the signature domain and payload type of kind k: "hark/1/<kind>".
func (k Kind) Domain() string { return "hark/1/" + k.String() }

// A Header opens every signed payload, with keys 1 to 12. A payload is refused
// unless To is its reader and the key that opened its letter belongs to Context.
type Header struct {
	V       uint8  `cbor:"1,keyasint,omitempty"`
	Net     Hash   `cbor:"2,keyasint,omitzero"` // the network: SHA-256 of its genesis document
	Kind    Kind   `cbor:"3,keyasint,omitempty"`
	Alg     uint8  `cbor:"4,keyasint,omitempty"`
	ID      ID     `cbor:"5,keyasint,omitzero"`  // random: two messages are never the same bytes
	From    Hash   `cbor:"6,keyasint,omitzero"`  // the Ed25519 key that signs the envelope
	To      Hash   `cbor:"7,keyasint,omitzero"`  // context id, vendor id or duty key of the reader; absent in an announcement, passport or device certificate
	Context Hash   `cbor:"8,keyasint,omitzero"`  // context id; absent in a passport or device certificate
	Seq     uint64 `cbor:"9,keyasint,omitempty"` // announcements, passports: the version; else the sender's counter under the agreement
	Created Second `cbor:"10,keyasint,omitempty"`
	Expires Second `cbor:"11,keyasint,omitempty"`
	Re      Hash   `cbor:"12,keyasint,omitzero"` // SHA-256 of the envelope that this one answers
}

// Head gives the header itself; every payload that embeds Header has it.
func (h *Header) Head() *Header { return h }

// A Message is a payload with the common header. Each kind has one struct.
type Message interface{ Head() *Header }

// A Side is one of the two who deal with each other.
type Side uint8

// The two sides.
const (
	Customer Side = 1
	Vendor   Side = 2
)

// Other is the side across.
func (s Side) Other() Side { return 3 - s }

func (s Side) String() string {
	switch s {
	case Customer:
		return "customer"
	case Vendor:
		return "vendor"
	}
	return "nobody"
}

// An Extra holds the ignorable keys (128 and above) of a payload as the raw CBOR
// pairs, in order, so that a node relays unchanged what it does not know.
type Extra []byte
