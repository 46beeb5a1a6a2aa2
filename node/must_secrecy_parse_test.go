package node_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A reader of CBOR and of signed envelopes of this test's own: what a stranger sees
// is judged without the code that wrote it.

// A node is one CBOR item.
type cborItem struct {
	major byte // 0 unsigned, 2 bytes, 3 text, 4 array, 5 map
	n     uint64
	body  []byte // of bytes and text
	list  []cborItem
	keys  []cborItem // of a map, in step with list
}

// field finds the value of an unsigned key in a map.
func (c cborItem) field(k uint64) (cborItem, bool) {
	for i, key := range c.keys {
		if key.major == 0 && key.n == k {
			return c.list[i], true
		}
	}
	return cborItem{}, false
}

// uints tells whether a map's keys are unsigned numbers, rising, all of them among those allowed.
func (c cborItem) uints(allowed ...uint64) error {
	if c.major != 5 {
		return fmt.Errorf("a map was expected, not major type %d", c.major)
	}
	for i, k := range c.keys {
		if k.major != 0 || i > 0 && k.n <= c.keys[i-1].n {
			return fmt.Errorf("map key %d is no rising unsigned number", i)
		}
		known := false
		for _, a := range allowed {
			known = known || a == k.n
		}
		if !known {
			return fmt.Errorf("key %d is not among %v", k.n, allowed)
		}
	}
	return nil
}

// parseCBOR reads all of raw as one item of definite length.
func parseCBOR(raw []byte) (cborItem, error) {
	c, rest, err := cborOf(raw, 16)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the item", len(rest))
	}
	return c, err
}

func cborHead(raw []byte) (major byte, n uint64, rest []byte, err error) {
	if len(raw) == 0 {
		return 0, 0, nil, fmt.Errorf("the bytes end early")
	}
	major, info, raw := raw[0]>>5, raw[0]&31, raw[1:]
	if info < 24 {
		return major, uint64(info), raw, nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(raw) < size {
		return 0, 0, nil, fmt.Errorf("a head of kind %d", info)
	}
	for _, b := range raw[:size] {
		n = n<<8 | uint64(b)
	}
	return major, n, raw[size:], nil
}

func cborOf(raw []byte, depth int) (c cborItem, rest []byte, err error) {
	if depth == 0 {
		return c, nil, fmt.Errorf("nested too deep")
	}
	if c.major, c.n, rest, err = cborHead(raw); err != nil {
		return c, nil, err
	}
	switch c.major {
	case 0, 1, 7:
		return c, rest, nil
	case 2, 3:
		if c.n > uint64(len(rest)) {
			return c, nil, fmt.Errorf("a string of %d bytes, %d left", c.n, len(rest))
		}
		c.body = rest[:c.n]
		return c, rest[c.n:], nil
	case 4, 5:
		if c.n > uint64(len(rest)) {
			return c, nil, fmt.Errorf("%d items in %d bytes", c.n, len(rest))
		}
		for range c.n {
			var item cborItem
			if c.major == 5 {
				if item, rest, err = cborOf(rest, depth-1); err != nil {
					return c, nil, err
				}
				c.keys = append(c.keys, item)
			}
			if item, rest, err = cborOf(rest, depth-1); err != nil {
				return c, nil, err
			}
			c.list = append(c.list, item)
		}
		return c, rest, nil
	}
	return c, nil, fmt.Errorf("major type %d", c.major)
}

// An envelope is a libp2p signed envelope (RFC 0002).
type envelope struct {
	key, kind, payload, sig []byte
}

// envelopeHead is how every envelope with an Ed25519 key begins.
var envelopeHead = []byte("\x0a\x24\x08\x01\x12\x20")

// parseEnvelope reads the four protobuf fields, and nothing else.
func parseEnvelope(raw []byte) (envelope, error) {
	var fields [4][]byte
	for i, tag := range []byte{0x0a, 0x12, 0x1a, 0x2a} {
		if len(raw) < 2 || raw[0] != tag {
			return envelope{}, fmt.Errorf("envelope: field %d is missing", i)
		}
		n, used := binary.Uvarint(raw[1:])
		if used <= 0 || n > uint64(len(raw)-1-used) {
			return envelope{}, fmt.Errorf("envelope: length of field %d", i)
		}
		raw = raw[1+used:]
		fields[i], raw = raw[:n], raw[n:]
	}
	key, ed25519 := bytes.CutPrefix(fields[0], []byte("\x08\x01\x12\x20"))
	if !ed25519 || len(key) != 32 || len(fields[3]) != 64 || len(raw) > 0 {
		return envelope{}, fmt.Errorf("envelope: key of %d, signature of %d, %d bytes after", len(key), len(fields[3]), len(raw))
	}
	return envelope{key, fields[1], fields[2], fields[3]}, nil
}

// each32 calls fn with every string of 32 bytes in a record, and in the records,
// payloads and envelopes that lie inside its strings: all that may be a key.
func each32(raw []byte, fn func([]byte)) {
	if bytes.HasPrefix(raw, envelopeHead) {
		if e, err := parseEnvelope(raw); err == nil {
			fn(e.key)
			each32(e.payload, fn)
			return
		}
	}
	c, err := parseCBOR(raw)
	if err != nil {
		return
	}
	var walk func(cborItem)
	walk = func(c cborItem) {
		switch {
		case c.major == 2 && len(c.body) == 32:
			fn(c.body)
		case c.major == 2:
			each32(c.body, fn)
		}
		for _, x := range c.list {
			walk(x)
		}
		for _, x := range c.keys {
			walk(x)
		}
	}
	walk(c)
}
