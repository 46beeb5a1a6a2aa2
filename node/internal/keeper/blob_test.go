package keeper_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/blobs"
	"github.com/harkmarket/hark/store/kv"
)

func keepsBlobs(p blobs.Policy) func(*keeper.Config) {
	return func(c *keeper.Config) { c.Blobs = must(blobs.Open(kv.Memory(), p)) }
}

func (w *world) blob(to *node) *keeper.Session {
	w.Helper()
	s, err := w.client().Blob(w.Context(), to.port.Self())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	return s
}

// A parcel is a copy with what its owner and its reader know.
type parcel struct {
	raw   []byte
	token protocol.Hash
	protocol.BlobOp
}

func newParcel(size int) parcel {
	p := parcel{raw: bytes.Repeat([]byte{7, 1, 2}, size/3+1)[:size], token: large.Token(key.NewSecret())}
	p.BlobOp = protocol.BlobOp{Digest: sha256.Sum256(p.raw), Size: uint32(size), Token: sha256.Sum256(p.token[:]), Expires: now() + protocol.Day}
	return p
}

func (p parcel) chunk(i uint32) ([]byte, error) {
	rest := p.raw[int(i)*protocol.CopyChunk:]
	return rest[:min(len(rest), protocol.CopyChunk)], nil
}

func TestACopyAtAKeeper(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper(keepsBlobs(blobs.Policy{}))
		box, p := key.Generate[key.Mailbox](), newParcel(20*protocol.CopyChunk+5) // more than two windows
		owner, reader := w.blob(k), w.blob(k)
		for range 2 { // the second time it is there
			if err := owner.PutCopy(w.Context(), box, p.BlobOp, p.chunk); err != nil {
				t.Fatal(err)
			}
		}
		var got []byte
		for i := uint32(0); i < 21; {
			chunks, err := reader.GetCopy(w.Context(), box.Public(), p.Digest, p.token, i, 21-i)
			if err != nil || len(chunks) == 0 {
				t.Fatalf("from chunk %d: %d, %v", i, len(chunks), err)
			}
			for _, c := range chunks {
				got = append(got, c...)
			}
			i += uint32(len(chunks))
		}
		if !bytes.Equal(got, p.raw) {
			t.Errorf("%d bytes of %d", len(got), len(p.raw))
		}
		if err := owner.DeleteCopies(w.Context(), box, p.Digest); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.GetCopy(w.Context(), box.Public(), p.Digest, p.token, 0, 1); !errors.Is(err, fault.NotFound) {
			t.Errorf("a deleted copy: %v", err)
		}
		if err := owner.PutCopy(w.Context(), box, p.BlobOp, p.chunk); !errors.Is(err, fault.Conflict) {
			t.Errorf("a put after the delete: %v", err)
		}
	})
}

// TestCopyRefusals: who is not its owner leaves and deletes nothing, who was not told of
// a copy can't find it, and what breaks a bound is refused before it is kept.
func TestCopyRefusals(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper(keepsBlobs(blobs.Policy{BytesPerPrefix: 4 * protocol.CopyChunk}))
		box, other := key.Generate[key.Mailbox](), key.Generate[key.Mailbox]()
		p := newParcel(2 * protocol.CopyChunk)
		owner := w.blob(k)
		if err := owner.PutCopy(w.Context(), box, p.BlobOp, p.chunk); err != nil {
			t.Fatal(err)
		}
		stranger := w.blob(k)
		for what, get := range map[string]func() error{
			"without its token": func() error {
				_, err := stranger.GetCopy(w.Context(), box.Public(), p.Digest, protocol.Hash{1}, 0, 1)
				return err
			},
			"with the token's hash": func() error {
				_, err := stranger.GetCopy(w.Context(), box.Public(), p.Digest, p.Token, 0, 1)
				return err
			},
			"in another mailbox": func() error {
				_, err := stranger.GetCopy(w.Context(), other.Public(), p.Digest, p.token, 0, 1)
				return err
			},
			"beyond its end": func() error {
				_, err := stranger.GetCopy(w.Context(), box.Public(), p.Digest, p.token, 2, 1)
				return err
			},
		} {
			if err := get(); !errors.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := stranger.DeleteCopies(w.Context(), other, p.Digest); err != nil {
			t.Errorf("a delete of nothing: %v", err)
		}
		if _, err := stranger.GetCopy(w.Context(), box.Public(), p.Digest, p.token, 0, 2); err != nil {
			t.Errorf("another's delete removed it: %v", err)
		}
		altered := newParcel(3 * protocol.CopyChunk / 2)
		altered.raw[9] ^= 1
		if err := w.blob(k).PutCopy(w.Context(), box, altered.BlobOp, altered.chunk); !errors.Is(err, fault.Malformed) {
			t.Errorf("not what its digest names: %v", err)
		}
		old := newParcel(100)
		old.Expires = now() - 1
		if err := w.blob(k).PutCopy(w.Context(), box, old.BlobOp, old.chunk); !errors.Is(err, fault.Expired) {
			t.Errorf("past its date: %v", err)
		}
		more := newParcel(3 * protocol.CopyChunk)
		if err := owner.PutCopy(w.Context(), other, more.BlobOp, more.chunk); !errors.Is(err, fault.Full) {
			t.Errorf("more than one address prefix may have: %v", err)
		}
		if err := w.blob(k).PutCopy(w.Context(), other, more.BlobOp, more.chunk); err != nil {
			t.Errorf("of another address prefix: %v", err)
		}
	})
}

// TestCopyOpsAreSigned for one keeper, one stream and one number: nobody repeats them
// elsewhere.
func TestCopyOpsAreSigned(t *testing.T) {
	box, p := key.Generate[key.Mailbox](), newParcel(100)
	at, nonce := key.Generate[key.Keeper]().Public(), wire.NewID()
	for kind, op := range map[string]*protocol.Op{
		"put":    {N: 1, Kind: protocol.OpBlobPut, Box: box.Public(), Blob: p.BlobOp},
		"chunk":  {N: 1, Kind: protocol.OpBlobChunk, Box: box.Public(), Blob: protocol.BlobOp{Digest: p.Digest, Chunk: p.raw}},
		"delete": {N: 1, Kind: protocol.OpBlobDelete, Box: box.Public(), Hashes: []protocol.Hash{p.Digest}},
	} {
		if err := wire.SignOp(box, op, at, nonce); err != nil {
			t.Fatal(err)
		}
		if err := wire.CheckOp(op, at, nonce); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for what, check := range map[string]func() error{
			"another stream": func() error { return wire.CheckOp(op, at, wire.NewID()) },
			"another keeper": func() error { return wire.CheckOp(op, key.Generate[key.Keeper]().Public(), nonce) },
			"another number": func() error { o := *op; o.N = 2; return wire.CheckOp(&o, at, nonce) },
			"another mailbox": func() error {
				o := *op
				o.Box = key.Generate[key.Mailbox]().Public()
				return wire.CheckOp(&o, at, nonce)
			},
		} {
			if err := check(); !errors.Is(err, fault.Denied) {
				t.Errorf("%s, %s: %v", kind, what, err)
			}
		}
		if err := wire.SignOp(key.Generate[key.Mailbox](), op, at, nonce); !errors.Is(err, fault.Denied) {
			t.Errorf("%s signed by another key: %v", kind, err)
		}
	}
	for what, b := range map[string]protocol.BlobOp{
		"too large":   {Digest: p.Digest, Token: p.Token, Expires: 1, Size: protocol.MaxCopy + 1},
		"empty":       {Digest: p.Digest, Token: p.Token, Expires: 1, Size: 16},
		"no token":    {Digest: p.Digest, Expires: 1, Size: 100},
		"no digest":   {Token: p.Token, Expires: 1, Size: 100},
		"without end": {Digest: p.Digest, Token: p.Token, Size: 100},
	} {
		if err := wire.SignOp(box, &protocol.Op{N: 1, Kind: protocol.OpBlobPut, Box: box.Public(), Blob: b}, at, nonce); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, b := range map[string]protocol.BlobOp{
		"no bytes": {Digest: p.Digest}, "too many": {Digest: p.Digest, Chunk: make([]byte, protocol.CopyChunk+1)},
		"beyond every end": {Digest: p.Digest, Chunk: p.raw, Index: protocol.MaxCopyParts},
	} {
		if err := wire.SignOp(box, &protocol.Op{N: 1, Kind: protocol.OpBlobChunk, Box: box.Public(), Blob: b}, at, nonce); !errors.Is(err, fault.Malformed) {
			t.Errorf("a chunk, %s: %v", what, err)
		}
	}
}

// TestAStreamThatStops is cut off, and what it began goes within the hour.
func TestAStreamThatStops(t *testing.T) {
	in(t, func(w *world) {
		store := kv.Memory()
		k := w.keeper(func(c *keeper.Config) { c.Blobs = must(blobs.Open(store, blobs.Policy{})) })
		c := must(w.net.Port(false).Dial(w.Context(), k.port.Self(), peers.ProtoBlob))
		if _, _, err := wire.ReadHello(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil { // nothing is said for a minute
			t.Error("a silent stream goes on")
		}
	})
}
