// Package blobs keeps copies of large values for others on a keeper: sealed bytes that it
// cannot read, each named by its SHA-256, in the mailbox of whoever left it.
//
// The flow of a copy:
//
//  1. [Blobs.Put] reserves room for all of it, or says how much of it is there already.
//  2. [Blobs.Chunk] takes its chunks in order. After the last one the whole is held
//     against its digest: it is kept, or it is gone.
//  3. [Blobs.Get] gives one chunk of a copy that is whole to whoever shows its token. To
//     anybody else there is no such copy.
//  4. [Blobs.Delete] removes it and leaves a tombstone until its date, so that a slow
//     sender can't put it back; else [Blobs.Expire] removes it then. What did not become
//     whole within an hour goes too.
//
// Signatures of owners are checked at the door, by whoever calls.
//
// # Bounds
//
// A copy counts with its whole size, and no less than a chunk, from its first Put on. Of all bytes a mailbox and an
// address prefix have at most a share, and both may grow only while they hold no more
// than what is still free for all, as mailboxes do. A prefix is known by a tag alone,
// which the caller makes.
package blobs

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Policy bounds what a keeper keeps for others. What is zero in it takes the value of
// [DefaultPolicy].
type Policy struct {
	Kept           int             // copies in all
	KeptPerBox     int             //
	Bytes          int64           // in all
	BytesPerBox    int64           //
	BytesPerPrefix int64           // of one address prefix
	Tombs          int             // tombstones in all
	TombsPerBox    int             // the one that lapses soonest gives way
	Life           protocol.Second // longest life of a copy; a day and the permitted clock skew come on top
}

// DefaultPolicy keeps at most a gigabyte for others.
var DefaultPolicy = Policy{
	Kept: 16384, KeptPerBox: 8, Bytes: 1 << 30, BytesPerBox: 64 << 20, BytesPerPrefix: 256 << 20, Tombs: 65536, TombsPerBox: 64,
	Life: protocol.DefaultDuties.Letters,
}

func (p Policy) orDefault() Policy {
	d := DefaultPolicy
	set(&p.Kept, d.Kept)
	set(&p.KeptPerBox, d.KeptPerBox)
	set(&p.Bytes, d.Bytes)
	set(&p.BytesPerBox, d.BytesPerBox)
	set(&p.BytesPerPrefix, d.BytesPerPrefix)
	set(&p.Tombs, d.Tombs)
	set(&p.TombsPerBox, d.TombsPerBox)
	set(&p.Life, d.Life)
	return p
}

func set[T int | int64 | protocol.Second](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// staging is how long a copy may take to become whole.
const staging = protocol.Hour

// A Tag stands for the address prefix that a copy came from; zero: this machine, which is
// bounded by all else alone.
type Tag [8]byte

// Blobs is a keeper's store of copies. It is safe for concurrent use, and the only writer
// of its part of the kv store.
type Blobs struct {
	s    kv.Store
	turn chan struct{} // holds one token: whoever has it may write
	mem  *memory
}

// acquire waits for the turn to write.
func (b *Blobs) acquire(ctx context.Context) (release func(), err error) {
	select {
	case <-b.turn:
		return func() { b.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("blobs: %w", ctx.Err())
	}
}

// Put reserves room for a copy and gives the chunk that is wanted next: the number of its
// chunks where all of it is kept. Refused are: as fault.Malformed, one that lives too
// long; as fault.Expired, one past its date; as fault.Conflict, one that its owner
// deleted, or that is here with another size or token; as fault.Full, what exceeds a
// bound.
func (b *Blobs) Put(ctx context.Context, box key.MailboxKey, op *protocol.BlobOp, from Tag, now protocol.Second) (next uint32, err error) {
	release, err := b.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	switch {
	case op.Size == 0 || op.Size > protocol.MaxCopy:
		return 0, fmt.Errorf("blobs: a copy of %d bytes, at most %d: %w", op.Size, protocol.MaxCopy, fault.Malformed)
	case op.Expires <= now:
		return 0, fmt.Errorf("blobs: a copy past its date: %w", fault.Expired)
	case op.Expires > now+b.mem.p.Life+protocol.Day+protocol.MaxSkew:
		return 0, fmt.Errorf("blobs: a copy that lives longer than %d days: %w", b.mem.p.Life/protocol.Day, fault.Malformed)
	}
	c, err := b.mem.reserve(box, op, from, now)
	if err != nil {
		return 0, fmt.Errorf("blobs: put %s: %w", op.Digest.Short(), err)
	}
	if c.stored {
		return b.finish(ctx, c)
	}
	err = b.s.Update(ctx, func(tx kv.Tx) error { return kv.PutCBOR(tx, c.key(prefixMeta), c.meta) })
	if err != nil {
		b.mem.drop(c)
		return 0, fmt.Errorf("blobs: put: %w", err)
	}
	b.mem.change(func() { c.stored = true })
	return 0, nil
}

// Chunk takes chunk number index of a copy and gives the one that is wanted next. One
// that is here already is taken as it is; one further on is fault.Conflict; one of
// another length than its place asks for, and the last one of a copy that is not what
// its digest names, fault.Malformed: the copy is gone then.
func (b *Blobs) Chunk(ctx context.Context, box key.MailboxKey, op *protocol.BlobOp) (next uint32, err error) {
	release, err := b.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	c := b.mem.find(box, op.Digest)
	switch {
	case c == nil:
		return 0, fmt.Errorf("blobs: copy %s: %w", op.Digest.Short(), fault.NotFound)
	case op.Index < c.Got:
		return c.Got, nil
	case op.Index > c.Got:
		return 0, fmt.Errorf("blobs: chunk %d in place of %d: %w", op.Index, c.Got, fault.Conflict)
	case len(op.Chunk) != c.length(op.Index):
		return 0, fmt.Errorf("blobs: chunk %d has %d bytes, not %d: %w", op.Index, len(op.Chunk), c.length(op.Index), fault.Malformed)
	}
	m := c.meta
	m.Got++
	err = b.s.Update(ctx, func(tx kv.Tx) error {
		if err := tx.Put(c.chunkKey(op.Index), op.Chunk); err != nil {
			return err
		}
		return kv.PutCBOR(tx, c.key(prefixMeta), m)
	})
	if err != nil {
		return 0, fmt.Errorf("blobs: chunk: %w", err)
	}
	b.mem.change(func() { c.meta = m })
	return b.finish(ctx, c)
}

// finish holds a copy whose chunks are all here against its digest, once.
func (b *Blobs) finish(ctx context.Context, c *copied) (next uint32, err error) {
	if c.Whole || c.Got < protocol.CopyParts(c.Size) {
		return c.Got, nil
	}
	sum := sha256.New()
	for i := range c.Got {
		err := b.s.View(ctx, func(r kv.Reader) error {
			raw, err := r.Get(c.chunkKey(i))
			sum.Write(raw)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("blobs: chunk %d of %s: %w", i, c.digest.Short(), err)
		}
	}
	if protocol.Hash(sum.Sum(nil)) != c.digest {
		if err := b.s.Update(ctx, c.erase); err != nil {
			return 0, fmt.Errorf("blobs: %w", err)
		}
		b.mem.drop(c)
		return 0, fmt.Errorf("blobs: a copy is not what its digest %s names: %w", c.digest.Short(), fault.Malformed)
	}
	m := c.meta
	m.Whole = true
	if err := b.s.Update(ctx, func(tx kv.Tx) error { return kv.PutCBOR(tx, c.key(prefixMeta), m) }); err != nil {
		return 0, fmt.Errorf("blobs: %w", err)
	}
	b.mem.change(func() { c.meta = m })
	return c.Got, nil
}

// Get gives one chunk of a copy. Whoever shows another token, and whoever asks for what
// is not whole, past its date or beyond its end, is told fault.NotFound.
func (b *Blobs) Get(ctx context.Context, box key.MailboxKey, op *protocol.BlobOp, now protocol.Second) (chunk []byte, err error) {
	m, ok := b.mem.look(box, op.Digest)
	token := sha256.Sum256(op.Token[:])
	if !ok || !m.Whole || m.Expires <= now || subtle.ConstantTimeCompare(token[:], m.Token[:]) != 1 || op.Index >= protocol.CopyParts(m.Size) {
		return nil, fmt.Errorf("blobs: copy %s: %w", op.Digest.Short(), fault.NotFound)
	}
	err = b.s.View(ctx, func(r kv.Reader) (err error) {
		chunk, err = r.Get(chunkKey(box, op.Digest, op.Index))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: chunk %d of %s: %w", op.Index, op.Digest.Short(), err)
	}
	return chunk, nil
}

// Delete removes copies of a mailbox and gives those that were there. Each leaves a
// tombstone until its date; one that was not there leaves one too, if the mailbox has
// anything and there is room.
func (b *Blobs) Delete(ctx context.Context, box key.MailboxKey, digests []protocol.Hash, now protocol.Second) (had []protocol.Hash, err error) {
	release, err := b.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	gone, tombs, lifted := b.mem.condemn(box, digests, now)
	err = b.s.Update(ctx, func(tx kv.Tx) error {
		for _, h := range lifted {
			if err := tx.Delete(keyOf(prefixTomb, box, h)); err != nil {
				return err
			}
		}
		for h, until := range tombs {
			if err := kv.PutCBOR(tx, keyOf(prefixTomb, box, h), until); err != nil {
				return err
			}
		}
		for _, c := range gone {
			if err := c.erase(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: delete: %w", err)
	}
	b.mem.bury(box, tombs, lifted)
	for _, c := range gone {
		had = append(had, c.digest)
		b.mem.drop(c)
	}
	return had, nil
}

// maxExpire bounds what one Expire removes.
const maxExpire = 256

// Expire removes copies and tombstones whose date has passed, and copies that did not
// become whole in time; when there are more than it removes at once it is to be called
// again.
func (b *Blobs) Expire(ctx context.Context, now protocol.Second) (n int, err error) {
	release, err := b.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	gone, lapsed := b.mem.expired(now)
	for _, c := range gone {
		if err := b.s.Update(ctx, c.erase); err != nil {
			return n, fmt.Errorf("blobs: expire: %w", err)
		}
		b.mem.drop(c)
		n++
	}
	for box, list := range lapsed {
		err := b.s.Update(ctx, func(tx kv.Tx) error {
			for _, h := range list {
				if err := tx.Delete(keyOf(prefixTomb, box, h)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, fmt.Errorf("blobs: expire: %w", err)
		}
		b.mem.bury(box, nil, list)
		n += len(list)
	}
	return n, nil
}

// Stats shows each bound with its fill; of bounds per mailbox or prefix, the fullest.
func (b *Blobs) Stats() []kv.Fill { return b.mem.fills() }

// The keys: prefix, 32 bytes of mailbox, 32 of digest, and of a chunk 4 of its number.
const (
	prefixMeta  = "x/m/"
	prefixChunk = "x/c/"
	prefixTomb  = "x/t/" // when it lapses
)

func keyOf(prefix string, box key.MailboxKey, digest protocol.Hash) []byte {
	return slices.Concat([]byte(prefix), box[:], digest[:])
}

func chunkKey(box key.MailboxKey, digest protocol.Hash, i uint32) []byte {
	return binary.BigEndian.AppendUint32(keyOf(prefixChunk, box, digest), i)
}

// meta is what is stored beside a copy's chunks.
type meta struct {
	Size    uint32          `cbor:"1,keyasint,omitempty"`
	Token   protocol.Hash   `cbor:"2,keyasint,omitzero"` // SHA-256 of what a reader shows
	Expires protocol.Second `cbor:"3,keyasint,omitempty"`
	At      protocol.Second `cbor:"4,keyasint,omitempty"`
	From    Tag             `cbor:"5,keyasint,omitzero"`
	Got     uint32          `cbor:"6,keyasint,omitempty"` // chunks that are here
	Whole   bool            `cbor:"7,keyasint,omitempty"` // and are what the digest names
}

// A copied is what memory knows of one copy.
type copied struct {
	meta
	box    key.MailboxKey
	digest protocol.Hash
	stored bool
}

func (c *copied) key(prefix string) []byte { return keyOf(prefix, c.box, c.digest) }

func (c *copied) chunkKey(i uint32) []byte { return chunkKey(c.box, c.digest, i) }

// length is how many bytes chunk number i has.
func (c *copied) length(i uint32) int {
	return int(min(c.Size-i*protocol.CopyChunk, protocol.CopyChunk))
}

// erase deletes a copy.
func (c *copied) erase(tx kv.Tx) error {
	for i := range c.Got {
		if err := tx.Delete(c.chunkKey(i)); err != nil {
			return err
		}
	}
	return tx.Delete(c.key(prefixMeta))
}

// Open reads what store s holds into memory: about 200 bytes for each copy and 60 for
// each tombstone. It writes nothing.
func Open(s kv.Store, p Policy) (*Blobs, error) {
	b := &Blobs{s: s, turn: make(chan struct{}, 1), mem: newMemory(p.orDefault())}
	b.turn <- struct{}{}
	err := s.View(context.Background(), func(r kv.Reader) error {
		return errors.Join(each(r, prefixMeta, func(box key.MailboxKey, digest protocol.Hash, raw []byte) error {
			c := &copied{box: box, digest: digest, stored: true}
			err := kv.DecodeCBOR(raw, &c.meta)
			b.mem.add(c)
			return err
		}), each(r, prefixTomb, func(box key.MailboxKey, digest protocol.Hash, raw []byte) error {
			var until protocol.Second
			err := kv.DecodeCBOR(raw, &until)
			b.mem.bury(box, map[protocol.Hash]protocol.Second{digest: until}, nil)
			return err
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: open: %w", err)
	}
	return b, nil
}

func each(r kv.Reader, prefix string, fn func(key.MailboxKey, protocol.Hash, []byte) error) error {
	return r.Scan([]byte(prefix), nil, func(k, raw []byte) (bool, error) {
		if rest := k[len(prefix):]; len(rest) == 64 {
			err := fn(key.MailboxKey(rest[:32]), protocol.Hash(rest[32:]), raw)
			return err == nil, err
		}
		return false, fmt.Errorf("key %x: %w", k, fault.Malformed)
	})
}

// memory is what is known of all copies.
type memory struct {
	p Policy

	mu       sync.Mutex // guards what follows; never held while waiting
	boxes    map[key.MailboxKey]*box
	prefixes map[Tag]int64 // bytes of each
	kept     int
	bytes    int64
	tombs    int
}

// A box is one mailbox. It exists while it has copies or tombstones.
type box struct {
	of    map[protocol.Hash]*copied
	bytes int64
	tombs map[protocol.Hash]protocol.Second
}

func newMemory(p Policy) *memory {
	return &memory{p: p, boxes: map[key.MailboxKey]*box{}, prefixes: map[Tag]int64{}}
}
