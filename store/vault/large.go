package vault

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Large is a large value that a grant allows, as it was when it was asked for.
type Large struct {
	Name    protocol.FieldName
	Version uint64
	Size    uint32
	Media   string
	blob    blob
	key     key.Secret
}

// Large gives the large values that grant g allows, by the same rule as View, and as they
// are: of a large value there is nothing coarser. None of them comes out but as a copy.
func (v *Vault) Large(r kv.Reader, g *protocol.Grant) (out []Large, err error) {
	err = v.allowed(r, g, func(want protocol.FieldGrant, f Field) error {
		if f.Blob == nil || want.Form != protocol.FormValue {
			return nil
		}
		rec, err := v.find(r, want.Name)
		if err != nil {
			return err
		}
		k, err := rec.versionKey(r, f.Version)
		out = append(out, Large{f.Name, f.Version, uint32(f.Blob.Size), f.Blob.Media, *rec.last().Blob, k})
		return err
	})
	return out, err
}

// Copy gives one chunk of the value's copy under copyKey, which must be a random key of
// this copy alone. fault.NotFound once the value was erased or gave way.
func (l Large) Copy(ctx context.Context, store kv.Store, copyKey key.Secret, i uint32) (chunk []byte, err error) {
	last := i+1 == protocol.CopyParts(protocol.CopySize(l.Size))
	err = store.View(ctx, func(r kv.Reader) error {
		sealed, err := r.Get(chunkKey(l.blob.ID, uint64(i)))
		if err != nil {
			return fmt.Errorf("vault: chunk %d of %s: %w", i, l.Name, err)
		}
		plain, err := seal.OpenChunk(l.key, uint64(i), last, sealed)
		if err != nil {
			return fmt.Errorf("vault: chunk %d of %s (%w): %w", i, l.Name, err, fault.Malformed)
		}
		chunk = seal.SealCopy(copyKey, uint64(i), last, plain)
		return nil
	})
	return chunk, err
}
