package keeper

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// Bounds of what is listed and fetched.
const (
	listPage  = 1000
	fetchPage = 64
	frameRoom = protocol.MaxFrame - 1024 // bytes of envelopes in one answer
)

// A library answers /hark/sync/1.
type library struct {
	board  *board.Board
	index  *index
	net    protocol.Hash
	shards uint16
	tellOf func(from string, n int) []protocol.Keeper // nil: nobody is told of any
}

func (l *library) list(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	var ids []protocol.Hash
	var more bool
	var err error
	switch {
	case op.Shard == client.VendorShard:
		ids, more, err = l.board.PassportIDs(ctx, op.After, listPage)
	case op.Shard >= l.shards:
		err = fmt.Errorf("keeper: shard %d: %w", op.Shard, fault.Malformed)
	default:
		ids, more, err = l.board.IDs(ctx, op.Shard, op.After, listPage)
	}
	return protocol.Reply{Hashes: ids, More: more}, err
}

// ranges shows a caller where its own set of ids differs, and the ids there. Nothing
// is remembered between two questions.
func (l *library) ranges(_ context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if op.Shard >= l.shards {
		return protocol.Reply{}, fmt.Errorf("keeper: shard %d: %w", op.Shard, fault.Malformed)
	}
	q := board.Ranges{Prefixes: op.Ranges, Bits: op.Bits, Split: op.Split}
	if op.Split == 0 {
		ids, more, err := l.board.Within(op.Shard, q, op.After, protocol.MaxPrints)
		return protocol.Reply{Hashes: ids, More: more}, err
	}
	counts, prints, err := l.board.Prints(op.Shard, q)
	return protocol.Reply{Salt: l.board.Salt(), Counts: counts, Prints: prints}, err
}

func (l *library) fetch(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if len(op.Hashes) > fetchPage {
		return protocol.Reply{}, fmt.Errorf("keeper: fetch of %d: %w", len(op.Hashes), fault.Malformed)
	}
	var raws [][]byte
	for _, id := range op.Hashes {
		e, err := l.board.ByID(ctx, id)
		if fault.Of(err) == fault.NotFound && err != nil {
			continue
		}
		if err != nil {
			return protocol.Reply{}, err
		}
		raws = append(raws, e.Heard.Raw())
	}
	fit, more := fitting(raws)
	return protocol.Reply{Letters: fit, More: more}, nil
}

// fitting are the first of raws that fit into one answer.
func fitting(raws [][]byte) (fit [][]byte, more bool) {
	size := 0
	for i, raw := range raws {
		if size += len(raw) + 5; size > frameRoom {
			return raws[:i], true
		}
	}
	return raws, false
}

func (l *library) passport(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	c, err := l.board.Passports(ctx, op.Vendor)
	if err != nil {
		return protocol.Reply{}, err
	}
	fit, more := fitting(c.Raws())
	return protocol.Reply{Letters: fit, More: more}, nil
}

// publish takes one passport: the first of a vendor, or one that follows on those
// known here.
func (l *library) publish(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	s, err := wire.Open(op.Data)
	if err != nil {
		return protocol.Reply{}, err
	}
	p, err := wire.As[*protocol.Passport](s)
	if err != nil {
		return protocol.Reply{}, err
	}
	raws := [][]byte{op.Data}
	if !p.Vendor.IsZero() {
		known, err := l.board.Passports(ctx, p.Vendor)
		if err != nil {
			return protocol.Reply{}, err
		}
		if reaches(known, s.ID()) {
			l.index.noteInbox(known) // it may have come to the board by another way
			return protocol.Reply{}, nil
		}
		raws = append(known.Raws(), op.Data)
	}
	c, err := wire.OpenChain(raws, l.net)
	if err != nil {
		return protocol.Reply{}, err
	}
	return protocol.Reply{}, l.index.keepChain(ctx, c)
}

func (l *library) tell(_ context.Context, s *stream, _ *protocol.Op) (protocol.Reply, error) {
	if l.tellOf == nil {
		return protocol.Reply{}, nil
	}
	ks := l.tellOf(s.from, protocol.MaxList)
	return protocol.Reply{Keepers: ks[:min(len(ks), protocol.MaxList)]}, nil
}
