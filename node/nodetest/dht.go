package nodetest

import (
	"context"
	"slices"
	"sync"

	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/protocol"
)

// A table is a member's part in the DHT of a simulated world.
type table struct {
	DHT  *dht.DHT // of a running node; nil: none
	list list
}

// tableOf is a node's way into the DHT.
func tableOf(m *Member) func(context.Context, dht.Config) (*dht.DHT, error) {
	return func(ctx context.Context, cfg dht.Config) (d *dht.DHT, err error) {
		cfg.Book, cfg.Limits = &m.list, m.w.TableLimits
		m.DHT, err = dht.Open(ctx, cfg)
		return m.DHT, err
	}
}

// BoundTables lets the DHT of the nodes that are started from now on hold so many bytes of
// announcements, as many of passports and of provider records.
func BoundTables(w *World, bytes int) {
	w.TableLimits = dht.DefaultLimits
	w.TableLimits.AnnBytes, w.TableLimits.PassportBytes, w.TableLimits.ProviderBytes = bytes, bytes, bytes
}

// A list is a peers.Book in memory: what a node kept is there at its next start.
type list struct {
	mu  sync.Mutex
	all []protocol.Keeper
}

// Load implements peers.Book.
func (l *list) Load() []protocol.Keeper {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// Save implements peers.Book.
func (l *list) Save(all []protocol.Keeper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Clone(all)
}
