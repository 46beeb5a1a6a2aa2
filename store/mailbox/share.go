package mailbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Tag stands for the address prefix that something came from, as the caller makes
// it; zero: this machine, which is bounded by all else alone.
type Tag [8]byte

// A share is what one address prefix holds: boxes that it made, letters it left.
type share struct {
	boxes, letters int
	bytes          int64
}

// shares are of the prefixes that hold anything.
type shares map[Tag]share

// hold adds to what a prefix holds.
func (of shares) hold(from Tag, boxes, letters int, bytes int64) {
	if from == (Tag{}) {
		return
	}
	s := of[from]
	s = share{s.boxes + boxes, s.letters + letters, s.bytes + bytes}
	if of[from] = s; s == (share{}) {
		delete(of, from)
	}
}

// claim notes who made a box, which its first record says as well as any other.
func (of shares) claim(b *box, from Tag) {
	if b.from == (Tag{}) {
		b.from = from
		of.hold(from, 1, 0, 0)
	}
}

// errCrowded refuses a box that is named: another may give way to it.
var errCrowded = fmt.Errorf("no mailbox gives way: %w", fault.Full)

// place refuses a new box for which there is none.
func (m *memory) place(from Tag, named bool) error {
	free, own := m.p.Boxes-len(m.boxes), m.shares[from].boxes
	most := m.p.BoxesPerPrefix
	if !named {
		free -= m.p.BoxesNamed
		most = min(most, free)
	}
	switch {
	case from != (Tag{}) && own+1 > most:
		return fmt.Errorf("%d mailboxes of this address prefix, %d free for all: %w", own, free, fault.Full)
	case free > 0:
		return nil
	case named:
		return errCrowded
	}
	return fmt.Errorf("%d mailboxes: %w", len(m.boxes), fault.Full)
}

// afford refuses a letter for which its prefix has no room.
func (m *memory) afford(from Tag, size int64) error {
	s := m.shares[from]
	if from != (Tag{}) && (s.letters+1 > min(m.p.LettersPerPrefix, m.p.Letters-m.letters) || s.bytes+size > min(m.p.BytesPerPrefix, m.p.Bytes-m.bytes)) {
		return fmt.Errorf("%d letters, %d bytes of this address prefix: %w", s.letters, s.bytes, fault.Full)
	}
	return nil
}

// maxDisplace bounds the boxes that give way before one deposit is refused, as others may
// be quicker to take the place; spared is which part of its share a prefix keeps whatever
// comes: 16 boxes by default.
const maxDisplace, spared = 4, 128

// displace removes the box that gives way to one that is named.
func (m *Mailboxes) displace(ctx context.Context, named func(key.MailboxKey) bool, now protocol.Second) error {
	m.sweeping.Lock()
	defer m.sweeping.Unlock()
	c, free := m.mem.giving(named, now)
	switch {
	case free:
		return nil
	case c == nil:
		return errCrowded
	}
	err := m.s.Update(ctx, c.write)
	m.mem.end(c, err)
	return err
}

// giving marks all of the box that gives way; nil: none does, or a place is free. Of the
// boxes that nobody names it is one of the address prefix that has most of them, if it
// has more than it is spared: one without letters, else the youngest.
func (m *memory) giving(named func(key.MailboxKey) bool, now protocol.Second) (c *change, free bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if free = len(m.boxes) < m.p.Boxes; free || m.vain == now {
		return nil, free // somebody else made room, or it was looked for in this second
	}
	others := map[Tag][]key.MailboxKey{}
	for name, b := range m.boxes {
		if b.from != (Tag{}) && !named(name) {
			others[b.from] = append(others[b.from], name)
		}
	}
	most := m.p.BoxesPerPrefix/spared + 1
	for _, list := range others {
		most = max(most, len(list))
	}
	var theirs []key.MailboxKey
	for _, list := range others {
		if len(list) == most { // of several prefixes that have as many, any
			theirs = append(theirs, list...)
		}
	}
	theirs = slices.DeleteFunc(theirs, func(name key.MailboxKey) bool { return !m.boxes[name].idle() })
	if len(theirs) == 0 {
		m.vain = now
		return nil, false
	}
	slices.SortFunc(theirs, func(a, b key.MailboxKey) int { return cmp.Compare(m.boxes[b].age(), m.boxes[a].age()) })
	c = m.boxes[theirs[0]].clear(theirs[0])
	m.tombs -= len(c.lifted)
	return c, false
}

// idle tells whether nothing in a box is under way.
func (b *box) idle() bool {
	busy := b.change != nil
	for _, l := range b.letters {
		busy = busy || l.busy != nil
	}
	return !busy
}

// age is the number of its first letter: the higher, the younger.
func (b *box) age() uint64 {
	first := ^uint64(0)
	for _, l := range b.letters {
		first = min(first, l.Seq)
	}
	return first
}

// clear marks all that is in a box.
func (b *box) clear(name key.MailboxKey) *change {
	c := b.open(name)
	for _, l := range b.letters {
		l.busy = c.over
		c.gone = append(c.gone, l)
	}
	for h, t := range b.tombs {
		c.lifted[h] = t
		delete(b.tombs, h)
	}
	for id := range b.revoked {
		c.forgive = append(c.forgive, id)
	}
	return c
}

// A mark is what is kept under a tombstone's key or a revocation's.
type mark struct {
	Until protocol.Second `cbor:"1,keyasint,omitempty"`
	Maker Tag             `cbor:"2,keyasint,omitzero"` // of the box
}

// readMark also reads the date alone, as stores of before have it.
func readMark(raw []byte) (m mark, err error) {
	if err = kv.DecodeCBOR(raw, &m); err != nil {
		err = kv.DecodeCBOR(raw, &m.Until)
	}
	return m, err
}
