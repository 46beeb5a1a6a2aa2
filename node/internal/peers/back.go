package peers

import (
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
)

// Bounds of what follows when a node is back.
const (
	maxBack     = 8                // of which nobody has heard yet; the rest is not told of
	reviveEvery = 30 * time.Second // others that were lost are tried again at once, no more often
)

// Back tells of nodes that are connected again after they were reached in vain: the
// network was cut, or they were away, and they may hold what this one lacks. Whoever
// reads it bounds what he does for each: a node can go and come back as often as it likes.
func Back(h *Host) <-chan protocol.Keeper { return h.back }

// isBack tells of a node, and tries some others that were lost, as whatever was between
// may be gone for them too.
func isBack(h *Host, k key.KeeperKey) {
	if at, ok := h.known.get(k); ok {
		select {
		case h.back <- at:
		default: // enough are waiting
		}
	}
	for _, o := range h.known.revive(dialsAtOnce, h.cfg.Now(), h.Connected) {
		h.hireDial(o)
	}
}

// lost tells a node that was reached within a day and now is not.
func (e *entry) lost(now time.Time) bool {
	return e.fails > 0 && !e.reached.IsZero() && now.Sub(e.reached) < freshFor
}

// probe is one lost node, if any, whose pause is over: also a node that has enough
// connections finds out that a part of the network is back.
func (t *table) probe(now time.Time, connected func(key.KeeperKey) bool) []protocol.Keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.draw(1, now, func(k key.KeeperKey) bool { return !t.entries[k].lost(now) || connected(k) })
}

// revive are up to n lost nodes, in random order, whatever their pauses; none where the
// last ones were given out so short a time ago.
func (t *table) revive(n int, now time.Time, connected func(key.KeeperKey) bool) (out []protocol.Keeper) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.revived) < reviveEvery {
		return nil
	}
	var all []*entry
	for k, e := range t.entries {
		if e.lost(now) && !e.dialing && !connected(k) {
			all = append(all, e)
		}
	}
	shuffle(all)
	for _, e := range all[:min(n, len(all))] {
		e.dialing, t.revived = true, now
		out = append(out, e.keeper)
	}
	return out
}
