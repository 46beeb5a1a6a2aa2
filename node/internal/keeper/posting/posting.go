// Package posting passes announcements on by way of a second node, so that the node
// which learns from whom one comes can't read it, and the node that reads it does
// not learn from whom it came.
//
//  1. A keeper has a key that posts to it are sealed to, in memory alone: another
//     one each day, the one before kept for as long again (keys.go). Its signed word
//     for that key is fetched and remembered by others, so that asking for it does
//     not show up at the keeper.
//  2. The first hop hands sealed bytes to the keeper that they are for, one that it
//     knows by itself, and answers what that one answered. It keeps nothing.
//  3. The second hop opens them and asks the door. It publishes at once and then
//     answers, or answers and publishes after the hold that stands inside (queue.go).
package posting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// What the two hops cost the caller beside an announcement of his own. All that a
// first hop passes on is charged to its own address at the second: at eight times
// the cost of one there, no caller uses up more than an eighth of it.
const (
	CostKey  = 8
	CostPass = 64
)

// passWait bounds what a first hop waits for the second.
const passWait = 5 * time.Second

// maxHops is how many public nodes are looked through for the next hop: all that
// a node knows.
const maxHops = 1 << 14

// ErrKey is the answer to what does not open: its sender fetches the key anew.
var ErrKey = fmt.Errorf("posting: sealed to another key: %w", fault.Expired)

// ErrNext is the answer where the next hop is not known here.
var ErrNext = fmt.Errorf("posting: next hop: %w", fault.NotFound)

// Config is what a Posting needs: all of it but the bounds.
type Config struct {
	Key  key.Private[key.Keeper]
	Net  protocol.Hash
	Port peers.Port
	Now  func() time.Time
	Log  *slog.Logger
	// Judge asks the door about an announcement; nothing is kept yet.
	Judge func(raw []byte, from string) error
	// Publish asks the door, keeps it, and gossips it.
	Publish func(ctx context.Context, raw []byte, from string) error
	// The bounds. What is zero takes its usual value.
	Held  int // posts that are held, of which one address prefix has a quarter
	Keys  int // post keys of others
	Lines int // open sessions to next hops
}

// A Posting is a keeper's part in the two hops. Make it with New and let Run run.
type Posting struct {
	cfg   Config
	self  key.KeeperKey
	own   *own
	known *known
	queue *queue
	lines *lines
}

// New makes the first key.
func New(cfg Config) (*Posting, error) {
	p := &Posting{cfg: cfg, self: cfg.Key.Public(), own: &own{sign: cfg.Key},
		known: newKnown(cmp.Or(cfg.Keys, maxKnown)), queue: newQueue(cmp.Or(cfg.Held, maxHeld)), lines: newLines(cmp.Or(cfg.Lines, maxLines))}
	_, err := p.own.word(p.now())
	return p, err
}

func (p *Posting) now() protocol.Second { return protocol.Second(p.cfg.Now().Unix()) }

// Key answers with the post key of a keeper: this one's where none is named.
func (p *Posting) Key(ctx context.Context, next key.KeeperKey) (protocol.PostKey, error) {
	if next.IsZero() || next == p.self {
		return p.own.word(p.now())
	}
	if word, ok := p.known.get(next, p.now()); ok {
		return word, nil
	}
	var word protocol.PostKey
	err := p.at(ctx, next, func(ctx context.Context, s *client.Session) (err error) {
		word, err = s.PostKey(ctx, next, p.now())
		return err
	})
	if err != nil {
		return protocol.PostKey{}, err
	}
	p.known.put(word, p.now())
	return word, nil
}

// Pass hands sealed bytes to the keeper that they are for. A Refused is that one's.
func (p *Posting) Pass(ctx context.Context, next key.KeeperKey, sealed []byte) error {
	err := p.at(ctx, next, func(ctx context.Context, s *client.Session) error {
		return s.Post(ctx, sealed, protocol.Keeper{Key: next})
	})
	if client.LacksPostKey(err) {
		p.known.drop(next) // it started anew: who asks next gets the new key
	}
	return err
}

// at has a conversation with a keeper that this node knows by itself: nobody can
// make it dial where they like.
func (p *Posting) at(ctx context.Context, next key.KeeperKey, do func(context.Context, *client.Session) error) error {
	all := p.cfg.Port.Keepers(maxHops)
	i := slices.IndexFunc(all, func(n protocol.Keeper) bool { return n.Key == next })
	if i < 0 {
		return ErrNext
	}
	ctx, cancel := context.WithTimeout(ctx, passWait)
	defer cancel()
	dial := func() (*client.Session, error) {
		return client.Client{Port: p.cfg.Port, Net: p.cfg.Net}.Post(ctx, all[i])
	}
	return p.lines.talk(next, dial, func(s *client.Session) error { return do(ctx, s) })
}

// Open takes what was sealed to this keeper: published when it returns, or, with a
// hold inside, once that has passed.
func (p *Posting) Open(ctx context.Context, sealed []byte, from string) error {
	post, err := p.open(sealed)
	if err != nil {
		return err
	}
	if post.Hold == 0 {
		return p.cfg.Publish(ctx, post.Data, from)
	}
	if err := p.cfg.Judge(post.Data, from); err != nil {
		return err
	}
	return p.queue.add(post, from, p.cfg.Now())
}

// open tries the keys that are in use. What opens under none may have been sealed
// before this node started; or be junk, which nobody can tell.
func (p *Posting) open(sealed []byte) (protocol.Post, error) {
	for _, k := range p.own.keys(p.now()) {
		post, err := wire.OpenPost(k, p.cfg.Net, p.self, sealed)
		if !errors.Is(err, fault.Denied) {
			return post, err
		}
	}
	return protocol.Post{}, ErrKey
}

// Fills are the bounded tables and their fill: posts that are held, post keys of
// others, and sessions to next hops.
func (p *Posting) Fills() map[string]peers.Fill {
	return map[string]peers.Fill{
		"held-posts": {At: p.queue.size(), Limit: p.queue.most},
		"post-keys":  {At: p.known.size(), Limit: p.known.most},
		"post-lines": {At: p.lines.size(), Limit: p.lines.most},
	}
}
