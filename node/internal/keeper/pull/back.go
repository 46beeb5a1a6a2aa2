package pull

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/harkmarket/hark/protocol"
)

// Bounds of visits to nodes that are back. A node can go and come back as often as it
// likes, under as many keys as it likes: what it gets by that is these few visits.
const (
	maxBack    = 4               // visits that follow each other; then one each
	backEvery  = 15              // seconds
	backJitter = 3 * time.Second // a node that was away is not asked by all at once
)

// Back says that a node is back which was lost for a while: the network was cut between
// it and this one, and it may have what this one lacks. It is visited soon, if the
// bounds allow it; else the next round has to do. It never blocks.
func (p *Puller) Back(k protocol.Keeper) {
	select {
	case p.back <- k:
	default: // enough are waiting
	}
}

// Returns visits nodes that are back, beside the rounds of Run: these stay as they are,
// whoever comes and goes.
func (p *Puller) Returns(ctx context.Context) {
	left := visits{left: maxBack * backEvery, at: p.cfg.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-p.back:
			shards := p.follows()
			if len(shards) == 0 || !left.take(p.cfg.Now()) {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(rand.N(backJitter)): //nolint:gosec // when, nothing more
			}
			p.turn(ctx, k, shards, visit)
		}
	}
}

// visits are how many seconds' worth of visits are left at a moment.
type visits struct{ left, at protocol.Second }

// take takes one, if there is one left. A clock that was set back gives none.
func (v *visits) take(now protocol.Second) bool {
	v.left = min(maxBack*backEvery, v.left+max(now, v.at)-v.at)
	v.at = now
	if v.left < backEvery {
		return false
	}
	v.left -= backEvery
	return true
}
