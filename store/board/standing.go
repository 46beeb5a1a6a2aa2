package board

import (
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
)

// A Standing is what memory knows of one announcement.
type Standing struct {
	Context protocol.ContextID
	HeardMS int64
	Ours    bool // see Board.Ours
}

// For says which keeper's board this is. From now on the board remembers, on disk too,
// which contexts named that keeper: a withdrawal names nobody, and is still that
// keeper's to hand on.
func (b *Board) For(self key.KeeperKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.self = self
}

// Ours reports whether the latest open version of a context that was kept here named
// the keeper whose board this is.
func (b *Board) Ours(id protocol.ContextID) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	e := b.entries[id]
	return e != nil && e.Ours
}

// names tells whether an open announcement names the keeper whose board this is. Called
// with mu held.
func (b *Board) names(a *protocol.Announcement) bool {
	return !b.self.IsZero() && slices.ContainsFunc(a.Keepers, func(k protocol.Keeper) bool { return k.Key == b.self })
}

// Standings lists what stands here, withdrawals too, by context from the one after the
// given: at most limit, and never more than MaxIDs.
func (b *Board) Standings(after protocol.ContextID, limit int) (list []Standing) {
	limit = min(limit, MaxIDs)
	b.mu.RLock()
	defer b.mu.RUnlock()
	for x := range b.contexts.after(protocol.Hash(after)) {
		if len(list) >= limit {
			break
		}
		e := b.entries[protocol.ContextID(x)]
		list = append(list, Standing{e.context, e.HeardMS, e.Ours})
	}
	return list
}
