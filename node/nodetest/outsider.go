package nodetest

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
)

// An Outsider takes part in the gossip of a simulated world with the program's own
// router, and is no node: it keeps nothing and answers no question. A Sybil is one that
// drops what it hears.
type Outsider struct {
	w      *World
	gossip *gossip.Network
}

// Outsider lets one in. hear is told of each announcement that it hears first from
// somebody, and decides whether it is passed on; from is the member who told it, nil
// where it is another outsider. It dials out to so many public nodes.
func (w *World) Outsider(dials int, hear func(raw []byte, from *Member) (passOn bool)) (*Outsider, error) {
	ctx, place := context.Background(), w.sim.settle(nil)
	net, err := w.ID()
	if err != nil {
		return nil, err
	}
	o := &Outsider{w: w}
	w.sim.outside++
	secret := w.drawn("an outsider", w.sim.outside)
	o.gossip, err = gossip.Open(ctx, peers.Config{
		Profile: peers.Public, Key: key.FromSeed[key.Keeper](secret), Listen: []string{place.host.Listen()}, Bootstrap: w.sim.public, Target: dials,
		Options: place.host.Options(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}, net, w.Genesis.Shards)
	if err != nil {
		return nil, err
	}
	var all []uint16
	for i := range w.Genesis.Shards {
		all = append(all, i)
	}
	err = o.gossip.Join(all, func(_ context.Context, raw []byte, _ uint16, from string) uint8 {
		if hear(raw, w.behind(from)) {
			return 0
		}
		return 1
	})
	return o, err
}

// behind finds the member with an address in a prefix: each has one of its own.
func (w *World) behind(prefix string) *Member {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return nil
	}
	for _, m := range w.nodes {
		if p.Contains(m.host.IP()) {
			return m
		}
	}
	return nil
}

// Company tells how many connections a running member has, and how many places there
// are in its meshes: with members of the world, and with these outsiders.
func (m *Member) Company(outside []*Outsider) (links, mesh [2]int) {
	known := map[peer.ID]int{}
	for _, o := range outside {
		known[o.gossip.Libp2p().ID()] = 1
	}
	for _, c := range m.Gossip.Libp2p().Network().Conns() {
		links[known[c.RemotePeer()]]++
	}
	for shard := range m.w.Genesis.Shards {
		for _, p := range m.Gossip.Gossip.Mesh(shard) {
			mesh[known[p]]++
		}
	}
	return links, mesh
}

// Close takes the outsider off the network.
func (o *Outsider) Close() error { return o.gossip.Close(context.Background()) }
