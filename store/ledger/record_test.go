package ledger

import (
	"bytes"
	"context"
	"math/bits"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/store/kv"
)

// What a decoder of stored records accepts has one spelling.
func FuzzRecords(f *testing.F) {
	e := Entry{Seq: 4, Kind: "grant", AtMS: 7, Body: []byte("body")}
	e.Leaf = e.Commitment()
	f.Add(int64(4), leafRecord{leaf: e.Leaf, nodes: make([]tlog.Hash, 2)}.encode())
	f.Add(int64(1), leafRecord{leaf: e.Leaf, shredded: true}.encode())
	f.Add(int64(4), encodeBody(e))
	f.Add(int64(0), (&frontier{size: 5}).encode())
	f.Add(int64(0), []byte("l/r/\x00\x00\x00\x00\x00\x00\x00\x04b"))
	f.Fuzz(func(t *testing.T, seq int64, raw []byte) {
		read := func() {
			_, _ = entryOf(seq, leafRecord{leaf: e.Leaf}, raw, true)
			_, _, _ = splitKey(raw)
			if seq > 0 && seq <= maxSize {
				_, _ = decodeLeaf(seq, raw)
			}
		}
		if got, over := alloc.Over(alloc.Most(len(raw)), read); over {
			t.Fatalf("%d bytes allocated for %d", got, len(raw))
		}
		if seq > 0 && seq <= maxSize {
			if rec, err := decodeLeaf(seq, raw); err == nil &&
				(!bytes.Equal(rec.encode(), raw) || len(rec.nodes) != bits.TrailingZeros64(uint64(seq))) {
				t.Errorf("leaf record %x became %x", raw, rec.encode())
			}
			if e, err := entryOf(seq, leafRecord{leaf: e.Leaf}, raw, true); err == nil && !bytes.Equal(encodeBody(e), raw) {
				t.Errorf("body record %x became %x", raw, encodeBody(e))
			}
		}
		if s, part, err := splitKey(raw); err == nil && bytes.HasPrefix(raw, keyRecords) && !bytes.Equal(recordKey(s, part), raw) {
			t.Errorf("key %x became %x", raw, recordKey(s, part))
		}
		s := kv.Memory()
		if err := s.Update(context.Background(), func(tx kv.Tx) error { return tx.Put(keySize, raw) }); err != nil {
			t.Skip("larger than a store takes")
		}
		_ = s.View(context.Background(), func(r kv.Reader) error {
			if f, err := readFrontier(r); err == nil && !bytes.Equal(f.encode(), raw) {
				t.Errorf("size record %x became %x", raw, f.encode())
			}
			return nil
		})
	})
}
