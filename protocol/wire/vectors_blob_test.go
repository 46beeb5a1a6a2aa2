package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/large"
)

// blobValue is a large value of two chunks, made in a way that others can follow: byte i
// is i mod 251.
func blobValue() []byte {
	out := make([]byte, seal.ChunkSize+1000)
	for i := range out {
		out[i] = byte(i % 251)
	}
	return out
}

// blobCopy is its copy under a key.
func blobCopy(k key.Secret) []byte {
	v := blobValue()
	return append(seal.SealCopy(k, 0, false, v[:seal.ChunkSize]), seal.SealCopy(k, 1, true, v[seal.ChunkSize:])...)
}

func largeValues() protocol.LargeValues {
	return protocol.LargeValues{Keepers: keepers(2), Values: []protocol.LargeValue{{
		Name: "identity.document", Version: 2, Size: uint32(len(blobValue())), Digest: ID(blobCopy(secret("copy"))), Key: protocol.Share(secret("copy")), Media: "application/pdf",
	}}}
}

// blobVectors: copies of large values, the disclosure that names one, and the operations
// at its keeper.
func blobVectors(add adder) {
	k := secret("copy")
	raw, token := blobCopy(k), large.Token(k)
	sum := sha256.Sum256(blobValue())
	last := raw[protocol.CopyChunk:]
	add("copy", "copy", "ok", "the last chunk of the copy of a value of 66,536 bytes, of which byte i is i mod 251", last, "copy-key", hexOf(k.Reveal()), "index", "1",
		"plain-sha256", hexOf(sum), "digest", hexOf(ID(raw)), "token", hexOf(token))
	add("copy-other-place", "copy", "denied", "the same as the first chunk", last, "copy-key", hexOf(k.Reveal()), "index", "0")
	add("copy-other-key", "copy", "denied", "the same under another key", last, "copy-key", hexOf(secret("x").Reveal()), "index", "1")
	disclose := func(x protocol.Extra) []byte { return must(SealDisclosure(disclosure(), secret("mac"), x...)) }
	mac := hexOf(secret("mac").Reveal())
	add("disclosure-large", "large", "ok", "a disclosure that names a large value", disclose(must(large.Extra(largeValues()))), "mac-key", mac,
		"large", fmt.Sprintf("identity.document 2 66536 %s %s application/pdf", hexOf(ID(raw)), hexOf(k.Reveal())), "keepers", "2")
	add("disclosure-large-form", "large", "ok", "a text in its place counts as none", disclose(protocol.Extra("\x18\x96\x61x")), "mac-key", mac, "large", "", "keepers", "0")
	box, keeper, nonce := private[key.Mailbox]("box context"), hexOf(keepers(1)[0].Key), hexOf(id("nonce"))
	shown := sha256.Sum256(token[:])
	for i, o := range []*protocol.Op{
		{Kind: protocol.OpBlobPut, Box: box.Public(), Blob: protocol.BlobOp{Digest: ID(raw), Size: uint32(len(raw)), Token: shown, Expires: testNow + protocol.Day}},
		{Kind: protocol.OpBlobChunk, Box: box.Public(), Blob: protocol.BlobOp{Digest: ID(raw), Index: 1, Chunk: last}},
		{Kind: protocol.OpBlobGet, Box: box.Public(), Blob: protocol.BlobOp{Digest: ID(raw), Index: 1, Token: token}},
		{Kind: protocol.OpBlobDelete, Box: box.Public(), Hashes: []protocol.Hash{ID(raw)}},
	} {
		o.N = uint32(20 + i)
		if err := SignOp(box, o, keepers(1)[0].Key, id("nonce")); err != nil {
			panic(err)
		}
		add(fmt.Sprintf("operation-%d-of-kind-%d", o.N, o.Kind), "operation", "ok", fmt.Sprintf("operation of kind %d", o.Kind), must(Marshal(o)), "keeper", keeper, "nonce", nonce)
	}
	over := must(Marshal(&protocol.Op{N: 1, Kind: protocol.OpBlobGet, Box: box.Public(), Blob: protocol.BlobOp{Digest: ID(raw), Index: 256, Token: token}}))
	add("operation-blob-beyond", "operation", "malformed", "asks for a chunk that no copy has", over, "keeper", keeper, "nonce", nonce)
}

// Their readers.
func init() {
	runs["large"] = func(v *vector) error {
		if _, _, err := OpenDisclosure(v.raw, v.secret("mac-key")); err != nil {
			return err
		}
		got, said := large.In(v.raw), ""
		for _, l := range got.Values {
			said += fmt.Sprintf("%s %d %d %s %s %s", l.Name, l.Version, l.Size, hexOf(l.Digest), hexOf(l.Key.Secret().Reveal()), l.Media)
		}
		if said != v.get("large") || fmt.Sprint(len(got.Keepers)) != v.get("keepers") {
			return fmt.Errorf("large %q at %d keepers: %w", said, len(got.Keepers), errVector)
		}
		return nil
	}
	runs["copy"] = func(v *vector) error {
		k := v.secret("copy-key")
		plain, err := seal.OpenCopy(k, v.number("index"), true, v.raw)
		if errors.Is(err, seal.ErrOpen) {
			return fmt.Errorf("copy: %w", fault.Denied)
		}
		token := large.Token(k)
		raw := blobCopy(k)
		digest, sum := ID(raw), sha256.Sum256(blobValue())
		if !bytes.HasSuffix(blobValue(), plain) || !bytes.HasSuffix(raw, v.raw) {
			return fmt.Errorf("plain %s: %w", hex.EncodeToString(plain), errVector)
		}
		return errors.Join(err, v.same("token", token[:]), v.same("digest", digest[:]), v.same("plain-sha256", sum[:]))
	}
}
