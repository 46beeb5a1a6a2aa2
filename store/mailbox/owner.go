package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// Collect returns up to limit visible letters of a box (at most Page, which is also
// what zero means) in the order of their places, as many as fit into PageBytes but
// one at least, and whether there are more. after is the hash of the last letter of the page before, which may have been
// deleted since; zero, or a hash that was not collected here in this run, starts
// from the beginning. A box that does not exist is empty.
func (m *Mailboxes) Collect(ctx context.Context, box key.MailboxKey, after protocol.Hash, limit int, now protocol.Second) (letters [][]byte, more bool, err error) {
	m.mem.mu.Lock()
	fire := m.mem.release(now)
	page, more := m.mem.page(box, after, limit, now)
	m.mem.mu.Unlock()
	call(fire)
	err = m.s.View(ctx, func(r kv.Reader) error {
		for _, l := range page {
			raw, err := r.Get(l.key(prefixRaw))
			if errors.Is(err, fault.NotFound) {
				continue // deleted since
			}
			if err != nil {
				return err
			}
			letters = append(letters, raw)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("mailbox: collect: %w", err)
	}
	return letters, more, nil
}

func (m *memory) page(name key.MailboxKey, after protocol.Hash, limit int, now protocol.Second) (page []*letter, more bool) {
	b := m.boxes[name]
	if b == nil {
		return nil, false
	}
	if limit < 1 || limit > m.p.Page {
		limit = m.p.Page
	}
	from := b.tombs[after].place
	if l := b.letters[after]; l != nil && l.shown {
		from = l.place
	}
	i, _ := b.find(from + 1)
	size := int64(0)
	for _, l := range b.order[i:] {
		if l.Expires <= now {
			continue
		}
		if size += l.Size; len(page) >= limit || len(page) > 0 && size > int64(m.p.PageBytes) {
			return page, true
		}
		l.shown = true
		page = append(page, l)
	}
	return page, false
}

// Letter reads one letter, held or not, for an audit of receipts. It is
// fault.Conflict if its owner deleted it, fault.NotFound if it is not here for
// another reason, fault.Malformed if its bytes are not those that were deposited.
func (m *Mailboxes) Letter(ctx context.Context, box key.MailboxKey, hash protocol.Hash) (raw []byte, err error) {
	m.mem.mu.Lock()
	deleted := false
	if b := m.mem.boxes[box]; b != nil {
		_, deleted = b.tombs[hash]
	}
	m.mem.mu.Unlock()
	if deleted {
		return nil, fmt.Errorf("mailbox: letter %s was deleted by its owner: %w", hash.Short(), fault.Conflict)
	}
	err = m.s.View(ctx, func(r kv.Reader) error {
		raw, err = r.Get(keyOf(prefixRaw, box, hash[:]))
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("mailbox: letter %s: %w", hash.Short(), err)
	case wire.ID(raw) != hash:
		return nil, fmt.Errorf("mailbox: letter %s was altered: %w", hash.Short(), fault.Malformed)
	}
	return raw, nil
}

// maxDelete is how many letters one Delete names.
const maxDelete = 256

// Delete removes letters and returns those that were there. Each leaves a tombstone
// that refuses it until its date. When a box has too many tombstones, the one that
// lapses soonest gives way. A letter that is not here, perhaps because its owner was
// quicker to collect it at another keeper than its sender to bring it here, gets a
// tombstone too, if the box exists and has room for one.
func (m *Mailboxes) Delete(ctx context.Context, box key.MailboxKey, hashes []protocol.Hash, now protocol.Second) (had []protocol.Hash, err error) {
	if len(hashes) > maxDelete {
		return nil, fmt.Errorf("mailbox: delete %d letters, at most %d at once: %w", len(hashes), maxDelete, fault.Malformed)
	}
	c, wait := m.mem.begin(box, hashes, now)
	for wait != nil {
		if err := await(ctx, wait); err != nil {
			return nil, err
		}
		c, wait = m.mem.begin(box, hashes, now)
	}
	if c == nil {
		return nil, nil
	}
	if c.size() > 0 {
		err = m.writes.Update(ctx, c.size()*2*perWrite, c.write)
	}
	m.mem.end(c, err)
	if err != nil {
		return nil, fmt.Errorf("mailbox: delete: %w", err)
	}
	for _, l := range c.gone {
		had = append(had, l.hash)
	}
	return had, nil
}

// A change is one Delete, or a part of an Expire: what leaves and what comes, marked
// in memory by begin, written by write, and settled or taken back by end.
type change struct {
	box     key.MailboxKey
	maker   Tag // of it
	gone    []*letter
	buried  map[protocol.Hash]tomb // new tombstones
	lifted  map[protocol.Hash]tomb // old ones that go
	forgive []protocol.ID          // revocations that go
	over    chan struct{}
}

func (c *change) size() int { return len(c.gone) + len(c.buried) + len(c.lifted) + len(c.forgive) }

// open begins a change of box b.
func (b *box) open(name key.MailboxKey) *change {
	b.change = &change{box: name, maker: b.from, buried: map[protocol.Hash]tomb{}, lifted: map[protocol.Hash]tomb{}, over: make(chan struct{})}
	return b.change
}

// begin marks what a Delete will change, or says what it has to wait for; both are
// nil where there is no such box.
func (m *memory) begin(name key.MailboxKey, hashes []protocol.Hash, now protocol.Second) (c *change, wait chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil, nil
	}
	if b.change != nil {
		return nil, b.change.over
	}
	for _, h := range hashes {
		if l := b.letters[h]; l != nil && l.busy != nil {
			return nil, l.busy
		}
	}
	c = b.open(name)
	for _, h := range hashes {
		l := b.letters[h]
		switch {
		case l == nil:
			if m.roomForTomb(b) {
				m.bury(b, c, h, tomb{expires: m.p.horizon(now)})
			}
		case l.busy == nil: // else it was named twice
			l.busy = c.over
			c.gone = append(c.gone, l)
			for len(b.tombs) > 0 && !m.roomForTomb(b) {
				m.lift(b, c)
			}
			t := tomb{expires: l.Expires}
			if l.shown {
				t.place = l.place
			}
			if m.roomForTomb(b) { // else all other boxes together leave none
				m.bury(b, c, h, t)
			}
		}
	}
	return c, nil
}

func (m *memory) roomForTomb(b *box) bool {
	return len(b.tombs) < m.p.TombsPerBox && fair(len(b.tombs), 1, m.tombs, m.p.Tombs)
}

// bury adds a tombstone, unless there is one or there was one until just now.
func (m *memory) bury(b *box, c *change, h protocol.Hash, t tomb) {
	if _, ok := b.tombs[h]; ok {
		return
	}
	if _, ok := c.lifted[h]; ok {
		return
	}
	if b.tombs == nil {
		b.tombs = map[protocol.Hash]tomb{}
	}
	c.buried[h], b.tombs[h] = t, t
	m.tombs++
}

// lift removes the tombstone that lapses soonest.
func (m *memory) lift(b *box, c *change) {
	var soonest protocol.Hash
	var t tomb
	for h, x := range b.tombs {
		if soonest.IsZero() || x.expires < t.expires || x.expires == t.expires && slices.Compare(h[:], soonest[:]) < 0 {
			soonest, t = h, x
		}
	}
	if _, ours := c.buried[soonest]; ours {
		delete(c.buried, soonest)
	} else {
		c.lifted[soonest] = t
	}
	delete(b.tombs, soonest)
	m.tombs--
}

func (c *change) write(tx kv.Tx) error {
	for _, l := range c.gone {
		if err := dropLetter(tx, l); err != nil {
			return err
		}
	}
	for h := range c.lifted {
		if err := tx.Delete(keyOf(prefixTomb, c.box, h[:])); err != nil {
			return err
		}
	}
	for h, t := range c.buried {
		if err := kv.PutCBOR(tx, keyOf(prefixTomb, c.box, h[:]), mark{t.expires, c.maker}); err != nil {
			return err
		}
	}
	for _, id := range c.forgive {
		if err := tx.Delete(keyOf(prefixRevoked, c.box, id[:])); err != nil {
			return err
		}
	}
	return nil
}

// end settles a change in memory, or takes it back if it could not be written.
func (m *memory) end(c *change, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(c.over)
	b := m.boxes[c.box]
	b.change = nil
	for _, l := range c.gone {
		l.busy = nil
		if err == nil {
			m.count(b, l, -1)
			m.remove(b, l)
		}
	}
	if err != nil {
		for h := range c.buried {
			if _, ok := b.tombs[h]; ok {
				delete(b.tombs, h)
				m.tombs--
			}
		}
		for h, t := range c.lifted {
			if _, ok := b.tombs[h]; !ok {
				b.tombs[h] = t
				m.tombs++
			}
		}
	} else {
		for _, id := range c.forgive {
			delete(b.revoked, id)
			m.revoked--
		}
	}
	m.tidy(c.box)
}

// Revoke refuses further deposits under a capability until expires, which is the
// capability's own date or later. Letters that came under it stay. A box that there is
// not counts as made by from.
func (m *Mailboxes) Revoke(ctx context.Context, box key.MailboxKey, capID protocol.ID, expires protocol.Second, from Tag) error {
	m.sweeping.Lock()
	defer m.sweeping.Unlock()
	before, maker, err := m.mem.revoke(box, capID, expires, from)
	if err != nil || before >= expires {
		return err
	}
	err = m.s.Update(ctx, func(tx kv.Tx) error {
		return kv.PutCBOR(tx, keyOf(prefixRevoked, box, capID[:]), mark{expires, maker})
	})
	if err == nil {
		return nil
	}
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	if b := m.mem.boxes[box]; before > 0 {
		b.revoked[capID] = before
	} else {
		delete(b.revoked, capID)
		m.mem.revoked--
		m.mem.tidy(box)
	}
	return fmt.Errorf("mailbox: revoke: %w", err)
}

// revoke does in memory what Revoke then writes; before is the date that was known,
// maker who made the box.
func (m *memory) revoke(name key.MailboxKey, capID protocol.ID, expires protocol.Second, from Tag) (before protocol.Second, maker Tag, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	isNew := b == nil
	if isNew {
		if err := m.place(from, false); err != nil {
			return 0, Tag{}, fmt.Errorf("mailbox: revoke: %w", err)
		}
		b = newBox()
	}
	before, known := b.revoked[capID]
	if !known {
		if len(b.revoked) >= m.p.RevokedPerBox || !fair(len(b.revoked), 1, m.revoked, m.p.Revoked) {
			return 0, Tag{}, fmt.Errorf("mailbox: revoke: %d capabilities of this box are revoked: %w", len(b.revoked), fault.Full)
		}
		m.revoked++
	}
	if b.revoked == nil {
		b.revoked = map[protocol.ID]protocol.Second{}
	}
	b.revoked[capID] = max(before, expires)
	if isNew {
		m.boxes[name] = b
		m.shares.claim(b, from)
	}
	return before, b.from, nil
}
