package blobs

import (
	"bytes"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// reserve gives the copy that is here, or makes room for a new one.
func (m *memory) reserve(name key.MailboxKey, op *protocol.BlobOp, from Tag, now protocol.Second) (*copied, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.boxes[name]; b != nil {
		if c := b.of[op.Digest]; c != nil && (c.Size != op.Size || c.Token != op.Token) {
			return nil, fmt.Errorf("it is here with another size or token: %w", fault.Conflict)
		} else if c != nil {
			return c, nil
		}
		if until, ok := b.tombs[op.Digest]; ok && until > now {
			return nil, fmt.Errorf("its owner deleted it: %w", fault.Conflict)
		}
	}
	if err := m.room(m.boxes[name], cost(op.Size), from); err != nil {
		return nil, err
	}
	c := &copied{box: name, digest: op.Digest, meta: meta{Size: op.Size, Token: op.Token, Expires: op.Expires, At: now, From: from}}
	m.insert(c)
	return c, nil
}

// cost is what a copy counts of the bytes: a chunk at least, so that many small ones of one
// address prefix do not take up all places.
func cost(size uint32) int64 { return int64(max(size, protocol.CopyChunk)) }

// room refuses a copy for which a bound has none.
func (m *memory) room(b *box, size int64, from Tag) error {
	if b == nil {
		b = &box{}
	}
	free := m.p.Bytes - m.bytes
	switch {
	case m.kept >= m.p.Kept:
		return fmt.Errorf("%d copies are kept: %w", m.kept, fault.Full)
	case len(b.of) >= m.p.KeptPerBox:
		return fmt.Errorf("%d copies in this mailbox: %w", len(b.of), fault.Full)
	case b.bytes+size > min(m.p.BytesPerBox, free):
		return fmt.Errorf("%d bytes in this mailbox, %d free for all: %w", b.bytes, free, fault.Full)
	case from != (Tag{}) && m.prefixes[from]+size > min(m.p.BytesPerPrefix, free):
		return fmt.Errorf("%d bytes of this address prefix, %d free for all: %w", m.prefixes[from], free, fault.Full)
	}
	return nil
}

func (m *memory) add(c *copied) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.insert(c)
}

// insert counts a copy.
func (m *memory) insert(c *copied) {
	b := m.boxes[c.box]
	if b == nil {
		b = &box{of: map[protocol.Hash]*copied{}, tombs: map[protocol.Hash]protocol.Second{}}
		m.boxes[c.box] = b
	}
	b.of[c.digest] = c
	b.bytes += cost(c.Size)
	m.kept++
	m.bytes += cost(c.Size)
	if c.From != (Tag{}) {
		m.prefixes[c.From] += cost(c.Size)
	}
}

// drop forgets a copy.
func (m *memory) drop(c *copied) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[c.box]
	if b == nil || b.of[c.digest] != c {
		return
	}
	delete(b.of, c.digest)
	b.bytes -= cost(c.Size)
	m.kept--
	m.bytes -= cost(c.Size)
	if c.From != (Tag{}) {
		if m.prefixes[c.From] -= cost(c.Size); m.prefixes[c.From] == 0 {
			delete(m.prefixes, c.From)
		}
	}
	m.tidy(c.box)
}

// tidy forgets a mailbox without anything.
func (m *memory) tidy(name key.MailboxKey) {
	if b := m.boxes[name]; b != nil && len(b.of) == 0 && len(b.tombs) == 0 {
		delete(m.boxes, name)
	}
}

// change changes what is known of a copy; its only writer has the turn.
func (m *memory) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}

// find gives a copy to whoever has the turn.
func (m *memory) find(name key.MailboxKey, digest protocol.Hash) *copied {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.boxes[name]; b != nil {
		return b.of[digest]
	}
	return nil
}

// look gives what is known of a copy now.
func (m *memory) look(name key.MailboxKey, digest protocol.Hash) (meta, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.boxes[name]; b != nil {
		if c := b.of[digest]; c != nil {
			return c.meta, true
		}
	}
	return meta{}, false
}

// condemn says what a Delete removes, and which tombstones come and go.
func (m *memory) condemn(name key.MailboxKey, digests []protocol.Hash, now protocol.Second) (gone []*copied, tombs map[protocol.Hash]protocol.Second, lifted []protocol.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil, nil, nil
	}
	tombs = map[protocol.Hash]protocol.Second{}
	for _, h := range digests {
		until := now + m.p.Life + protocol.Day + protocol.MaxSkew
		if c := b.of[h]; c != nil {
			until = c.Expires
			gone = append(gone, c)
		}
		if _, has := b.tombs[h]; !has {
			tombs[h] = until
		}
	}
	for len(tombs) > 0 && len(b.tombs)+len(tombs)-len(lifted) > m.p.TombsPerBox {
		h, ok := b.soonest(lifted)
		if !ok {
			break
		}
		lifted = append(lifted, h)
	}
	for h := range tombs { // where all are too many, or this box has its share, none is left
		grown := len(b.tombs) + len(tombs) - len(lifted)
		if grown > m.p.TombsPerBox || grown > m.p.Tombs-m.tombs {
			delete(tombs, h)
		}
	}
	return gone, tombs, lifted
}

// soonest is the tombstone that lapses first, but for those that go already.
func (b *box) soonest(but []protocol.Hash) (first protocol.Hash, ok bool) {
	skip := map[protocol.Hash]bool{}
	for _, h := range but {
		skip[h] = true
	}
	for h, until := range b.tombs {
		if !skip[h] && (!ok || until < b.tombs[first] || until == b.tombs[first] && bytes.Compare(h[:], first[:]) < 0) {
			first, ok = h, true
		}
	}
	return first, ok
}

// bury notes which tombstones came and went.
func (m *memory) bury(name key.MailboxKey, tombs map[protocol.Hash]protocol.Second, lifted []protocol.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil && len(tombs) > 0 {
		b = &box{of: map[protocol.Hash]*copied{}, tombs: map[protocol.Hash]protocol.Second{}}
		m.boxes[name] = b
	}
	if b == nil {
		return
	}
	m.tombs -= len(b.tombs)
	for _, h := range lifted {
		delete(b.tombs, h)
	}
	for h, until := range tombs {
		b.tombs[h] = until
	}
	m.tombs += len(b.tombs)
	m.tidy(name)
}

// expired says what an Expire removes, up to maxExpire of it.
func (m *memory) expired(now protocol.Second) (gone []*copied, lapsed map[key.MailboxKey][]protocol.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lapsed, n := map[key.MailboxKey][]protocol.Hash{}, 0
	for name, b := range m.boxes {
		for _, c := range b.of {
			if n < maxExpire && (c.Expires <= now || !c.Whole && c.At+staging <= now) {
				gone = append(gone, c)
				n++
			}
		}
		for h, until := range b.tombs {
			if n < maxExpire && until <= now {
				lapsed[name] = append(lapsed[name], h)
				n++
			}
		}
	}
	return gone, lapsed
}

func (m *memory) fills() []kv.Fill {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, tombs := 0, 0
	var ofBox, ofPrefix int64
	for _, b := range m.boxes {
		kept, tombs, ofBox = max(kept, len(b.of)), max(tombs, len(b.tombs)), max(ofBox, b.bytes)
	}
	for _, n := range m.prefixes {
		ofPrefix = max(ofPrefix, n)
	}
	fill := func(name string, used, most int64) kv.Fill {
		return kv.Fill{Name: "blobs." + name, Used: used, Cap: most}
	}
	return []kv.Fill{
		fill("kept", int64(m.kept), int64(m.p.Kept)),
		fill("kept-per-box", int64(kept), int64(m.p.KeptPerBox)),
		fill("bytes", m.bytes, m.p.Bytes),
		fill("bytes-per-box", ofBox, m.p.BytesPerBox),
		fill("bytes-per-prefix", ofPrefix, m.p.BytesPerPrefix),
		fill("tombs", int64(m.tombs), int64(m.p.Tombs)),
		fill("tombs-per-box", int64(tombs), int64(m.p.TombsPerBox)),
	}
}
