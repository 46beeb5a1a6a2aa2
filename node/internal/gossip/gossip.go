// Package gossip passes announcements on between public nodes: one topic for each
// shard of the network, over libp2p's pubsub, which no other room but score imports.
//
//  1. New starts the router on a host. Nothing is signed by a publisher, a message's
//     id is the SHA-256 of its bytes, and topics that are not ours are refused.
//  2. Join subscribes to shards. What arrives is judged by the caller's Hear before
//     it is passed on: kept, ignored, or held against the peer that handed it in.
//     For a topic with a thin mesh, the host goes to more nodes that carry the shard.
//  3. Publish hands bytes that passed the door to the mesh, or, where this node is not
//     on the topic, to some that are.
//  4. Peers are scored: junk, and what an audit found withheld (Blame), puts them out
//     of the meshes, then out of hearing, until that has decayed. Who brings nothing of
//     what others bring (silence) is out of the meshes for an hour.
//  5. Close stops, and waits until no Hear is running.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/gossip/circle"
	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds. What waits to be judged is in pubsub's own queue, whose length it tells nobody.
// Its readers never wait: they hand each message to one of those that judge, and where
// all of them are busy, or the queue is full, it is dropped and counted (Counts.Throttled);
// pulling brings it later. What waits for a reader of ours was judged already.
const (
	maxMessage    = 64 << 10 // an RPC: several announcements, or a greeting where that is more
	maxControl    = 32 << 10 // of it all but announcements, likewise
	maxShards     = 1024     // topics joined at once
	validateQueue = 512      // messages that wait to be judged
	judging       = 256      // judged at once: those that are put on disk share one sync
	readAhead     = 64       // messages of one subscription that wait for its reader
)

// spoken are the versions of gossipsub that have scores; each has a limit of its own
// (peers.protocolLimits).
var spoken = []wireproto.ID{pubsub.GossipSubID_v13, pubsub.GossipSubID_v12, pubsub.GossipSubID_v11}

// The verdicts of a Hear (check.Verdict).
const (
	pass   = 0
	ignore = 1
)

// Config says which network is spoken of. All fields are required.
type Config struct {
	Net    protocol.Hash
	Shards uint16
	Log    *slog.Logger
	Now    func() time.Time
}

// Gossip is a node's part in the topics. Make it with New.
type Gossip struct {
	cfg     Config
	host    *peers.Host
	router  *pubsub.PubSub
	mesh    *mesh
	tally   *tally
	blames  *blames
	silence *silence
	rules   score.Rules
	stop    context.CancelFunc
	readers *crew.Crew // one for each subscription, and thicken

	// Tap is told of each message of others that was judged, with the address prefix of
	// who handed it in, for measurements. It is set before Join, or never.
	Tap func(shard uint16, raw []byte, verdict uint8, from string)
	// Lax leaves silent peers, and those that answer no audit, in the meshes, to show what
	// comes of it. It is set before Join, or never.
	Lax bool
	// Circle is whom this node gossips with: everybody, but in experiments.
	Circle circle.Circle

	mu      sync.Mutex
	topics  map[uint16]*topic
	hear    peers.Hear
	closed  bool
	hearing int
	quiet   *sync.Cond // hearing is 0
}

type topic struct {
	on  *pubsub.Topic
	sub *pubsub.Subscription // nil: not joined, only published to

	mu   sync.Mutex
	seen map[peer.ID]time.Time // who is on the topic, since when
}

// New starts the router on a public host; it ends with ctx or with Close.
func New(ctx context.Context, h *peers.Host, cfg Config) (*Gossip, error) {
	if h.Profile() != peers.Public {
		return nil, fmt.Errorf("gossip: a personal node is in no mesh: %w", fault.Unsupported)
	}
	blames := newBlames(cfg.Now)
	rules := score.For(cfg.Shards, blames.penalty)
	if err := rules.Check(cfg.Shards); err != nil {
		return nil, fmt.Errorf("gossip: scores: %w", err)
	}
	return start(ctx, h, cfg, blames, rules)
}

// start starts the router under rules that were checked.
func start(ctx context.Context, h *peers.Host, cfg Config, blames *blames, rules score.Rules) (*Gossip, error) {
	ctx, stop := context.WithCancel(ctx)
	g := &Gossip{
		cfg: cfg, host: h, mesh: newMesh(), tally: &tally{}, blames: blames, rules: rules,
		stop: stop, readers: crew.New(ctx, maxShards+1, nil), topics: map[uint16]*topic{},
	}
	g.quiet = sync.NewCond(&g.mu)
	g.silence = newSilence(g.mesh, time.Now, g.silent)
	long := greeting(cfg.Net, cfg.Shards)
	options := []pubsub.Option{
		pubsub.WithGossipSubProtocols(spoken, pubsub.GossipSubDefaultFeatures),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(max(maxMessage, long)), pubsub.WithMaxControlMessageSize(max(maxControl, long)),
		pubsub.WithSubscriptionFilter(ours{cfg.Net, cfg.Shards}),
		pubsub.WithAppSpecificRpcInspector(g.mesh.leave),
		pubsub.WithSeenMessagesTTL(score.SeenFor),
		pubsub.WithFloodPublish(false), pubsub.WithPeerExchange(false),
		pubsub.WithGossipSubParams(rules.Mesh),
		pubsub.WithValidateQueueSize(validateQueue), pubsub.WithValidateThrottle(judging),
		pubsub.WithPeerScore(rules.All, rules.Limits), pubsub.WithBlacklist(&g.Circle),
		pubsub.WithRawTracer(g.mesh), pubsub.WithRawTracer(g.tally), pubsub.WithRawTracer(g.silence), pubsub.WithLogger(cfg.Log),
	}
	if rules.Gater != nil {
		options = append(options, pubsub.WithPeerGater(rules.Gater))
	}
	router, err := pubsub.NewGossipSub(ctx, gate{h.Libp2p(), max(maxMessage, long)}, options...)
	if err != nil {
		stop()
		return nil, fmt.Errorf("gossip: start: %w", err)
	}
	g.router = router
	if err := g.readers.Hire("gossip thicken", g.thicken); err != nil {
		stop()
		return nil, err
	}
	return g, nil
}

func messageID(m *pb.Message) string {
	id := sha256.Sum256(m.GetData())
	return string(id[:])
}

// Topic names the topic of a shard: /hark/1/<net>/need/<S>/<i>.
func Topic(net protocol.Hash, shards, shard uint16) string {
	return fmt.Sprintf("/hark/1/%s/need/%d/%d", net, shards, shard)
}

// Join subscribes to these shards and leaves all others.
func (g *Gossip) Join(shards []uint16, hear peers.Hear) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("gossip: closed: %w", fault.Offline)
	}
	g.hear = hear
	wanted := map[uint16]bool{}
	for _, s := range shards {
		wanted[s] = true
		if err := g.subscribe(s); err != nil {
			return err
		}
	}
	for s, t := range g.topics {
		if !wanted[s] && t.sub != nil {
			t.sub.Cancel()
			t.sub = nil
		}
	}
	return nil
}

// open makes the handle of a topic, with its judge. Called with mu held.
func (g *Gossip) open(shard uint16) (*topic, error) {
	if t := g.topics[shard]; t != nil {
		return t, nil
	}
	name := Topic(g.cfg.Net, g.cfg.Shards, shard)
	if shard >= g.cfg.Shards {
		return nil, fmt.Errorf("gossip: shard %d of %d: %w", shard, g.cfg.Shards, fault.Malformed)
	}
	judge := func(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		return g.judge(ctx, shard, from, m.GetData())
	}
	if err := g.router.RegisterTopicValidator(name, judge, pubsub.WithValidatorConcurrency(judging)); err != nil {
		return nil, fmt.Errorf("gossip: %s: %w", name, err)
	}
	on, err := g.router.Join(name)
	if err == nil {
		err = on.SetScoreParams(g.rules.Topic)
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: %s: %w", name, errors.Join(err, g.router.UnregisterTopicValidator(name)))
	}
	t := &topic{on: on}
	g.topics[shard] = t
	return t, nil
}

// subscribe starts the reader of a shard. Called with mu held.
func (g *Gossip) subscribe(shard uint16) error {
	t, err := g.open(shard)
	if err != nil || t.sub != nil {
		return err
	}
	sub, err := t.on.Subscribe(pubsub.WithBufferSize(readAhead))
	if err != nil {
		return fmt.Errorf("gossip: shard %d: %w", shard, err)
	}
	if err := g.readers.Hire("gossip reader", func(ctx context.Context) { drain(ctx, sub) }); err != nil {
		sub.Cancel()
		return err
	}
	t.sub = sub
	return nil
}

// drain takes messages off a subscription until it is cancelled: judge has dealt
// with them already, and a subscription that nobody reads fills up.
func drain(ctx context.Context, sub *pubsub.Subscription) {
	for {
		if _, err := sub.Next(ctx); err != nil {
			return
		}
	}
}

// judge is run by pubsub before a message is passed on.
func (g *Gossip) judge(ctx context.Context, shard uint16, from peer.ID, raw []byte) pubsub.ValidationResult {
	if from == g.host.Libp2p().ID() {
		return pubsub.ValidationAccept // our own, which passed the door before
	}
	g.mu.Lock()
	hear := g.hear
	if g.closed || hear == nil {
		g.mu.Unlock()
		return pubsub.ValidationIgnore
	}
	g.hearing++
	g.mu.Unlock()
	defer g.heard()
	by := g.host.Prefix(from)
	verdict := hear(ctx, raw, shard, by)
	if g.Tap != nil {
		g.Tap(shard, raw, verdict, by)
	}
	switch verdict {
	case pass:
		return pubsub.ValidationAccept
	case ignore:
		return pubsub.ValidationIgnore
	}
	return pubsub.ValidationReject
}

func (g *Gossip) heard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hearing--; g.hearing == 0 {
		g.quiet.Broadcast()
	}
}

// Publish gossips bytes that have already passed the door. Bytes that went through
// here within the last minutes are not sent again.
func (g *Gossip) Publish(ctx context.Context, shard uint16, raw []byte) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return fmt.Errorf("gossip: closed: %w", fault.Offline)
	}
	t, err := g.open(shard)
	joined := err == nil && t.sub != nil
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if joined {
		g.settle(ctx, t)
	} else {
		g.fan(ctx, shard, t)
	}
	if err := t.on.Publish(ctx, raw); err != nil {
		return fmt.Errorf("gossip: publish: %w", err)
	}
	return nil
}

// on lists the connected peers that are on the topic of a shard that this node is on.
func (g *Gossip) on(shard uint16) []peer.ID {
	g.mu.Lock()
	t := g.topics[shard]
	g.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.on.ListPeers()
}

// Mesh lists the peers to which this node sends what it hears on a shard.
func (g *Gossip) Mesh(shard uint16) []peer.ID {
	in, _ := g.mesh.peers(Topic(g.cfg.Net, g.cfg.Shards, shard))
	return in
}

// Status is how many topics are joined, of how many, and how many peers were reported
// by an audit.
func (g *Gossip) Status() (topics, blamed peers.Fill) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, t := range g.topics {
		if t.sub != nil {
			n++
		}
	}
	return peers.Fill{At: n, Limit: int(g.cfg.Shards)}, peers.Fill{At: g.blames.size(), Limit: maxBlamed}
}

// Judging is how many messages of others are being judged, of how many at once.
func (g *Gossip) Judging() peers.Fill {
	g.mu.Lock()
	defer g.mu.Unlock()
	return peers.Fill{At: g.hearing, Limit: judging}
}

// Close stops the router and waits for readers and for every Hear that runs.
// pubsub itself can't be waited for: its loops end by themselves at once.
func (g *Gossip) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop()
	err := g.readers.Dismiss(ctx)
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.quiet.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.hearing > 0 && ctx.Err() == nil {
		g.quiet.Wait()
	}
	if g.hearing > 0 {
		return errors.Join(err, fmt.Errorf("gossip: %d announcements are still being judged: %w", g.hearing, ctx.Err()))
	}
	return err
}
