package market

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
)

// letter routes one letter by the mailbox that it came to. Which lock opens it
// follows from the mailbox alone, and so does what may stand inside.
//
// What is acted on is remembered for as long as it could come again, so that it is acted
// on once. Junk is not: nothing of it is kept, whoever sends it again gains nothing, and a
// stranger can make as much as he likes. Nor does what is remembered give way: where a
// mailbox has no room left (records.Room), its letters wait at their keepers, where the
// capability of who floods it fills up, and nobody else's.
func (t *turn) letter(box key.MailboxKey, raw []byte) error {
	b, err := records.GetBox(t, box)
	if errors.Is(err, fault.NotFound) {
		return nil // not read any more: another keeper's copy of a letter that was dealt with
	}
	if err != nil {
		return err
	}
	fresh, err := t.once(b.Key, wire.ID(raw), t.now+t.letters())
	if err != nil || !fresh {
		return err
	}
	switch b.Role {
	case records.BoxContext:
		return t.toContext(b, raw)
	case records.BoxOffer:
		return t.toOffer(b, raw)
	case records.BoxReply:
		return t.toReply(b, raw)
	case records.BoxInbox:
		return t.toInbox(b, raw)
	case records.BoxDuty:
		return t.toDuty(b, raw)
	}
	return fmt.Errorf("mailbox of role %d: %w", b.Role, fault.Internal)
}

// once remembers until a date that something of a mailbox is acted on, and reports
// whether it was not before.
func (t *turn) once(box key.MailboxKey, id protocol.Hash, until protocol.Second) (fresh bool, err error) {
	return records.MarkSeen(t, box, id, until, t.m.tally.lim.letters())
}

// toContext opens a vendor's first word.
func (t *turn) toContext(b records.Box, raw []byte) error {
	c, err := records.GetContext(t, protocol.ContextID(b.Ref))
	if err != nil {
		return err
	}
	plain, _, err := wire.OpenLetter(key.SealFromSeed[key.ContextSeal](c.Keys.Seal.Secret()), seal.First, t.m.cfg.Net, raw)
	if err != nil {
		return err
	}
	s, err := wire.Open(plain)
	if err != nil {
		return err
	}
	if err := s.Meets(wire.Expect{
		Net: t.m.cfg.Net, Kinds: []protocol.Kind{protocol.KindRequest},
		To: protocol.Hash(c.ID), Context: protocol.Hash(c.ID), Now: t.now,
	}); err != nil {
		return err
	}
	return t.request(c, s)
}

// toOffer opens an offer with both keys of its grant.
func (t *turn) toOffer(b records.Box, raw []byte) error {
	a, err := records.GetAgreement(t, b.Ref)
	if err != nil {
		return err
	}
	keys, err := records.GetOfferKeys(t, a.ID)
	if errors.Is(err, fault.NotFound) {
		return t.late(a, raw)
	}
	if err != nil {
		return err
	}
	sealed, _, err := wire.OpenLetter(key.SealFromSeed[key.OfferSeal](keys.Seal.Secret()), seal.Offer, t.m.cfg.Net, raw)
	if err != nil {
		return err
	}
	plain, err := wire.OpenOffer(keys.Secret.Secret(), a.ID, sealed)
	if err != nil {
		return err
	}
	s, err := wire.Open(plain)
	if err != nil {
		return err
	}
	if err := s.Meets(wire.Expect{
		Net: t.m.cfg.Net, Kinds: []protocol.Kind{protocol.KindOffer}, From: protocol.Hash(a.Theirs.Sign),
		To: protocol.Hash(a.Context), Context: protocol.Hash(a.Context), Now: t.now,
	}); err != nil {
		return err
	}
	return t.offer(a, s)
}

// late counts a letter that no key opens any more, once for its slot: a keeper that
// alters a letter makes no second one of it. A keeper can make letters of its own, too,
// so that no more are counted than a grant may have offers.
func (t *turn) late(a records.Agreement, raw []byte) error {
	l, err := wire.ReadLetter(raw)
	if err != nil {
		return err
	}
	fresh, err := t.once(l.Box, wire.ID(append(l.Box[:], l.Slot[:]...)), t.now+t.letters())
	if err != nil || !fresh {
		return err
	}
	return t.lateOffer(a)
}

// lateOffer counts an offer that surfaced after its keys were destroyed. Nobody can
// open it any more.
func (t *turn) lateOffer(a records.Agreement) error {
	if err := t.m.tally.another(&a.Offers.Late, a.ID); err != nil {
		return err
	}
	if err := t.note("offer.late", agreementNote(&a)); err != nil {
		return err
	}
	return t.keep(&a)
}

// toReply opens the answer to a request of this vendor.
func (t *turn) toReply(b records.Box, raw []byte) error {
	a, err := records.GetAgreement(t, b.Ref)
	if err != nil {
		return err
	}
	if a.Mine.Request.IsZero() {
		return fmt.Errorf("request %s was answered before: %w", a.Letters.Request.Short(), fault.Conflict)
	}
	plain, export, err := wire.OpenLetter(key.SealFromSeed[key.RequestSeal](a.Mine.Request.Secret()), seal.Vendor, t.m.cfg.Net, raw)
	if err != nil {
		return err
	}
	s, err := wire.Open(plain)
	if err != nil {
		return err
	}
	if err := s.Meets(wire.Expect{
		Net: t.m.cfg.Net, Kinds: []protocol.Kind{protocol.KindGrant, protocol.KindCounter, protocol.KindRefusal},
		From: protocol.Hash(a.Context), To: a.Vendor, Context: protocol.Hash(a.Context), Now: t.now,
	}); err != nil {
		return err
	}
	if s.Head().Re != a.Letters.Request {
		return fmt.Errorf("answer to another request: %w", fault.Denied)
	}
	if err := t.acked(a.Letters.Request); err != nil {
		return err
	}
	switch s.Kind() {
	case protocol.KindGrant:
		return t.granted(a, s, export)
	case protocol.KindCounter:
		return t.countered(a, s)
	}
	return t.refused(a, s)
}

// toInbox opens a grant that a customer started.
func (t *turn) toInbox(b records.Box, raw []byte) error {
	v, err := vendorKeys(t)
	if err != nil {
		return err
	}
	k, ok := v.inbox(b.Key, t.now)
	if !ok {
		return fmt.Errorf("inbox whose dates have passed: %w", fault.Expired)
	}
	plain, export, err := wire.OpenLetter(key.SealFromSeed[key.InboxSeal](k.Seal.Secret()), seal.Vendor, t.m.cfg.Net, raw)
	if err != nil {
		return err
	}
	s, err := wire.Open(plain)
	if err != nil {
		return err
	}
	if err := s.Meets(wire.Expect{
		Net: t.m.cfg.Net, Kinds: []protocol.Kind{protocol.KindGrant}, To: v.ID, Context: s.Head().From, Now: t.now,
	}); err != nil {
		return err
	}
	return t.given(v, k, s, export)
}

// onDuty are the signed kinds that travel under duty keys; which side may send which
// is duty's business.
var onDuty = []protocol.Kind{
	protocol.KindReceipt, protocol.KindAccept, protocol.KindDecline, protocol.KindConfirm, protocol.KindFulfil, protocol.KindClose,
	protocol.KindCancel, protocol.KindRevocation, protocol.KindDeletion, protocol.KindRight, protocol.KindAnswer, protocol.KindBreach,
	protocol.KindSuspend, protocol.KindResume, protocol.KindAck,
}

// toDuty opens what arrives on duty keys: a Receipt first, then everything that
// outlives the grant's offers.
func (t *turn) toDuty(b records.Box, raw []byte) error {
	a, err := records.GetAgreement(t, b.Ref)
	if err != nil {
		return err
	}
	plain, _, err := wire.OpenLetter(key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()), seal.Duty, t.m.cfg.Net, raw)
	if err != nil {
		return err
	}
	if wire.IsDisclosure(plain) {
		return t.disclosed(a, plain)
	}
	s, err := wire.Open(plain)
	if err != nil {
		return err
	}
	me := protocol.Hash(key.FromSeed[key.Duty](a.Mine.Sign.Secret()).Public())
	e := wire.Expect{Net: t.m.cfg.Net, Kinds: onDuty, From: protocol.Hash(a.Theirs.Sign), To: me, Context: protocol.Hash(a.Context), Now: t.now}
	if s.Kind() == protocol.KindReceipt {
		e.From = protocol.Hash{} // by an operational key; the passport decides
	} else if a.Theirs.Sign.IsZero() {
		return fmt.Errorf("%s came before its receipt: %w", s.Kind(), errParked)
	}
	if err := s.Meets(e); err != nil {
		return err
	}
	if err := t.acked(s.Head().Re); err != nil {
		return err
	}
	if err := t.wasTold(wire.ReceiptsOf(s.Extra())); err != nil {
		return err
	}
	return t.duty(a, s)
}

// errParked keeps a letter at its keepers until what it follows has come.
const errParked = fault.Offline

// duty acts on one signed message under duty keys.
func (t *turn) duty(a records.Agreement, s wire.Signed) error {
	customer := a.Flow.Me == protocol.Customer
	switch k := s.Kind(); {
	case k == protocol.KindAck:
		return t.ack(a, s)
	case k == protocol.KindReceipt && customer:
		return t.receipt(a, s)
	case k == protocol.KindDeletion && customer:
		return t.deleted(a, s)
	case k == protocol.KindAnswer && customer:
		return t.answered(a, s)
	case k == protocol.KindBreach && customer:
		return t.breached(a, s)
	case k == protocol.KindRevocation && !customer:
		return t.revoked(a, s)
	case k == protocol.KindRight && !customer:
		return t.right(a, s)
	case (k == protocol.KindSuspend || k == protocol.KindResume) && !customer:
		return t.paused(a, s)
	case k >= protocol.KindAccept && k <= protocol.KindCancel:
		return t.dealStep(a, s)
	}
	return fmt.Errorf("%s is not for a %s: %w", s.Kind(), a.Flow.Me, fault.Denied)
}

// ack marks letters of ours as arrived.
func (t *turn) ack(a records.Agreement, s wire.Signed) error {
	m, err := wire.As[*protocol.Ack](s)
	if err != nil {
		return err
	}
	if m.Grant != a.ID {
		return fmt.Errorf("acknowledges letters of another grant: %w", fault.Denied)
	}
	if err := t.told(a, s, m.Acked); err != nil {
		return err
	}
	if a.Flow.Me == protocol.Customer {
		if err := t.taken(&a, m.Acked); err != nil {
			return fmt.Errorf("copies: %w", err)
		}
	}
	return t.acked(m.Acked...)
}

// told keeps the other side's signed word that the Revocation came: should no Deletion
// follow it, the lapse can be shown together with it.
func (t *turn) told(a records.Agreement, s wire.Signed, acked []protocol.Hash) error {
	if a.Letters.Revocation.IsZero() || !a.Letters.Told.IsZero() || !slices.Contains(acked, a.Letters.Revocation) {
		return nil
	}
	a.Letters.Told = s.ID()
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	return t.keep(&a)
}

// said is the event of a signed message.
func said(s wire.Signed, by protocol.Side, until protocol.Second) flow.Event {
	return flow.Event{Kind: s.Kind(), ID: s.ID(), Re: s.Head().Re, By: by, Until: until}
}

// advance lets an agreement take one event, notes it in the ledger, performs what
// the state machine asks of this side, and keeps the agreement with its next
// deadline: in that order, so that the ledger holds a Receipt before anything that
// it allows.
func (t *turn) advance(a *records.Agreement, e flow.Event, note string, more ...string) error {
	e.At = t.now
	next, acts, err := flow.NextAgreement(a.Flow, e)
	if err != nil {
		return fmt.Errorf("%s under grant %s: %w", e.Kind, a.ID.Short(), err)
	}
	was := a.Flow.State
	a.Flow = next
	if note == "" && was != next.State {
		note = "grant." + next.State.String()
	}
	if note != "" {
		if !e.ID.IsZero() {
			more = append(more, "envelope", e.ID.String())
		}
		if err := t.note(note, agreementNote(a, more...)); err != nil {
			return err
		}
	}
	for _, act := range acts {
		if act == flow.RecordLapse && a.Flow.Me == protocol.Customer {
			if err := t.met(a, func(k *records.Acquaintance) { k.Lapses++ }); err != nil {
				return err
			}
		}
		if err := t.act(a, act); err != nil {
			return err
		}
	}
	return t.keep(a)
}

// keep stores an agreement, its next deadline, and what its vendor owes by it.
func (t *turn) keep(a *records.Agreement) error {
	at := int64(0)
	if d := a.Flow.Due(t.m.cfg.Genesis.Duties); d.At > 0 {
		at = int64(d.At) * 1000
	}
	if err := errors.Join(records.SetDue(t, records.DueAgreement, a.ID, at), records.Book(t, a)); err != nil {
		return err
	}
	t.counted(*a)
	return records.PutAgreement(t, *a)
}

// agreementDue tells an agreement that time has passed.
func (t *turn) agreementDue(id protocol.GrantID) error {
	a, err := records.GetAgreement(t, id)
	if err != nil {
		return records.SetDue(t, records.DueAgreement, id, 0)
	}
	if wait, err := t.mailFirst(&a); wait || err != nil {
		return err
	}
	return t.advance(&a, flow.Event{}, "")
}

// mailPauseMS is how long a lapse waits for the mailbox to be read, before it is asked
// for again: a courier with its hands full leaves it be, and what ends is to be acted on
// within a minute.
const mailPauseMS = 10_000

// mailFirst puts a tick off that would record a lapse of the other side, until its
// mailbox was read after the deadline: this node may have been away when the
// answer came.
func (t *turn) mailFirst(a *records.Agreement) (wait bool, err error) {
	_, acts, err := flow.NextAgreement(a.Flow, flow.Event{At: t.now})
	if err != nil || a.Flow.Me != protocol.Customer || !slices.Contains(acts, flow.RecordLapse) {
		return false, err
	}
	box := key.FromSeed[key.Mailbox](a.Mine.Box.Secret()).Public()
	if t.m.read[box] >= a.Flow.Due(t.m.cfg.Genesis.Duties).At {
		delete(t.m.read, box)
		return false, nil
	}
	if _, err := records.GetBox(t, box); err != nil {
		return false, nil // not read any more: whatever was sent came long ago
	}
	t.then(func() { t.m.cfg.Mail.Collect(box) })
	return true, records.SetDue(t, records.DueAgreement, a.ID, t.nowMS+mailPauseMS)
}

// Collected says that all that lay in a mailbox at a moment has been handed over.
func (m *Market) Collected(ctx context.Context, box key.MailboxKey, at protocol.Second) error {
	return m.Do(ctx, "collected", func(t *turn) error {
		b, err := records.GetBox(t, box)
		if err != nil || b.Role != records.BoxDuty {
			return err
		}
		m.read[box] = at
		return t.agreementDue(b.Ref)
	})
}
