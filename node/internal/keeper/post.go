package keeper

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Judgement is what the door said of an announcement, and why.
type Judgement struct {
	Verdict check.Verdict
	Reason  check.Reason
}

// Judged counts the announcements that came in, whichever way, by judgement.
func (k *Keeper) Judged() map[Judgement]int64 { return k.judged.All() }

// Hear is the peers.Hear of this node: gossip passes the door and is put on the
// board before it is passed on.
func (k *Keeper) Hear(ctx context.Context, raw []byte, shard uint16, from string) uint8 {
	verdict, _, err := k.Admit(ctx, raw, int(shard), from)
	if err != nil {
		k.cfg.Log.Warn("an announcement was not kept", "why", err)
	}
	return uint8(verdict)
}

// Admit is the one way in for announcements: the door, then the board, then those
// who want to know. topic is the shard of a gossip topic, or -1. What passed the door
// but could not be kept is ignored, with the error.
func (k *Keeper) Admit(ctx context.Context, raw []byte, topic int, from string) (check.Verdict, check.Reason, error) {
	verdict, why, err := k.admit(ctx, raw, topic, from)
	k.judged.Add(Judgement{verdict, why})
	return verdict, why, err
}

func (k *Keeper) admit(ctx context.Context, raw []byte, topic int, from string) (check.Verdict, check.Reason, error) {
	heard, verdict, why := k.door.Announcement(raw, topic, from, k.now())
	if verdict != check.Pass {
		return verdict, why, nil
	}
	fresh, err := k.cfg.Board.Put(ctx, heard, k.cfg.Now().UnixMilli())
	if err != nil {
		return check.Ignore, why, err
	}
	if !fresh {
		return check.Ignore, check.Precedence, nil // another was faster
	}
	k.index.note(heard)
	k.say(heard, way(topic, from))
	if k.cfg.Fresh != nil {
		k.cfg.Fresh(heard)
	}
	return check.Pass, why, nil
}

// HeardLine is what the log says of each announcement that was new to this node, with
// the way by which it came: post, gossip or pull. Experiments read it.
const HeardLine = "an announcement was heard"

func (k *Keeper) say(h wire.Heard, way string) {
	a := h.A()
	id := a.ContextID()
	k.cfg.Log.Info(HeardLine, "context", hex.EncodeToString(id[:]), "seq", a.Seq, "shard", wire.Shard(a.Category, a.Region, k.door.Shards),
		"way", way, "bytes", len(h.Raw()))
}

// way names how an announcement came, by what Admit is told of it.
func way(topic int, from string) string {
	switch {
	case topic < 0:
		return "post"
	case from == "":
		return "pull"
	}
	return "gossip"
}

// post takes an announcement from its author, keeps and publishes it, or hands it
// on to the node that shall.
func (k *Keeper) post(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	if !op.Next.Key.IsZero() && op.Next.Key != k.self {
		return protocol.Reply{}, k.handOn(ctx, s, op)
	}
	verdict, why, err := k.Admit(ctx, op.Data, -1, s.from)
	if err != nil {
		return protocol.Reply{}, err
	}
	if verdict != check.Pass {
		return protocol.Reply{}, turnedAway(verdict, why)
	}
	draft, err := wire.ReadAnnouncement(op.Data)
	if err != nil {
		return protocol.Reply{}, err
	}
	shard := wire.Shard(draft.A().Category, draft.A().Region, k.door.Shards)
	if err := k.cfg.Port.Publish(ctx, shard, op.Data); err != nil {
		k.cfg.Log.Warn("an announcement is on the board but not gossiped: others will pull it", "why", err)
	}
	return protocol.Reply{}, nil
}

// turnedAway is the answer to an author; what is known already is as good as kept.
func turnedAway(v check.Verdict, why check.Reason) error {
	switch why {
	case check.Seen:
		return nil
	case check.Early, check.Expired, check.Precedence:
		return &said{string(why), fault.Expired}
	case check.Budget:
		return &said{string(why), fault.Full}
	case check.Version, check.Net:
		return &said{string(why), fault.Unsupported}
	case check.Admission:
		return &said{string(why), fault.Denied}
	}
	return &said{string(why), fault.Malformed}
}

// handOn passes an announcement to the node that shall publish it, one that this
// node knows: nobody can make it dial where they like. It is not kept here.
func (k *Keeper) handOn(ctx context.Context, s *stream, op *protocol.Op) error {
	_, verdict, why := k.door.Announcement(op.Data, -1, s.from, k.now())
	if verdict != check.Pass && why != check.Seen {
		return turnedAway(verdict, why)
	}
	known := k.cfg.Port.Keepers(maxHops)
	i := slices.IndexFunc(known, func(n protocol.Keeper) bool { return n.Key == op.Next.Key })
	if i < 0 {
		return &said{"next", fault.NotFound}
	}
	next, err := k.client().Post(ctx, known[i])
	if err != nil {
		return err
	}
	defer func() { _ = next.Close() }() // it answered
	return next.Announce(ctx, op.Data, protocol.Keeper{})
}

// maxHops is how many public nodes are looked through for the next hop.
const maxHops = 256
