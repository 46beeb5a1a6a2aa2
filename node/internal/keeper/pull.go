package keeper

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// Bounds of pulling.
const (
	maxRefused = 8192  // ids that are not pulled again for a while
	maxPulled  = 20000 // announcements of one shard in one pull
	maxVendors = 4096  // vendors asked about in one pull
	pullEvery  = time.Minute
	pullSoon   = time.Second // at start, until somebody was there; doubled each time
	pullWait   = 50 * time.Second
	pullFrom   = 2 // nodes at once
)

// A Reconciler finds out which announcements of a shard another node has and this
// one lacks. Lists does it by comparing lists.
type Reconciler interface {
	Missing(ctx context.Context, s *Session, shard uint16) ([]protocol.Hash, error)
}

// Lists reads the other side's whole list.
type Lists struct{ Board *board.Board }

// Missing implements Reconciler; at most 20,000 ids.
func (l Lists) Missing(ctx context.Context, s *Session, shard uint16) ([]protocol.Hash, error) {
	var missing []protocol.Hash
	var after protocol.Hash
	for seen := 0; seen < maxPulled; {
		ids, more, err := s.List(ctx, shard, after)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if !l.Board.Seen(id) {
				missing = append(missing, id)
			}
		}
		if !more || len(ids) == 0 {
			break
		}
		seen += len(ids)
		after = ids[len(ids)-1]
	}
	return missing, nil
}

// A puller fetches what gossip missed.
type puller struct {
	board  *board.Board
	index  *index
	port   peers.Port
	client Client
	lists  Reconciler
	admit  func(ctx context.Context, raw []byte, topic int, from string) (check.Verdict, check.Reason, error)
	log    *slog.Logger
	now    func() protocol.Second
	nudge  chan struct{} // wakes the loop
	most   int           // refused

	mu      sync.Mutex
	refused map[protocol.Hash]protocol.Second // pulled in vain: not again until then
	shards  []uint16
}

func newPuller(k *Keeper) *puller {
	return &puller{
		board: k.cfg.Board, index: k.index, port: k.cfg.Port, client: k.client(), lists: Lists{k.cfg.Board}, admit: k.Admit,
		log: k.cfg.Log, now: k.now, nudge: make(chan struct{}, 1), most: cmp.Or(k.cfg.Tables.Refused, maxRefused), refused: map[protocol.Hash]protocol.Second{},
	}
}

func (p *puller) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused)
}

func (p *puller) follow(shards []uint16) {
	p.mu.Lock()
	p.shards = slices.Clone(shards)
	p.mu.Unlock()
	wake(p.nudge)
}

// run pulls at start, when the shards change, and every minute.
func (p *puller) run(ctx context.Context) {
	soon := pullSoon
	for ctx.Err() == nil {
		pause := pullEvery
		if !p.once(ctx) {
			pause, soon = soon, min(2*soon, pullEvery)
		}
		select {
		case <-ctx.Done():
		case <-p.nudge:
		case <-time.After(pause):
		}
	}
}

// once pulls all shards from two nodes, and says whether one was there, or there
// was nothing to pull.
func (p *puller) once(ctx context.Context) bool {
	p.mu.Lock()
	shards := p.shards
	p.mu.Unlock()
	done := len(shards) == 0
	for _, from := range p.port.Keepers(pullFrom) {
		ctx, cancel := context.WithTimeout(ctx, pullWait)
		got, err := p.pull(ctx, from, shards)
		cancel()
		if err != nil {
			p.log.Debug("pull failed", "from", from.Key, "why", err)
			continue
		}
		done = true
		if got > 0 {
			p.log.Info("pulled announcements that gossip had not brought", "got", got)
		}
	}
	return done
}

// pull fetches from one node what it has of these shards and this node lacks, and
// passports. got counts announcements that came in fresh.
func (p *puller) pull(ctx context.Context, from protocol.Keeper, shards []uint16) (got int, err error) {
	s, err := p.client.Sync(ctx, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }() // read to its end
	for _, shard := range shards {
		n, err := p.pullShard(ctx, s, shard)
		got += n
		if err != nil {
			return got, err
		}
	}
	return got, p.pullPassports(ctx, s)
}

func (p *puller) pullShard(ctx context.Context, s *Session, shard uint16) (got int, err error) {
	missing, err := p.lists.Missing(ctx, s, shard)
	if err != nil {
		return 0, err
	}
	missing = p.worthPulling(missing)
	for len(missing) > 0 {
		page := missing[:min(fetchPage, len(missing))]
		raws, err := s.Fetch(ctx, page)
		if err != nil {
			return got, err
		}
		came := map[protocol.Hash]bool{}
		for _, raw := range raws {
			came[wire.ID(raw)] = true
			verdict, why, err := p.admit(ctx, raw, int(shard), "")
			switch {
			case err != nil:
				return got, err
			case verdict == check.Blame:
				return got, fmt.Errorf("keeper: pulled an announcement that is wrong: %s: %w", why, fault.Malformed)
			case verdict == check.Pass:
				got++
			case why != check.Early && why != check.Seen:
				p.refuse(wire.ID(raw))
			}
		}
		if len(raws) == 0 {
			return got, nil // gone there in the meantime
		}
		missing = append(left(page, came, len(raws)), missing[len(page):]...)
	}
	return got, nil
}

// left are the ids after the last that came: the answer was full.
func left(page []protocol.Hash, came map[protocol.Hash]bool, n int) []protocol.Hash {
	for i := len(page) - 1; i >= 0; i-- {
		if came[page[i]] {
			if n == len(page) {
				return nil
			}
			return append([]protocol.Hash(nil), page[i+1:]...)
		}
	}
	return nil
}

// refuse notes an id that is not worth pulling for ten minutes. Any other gives way.
func (p *puller) refuse(id protocol.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for old := range p.refused {
		if len(p.refused) < p.most {
			break
		}
		delete(p.refused, old)
	}
	p.refused[id] = p.now() + 10*protocol.Minute
}

func (p *puller) worthPulling(ids []protocol.Hash) []protocol.Hash {
	now := p.now()
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

// pullPassports fetches passports of vendors that this node does not know. A vendor
// that it knows brings newer ones itself.
func (p *puller) pullPassports(ctx context.Context, s *Session) error {
	var after protocol.VendorID
	for seen := 0; seen < maxVendors; {
		ids, more, err := s.Vendors(ctx, after)
		if err != nil {
			return err
		}
		for _, id := range p.worthPulling(ids) {
			if err := p.pullPassport(ctx, s, id); err != nil {
				return err
			}
		}
		if !more || len(ids) == 0 {
			return nil
		}
		seen += len(ids)
		after = ids[len(ids)-1]
	}
	return nil
}

func (p *puller) pullPassport(ctx context.Context, s *Session, id protocol.VendorID) error {
	if p.board.Knows(id) {
		return nil
	}
	raws, err := s.Passports(ctx, id)
	if err != nil {
		return err
	}
	c, err := wire.OpenChain(raws, p.client.Net)
	if err != nil || c.Vendor() != id {
		p.refuse(id)
		return nil
	}
	if err := p.index.keepChain(ctx, c); err != nil {
		p.refuse(id)
	}
	return nil
}
