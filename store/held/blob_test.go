package held_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
)

// large makes a value with its copy, in chunks.
func large(name protocol.FieldName, size int) (b held.Blob, plain []byte, chunks [][]byte) {
	plain = bytes.Repeat([]byte(name), size/len(name)+1)[:size]
	k := key.NewSecret()
	all := slices.Collect(slices.Chunk(plain, seal.ChunkSize))
	sum := sha256.New()
	for i, c := range all {
		chunks = append(chunks, seal.SealCopy(k, uint64(i), i+1 == len(all), c))
		sum.Write(chunks[i])
	}
	return held.Blob{Name: name, Version: 1, Size: uint32(size), Digest: protocol.Hash(sum.Sum(nil)), Key: protocol.Share(k)}, plain, chunks
}

func records(t *testing.T, s kv.Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(r kv.Reader) error {
		return r.Scan([]byte("h/c/"), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestALargeValueIsHeldAndGoes(t *testing.T) {
	s, h := kv.Memory(), held.New()
	b, plain, chunks := large("identity.document", 2*seal.ChunkSize+77)
	rec := full(1)
	rec.Blobs = []held.Blob{b}
	update(t, s, func(tx kv.Tx) error { return h.Put(tx, rec) })
	if err := h.Read(t.Context(), s, rec.Grant, b.Name, new(bytes.Buffer)); !errors.Is(err, fault.Offline) {
		t.Errorf("before it came: %v", err)
	}
	update(t, s, func(tx kv.Tx) error {
		_, err := h.Chunks(tx, rec.Grant, b.Digest, 1, chunks[1:])
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("chunks out of order: %v", err)
		}
		whole, err := h.Chunks(tx, rec.Grant, b.Digest, 0, chunks[:2])
		if whole {
			t.Error("it is whole too early")
		}
		return err
	})
	update(t, s, func(tx kv.Tx) error { // the next lease names it again
		rec.Until, rec.Blobs = 2000, []held.Blob{b}
		return h.Put(tx, rec)
	})
	update(t, s, func(tx kv.Tx) error {
		whole, err := h.Chunks(tx, rec.Grant, b.Digest, 2, chunks[2:])
		if !whole {
			t.Error("it is not whole")
		}
		return err
	})
	if err := h.Check(t.Context(), s, rec.Grant, b.Digest); err != nil {
		t.Error(err)
	}
	var got bytes.Buffer
	if err := h.Read(t.Context(), s, rec.Grant, b.Name, &got); err != nil || !bytes.Equal(got.Bytes(), plain) {
		t.Errorf("%d of %d bytes, %v", got.Len(), len(plain), err)
	}
	update(t, s, func(tx kv.Tx) error {
		names, err := h.Delete(tx, rec.Grant)
		if !slices.Contains(names, "field identity.document") {
			t.Errorf("a deletion names %q", names)
		}
		return err
	})
	if n := records(t, s); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
	if err := h.Read(t.Context(), s, rec.Grant, b.Name, &got); !errors.Is(err, fault.NotFound) {
		t.Errorf("once it is deleted: %v", err)
	}
	update(t, s, func(tx kv.Tx) error {
		if _, err := h.Chunks(tx, rec.Grant, b.Digest, 0, chunks[:1]); !errors.Is(err, fault.NotFound) {
			t.Errorf("a chunk that comes late: %v", err)
		}
		f, err := h.BytesFill(tx)
		if f.Used != 0 {
			t.Errorf("%d bytes are counted", f.Used)
		}
		return err
	})
}

// TestAnotherVersion takes the place of the one before, whose bytes go.
func TestAnotherVersion(t *testing.T) {
	s, h := kv.Memory(), held.New().Within(3*seal.ChunkSize)
	old, _, chunks := large("identity.document", 2*seal.ChunkSize)
	next, _, _ := large("identity.other", 3*seal.ChunkSize)
	rec := full(1)
	rec.Blobs = []held.Blob{old}
	update(t, s, func(tx kv.Tx) error {
		if err := h.Put(tx, rec); err != nil {
			return err
		}
		_, err := h.Chunks(tx, rec.Grant, old.Digest, 0, chunks)
		return err
	})
	more := rec
	more.Blobs = []held.Blob{old, next}
	if err := s.Update(t.Context(), func(tx kv.Tx) error { return h.Put(tx, more) }); !errors.Is(err, fault.Full) {
		t.Errorf("more bytes than there is room for: %v", err)
	}
	rec.Blobs = []held.Blob{next}
	update(t, s, func(tx kv.Tx) error { return h.Put(tx, rec) })
	if n := records(t, s); n != 0 {
		t.Errorf("%d chunks of the old one are left", n)
	}
	update(t, s, func(tx kv.Tx) error {
		f, err := h.BytesFill(tx)
		if f.Used != int64(next.Size) || f.Used != f.Cap {
			t.Errorf("%+v", f)
		}
		return err
	})
}

// TestWhatADigestDoesNotName is to be fetched again.
func TestWhatADigestDoesNotName(t *testing.T) {
	s, h := kv.Memory(), held.New()
	b, _, chunks := large("identity.document", 100)
	b.Digest[0] ^= 1
	rec := full(1)
	rec.Blobs = []held.Blob{b}
	update(t, s, func(tx kv.Tx) error {
		if err := h.Put(tx, rec); err != nil {
			return err
		}
		_, err := h.Chunks(tx, rec.Grant, b.Digest, 0, chunks)
		return err
	})
	if err := h.Check(t.Context(), s, rec.Grant, b.Digest); !errors.Is(err, fault.Malformed) {
		t.Errorf("another value: %v", err)
	}
	if err := h.Read(t.Context(), s, rec.Grant, b.Name, new(bytes.Buffer)); !errors.Is(err, fault.Offline) {
		t.Errorf("and it is read: %v", err)
	}
}
