package keeper

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/posting"
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

// PostBytes are those of announcements that were posted here, sealed or not, and of
// those that were passed on to the node that they are for.
func (k *Keeper) PostBytes() (in, out int64) { return k.posted.in.Load(), k.posted.out.Load() }

// Hear is the peers.Hear of this node: gossip passes the door and is put on the
// board before it is passed on. What came by another way a moment ago is passed on too:
// else whoever pulls, or is posted to, would stand in the way of gossip. What is
// repeated later is not, so that nobody makes the network say everything again.
func (k *Keeper) Hear(ctx context.Context, raw []byte, shard uint16, from string) uint8 {
	verdict, why, err := k.Admit(ctx, raw, int(shard), from)
	if err != nil {
		k.cfg.Log.Warn("an announcement was not kept", "why", err)
	}
	if why == check.Seen {
		if ms, known := k.cfg.Board.HeardAt(wire.ID(raw)); known && k.cfg.Now().UnixMilli()-ms < stillNew.Milliseconds() {
			return uint8(check.Pass)
		}
	}
	return uint8(verdict)
}

// stillNew is how long after it came by another way an announcement is passed on when
// gossip brings it.
const stillNew = time.Minute

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
	if verdict == check.Pass && k.mail.mischief.Blames(raw) {
		verdict, why = check.Blame, check.Encoding
	}
	if verdict != check.Pass {
		return verdict, why, nil
	}
	nowMS := k.cfg.Now().UnixMilli()
	fresh, err := k.cfg.Board.Put(ctx, heard, nowMS)
	if err != nil {
		return check.Ignore, why, err
	}
	switch {
	case fresh:
	case k.cfg.Board.Seen(heard.ID()):
		return check.Ignore, check.Seen, nil // it came another way at the same time
	default:
		return check.Ignore, check.Precedence, nil // another was faster
	}
	k.index.note(heard, nowMS)
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
	if !k.cfg.Log.Enabled(context.Background(), slog.LevelInfo) {
		return // nothing is worked out on the way of every announcement
	}
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

// post takes an announcement from its author and publishes it; or, where it is sealed
// to another node, hands it on to that one; or opens it, where it is sealed to this.
func (k *Keeper) post(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	k.posted.in.Add(int64(len(op.Data)))
	switch op.Next.Key {
	case key.KeeperKey{}:
		return protocol.Reply{}, k.publish(ctx, op.Data, s.from)
	case k.self:
		return protocol.Reply{}, postFault(k.posting.Open(ctx, op.Data, s.from))
	}
	if err := k.budgets.Caller(s.from, posting.CostPass-costPost); err != nil {
		return protocol.Reply{}, err
	}
	k.posted.out.Add(int64(len(op.Data)))
	return protocol.Reply{}, postFault(k.posting.Pass(ctx, op.Next.Key, op.Data))
}

// postKey answers with the key that posts to a keeper are sealed to.
func (k *Keeper) postKey(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	word, err := k.posting.Key(ctx, op.Next.Key)
	return protocol.Reply{PostKey: word}, postFault(err)
}

// postFault gives what became of a post the words that its sender knows. What the
// next hop answered is passed on as it is.
func postFault(err error) error {
	var refused *Refused
	switch {
	case errors.Is(err, posting.ErrKey):
		return &said{client.NeedPostKey, fault.Expired}
	case errors.Is(err, posting.ErrNext):
		return &said{client.NeedNext, fault.NotFound}
	case errors.As(err, &refused):
		return &said{refused.Text, refused.Kind}
	}
	return err
}

// judge asks the door about an announcement that shall be published later.
func (k *Keeper) judge(raw []byte, from string) error {
	_, verdict, why := k.door.Announcement(raw, -1, from, k.now())
	if verdict != check.Pass {
		return turnedAway(verdict, why)
	}
	return nil
}

// publish admits an announcement and gossips it.
func (k *Keeper) publish(ctx context.Context, raw []byte, from string) error {
	verdict, why, err := k.Admit(ctx, raw, -1, from)
	if err != nil {
		return err
	}
	if why == check.Precedence && k.cfg.Board.Seen(wire.ID(raw)) {
		return nil // gossip brought the same between two looks at the board
	}
	if verdict != check.Pass {
		return turnedAway(verdict, why)
	}
	draft, err := wire.ReadAnnouncement(raw)
	if err != nil {
		return err
	}
	shard := wire.Shard(draft.A().Category, draft.A().Region, k.door.Shards)
	if err := k.cfg.Port.Publish(ctx, shard, raw); err != nil {
		k.cfg.Log.Warn("an announcement is on the board but not gossiped: others will pull it", "why", err)
	}
	return nil
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
