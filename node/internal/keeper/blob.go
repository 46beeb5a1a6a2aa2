package keeper

import (
	"context"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// copies answers /hark/blob/1.
type copies struct{ *Keeper }

// operations move one chunk each at most.
func (k copies) operations() map[protocol.OpKind]operation {
	return map[protocol.OpKind]operation{
		protocol.OpBlobPut:    {4, k.putCopy},
		protocol.OpBlobChunk:  {4, k.putChunk},
		protocol.OpBlobGet:    {4, k.getChunk},
		protocol.OpBlobDelete: {4, k.deleteCopies},
	}
}

// putCopy begins a copy, or says how far one has come.
func (k copies) putCopy(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := k.budgets.Named("owner", op.Box[:], 2); err != nil {
		return protocol.Reply{}, err
	}
	next, err := k.cfg.Blobs.Put(ctx, op.Box, &op.Blob, k.tag(s.from), k.now())
	if err != nil {
		return protocol.Reply{}, err
	}
	return k.kept(op, next, next == protocol.CopyParts(op.Blob.Size))
}

// putChunk takes one chunk of it.
func (k copies) putChunk(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := k.budgets.Named("owner", op.Box[:], 1); err != nil {
		return protocol.Reply{}, err
	}
	next, err := k.cfg.Blobs.Chunk(ctx, op.Box, &op.Blob)
	if err != nil {
		return protocol.Reply{}, err
	}
	return k.kept(op, next, false)
}

// kept answers how far a copy has come, with a receipt once it is whole and on disk.
func (k copies) kept(op *protocol.Op, next uint32, whole bool) (protocol.Reply, error) {
	reply := protocol.Reply{Blob: protocol.BlobReply{Next: next}}
	if !whole {
		return reply, nil
	}
	reply.Receipt = protocol.DepositReceipt{Keeper: k.self, Box: op.Box, Letter: op.Blob.Digest, At: k.now(), Expires: op.Blob.Expires}
	return reply, wire.SignReceipt(k.cfg.Key, &reply.Receipt)
}

// getChunk gives one chunk to whoever shows the copy's token.
func (k copies) getChunk(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := k.budgets.Named("copy", op.Blob.Digest[:], 1); err != nil {
		return protocol.Reply{}, err
	}
	chunk, err := k.cfg.Blobs.Get(ctx, op.Box, &op.Blob, k.now())
	return protocol.Reply{Blob: protocol.BlobReply{Chunk: chunk}}, err
}

func (k copies) deleteCopies(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := k.budgets.Named("owner", op.Box[:], 2); err != nil {
		return protocol.Reply{}, err
	}
	had, err := k.cfg.Blobs.Delete(ctx, op.Box, op.Hashes, k.now())
	return protocol.Reply{Hashes: had}, err
}

// expire removes what has expired; the rest of much at the next time.
func (k copies) expire(ctx context.Context) {
	if k.cfg.Blobs == nil {
		return
	}
	if _, err := k.cfg.Blobs.Expire(ctx, k.now()); err != nil {
		k.cfg.Log.Warn("expired copies were not removed", "why", err)
	}
}
