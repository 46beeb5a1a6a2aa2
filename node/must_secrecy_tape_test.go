package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// A tape is a store that remembers every value that was ever kept in it, deleted
// ones too: what somebody has who copies the disk all the time. It can also die at a
// commit, as a process does that is killed: from then on nothing works, until it is
// revived.
type tape struct {
	kv.Store
	secret key.Secret // of sealed records

	mu      sync.Mutex
	written []written
	commits int
	dieAt   int  // the commit at which it dies; 0: never
	kept    bool // whether that commit is on the disk
	dead    bool
	died    func()            // what else ends with the process
	after   func(w []written) // hears of every commit
}

// written is one value that was kept.
type written struct{ key, value []byte }

var errDead = fmt.Errorf("the process is dead: %w", fault.Offline)

// newTape puts a tape around a store whose sealed records the master secret opens.
func newTape(s kv.Store, master key.Secret) *tape {
	return &tape{Store: s, secret: seal.Derive(master, seal.LabelRecord, nil), died: func() {}, after: func([]written) {}}
}

// onTape restarts a node with a tape around its store.
func onTape(m *nodetest.Member) *tape {
	m.Stop()
	tp := newTape(m.Store, m.Master)
	m.Store = tp
	m.Start()
	return tp
}

// arm lets the store die at the n-th commit from now.
func (tp *tape) arm(n int, kept bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.dieAt, tp.kept = tp.commits+n, kept
}

// watch lets fn hear of every commit, and die of the store's death, from now on.
func (tp *tape) watch(fn func([]written), die func()) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.after, tp.died = fn, die
}

// revive makes the store of a dead process usable for the next; it tells whether it was dead.
func (tp *tape) revive() bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	was := tp.dead
	tp.dead, tp.dieAt = false, 0
	return was
}

func (tp *tape) isDead() bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.dead
}

// View implements kv.Store.
func (tp *tape) View(ctx context.Context, fn func(kv.Reader) error) error {
	if tp.isDead() {
		return errDead
	}
	return tp.Store.View(ctx, fn)
}

// Update implements kv.Store.
func (tp *tape) Update(ctx context.Context, fn func(kv.Tx) error) error {
	var list []written
	var dies, kept bool
	err := tp.Store.Update(ctx, func(tx kv.Tx) error {
		if tp.isDead() {
			return errDead
		}
		list = nil
		if err := fn(&tapeTx{tx, &list}); err != nil {
			return err
		}
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.commits++
		dies, kept = tp.commits == tp.dieAt, tp.kept
		tp.dead = tp.dead || dies
		if dies && !kept {
			return errDead
		}
		return nil
	})
	tp.mu.Lock()
	after, died := tp.after, tp.died
	if err == nil {
		tp.written = append(tp.written, list...)
	}
	tp.mu.Unlock()
	if dies {
		died()
	}
	if err != nil {
		return err
	}
	after(list)
	if dies {
		return errDead // it is on the disk, and nobody was told
	}
	return nil
}

type tapeTx struct {
	kv.Tx
	list *[]written
}

// Put implements kv.Tx.
func (t *tapeTx) Put(key, value []byte) error {
	*t.list = append(*t.list, written{bytes.Clone(key), bytes.Clone(value)})
	return t.Tx.Put(key, value)
}

// plain opens a sealed record; a public one is plain already.
func (tp *tape) plain(w written) []byte {
	if raw, err := seal.OpenRecord(tp.secret, string(w.key), 1, "kv", w.value); err == nil {
		return raw
	}
	return w.value
}

// all gives everything that was ever kept under a prefix, opened.
func (tp *tape) all(prefix string) (out []written) {
	tp.mu.Lock()
	list := tp.written[:len(tp.written):len(tp.written)]
	tp.mu.Unlock()
	for _, w := range list {
		if strings.HasPrefix(string(w.key), prefix) {
			out = append(out, written{w.key, tp.plain(w)})
		}
	}
	return out
}

// now gives what is in the store at this moment, opened.
func (tp *tape) now(t testing.TB) (out []written) {
	t.Helper()
	err := tp.Store.View(context.Background(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			w := written{bytes.Clone(k), bytes.Clone(v)}
			out = append(out, written{w.key, tp.plain(w)})
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Where keepers keep letters and announcements.
const (
	letterPrefix       = "m/l/"
	announcementPrefix = "b/a/"
)

// letters gives every letter that ever lay on keepers' disks, once.
func letters(keepers ...*tape) (out [][]byte) {
	seen := map[[32]byte]bool{}
	for _, tp := range keepers {
		for _, w := range tp.all(letterPrefix) {
			if id := sha256.Sum256(w.value); !seen[id] {
				seen[id] = true
				out = append(out, w.value)
			}
		}
	}
	return out
}

// announcements gives every announcement that keepers ever heard, once.
func announcements(keepers ...*tape) (out [][]byte) {
	seen := map[[32]byte]bool{}
	for _, tp := range keepers {
		for _, w := range tp.all(announcementPrefix) {
			if c, err := parseCBOR(w.value); err == nil {
				raw, ok := c.field(9)
				if id := sha256.Sum256(raw.body); ok && !seen[id] {
					seen[id] = true
					out = append(out, raw.body)
				}
			}
		}
	}
	return out
}

// A door is the key of one mailbox's letters.
type door struct {
	seed  protocol.Shared
	class seal.Class
	hers  bool // the mailbox is a customer's
}

// secrets are what a node must not let out before a Receipt.
type secrets struct {
	doors   map[key.MailboxKey]door
	private [][]byte // values, body keys, offer secrets
	keys    map[protocol.GrantID]records.OfferKeys
}

// learn reads the keys that a node ever had: of its mailboxes, of bodies, of offers.
func (s *secrets) learn(t testing.TB, tp *tape, customer bool) {
	t.Helper()
	if s.doors == nil {
		s.doors, s.keys = map[key.MailboxKey]door{}, map[protocol.GrantID]records.OfferKeys{}
	}
	open := func(box, seed protocol.Shared, c seal.Class) {
		if !box.IsZero() && !seed.IsZero() {
			s.doors[key.FromSeed[key.Mailbox](box.Secret()).Public()] = door{seed, c, customer}
		}
	}
	for _, w := range tp.all("k/a/") {
		a := decode[records.Agreement](t, w)
		open(a.Mine.Box, a.Mine.Seal, seal.Duty)
		open(a.Mine.Reply, a.Mine.Request, seal.Vendor)
	}
	for _, w := range tp.all("k/c/") {
		c := decode[records.Context](t, w)
		open(c.Keys.Box, c.Keys.Seal, seal.First)
		if !c.Keys.Body.IsZero() {
			s.private = append(s.private, c.Keys.Body.Secret().Reveal())
		}
	}
	for _, w := range tp.all("k/o/") {
		k := decode[records.OfferKeys](t, w)
		if k.Seal.IsZero() {
			continue // being destroyed
		}
		open(k.Box, k.Seal, seal.Offer)
		s.private = append(s.private, k.Secret.Secret().Reveal())
		s.keys[protocol.GrantID(w.key[4:])] = k
	}
	for _, w := range tp.all("k/n/vendor") {
		for _, k := range decode[market.Vendor](t, w).Keys {
			open(k.Box, k.Seal, seal.Vendor)
		}
	}
}

// read opens a letter with the key of its mailbox.
func (s *secrets) read(net protocol.Hash, raw []byte) (plain []byte, d door, err error) {
	l, err := wire.ReadLetter(raw)
	if err != nil {
		return nil, d, err
	}
	d, ok := s.doors[l.Box]
	if !ok {
		return nil, d, fmt.Errorf("a letter to mailbox %s, which nobody has", l.Box)
	}
	plain, _, err = wire.OpenLetter(key.SealFromSeed[key.DutySeal](d.seed.Secret()), d.class, net, raw)
	return plain, d, err
}

func decode[T any](t testing.TB, w written) (v T) {
	t.Helper()
	if err := kv.DecodeCBOR(w.value, &v); err != nil {
		t.Fatalf("record %q: %v", w.key[:4], err)
	}
	return v
}

// netOf is the id of a simulated network.
func netOf(t testing.TB, g *protocol.Genesis) protocol.Hash {
	t.Helper()
	net, _, err := wire.NetworkID(g)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// locks are keys that somebody tries on letters, each once.
type locks struct {
	seen map[[32]byte]bool
	list []key.Secret
}

// add takes every string of 32 bytes in what was written as a key to be tried.
func (l *locks) add(list []written) {
	if l.seen == nil {
		l.seen = map[[32]byte]bool{}
	}
	for _, w := range list {
		each32(w.value, func(b []byte) {
			if s, err := key.SecretFrom(b); err == nil && !l.seen[[32]byte(b)] && !s.IsZero() {
				l.seen[[32]byte(b)] = true
				l.list = append(l.list, s)
			}
		})
	}
}
