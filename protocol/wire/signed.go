package wire

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// messages makes the empty payload of each kind that travels in an envelope.
var messages = map[protocol.Kind]func() protocol.Message{
	protocol.KindAnnouncement: func() protocol.Message { return new(protocol.Announcement) },
	protocol.KindRequest:      func() protocol.Message { return new(protocol.Request) },
	protocol.KindGrant:        func() protocol.Message { return new(protocol.Grant) },
	protocol.KindCounter:      func() protocol.Message { return new(protocol.Counter) },
	protocol.KindRefusal:      func() protocol.Message { return new(protocol.Refusal) },
	protocol.KindReceipt:      func() protocol.Message { return new(protocol.Receipt) },
	protocol.KindOffer:        func() protocol.Message { return new(protocol.Offer) },
	protocol.KindAccept:       func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindDecline:      func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindConfirm:      func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindFulfil:       func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindClose:        func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindCancel:       func() protocol.Message { return new(protocol.DealStep) },
	protocol.KindRevocation:   func() protocol.Message { return new(protocol.Revocation) },
	protocol.KindDeletion:     func() protocol.Message { return new(protocol.Deletion) },
	protocol.KindRight:        func() protocol.Message { return new(protocol.Right) },
	protocol.KindAnswer:       func() protocol.Message { return new(protocol.Answer) },
	protocol.KindBreach:       func() protocol.Message { return new(protocol.Breach) },
	protocol.KindSuspend:      func() protocol.Message { return new(protocol.Pause) },
	protocol.KindResume:       func() protocol.Message { return new(protocol.Pause) },
	protocol.KindAck:          func() protocol.Message { return new(protocol.Ack) },
	protocol.KindPassport:     func() protocol.Message { return new(protocol.Passport) },
	protocol.KindDevice:       func() protocol.Message { return new(protocol.Device) },
	protocol.KindVoucher:      func() protocol.Message { return new(protocol.Voucher) },
}

// kinds finds an envelope's kind by its domain.
var kinds = func() map[string]protocol.Kind {
	all := map[string]protocol.Kind{}
	for k := range messages {
		all[k.Domain()] = k
	}
	return all
}()

// NewID draws 16 random bytes.
func NewID() (id protocol.ID) {
	_, _ = rand.Read(id[:]) // never fails: the program stops where there is no randomness
	return id
}

// Sign writes m into an envelope signed by k. It sets V, Alg and From; the rest of
// the header is the caller's, who also draws the ID. What a reader would refuse is
// not signed.
func Sign[P key.Purpose](k key.Private[P], m protocol.Message) ([]byte, error) {
	return SignExtra(k, m, nil)
}

// SignExtra is Sign with ignorable pairs (keys 128 and above, canonical CBOR, in
// order) after the known ones.
func SignExtra[P key.Purpose](k key.Private[P], m protocol.Message, x protocol.Extra) ([]byte, error) {
	h := m.Head()
	h.V, h.Alg, h.From = protocol.Version, protocol.AlgEd25519, protocol.Hash(k.Public())
	empty := messages[h.Kind]
	if k.IsZero() || empty == nil || fmt.Sprintf("%T", empty()) != fmt.Sprintf("%T", m) {
		return nil, fmt.Errorf("wire: sign %T as %s: %w", m, h.Kind, fault.Malformed)
	}
	payload, err := encodePayload(m, x)
	if err != nil {
		return nil, err
	}
	if err := rules.Message(m); err != nil {
		return nil, err
	}
	raw := seal.SignEnvelope(k, h.Kind.Domain(), payload)
	if len(raw) > maxEnvelope(h.Kind) {
		return nil, fmt.Errorf("wire: %s of %d bytes, at most %d: %w", h.Kind, len(raw), maxEnvelope(h.Kind), fault.Malformed)
	}
	return raw, nil
}

func maxEnvelope(k protocol.Kind) int {
	if k == protocol.KindAnnouncement {
		return protocol.MaxAnnouncement
	}
	return protocol.MaxEnvelope
}

// later is what a program of a step to come says beside what this one knows: a text
// under an ignorable key. The present one says nothing of the kind.
func later() []byte {
	if protocol.Edition > 0 {
		return []byte{0x19, 0xea, 0x60, 0x65, 'l', 'a', 't', 'e', 'r'} // 60000: "later"
	}
	return nil
}

// encodePayload writes a payload and the ignorable pairs after it.
func encodePayload(m protocol.Message, x protocol.Extra) ([]byte, error) {
	raw, err := Marshal(m)
	x = append(bytes.Clone(x), later()...)
	if err != nil || len(x) == 0 {
		return raw, err
	}
	d, err := canon.Walk(raw)
	if err == nil {
		raw, err = d.With(x)
	}
	return raw, fail(err)
}

// decodePayload reads a payload of the kind into m and gives the ignorable pairs.
func decodePayload(raw []byte, k protocol.Kind, alg uint64, m protocol.Message) (canon.Document, error) {
	d, err := readHead(raw, k, alg)
	if err != nil {
		return d, err
	}
	return d, fail(canon.Decode(d.Critical(), m))
}

// readHead walks a payload and asks whether this program may read on.
func readHead(raw []byte, k protocol.Kind, alg uint64) (canon.Document, error) {
	d, err := canon.Walk(raw)
	if err != nil {
		return d, fail(err)
	}
	version, kind, said := d.Uint(1), protocol.Kind(min(d.Uint(3), 255)), d.Uint(4)
	switch {
	case version == 0 || kind == 0 || said == 0:
		return d, fmt.Errorf("wire: no version, kind or algorithm: %w", fault.Malformed)
	case version != protocol.Version || !kind.Known() || said > protocol.AlgMAC:
		return d, fmt.Errorf("wire: version %d, %s, algorithm %d: %w", version, kind, said, fault.Unsupported)
	case kind != k || said != alg:
		return d, fmt.Errorf("wire: %s with algorithm %d in the place of %s: %w", kind, said, k, fault.Malformed)
	}
	return d, nil
}

// A Signed comes from Open alone: envelope, form and signature hold. Who signed it, and whether that key may, is for Meets and the caller.
type Signed struct {
	raw   []byte
	id    protocol.Hash
	msg   protocol.Message
	extra protocol.Extra
}

// Open reads a signed message of any kind: envelope, canonical form, the struct of
// its kind, that kind's rules, From = the envelope's key, signature. Disclosures are
// not signed: see OpenDisclosure. It keeps a copy of raw.
func Open(raw []byte) (Signed, error) {
	s, e, err := read(raw)
	if err != nil {
		return Signed{}, err
	}
	if !e.Verify(s.Kind().Domain()) {
		return Signed{}, fmt.Errorf("wire: %s: signature: %w", s.Kind(), fault.Malformed)
	}
	return s, nil
}

// read is Open without the signature.
func read(raw []byte) (s Signed, e seal.Envelope, err error) {
	if len(raw) > protocol.MaxEnvelope {
		return s, e, fmt.Errorf("wire: envelope of %d bytes, at most %d: %w", len(raw), protocol.MaxEnvelope, fault.Malformed)
	}
	raw = bytes.Clone(raw)
	e, k, err := parseEnvelope(raw)
	if err != nil {
		return s, e, err
	}
	if len(raw) > maxEnvelope(k) {
		return s, e, fmt.Errorf("wire: %s of %d bytes, at most %d: %w", k, len(raw), maxEnvelope(k), fault.Malformed)
	}
	m := messages[k]()
	d, err := decodePayload(e.Payload, k, protocol.AlgEd25519, m)
	if err != nil {
		return s, e, err
	}
	if m.Head().From != e.Key {
		return s, e, fmt.Errorf("wire: %s signed by another key than its sender's: %w", k, fault.Malformed)
	}
	if err := rules.Message(m); err != nil {
		return s, e, err
	}
	return Signed{raw, ID(raw), m, d.Extra()}, e, nil
}

// parseEnvelope reads an envelope and the kind that its domain names. Another
// domain of this protocol is a newer one's.
func parseEnvelope(raw []byte) (seal.Envelope, protocol.Kind, error) {
	e, err := seal.ParseEnvelope(raw)
	if err != nil {
		return e, 0, fmt.Errorf("wire: %w (%w)", fault.Malformed, err)
	}
	k, ok := kinds[string(e.Type)]
	switch {
	case ok:
		return e, k, nil
	case strings.HasPrefix(string(e.Type), "hark/") && string(e.Type) != protocol.KindDisclosure.Domain():
		return e, 0, fmt.Errorf("wire: envelope of type %q: %w", e.Type, fault.Unsupported)
	}
	return e, 0, fmt.Errorf("wire: envelope of type %q: %w", e.Type, fault.Malformed)
}

// ID is SHA-256 of the envelope.
func (s Signed) ID() protocol.Hash { return s.id }

// Raw gives the envelope's bytes. They are not to be changed.
func (s Signed) Raw() []byte { return s.raw }

// Kind is the message's kind; 0 for the zero Signed.
func (s Signed) Kind() protocol.Kind {
	if s.msg == nil {
		return 0
	}
	return s.msg.Head().Kind
}

// Head gives the header, nil for the zero Signed. It is not to be changed.
func (s Signed) Head() *protocol.Header {
	if s.msg == nil {
		return nil
	}
	return s.msg.Head()
}

// Message gives the payload as a pointer to the struct of its kind. It is not to be
// changed.
func (s Signed) Message() protocol.Message { return s.msg }

// Extra gives the ignorable pairs as they came.
func (s Signed) Extra() protocol.Extra { return s.extra }

// As gives the payload as the struct of its kind, fault.Denied where it is another.
func As[M protocol.Message](s Signed) (M, error) {
	m, ok := s.msg.(M)
	if !ok {
		return m, fmt.Errorf("wire: %s where %T is expected: %w", s.Kind(), m, fault.Denied)
	}
	return m, nil
}

// Expect is what a reader expects of a message: who says it to whom, about what,
// when. A zero From, To or Context means any; Net, Now and at least one kind must be
// given.
type Expect struct {
	Net               protocol.Hash
	Kinds             []protocol.Kind
	From, To, Context protocol.Hash
	Now               protocol.Second
}

// Meets compares the message with what its reader expects. Another network, kind,
// sender, reader or context is fault.Denied; a date that does not hold is
// fault.Expired: Expires reached, or Created more than MaxSkew ahead.
func (s Signed) Meets(e Expect) error {
	if s.msg == nil {
		return fmt.Errorf("wire: no message: %w", fault.Denied)
	}
	return meets(s.msg.Head(), e)
}

// MeetsDisclosure is Signed.Meets for a disclosure.
func MeetsDisclosure(d *protocol.Disclosure, e Expect) error { return meets(&d.Header, e) }

func meets(h *protocol.Header, e Expect) error {
	known := false
	for _, k := range e.Kinds {
		known = known || k == h.Kind
	}
	is := func(want, got protocol.Hash) bool { return want.IsZero() || want == got }
	switch {
	case !known:
		return fmt.Errorf("wire: %s is not expected: %w", h.Kind, fault.Denied)
	case h.Net != e.Net:
		return fmt.Errorf("wire: %s of network %s: %w", h.Kind, h.Net.Short(), fault.Denied)
	case !is(e.From, h.From):
		return fmt.Errorf("wire: %s from %s: %w", h.Kind, h.From.Short(), fault.Denied)
	case !is(e.To, h.To):
		return fmt.Errorf("wire: %s to another: %w", h.Kind, fault.Denied)
	case !is(e.Context, h.Context):
		return fmt.Errorf("wire: %s in another context: %w", h.Kind, fault.Denied)
	case h.Created > e.Now+protocol.MaxSkew:
		return fmt.Errorf("wire: %s from the future: %w", h.Kind, fault.Expired)
	case h.Expires != 0 && e.Now >= h.Expires:
		return fmt.Errorf("wire: %s: %w", h.Kind, fault.Expired)
	}
	return nil
}
