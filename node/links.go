package node

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/internal/peers/reach"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// links are a node's ways to others.
type links struct {
	port peers.Port
	dht  *dht.DHT // nil on most simulated networks, and where this way in is off
}

// openDHT takes part in the network's own DHT. Who takes part is told of others by it
// with every answer, and called by them: where this way in is off there is no part.
func (n *Node) openDHT(ctx context.Context) error {
	g, ok := n.port.(*gossip.Network)
	if !ok || n.cfg.Simulated != nil && !n.cfg.Simulated.DHT {
		return nil
	}
	off, err := n.settings.off()
	if err != nil || off&peers.WayDHT != 0 {
		return err
	}
	cfg := dht.Config{Host: g.Host, Net: n.net, Shards: n.genesis.Shards, Lanes: n.genesis.Lanes, Board: n.board, Log: n.cfg.Log, Now: n.now}
	if n.cfg.Simulated == nil {
		cfg.Book = book{n.cfg.Paths.dht()}
	}
	n.dht, err = dht.Open(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return fmt.Errorf("dht: %w", err)
	}
	return nil
}

// maxAsked is how many public nodes are asked for one thing: two of each way in, and
// two that called here.
const maxAsked = 2 + 2*4

// draw picks public nodes to ask, of every way in.
func (l links) draw() []protocol.Keeper {
	if g, ok := l.port.(*gossip.Network); ok {
		return reach.Draw(g.Host, maxAsked)
	}
	return l.port.Keepers(maxAsked)
}

// shown tells the DHT of a vendor's passports that came to the board.
func (n *Node) shown(c wire.Chain) {
	if n.dht != nil {
		n.dht.Show(c)
	}
}

// join follows shards: by gossip, by pull, and for others to find.
func (n *Node) join(shards []uint16) error {
	if n.dht != nil {
		n.dht.Follow(shards)
	}
	return n.keeper.Join(shards)
}

// fetchAnnouncement looks an announcement up in the DHT and lets it in by the same
// door as any other. Keepers have no question that asks for one by its context.
func (n *Node) fetchAnnouncement(ctx context.Context, c protocol.ContextID) error {
	if n.dht == nil || n.keeper == nil {
		return fmt.Errorf("announcement %x: %w", c[:6], fault.NotFound)
	}
	raw, err := n.dht.Announcement(ctx, c)
	if err != nil {
		return err
	}
	if _, why, err := n.keeper.Admit(ctx, raw, -1, ""); err != nil {
		return err
	} else if _, err := n.board.Get(ctx, c); err != nil {
		return fmt.Errorf("the announcement that was found is not let in (%s): %w", why, fault.NotFound)
	}
	return nil
}

// dhtPassport looks a vendor's passports up where no keeper had them.
func (n *Node) dhtPassport(ctx context.Context, v protocol.VendorID) (wire.Chain, error) {
	if n.dht == nil {
		return wire.Chain{}, fault.NotFound
	}
	return n.dht.Passports(ctx, v)
}
