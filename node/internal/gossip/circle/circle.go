// Package circle is whom a node gossips with, whoever else it is connected with: everybody,
// unless an experiment surrounds it, to show what comes of a mesh that is all an attacker's.
package circle

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A Circle is everybody until Close. It is a pubsub.Blacklist.
type Circle struct {
	in atomic.Pointer[func(peer.ID) bool]
}

// Close lets the node gossip with those alone of whom in says so. It is called before
// anybody is connected, or never.
func (c *Circle) Close(in func(peer.ID) bool) { c.in.Store(&in) }

// Add implements pubsub.Blacklist. Nobody is put on it: peers are scored.
func (*Circle) Add(peer.ID) bool { return false }

// Contains implements pubsub.Blacklist: it tells who is kept out.
func (c *Circle) Contains(id peer.ID) bool {
	in := c.in.Load()
	return in != nil && !(*in)(id)
}
