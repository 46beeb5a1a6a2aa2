// Package check is the door: it decides about each announcement that a stranger
// hands in, whether to pass it on, to ignore it, or to ignore it and hold it against
// the one who handed it in.
//
// The questions are asked in this order, cheapest first, and the first that fails
// decides:
//
//  1. size        over MaxAnnouncement                                   Blame
//  2. encoding    envelope, canonical form, the noun's own rules         Blame
//     version     … but a version, kind or critical key that this
//     program does not know                                  Ignore
//  3. net         another network's                                      Ignore
//  4. shard       not the shard of the topic that it came on             Blame
//  5. early       created more than MaxAnnounceIn ahead                  Ignore
//     expired     its end has come                                       Ignore
//     life        it ends before it begins, or lives too long            Blame
//  6. seen        these very bytes are known                             Ignore
//  7. precedence  what is known of the context goes before it            Ignore
//  8. admission   stamp below the network's least, or not done           Blame
//     a lane that the network does not open; no stamp where
//     one may have been free to others                       Ignore
//  9. signature   does not hold                                          Blame
//  10. budget      of the one who handed it in is used up                 Ignore
//
// Blame is for what no honest node can have passed on. A wrong clock alone, here or
// there, never brings it, nor does being newer or older. Nothing is written down by
// the door: whoever called it remembers what passed, and only that.
package check

import (
	"errors"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Verdict says what becomes of a message and of the one who handed it in.
type Verdict uint8

// The verdicts.
const (
	Pass   Verdict = iota // keep it and pass it on
	Ignore                // drop it; nobody is at fault
	Blame                 // drop it, and count it against the one who handed it in
)

func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Ignore:
		return "ignore"
	}
	return "blame"
}

// A Reason names the question that decided.
type Reason string

// The reasons, in the order of the questions.
const (
	OK         Reason = "ok"
	Size       Reason = "size"
	Encoding   Reason = "encoding"
	Version    Reason = "version"
	Net        Reason = "net"
	Shard      Reason = "shard"
	Early      Reason = "early"
	Expired    Reason = "expired"
	Life       Reason = "life"
	Seen       Reason = "seen"
	Precedence Reason = "precedence"
	Admission  Reason = "admission"
	Signature  Reason = "signature"
	Budget     Reason = "budget"
)

// Reasons lists all reasons, for counters that stand at zero from the start.
func Reasons() []Reason {
	return []Reason{OK, Size, Encoding, Version, Net, Shard, Early, Expired, Life, Seen, Precedence, Admission, Signature, Budget}
}

// RenewalFree is the time between the creations of two announcements of one context
// after which the later one needs no stamp: a day, less what daily timers drift.
const RenewalFree = 20 * protocol.Hour

// Memory is what is known already. The door only asks.
type Memory interface {
	// Seen tells whether an announcement of this hash was heard.
	Seen(protocol.Hash) bool
	// Precedence gives what stands for a context; ok is false where nothing is known.
	Precedence(protocol.ContextID) (seq uint64, status protocol.Status, id protocol.Hash, ok bool)
	// Created gives when that was created; 0 where nothing is known.
	Created(protocol.ContextID) protocol.Second
}

// A Door stands at the edge of one network. Its fields do not change while it is in
// use; Memory and Budget must bear concurrent calls if Announcement gets them.
type Door struct {
	Net    protocol.Hash
	Shards uint16
	Lanes  []protocol.LaneRule
	Memory Memory
	Budget func(from string) bool // may one more from this peer pass? nil: always
}

// finding is what one question answers; the zero finding asks on.
type finding struct {
	verdict Verdict
	reason  Reason
}

// Announcement decides about raw bytes that came from a peer. topic is the shard of
// the gossip topic, -1 where they came another way. The Heard is zero unless the
// verdict is Pass.
func (d *Door) Announcement(raw []byte, topic int, from string, now protocol.Second) (wire.Heard, Verdict, Reason) {
	if len(raw) > protocol.MaxAnnouncement {
		return wire.Heard{}, Blame, Size
	}
	draft, err := wire.ReadAnnouncement(raw)
	switch {
	case errors.Is(err, fault.Unsupported):
		return wire.Heard{}, Ignore, Version
	case err != nil:
		return wire.Heard{}, Blame, Encoding
	}
	if f := d.cheap(draft, topic, now); f.verdict != Pass {
		return wire.Heard{}, f.verdict, f.reason
	}
	heard, err := draft.Verify()
	if err != nil {
		return wire.Heard{}, Blame, Signature
	}
	if d.Budget != nil && !d.Budget(from) {
		return wire.Heard{}, Ignore, Budget
	}
	return heard, Pass, OK
}

// cheap asks everything between the form and the signature.
func (d *Door) cheap(draft *wire.Draft, topic int, now protocol.Second) finding {
	a := draft.A()
	switch {
	case a.Net != d.Net:
		return finding{Ignore, Net}
	case topic >= 0 && int(wire.Shard(a.Category, a.Region, d.Shards)) != topic:
		return finding{Blame, Shard}
	case a.Created > now+protocol.MaxAnnounceIn:
		return finding{Ignore, Early}
	case now >= a.Expires:
		return finding{Ignore, Expired}
	case draft.Lives() != nil:
		return finding{Blame, Life}
	case d.Memory.Seen(draft.ID()):
		return finding{Ignore, Seen}
	}
	seq, status, id, known := d.Memory.Precedence(protocol.ContextID(a.Context))
	switch {
	case known && id == draft.ID():
		return finding{Ignore, Seen} // it came another way since we asked
	case known && !Before(a.Status, a.Seq, draft.ID(), status, seq, id):
		return finding{Ignore, Precedence}
	}
	return d.admission(draft, known, seq)
}

// Before tells whether the first of two announcements of one context goes before the
// second: withdrawn before open, then the higher seq, then the lower hash.
func Before(status protocol.Status, seq uint64, id protocol.Hash, status2 protocol.Status, seq2 uint64, id2 protocol.Hash) bool {
	if status != status2 {
		return status == protocol.Withdrawn
	}
	if seq != seq2 {
		return seq > seq2
	}
	return string(id[:]) < string(id2[:])
}

// admission: what was paid to be passed on. A stamp must be good wherever there is
// one. Without one, free are the withdrawal of what is known here, and a next seq
// created RenewalFree after what is known here. Where it may be free to those who
// know more, nobody is to blame.
func (d *Door) admission(draft *wire.Draft, known bool, seq uint64) finding {
	a := draft.A()
	bare := a.Admission == protocol.Admission{}
	if bare && known && (a.Status == protocol.Withdrawn ||
		a.Seq > seq && a.Created >= d.Memory.Created(protocol.ContextID(a.Context))+RenewalFree) {
		return finding{}
	}
	for _, l := range d.Lanes {
		if l.Lane != a.Admission.Lane {
			continue
		}
		if a.Admission.Effort < l.Effort || (l.Lane == protocol.LaneWork && draft.WorkDone() < int(a.Admission.Effort)) {
			return finding{Blame, Admission}
		}
		return finding{}
	}
	if bare && a.Seq == 1 && a.Status == protocol.Open {
		return finding{Blame, Admission}
	}
	return finding{Ignore, Admission}
}
