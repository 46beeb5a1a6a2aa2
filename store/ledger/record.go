package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

var (
	keyDevice  = []byte("l/d")
	keySize    = []byte("l/n")
	keyRecords = []byte("l/r/")
)

// The two parts of an entry; the body sorts before the leaf.
const (
	partBody = 'b'
	partLeaf = 'l'
)

func be64(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func recordKey(seq int64, part byte) []byte {
	k := binary.BigEndian.AppendUint64(bytes.Clone(keyRecords), uint64(seq))
	return append(k, part)
}

// splitKey is the inverse of recordKey.
func splitKey(k []byte) (seq int64, part byte, err error) {
	rest, _ := bytes.CutPrefix(k, keyRecords)
	if len(rest) != 9 {
		return 0, 0, fmt.Errorf("ledger: an unknown record %x: %w", k, fault.Malformed)
	}
	return int64(binary.BigEndian.Uint64(rest)), rest[8], nil
}

// A leafRecord is what stays of an entry for ever.
type leafRecord struct {
	leaf     [32]byte
	shredded bool
	nodes    []tlog.Hash // inner nodes that the entry completes, from level 1 up
}

func (l leafRecord) encode() []byte {
	out := append(make([]byte, 0, 33+32*len(l.nodes)), l.leaf[:]...)
	if l.shredded {
		out = append(out, 1)
	} else {
		out = append(out, 0)
	}
	for _, n := range l.nodes {
		out = append(out, n[:]...)
	}
	return out
}

func decodeLeaf(seq int64, raw []byte) (l leafRecord, err error) {
	levels := bits.TrailingZeros64(uint64(seq))
	if len(raw) != 33+32*levels || raw[32] > 1 {
		return l, fmt.Errorf("ledger: entry %d: a leaf record of %d bytes: %w", seq, len(raw), fault.Malformed)
	}
	l.leaf, l.shredded = [32]byte(raw), raw[32] == 1
	for rest := raw[33:]; len(rest) > 0; rest = rest[32:] {
		l.nodes = append(l.nodes, tlog.Hash(rest[:32]))
	}
	return l, nil
}

// readLeaf gives fault.NotFound where there is no such entry.
func readLeaf(r kv.Reader, seq int64) (leafRecord, error) {
	if seq < 1 || seq > maxSize {
		return leafRecord{}, fmt.Errorf("ledger: there is no entry %d: %w", seq, fault.NotFound)
	}
	raw, err := r.Get(recordKey(seq, partLeaf))
	if err != nil {
		return leafRecord{}, fmt.Errorf("ledger: entry %d: %w", seq, err)
	}
	return decodeLeaf(seq, raw)
}

func encodeBody(e Entry) []byte {
	out := make([]byte, 0, 8+32+1+len(e.Kind)+len(e.Body))
	out = binary.BigEndian.AppendUint64(out, uint64(e.AtMS))
	out = append(out, e.Salt[:]...)
	out = append(out, byte(len(e.Kind)))
	out = append(out, e.Kind...)
	return append(out, e.Body...)
}

// entryOf puts an entry together and checks it against its leaf.
func entryOf(seq int64, rec leafRecord, body []byte, hasBody bool) (Entry, error) {
	e := Entry{Seq: seq, Leaf: rec.leaf, Shredded: rec.shredded}
	switch {
	case rec.shredded && hasBody:
		return e, fmt.Errorf("ledger: entry %d: marked as shredded, but its body is there: %w", seq, fault.Malformed)
	case rec.shredded:
		return e, nil
	case !hasBody:
		return e, fmt.Errorf("ledger: entry %d: its body is missing, and it was not shredded: %w", seq, fault.Malformed)
	case len(body) < 41 || len(body) < 41+int(body[40]):
		return e, fmt.Errorf("ledger: entry %d: a body record of %d bytes: %w", seq, len(body), fault.Malformed)
	}
	text := body[41:]
	e.AtMS = int64(binary.BigEndian.Uint64(body))
	e.Salt = [32]byte(body[8:])
	e.Kind = string(text[:body[40]])
	e.Body = append([]byte{}, text[body[40]:]...)
	return e, e.check()
}

// walk calls fn for each entry that follows after, in one pass over the records.
// It checks that none is missing in between and each matches its leaf.
func walk(r kv.Reader, after int64, fn func(Entry, leafRecord) (more bool, err error)) error {
	next, hasBody := after+1, false
	var body, from []byte
	if after > 0 {
		from = recordKey(after, partLeaf)
	}
	err := r.Scan(keyRecords, from, func(k, value []byte) (bool, error) {
		seq, part, err := splitKey(k)
		switch {
		case err != nil:
			return false, err
		case seq > next:
			return false, fmt.Errorf("ledger: entry %d: it is missing: %w", next, fault.Malformed)
		case seq < next:
			return false, fmt.Errorf("ledger: entry %d: an unknown record %x: %w", seq, k, fault.Malformed)
		case part == partBody:
			body, hasBody = append(body[:0], value...), true
			return true, nil
		case part != partLeaf:
			return false, fmt.Errorf("ledger: entry %d: an unknown record %x: %w", seq, k, fault.Malformed)
		}
		rec, err := decodeLeaf(seq, value)
		if err != nil {
			return false, err
		}
		e, err := entryOf(seq, rec, body, hasBody)
		if err != nil {
			return false, err
		}
		next, hasBody = seq+1, false
		return fn(e, rec)
	})
	if err == nil && hasBody {
		err = fmt.Errorf("ledger: entry %d: a body without a leaf: %w", next, fault.Malformed)
	}
	return err
}

// nodes reads stored hashes for tlog. Node n of a level covers 2^level entries and
// stands with the last of them, number (n+1)<<level.
func nodes(r kv.Reader) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			rec, err := readLeaf(r, (n+1)<<level)
			switch {
			case errors.Is(err, fault.NotFound):
				return nil, fmt.Errorf("ledger: entry %d: it is missing: %w", (n+1)<<level, fault.Malformed)
			case err != nil:
				return nil, err
			case level == 0:
				out[i] = tlog.RecordHash(rec.leaf[:])
			default:
				out[i] = rec.nodes[level-1]
			}
		}
		return out, nil
	}
}
