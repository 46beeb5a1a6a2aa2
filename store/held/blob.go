package held

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// MaxBytes bounds the large values that are held, fetched or still to be fetched.
const MaxBytes = 4 << 30

// chunkPrefix: grant ‖ digest ‖ uint32be number -> a chunk as it was fetched, under its
// copy key, which stands in the record alone.
const chunkPrefix = "h/c/"

// A Blob is one large value that a customer has disclosed.
type Blob struct {
	Name    protocol.FieldName `cbor:"1,keyasint"`
	Version uint64             `cbor:"2,keyasint"`
	Size    uint32             `cbor:"3,keyasint"` // of the value
	Digest  protocol.Hash      `cbor:"4,keyasint"` // of its copy
	Key     protocol.Shared    `cbor:"5,keyasint"`
	Media   string             `cbor:"6,keyasint,omitempty"`
	Keepers []protocol.Keeper  `cbor:"7,keyasint,omitempty"` // where the copy lies
	Got     uint32             `cbor:"8,keyasint,omitempty"` // chunks that are here
}

// Parts is how many chunks it has.
func (b *Blob) Parts() uint32 { return protocol.CopyParts(protocol.CopySize(b.Size)) }

// Whole reports whether all of it is here.
func (b *Blob) Whole() bool { return b.Got == b.Parts() }

func chunkKey(g protocol.GrantID, digest protocol.Hash, i uint32) []byte {
	return binary.BigEndian.AppendUint32(slices.Concat([]byte(chunkPrefix), g[:], digest[:]), i)
}

// replace deletes what is in old and not in rec, and keeps count of the bytes.
func (h *Held) replace(tx kv.Tx, rec *Record, old []Blob) error {
	var by int64
	for i := range rec.Blobs {
		b := &rec.Blobs[i]
		by += int64(b.Size)
		b.Got = 0
		for _, o := range old {
			if o.Digest == b.Digest && o.Size == b.Size {
				b.Got = o.Got
			}
		}
	}
	for _, o := range old {
		by -= int64(o.Size)
		if slices.ContainsFunc(rec.Blobs, func(b Blob) bool { return b.Digest == o.Digest && b.Size == o.Size }) {
			continue
		}
		for i := range o.Got {
			if err := tx.Delete(chunkKey(rec.Grant, o.Digest, i)); err != nil {
				return err
			}
		}
	}
	if by == 0 {
		return nil
	}
	n, err := count(tx, bytesKey)
	switch {
	case err != nil:
		return err
	case by > 0 && n+by > h.bytes:
		return fmt.Errorf("%d bytes of large values are held already: %w", n, fault.Full)
	}
	return kv.PutCBOR(tx, []byte(bytesKey), n+by)
}

// Room reports whether so many bytes more may be held.
func (h *Held) Room(r kv.Reader, bytes int64) (bool, error) {
	n, err := count(r, bytesKey)
	return n+bytes <= h.bytes, err
}

// blob finds a large value by its copy's digest; fault.NotFound where it is not to be held
// any more.
func (rec *Record) blob(digest protocol.Hash) (*Blob, error) {
	for i := range rec.Blobs {
		if rec.Blobs[i].Digest == digest {
			return &rec.Blobs[i], nil
		}
	}
	return nil, fmt.Errorf("held: copy %s under grant %s: %w", digest.Short(), rec.Grant.Short(), fault.NotFound)
}

// Chunks keeps the next chunks of a large value, of which the first is number from. They
// must have been opened before. fault.NotFound where nothing of it is to be held any
// more, fault.Conflict where others are next.
func (h *Held) Chunks(tx kv.Tx, grant protocol.GrantID, digest protocol.Hash, from uint32, chunks [][]byte) (whole bool, err error) {
	rec, err := h.Get(tx, grant)
	if err != nil {
		return false, err
	}
	b, err := rec.blob(digest)
	switch {
	case err != nil:
		return false, err
	case b.Got != from || from+uint32(len(chunks)) > b.Parts():
		return false, fmt.Errorf("held: chunk %d of %s in place of %d: %w", from, b.Name, b.Got, fault.Conflict)
	}
	for _, c := range chunks {
		if err := tx.Put(chunkKey(grant, digest, b.Got), c); err != nil {
			return false, err
		}
		b.Got++
	}
	return b.Whole(), kv.PutCBOR(tx, recordKey(grant), rec)
}

// Check holds a large value against its digest. One that is something else is fault.Malformed,
// and is to be fetched again from its first chunk.
func (h *Held) Check(ctx context.Context, s kv.Store, grant protocol.GrantID, digest protocol.Hash) error {
	b, err := h.find(ctx, s, grant, func(b *Blob) bool { return b.Digest == digest })
	if err != nil {
		return err
	}
	sum := sha256.New()
	err = b.each(ctx, s, grant, func(_ uint32, chunk []byte) error { sum.Write(chunk); return nil })
	if err != nil || protocol.Hash(sum.Sum(nil)) == digest {
		return err
	}
	err = s.Update(ctx, func(tx kv.Tx) error {
		rec, err := h.Get(tx, grant)
		if err != nil {
			return err
		}
		b, err := rec.blob(digest)
		if err != nil {
			return err
		}
		b.Got = 0 // its chunks are written over
		return kv.PutCBOR(tx, recordKey(grant), rec)
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("held: %s is not what its digest %s names: %w", b.Name, digest.Short(), fault.Malformed)
}

// Read writes a large value to w. fault.NotFound where there is none of that name,
// fault.Offline where it has not all come yet. After an error what was written is not
// the value.
func (h *Held) Read(ctx context.Context, s kv.Store, grant protocol.GrantID, name protocol.FieldName, w io.Writer) error {
	b, err := h.find(ctx, s, grant, func(b *Blob) bool { return b.Name == name })
	switch {
	case err != nil:
		return err
	case !b.Whole():
		return fmt.Errorf("held: %d of %d parts of %s have come so far: %w", b.Got, b.Parts(), name, fault.Offline)
	}
	return b.each(ctx, s, grant, func(i uint32, chunk []byte) error {
		plain, err := seal.OpenCopy(b.Key.Secret(), uint64(i), i+1 == b.Parts(), chunk)
		if err != nil {
			return fmt.Errorf("held: part %d of %s (%w): %w", i, name, err, fault.Malformed)
		}
		_, err = w.Write(plain)
		return err
	})
}

// find gives a large value as it is now.
func (h *Held) find(ctx context.Context, s kv.Store, grant protocol.GrantID, which func(*Blob) bool) (found Blob, err error) {
	err = s.View(ctx, func(r kv.Reader) error {
		rec, err := h.Get(r, grant)
		if err != nil {
			return err
		}
		for i := range rec.Blobs {
			if which(&rec.Blobs[i]) {
				found = rec.Blobs[i]
				return nil
			}
		}
		return fmt.Errorf("held: no such large value under grant %s: %w", grant.Short(), fault.NotFound)
	})
	return found, err
}

// each reads the chunks that are here, one at a time.
func (b *Blob) each(ctx context.Context, s kv.Store, grant protocol.GrantID, fn func(i uint32, chunk []byte) error) error {
	for i := range b.Got {
		var chunk []byte
		err := s.View(ctx, func(r kv.Reader) (err error) {
			chunk, err = r.Get(chunkKey(grant, b.Digest, i))
			return err
		})
		if err == nil {
			err = fn(i, chunk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
