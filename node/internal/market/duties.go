package market

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/held"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// act performs what a state machine asks of this side. Acts that are not named here
// are performed by the handler that caused them, or need nothing.
func (t *turn) act(a *records.Agreement, act flow.Act) error {
	switch act {
	case flow.SendDisclosure:
		c, err := records.GetContext(t, a.Context)
		if err != nil {
			return err
		}
		return t.disclose(a, &c, renewal)
	case flow.EndLease:
		return t.endLease(a)
	case flow.DestroyRequestKey:
		return t.destroyRequestKey(a)
	case flow.DestroyOfferKeys:
		return t.destroyOfferKeys(a)
	case flow.DeleteHeld:
		return t.deleteHeld(a)
	case flow.SendDeletion:
		return t.sendDeletion(a)
	case flow.StopOffers:
		if _, err := t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindOffer); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	case flow.RecordLapse:
		return t.lapse(a)
	}
	return nil
}

// destroyRequestKey ends the wait for the answer to a request.
func (t *turn) destroyRequestKey(a *records.Agreement) error {
	if a.Mine.Reply.IsZero() {
		return nil
	}
	if err := t.unread(key.FromSeed[key.Mailbox](a.Mine.Reply.Secret()).Public()); err != nil {
		return err
	}
	a.Mine.Request, a.Mine.Reply = protocol.Shared{}, protocol.Shared{}
	return nil
}

// destroyOfferKeys makes every further offer of a grant unreadable, for everyone.
func (t *turn) destroyOfferKeys(a *records.Agreement) error {
	if err := t.dropCopies(a.ID); err != nil {
		return fmt.Errorf("copies: %w", err)
	}
	if t.m.cfg.Misbehave == ReopenRevoked {
		return nil
	}
	keys, err := records.GetOfferKeys(t, a.ID)
	if errors.Is(err, fault.NotFound) {
		return nil // never made, or destroyed before
	}
	if err != nil {
		return err
	}
	if err := t.clearBox(a, keys); err != nil {
		return err
	}
	// A disclosure that has not left yet does not leave any more.
	if _, err := t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindDisclosure); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return records.DestroyOfferKeys(t, a.ID)
}

// clearBox has the keepers of the offer mailbox delete what lies there undelivered,
// and refuse the vendor's capability from now on.
func (t *turn) clearBox(a *records.Agreement, keys records.OfferKeys) error {
	g, err := t.signedGrant(a)
	if err != nil {
		return err
	}
	id := wire.NewID() // the order is no letter; its bytes only name it
	return t.post(outbox.Item{
		What: outbox.DeleteLetters, Data: id[:], Box: g.OfferBox.Capability.Box, Keepers: g.OfferBox.Keepers,
		Cap: g.OfferBox.Capability, Seed: keys.Box, Grant: a.ID, Expires: g.OfferBox.Capability.Expires, Next: t.nowMS + clearMS,
	})
}

// Revoke ends grants: their offer keys are destroyed, what lies undelivered is
// deleted, the vendors are told under duty keys and owe a signed deletion. The
// needs that still have living grants go to a new body key, which Moves sees to.
func (m *Market) Revoke(ctx context.Context, ids []protocol.GrantID, reason string) error {
	var failed error
	for _, id := range ids { // one that has ended meanwhile leaves none of the others living
		failed = errors.Join(failed, m.command(ctx, "revoke", func(t *turn) error {
			a, err := records.GetAgreement(t, id)
			if err != nil {
				return err
			}
			return t.revoke(&a, reason)
		}))
	}
	return failed
}

// revoke ends one grant.
func (t *turn) revoke(a *records.Agreement, reason string) error {
	if a.Flow.Me != protocol.Customer {
		return fmt.Errorf("grant %s is a customer's to revoke: %w", a.ID.Short(), fault.Denied)
	}
	if err := a.Flow.May(protocol.Customer, protocol.KindRevocation); err != nil {
		return fmt.Errorf("grant %s is %s: %w", a.ID.Short(), a.Flow.State, err)
	}
	a.Times.Revoked = t.nowMS
	if err := t.moveOthers(a); err != nil {
		return err
	}
	if a.Theirs.Sign.IsZero() {
		return t.revokeEarly(a, reason)
	}
	return t.tellRevoked(a, reason)
}

// tellRevoked sends the Revocation under duty keys, after the offer keys are gone.
func (t *turn) tellRevoked(a *records.Agreement, reason string) error {
	if err := t.destroyOfferKeys(a); err != nil {
		return err
	}
	blind, err := t.blind(a, protocol.KindRevocation)
	if err != nil {
		return err
	}
	deadline := t.now + t.m.cfg.Genesis.Duties.Deletion
	m := &protocol.Revocation{Grant: a.ID, Deadline: deadline, Ledger: blind, Reason: reason}
	id, err := t.sendDuty(a, m, protocol.KindRevocation, a.Letters.Receipt)
	if err != nil {
		return err
	}
	a.Letters.Revocation = id
	e := flow.Event{Kind: protocol.KindRevocation, ID: id, Re: m.Re, By: protocol.Customer, Until: deadline}
	return t.advance(a, e, "grant.revoked", "reason", reason)
}

// revokeEarly ends a grant that no vendor has countersigned: nothing was disclosed,
// nobody owes anything. A Receipt that crossed it is answered with the Revocation.
func (t *turn) revokeEarly(a *records.Agreement, reason string) error {
	if _, err := t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindGrant); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	e := flow.Event{
		Kind: protocol.KindRevocation, ID: protocol.Hash(key.NewSecret().Reveal()), // an event of this side alone
		Re: a.Letters.Grant, By: protocol.Customer, Until: t.now + t.m.cfg.Genesis.Duties.Deletion,
	}
	return t.advance(a, e, "grant.revoked", "reason", reason)
}

// revoked takes a customer's revocation: the vendor's node deletes by itself and
// signs what it did.
func (t *turn) revoked(a records.Agreement, s wire.Signed) error {
	r, err := wire.As[*protocol.Revocation](s)
	if err != nil {
		return err
	}
	if r.Grant != a.ID {
		return fmt.Errorf("revokes another grant: %w", fault.Denied)
	}
	a.Letters.Revocation, a.Times.Revoked = s.ID(), t.nowMS
	a.Heads = append(a.Heads, records.Head{Blind: r.Ledger, By: protocol.KindRevocation.String()})
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	return t.advance(&a, said(s, protocol.Customer, r.Deadline), "revocation.kept")
}

// Exported notes, before it is done, that a vendor writes a value out of its node: what
// lies in a file of its own no Deletion reaches, so the Deletion names it.
func (m *Market) Exported(ctx context.Context, id protocol.GrantID, f protocol.FieldName) error {
	return m.Do(ctx, "export", func(t *turn) error {
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		if !slices.Contains(a.Standing.Exported, f) && len(a.Standing.Exported) < protocol.MaxFields {
			a.Standing.Exported = append(a.Standing.Exported, f)
		}
		if err := t.note("held.exported", agreementNote(&a, "field", string(f))); err != nil {
			return err
		}
		return t.keep(&a)
	})
}

// DeleteHeld deletes at once what a vendor holds under a grant, because its owner says so.
// The grant may live on; the Deletion that it ends with names what went here too.
func (m *Market) DeleteHeld(ctx context.Context, id protocol.GrantID) error {
	return m.command(ctx, "delete held", func(t *turn) error {
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		names, err := t.drop(&a)
		if err != nil || len(names) == 0 {
			return err
		}
		if err := t.note("held.deleted", agreementNote(&a, "deleted", strings.Join(names, ", "))); err != nil {
			return err
		}
		return t.keep(&a)
	})
}

// drop deletes all that a vendor holds under a grant, and remembers its names for the
// Deletion.
func (t *turn) drop(a *records.Agreement) ([]string, error) {
	names, err := t.m.cfg.Stores.Held.Delete(t, a.ID)
	if err != nil {
		return nil, fmt.Errorf("held: %w", err)
	}
	a.Standing.Dropped = merge(a.Standing.Dropped, names)
	return names, nil
}

// exports are the lines of a Deletion for the list of them, which ends with the grant.
func exports(a *records.Agreement) (lines []string) {
	for _, f := range a.Standing.Exported {
		lines = append(lines, exportLine+string(f))
	}
	return lines
}

const exportLine = "list of exports: field "

// deleteHeld deletes all that a vendor holds under a grant, the list of its exports, and
// what it had still to send under it.
func (t *turn) deleteHeld(a *records.Agreement) error {
	names, err := t.m.cfg.Stores.Held.Names(t, a.ID)
	if err == nil && t.m.cfg.Misbehave != KeepDeleted {
		names, err = t.m.cfg.Stores.Held.Delete(t, a.ID)
	}
	if err != nil {
		return fmt.Errorf("held: %w", err)
	}
	a.Terms.Deleted, a.MAC = merge(exports(a), merge(a.Standing.Dropped, names)), protocol.Shared{}
	a.Standing.Exported = nil
	if _, err := t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindOffer); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// sendDeletion signs that it was done.
func (t *turn) sendDeletion(a *records.Agreement) error {
	m := &protocol.Deletion{Grant: a.ID, Deleted: a.Terms.Deleted, Where: []string{"node store", "outbox"}}
	if n := len(a.Heads); n > 0 {
		m.Ledger = a.Heads[n-1].Blind
	}
	re := a.Letters.Revocation
	if re.IsZero() {
		re = a.Letters.Grant // it ended by its own date
	}
	id, err := t.sendDuty(a, m, protocol.KindDeletion, re)
	if err != nil {
		return err
	}
	a.Letters.Deletion, a.Times.Deleted = id, t.nowMS
	e := flow.Event{Kind: protocol.KindDeletion, ID: id, Re: re, By: protocol.Vendor}
	return t.advance(a, e, "deletion.sent", "deleted", strings.Join(a.Terms.Deleted, ", "))
}

// deleted takes a vendor's signed deletion.
func (t *turn) deleted(a records.Agreement, s wire.Signed) error {
	d, err := wire.As[*protocol.Deletion](s)
	if err != nil {
		return err
	}
	if d.Grant != a.ID {
		return fmt.Errorf("deletion under another grant: %w", fault.Denied)
	}
	if !d.Ledger.IsZero() && !countersigned(&a, d.Ledger, s.ID()) {
		return fmt.Errorf("deletion countersigns another ledger: %w", fault.Denied)
	}
	a.Letters.Deletion, a.Times.Deleted, a.Terms.Deleted = s.ID(), t.nowMS, d.Deleted
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	if err := t.oweWithin(&a, s.ID(), lastAckMS); err != nil {
		return err
	}
	return t.advance(&a, said(s, protocol.Vendor, 0), "deletion.kept", "deleted", strings.Join(d.Deleted, ", "))
}

// lapse records promises that the other side broke, with the envelopes that prove
// them.
func (t *turn) lapse(a *records.Agreement) error {
	for _, l := range a.Flow.Lapses {
		what := fmt.Sprintf("no %s by %s, owed under %s", l.Owed, time.Unix(int64(l.Due), 0).UTC().Format(time.RFC3339), l.Re)
		if slices.Contains(a.Lapses, what) || len(a.Lapses) >= records.MaxLapses {
			continue
		}
		a.Lapses = append(a.Lapses, what)
		for i := range a.Rights {
			if a.Rights[i].ID == l.Re {
				a.Rights[i].Status = "lapsed"
			}
		}
		if err := t.note("lapse", agreementNote(a, "what", what, "receipt", a.Letters.Receipt.String())); err != nil {
			return err
		}
	}
	return nil
}

// Exercise sends one of the customer's rights under a grant, also long after its
// need was closed.
func (m *Market) Exercise(ctx context.Context, id protocol.GrantID, e protocol.Exercise, fields []protocol.FieldName, values []protocol.FieldValue) error {
	return m.command(ctx, "right", func(t *turn) error {
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		return t.exercise(&a, e, fields, values)
	})
}

// exercise sends a right. Fields that are to be deleted are given no more, and their
// deletion is due as soon as that of a whole grant.
func (t *turn) exercise(a *records.Agreement, e protocol.Exercise, fields []protocol.FieldName, values []protocol.FieldValue) error {
	if a.Flow.Me != protocol.Customer || a.Theirs.Sign.IsZero() {
		return fmt.Errorf("grant %s was never countersigned: there is nobody to ask: %w", a.ID.Short(), fault.Conflict)
	}
	if len(a.Rights) >= records.MaxRights {
		return fmt.Errorf("rights under grant %s: %w", a.ID.Short(), fault.Full)
	}
	deadline := t.now + t.m.cfg.Genesis.Duties.Right
	var unsent []outbox.Item
	if e == protocol.RightDeletion && len(fields) > 0 {
		a.Standing.Withhold(fields...)
		err := t.dropCopies(a.ID, fields...)
		if err != nil {
			return fmt.Errorf("copies: %w", err)
		}
		if unsent, err = t.m.cfg.Stores.Outbox.CancelFor(t, a.ID, protocol.KindDisclosure); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		deadline = t.now + t.m.cfg.Genesis.Duties.Deletion
	}
	r := &protocol.Right{Grant: a.ID, Exercise: e, Fields: fields, Values: values, Deadline: deadline}
	rid, err := t.sendDuty(a, r, protocol.KindRight, a.Letters.Receipt)
	if err != nil {
		return err
	}
	a.Rights = append(a.Rights, records.Right{ID: rid, Exercise: e, At: t.now, Deadline: deadline, Status: "open"})
	ev := flow.Event{Kind: protocol.KindRight, ID: rid, Re: r.Re, By: protocol.Customer, Until: deadline}
	if err := t.advance(a, ev, "right.sent"); err != nil || len(unsent) == 0 {
		return err
	}
	_, err = t.discloseAgain(a.ID, changed) // what had not left goes without these fields
	return err
}

// right answers a customer's right by what this vendor holds.
func (t *turn) right(a records.Agreement, s wire.Signed) error {
	r, err := wire.As[*protocol.Right](s)
	if err != nil {
		return err
	}
	if r.Grant != a.ID {
		return fmt.Errorf("right under another grant: %w", fault.Denied)
	}
	if len(r.Values) == 0 { // what holds values is kept as held alone, and deleted with it
		if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
			return err
		}
	}
	if err := t.advance(&a, said(s, protocol.Customer, r.Deadline), "right.kept"); err != nil {
		return err
	}
	answer := &protocol.Answer{Grant: a.ID, Status: protocol.RequestFulfilled}
	if err := t.fulfilRight(&a, r, answer); err != nil {
		return err
	}
	id, err := t.sendDuty(&a, answer, protocol.KindAnswer, s.ID())
	if err == nil && len(answer.Values) > 0 {
		err = records.DeleteEnvelope(t, id)
	}
	if err != nil {
		return err
	}
	e := flow.Event{Kind: protocol.KindAnswer, ID: id, Re: s.ID(), By: protocol.Vendor}
	return t.advance(&a, e, "right.answered", "right", s.ID().String())
}

// fulfilRight does what a right asks and says so in the answer.
func (t *turn) fulfilRight(a *records.Agreement, r *protocol.Right, answer *protocol.Answer) error {
	if r.Exercise == protocol.RightDeletion {
		a.Standing.Withhold(r.Fields...)
	}
	rec, err := t.m.cfg.Stores.Held.Get(t, a.ID)
	if err != nil {
		answer.Text = "nothing is held under this grant"
		return nil
	}
	switch r.Exercise {
	case protocol.RightAccess:
		wanted := slices.DeleteFunc(slices.Clone(rec.Fields), func(v protocol.FieldValue) bool {
			return len(r.Fields) > 0 && !slices.Contains(r.Fields, v.Name)
		})
		answer.Values, answer.Text = fitting(wanted)
		for _, b := range rec.Blobs { // she has them, and they do not fit
			text := strings.TrimSpace(fmt.Sprintf("held as a large value of %d bytes: %s. %s", b.Size, b.Name, answer.Text))
			answer.Text = text[:min(len(text), protocol.MaxText)]
		}
	case protocol.RightCorrection:
		for i := range rec.Fields {
			for _, v := range r.Values {
				if rec.Fields[i].Name == v.Name {
					rec.Fields[i] = v
				}
			}
		}
		answer.Text = "corrected"
		return t.m.cfg.Stores.Held.Put(t, rec)
	case protocol.RightDeletion, protocol.RightObjection:
		if r.Exercise == protocol.RightDeletion && len(r.Fields) > 0 {
			return t.deleteFields(a, rec, answer)
		}
		if _, err := t.drop(a); err != nil {
			return err
		}
		answer.Text = "deleted what was held; revoke the grant to end further disclosures"
	}
	return nil
}

// deleteFields deletes the fields of a record that were taken back.
func (t *turn) deleteFields(a *records.Agreement, rec held.Record, answer *protocol.Answer) error {
	answer.Text = "deleted what was held of these fields"
	if t.m.cfg.Misbehave == KeepDeleted {
		return nil
	}
	had := rec.Names()
	rec.Fields = slices.DeleteFunc(rec.Fields, func(v protocol.FieldValue) bool { return a.Standing.Lacks(v.Name) })
	rec.Blobs = slices.DeleteFunc(rec.Blobs, func(b held.Blob) bool { return a.Standing.Lacks(b.Name) })
	left := rec.Names()
	a.Standing.Dropped = merge(a.Standing.Dropped, slices.DeleteFunc(had, func(name string) bool { return slices.Contains(left, name) }))
	return t.m.cfg.Stores.Held.Put(t, rec)
}

// maxAnswer leaves room for the rest of an answer in its envelope.
const maxAnswer = 12 * 1024

// fitting gives the values that one answer holds, and names those that it does not.
func fitting(values []protocol.FieldValue) (list []protocol.FieldValue, text string) {
	size := 0
	var rest []string
	for _, v := range values {
		if size+len(v.Value) > maxAnswer {
			rest = append(rest, string(v.Name))
			continue
		}
		size += len(v.Value)
		list = append(list, v)
	}
	if len(rest) > 0 {
		text = "held too, and asked for by name comes alone: " + strings.Join(rest, ", ")
	}
	return list, text[:min(len(text), protocol.MaxText)]
}

// answered takes a vendor's answer to a right.
func (t *turn) answered(a records.Agreement, s wire.Signed) error {
	m, err := wire.As[*protocol.Answer](s)
	if err != nil {
		return err
	}
	if m.Grant != a.ID {
		return fmt.Errorf("answer under another grant: %w", fault.Denied)
	}
	for i := range a.Rights {
		if r := &a.Rights[i]; r.ID == m.Re {
			r.Status, r.Text, r.Answer = "fulfilled", m.Text, s.ID()
			if m.Status == protocol.RequestRejected {
				r.Status = "rejected"
			}
		}
	}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	if err := t.owe(&a, s.ID()); err != nil {
		return err
	}
	return t.advance(&a, said(s, protocol.Vendor, 0), "right.fulfilled", "right", m.Re.String())
}

// breached keeps a vendor's notice that data may have been exposed.
func (t *turn) breached(a records.Agreement, s wire.Signed) error {
	b, err := wire.As[*protocol.Breach](s)
	if err != nil {
		return err
	}
	if b.Grant != a.ID {
		return fmt.Errorf("breach under another grant: %w", fault.Denied)
	}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	if err := t.note("breach", agreementNote(&a, "what", b.What, "advice", b.Advice, "envelope", s.ID().String())); err != nil {
		return err
	}
	if err := t.owe(&a, s.ID()); err != nil {
		return err
	}
	a.Letters.Breach = s.ID()
	return t.keep(&a)
}

// Pause suspends a grant, or resumes it.
func (m *Market) Pause(ctx context.Context, id protocol.GrantID, resume bool, reason string) error {
	kind := protocol.KindSuspend
	if resume {
		kind = protocol.KindResume
	}
	return m.command(ctx, kind.String(), func(t *turn) error {
		a, err := records.GetAgreement(t, id)
		if err != nil {
			return err
		}
		if a.Flow.Me != protocol.Customer || a.Theirs.Sign.IsZero() {
			return fmt.Errorf("grant %s cannot be paused: %w", id.Short(), fault.Conflict)
		}
		if err := a.Flow.May(protocol.Customer, kind); err != nil {
			return fmt.Errorf("grant %s is %s: %w", id.Short(), a.Flow.State, err)
		}
		re := a.Letters.Receipt
		if resume {
			re = a.Letters.Pause
		}
		eid, err := t.sendDuty(&a, &protocol.Pause{Grant: id, Reason: reason}, kind, re)
		if err != nil {
			return err
		}
		a.Letters.Pause = eid
		return t.advance(&a, flow.Event{Kind: kind, ID: eid, Re: re, By: protocol.Customer}, "", "reason", reason)
	})
}

// paused takes a customer's Suspend or Resume.
func (t *turn) paused(a records.Agreement, s wire.Signed) error {
	p, err := wire.As[*protocol.Pause](s)
	if err != nil {
		return err
	}
	if p.Grant != a.ID {
		return fmt.Errorf("pauses another grant: %w", fault.Denied)
	}
	if err := t.owe(&a, s.ID()); err != nil {
		return err
	}
	return t.advance(&a, said(s, protocol.Customer, 0), "")
}
