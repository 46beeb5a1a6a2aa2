package mailbox

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// The keys: prefix, 32 bytes of box, then a letter's hash or a capability's id. What
// memory needs lies apart from the letters, so that Open need not read those.
const (
	prefixMeta    = "m/m/" // of a letter
	prefixRaw     = "m/l/" // the letter
	prefixTomb    = "m/t/" // a mark: when it lapses
	prefixRevoked = "m/r/" // a mark: until when
)

// Open reads what store s holds into memory: about 200 bytes for each letter and 60
// for each tombstone, which the policy that let them in has bounded. self signs the
// receipts. It writes nothing, so it also opens the store of a node that stopped.
func Open(s kv.Store, self key.Private[key.Keeper], p Policy) (*Mailboxes, error) {
	m := &memory{p: p.orDefault(), boxes: map[key.MailboxKey]*box{}, shares: shares{}, watches: map[key.MailboxKey][]*watch{}}
	err := s.View(context.Background(), func(r kv.Reader) error {
		for prefix, add := range map[string]func(*box, key.MailboxKey, []byte, []byte) error{
			prefixMeta: m.addLetter, prefixTomb: m.addTomb, prefixRevoked: m.addRevoked,
		} {
			err := r.Scan([]byte(prefix), nil, func(k, v []byte) (bool, error) {
				rest := k[len(prefix):]
				if len(rest) < 32 {
					return false, fmt.Errorf("key %x: %w", k, fault.Malformed)
				}
				name := key.MailboxKey(rest[:32])
				if m.boxes[name] == nil {
					m.boxes[name] = newBox()
				}
				err := add(m.boxes[name], name, rest[32:], v)
				return err == nil, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: open: %w", err)
	}
	m.replay()
	return &Mailboxes{s: s, writes: kv.NewGroup(s), self: self, p: m.p, mem: m}, nil
}

func (m *memory) addLetter(b *box, name key.MailboxKey, id, value []byte) error {
	l := &letter{name: name, stored: true}
	if err := l.hash.UnmarshalBinary(id); err != nil {
		return err
	}
	if err := kv.DecodeCBOR(value, &l.meta); err != nil {
		return err
	}
	b.letters[l.hash] = l
	m.shares.claim(b, l.Maker)
	m.count(b, l, 1)
	return nil
}

func (m *memory) addTomb(b *box, _ key.MailboxKey, id, value []byte) error {
	var h protocol.Hash
	if err := h.UnmarshalBinary(id); err != nil {
		return err
	}
	if b.tombs == nil {
		b.tombs = map[protocol.Hash]tomb{}
	}
	t, err := readMark(value)
	b.tombs[h] = tomb{expires: t.Until}
	m.shares.claim(b, t.Maker)
	m.tombs++
	return err
}

func (m *memory) addRevoked(b *box, _ key.MailboxKey, id, value []byte) error {
	var capID protocol.ID
	if err := capID.UnmarshalBinary(id); err != nil {
		return err
	}
	if b.revoked == nil {
		b.revoked = map[protocol.ID]protocol.Second{}
	}
	r, err := readMark(value)
	b.revoked[capID] = r.Until
	m.shares.claim(b, r.Maker)
	m.revoked++
	return err
}

// replay gives places in the order of deposits. Letters that were held are held
// again until the first Tick or Collect, which knows the time.
func (m *memory) replay() {
	var all []*letter
	for _, b := range m.boxes {
		for _, l := range b.letters {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *letter) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, l := range all {
		m.seq = max(m.seq, l.Seq)
		if l.Due > 0 {
			heap.Push(&m.held, l)
		} else {
			m.show(l)
		}
	}
}

// Bounds of one Expire: what it removes, and about what it writes at once.
const maxExpire, expireBatch = 8192, 512

// Expire removes letters, tombstones and revocations whose date has passed, and says
// how many; when there are 8,192 or more it stops and is to be called again. It does
// what Tick does too.
func (m *Mailboxes) Expire(ctx context.Context, now protocol.Second) (n int, err error) {
	m.sweeping.Lock()
	defer m.sweeping.Unlock()
	for n < maxExpire {
		changes, size := m.mem.expired(now)
		if size == 0 {
			break
		}
		err := m.s.Update(ctx, func(tx kv.Tx) (err error) {
			for i := 0; i < len(changes) && err == nil; i++ {
				err = changes[i].write(tx)
			}
			return err
		})
		for _, c := range changes {
			m.mem.end(c, err)
		}
		if err != nil {
			return n, fmt.Errorf("mailbox: expire: %w", err)
		}
		n += size
	}
	m.Tick(now)
	return n, nil
}

// expired marks what has passed its date, up to expireBatch of it.
func (m *memory) expired(now protocol.Second) (all []*change, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, b := range m.boxes {
		if size == expireBatch {
			break
		}
		if b.change != nil {
			continue // its turn comes
		}
		var c *change
		next := func() bool { // makes room for one more in c
			if size == expireBatch {
				return false
			}
			if size++; c == nil {
				c = b.open(name)
				all = append(all, c)
			}
			return true
		}
		for _, l := range b.letters {
			if l.busy == nil && l.Expires <= now && next() {
				l.busy = c.over
				c.gone = append(c.gone, l)
			}
		}
		for h, t := range b.tombs {
			if t.expires <= now && next() {
				c.lifted[h] = t
				delete(b.tombs, h)
				m.tombs--
			}
		}
		for id, until := range b.revoked {
			if until <= now && next() {
				c.forgive = append(c.forgive, id)
			}
		}
	}
	return all, size
}
