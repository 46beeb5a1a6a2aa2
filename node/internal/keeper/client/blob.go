package client

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// Blob opens a session for copies of large values.
func (cl Client) Blob(ctx context.Context, to protocol.Keeper) (*Session, error) {
	return cl.session(ctx, to, peers.ProtoBlob)
}

// PutCopy leaves a copy in a mailbox, from where the keeper has it already, and returns
// when the keeper has signed that all of it is on its disk. b names digest, size, token and
// end; chunk gives one chunk of it.
func (s *Session) PutCopy(ctx context.Context, box key.Private[key.Mailbox], b protocol.BlobOp, chunk func(i uint32) ([]byte, error)) error {
	put := func() (*protocol.Reply, error) {
		return s.ask(ctx, &protocol.Op{Kind: protocol.OpBlobPut, Box: box.Public(), Blob: b}, by(s, box))
	}
	reply, err := put()
	if err != nil {
		return err
	}
	parts := protocol.CopyParts(b.Size)
	for next := reply.Blob.Next; next < parts; {
		var ops []*protocol.Op
		for i := next; i < min(next+Window, parts); i++ {
			raw, err := chunk(i)
			if err != nil {
				return err
			}
			ops = append(ops, &protocol.Op{Kind: protocol.OpBlobChunk, Box: box.Public(), Blob: protocol.BlobOp{Digest: b.Digest, Index: i, Chunk: raw}})
		}
		replies, refused, err := s.askAll(ctx, ops, by(s, box))
		if err == nil && refused != nil {
			err = refused
		}
		if err != nil {
			return err
		}
		reached := replies[len(replies)-1].Blob.Next
		if reached <= next {
			return s.fail(fmt.Errorf("client: chunk %d is wanted after %d: %w", reached, next, fault.Malformed))
		}
		next = reached
	}
	if reply.Receipt.Keeper.IsZero() {
		if reply, err = put(); err != nil {
			return err
		}
	}
	r := reply.Receipt
	if err := wire.CheckReceipt(r); err != nil {
		return err
	}
	if r.Keeper != s.keeper || r.Box != box.Public() || r.Letter != b.Digest {
		return fmt.Errorf("client: receipt for another copy: %w", fault.Malformed)
	}
	return nil
}

// GetCopy reads chunks from..from+n of a copy, at most Window of them.
func (s *Session) GetCopy(ctx context.Context, box key.MailboxKey, digest, token protocol.Hash, from, n uint32) (chunks [][]byte, err error) {
	var ops []*protocol.Op
	for i := from; i < from+min(n, Window); i++ {
		ops = append(ops, &protocol.Op{Kind: protocol.OpBlobGet, Box: box, Blob: protocol.BlobOp{Digest: digest, Index: i, Token: token}})
	}
	replies, refused, err := s.askAll(ctx, ops, unsigned)
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	for _, r := range replies {
		chunks = append(chunks, r.Blob.Chunk)
	}
	return chunks, nil
}

// DeleteCopies removes copies, and keeps them from coming back.
func (s *Session) DeleteCopies(ctx context.Context, box key.Private[key.Mailbox], digests ...protocol.Hash) error {
	_, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpBlobDelete, Box: box.Public(), Hashes: digests}, by(s, box))
	return err
}
