package kv

import (
	"bytes"
	"hash/fnv"
)

// A leaf is a node of an immutable treap: a search tree by key that is a heap by
// weight. Changing it copies the path to the root, about log n nodes, and leaves
// the old tree as it was. The weight is a hash of the key, so the same content
// always has the same shape, whatever the order in which it came.
type leaf struct {
	key, value  []byte
	weight      uint64
	left, right *leaf
}

func weigh(key []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key) // never fails
	x := h.Sum64()
	// FNV mixes its high bits badly; this is the finalizer of MurmurHash3.
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (l *leaf) find(key []byte) *leaf {
	for l != nil {
		switch c := bytes.Compare(key, l.key); {
		case c == 0:
			return l
		case c < 0:
			l = l.left
		default:
			l = l.right
		}
	}
	return nil
}

// with returns the tree in which key has the given value.
func (l *leaf) with(key, value []byte) *leaf {
	if l == nil {
		return &leaf{key: key, value: value, weight: weigh(key)}
	}
	n := *l
	switch c := bytes.Compare(key, l.key); {
	case c == 0:
		n.value = value
	case c < 0:
		n.left = l.left.with(key, value) // a fresh copy, ours to turn round
		if up := n.left; up.weight > n.weight {
			n.left, up.right = up.right, &n
			return up
		}
	default:
		n.right = l.right.with(key, value)
		if up := n.right; up.weight > n.weight {
			n.right, up.left = up.left, &n
			return up
		}
	}
	return &n
}

// without returns the tree that lacks key.
func (l *leaf) without(key []byte) *leaf {
	if l.find(key) == nil {
		return l
	}
	c := bytes.Compare(key, l.key)
	if c == 0 {
		return merge(l.left, l.right)
	}
	n := *l
	if c < 0 {
		n.left = l.left.without(key)
	} else {
		n.right = l.right.without(key)
	}
	return &n
}

// merge joins two trees of which all keys of a are less than those of b.
func merge(a, b *leaf) *leaf {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		n := *a
		n.right = merge(a.right, b)
		return &n
	default:
		n := *b
		n.left = merge(a, b.left)
		return &n
	}
}

// ascend calls fn in ascending order for the keys that are not less than from,
// until it returns false, and tells whether it never did.
func (l *leaf) ascend(from []byte, fn func(*leaf) bool) bool {
	if l == nil {
		return true
	}
	if bytes.Compare(l.key, from) < 0 {
		return l.right.ascend(from, fn)
	}
	return l.left.ascend(from, fn) && fn(l) && l.right.ascend(from, fn)
}
