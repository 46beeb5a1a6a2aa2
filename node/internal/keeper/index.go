package keeper

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// maxIndex bounds the mailboxes named by announcements, and those named by passports.
// It is more than a board holds: what stands there always finds room, once what stands
// there no more is forgotten.
const maxIndex = 1 << 17

// named is which announcement of which context names a mailbox.
type named struct {
	by protocol.ContextID
	in protocol.Hash
	at int64 // ms: when it was heard

	here bool // it lies at this keeper
}

// An inbox is whose inbox a mailbox is.
type inbox struct {
	of   protocol.VendorID
	here bool // it lies at this keeper
}

// An index knows which announcement or passport on the board names a mailbox.
type index struct {
	board   *board.Board
	net     protocol.Hash
	log     *slog.Logger
	most    int // of each
	mu      sync.Mutex
	boxes   map[key.MailboxKey]named
	inboxes map[key.MailboxKey]inbox
	self    key.KeeperKey
	shown   func(wire.Chain) // nil: nobody is told
}

func newIndex(b *board.Board, net protocol.Hash, most int, log *slog.Logger) *index {
	return &index{board: b, net: net, log: log, most: cmp.Or(most, maxIndex), boxes: map[key.MailboxKey]named{}, inboxes: map[key.MailboxKey]inbox{}}
}

func (x *index) size() (boxes, inboxes int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.boxes), len(x.inboxes)
}

// chainOfInbox finds the passports of the vendor whose inbox a mailbox is.
func (x *index) chainOfInbox(ctx context.Context, box key.MailboxKey) (wire.Chain, error) {
	x.mu.Lock()
	in, ok := x.inboxes[box]
	x.mu.Unlock()
	if !ok {
		return wire.Chain{}, &said{client.NeedPassport, fault.NotFound}
	}
	return x.board.Passports(ctx, in.of)
}

// names tells whether an announcement or a passport that stands says that a mailbox lies
// at this keeper. Memory answers.
func (x *index) names(box key.MailboxKey) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n, ok := x.boxes[box]; ok && n.here {
		if _, status, id, ok := x.board.Precedence(n.by); ok && id == n.in && status == protocol.Open {
			return true
		}
	}
	in, ok := x.inboxes[box]
	return ok && in.here && !x.left(box, in)
}

func (x *index) among(list []protocol.Keeper) bool {
	return slices.ContainsFunc(list, func(k protocol.Keeper) bool { return k.Key == x.self })
}

// announcementOf finds the announcement that stands and names a mailbox.
func (x *index) announcementOf(ctx context.Context, box key.MailboxKey, now protocol.Second) (*protocol.Announcement, error) {
	x.mu.Lock()
	n, ok := x.boxes[box]
	x.mu.Unlock()
	if !ok {
		return nil, &said{"announcement", fault.NotFound}
	}
	e, err := x.board.Get(ctx, n.by)
	if err != nil {
		return nil, err
	}
	a := e.Heard.A()
	if a.Mailbox != box || a.Status != protocol.Open || now >= a.Expires {
		return nil, &said{"announcement", fault.NotFound}
	}
	return a, nil
}

// chainOf finds a vendor's passports: those known, if they reach as far as the one
// that is named, or those shown, which are kept then.
func (x *index) chainOf(ctx context.Context, f *protocol.FirstContact) (wire.Chain, error) {
	known, err := x.board.Passports(ctx, f.Vendor)
	if err == nil && reaches(known, f.Passport) {
		return known, nil
	}
	if len(f.Chain) == 0 {
		return wire.Chain{}, &said{client.NeedPassport, fault.NotFound}
	}
	shown, err := wire.OpenChain(f.Chain, x.net)
	if err != nil {
		return wire.Chain{}, err
	}
	if shown.Vendor() != f.Vendor || !reaches(shown, f.Passport) {
		return wire.Chain{}, fmt.Errorf("keeper: not the passports that were named: %w", fault.Denied)
	}
	if err := x.keepChain(ctx, shown); err != nil {
		x.log.Debug("passports not kept", "vendor", f.Vendor.Short(), "why", err)
	}
	return shown, nil
}

// reaches tells whether a passport is in the chain.
func reaches(c wire.Chain, passport protocol.Hash) bool {
	return slices.ContainsFunc(c.Raws(), func(raw []byte) bool { return wire.ID(raw) == passport })
}

// read finds the mailboxes named on the board.
func (x *index) read(ctx context.Context, shards uint16) error {
	for shard := range shards {
		var after protocol.Hash
		for more := true; more; {
			var ids []protocol.Hash
			var err error
			ids, more, err = x.board.IDs(ctx, shard, after, listPage)
			if err != nil {
				return err
			}
			for _, id := range ids {
				after = id
				if e, err := x.board.ByID(ctx, id); err == nil {
					x.note(e.Heard, e.HeardMS)
				}
			}
			more = more && len(ids) > 0
		}
	}
	return x.readVendors(ctx)
}

// note remembers whose mailbox an announcement names. When there are too many, those
// that stand no more make room, so that a flood does not keep out the next one. A
// mailbox stays with the context that was heard to name it first, while that stands:
// whoever names another's takes nothing away.
func (x *index) note(h wire.Heard, heardMS int64) {
	a := h.A()
	x.mu.Lock()
	defer x.mu.Unlock()
	was, known := x.boxes[a.Mailbox]
	if known && was.by != a.ContextID() && was.at <= heardMS && !x.over(a.Mailbox, was) {
		return
	}
	if !known && len(x.boxes) >= x.most {
		maps.DeleteFunc(x.boxes, x.over)
	}
	if !a.Mailbox.IsZero() && (known || len(x.boxes) < x.most) {
		x.boxes[a.Mailbox] = named{a.ContextID(), h.ID(), heardMS, x.among(a.Keepers)}
	}
}

// forget drops mailboxes whose announcement is gone, or was replaced by one that
// names another, and inboxes whose vendor is gone. Memory answers; nothing is opened.
func (x *index) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.boxes, x.over)
	maps.DeleteFunc(x.inboxes, x.left)
}

// over and left tell of what stands on the board no more.
func (x *index) over(_ key.MailboxKey, n named) bool {
	_, _, id, ok := x.board.Precedence(n.by)
	return !ok || id != n.in
}

func (x *index) left(_ key.MailboxKey, in inbox) bool { return !x.board.Knows(in.of) }

// keepChain puts a vendor's passports on the board and notes its inbox.
func (x *index) keepChain(ctx context.Context, c wire.Chain) error {
	fresh, err := x.board.PutPassports(ctx, c)
	if err != nil {
		return fmt.Errorf("keeper: passports: %w", err)
	}
	x.noteInbox(c)
	if fresh && x.shown != nil {
		x.shown(c)
	}
	return nil
}

// noteInbox remembers the inboxes of a vendor. When there are too many, those of
// vendors that the board gave up make room.
func (x *index) noteInbox(c wire.Chain) {
	x.mu.Lock()
	defer x.mu.Unlock()
	latest := c.Latest().Inbox
	for _, box := range c.Inboxes() {
		was, known := x.inboxes[box]
		if known && was.of != c.Vendor() && !x.left(box, was) {
			continue // as with mailboxes
		}
		if !known && len(x.inboxes) >= x.most {
			maps.DeleteFunc(x.inboxes, x.left)
		}
		if !box.IsZero() && (known || len(x.inboxes) < x.most) {
			x.inboxes[box] = inbox{c.Vendor(), box == latest.Box && x.among(latest.Keepers)}
		}
	}
}

// readVendors finds the inboxes of the passports on the board.
func (x *index) readVendors(ctx context.Context) error {
	var after protocol.VendorID
	for {
		ids, more, err := x.board.PassportIDs(ctx, after, listPage)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if c, err := x.board.Passports(ctx, id); err == nil {
				x.noteInbox(c)
			}
		}
		if !more || len(ids) == 0 {
			return nil
		}
		after = ids[len(ids)-1]
	}
}
