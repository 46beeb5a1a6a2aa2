package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
)

// Envelope is a libp2p signed envelope (RFC 0002) with an Ed25519 key. On the wire
// it is a protobuf message with four fields, here always in this one form:
//
//	0a 24        field 1, public_key: 08 01 (Ed25519) 12 20 and the 32 bytes
//	12 len …     field 2, payload_type: the domain, 1 to 127 bytes
//	1a len …     field 3, payload: 1 byte to 2 MiB
//	2a 40 …      field 5, signature: 64 bytes
//
// The signature covers uvarint(len)‖x for each of domain, payload_type, payload. As
// the payload type is the domain here, what was signed as one kind is never read as
// another.
type Envelope struct {
	Key       [32]byte // the signer's Ed25519 key; its purpose follows from the payload
	Type      []byte   // payload_type
	Payload   []byte
	Signature []byte // 64 bytes, R‖S
}

// Bounds of an envelope's parts in bytes.
const (
	MaxType    = 1<<7 - 1
	MaxPayload = 1<<21 - 1
)

// keyHead opens each envelope: field 1 of 36 bytes, in it the type and the head of
// the 32 key bytes.
const (
	keyHead = "\x0a\x24\x08\x01\x12\x20"
	sigHead = "\x2a\x40"
	tagType = 0x12
	tagBody = 0x1a
)

// ParseEnvelope reads exactly what Marshal writes: these fields in this order,
// shortest lengths, nothing after them. The slices point into raw. The signature is
// not checked here; see Verify. Deviations are ErrForm.
func ParseEnvelope(raw []byte) (Envelope, error) {
	var e Envelope
	rest := raw
	if len(rest) < len(keyHead)+key.PublicSize || string(rest[:len(keyHead)]) != keyHead {
		return Envelope{}, fmt.Errorf("%w: envelope: public key", ErrForm)
	}
	rest = rest[len(keyHead):]
	copy(e.Key[:], rest)
	rest = rest[key.PublicSize:]
	var ok bool
	if e.Type, rest, ok = field(rest, tagType, MaxType); !ok {
		return Envelope{}, fmt.Errorf("%w: envelope: payload type", ErrForm)
	}
	if e.Payload, rest, ok = field(rest, tagBody, MaxPayload); !ok {
		return Envelope{}, fmt.Errorf("%w: envelope: payload", ErrForm)
	}
	if len(rest) != len(sigHead)+key.SignatureSize || string(rest[:len(sigHead)]) != sigHead {
		return Envelope{}, fmt.Errorf("%w: envelope: signature", ErrForm)
	}
	e.Signature = rest[len(sigHead):]
	return e, nil
}

// field takes tag‖uvarint(n)‖n bytes off the front, 1 <= n <= most < 2^21, n in its
// shortest form. An empty field would be left out by a protobuf writer, so it has
// no form of its own.
func field(raw []byte, tag byte, most int) (value, rest []byte, ok bool) {
	if len(raw) < 2 || raw[0] != tag {
		return nil, nil, false
	}
	n, used := binary.Uvarint(raw[1:min(len(raw), 4)])
	if used <= 0 || n == 0 || n > uint64(most) || (used > 1 && raw[used] == 0) {
		return nil, nil, false
	}
	raw = raw[1+used:]
	if uint64(len(raw)) < n {
		return nil, nil, false
	}
	return raw[:n:n], raw[n:], true
}

// Marshal writes the envelope's one form; what ParseEnvelope read comes out byte for
// byte. The parts must be within their bounds.
func (e Envelope) Marshal() []byte {
	size := len(keyHead) + len(e.Key) + len(e.Type) + len(e.Payload) + len(sigHead) + len(e.Signature)
	out := make([]byte, 0, size+2+2*binary.MaxVarintLen32)
	out = append(out, keyHead...)
	out = append(out, e.Key[:]...)
	out = appendField(append(out, tagType), e.Type)
	out = appendField(append(out, tagBody), e.Payload)
	out = append(out, sigHead...)
	return append(out, e.Signature...)
}

func appendField[T []byte | string](out []byte, part T) []byte {
	out = binary.AppendUvarint(out, uint64(len(part)))
	return append(out, part...)
}

// appendSigned appends what the signature covers. The domain stands twice: as
// itself, and as the payload type.
func appendSigned[T []byte | string](out []byte, domain T, payload []byte) []byte {
	out = appendField(out, domain)
	out = appendField(out, domain)
	return appendField(out, payload)
}

// Verify tells whether the payload was signed in this domain by the holder of Key,
// under the strict rules of key.Public.Verify. An envelope of another type is refused
// before its signature is looked at.
func (e Envelope) Verify(domain string) bool {
	if string(e.Type) != domain || len(e.Payload) > MaxPayload {
		return false
	}
	// Signed bytes must be in one piece. Announcements (4 KiB at most) fit on the stack.
	var stack [4608]byte
	return key.Verify(e.Key, appendSigned(stack[:0], domain, e.Payload), e.Signature)
}

// SignEnvelope signs payload in the domain and returns the envelope's bytes. The
// domain is a constant of the program, and the payload is never empty: it panics on
// parts out of bounds, as on a zero key.
func SignEnvelope[P key.Purpose](k key.Private[P], domain string, payload []byte) []byte {
	if len(domain) < 1 || len(domain) > MaxType || len(payload) < 1 || len(payload) > MaxPayload {
		panic(fmt.Sprintf("seal: envelope of %d bytes in domain %q", len(payload), domain))
	}
	signed := appendSigned(make([]byte, 0, len(payload)+2*len(domain)+3*binary.MaxVarintLen32), domain, payload)
	return Envelope{k.Public(), []byte(domain), payload, k.Sign(signed)}.Marshal()
}
