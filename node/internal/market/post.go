package market

import (
	"encoding/json"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// Quotas of the capabilities that this node hands out: letters at once at one
// keeper, and KiB of plaintext buckets.
const (
	offerLetters, offerKiB = 64, 256
	dutyLetters, dutyKiB   = 128, 1024
	replyLetters, replyKiB = 4, 64
)

// ackDelayMS is how long acknowledgements are gathered, so that one letter
// acknowledges many.
const ackDelayMS = 120

// Work that a revocation leaves behind, and that must not stand in the way of others
// that are revoked with it: the deletion is acknowledged, and keepers are told to empty
// a mailbox of which no letter opens any more.
const (
	lastAckMS = 4_000
	clearMS   = 1_500
)

func wireNote(body map[string]string) ([]byte, error) {
	raw, err := json.Marshal(body) // keys sorted: the same body gives the same bytes
	if err != nil {
		return nil, fmt.Errorf("note: %w", err)
	}
	return raw, nil
}

// header starts a payload of one kind.
func (t *turn) header(kind protocol.Kind, to, ctx protocol.Hash, life protocol.Second) protocol.Header {
	return protocol.Header{
		Net: t.m.cfg.Net, Kind: kind, ID: wire.NewID(), To: to, Context: ctx,
		Created: t.now, Expires: t.now + life,
	}
}

// letters is the longest life of a letter in this network.
func (t *turn) letters() protocol.Second { return t.m.cfg.Genesis.Duties.Letters }

// dutyUntil is how long a duty mailbox is read for a grant that ends then: keepers accept
// no capability for longer, and of a grant of two years a month is left after its end.
func (t *turn) dutyUntil(end protocol.Second) protocol.Second {
	boxes := t.m.cfg.Genesis.Duties.Boxes
	return min(end+boxes, t.now+boxes+2*protocol.MaxStandLife-protocol.MaxSkew)
}

// newBox makes a mailbox that this node reads, and the address that one
// counterparty may use.
func (t *turn) newBox(role records.Role, ref protocol.Hash, keepers []protocol.Keeper, until protocol.Second, letters, kib uint16) (key.Private[key.Mailbox], protocol.Address, error) {
	k := key.Generate[key.Mailbox]()
	addr, err := t.admit(k, keepers, until, letters, kib)
	if err != nil {
		return k, addr, err
	}
	return k, addr, t.read(k, role, ref, keepers, until)
}

// admit makes a capability for a mailbox, with a fresh depositor key.
func (t *turn) admit(k key.Private[key.Mailbox], keepers []protocol.Keeper, until protocol.Second, letters, kib uint16) (protocol.Address, error) {
	depositor := key.Generate[key.Depositor]()
	c := protocol.Capability{
		Box: k.Public(), ID: wire.NewID(), Depositor: depositor.Public(),
		Letters: letters, KiB: kib, Expires: until,
	}
	if err := wire.SignCapability(k, &c); err != nil {
		return protocol.Address{}, fmt.Errorf("capability: %w", err)
	}
	return protocol.Address{Keepers: keepers, Capability: c, Seed: protocol.Share(depositor.Seed())}, nil
}

// read keeps a mailbox among those to be read, and reads it once the turn is kept.
func (t *turn) read(k key.Private[key.Mailbox], role records.Role, ref protocol.Hash, keepers []protocol.Keeper, until protocol.Second) error {
	b := records.Box{Key: k.Public(), Seed: protocol.Share(k.Seed()), Role: role, Ref: ref, Keepers: keepers, Until: until}
	if err := records.PutBox(t, b); err != nil {
		return err
	}
	t.then(func() { t.m.cfg.Mail.Watch(b) })
	return records.SetDue(t, records.DueBox, b.Key, int64(until)*1000)
}

// unread forgets a mailbox.
func (t *turn) unread(k key.MailboxKey) error {
	t.then(func() { t.m.cfg.Mail.Unwatch(k) })
	if err := records.SetDue(t, records.DueBox, k, 0); err != nil {
		return err
	}
	return records.DeleteBox(t, k)
}

// boxDue forgets a mailbox whose last duty has ended.
func (t *turn) boxDue(k key.MailboxKey) error { return t.unread(k) }

// put hands sealed bytes to the outbox, for an address.
func (t *turn) put(it outbox.Item, to protocol.Address) error {
	it.What = outbox.Letter
	it.Box, it.Keepers, it.Cap, it.Seed = to.Capability.Box, to.Keepers, to.Capability, to.Seed
	return t.post(it)
}

// post puts an item into the outbox.
func (t *turn) post(it outbox.Item) error {
	it.ID, it.CreatedMS = wire.ID(it.Data), t.nowMS
	if err := t.m.cfg.Stores.Outbox.Put(t, it); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	t.mailed = true
	return nil
}

// sendDuty signs a message with this side's duty key, seals it to the other's and
// puts it into the outbox. It fills in the header.
func (t *turn) sendDuty(a *records.Agreement, m protocol.Message, kind protocol.Kind, re protocol.Hash) (protocol.Hash, error) {
	h := m.Head()
	*h = t.header(kind, protocol.Hash(a.Theirs.Sign), protocol.Hash(a.Context), t.letters())
	a.Counter++
	h.Seq, h.Re = a.Counter, re
	signed, err := t.signDuty(a, m)
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("sign %s: %w", kind, err)
	}
	id := wire.ID(signed)
	return id, t.sealDuty(a, signed, id, kind, h.Expires)
}

// sealDuty seals plaintext to the other side's duty lock.
func (t *turn) sealDuty(a *records.Agreement, plain []byte, envelope protocol.Hash, kind protocol.Kind, expires protocol.Second) error {
	raw, _, err := wire.SealLetter(a.Theirs.Seal, seal.Duty, t.m.cfg.Net, a.Theirs.Box.Capability.Box, expires, plain)
	if err != nil {
		return fmt.Errorf("seal %s: %w", kind, err)
	}
	if kind != protocol.KindDisclosure { // values stay in the vault alone, where they can be erased
		if err := records.PutEnvelope(t, envelope, plain); err != nil {
			return err
		}
	}
	return t.put(outbox.Item{Data: raw, Envelope: envelope, Kind: kind, Grant: a.ID, Expires: expires}, a.Theirs.Box)
}

// acked marks letters of ours as arrived.
func (t *turn) acked(envelopes ...protocol.Hash) error {
	for _, e := range envelopes {
		if e.IsZero() {
			continue
		}
		it, ended, err := t.m.cfg.Stores.Outbox.Ack(t, e)
		if err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
		if ended {
			if err := t.willTell(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// owe queues an acknowledgement; an answer that names the envelope in Re makes it
// unnecessary.
func (t *turn) owe(a *records.Agreement, envelope protocol.Hash) error {
	return t.oweWithin(a, envelope, ackDelayMS)
}

// oweWithin is owe for what is not urgent.
func (t *turn) oweWithin(a *records.Agreement, envelope protocol.Hash, ms int64) error {
	if len(a.AckQueue) >= records.MaxAckQueue {
		return fmt.Errorf("acknowledgements of grant %s: %w", a.ID.Short(), fault.Full)
	}
	a.AckQueue = append(a.AckQueue, envelope)
	return records.SetDue(t, records.DueAck, a.ID, t.nowMS+ms)
}

// flushAcks sends what owe gathered.
func (t *turn) flushAcks(id protocol.GrantID) error {
	a, err := records.GetAgreement(t, id)
	if err != nil {
		return records.SetDue(t, records.DueAck, id, 0)
	}
	n := min(len(a.AckQueue), protocol.MaxAcked)
	if n > 0 && !a.Theirs.Sign.IsZero() {
		if _, err := t.sendDuty(&a, &protocol.Ack{Grant: id, Acked: a.AckQueue[:n]}, protocol.KindAck, protocol.Hash{}); err != nil {
			return err
		}
	}
	a.AckQueue = a.AckQueue[n:]
	next := int64(0)
	if len(a.AckQueue) > 0 {
		next = t.nowMS + ackDelayMS
	}
	if err := records.SetDue(t, records.DueAck, id, next); err != nil {
		return err
	}
	return records.PutAgreement(t, a)
}

// blind makes a blinded head of this ledger for a counterparty to countersign.
func (t *turn) blind(a *records.Agreement, by protocol.Kind) (protocol.Hash, error) {
	h, err := t.m.cfg.Stores.Ledger.Head(t, t.nowMS)
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("ledger head: %w", err)
	}
	if t.m.cfg.Misbehave == ForkLedger {
		h.Root[0] ^= 1 // the head of another history
	}
	salt := wire.NewID()
	b := protocol.Hash(ledger.Blind(h, salt))
	if len(a.Heads) >= records.MaxHeads {
		return protocol.Hash{}, fmt.Errorf("ledger heads of grant %s: %w", a.ID.Short(), fault.Full)
	}
	a.Heads = append(a.Heads, records.Head{Blind: b, Size: h.Size, Salt: salt, By: by.String()})
	return b, nil
}

// countersigned records that the other side signed a blinded head of ours.
func countersigned(a *records.Agreement, blind, envelope protocol.Hash) bool {
	for i := range a.Heads {
		if a.Heads[i].Blind == blind {
			a.Heads[i].Signed = envelope
			return true
		}
	}
	return false
}
