package nodetest

import (
	"context"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// An Answer is what a node that is played by a test says to an operation on
// /hark/sync/1.
type Answer func(op *protocol.Op) protocol.Reply

// maxAnswers bounds one stream of a node that is played.
const maxAnswers = 1 << 14

// AnswerSync lets a port answer /hark/sync/1 as the test likes: it is a node that
// may lie. What it answers gets the number of the operation.
func (p *Port) AnswerSync(net protocol.Hash, answer Answer) {
	p.Serve(peers.ProtoSync, syncing(net, answer))
}

// syncing serves /hark/sync/1.
func syncing(net protocol.Hash, answer Answer) peers.Handler {
	return func(_ context.Context, c peers.Conn, _ string) {
		if wire.WriteFrame(c, &protocol.Hello{V: protocol.Version, Nonce: wire.NewID(), Net: net}) != nil {
			return
		}
		for range maxAnswers {
			var op protocol.Op
			if wire.ReadFrame(c, &op) != nil {
				return
			}
			r := answer(&op)
			r.N = op.N
			if wire.WriteFrame(c, &r) != nil {
				return
			}
		}
	}
}

// Refuse is a node's no.
func Refuse(kind fault.Kind) protocol.Reply { return protocol.Reply{Fault: uint8(kind) + 1} }

// Honest answers from a board as a good node would. It knows no passports.
func Honest(b *board.Board) Answer {
	return func(op *protocol.Op) (r protocol.Reply) {
		var err error
		switch {
		case op.Kind == protocol.OpRanges && op.Split > 0:
			r.Salt = b.Salt()
			r.Counts, r.Prints, err = b.Prints(op.Shard, board.Ranges{Prefixes: op.Ranges, Bits: op.Bits, Split: op.Split})
		case op.Kind == protocol.OpRanges:
			r.Hashes, r.More, err = b.Within(op.Shard, board.Ranges{Prefixes: op.Ranges, Bits: op.Bits}, op.After, protocol.MaxPrints)
		case op.Kind == protocol.OpList:
			r.Hashes, r.More, err = b.IDs(context.Background(), op.Shard, op.After, protocol.MaxPrints)
		case op.Kind == protocol.OpFetch:
			for _, id := range op.Hashes {
				if e, err := b.ByID(context.Background(), id); err == nil {
					r.Letters = append(r.Letters, e.Heard.Raw())
				}
			}
		default:
			err = fault.NotFound
		}
		if err != nil {
			return Refuse(fault.Of(err))
		}
		return r
	}
}
