// Package ledger is the memory that nobody can quietly change: an append-only log
// of everything that a device agreed to, gave away, got and took back.
//
// It is a Merkle tree (golang.org/x/mod/sumdb/tlog, the hashes of RFC 6962) inside
// the node's private kv.Store. The device signs a [Head], size and root, and from
// then on cannot change, drop or reorder an entry below that size without being
// found out by whoever kept the head. Counterparties keep it blinded, see [Blind].
//
// # An entry
//
// Entries are numbered from 1. What enters the tree is a salted commitment:
//
//	leaf = SHA-256(LP("hark/1/ledger-leaf") ‖ salt[32] ‖ uint64be seq ‖ uint64be at
//	               ‖ LP(kind) ‖ body)
//	record hash of tlog = SHA-256(0x00 ‖ leaf)
//
// with LP(x) = uint32be(len x) ‖ x, at in milliseconds since 1970, and salt random.
// Kind, time, salt and body lie beside the tree and can be shredded: without the
// salt nobody can guess the body back from the leaf, and the tree stays whole.
//
// # What is stored, under the prefix "l/"
//
//	l/d              device[32]: the key that signs this ledger's heads
//	l/n              uint64be size, the number of entries ‖ the right edge of the tree: for
//	                 each bit set in size, lowest first, the root of that many entries
//	l/r/<seq>b       uint64be at ‖ salt[32] ‖ len(kind)[1] ‖ kind ‖ body; gone when shredded
//	l/r/<seq>l       leaf[32] ‖ shredded[1] ‖ the inner nodes that this entry completes,
//	                 lowest level first, 32 bytes each
//
// seq is a uint64be. Entry n completes as many inner nodes as n has trailing zero
// bits. The edge holds all that the next entry needs, so an append reads one value
// and writes three, none longer than its body or 33 + 32·log2 n bytes.
//
// # Use
//
//  1. Append inside the transaction that changes what the entry tells of, so that
//     both are kept or neither. Nothing is held in memory: an aborted transaction
//     leaves no trace.
//  2. Head signs the present size and root; Prove shows that an entry is under a
//     head, ProveGrowth that one head continues another.
//  3. Who receives heads keeps the last one and moves it with Follow.
//  4. Verify recomputes everything from the entries; Export writes it all for
//     somebody else, who runs VerifyExport without a node. Package audit puts beside
//     it what others have signed, and judges such files.
//
// A ledger rolled back as a whole, store and all, looks sound from inside. Only a
// head that somebody else kept gives it away.
package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Bounds.
const (
	MaxKind = 64        // bytes of a kind: a-z, 0-9, '.' and '-'
	MaxBody = 128 << 10 // bytes of a body
	MaxList = 1000      // entries that List returns at once
	maxSize = 1 << 48   // entries of a ledger
)

// An Entry is one line of the ledger. Salt proves that the other fields belong to
// Leaf; together with a [Proof] it shows one entry to somebody and no other.
type Entry struct {
	Seq      int64    // from 1
	Kind     string   // what happened, such as "grant"; empty when shredded
	AtMS     int64    // when, milliseconds since 1970; 0 when shredded
	Body     []byte   // what exactly; nil when shredded
	Salt     [32]byte // random; zero when shredded
	Shredded bool
	Withheld bool     // in an export: its owner has the body, and left it out
	Leaf     [32]byte // the commitment that stands in the tree
}

// Commitment is the leaf that e's fields make (see the package comment).
func (e Entry) Commitment() [32]byte {
	return seal.Digest(seal.LabelLedgerLeaf, e.Salt[:], be64(e.Seq), be64(e.AtMS), seal.LP([]byte(e.Kind)), e.Body)
}

// check refuses an entry that no ledger would hold. An entry whose body is not there
// is a leaf, and any leaf is one.
func (e Entry) check() error {
	switch {
	case e.Seq < 1 || e.Seq > maxSize:
		return fmt.Errorf("ledger: there is no entry %d: %w", e.Seq, fault.Malformed)
	case e.Shredded || e.Withheld:
		return nil
	case e.AtMS < 0:
		return fmt.Errorf("ledger: entry %d: time %d: %w", e.Seq, e.AtMS, fault.Malformed)
	case !soundKind(e.Kind):
		return fmt.Errorf("ledger: entry %d: kind %.80q: %w", e.Seq, e.Kind, fault.Malformed)
	case len(e.Body) > MaxBody:
		return fmt.Errorf("ledger: entry %d: a body of %d bytes, at most %d: %w", e.Seq, len(e.Body), MaxBody, fault.Malformed)
	case e.Commitment() != e.Leaf:
		return fmt.Errorf("ledger: entry %d: kind, time or body do not match the leaf: %w", e.Seq, fault.Malformed)
	}
	return nil
}

func soundKind(kind string) bool {
	for i := range len(kind) {
		c := kind[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return len(kind) > 0 && len(kind) <= MaxKind
}

// A Ledger appends to and reads the ledger of one device. It holds no state of
// its own: every method works on the transaction or snapshot that it is given.
type Ledger struct{ device key.Private[key.Device] }

// Open opens the ledger in store, or begins it. The ledger of another device gives
// fault.Denied, one whose top is damaged fault.Malformed; Verify looks at all of it.
func Open(ctx context.Context, store kv.Store, device key.Private[key.Device]) (*Ledger, error) {
	if device.IsZero() {
		return nil, fmt.Errorf("ledger: no device key: %w", fault.Malformed)
	}
	l := &Ledger{device}
	err := store.View(ctx, l.open)
	if !errors.Is(err, errNew) {
		return l, err
	}
	err = store.Update(ctx, func(tx kv.Tx) error {
		if err := l.open(tx); !errors.Is(err, errNew) {
			return err
		}
		pub := device.Public()
		return errors.Join(tx.Put(keyDevice, pub[:]), tx.Put(keySize, new(frontier).encode()))
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: begin: %w", err)
	}
	return l, nil
}

var errNew = errors.New("ledger: none yet")

// open checks whose ledger it is and that its top is sound.
func (l *Ledger) open(r kv.Reader) error {
	if err := l.owned(r); err != nil {
		return err
	}
	_, err := l.top(r)
	return err
}

// owned refuses the ledger of another device; errNew means that there is none.
func (l *Ledger) owned(r kv.Reader) error {
	owner, err := r.Get(keyDevice)
	if errors.Is(err, fault.NotFound) {
		if _, err := r.Get(keySize); err == nil {
			return fmt.Errorf("ledger: the owner's key is missing: %w", fault.Malformed)
		}
		return errNew
	}
	if err != nil {
		return err
	}
	if pub := l.device.Public(); string(owner) != string(pub[:]) {
		return fmt.Errorf("ledger: it belongs to another device: %w", fault.Denied)
	}
	return nil
}

// top returns the edge of the tree, after comparing it with the stored nodes.
func (l *Ledger) top(r kv.Reader) (*frontier, error) {
	edge, err := readFrontier(r)
	if err != nil {
		return nil, err
	}
	root, err := l.RootAt(r, edge.size)
	if err == nil && root != edge.root() {
		err = fmt.Errorf("ledger: entry %d: the edge of the tree does not match its nodes: %w", edge.size, fault.Malformed)
	}
	return edge, err
}

// Device is the key that signs the heads of this ledger.
func (l *Ledger) Device() key.Public[key.Device] { return l.device.Public() }

// Size is the number of entries, and so the Seq of the last one.
func (l *Ledger) Size(r kv.Reader) (int64, error) {
	edge, err := readFrontier(r)
	if err != nil {
		return 0, err
	}
	return edge.size, nil
}

// Append adds an entry within tx and returns its number. The kind is 1 to MaxKind
// letters a-z, digits, '.' and '-'; body, at most MaxBody bytes, is not kept.
func (l *Ledger) Append(tx kv.Tx, kind string, atMS int64, body []byte) (seq int64, err error) {
	edge, err := readFrontier(tx)
	if err != nil {
		return 0, err
	}
	e := Entry{Seq: edge.size + 1, Kind: kind, AtMS: atMS, Body: body}
	_, _ = rand.Read(e.Salt[:]) // never fails
	e.Leaf = e.Commitment()
	if err := e.check(); err != nil {
		return 0, err
	}
	nodes := edge.add(e.Leaf)
	err = errors.Join(
		tx.Put(recordKey(e.Seq, partBody), encodeBody(e)),
		tx.Put(recordKey(e.Seq, partLeaf), leafRecord{leaf: e.Leaf, nodes: nodes}.encode()),
		tx.Put(keySize, edge.encode()),
	)
	if err != nil {
		return 0, fmt.Errorf("ledger: append entry %d: %w", e.Seq, err)
	}
	return e.Seq, nil
}

// Shred removes kind, time, salt and body of an entry for good; its leaf stays, and
// with it every root and proof. Shredding again does nothing.
//
// Within the store that is a deletion: overwriting first would change nothing,
// since a log-structured store writes beside, not over. The sealed bytes may stay
// on disk until compaction, where only the store's secret opens them.
func (l *Ledger) Shred(tx kv.Tx, seq int64) error {
	rec, err := readLeaf(tx, seq)
	if err != nil || rec.shredded {
		return err
	}
	rec.shredded = true
	err = errors.Join(tx.Delete(recordKey(seq, partBody)), tx.Put(recordKey(seq, partLeaf), rec.encode()))
	if err != nil {
		return fmt.Errorf("ledger: shred entry %d: %w", seq, err)
	}
	return nil
}

// Get returns entry seq, checked against its leaf, or fault.NotFound.
func (l *Ledger) Get(r kv.Reader, seq int64) (Entry, error) {
	rec, err := readLeaf(r, seq)
	if err != nil {
		return Entry{}, err
	}
	raw, err := r.Get(recordKey(seq, partBody))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return Entry{}, fmt.Errorf("ledger: entry %d: %w", seq, err)
	}
	return entryOf(seq, rec, raw, err == nil)
}

// List returns the entries that follow after (0: from the first), in order, at
// most limit of them (1 to MaxList; other values mean MaxList). With a kind it
// returns those of that kind only, and has to read past all others.
func (l *Ledger) List(r kv.Reader, after int64, limit int, kind string) ([]Entry, error) {
	return l.Select(r, after, limit, func(e Entry) bool { return kind == "" || e.Kind == kind })
}

// Select is List for the entries that want selects; nil is all.
func (l *Ledger) Select(r kv.Reader, after int64, limit int, want func(Entry) bool) ([]Entry, error) {
	if limit < 1 || limit > MaxList {
		limit = MaxList
	}
	var out []Entry
	err := l.Each(r, after, func(e Entry) (bool, error) {
		if want == nil || want(e) {
			out = append(out, e)
		}
		return len(out) < limit, nil
	})
	return out, err
}

// Each calls fn for each entry that follows after, in order, until it wants no more.
// Every entry is checked against its leaf.
func (l *Ledger) Each(r kv.Reader, after int64, fn func(Entry) (more bool, err error)) error {
	return walk(r, max(after, 0), func(e Entry, _ leafRecord) (bool, error) { return fn(e) })
}
