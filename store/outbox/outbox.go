// Package outbox keeps what this node must still deliver: letters, announcements,
// passports, and orders to keepers. It is written inside the caller's transaction,
// beside the ledger and the market, so that a step and what it sends are kept
// together or not at all. Nothing here moves; the courier asks what is due.
//
// The flow of an item:
//
//  1. [Outbox.Put] it, Queued, in the transaction of the step that sends it.
//  2. [Outbox.Due] hands it to the courier when its time has come.
//  3. [Outbox.Save] keeps what came of the attempt: receipts, Deposited or Done, and
//     when to try again (see [Backoff]).
//  4. A letter ends with the reader's acknowledgement ([Outbox.Ack]), when its grant
//     is revoked ([Outbox.CancelFor]), or at its date ([Outbox.Sweep]). All else ends
//     when it is Done. An item that ended loses its bytes and secrets at once; its
//     record stays a while for status pages.
//
// The store must be the private one, which seals values but not keys. So all keys
// are HMACs under a random salt that is itself a sealed value: nobody can tell from
// them whether a public announcement was sent from here. Only times are readable.
//
// Put, Save, Ack and CancelFor do not scan (but for a Put that meets a full box),
// so the caller's transaction can run beside others.
package outbox

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// What says what an item is.
type What uint8

// The kinds of item. The numbers are on disk.
const (
	Letter        What = 1 // deposited in Box at Keepers, until acknowledged
	Announcement  What = 2 // posted at Keepers
	Passport      What = 3 // published at Keepers
	RevokeCap     What = 4 // an order to Keepers: refuse a capability
	DeleteLetters What = 5 // an order to Keepers: delete letters of ours
)

// A State says how far an item has come.
type State uint8

// The states. The numbers are on disk.
const (
	Queued    State = 1
	Deposited State = 2 // acknowledged by min(2, available) keepers
	Done      State = 3 // by all keepers
	Acked     State = 4 // by its reader
	Expired   State = 5
	Cancelled State = 6
)

var stateNames = [...]string{Queued: "queued", Deposited: "deposited", Done: "done", Acked: "acked", Expired: "expired", Cancelled: "cancelled"}

// States are the names of the states.
func States() []string { return append([]string{}, stateNames[1:]...) }

func (s State) String() string {
	if s == 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("state-%d", uint8(s))
	}
	return stateNames[s]
}

// Never is the Next of an item for which there is nothing to do but wait.
const Never int64 = math.MaxInt64

// An Item is one thing to deliver.
type Item struct {
	ID        protocol.Hash             `cbor:"1,keyasint,omitzero"` // SHA-256 of Data
	What      What                      `cbor:"2,keyasint,omitempty"`
	Data      []byte                    `cbor:"-"` // kept apart; gone when the item has ended
	Box       key.MailboxKey            `cbor:"3,keyasint,omitzero"`
	Keepers   []protocol.Keeper         `cbor:"4,keyasint,omitempty"`
	Cap       protocol.Capability       `cbor:"5,keyasint,omitzero"`
	Seed      protocol.Shared           `cbor:"6,keyasint,omitzero"` // of the depositor key
	First     protocol.FirstContact     `cbor:"7,keyasint,omitzero"` // without what is signed per keeper
	Hold      protocol.Second           `cbor:"8,keyasint,omitempty"`
	Envelope  protocol.Hash             `cbor:"9,keyasint,omitzero"` // inside the letter; what an Ack names
	Kind      protocol.Kind             `cbor:"10,keyasint,omitempty"`
	Grant     protocol.Hash             `cbor:"11,keyasint,omitzero"` // or the context, where there is none
	NotBefore protocol.Second           `cbor:"12,keyasint,omitempty"`
	Expires   protocol.Second           `cbor:"13,keyasint,omitempty"`
	State     State                     `cbor:"14,keyasint,omitempty"`
	Tries     int                       `cbor:"15,keyasint,omitempty"`
	Next      int64                     `cbor:"16,keyasint,omitempty"` // ms: when to try, or Never
	Receipts  []protocol.DepositReceipt `cbor:"17,keyasint,omitempty"`
	CreatedMS int64                     `cbor:"18,keyasint,omitempty"`
	Last      string                    `cbor:"19,keyasint,omitempty"` // the last error, for people
}

// Over reports whether nothing is left to do or to wait for. A letter that is Done
// still waits for its Ack; an Ack itself is never acknowledged.
func (it *Item) Over() bool {
	if it.State == Done {
		switch it.Kind {
		case protocol.KindAck, protocol.KindRefusal, protocol.KindCounter:
			return true // never acknowledged: who gets a no, or an Ack, has nothing to write to
		}
		return it.What != Letter
	}
	return it.State > Done
}

// Limits bounds an outbox.
type Limits struct {
	Items    int   // records, ended ones included
	Bytes    int64 // of Data
	PerGrant int   // items of one grant that have not ended
	KeepMS   int64 // how long after its making an ended item is still shown
}

// DefaultLimits is room for 4,096 items and 64 MiB, 128 under way per grant, and 7
// days of history.
var DefaultLimits = Limits{Items: 4096, Bytes: 64 << 20, PerGrant: 128, KeepMS: 7 * 86400 * 1000}

const (
	maxPerGrant = 128 // all of them are cancelled in one transaction
	maxKeepers  = 8
	maxSame     = 4  // items that carry the same envelope
	maxPage     = 64 // items that Due, List and Sweep handle at once
)

// An Outbox holds no state but its salt and its limits: all else is in the store.
type Outbox struct {
	salt [32]byte
	lim  Limits
}

// Open readies the outbox in the private store s and makes its salt the first time.
// Of lim, what is zero takes its default; PerGrant is at most 128.
func Open(s kv.Store, lim Limits) (*Outbox, error) {
	o := &Outbox{lim: lim.orDefault()}
	ctx := context.Background()
	read := func(r kv.Reader) error {
		salt, err := r.Get(saltKey)
		if err == nil && len(salt) != len(o.salt) {
			return fmt.Errorf("outbox: a salt of %d bytes: %w", len(salt), fault.Malformed)
		}
		copy(o.salt[:], salt)
		return err
	}
	err := s.View(ctx, read)
	if errors.Is(err, fault.NotFound) {
		_, _ = rand.Read(o.salt[:]) // never fails
		err = s.Update(ctx, func(tx kv.Tx) error { return tx.Put(saltKey, o.salt[:]) })
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: open: %w", err)
	}
	return o, nil
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits
	if l.Items > 0 {
		d.Items = l.Items
	}
	if l.Bytes > 0 {
		d.Bytes = l.Bytes
	}
	if l.PerGrant > 0 {
		d.PerGrant = min(l.PerGrant, maxPerGrant)
	}
	if l.KeepMS > 0 {
		d.KeepMS = l.KeepMS
	}
	return d
}

// Put adds an item, Queued and due at Next, but not before NotBefore. Putting the
// same ID again does nothing, but for an announcement that was Done: it is handed to
// its keepers once more, who may have lost it. When a bound is reached, even after dropping the
// oldest ended items, it is fault.Full, and the caller's step has to wait.
func (o *Outbox) Put(tx kv.Tx, it Item) error {
	it, err := sound(it)
	if err != nil {
		return err
	}
	at := o.place('i', it.ID)
	old, err := load(tx, at)
	switch {
	case err == nil && old.Item.What == Announcement && old.Item.State == Done:
		if err := errors.Join(o.write(tx, at, old, record{}), count(tx, -1, 0)); err != nil {
			return err
		}
	case err == nil || !errors.Is(err, fault.NotFound):
		return err
	}
	if err := o.take(tx, int64(len(it.Data))); err != nil {
		return err
	}
	if err := tx.Put(at.key("o/b/"), it.Data); err != nil {
		return err
	}
	return o.write(tx, at, record{}, record{Item: it, Size: int64(len(it.Data))})
}

// sound checks an item's shape, and gives it its first state.
func sound(it Item) (Item, error) {
	bad := func(why string) (Item, error) {
		return it, fmt.Errorf("outbox: %s %s: %s: %w", it.Kind, it.ID.Short(), why, fault.Malformed)
	}
	switch {
	case it.What < Letter || it.What > DeleteLetters:
		return bad("unknown sort of item")
	case len(it.Data) == 0 || len(it.Data) > protocol.MaxLetter:
		return bad(fmt.Sprintf("%d bytes of data, want 1 to %d", len(it.Data), protocol.MaxLetter))
	case it.ID != sha256.Sum256(it.Data):
		return bad("its id is not the hash of its data")
	case len(it.Keepers) > maxKeepers || len(it.Receipts) > maxKeepers:
		return bad("too many keepers")
	case chainSize(it.First.Chain) > protocol.MaxChain:
		return bad("too long a chain of passports")
	case it.Expires == 0 || it.Expires > 1<<40:
		return bad("no date of expiry")
	case it.CreatedMS < 0 || it.Next < 0:
		return bad("a time before 1970")
	}
	it.State = Queued
	it.Last = clip(it.Last)
	it.Next = later(it.Next, it.NotBefore)
	return it, nil
}

func chainSize(chain [][]byte) (n int) {
	for _, c := range chain {
		n += len(c)
	}
	return n
}

func clip(s string) string { return s[:min(len(s), protocol.MaxText)] }

func later(ms int64, notBefore protocol.Second) int64 {
	return max(ms, int64(min(notBefore, 1<<40))*1000)
}

// Get reads an item, with its Data while it has not ended; fault.NotFound if there
// is none.
func (o *Outbox) Get(r kv.Reader, id protocol.Hash) (Item, error) {
	return o.full(r, o.place('i', id))
}

func (o *Outbox) full(r kv.Reader, at place) (Item, error) {
	rec, err := load(r, at)
	if err != nil {
		return Item{}, fmt.Errorf("outbox: %w", err)
	}
	if !rec.Item.Over() {
		if rec.Item.Data, err = r.Get(at.key("o/b/")); err != nil {
			return Item{}, fmt.Errorf("outbox: data of %s: %w", rec.Item.ID.Short(), err)
		}
	}
	return rec.Item, nil
}

// Save keeps what changed in State, Tries, Next, Keepers, First, Last and
// Receipts; all else stays as it was put. It is made for a courier whose copy is
// minutes old: receipts that were added meanwhile stay, and an item that ended
// meanwhile stays ended. It returns the item as it is kept, without Data.
func (o *Outbox) Save(tx kv.Tx, it Item) (Item, error) {
	at := o.place('i', it.ID)
	old, err := load(tx, at)
	if err != nil {
		return Item{}, fmt.Errorf("outbox: save: %w", err)
	}
	if it.State < Queued || it.State > Cancelled || len(it.Keepers) > maxKeepers ||
		len(it.Receipts) > maxKeepers || chainSize(it.First.Chain) > protocol.MaxChain || it.Next < 0 {
		return Item{}, fmt.Errorf("outbox: save %s in %s: %w", it.ID.Short(), it.State, fault.Malformed)
	}
	now := old
	now.Item.Tries = max(old.Item.Tries, it.Tries)
	now.Item.Last = clip(it.Last)
	now.Item.Receipts = union(old.Item.Receipts, it.Receipts)
	if !old.Item.Over() {
		now.Item.Keepers, now.Item.First = it.Keepers, it.First
		now.Item.State = max(old.Item.State, it.State)
		now.Item.Next = later(it.Next, old.Item.NotBefore)
	}
	return now.Item, o.write(tx, at, old, now)
}

// union keeps one receipt per keeper, the older one, at most maxKeepers: who signed
// first has held the letter longest.
func union(old, fresh []protocol.DepositReceipt) []protocol.DepositReceipt {
	all := slices.Clone(old)
	for _, r := range fresh {
		i := slices.IndexFunc(all, func(x protocol.DepositReceipt) bool { return x.Keeper == r.Keeper })
		switch {
		case i >= 0 && r.At < all[i].At:
			all[i] = r
		case i < 0 && len(all) < maxKeepers:
			all = append(all, r)
		}
	}
	return all
}

// Ack ends the items that carry an envelope, because its reader has it. It returns
// the oldest of them and true, or false if none was waiting.
func (o *Outbox) Ack(tx kv.Tx, envelope protocol.Hash) (Item, bool, error) {
	if envelope.IsZero() {
		return Item{}, false, nil
	}
	ended, err := o.end(tx, "o/e/", o.place('e', envelope), func(it *Item) State { return Acked })
	if err != nil || len(ended) == 0 {
		return Item{}, false, err
	}
	return ended[0], true, nil
}

// CancelFor ends all items of a grant of the given kinds, of any kind where none is
// given, and returns them. The bytes and secrets of a cancelled item are deleted.
func (o *Outbox) CancelFor(tx kv.Tx, grant protocol.Hash, kinds ...protocol.Kind) ([]Item, error) {
	if grant.IsZero() {
		return nil, nil
	}
	return o.end(tx, "o/g/", o.place('g', grant), func(it *Item) State {
		if len(kinds) > 0 && !slices.Contains(kinds, it.Kind) {
			return it.State
		}
		return Cancelled
	})
}

// end moves the items of one index entry to the states that next chooses, and
// returns those that moved.
func (o *Outbox) end(tx kv.Tx, prefix string, index place, next func(*Item) State) (ended []Item, err error) {
	places, err := members(tx, index.key(prefix))
	if err != nil {
		return nil, err
	}
	for _, at := range places {
		old, err := load(tx, at)
		if err != nil {
			return nil, fmt.Errorf("outbox: index: %w", err)
		}
		now := old
		if now.Item.State = next(&old.Item); now.Item.State == old.Item.State {
			continue
		}
		if err := o.write(tx, at, old, now); err != nil {
			return nil, err
		}
		ended = append(ended, now.Item)
	}
	return ended, nil
}

// Backoff is how long, in ms, to wait after so many failed tries: half a second,
// doubling up to ten minutes, of which jitter (0 ≤ jitter < 1, drawn by the caller)
// picks a point in the upper half, so that those who failed together do not come
// back together.
func Backoff(tries int, jitter float64) int64 {
	d := min(int64(500)<<min(max(tries-1, 0), 20), 600_000)
	return d/2 + int64(min(max(jitter, 0), 1)*float64(d/2))
}
