package blobs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

const day0 = 20_000 * protocol.Day

// A sample is a copy with what its owner and its reader know of it.
type sample struct {
	raw   []byte
	token protocol.Hash
	protocol.BlobOp
}

func newSample(size int, seed byte) sample {
	s := sample{raw: make([]byte, size), token: protocol.Hash{seed, 1}}
	for i, src := 0, rand.New(rand.NewPCG(uint64(seed), 1)); i < size; i++ {
		s.raw[i] = byte(src.Uint32())
	}
	s.BlobOp = protocol.BlobOp{Digest: sha256.Sum256(s.raw), Size: uint32(size), Token: sha256.Sum256(s.token[:]), Expires: day0 + 10*protocol.Day}
	return s
}

func (s sample) chunk(i uint32) *protocol.BlobOp {
	rest := s.raw[int(i)*protocol.CopyChunk:]
	return &protocol.BlobOp{Digest: s.Digest, Index: i, Chunk: rest[:min(len(rest), protocol.CopyChunk)]}
}

func (s sample) get(i uint32) *protocol.BlobOp {
	return &protocol.BlobOp{Digest: s.Digest, Index: i, Token: s.token}
}

// leave puts a whole copy.
func leave(t *testing.T, b *Blobs, box key.MailboxKey, s sample, from Tag) error {
	t.Helper()
	next, err := b.Put(t.Context(), box, &s.BlobOp, from, day0)
	for n := protocol.CopyParts(s.Size); err == nil && next < n; {
		next, err = b.Chunk(t.Context(), box, s.chunk(next))
	}
	return err
}

func read(t *testing.T, b *Blobs, box key.MailboxKey, s sample) (raw []byte, err error) {
	t.Helper()
	for i := range protocol.CopyParts(s.Size) {
		chunk, err := b.Get(t.Context(), box, s.get(i), day0)
		if err != nil {
			return nil, err
		}
		raw = append(raw, chunk...)
	}
	return raw, nil
}

func open(t *testing.T, store kv.Store, p Policy) *Blobs {
	t.Helper()
	b, err := Open(store, p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func want(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func TestACopyComesAndGoes(t *testing.T) {
	store, box := kv.Memory(), key.Generate[key.Mailbox]().Public()
	b, s := open(t, store, Policy{}), newSample(2*protocol.CopyChunk+100, 1)
	if err := leave(t, b, box, s, Tag{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time after a restart
		if raw, err := read(t, b, box, s); err != nil || !bytes.Equal(raw, s.raw) {
			t.Fatalf("%d of %d bytes, %v", len(raw), len(s.raw), err)
		}
		if next, err := b.Put(t.Context(), box, &s.BlobOp, Tag{}, day0); err != nil || next != 3 {
			t.Errorf("the same copy again: %d, %v", next, err)
		}
		b = open(t, store, Policy{})
	}
	had, err := b.Delete(t.Context(), box, []protocol.Hash{s.Digest, {9}}, day0)
	if err != nil || !slices.Equal(had, []protocol.Hash{s.Digest}) {
		t.Fatalf("Delete = %v, %v", had, err)
	}
	for range 2 {
		_, err := read(t, b, box, s)
		want(t, "a deleted copy", err, fault.NotFound)
		want(t, "a put after a delete", leave(t, b, box, s, Tag{}), fault.Conflict)
		b = open(t, store, Policy{})
	}
	if n, err := b.Expire(t.Context(), day0+400*protocol.Day); err != nil || n != 2 {
		t.Errorf("%d tombstones lapse, %v", n, err)
	}
	if left := size(t, store); left != 0 {
		t.Errorf("%d records are left", left)
	}
}

func size(t *testing.T, store kv.Store) (n int) {
	t.Helper()
	err := store.View(t.Context(), func(r kv.Reader) error {
		return r.Scan([]byte("x/"), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAPutGoesOn after a crash between any two chunks.
func TestAPutGoesOn(t *testing.T) {
	store, box := kv.Memory(), key.Generate[key.Mailbox]().Public()
	s := newSample(3*protocol.CopyChunk, 2)
	for i := range uint32(3) {
		b := open(t, store, Policy{})
		next, err := b.Put(t.Context(), box, &s.BlobOp, Tag{}, day0)
		if err != nil || next != i {
			t.Fatalf("chunk %d is wanted, not %d, %v", next, i, err)
		}
		_, err = read(t, b, box, s)
		want(t, "a copy that is not whole", err, fault.NotFound)
		if next, err = b.Chunk(t.Context(), box, s.chunk(i)); err != nil || next != i+1 {
			t.Fatalf("chunk %d: %d, %v", i, next, err)
		}
		if next, err = b.Chunk(t.Context(), box, s.chunk(i)); err != nil || next != i+1 {
			t.Fatalf("chunk %d again: %d, %v", i, next, err)
		}
	}
	if raw, err := read(t, open(t, store, Policy{}), box, s); err != nil || !bytes.Equal(raw, s.raw) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestRefusals(t *testing.T) {
	store, box, other := kv.Memory(), key.Generate[key.Mailbox]().Public(), key.Generate[key.Mailbox]().Public()
	b, s := open(t, store, Policy{}), newSample(protocol.CopyChunk+1, 3)
	put := func(change func(*protocol.BlobOp)) error {
		op := s.BlobOp
		change(&op)
		_, err := b.Put(t.Context(), box, &op, Tag{}, day0)
		return err
	}
	want(t, "too large", put(func(o *protocol.BlobOp) { o.Size = protocol.MaxCopy + 1 }), fault.Malformed)
	want(t, "past its date", put(func(o *protocol.BlobOp) { o.Expires = day0 }), fault.Expired)
	want(t, "for too long", put(func(o *protocol.BlobOp) { o.Expires = day0 + 40*protocol.Day }), fault.Malformed)
	_, err := b.Chunk(t.Context(), box, s.chunk(0))
	want(t, "a chunk of nothing", err, fault.NotFound)
	if err := put(func(*protocol.BlobOp) {}); err != nil {
		t.Fatal(err)
	}
	want(t, "another size", put(func(o *protocol.BlobOp) { o.Size++ }), fault.Conflict)
	want(t, "another token", put(func(o *protocol.BlobOp) { o.Token[0]++ }), fault.Conflict)
	_, err = b.Chunk(t.Context(), box, s.chunk(1))
	want(t, "a chunk too far", err, fault.Conflict)
	short := s.chunk(0)
	short.Chunk = short.Chunk[1:]
	_, err = b.Chunk(t.Context(), box, short)
	want(t, "a short chunk", err, fault.Malformed)
	_, err = b.Chunk(t.Context(), other, s.chunk(0))
	want(t, "another's mailbox", err, fault.NotFound)
	if err := leave(t, b, box, s, Tag{}); err != nil {
		t.Fatal(err)
	}
	for what, op := range map[string]*protocol.BlobOp{
		"a stranger":     {Digest: s.Digest, Token: protocol.Hash{1}},
		"the hash of it": {Digest: s.Digest, Token: s.Token},
		"beyond its end": s.get(2),
		"nothing":        {Digest: protocol.Hash{1}, Token: s.token},
	} {
		_, err := b.Get(t.Context(), box, op, day0)
		want(t, what, err, fault.NotFound)
	}
	_, err = b.Get(t.Context(), other, s.get(0), day0)
	want(t, "in another's mailbox", err, fault.NotFound)
	_, err = b.Get(t.Context(), box, s.get(0), s.Expires)
	want(t, "past its date", err, fault.NotFound)
	if had, err := b.Delete(t.Context(), other, []protocol.Hash{s.Digest}, day0); err != nil || len(had) != 0 {
		t.Errorf("another's delete: %v, %v", had, err)
	}
	if raw, err := read(t, b, box, s); err != nil || !bytes.Equal(raw, s.raw) {
		t.Errorf("after all that: %d bytes, %v", len(raw), err)
	}
}

// TestWhatADigestDoesNotName is not kept, and leaves nothing behind.
func TestWhatADigestDoesNotName(t *testing.T) {
	store, box := kv.Memory(), key.Generate[key.Mailbox]().Public()
	b, s := open(t, store, Policy{}), newSample(protocol.CopyChunk+50, 4)
	s.raw[protocol.CopyChunk+7] ^= 1
	want(t, "altered bytes", leave(t, b, box, s, Tag{}), fault.Malformed)
	if left := size(t, store); left != 0 {
		t.Errorf("%d records are left", left)
	}
	for _, f := range b.Stats() {
		if f.Used != 0 {
			t.Errorf("%s is %d", f.Name, f.Used)
		}
	}
	s.raw[protocol.CopyChunk+7] ^= 1
	if err := leave(t, b, box, s, Tag{}); err != nil {
		t.Errorf("the right bytes: %v", err)
	}
}

func TestExpire(t *testing.T) {
	store, box := kv.Memory(), key.Generate[key.Mailbox]().Public()
	b, whole, half := open(t, store, Policy{}), newSample(100, 5), newSample(2*protocol.CopyChunk, 6)
	if err := leave(t, b, box, whole, Tag{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), box, &half.BlobOp, Tag{1}, day0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Chunk(t.Context(), box, half.chunk(0)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   protocol.Second
		gone int
	}{{day0 + 59*protocol.Minute, 0}, {day0 + protocol.Hour, 1}, {whole.Expires - 1, 0}, {whole.Expires, 1}, {whole.Expires, 0}} {
		if n, err := b.Expire(t.Context(), step.at); err != nil || n != step.gone {
			t.Errorf("at %d s: %d go, want %d, %v", step.at-day0, n, step.gone, err)
		}
	}
	if left := size(t, store); left != 0 {
		t.Errorf("%d records are left", left)
	}
}

// TestShares: neither a mailbox nor an address prefix takes what others need.
func TestShares(t *testing.T) {
	b := open(t, kv.Memory(), Policy{Bytes: 16 * protocol.CopyChunk, BytesPerBox: 3 * protocol.CopyChunk, BytesPerPrefix: 6 * protocol.CopyChunk, KeptPerBox: 2})
	fresh := func() key.MailboxKey { return key.Generate[key.Mailbox]().Public() }
	greedy := fresh()
	n := byte(0)
	try := func(box key.MailboxKey, chunks int, from Tag) error {
		n++
		return leave(t, b, box, newSample(chunks*protocol.CopyChunk, n), from)
	}
	if err := try(greedy, 2, Tag{1}); err != nil {
		t.Fatal(err)
	}
	want(t, "bytes of one mailbox", try(greedy, 2, Tag{1}), fault.Full)
	if err := try(greedy, 1, Tag{1}); err != nil {
		t.Fatal(err)
	}
	want(t, "copies of one mailbox", leave(t, b, greedy, newSample(17, 99), Tag{1}), fault.Full)
	if err := try(fresh(), 3, Tag{1}); err != nil {
		t.Fatal(err)
	}
	want(t, "bytes of one prefix", leave(t, b, fresh(), newSample(17, 98), Tag{1}), fault.Full)
	for prefix := byte(2); prefix < 40; prefix++ {
		_ = try(fresh(), 3, Tag{prefix}) // until the shares are small
	}
	if err := try(fresh(), 1, Tag{77}); err != nil {
		t.Errorf("a newcomer finds no room: %v; %v", err, b.Stats())
	}
}
