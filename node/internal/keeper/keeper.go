// Package keeper is what a public node does for others, and how others ask for it:
// mail, publishing, and passing on what is known.
//
// The server's flow, for each stream of /hark/mail/1, /hark/post/1, /hark/sync/1,
// /hark/blob/1:
//
//  1. It says Hello with a fresh nonce and its network.
//  2. It reads operations, numbered from 1; what is malformed or out of order is
//     answered with a fault, and the stream is closed.
//  3. Each operation is charged to the caller's address prefix and to everybody's
//     budget before any signature is looked at, and after that to the capability,
//     owner or box that it is about. No budget left is an answer (fault.Full).
//  4. Mail goes to the mailboxes, copies of large values to the blobs: both write
//     before a receipt is signed. An
//     announcement passes the door, is put on the board, and is gossiped then;
//     package posting is for those that come by way of another node.
//  5. On a stream with subscriptions a second goroutine pushes letters.
//
// Beside the streams, Hear judges what gossip brings, and loops pull from other
// nodes what gossip missed, end holds, and sweep what has expired.
//
// The client's side is package client.
//
//house:allow package four protocols behind one door: the same streams, budgets and stores
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/known"
	"github.com/harkmarket/hark/node/internal/keeper/mischief"
	"github.com/harkmarket/hark/node/internal/keeper/posting"
	"github.com/harkmarket/hark/node/internal/keeper/pull"
	"github.com/harkmarket/hark/node/internal/metrics"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/blobs"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/mailbox"
)

// Bounds of the streams.
const (
	idleWait  = 60 * time.Second // for the next operation, where there is no subscription
	writeWait = 20 * time.Second // for a slow reader
	maxFeeds  = 1024             // streams with subscriptions
)

// Config is what a Keeper needs. Key, Door (with its Memory), Board, Mail, Port, Log
// and Now are required.
//
//house:allow fields a keeper is handed its stores, the network, and whom to tell of what
type Config struct {
	Key    key.Private[key.Keeper]
	Duties protocol.Duties // of the network
	Door   *check.Door     // where its Budget is nil, Limits.Relay holds
	Board  *board.Board
	Mail   *mailbox.Mailboxes
	Blobs  *blobs.Blobs // nil: it keeps no large values
	Port   peers.Port
	// Tell gives at most n public nodes to a caller; nil: nobody is told of any.
	Tell func(from string, n int) []protocol.Keeper
	// Sources draws two nodes of different operators, to pull from; nil: any that the
	// port knows.
	Sources func() []protocol.Keeper
	// Followers are connected nodes known to follow a shard; nil: none.
	Followers func(shard uint16) []protocol.Keeper
	// Mesh lists the mesh peers of a shard, one of which is audited each minute, and
	// those of them that are audited within some ten minutes; Audit is told
	// how many live announcements one held back (pull.Withheld), or how often in a row it
	// did not answer. Mesh and Audit or neither; Audit must not block.
	Mesh  func(shard uint16) (in, quiet []protocol.Keeper)
	Audit func(peer key.KeeperKey, shard uint16, withheld int)
	// Operator is the vendor who runs this keeper, zero for nobody; each Hello says so.
	// nil: nobody.
	Operator func() protocol.VendorID
	// Greeted is told what other keepers say of themselves when this one pulls from
	// them; nil: nobody is.
	Greeted func(k key.KeeperKey, says wire.Aside)
	// Fresh is told of each announcement that came in new, whichever way, after it
	// is on the board. It must not block.
	Fresh func(wire.Heard)
	// Shown is told of a vendor's passports that were shown here, after they are on
	// the board; nil: nobody is. It must not block.
	Shown  func(wire.Chain)
	Limits Limits // zero: DefaultLimits
	Tables Tables
	// Misbehave breaks a promise on purpose; none where empty.
	Misbehave Misbehaviour
	Log       *slog.Logger
	Now       func() time.Time
}

// Tables bound what a keeper remembers. What is zero takes its usual value.
type Tables struct {
	Index        int // mailboxes named by announcements, and those named by passports
	Refused      int // ids that were pulled in vain
	Capabilities int // whose signature is known to hold
	HeldPosts    int // that wait to be published
	PostKeys     int // of other keepers
	PostLines    int // open sessions to next hops
}

// A Keeper serves others. Make it with New.
type Keeper struct {
	cfg     Config
	door    check.Door
	self    key.KeeperKey
	work    *crew.Crew
	budgets *budget.Budgets
	index   *index
	mail    *mail
	library *library
	puller  *pull.Puller
	posting *posting.Posting
	tags    key.Secret
	judged  metrics.Counts[Judgement]
	posted  struct{ in, out atomic.Int64 } // bytes
}

// New reads from the board which mailboxes are named there. Loops start with Serve
// and end with ctx or with Close.
func New(ctx context.Context, cfg Config) (*Keeper, error) {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits
	}
	k := &Keeper{cfg: cfg, door: *cfg.Door, self: cfg.Key.Public(), work: crew.New(ctx, maxFeeds+8, nil)}
	k.tags = seal.Derive(cfg.Key.Seed(), seal.LabelCopyFrom, nil)
	k.budgets = budget.New(cfg.Limits, cfg.Now)
	if k.door.Budget == nil {
		k.door.Budget = k.budgets.Relayed
	}
	k.index = newIndex(cfg.Board, k.door.Net, cfg.Tables.Index, cfg.Log)
	k.index.self = k.self
	k.index.shown = cfg.Shown
	if err := k.index.read(ctx, k.door.Shards); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	does := mischief.New(cfg.Misbehave)
	feeds := &feeds{mail: cfg.Mail, mischief: does, work: k.work, log: cfg.Log, now: k.now, of: map[key.MailboxKey][]*feed{}}
	k.mail = &mail{
		cfg: &k.cfg, tag: k.tag, self: k.self, lanes: k.door.Lanes, index: k.index, budgets: k.budgets, feeds: feeds, mischief: does, now: k.now,
		capabilities: known.NewCapabilities(cfg.Tables.Capabilities), hold: make(chan struct{}, 1),
	}
	k.library = &library{board: cfg.Board, index: k.index, net: k.door.Net, shards: k.door.Shards, tellOf: cfg.Tell}
	if cfg.Sources == nil {
		cfg.Sources = func() []protocol.Keeper { return cfg.Port.Keepers(2) }
	}
	k.puller = pull.New(pull.Config{
		Board: cfg.Board, Client: k.client(), Sources: cfg.Sources, Followers: cfg.Followers, Admit: k.Admit, KeepChain: k.index.keepChain,
		Mesh: cfg.Mesh, Audit: cfg.Audit, Refused: cfg.Tables.Refused, Log: cfg.Log, Now: k.now,
	})
	var err error
	k.posting, err = posting.New(posting.Config{
		Key: cfg.Key, Net: k.door.Net, Port: cfg.Port, Judge: k.judge, Publish: k.publish, Now: cfg.Now, Log: cfg.Log,
		Held: cfg.Tables.HeldPosts, Keys: cfg.Tables.PostKeys, Lines: cfg.Tables.PostLines,
	})
	return k, err
}

// tag is what an address prefix is known by beside the letters and copies that came from
// it: whoever has the disk alone can't tell which it is. This machine is zero.
func (k *Keeper) tag(from string) (tag [8]byte) {
	if budget.Local(from) {
		return tag
	}
	sum := seal.MAC(k.tags, []byte(from))
	return [8]byte(sum[:8])
}

// costPost is what an announcement costs its author's budget.
const costPost = 8

// Serve registers the handlers at the port and starts the loops.
func (k *Keeper) Serve() error {
	k.cfg.Port.Serve(peers.ProtoMail, k.handler(map[protocol.OpKind]operation{
		protocol.OpDeposit:   {4, k.mail.deposit},
		protocol.OpCollect:   {4, k.mail.collect},
		protocol.OpSubscribe: {4, k.mail.subscribe},
		protocol.OpDelete:    {2, k.mail.remove},
		protocol.OpRevoke:    {4, k.mail.revoke},
	}))
	k.cfg.Port.Serve(peers.ProtoPost, k.handler(map[protocol.OpKind]operation{
		protocol.OpPost:    {costPost, k.post},
		protocol.OpPostKey: {posting.CostKey, k.postKey},
	}))
	k.cfg.Port.Serve(peers.ProtoSync, k.handler(map[protocol.OpKind]operation{
		protocol.OpList:     {4, k.library.list},
		protocol.OpFetch:    {8, k.library.fetch},
		protocol.OpPassport: {2, k.library.passport},
		protocol.OpRanges:   {8, k.library.ranges},
		protocol.OpPeers:    {1, k.library.tell},
		protocol.OpPublish:  {8, k.library.publish},
	}))
	if k.cfg.Blobs != nil {
		k.cfg.Port.Serve(peers.ProtoBlob, k.handler(copies{k}.operations()))
	}
	return errors.Join(
		k.work.Hire("mail holds", k.mail.endHolds), k.work.Hire("held posts", k.posting.Run), k.work.Hire("keeper sweep", k.sweep),
		k.work.Hire("keeper pull", k.puller.Run), k.work.Hire("keeper returns", k.puller.Returns))
}

// Back says that a node is back which was lost for a while: see pull.Puller.
func (k *Keeper) Back(node protocol.Keeper) { k.puller.Back(node) }

// Join follows these shards from now on: by gossip and by pull.
func (k *Keeper) Join(shards []uint16) error {
	if err := k.cfg.Port.Join(shards, k.Hear); err != nil {
		return err
	}
	k.puller.Follow(shards)
	return nil
}

// Pull fetches from one node what it has of these shards and this node lacks, and
// passports. got counts announcements that came in fresh.
func (k *Keeper) Pull(ctx context.Context, from protocol.Keeper, shards []uint16) (got int, err error) {
	return k.puller.Pull(ctx, from, shards)
}

// Close ends loops and pushes; the port ends the streams.
func (k *Keeper) Close(ctx context.Context) error { return k.work.Dismiss(ctx) }

func (k *Keeper) now() protocol.Second { return protocol.Second(k.cfg.Now().Unix()) }

func (k *Keeper) client() Client {
	return Client{Port: k.cfg.Port, Net: k.door.Net, Greeted: k.cfg.Greeted}
}

// Fills are the bounded tables and their fill: streams with subscriptions and
// loops, address prefixes, budgets by name, mailboxes of announcements, inboxes,
// capabilities that were checked, ids that were pulled in vain, nodes that are back and
// wait to be visited, mesh peers that did not answer an audit, and those of posting.
func (k *Keeper) Fills() map[string]peers.Fill {
	at, limit := k.work.Size()
	boxes, inboxes := k.index.size()
	prefixes, names := k.budgets.Sizes()
	capabilities, mostCapabilities := k.mail.capabilities.Size()
	fills := k.posting.Fills()
	maps.Copy(fills, k.puller.Fills())
	maps.Copy(fills, map[string]peers.Fill{
		"pushes":       {At: at, Limit: limit},
		"prefixes":     {At: prefixes, Limit: budget.Max},
		"budgets":      {At: names, Limit: budget.Max},
		"boxes":        {At: boxes, Limit: k.index.most},
		"inboxes":      {At: inboxes, Limit: k.index.most},
		"capabilities": {At: capabilities, Limit: mostCapabilities},
	})
	return fills
}

// sweepPause is the pause of the loops that remove and show what is due.
const sweepPause = time.Minute

// sweep removes what has expired.
func (k *Keeper) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := k.cfg.Mail.Expire(ctx, k.now()); err != nil {
			k.cfg.Log.Warn("expired letters were not removed", "why", err)
		}
		copies{k}.expire(ctx)
		if _, err := k.cfg.Board.Expire(ctx, k.now()); err != nil {
			k.cfg.Log.Warn("expired announcements were not removed", "why", err)
		}
		k.index.forget()
	}
}

// wake ends the pause of a loop, unless it is awake already.
func wake(loop chan<- struct{}) {
	select {
	case loop <- struct{}{}:
	default:
	}
}

// An operation is what one kind of Op costs and does.
type operation struct {
	cost float64
	do   func(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error)
}

// A stream is one incoming stream.
type stream struct {
	c     peers.Conn
	from  string
	nonce protocol.ID
	feed  *feed // nil until the first subscription
	turn  turn
}

// A turn is one writer's at a time. It is no mutex, for which a bubble of fake time would
// wait for ever: a writer may wait for a slow reader.
type turn chan struct{}

// write sends one frame; the stream's two writers take turns.
func (s *stream) write(v any) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.c.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	return wire.WriteFrame(s.c, v)
}

// hello speaks first on a stream.
func (k *Keeper) hello(s *stream) error {
	var operator protocol.VendorID
	if k.cfg.Operator != nil {
		operator = k.cfg.Operator()
	}
	if err := s.c.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	says := wire.Aside{Operator: operator, Clock: k.now()}
	return wire.WriteHello(s.c, protocol.Hello{V: protocol.Version, Nonce: s.nonce, Net: k.door.Net}, says)
}

// handler serves one protocol.
func (k *Keeper) handler(ops map[protocol.OpKind]operation) peers.Handler {
	return func(ctx context.Context, c peers.Conn, from string) {
		s := &stream{c: c, from: from, nonce: wire.NewID(), turn: make(turn, 1)}
		if err := k.hello(s); err != nil {
			return
		}
		defer func() { k.mail.feeds.end(s.feed) }()
		for n := uint32(1); n <= client.MaxOps; n++ {
			if err := k.serveOne(ctx, s, ops, n); err != nil {
				return // the port closes the stream, and what was answered still arrives
			}
		}
	}
}

// serveOne reads and answers operation n. An error ends the stream.
func (k *Keeper) serveOne(ctx context.Context, s *stream, ops map[protocol.OpKind]operation, n uint32) error {
	by := time.Now().Add(idleWait)
	if s.feed != nil {
		by = time.Time{} // it lives as long as its connection
	}
	if err := s.c.SetReadDeadline(by); err != nil {
		return err
	}
	var op protocol.Op
	err := wire.ReadFrame(s.c, &op)
	if kind := fault.Of(err); err != nil && kind != fault.Malformed && kind != fault.Unsupported {
		return err // gone
	}
	reply := protocol.Reply{}
	if err == nil && op.N != n {
		err = fmt.Errorf("keeper: operation %d in place of %d: %w", op.N, n, fault.Malformed)
	}
	if err == nil {
		reply, err = k.answer(ctx, s, ops, &op)
	}
	reply.N = n
	if err != nil {
		reply = refusal(n, err)
	}
	if werr := s.write(&reply); werr != nil {
		return werr
	}
	if fault.Of(err) == fault.Malformed && err != nil {
		return err
	}
	return nil
}

// answer charges and does one operation.
func (k *Keeper) answer(ctx context.Context, s *stream, ops map[protocol.OpKind]operation, op *protocol.Op) (protocol.Reply, error) {
	do, ok := ops[op.Kind]
	if !ok {
		return protocol.Reply{}, fmt.Errorf("keeper: operation %d on this stream: %w", op.Kind, fault.Unsupported)
	}
	if err := k.budgets.Caller(s.from, do.cost); err != nil {
		return protocol.Reply{}, err
	}
	if err := wire.CheckOp(op, k.self, s.nonce); err != nil {
		return protocol.Reply{}, err
	}
	return do.do(ctx, s, op)
}

// A said is an error whose text is meant for the other side.
type said struct {
	text string
	kind fault.Kind
}

func (s *said) Error() string { return s.text + ": " + s.kind.Error() }
func (s *said) Unwrap() error { return s.kind }

// refusal is what a stranger sees of an error: its kind, and a text where one was
// meant for him.
func refusal(n uint32, err error) protocol.Reply {
	r := protocol.Reply{N: n, Fault: uint8(fault.Of(err).Outside()) + 1}
	var s *said
	if errors.As(err, &s) {
		r.Text = s.text
	}
	return r
}
