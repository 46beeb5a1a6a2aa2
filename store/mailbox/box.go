package mailbox

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

type lane uint8

const (
	laneCap   lane = 1
	laneFirst lane = 2
	laneInbox lane = 3
)

// meta is what is stored beside a letter's bytes.
type meta struct {
	Lane    lane              `cbor:"1,keyasint,omitempty"`
	Size    int64             `cbor:"2,keyasint,omitempty"`
	KiB     int               `cbor:"3,keyasint,omitempty"` // of plaintext bucket
	Cap     protocol.ID       `cbor:"4,keyasint,omitzero"`
	Vendor  protocol.VendorID `cbor:"5,keyasint,omitzero"`
	Tier    int               `cbor:"6,keyasint,omitempty"`
	Work    int               `cbor:"7,keyasint,omitempty"`
	At      protocol.Second   `cbor:"8,keyasint,omitempty"`
	Due     protocol.Second   `cbor:"9,keyasint,omitempty"` // end of the hold, if any
	Expires protocol.Second   `cbor:"10,keyasint,omitempty"`
	Seq     uint64            `cbor:"11,keyasint,omitempty"`
	From    Tag               `cbor:"12,keyasint,omitzero"`
	Maker   Tag               `cbor:"13,keyasint,omitzero"` // of the box
}

// A letter is what memory knows of one that is kept, or being written.
type letter struct {
	meta
	hash   protocol.Hash
	name   key.MailboxKey
	stored bool          // on disk
	place  uint64        // 0: not visible yet
	shown  bool          // collected in this run: its hash is a cursor
	slot   int           // in the heap of held letters, from 1; 0: not in it
	busy   chan struct{} // closed when the change that is under way is over
	victim *letter       // gives way to this one, while it is being written
}

func (l *letter) key(prefix string) []byte { return keyOf(prefix, l.name, l.hash[:]) }

func keyOf(prefix string, box key.MailboxKey, id []byte) []byte {
	return append(append([]byte(prefix), box[:]...), id...)
}

// A tomb is what is left of a deleted letter.
type tomb struct {
	expires protocol.Second
	place   uint64 // where it was, if it is a cursor
}

// A use is what a capability has in the box.
type use struct{ letters, kib int }

// A box is one mailbox. It exists while it has letters, tombstones or revocations.
type box struct {
	from    Tag // who made it
	letters map[protocol.Hash]*letter
	order   []*letter // the visible ones, by place
	first   []*letter // counted in their lane: also those being written, not those giving way
	inbox   []*letter
	caps    map[protocol.ID]use
	under   int   // letters under capabilities
	bytes   int64 // of these
	all     int   // letters counted
	size    int64 // of these
	tombs   map[protocol.Hash]tomb
	revoked map[protocol.ID]protocol.Second
	change  *change // under way; a second one waits, so that memory and disk agree about tombstones
}

// memory is what is known of all boxes. Its methods that do not lock are called by
// those that do.
type memory struct {
	p Policy

	mu       sync.Mutex // guards what follows; never held while waiting
	boxes    map[key.MailboxKey]*box
	shares   shares
	vain     protocol.Second // when no box gave way
	letters  int
	bytes    int64
	tombs    int
	revoked  int
	seq      uint64 // counts deposits, on disk
	places   uint64 // counts places, in this run
	held     holds
	watches  map[key.MailboxKey][]*watch
	watchers int
}

func newBox() *box {
	return &box{letters: map[protocol.Hash]*letter{}, caps: map[protocol.ID]use{}}
}

func (b *box) empty() bool {
	return len(b.letters) == 0 && len(b.tombs) == 0 && len(b.revoked) == 0 && b.change == nil
}

// count adds l to, or with n = -1 takes it from, the counters of its lane and of
// all boxes.
func (m *memory) count(b *box, l *letter, n int) {
	m.letters += n
	m.bytes += int64(n) * l.Size
	b.all += n
	b.size += int64(n) * l.Size
	m.shares.hold(l.From, 0, n, int64(n)*l.Size)
	switch l.Lane {
	case laneCap:
		b.under += n
		b.bytes += int64(n) * l.Size
		u := b.caps[l.Cap]
		u.letters += n
		u.kib += n * l.KiB
		b.caps[l.Cap] = u
		if u == (use{}) {
			delete(b.caps, l.Cap)
		}
	case laneFirst:
		b.first = listed(b.first, l, n)
	case laneInbox:
		b.inbox = listed(b.inbox, l, n)
	}
}

func listed(list []*letter, l *letter, n int) []*letter {
	if n > 0 {
		return append(list, l)
	}
	return slices.DeleteFunc(list, func(x *letter) bool { return x == l })
}

// fair is the rule of the package comment: who has own and wants add more of a
// bound, of which used is taken in all, may have it.
func fair[T int | int64](own, add, used, most T) bool { return own+add <= most-used }

// reserve decides about a letter, and counts it if it is let in: then all three
// results are zero, and the caller must commit and settle it. wait is to be waited
// for before asking again. known says that the letter is kept already.
func (m *memory) reserve(d Deposit, l *letter, now protocol.Second) (wait chan struct{}, known bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[d.Box]
	isNew := b == nil
	if isNew {
		b = newBox()
	}
	if until, ok := b.revoked[l.Cap]; ok && l.Lane == laneCap && until > now {
		return nil, false, fmt.Errorf("the capability was revoked: %w", fault.Denied)
	}
	if old := b.letters[l.hash]; old != nil {
		return old.busy, old.busy == nil, nil
	}
	if t, ok := b.tombs[l.hash]; ok && t.expires > now {
		return nil, false, fmt.Errorf("its owner deleted it: %w", fault.Conflict)
	}
	if isNew {
		if err := m.place(d.From, d.Named != nil && d.Named(d.Box)); err != nil {
			return nil, false, err
		}
	}
	if !fair(b.all, 1, m.letters, m.p.Letters) || !fair(b.size, l.Size, m.bytes, m.p.Bytes) {
		return nil, false, fmt.Errorf("%d letters, %d bytes in all: %w", m.letters, m.bytes, fault.Full)
	}
	if err := m.afford(d.From, l.Size); err != nil {
		return nil, false, err
	}
	if wait, err = m.admit(b, d, l); wait != nil || err != nil {
		return wait, false, err
	}
	l.busy = make(chan struct{})
	if l.victim != nil {
		l.victim.busy = l.busy
		m.count(b, l.victim, -1)
	}
	m.seq++
	l.Seq = m.seq
	if isNew {
		m.boxes[d.Box] = b
		m.shares.claim(b, d.From)
	}
	l.Maker = b.from
	b.letters[l.hash] = l
	m.count(b, l, 1)
	return nil, false, nil
}

// admit asks the letter's lane, and sets the letter that has to give way.
func (m *memory) admit(b *box, d Deposit, l *letter) (wait chan struct{}, err error) {
	l.victim = nil
	switch l.Lane {
	case laneCap:
		u := b.caps[l.Cap]
		if u.letters+1 > int(d.Cap.Letters) || u.kib+l.KiB > int(d.Cap.KiB) {
			return nil, fmt.Errorf("the capability has %d letters, %d KiB here: %w", u.letters, u.kib, fault.Full)
		}
		if b.under+1 > m.p.LettersPerBox || b.bytes+l.Size > m.p.BytesPerBox {
			return nil, fmt.Errorf("%d letters, %d bytes in the box: %w", b.under, b.bytes, fault.Full)
		}
		return nil, nil
	case laneInbox:
		if len(b.inbox) < min(d.First.Quota, m.p.InboxPerBox) {
			return nil, nil
		}
		return nil, l.contest(b.inbox)
	}
	for _, o := range b.letters {
		if o.Lane == laneFirst && o.Vendor == l.Vendor {
			if o.busy != nil {
				return o.busy, nil
			}
			return nil, fmt.Errorf("one first letter per vendor and box: %w", fault.Conflict)
		}
	}
	if len(b.first) < m.p.FirstPerBox {
		return nil, nil
	}
	var equals, unvouched []*letter
	vouched := 0
	for _, o := range b.first {
		if o.Tier > 0 {
			vouched++
		} else {
			unvouched = append(unvouched, o)
		}
		if (o.Tier > 0) == (l.Tier > 0) {
			equals = append(equals, o)
		}
	}
	if l.Tier > 0 && vouched < m.p.FirstVouched {
		equals = unvouched
	}
	return nil, l.contest(equals)
}

// contest picks the lowest of those that may give way to l, if it is lower than l.
// Letters that are being written, or are leaving already, can't.
func (l *letter) contest(others []*letter) error {
	var lowest *letter
	for _, o := range others {
		if o.busy == nil && (lowest == nil || o.rank(lowest) < 0) {
			lowest = o
		}
	}
	if lowest == nil || cmp.Or(cmp.Compare(lowest.Tier, l.Tier), cmp.Compare(lowest.Work, l.Work)) >= 0 {
		return fmt.Errorf("no place, and none gives way to tier %d, work %d: %w", l.Tier, l.Work, fault.Full)
	}
	l.victim = lowest
	return nil
}

// rank orders by tier, work, and age: the younger is the lower.
func (l *letter) rank(o *letter) int {
	return cmp.Or(cmp.Compare(l.Tier, o.Tier), cmp.Compare(l.Work, o.Work), cmp.Compare(o.Seq, l.Seq))
}

// settle ends what reserve began, as commit went.
func (m *memory) settle(l *letter, err error) {
	m.mu.Lock()
	b, v := m.boxes[l.name], l.victim
	close(l.busy)
	l.busy, l.victim = nil, nil
	if v != nil {
		v.busy = nil
	}
	if err != nil {
		delete(b.letters, l.hash)
		m.count(b, l, -1)
		if v != nil {
			m.count(b, v, 1)
		}
		m.tidy(l.name)
		m.mu.Unlock()
		return
	}
	if v != nil {
		m.remove(b, v)
	}
	l.stored = true
	if l.Due > 0 {
		heap.Push(&m.held, l)
		m.mu.Unlock()
		return
	}
	fire := m.show(l)
	m.mu.Unlock()
	call(fire)
}

// remove forgets a letter that is no longer counted nor on disk.
func (m *memory) remove(b *box, l *letter) {
	delete(b.letters, l.hash)
	if l.slot > 0 {
		heap.Remove(&m.held, l.slot-1)
	}
	if i, ok := b.find(l.place); ok {
		b.order = slices.Delete(b.order, i, i+1)
	}
}

func (b *box) find(place uint64) (int, bool) {
	return slices.BinarySearchFunc(b.order, place, func(l *letter, p uint64) int { return cmp.Compare(l.place, p) })
}

func (m *memory) tidy(name key.MailboxKey) {
	if b := m.boxes[name]; b != nil && b.empty() {
		delete(m.boxes, name)
		m.shares.hold(b.from, -1, 0, 0)
	}
}

// show gives a letter the last place of its box, and returns who is to be told.
func (m *memory) show(l *letter) (fire []func()) {
	m.places++
	l.place = m.places
	b := m.boxes[l.name]
	b.order = append(b.order, l)
	for _, w := range m.watches[l.name] {
		fire = append(fire, w.fn)
	}
	return fire
}

// release shows the letters whose hold has ended.
func (m *memory) release(now protocol.Second) (fire []func()) {
	for len(m.held) > 0 && m.held[0].Due <= now {
		fire = append(fire, m.show(heap.Pop(&m.held).(*letter))...)
	}
	return fire
}

// holds is a heap of held letters by the end of their hold.
type holds []*letter

func (h holds) Len() int           { return len(h) }
func (h holds) Less(i, j int) bool { return h[i].Due < h[j].Due }
func (h holds) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

// Push implements heap.Interface.
func (h *holds) Push(x any) {
	l := x.(*letter)
	*h = append(*h, l)
	l.slot = len(*h)
}

// Pop implements heap.Interface.
func (h *holds) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.slot = 0
	return l
}

type watch struct{ fn func() }

func (m *memory) unwatch(box key.MailboxKey, w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.watches[box], w)
	if i < 0 {
		return
	}
	m.watchers--
	// A new slice: an old one may be in the hands of somebody who calls.
	m.watches[box] = append(slices.Clone(m.watches[box][:i]), m.watches[box][i+1:]...)
	if len(m.watches[box]) == 0 {
		delete(m.watches, box)
	}
}
