// Package pull fetches from other nodes what gossip missed, so that this one holds
// every live announcement of its shards.
//
//  1. At start, when the shards change and every minute, Run draws two nodes of
//     different operators, one that is connected and one that is not (roster.Pair): one that
//     hides something is made up for by the other, and whoever surrounds this node is not
//     both. Of shards that too few of the two follow, others that do are asked beside them.
//  2. Of each it finds out, shard by shard, what it has and this node lacks: by
//     fingerprints (package reconcile), or, from an older node, by its whole list.
//  3. What is missing is fetched, many pages in one round trip, and passes the same
//     door as gossip. What the door refused is not fetched again for ten minutes,
//     from whomever; what was listed and did not come is asked of others at once.
//  4. Whoever needs longer than his turn takes another one after the others had
//     theirs, as long as he brings something.
//  5. Passports of vendors that this node does not know are fetched too.
//  6. One mesh peer of one shard is audited each minute, and those that gossip does not
//     vouch for within some ten: see audit.
//  7. Beside that, Returns visits nodes that were lost and are back, a few each minute.
package pull

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// Bounds of pulling.
const (
	MaxRefused = 8192 // ids that are not pulled again for a while
	maxVendors = 4096 // vendors asked about in one pull
	sources    = 2    // nodes in one round
	maxBeside  = 4    // nodes that are asked about single shards, in one round
	maxTurns   = 5    // of one node in one round: a round is over well within ten minutes
)

// When.
const (
	every = time.Minute
	soon  = time.Second      // at start, until somebody was there; doubled each time
	turn  = 50 * time.Second // of one node
	visit = 20 * time.Second // of one that is asked about single shards
)

// Config is what a Puller needs: all but Mesh and Audit.
type Config struct {
	Board   *board.Board
	Client  client.Client
	Sources func() []protocol.Keeper // two nodes, of different operators as far as can be
	// Followers are connected nodes known to follow a shard, in random order; nil: none.
	Followers func(shard uint16) []protocol.Keeper
	// Admit is the door and the board behind it.
	Admit     func(ctx context.Context, raw []byte, topic int, from string) (check.Verdict, check.Reason, error)
	KeepChain func(ctx context.Context, c wire.Chain) error
	// Mesh lists the mesh peers of a shard and those of them that gossip does not vouch for,
	// and Audit is told what one of them held back.
	Mesh    func(shard uint16) (in, quiet []protocol.Keeper)
	Audit   func(peer key.KeeperKey, shard uint16, withheld int)
	Refused int // ids that are not pulled again for a while; 0: MaxRefused
	Log     *slog.Logger
	Now     func() protocol.Second
}

// A Puller fetches what gossip missed. Make it with New.
type Puller struct {
	cfg   Config
	nudge chan struct{} // wakes the loop
	back  chan protocol.Keeper

	mu      sync.Mutex
	refused map[protocol.Hash]protocol.Second // pulled in vain: not again until then
	shards  []uint16
	since   map[uint16]protocol.Second // that a shard is followed
	audits  audits

	suspected atomic.Int64 // how many there are, for who asks meanwhile
}

// New makes a Puller; Run starts it.
func New(cfg Config) *Puller {
	cfg.Refused = cmp.Or(cfg.Refused, MaxRefused)
	return &Puller{cfg: cfg, nudge: make(chan struct{}, 1), back: make(chan protocol.Keeper, maxBack), refused: map[protocol.Hash]protocol.Second{}, since: map[uint16]protocol.Second{}}
}

// Fills are the bounded tables and their fill: ids that are not pulled again for a while,
// nodes that are back and wait to be visited, and mesh peers that did not answer an audit.
func (p *Puller) Fills() map[string]peers.Fill {
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[string]peers.Fill{
		"refused":  {At: len(p.refused), Limit: p.cfg.Refused},
		"returns":  {At: len(p.back), Limit: cap(p.back)},
		"suspects": {At: int(p.suspected.Load()), Limit: maxSuspects},
	}
}

// Follow pulls these shards from now on, and at once.
func (p *Puller) Follow(shards []uint16) {
	p.mu.Lock()
	since := map[uint16]protocol.Second{}
	for _, s := range shards {
		since[s] = p.cfg.Now()
		if at, ok := p.since[s]; ok {
			since[s] = at
		}
	}
	p.shards, p.since = slices.Clone(shards), since
	p.mu.Unlock()
	select {
	case p.nudge <- struct{}{}:
	default: // awake already
	}
}

func (p *Puller) follows() []uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shards
}

// Run pulls at start, when the shards change, and every minute.
func (p *Puller) Run(ctx context.Context) {
	wait := soon
	for ctx.Err() == nil {
		pause := every
		if !p.once(ctx) {
			pause, wait = wait, min(2*wait, every)
		}
		select {
		case <-ctx.Done():
		case <-p.nudge:
		case <-time.After(pause):
		}
	}
}

// once is one round. It says whether a node was there, or there was nothing to pull.
func (p *Puller) once(ctx context.Context) bool {
	shards := p.follows()
	done := len(shards) == 0
	from := p.cfg.Sources()
	from = from[:min(len(from), sources)]
	drawn := slices.Clone(from)
	for range maxTurns {
		from = slices.DeleteFunc(slices.Clone(from), func(k protocol.Keeper) bool {
			answered, again := p.turn(ctx, k, shards, turn)
			done = done || answered
			return !again
		})
	}
	for _, b := range p.beside(drawn, shards) {
		p.turn(ctx, b.node, b.shards, visit)
	}
	p.audit(ctx, shards)
	return done
}

// A followed is a node and the shards that it is asked about.
type followed struct {
	node   protocol.Keeper
	shards []uint16
}

// beside draws, for each shard that fewer than two of the drawn are known to follow,
// nodes that do: in a large network most nodes follow other shards than this one, and
// have nothing to hide.
func (p *Puller) beside(drawn []protocol.Keeper, shards []uint16) (out []followed) {
	if p.cfg.Followers == nil || len(shards) == 0 {
		return nil
	}
	first := rand.IntN(len(shards)) //nolint:gosec // which shard comes first where there is no room for all
	for i := range shards {
		shard := shards[(first+i)%len(shards)]
		all := p.cfg.Followers(shard)
		missing := sources
		for _, k := range drawn {
			if slices.ContainsFunc(all, func(f protocol.Keeper) bool { return f.Key == k.Key }) {
				missing--
			}
		}
		for _, k := range all {
			if missing <= 0 {
				break
			}
			if slices.ContainsFunc(drawn, func(d protocol.Keeper) bool { return d.Key == k.Key }) {
				continue
			}
			at := slices.IndexFunc(out, func(f followed) bool { return f.node.Key == k.Key })
			switch {
			case at >= 0:
				out[at].shards = append(out[at].shards, shard)
			case len(out) < maxBeside:
				out = append(out, followed{k, []uint16{shard}})
			default:
				continue
			}
			missing--
		}
	}
	return out
}

// turn pulls from one node for a while. again says that there is more to be had.
func (p *Puller) turn(ctx context.Context, from protocol.Keeper, shards []uint16, most time.Duration) (answered, again bool) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	got, err := p.Pull(ctx, from, shards)
	if got > 0 {
		p.cfg.Log.Info("pulled announcements that gossip had not brought", "got", got)
	}
	if err != nil {
		p.cfg.Log.Debug("pull failed", "from", from.Key, "why", err)
		return got > 0, got > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	return true, false
}

// Pull fetches from one node what it has of these shards and this node lacks, and
// passports. got counts announcements that came in fresh.
func (p *Puller) Pull(ctx context.Context, from protocol.Keeper, shards []uint16) (got int, err error) {
	s, err := p.cfg.Client.Sync(ctx, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }() // read to its end
	var full error                   // of a shard that is too large to be compared in one go; the others are not
	for _, shard := range shards {
		in, _, err := p.shard(ctx, s, shard)
		got += len(in.fresh)
		if errors.Is(err, fault.Full) {
			full = err
		} else if err != nil {
			return got, err
		}
	}
	return got, errors.Join(full, p.passports(ctx, s))
}

// refuse notes an id that is not worth pulling for ten minutes. Any other gives way.
func (p *Puller) refuse(id protocol.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for old := range p.refused {
		if len(p.refused) < p.cfg.Refused {
			break
		}
		delete(p.refused, old)
	}
	p.refused[id] = p.cfg.Now() + 10*protocol.Minute
}

func (p *Puller) worthPulling(ids []protocol.Hash) []protocol.Hash {
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []protocol.Hash
	for _, id := range ids {
		if p.refused[id] <= now {
			delete(p.refused, id)
			out = append(out, id)
		}
	}
	return out
}
