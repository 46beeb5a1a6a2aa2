// Package mailbox keeps other people's letters on a keeper: sealed bytes that it
// cannot read, in boxes named by keys that it does not know.
//
// The flow of a letter:
//
//  1. [Mailboxes.Deposit] checks size, dates and lane, reserves room in memory,
//     writes the letter, and only once it is synced signs a receipt for it.
//  2. With a hold it stays invisible until its time; then, or at once, it takes the
//     last place in its box and those who [Mailboxes.Watch] the box are told.
//  3. [Mailboxes.Collect] reads a box in the order of these places.
//  4. [Mailboxes.Delete] removes it and leaves a tombstone until the letter's date,
//     so that it can't be deposited again; else [Mailboxes.Expire] removes it then.
//
// Signatures of capabilities, owners and vendors, and stamps, are checked at the
// door, by whoever calls: this package trusts what a [Deposit] says of them.
//
// # Lanes
//
// Every letter comes in by one of three lanes, each with its own bounds, so that a
// flood in one leaves the others of the same box alone:
//
//   - Under a capability: at once at most its Letters, and its KiB of plaintext
//     buckets; per box at most LettersPerBox and BytesPerBox.
//   - A vendor's first letter, to a context's box: one per vendor and box, at most
//     FirstPerBox (64), of which FirstVouched (48) are kept for vendors that are
//     vouched for (Tier ≥ 1). Precisely: whoever finds one of the 64 places free
//     takes it. When all are taken, a vouched letter drives out the unvouched one of
//     least work as long as fewer than 48 vouched ones are there. Beyond that equals
//     compete, vouched with vouched and unvouched with unvouched: the lowest (tier,
//     work) among them gives way to a strictly higher one, of several lowest the
//     youngest. Else the newcomer is refused as fault.Full.
//   - A letter to a vendor's inbox, which shows a stamp alone: at most the quota of
//     the vendor's passport, and at most InboxPerBox. The least work gives way to
//     strictly more.
//
// # Fairness
//
// What is bounded over all boxes (letters, bytes, tombstones, revocations) is shared
// by one rule: a box may grow only while it holds no more than what is still free
// for all. One box can so take half, two a third each, and there is always as much
// free for a newcomer as the fullest box has.
//
// # Address prefixes
//
// A letter counts to the address prefix that it came from, a box to the one that made it.
// A prefix has at most a share of letters, bytes and boxes (a quarter each), and grows by
// the same rule as a box does. The last BoxesNamed places are for boxes that a living
// announcement or passport names. Once these are taken too, such a box displaces one that
// nobody names: the youngest of the prefix that has most of them, but none of its last 16.
//
// # Places and restarts
//
// Places in a box live in memory. After a restart letters come in the order of their
// deposit, and a cursor from before it starts from the beginning: a letter may be
// collected twice, and is never skipped.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// A Policy bounds what a keeper does for others. What is zero in it takes the value
// of [DefaultPolicy].
//
//house:allow fields each is one bound, and has one name in status
type Policy struct {
	Boxes            int             // mailboxes with anything in them
	BoxesNamed       int             // of these, kept for boxes that are named; one in four by default
	BoxesPerPrefix   int             // made from one address prefix; one in four by default, as the next two
	Letters          int             // in all
	LettersPerPrefix int             //
	Bytes            int64           // in all
	BytesPerPrefix   int64           //
	LettersPerBox    int             // under capabilities
	BytesPerBox      int64           // under capabilities
	FirstPerBox      int             // first letters of vendors
	FirstVouched     int             // of these, kept for vouched vendors; three in four by default
	FirstSize        int             // bytes of one letter without capability
	InboxPerBox      int             // letters in a vendor's open lane, whatever its passport says
	Tombs            int             // tombstones in all
	TombsPerBox      int             // the one that lapses soonest gives way
	Revoked          int             // revoked capabilities in all
	RevokedPerBox    int             //
	Watchers         int             // in all
	WatchersOfBox    int             // of one box
	Hold             protocol.Second // longest hold
	Life             protocol.Second // longest life of a letter; a day and the permitted clock skew come on top
	Page             int             // letters that Collect returns at once
	PageBytes        int             // and their bytes, but one letter at least
}

// DefaultPolicy keeps at most half a gigabyte for others.
var DefaultPolicy = Policy{
	Boxes: 8192, Letters: 65536, Bytes: 512 << 20, LettersPerBox: 512, BytesPerBox: 16 << 20,
	FirstPerBox: protocol.FirstPerBox, FirstVouched: protocol.FirstVouched, FirstSize: 20 << 10, InboxPerBox: 256,
	Tombs: 131072, TombsPerBox: 2048, Revoked: 65536, RevokedPerBox: 512, Watchers: 8192, WatchersOfBox: 8,
	Hold: protocol.Hour, Life: protocol.DefaultDuties.Letters, Page: 64, PageBytes: protocol.MaxFrame - 8<<10,
}

func (p Policy) orDefault() Policy {
	d := DefaultPolicy
	set(&p.Boxes, d.Boxes)
	set(&p.BoxesNamed, p.Boxes/4)
	p.BoxesNamed = min(p.BoxesNamed, p.Boxes)
	set(&p.BoxesPerPrefix, max(p.Boxes/4, 1))
	set(&p.Letters, d.Letters)
	set(&p.LettersPerPrefix, max(p.Letters/4, 1))
	set(&p.Bytes, d.Bytes)
	set(&p.BytesPerPrefix, p.Bytes/4)
	set(&p.LettersPerBox, d.LettersPerBox)
	set(&p.BytesPerBox, d.BytesPerBox)
	set(&p.FirstPerBox, d.FirstPerBox)
	set(&p.FirstVouched, p.FirstPerBox*3/4)
	p.FirstVouched = min(p.FirstVouched, p.FirstPerBox)
	set(&p.FirstSize, d.FirstSize)
	set(&p.InboxPerBox, d.InboxPerBox)
	set(&p.Tombs, d.Tombs)
	set(&p.TombsPerBox, d.TombsPerBox)
	set(&p.Revoked, d.Revoked)
	set(&p.RevokedPerBox, d.RevokedPerBox)
	set(&p.Watchers, d.Watchers)
	set(&p.WatchersOfBox, d.WatchersOfBox)
	set(&p.Hold, d.Hold)
	set(&p.Life, d.Life)
	set(&p.Page, d.Page)
	set(&p.PageBytes, d.PageBytes)
	return p
}

func set[T int | int64 | protocol.Second](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// horizon is the latest expiry of a letter that is accepted now.
func (p *Policy) horizon(now protocol.Second) protocol.Second {
	return now + p.Life + protocol.Day + protocol.MaxSkew
}

// Mailboxes is a keeper's store. It is safe for concurrent use. It is the only
// writer of its part of the kv store, so what is in memory decides, and a deposit
// reads nothing from disk and conflicts with no other.
type Mailboxes struct {
	s        kv.Store
	writes   *kv.Group // deposits and deletions that come together are synced together
	self     key.Private[key.Keeper]
	p        Policy
	mem      *memory
	sweeping sync.Mutex // held by the one Expire or Revoke that runs
}

// A Deposit is one letter for one box, by one lane: Cap or First.
type Deposit struct {
	Box    key.MailboxKey
	Letter []byte
	Cap    *protocol.Capability
	First  *FirstLane
	Hold   protocol.Second // invisible for so many seconds
	From   Tag
	Named  func(key.MailboxKey) bool // tells which boxes are named; nil: none is. It must not call Mailboxes
}

// A FirstLane is what the door found out about a letter without capability: from a
// vendor to a context's box, or, with Vendor zero, to a vendor's inbox.
type FirstLane struct {
	Vendor protocol.VendorID
	Tier   int // 1: vouched for by an issuer that the context names; 0: not
	Work   int // leading zero bits of the stamp
	Quota  int // inbox: letters that its passport allows
}

// Deposit keeps a letter and returns a receipt for it, signed after it was synced.
// The same letter again gives a receipt again and is kept once.
//
// Refused are: as fault.Malformed, what is no letter for Box, lives too long, or is
// held too long; as fault.Expired, a letter past its date; as fault.Denied, a
// capability that is revoked, past its date, or for another box; as fault.Conflict,
// a letter that its owner deleted, and a second letter of one vendor; as fault.Full,
// what exceeds a bound.
func (m *Mailboxes) Deposit(ctx context.Context, d Deposit, now protocol.Second) (protocol.DepositReceipt, error) {
	l, err := m.read(d, now)
	if err != nil {
		return protocol.DepositReceipt{}, fmt.Errorf("mailbox: deposit: %w", err)
	}
	for displaced := 0; ; {
		wait, known, err := m.mem.reserve(d, l, now)
		if errors.Is(err, errCrowded) && displaced < maxDisplace {
			displaced++
			if err = m.displace(ctx, d.Named, now); err == nil {
				continue
			}
		}
		switch {
		case err != nil:
			return protocol.DepositReceipt{}, fmt.Errorf("mailbox: deposit %s: %w", l.hash.Short(), err)
		case known:
			return m.receipt(l, now)
		case wait == nil:
			err := m.commit(ctx, l, d.Letter)
			m.mem.settle(l, err)
			if err != nil {
				return protocol.DepositReceipt{}, fmt.Errorf("mailbox: deposit %s: %w", l.hash.Short(), err)
			}
			return m.receipt(l, now)
		}
		if err := await(ctx, wait); err != nil {
			return protocol.DepositReceipt{}, err
		}
	}
}

// await waits until somebody else's change to the same letter is over.
func await(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("mailbox: %w", ctx.Err())
	}
}

// read checks all of a deposit that does not depend on what is kept already.
func (m *Mailboxes) read(d Deposit, now protocol.Second) (*letter, error) {
	if len(d.Letter) > protocol.MaxLetter {
		return nil, fmt.Errorf("a letter of %d bytes, at most %d: %w", len(d.Letter), protocol.MaxLetter, fault.Malformed)
	}
	in, err := wire.ReadLetter(d.Letter)
	if err != nil {
		return nil, err
	}
	expires := protocol.Second(in.Expires) * protocol.Day
	switch {
	case in.Box != d.Box:
		return nil, fmt.Errorf("a letter for another box: %w", fault.Malformed)
	case expires <= now:
		return nil, fmt.Errorf("a letter past its date: %w", fault.Expired)
	case expires > m.p.horizon(now):
		return nil, fmt.Errorf("a letter that lives longer than %d days: %w", m.p.Life/protocol.Day, fault.Malformed)
	case d.Hold > m.p.Hold:
		return nil, fmt.Errorf("a hold of %d s, at most %d: %w", d.Hold, m.p.Hold, fault.Malformed)
	case (d.Cap == nil) == (d.First == nil):
		return nil, fmt.Errorf("a letter needs a capability or a first lane, not both: %w", fault.Denied)
	}
	l := &letter{hash: wire.ID(d.Letter), name: d.Box}
	l.Size, l.KiB = int64(len(d.Letter)), (len(in.Sealed)-seal.Overhead)>>10
	l.At, l.Expires, l.From = now, expires, d.From
	if d.Hold > 0 {
		l.Due = now + d.Hold
	}
	if c := d.Cap; c != nil {
		if c.Box != d.Box || c.Expires <= now {
			return nil, fmt.Errorf("the capability is past its date or for another box: %w", fault.Denied)
		}
		l.Lane, l.Cap = laneCap, c.ID
		return l, nil
	}
	if len(d.Letter) > m.p.FirstSize {
		return nil, fmt.Errorf("a first letter of %d bytes, at most %d: %w", len(d.Letter), m.p.FirstSize, fault.Malformed)
	}
	l.Lane, l.Vendor, l.Tier, l.Work = laneFirst, d.First.Vendor, max(d.First.Tier, 0), max(d.First.Work, 0)
	if l.Vendor.IsZero() {
		l.Lane, l.Tier = laneInbox, 0
	}
	return l, nil
}

func (m *Mailboxes) receipt(l *letter, now protocol.Second) (protocol.DepositReceipt, error) {
	r := protocol.DepositReceipt{Keeper: m.self.Public(), Box: l.name, Letter: l.hash, At: now, Expires: l.Expires}
	err := wire.SignReceipt(m.self, &r)
	return r, err
}

// perWrite is about what a key, and what is noted under it, take.
const perWrite = 128

// commit writes a letter, and removes the one that gives way to it.
func (m *Mailboxes) commit(ctx context.Context, l *letter, raw []byte) error {
	return m.writes.Update(ctx, len(raw)+perWrite*2, func(tx kv.Tx) error {
		if v := l.victim; v != nil {
			if err := dropLetter(tx, v); err != nil {
				return err
			}
		}
		if err := kv.PutCBOR(tx, l.key(prefixMeta), l.meta); err != nil {
			return err
		}
		return tx.Put(l.key(prefixRaw), raw)
	})
}

func dropLetter(tx kv.Tx, l *letter) error {
	if err := tx.Delete(l.key(prefixMeta)); err != nil {
		return err
	}
	return tx.Delete(l.key(prefixRaw))
}

// A Watch callback is called after a letter became visible in box, on the goroutine
// of whoever deposited it or called Tick; it must not block. At most WatchersOfBox
// watch one box and Watchers all: more is fault.Full. cancel may be called twice.
func (m *Mailboxes) Watch(box key.MailboxKey, fn func()) (cancel func(), err error) {
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	if len(m.mem.watches[box]) >= m.p.WatchersOfBox || m.mem.watchers >= m.p.Watchers {
		return nil, fmt.Errorf("mailbox: %d watch this box, %d in all: %w", len(m.mem.watches[box]), m.mem.watchers, fault.Full)
	}
	w := &watch{fn: fn}
	m.mem.watches[box] = append(m.mem.watches[box], w)
	m.mem.watchers++
	return func() { m.mem.unwatch(box, w) }, nil
}

// Tick shows letters whose hold has ended and tells those who watch. next is when
// the next hold ends; zero when none is.
func (m *Mailboxes) Tick(now protocol.Second) (next protocol.Second) {
	m.mem.mu.Lock()
	fire := m.mem.release(now)
	if len(m.mem.held) > 0 {
		next = m.mem.held[0].Due
	}
	m.mem.mu.Unlock()
	call(fire)
	return next
}

func call(fns []func()) {
	for _, fn := range fns {
		fn()
	}
}

// Stats shows each bound with its fill; of bounds per box or prefix, the fullest.
func (m *Mailboxes) Stats() []kv.Fill {
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	var letters, first, inbox, tombs, revoked, watched int
	var bytes int64
	for _, b := range m.mem.boxes {
		letters, bytes = max(letters, b.under), max(bytes, b.bytes)
		first, inbox = max(first, len(b.first)), max(inbox, len(b.inbox))
		tombs, revoked = max(tombs, len(b.tombs)), max(revoked, len(b.revoked))
	}
	var most share
	for _, s := range m.mem.shares {
		most = share{max(most.boxes, s.boxes), max(most.letters, s.letters), max(most.bytes, s.bytes)}
	}
	for _, w := range m.mem.watches {
		watched = max(watched, len(w))
	}
	fill := func(name string, used, most int) kv.Fill {
		return kv.Fill{Name: name, Used: int64(used), Cap: int64(most)}
	}
	return []kv.Fill{
		fill("mailbox.boxes", len(m.mem.boxes), m.p.Boxes),
		fill("mailbox.letters", m.mem.letters, m.p.Letters),
		{Name: "mailbox.bytes", Used: m.mem.bytes, Cap: m.p.Bytes},
		fill("mailbox.boxes-per-prefix", most.boxes, m.p.BoxesPerPrefix),
		fill("mailbox.letters-per-prefix", most.letters, m.p.LettersPerPrefix),
		{Name: "mailbox.bytes-per-prefix", Used: most.bytes, Cap: m.p.BytesPerPrefix},
		fill("mailbox.letters-per-box", letters, m.p.LettersPerBox),
		{Name: "mailbox.bytes-per-box", Used: bytes, Cap: m.p.BytesPerBox},
		fill("mailbox.first-per-box", first, m.p.FirstPerBox),
		fill("mailbox.inbox-per-box", inbox, m.p.InboxPerBox),
		fill("mailbox.tombs", m.mem.tombs, m.p.Tombs),
		fill("mailbox.tombs-per-box", tombs, m.p.TombsPerBox),
		fill("mailbox.revoked", m.mem.revoked, m.p.Revoked),
		fill("mailbox.revoked-per-box", revoked, m.p.RevokedPerBox),
		fill("mailbox.watchers", m.mem.watchers, m.p.Watchers),
		fill("mailbox.watchers-per-box", watched, m.p.WatchersOfBox),
	}
}
