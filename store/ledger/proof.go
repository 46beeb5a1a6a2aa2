package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// maxHashes bounds a proof: a tree of maxSize entries has no longer one.
const maxHashes = 64

// A Proof shows that entry Seq is among the first Size: an RFC 6962 audit path.
type Proof struct {
	Seq    int64
	Size   int64
	Hashes [][32]byte
}

// A Growth shows that the ledger of size New continues that of size Old: an RFC
// 6962 consistency proof. It is empty when Old is 0 or equals New.
type Growth struct {
	Old    int64
	New    int64
	Hashes [][32]byte
}

// Prove shows that entry seq, shredded or not, is under the head of that size.
func (l *Ledger) Prove(r kv.Reader, seq, size int64) (Proof, error) {
	if err := l.within(r, size); err != nil {
		return Proof{}, err
	}
	if seq < 1 || seq > size {
		return Proof{}, fmt.Errorf("ledger: no entry %d in a ledger of %d: %w", seq, size, fault.NotFound)
	}
	p, err := tlog.ProveRecord(size, seq-1, nodes(r))
	if err != nil {
		return Proof{}, fmt.Errorf("ledger: prove entry %d: %w", seq, err)
	}
	return Proof{seq, size, plain(p)}, nil
}

// CheckProof tells whether p shows that entry p.Seq of the ledger with the signed
// head h has this leaf. What the entry says is CheckEntry's question.
func CheckProof(h Head, leaf [32]byte, p Proof) error {
	if err := h.Check(); err != nil {
		return err
	}
	if p.Size != h.Size || p.Seq < 1 || p.Seq > p.Size || len(p.Hashes) > maxHashes {
		return fmt.Errorf("ledger: a proof for entry %d of %d, under a head of %d: %w", p.Seq, p.Size, h.Size, fault.Malformed)
	}
	if err := tlog.CheckRecord(hashes(p.Hashes), p.Size, h.Root, p.Seq-1, tlog.RecordHash(leaf[:])); err != nil {
		return fmt.Errorf("ledger: entry %d is not under this head (%w): %w", p.Seq, err, fault.Malformed)
	}
	return nil
}

// CheckEntry tells whether e, word for word, is an entry of the ledger with the
// signed head h. It needs no node and no other entry.
func CheckEntry(h Head, e Entry, p Proof) error {
	if e.Seq != p.Seq {
		return fmt.Errorf("ledger: a proof for entry %d, not %d: %w", p.Seq, e.Seq, fault.Malformed)
	}
	if err := e.check(); err != nil {
		return err
	}
	return CheckProof(h, e.Leaf, p)
}

// ProveGrowth shows that the ledger of size to continues that of size from.
func (l *Ledger) ProveGrowth(r kv.Reader, from, to int64) (Growth, error) {
	if err := l.within(r, to); err != nil {
		return Growth{}, err
	}
	if from < 0 || from > to {
		return Growth{}, fmt.Errorf("ledger: no growth from size %d to %d: %w", from, to, fault.NotFound)
	}
	if from == 0 {
		return Growth{New: to}, nil
	}
	p, err := tlog.ProveTree(to, from, nodes(r))
	if err != nil {
		return Growth{}, fmt.Errorf("ledger: prove growth from %d to %d: %w", from, to, err)
	}
	return Growth{from, to, plain(p)}, nil
}

// CheckGrowth tells whether p shows that the ledger of size p.New, which must be
// size, with root to, continues that of size p.Old with root from.
func CheckGrowth(from, to [32]byte, p Growth, size int64) error {
	bad := fmt.Errorf("ledger: size %d with this root does not continue size %d with that one: %w", size, p.Old, fault.Malformed)
	switch {
	case p.New != size || p.Old < 0 || p.Old > p.New || len(p.Hashes) > maxHashes:
		return bad
	case p.Old == 0: // every ledger continues the empty one, which has one root
		if none, _ := tlog.TreeHash(0, nil); len(p.Hashes) > 0 || from != none || (size == 0 && to != none) {
			return bad
		}
		return nil
	}
	if err := tlog.CheckTree(tree(p.Hashes), p.New, to, p.Old, from); err != nil {
		return bad
	}
	return nil
}

func plain[T ~[]tlog.Hash](in T) [][32]byte {
	var out [][32]byte
	for _, h := range in {
		out = append(out, h)
	}
	return out
}

func hashes(in [][32]byte) tlog.RecordProof {
	out := make(tlog.RecordProof, len(in))
	for i, h := range in {
		out[i] = h
	}
	return out
}

func tree(in [][32]byte) tlog.TreeProof { return tlog.TreeProof(hashes(in)) }
