package ledger

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A frontier is the right edge of a growing Merkle tree: edge[i] is the root of a
// complete subtree of 1<<i leaves, if that bit is set in size. It is all that is
// needed to append leaves and to know the root.
type frontier struct {
	size int64
	edge [64]tlog.Hash
}

// add appends a leaf and returns the inner nodes that it completes, from level 1 up.
func (f *frontier) add(leaf [32]byte) (completed []tlog.Hash) {
	f.size++
	h := tlog.RecordHash(leaf[:])
	levels := bits.TrailingZeros64(uint64(f.size))
	for i := range levels {
		h = tlog.NodeHash(f.edge[i], h)
		completed = append(completed, h)
	}
	f.edge[levels] = h
	return completed
}

// root is the RFC 6962 Merkle tree hash of all leaves so far.
func (f *frontier) root() [32]byte {
	root, _ := tlog.TreeHash(0, nil) // the constant of the empty tree
	first := true
	for i := range f.edge {
		switch {
		case f.size>>i&1 == 0:
		case first:
			root, first = f.edge[i], false
		default:
			root = tlog.NodeHash(f.edge[i], root)
		}
	}
	return root
}

func (f *frontier) encode() []byte {
	out := be64(f.size)
	for i := range f.edge {
		if f.size>>i&1 == 1 {
			out = append(out, f.edge[i][:]...)
		}
	}
	return out
}

// readFrontier is the inverse of encode.
func readFrontier(r kv.Reader) (*frontier, error) {
	raw, err := r.Get(keySize)
	if err != nil {
		return nil, fmt.Errorf("ledger: size: %w", err)
	}
	bad := fmt.Errorf("ledger: a size record of %d bytes: %w", len(raw), fault.Malformed)
	if len(raw) < 8 {
		return nil, bad
	}
	size, rest := binary.BigEndian.Uint64(raw), raw[8:]
	if size > maxSize || len(rest) != 32*bits.OnesCount64(size) {
		return nil, bad
	}
	f := &frontier{size: int64(size)}
	for i := range f.edge {
		if size>>i&1 == 1 {
			f.edge[i], rest = tlog.Hash(rest[:32]), rest[32:]
		}
	}
	return f, nil
}

// A Tree is a Merkle tree that grows by one leaf at a time and knows its root: what
// it takes to recompute a ledger from its leaves. The zero Tree is empty.
type Tree struct{ f frontier }

// Add appends a leaf.
func (t *Tree) Add(leaf [32]byte) { t.f.add(leaf) }

// Size is the number of leaves.
func (t *Tree) Size() int64 { return t.f.size }

// Root is the root of the leaves so far.
func (t *Tree) Root() [32]byte { return t.f.root() }
