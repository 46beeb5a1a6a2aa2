// Package post hands announcements to their keepers, in the open or by way of another
// keeper: see [Posting].
package post

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/courier/memory"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/outbox"
)

// A Posting says how announcements leave this node. The zero Posting hands each to
// its keepers, in the open.
//
// With two hops each keeper gets it by way of another keeper of the same need:
//
//  1. A first hop is drawn anew at each try. It gives the key that posts to the
//     keeper are sealed to, and hands on what it can't read.
//  2. The keeper holds it for as long as the sealed text says: one random time for
//     all keepers of a need, as the first to publish shows it to everybody.
//  3. What the first hop says is not believed: whether the announcement stands at
//     the keeper is asked there.
//  4. Where no first hop is of use, or three tries failed, the keeper gets it
//     straight. It is her own, and learns her address anyway when she reads the
//     mailbox that the announcement names.
//
// Why the first hop is another of her keepers, and no stranger: it learns an
// address, a moment, and the next hop. A need names its keepers, and so a stranger
// who listens to the gossip finds it: by the next hop alone he knows it among the
// few that name it. A keeper of the same need learns nothing that it would not.
type Posting struct {
	TwoHops bool
	Delay   time.Duration // the longest hold, at most MaxPostHold
	// Hops draws first hops among other public nodes, of which the need's own keepers
	// are passed over; nil: first hops are the other keepers of the need.
	Hops func(n int) []protocol.Keeper
}

// Config is what a Poster is handed; all of it.
type Config struct {
	Posting Posting
	Net     protocol.Hash
	Keys    int // post keys that are remembered
	Now     func() time.Time
	// With runs one exchange with a keeper on a session for a protocol ("post" or "sync").
	With func(ctx context.Context, to protocol.Keeper, what string, do func(*keeper.Session) error) error
}

// A Poster hands over announcements. Make it with New.
type Poster struct {
	cfg   Config
	mu    sync.Mutex
	words map[key.KeeperKey]protocol.PostKey
}

// New makes a Poster that knows no post key yet.
func New(cfg Config) *Poster { return &Poster{cfg: cfg, words: map[key.KeeperKey]protocol.PostKey{}} }

// Fill is how many post keys are remembered.
func (p *Poster) Fill() kv.Fill {
	p.mu.Lock()
	defer p.mu.Unlock()
	return kv.Fill{Name: "courier.post-keys", Used: int64(len(p.words)), Cap: int64(p.cfg.Keys)}
}

// How posting through others goes.
const (
	maxWays  = 3               // first hops that one try asks
	straight = 3               // tries after which a keeper gets an announcement straight
	hopWait  = 6 * time.Second // for one first hop, so that one try can ask all
)

// checks are the pauses before each look whether an announcement stands where it was
// posted to.
var checks = [...]time.Duration{0, 300 * time.Millisecond, time.Second}

// Hold draws how long the keepers of one announcement shall sit on it.
func (p Posting) Hold() time.Duration {
	return rand.N(min(p.Delay, protocol.MaxPostHold*time.Millisecond) + 1).Truncate(time.Millisecond) //nolint:gosec // ChaCha8, seeded by the system
}

// Announce gives an announcement to one of its keepers.
func (p *Poster) Announce(ctx context.Context, it outbox.Item, k protocol.Keeper, hold time.Duration) error {
	if it.Tries >= straight {
		return p.straight(ctx, it, k, hold)
	}
	var last error
	for _, hop := range p.ways(it, k) {
		err := p.through(ctx, it, k, hop, hold)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		case passedOn(err): // a no of the keeper's, if it is true: it can say so itself
			return p.straight(ctx, it, k, hold)
		case !useless(err):
			last = err
		}
	}
	if last != nil {
		return last
	}
	return p.straight(ctx, it, k, hold)
}

// ways draws the first hops of one try, in the order in which they are asked.
func (p *Poster) ways(it outbox.Item, k protocol.Keeper) (ways []protocol.Keeper) {
	if !p.cfg.Posting.TwoHops {
		return nil
	}
	mine := map[key.KeeperKey]bool{}
	for _, own := range it.Keepers {
		mine[own.Key] = true
		if own.Key != k.Key {
			ways = append(ways, own)
		}
	}
	rand.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] }) //nolint:gosec // ChaCha8, seeded by the system
	if p.cfg.Posting.Hops != nil {
		var others []protocol.Keeper
		for _, other := range p.cfg.Posting.Hops(maxWays + len(it.Keepers)) {
			if !mine[other.Key] {
				others = append(others, other)
			}
		}
		ways = append(others, ways...)
	}
	return ways[:min(len(ways), maxWays)]
}

// passedOn tells a no that only the publishing keeper can have meant.
func passedOn(err error) bool {
	var r *keeper.Refused
	if !errors.As(err, &r) || useless(err) || keeper.LacksPostKey(err) {
		return false
	}
	return r.Kind != fault.Full && r.Kind != fault.Offline && r.Kind != fault.Internal
}

// useless tells that a first hop can't help with this keeper: one of the two does
// not know sealed posts, or the hop does not know the keeper.
func useless(err error) bool {
	var r *keeper.Refused
	return errors.As(err, &r) && (r.Kind == fault.Unsupported && r.Text == "" || r.Kind == fault.NotFound && r.Text == keeper.NeedNext)
}

// straight hands an announcement to its keeper itself: sealed, where it shall be
// held and the keeper can, else open.
func (p *Poster) straight(ctx context.Context, it outbox.Item, k protocol.Keeper, hold time.Duration) error {
	if hold > 0 {
		err := p.through(ctx, it, k, k, hold)
		if !useless(err) && (!errors.Is(err, fault.Full) || it.Tries <= straight) {
			return err
		}
	}
	return p.cfg.With(ctx, k, "post", func(s *keeper.Session) error { return s.Announce(ctx, it.Data) })
}

// through posts an announcement to keeper k by way of hop, and looks at k whether it
// stands there.
func (p *Poster) through(ctx context.Context, it outbox.Item, k, hop protocol.Keeper, hold time.Duration) error {
	post := protocol.Post{Data: it.Data, Hold: uint16(hold.Milliseconds())}
	err := p.pass(ctx, post, k, hop)
	if keeper.LacksPostKey(err) {
		p.forgetWord(k.Key) // the keeper started anew
		err = p.pass(ctx, post, k, hop)
	}
	if err != nil {
		return err
	}
	for i, pause := range checks {
		if i == 0 {
			pause += hold
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("courier: %w", ctx.Err())
		case <-time.After(pause):
		}
		stands, err := p.stands(ctx, it, k)
		if err != nil { // whatever it said, it is no answer to the post
			return fmt.Errorf("whether it stands at the keeper: %v: %w", err, fault.Offline)
		}
		if stands {
			return nil
		}
	}
	return fmt.Errorf("posted through %s, but it does not stand at the keeper: %w", hop.Key, fault.Offline)
}

// pass seals a post and hands it to the first hop.
func (p *Poster) pass(ctx context.Context, post protocol.Post, k, hop protocol.Keeper) error {
	ctx, cancel := context.WithTimeout(ctx, hopWait)
	defer cancel()
	return p.cfg.With(ctx, hop, "post", func(s *keeper.Session) error {
		word, err := p.word(ctx, s, k.Key)
		if err != nil {
			return err
		}
		sealed, err := wire.SealPost(word, p.cfg.Net, post)
		if err != nil {
			return err
		}
		return s.Post(ctx, sealed, protocol.Keeper{Key: k.Key})
	})
}

// stands tells whether an announcement is on a keeper's board.
func (p *Poster) stands(ctx context.Context, it outbox.Item, k protocol.Keeper) (yes bool, err error) {
	err = p.cfg.With(ctx, k, "sync", func(s *keeper.Session) error {
		pages, refused, err := s.Fetch(ctx, []protocol.Hash{it.ID})
		if err == nil && refused != nil {
			err = refused
		}
		yes = err == nil && len(pages[0]) == 1 && wire.ID(pages[0][0]) == it.ID
		return err
	})
	return yes, err
}

// word gives the key that posts to a keeper are sealed to, asked of the first hop.
func (p *Poster) word(ctx context.Context, hop *keeper.Session, of key.KeeperKey) (protocol.PostKey, error) {
	now := protocol.Second(p.cfg.Now().Unix())
	p.mu.Lock()
	word, ok := p.words[of]
	p.mu.Unlock()
	if ok && now+protocol.Minute < word.Expires {
		return word, nil
	}
	word, err := hop.PostKey(ctx, of, now)
	if err != nil {
		return word, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	memory.MakeRoom(p.words, of, p.cfg.Keys) // what goes is asked for again
	p.words[of] = word
	return word, nil
}

func (p *Poster) forgetWord(of key.KeeperKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.words, of)
}
