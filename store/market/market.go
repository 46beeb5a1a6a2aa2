// Package market keeps the contexts, agreements and deals of this node, the keys
// that belong to them, and the mailboxes that must be read. Everything is written
// inside the caller's transaction, which also spans the ledger and the outbox, so
// that a step of the market is kept whole or not at all.
//
// The store must be the private, sealed one: records hold keys. Its kv keys are
// ids that are random or hashes, never text.
package market

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
)

// A Context is one reason to deal with others: its keys, what was announced, and
// its state. On a vendor's side contexts are not kept; agreements name them.
type Context struct {
	ID          protocol.ContextID
	Flow        flow.Context
	Name        string // her own words, shown to nobody else
	Category    protocol.Category
	Region      protocol.Region
	Fields      []protocol.FieldOnOffer
	Issuers     []key.IssuerKey
	Demand      protocol.Demand
	Keepers     []protocol.Keeper
	Keys        ContextKeys
	Announced   []Announced // bounded: the latest few, newest last
	Raw         []byte      // the latest announcement
	CreatedMS   int64
	AnnouncedMS int64
	Life        protocol.Second
	Auto        bool `cbor:",omitempty"` // its owner said: grant by yourself what it offers
}

// ContextKeys are a context's own keys.
type ContextKeys struct {
	Sign protocol.Shared `cbor:",omitzero"` // seeds
	Seal protocol.Shared `cbor:",omitzero"`
	Box  protocol.Shared `cbor:",omitzero"`
	Body protocol.Shared `cbor:",omitzero"` // key of the current seq's body
}

// An Announced is one version that went out.
type Announced struct {
	Hash    protocol.Hash
	Seq     uint64
	Expires protocol.Second
}

// An Agreement is one vendor's request, grant and all that follows, seen from this
// node's side. Its id is the grant id, which follows from the request.
//
//house:allow fields everything about an agreement is kept as one record
type Agreement struct {
	ID         protocol.GrantID
	Context    protocol.ContextID
	Reason     protocol.ContextKind
	Vendor     protocol.VendorID
	VendorName string
	Flow       flow.Agreement
	Terms      Terms
	Letters    Letters
	Mine       DutyKeys
	Theirs     Counterparty
	MAC        protocol.Shared `cbor:",omitzero"` // authenticates disclosures
	Counter    uint64          // Seq of the last message sent under it
	Leases     uint64
	AckQueue   []protocol.Hash // envelopes to acknowledge
	Heads      []Head
	Rights     []Right
	Lapses     []string
	Times      Times
	Offers     OfferCount
	Answered   bool // vendor: offers for the latest disclosure were made
	Standing   Standing
	Paying     Paying
}

// Terms are what was agreed.
type Terms struct {
	Fields     []protocol.FieldGrant
	Asked      []protocol.FieldAsk
	Start, End protocol.Second
	Lease      protocol.Second
	Why, Law   string   // of a refusal
	Deleted    []string // names of what was deleted, once it was
	Consent    Consent  // how the request was decided
}

// Letters are the hashes of the envelopes that made the agreement.
type Letters struct {
	Announcement, Request, Grant, Receipt, Disclosure, Revocation, Deletion, Pause protocol.Hash

	Told     protocol.Hash // the other side's signed word that the Revocation came
	Breach   protocol.Hash // the latest notice of one
	Passport protocol.Hash // customer: the latest of those that the vendor's keys were checked by
}

// DutyKeys are this side's keys under the agreement, as seeds, and the box that
// they read.
type DutyKeys struct {
	Sign    protocol.Shared `cbor:",omitzero"`
	Seal    protocol.Shared `cbor:",omitzero"`
	Box     protocol.Shared `cbor:",omitzero"`
	Request protocol.Shared `cbor:",omitzero"` // vendor: opens the answer to the request, until the Receipt
	Reply   protocol.Shared `cbor:",omitzero"` // vendor: the mailbox of that answer
}

// Counterparty is the other side's duty key, lock and address.
type Counterparty struct {
	Sign      key.DutyKey
	Seal      key.Encapsulation[key.DutySeal] `cbor:",omitzero"`
	Box       protocol.Address
	OfferSeal key.Encapsulation[key.OfferSeal] `cbor:",omitzero"` // vendor: where offers go
	OfferBox  protocol.Address
}

// A Head is a blinded ledger head that went to, or came from, the other side.
type Head struct {
	Blind  protocol.Hash
	Size   int64         // own heads only
	Salt   protocol.ID   // own heads only
	By     string        // message that carried it
	Signed protocol.Hash // envelope that countersigned it, zero until then
}

// A Right is a right that was exercised under the agreement.
type Right struct {
	ID       protocol.Hash
	Exercise protocol.Exercise
	At       protocol.Second
	Deadline protocol.Second
	Status   string
	Text     string
	Answer   protocol.Hash // the letter that answers it
}

// Times are moments in Unix milliseconds, for figures.
type Times struct {
	Requested, Granted, Receipted, Disclosed, Revoked, Deleted int64
}

// An OfferCount counts offers that came to the customer: kept in time, and late, after
// the grant had ended. Of the late ones none opens, unless keys that were to be
// destroyed were kept.
type OfferCount struct{ Kept, Late, LateOpened int }

// OfferKeys open a grant's offers. They live in a record of their own, so that
// destroying them is deleting it.
type OfferKeys struct {
	Seal   protocol.Shared `cbor:",omitzero"`
	Secret protocol.Shared `cbor:",omitzero"`
	Box    protocol.Shared `cbor:",omitzero"`
}

// A Deal is an offer and what became of it. The offer is kept as opened: inside
// the sealed store, under this node's own record key.
type Deal struct {
	ID         protocol.Hash // of the Offer's envelope
	Grant      protocol.GrantID
	Context    protocol.ContextID
	Side       protocol.Side
	Vendor     protocol.VendorID
	VendorName string
	Offer      protocol.Offer
	Flow       flow.Deal
	Misses     []string
	Steps      []Step
	LastStep   protocol.Hash
	AtMS       int64
}

// A Step is one move of a deal.
type Step struct {
	Kind protocol.Kind
	By   protocol.Side
	ID   protocol.Hash
	AtMS int64
	Note string
}

// A Role says whose letters a mailbox gets.
type Role uint8

// The roles of mailboxes.
const (
	BoxContext Role = 1 // requests to a need or interest
	BoxOffer   Role = 2
	BoxDuty    Role = 3
	BoxReply   Role = 4 // answers to one request
	BoxInbox   Role = 5 // a vendor's inbox
)

// A Box is a mailbox that this node reads until Until.
type Box struct {
	Key     key.MailboxKey
	Seed    protocol.Shared `cbor:",omitzero"`
	Role    Role
	Ref     protocol.Hash // context id or grant id
	Keepers []protocol.Keeper
	Until   protocol.Second
}

// A table is one kind of record under a prefix.
type table[T any] string

func (t table[T]) key(id []byte) []byte { return append([]byte(t), id...) }

func (t table[T]) get(r kv.Reader, id []byte) (T, error) {
	var v T
	err := kv.GetCBOR(r, t.key(id), &v)
	return v, err
}

func (t table[T]) put(tx kv.Tx, id []byte, v T) error { return kv.PutCBOR(tx, t.key(id), v) }

func (t table[T]) scan(r kv.Reader, sub, after []byte, fn func(id []byte, v T) (bool, error)) error {
	prefix := t.key(sub)
	var from []byte
	if after != nil {
		from = t.key(after)
	}
	return r.Scan(prefix, from, func(k, raw []byte) (bool, error) {
		var v T
		if err := kv.DecodeCBOR(raw, &v); err != nil {
			return false, fmt.Errorf("market: record %x: %w", k, err)
		}
		return fn(k[len(t):], v)
	})
}

const (
	contexts   table[Context]       = "k/c/"
	agreements table[Agreement]     = "k/a/"
	byContext  table[byte]          = "k/x/" // context ‖ grant
	byVendor   table[protocol.Hash] = "k/u/" // context ‖ vendor -> the latest agreement
	offerKeys  table[OfferKeys]     = "k/o/"
	deals      table[Deal]          = "k/d/"
	byGrant    table[byte]          = "k/y/" // grant ‖ offer
	boxes      table[Box]           = "k/b/"
	sightings  table[Sighting]      = "k/z/"
	told       table[Told]          = "k/r/"
	envelopes  table[[]byte]        = "k/e/"
	seen       table[Once]          = "k/s/" // letter hash -> until when
	counts     table[uint64]        = "k/S/" // of what ‖ mailbox -> how many; ‖ nothing: of all
	due        table[byte]          = "k/t/" // time ‖ what ‖ id
	dueOf      table[uint64]        = "k/T/" // what ‖ id -> time
	asked      table[protocol.Hash] = "k/q/"
	settings   table[[]byte]        = "k/n/"
)

// Bounds on what is kept. Reaching one is fault.Full.
const (
	MaxAnnounced = 8
	MaxAckQueue  = 4 * protocol.MaxAcked
	MaxSteps     = 32
	MaxHeads     = 64
	MaxRights    = 64
	MaxLapses    = 64
)

// PutContext keeps a context.
func PutContext(tx kv.Tx, c Context) error {
	if n := len(c.Announced); n > MaxAnnounced {
		c.Announced = c.Announced[n-MaxAnnounced:]
	}
	return contexts.put(tx, c.ID[:], c)
}

// GetContext finds a context; fault.NotFound.
func GetContext(r kv.Reader, id protocol.ContextID) (Context, error) { return contexts.get(r, id[:]) }

// EachContext calls fn for every context after the given id, in order of id.
func EachContext(r kv.Reader, after []byte, fn func(Context) (bool, error)) error {
	return contexts.scan(r, nil, after, func(_ []byte, c Context) (bool, error) { return fn(c) })
}

// PutAgreement keeps an agreement and its index by context.
func PutAgreement(tx kv.Tx, a Agreement) error {
	_, err := tx.Get(agreements.key(a.ID[:]))
	if errors.Is(err, fault.NotFound) { // the indexes name it once, when it is new
		if err = byContext.put(tx, append(a.Context[:], a.ID[:]...), 1); err == nil {
			err = byVendor.put(tx, append(a.Context[:], a.Vendor[:]...), a.ID)
		}
	}
	if err != nil {
		return err
	}
	return agreements.put(tx, a.ID[:], a)
}

// GetWith finds the latest agreement with one vendor in one context; fault.NotFound.
func GetWith(r kv.Reader, c protocol.ContextID, v protocol.VendorID) (Agreement, error) {
	id, err := byVendor.get(r, append(c[:], v[:]...))
	if err != nil {
		return Agreement{}, err
	}
	return GetAgreement(r, id)
}

// GetAgreement finds an agreement; fault.NotFound.
func GetAgreement(r kv.Reader, id protocol.GrantID) (Agreement, error) {
	return agreements.get(r, id[:])
}

// EachAgreement calls fn for every agreement after the given id, in order of id.
func EachAgreement(r kv.Reader, after []byte, fn func(Agreement) (bool, error)) error {
	return agreements.scan(r, nil, after, func(_ []byte, a Agreement) (bool, error) { return fn(a) })
}

// EachUnder calls fn for every agreement of one context.
func EachUnder(r kv.Reader, c protocol.ContextID, fn func(Agreement) (bool, error)) error {
	return byContext.scan(r, c[:], nil, func(id []byte, _ byte) (bool, error) {
		a, err := agreements.get(r, id[len(c):])
		if err != nil {
			return false, err
		}
		return fn(a)
	})
}

// PutOfferKeys keeps the keys that open a grant's offers.
func PutOfferKeys(tx kv.Tx, id protocol.GrantID, k OfferKeys) error {
	return offerKeys.put(tx, id[:], k)
}

// GetOfferKeys finds them; fault.NotFound once they are destroyed.
func GetOfferKeys(r kv.Reader, id protocol.GrantID) (OfferKeys, error) {
	return offerKeys.get(r, id[:])
}

// DestroyOfferKeys overwrites and deletes them.
func DestroyOfferKeys(tx kv.Tx, id protocol.GrantID) error {
	if err := offerKeys.put(tx, id[:], OfferKeys{}); err != nil {
		return err
	}
	return tx.Delete(offerKeys.key(id[:]))
}

// PutDeal keeps a deal and its index by grant.
func PutDeal(tx kv.Tx, d Deal) error {
	if err := byGrant.put(tx, append(d.Grant[:], d.ID[:]...), 1); err != nil {
		return err
	}
	return deals.put(tx, d.ID[:], d)
}

// GetDeal finds a deal by its offer; fault.NotFound.
func GetDeal(r kv.Reader, id protocol.Hash) (Deal, error) { return deals.get(r, id[:]) }

// EachDeal calls fn for every deal after the given id, in order of id.
func EachDeal(r kv.Reader, after []byte, fn func(Deal) (bool, error)) error {
	return deals.scan(r, nil, after, func(_ []byte, d Deal) (bool, error) { return fn(d) })
}

// EachOf calls fn for every deal under one grant.
func EachOf(r kv.Reader, g protocol.GrantID, fn func(Deal) (bool, error)) error {
	return byGrant.scan(r, g[:], nil, func(id []byte, _ byte) (bool, error) {
		d, err := deals.get(r, id[len(g):])
		if err != nil {
			return false, err
		}
		return fn(d)
	})
}

// PutBox keeps a mailbox to be read.
func PutBox(tx kv.Tx, b Box) error { return boxes.put(tx, b.Key[:], b) }

// GetBox finds one; fault.NotFound.
func GetBox(r kv.Reader, k key.MailboxKey) (Box, error) { return boxes.get(r, k[:]) }

// DeleteBox forgets one.
func DeleteBox(tx kv.Tx, k key.MailboxKey) error { return tx.Delete(boxes.key(k[:])) }

// EachBox calls fn for every mailbox to be read.
func EachBox(r kv.Reader, fn func(Box) (bool, error)) error {
	return boxes.scan(r, nil, nil, func(_ []byte, b Box) (bool, error) { return fn(b) })
}

// PutAsked remembers that access to a context was asked for.
func PutAsked(tx kv.Tx, c protocol.ContextID, request protocol.Hash) error {
	return asked.put(tx, c[:], request)
}

// Asked finds the request that was sent to a context; fault.NotFound.
func Asked(r kv.Reader, c protocol.ContextID) (protocol.Hash, error) { return asked.get(r, c[:]) }

// PutSetting keeps one named setting, such as a vendor's rules. Names are constants
// of the program, never text from outside.
func PutSetting(tx kv.Tx, name string, v any) error {
	return kv.PutCBOR(tx, settings.key([]byte(name)), v)
}

// GetSetting reads a setting; fault.NotFound.
func GetSetting(r kv.Reader, name string, v any) error {
	return kv.GetCBOR(r, settings.key([]byte(name)), v)
}

// A What tells which machine a deadline belongs to.
type What byte

// The machines with deadlines.
const (
	DueContext   What = 'c'
	DueAgreement What = 'a'
	DueDeal      What = 'd'
	DueBox       What = 'b'
	DueAck       What = 'k'
	DueSnooze    What = 'z'
)

// SetDue moves the deadline of one machine, in Unix milliseconds; at zero clears it.
func SetDue(tx kv.Tx, what What, id [32]byte, at int64) error {
	of := append([]byte{byte(what)}, id[:]...)
	old, err := dueOf.get(tx, of)
	switch {
	case err == nil && old == uint64(at):
		return nil
	case err == nil:
		if err := tx.Delete(due.key(dueID(old, of))); err != nil {
			return err
		}
	case !errors.Is(err, fault.NotFound):
		return err
	}
	if at == 0 {
		return tx.Delete(dueOf.key(of))
	}
	if err := dueOf.put(tx, of, uint64(at)); err != nil {
		return err
	}
	return due.put(tx, dueID(uint64(at), of), 1)
}

func dueID(at uint64, of []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, at), of...)
}

// A Deadline is one entry of the list of deadlines.
type Deadline struct {
	AtMS int64
	What What
	ID   [32]byte
}

// NextDue lists at most limit deadlines up to nowMS, earliest first, and the moment
// of the first one after, zero where there is none.
func NextDue(r kv.Reader, nowMS int64, limit int) (list []Deadline, nextMS int64, err error) {
	err = due.scan(r, nil, nil, func(id []byte, _ byte) (bool, error) {
		at := int64(binary.BigEndian.Uint64(id))
		if at > nowMS || len(list) == limit {
			nextMS = at
			return false, nil
		}
		d := Deadline{AtMS: at, What: What(id[8])}
		copy(d.ID[:], id[9:])
		list = append(list, d)
		return true, nil
	})
	return list, nextMS, err
}

// A Shelf is one of the kinds of record that people name by a prefix of its id.
type Shelf string

// The shelves.
const (
	Contexts   Shelf = Shelf(contexts)
	Agreements Shelf = Shelf(agreements)
	Deals      Shelf = Shelf(deals)
)

// Match lists at most limit ids on a shelf that begin with the given hexadecimal
// digits, in order.
func Match(r kv.Reader, s Shelf, digits string, limit int) (ids [][32]byte, err error) {
	if len(digits) > 64 {
		return nil, nil
	}
	whole, err := hex.DecodeString(digits[:len(digits)&^1])
	if err != nil {
		return nil, nil // no id begins so
	}
	prefix := append([]byte(s), whole...)
	err = r.Scan(prefix, nil, func(k, _ []byte) (bool, error) {
		id := [32]byte(k[len(s):])
		if strings.HasPrefix(hex.EncodeToString(id[:]), digits) {
			ids = append(ids, id)
		}
		return len(ids) < limit, nil
	})
	return ids, err
}
