package vault

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// chunksAtOnce is how many chunks one transaction writes, and one reading holds.
const chunksAtOnce = 8

// A staged value is one whose chunks are on disk while its key is in memory only: a
// crash leaves bytes that nobody can read, and a note by which Open finds them.
type staged struct {
	key   key.Secret
	about blob
	sum   hash.Hash
	next  uint64 // index of the next chunk
}

func chunkKey(i id, index uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat(prefixBlob, i[:]), index)
}

func uploadKey(i id) []byte { return slices.Concat(prefixUpload, i[:]) }

// Upload makes what src gives, 1 to MaxBlob bytes, the value of a field. Memory is
// bounded whatever src does. note runs in the transaction that makes it so. A larger
// src, and one that ends with an error, change nothing.
func (v *Vault) Upload(ctx context.Context, store kv.Store, name protocol.FieldName, media string, c Change, src io.Reader, nowMS int64,
	note func(kv.Tx, Field, What) error) (f Field, what What, err error) {
	if err := errors.Join(c.check(name), checkMedia(media)); err != nil {
		return f, Nothing, err
	}
	s := &staged{key: key.NewSecret(), about: blob{ID: newID(), Media: media}, sum: sha256.New()}
	if err := store.Update(ctx, func(tx kv.Tx) error { return v.begin(tx, s) }); err != nil {
		return f, Nothing, err
	}
	if err = s.fill(ctx, store, src); err == nil {
		c.blob = s
		err = store.Update(ctx, func(tx kv.Tx) error {
			f, what = Field{}, Nothing // it may run again
			if _, err := tx.Get(uploadKey(s.about.ID)); err != nil {
				return fmt.Errorf("vault: %s: the vault was closed meanwhile: %w", name, fault.Conflict)
			}
			if f, what, err = v.Put(tx, name, c, nowMS); err != nil {
				return err
			}
			return errors.Join(v.end(tx, s.about.ID, what != Value), note(tx, f, what))
		})
	}
	if err == nil && what == Value {
		return f, what, nil
	}
	if err != nil {
		gone := context.WithoutCancel(ctx)
		err = errors.Join(err, store.Update(gone, func(tx kv.Tx) error { return v.end(tx, s.about.ID, true) }))
	}
	return f, what, errors.Join(err, v.Purge(context.WithoutCancel(ctx), store))
}

func checkMedia(media string) error {
	if media == "" {
		return nil
	}
	if _, _, err := mime.ParseMediaType(media); err != nil || len(media) > maxMedia {
		return fmt.Errorf("vault: media type %.40q: %w", media, fault.Malformed)
	}
	return nil
}

// begin notes an upload.
func (v *Vault) begin(tx kv.Tx, s *staged) error {
	st, err := readState(tx, v.lim)
	switch {
	case err != nil:
		return err
	case st.Uploads >= v.lim.Uploads:
		return fmt.Errorf("vault: %d large values are being written already: %w", st.Uploads, fault.Full)
	case st.Bytes >= v.lim.Bytes:
		return fmt.Errorf("vault: large values take %d bytes, at most %d: %w", st.Bytes, v.lim.Bytes, fault.Full)
	}
	st.Uploads++
	return errors.Join(tx.Put(uploadKey(s.about.ID), nil), st.put(tx))
}

// end strikes the note of an upload, and gives its chunks to the purge where they
// are no field's value.
func (v *Vault) end(tx kv.Tx, i id, drop bool) error {
	if _, err := tx.Get(uploadKey(i)); err != nil {
		return ignoreMissing(err)
	}
	st, err := readState(tx, v.lim)
	if err != nil {
		return err
	}
	st.Uploads--
	if drop {
		if err := st.toPurge(tx, slices.Concat(prefixBlob, i[:])); err != nil {
			return err
		}
	}
	return errors.Join(tx.Delete(uploadKey(i)), st.put(tx))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// fill seals src chunk by chunk. It reads one byte beyond each batch, to know which
// chunk is the last.
func (s *staged) fill(ctx context.Context, store kv.Store, src io.Reader) error {
	buf := make([]byte, chunksAtOnce*seal.ChunkSize+1)
	have := 0
	for {
		n, err := io.ReadFull(src, buf[have:])
		have += n
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("vault: the value broke off after %d bytes: %w", s.about.Size+int64(have), err)
		}
		batch := buf[:have]
		if !last {
			batch = buf[:have-1]
		}
		s.about.Size += int64(len(batch))
		switch {
		case s.about.Size > MaxBlob:
			return fmt.Errorf("vault: a value of more than %d bytes: %w", MaxBlob, fault.Malformed)
		case s.about.Size == 0:
			return fmt.Errorf("vault: an empty value; remove the field instead: %w", fault.Malformed)
		}
		s.sum.Write(batch)
		if err := s.write(ctx, store, batch, last); err != nil {
			return err
		}
		if last {
			s.about.Sum = [32]byte(s.sum.Sum(nil))
			return nil
		}
		buf[0], have = buf[have-1], 1
	}
}

// write keeps a batch of chunks, while the note of the upload stands.
func (s *staged) write(ctx context.Context, store kv.Store, batch []byte, last bool) error {
	n := uint64((len(batch) + seal.ChunkSize - 1) / seal.ChunkSize)
	err := store.Update(ctx, func(tx kv.Tx) error {
		if _, err := tx.Get(uploadKey(s.about.ID)); err != nil {
			return fmt.Errorf("vault: the vault was closed while a value was written: %w", fault.Conflict)
		}
		i := s.next
		for part := range slices.Chunk(batch, seal.ChunkSize) {
			sealed := seal.SealChunk(s.key, i, last && i == s.next+n-1, part)
			if err := tx.Put(chunkKey(s.about.ID, i), sealed); err != nil {
				return err
			}
			i++
		}
		return nil
	})
	s.next += n
	return err
}

// Download writes the value of a field to w: version n, or the present one for 0.
// Memory is bounded, and no transaction is open while w is written to. An error
// means that what was written so far is not the value.
func (v *Vault) Download(ctx context.Context, store kv.Store, name protocol.FieldName, n uint64, w io.Writer) error {
	var about *blob
	var k key.Secret
	var small string
	err := store.View(ctx, func(r kv.Reader) error {
		rec, err := v.find(r, name)
		if err != nil {
			return err
		}
		i := len(rec.head.Kept) - 1
		if n != 0 {
			i = slices.IndexFunc(rec.head.Kept, func(k version) bool { return k.N == n })
		}
		if i < 0 {
			return fmt.Errorf("vault: %s: version %d is not kept: %w", name, n, fault.NotFound)
		}
		if about = rec.head.Kept[i].Blob; about == nil {
			small, err = rec.value(r, rec.head.Kept[i].N)
			return err
		}
		k, err = rec.versionKey(r, rec.head.Kept[i].N)
		return err
	})
	if err != nil {
		return err
	}
	if about == nil {
		_, err := io.WriteString(w, small)
		return err
	}
	return about.read(ctx, store, k, w)
}

// read opens the chunks in order and holds the whole against its size and sum.
func (b *blob) read(ctx context.Context, store kv.Store, k key.Secret, w io.Writer) error {
	chunks := uint64((b.Size + seal.ChunkSize - 1) / seal.ChunkSize)
	sum, size := sha256.New(), int64(0)
	for from := uint64(0); from < chunks; from += chunksAtOnce {
		var batch []byte
		err := store.View(ctx, func(r kv.Reader) error {
			for i := from; i < min(from+chunksAtOnce, chunks); i++ {
				sealed, err := r.Get(chunkKey(b.ID, i))
				if err != nil {
					return fmt.Errorf("vault: chunk %d of a value: %w", i, err)
				}
				plain, err := seal.OpenChunk(k, i, i == chunks-1, sealed)
				if err != nil {
					return fmt.Errorf("vault: chunk %d of a value (%w): %w", i, err, fault.Malformed)
				}
				batch = append(batch, plain...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		sum.Write(batch)
		size += int64(len(batch))
		if _, err := w.Write(batch); err != nil {
			return err
		}
	}
	if size != b.Size || [32]byte(sum.Sum(nil)) != b.Sum {
		return fmt.Errorf("vault: a value does not have the size and sum that its field names: %w", fault.Malformed)
	}
	return nil
}
