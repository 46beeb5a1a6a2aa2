package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/announce"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
	"github.com/harkmarket/hark/protocol/wire/stamp"
)

var announcementDomain = protocol.KindAnnouncement.Domain()

// MaxEffort is the dearest stamp, in leading zero bits, that anybody can ask for.
const MaxEffort = rules.MaxEffort

// A Draft is an announcement that is well formed. Whether its signature holds is
// still open, so that the door can ask cheaper questions first.
type Draft struct {
	raw      []byte
	id       protocol.Hash
	hashed   bool
	envelope seal.Envelope
	doc      canon.Document
	a        protocol.Announcement
}

// ReadAnnouncement checks everything but life and signature. It keeps raw, which is
// not to be changed any more.
func ReadAnnouncement(raw []byte) (*Draft, error) {
	if len(raw) > protocol.MaxAnnouncement {
		return nil, fmt.Errorf("wire: announcement of %d bytes, at most %d: %w", len(raw), protocol.MaxAnnouncement, fault.Malformed)
	}
	d := &Draft{raw: raw}
	var err error
	var k protocol.Kind
	if d.envelope, k, err = parseEnvelope(d.raw); err != nil {
		return nil, err
	}
	if k != protocol.KindAnnouncement {
		return nil, fmt.Errorf("wire: %s in the place of an announcement: %w", k, fault.Malformed)
	}
	if d.doc, err = readHead(d.envelope.Payload, k, protocol.AlgEd25519); err != nil {
		return nil, err
	}
	if err = announce.Decode(d.doc.Critical(), &d.a); err != nil {
		return nil, fail(err)
	}
	if d.a.From != d.envelope.Key {
		return nil, fmt.Errorf("wire: announcement signed by another key than its sender's: %w", fault.Malformed)
	}
	if err = rules.Announcement(&d.a); err != nil {
		return nil, err
	}
	return d, nil
}

// ID is SHA-256 of the envelope.
func (d *Draft) ID() protocol.Hash {
	if !d.hashed {
		d.id, d.hashed = ID(d.raw), true
	}
	return d.id
}

// A gives the announcement. It is not to be changed.
func (d *Draft) A() *protocol.Announcement { return &d.a }

// Lives is fault.Malformed where the announcement ends before it begins, or would
// live longer than its kind may.
func (d *Draft) Lives() error { return rules.Life(&d.a) }

// WorkDone is the number of leading zero bits of its stamp.
func (d *Draft) WorkDone() int { return stamp.Work(stampBase(&d.doc), d.a.Admission.Nonce) }

// Verify checks life and signature.
func (d *Draft) Verify() (Heard, error) {
	if err := d.Lives(); err != nil {
		return Heard{}, err
	}
	if !d.envelope.Verify(announcementDomain) {
		return Heard{}, fmt.Errorf("wire: announcement: signature: %w", fault.Malformed)
	}
	d.ID()
	return Heard{d}, nil
}

// A Heard is an announcement whose form, rules and signature hold. It comes only
// from Draft.Verify and OpenAnnouncement.
type Heard struct{ d *Draft }

// OpenAnnouncement reads and verifies an announcement. It keeps a copy of raw.
func OpenAnnouncement(raw []byte) (Heard, error) {
	d, err := ReadAnnouncement(bytes.Clone(raw))
	if err != nil {
		return Heard{}, err
	}
	return d.Verify()
}

// IsZero tells whether nothing was heard.
func (h Heard) IsZero() bool { return h.d == nil }

// ID is SHA-256 of the envelope.
func (h Heard) ID() protocol.Hash { return h.d.id }

// Raw gives the envelope's bytes. They are not to be changed.
func (h Heard) Raw() []byte { return h.d.raw }

// A gives the announcement. It is not to be changed.
func (h Heard) A() *protocol.Announcement { return &h.d.a }

// Extra gives the ignorable pairs as they came.
func (h Heard) Extra() protocol.Extra { return h.d.doc.Extra() }

// A Step hears how the work on a stamp goes, and can end it with ErrStopped.
type Step = stamp.Step

// ErrStopped tells that a Step stopped the work.
var ErrStopped = stamp.ErrStopped

// SignAnnouncement is SignWorking for those who wait.
func SignAnnouncement(k key.Private[key.Context], a *protocol.Announcement, lane, effort uint8) ([]byte, error) {
	return SignWorking(k, a, lane, effort, nil)
}

// SignWorking signs a with its context's key. It sets kind, sender, context and
// admission, and for lane 1 does the work: about 2^effort hashes. step may be nil.
func SignWorking(k key.Private[key.Context], a *protocol.Announcement, lane, effort uint8, step Step) ([]byte, error) {
	if effort > MaxEffort || lane > protocol.LaneWork || (lane == protocol.LaneWork) != (effort > 0) {
		return nil, fmt.Errorf("wire: admission lane %d with effort %d: %w", lane, effort, fault.Unsupported)
	}
	a.V, a.Alg, a.Kind = protocol.Version, protocol.AlgEd25519, protocol.KindAnnouncement
	a.From, a.Context = protocol.Hash(k.Public()), protocol.Hash(k.Public())
	a.Admission = protocol.Admission{Lane: lane, Effort: effort}
	if err := rules.Life(a); err != nil {
		return nil, err
	}
	if lane == protocol.LaneWork {
		payload, err := encodePayload(a, nil)
		if err != nil {
			return nil, err
		}
		d, err := canon.Walk(payload)
		if err != nil {
			return nil, err
		}
		if a.Admission.Nonce, err = stamp.Grind(stampBase(&d), effort, step); err != nil {
			return nil, err
		}
	}
	return Sign(k, a)
}

// stampBase is what a stamp is ground over, with room for the nonce at its end:
// LP("hark/1/stamp") ‖ SHA-256(payload without key 127) ‖ nonce. Without the key
// means: its pair cut out, and the map's head counting one pair less.
func stampBase(d *canon.Document) []byte {
	h := sha256.New()
	if d.LastKey != announce.KeyAdmission {
		h.Write(d.Raw)
	} else {
		h.Write(canon.MapHead(d.Count - 1))
		h.Write(d.Raw[d.First:d.Last])
		h.Write(d.Raw[d.Tail:])
	}
	base := seal.LP([]byte(seal.LabelStamp))
	base = h.Sum(base)
	return append(base, make([]byte, 8)...)
}

// bodyAAD binds a body to its context and seq: LP(context) ‖ LP(seq, 8 bytes
// big-endian).
func bodyAAD(ctx protocol.ContextID, seq uint64) []byte {
	return seal.LP(ctx[:], binary.BigEndian.AppendUint64(nil, seq))
}

// SealBody seals a demand for one seq of one context. k must be new: a body key
// seals one body. body has BodyBucket + 16 bytes; a demand that does not fit the
// bucket is fault.Full.
func SealBody(d protocol.Demand, k key.Secret, ctx protocol.ContextID, seq uint64) (body []byte, commitment protocol.Hash, err error) {
	if err := rules.Noun(&d); err != nil {
		return nil, commitment, err
	}
	plain, err := Marshal(d)
	if err != nil {
		return nil, commitment, err
	}
	padded, err := seal.PadTo(plain, protocol.BodyBucket)
	if err != nil {
		return nil, commitment, fmt.Errorf("wire: demand of %d bytes, at most %d: %w", len(plain), protocol.MaxBody, fault.Full)
	}
	if k.IsZero() {
		return nil, commitment, fmt.Errorf("wire: body without a key: %w", fault.Malformed)
	}
	return seal.SealBody(k, bodyAAD(ctx, seq), padded), seal.BodyCommitment(k, padded), nil
}

// OpenBody opens an announcement's body: fault.Denied where k is not its key.
func OpenBody(a *protocol.Announcement, k key.Secret) (protocol.Demand, error) {
	var d protocol.Demand
	padded, err := seal.OpenBody(k, bodyAAD(protocol.ContextID(a.Context), a.Seq), a.Body)
	if err != nil || seal.BodyCommitment(k, padded) != a.Commitment {
		return d, fmt.Errorf("wire: body: %w", fault.Denied)
	}
	plain, err := seal.Unpad(padded)
	if err != nil {
		return d, fmt.Errorf("wire: body (%w): %w", err, fault.Malformed)
	}
	return d, Unmarshal(plain, &d, protocol.MaxBody)
}
