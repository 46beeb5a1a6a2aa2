package node

import (
	"context"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/reach"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/outbox"
)

// answer is one of the three.
func answer(n int) string {
	switch {
	case n > 0:
		return desk.Yes
	case n < 0:
		return desk.No
	}
	return desk.NotKnown
}

// Check implements desk.Network.
func (d netDesk) Check(ctx context.Context) (desk.Netcheck, error) {
	v := desk.Netcheck{Checks: []desk.Check{}}
	add := func(name string, is string, format string, args ...any) {
		v.Checks = append(v.Checks, desk.Check{Name: name, Answer: is, Detail: fmt.Sprintf(format, args...)})
	}
	known, connected := d.reached()
	others := ""
	if n := len(d.n.elsewhere()); n > 0 {
		others = fmt.Sprintf("; %d more are of another network", n)
	}
	switch {
	case connected > 0:
		add("public-node", desk.Yes, "%d connected, %d known%s", connected, known, others)
	case time.Since(d.n.began.at) < settleWait:
		add("public-node", desk.NotKnown, "the node has just started; %d known%s", known, others)
	default:
		add("public-node", desk.No, "%d known, none answers%s", known, others)
	}
	v.Usable = connected > 0
	d.n.checkReach(ctx, add)
	for _, w := range d.n.ways() {
		add("way-"+w.Way, w.Works, "%s", d.n.wayDetail(w))
	}
	d.n.checkKeepers(add)
	return v, d.n.checkClock(ctx, add)
}

// settleWait is how long after a start the absence of others says nothing.
const settleWait = 20 * time.Second

func (d netDesk) reached() (known, connected int) {
	if v, ok := d.n.port.(interface{ View() []peers.Known }); ok {
		for _, k := range v.View() {
			if !k.Other.IsZero() {
				continue
			}
			known++
			if k.Connected {
				connected++
			}
		}
		return known, connected
	}
	known = len(d.n.port.Keepers(256))
	return known, known // those of a simulated network are there
}

// reaches tells whether a public node is reached now.
func (n *Node) reaches() bool {
	_, connected := netDesk{n}.reached()
	return connected > 0
}

// checkReach tells how this node reaches others, and others it.
func (n *Node) checkReach(ctx context.Context, add func(name, is, format string, args ...any)) {
	g, ok := n.port.(*gossip.Network)
	if !ok {
		return
	}
	if n.settings.Profile == Public {
		is, detail := reach.Reachable(g.Host)
		add("reachable", answer(is), "%s", detail)
	} else {
		add("reachable", desk.No, "a personal node is not meant to be reached: its mail waits at keepers")
	}
	for i, over := range []reach.Transport{reach.QUIC, reach.TCP} {
		name := []string{"quic", "tcp"}[i]
		switch reach.Probe(ctx, g.Host, over) {
		case 1:
			add(name, desk.Yes, "a public node answers over it")
		case -1:
			add(name, desk.No, "of the public nodes that were tried, none answers over it")
		default:
			add(name, desk.NotKnown, "no public node is known that listens on it")
		}
	}
}

// enoughKeepers is how many keepers of different networks a mailbox wants.
const enoughKeepers = protocol.MaxKeepers

func (n *Node) checkKeepers(add func(name, is, format string, args ...any)) {
	nets := map[string]bool{}
	list := n.port.Keepers(256)
	for _, k := range list {
		nets[address.PrefixOf(k)] = true
	}
	is := desk.No
	switch {
	case len(nets) >= enoughKeepers:
		is = desk.Yes
	case len(list) == 0 && time.Since(n.began.at) < settleWait:
		is = desk.NotKnown
	}
	add("keepers", is, "%d keepers in %d address prefixes; %d of different ones are wanted", len(list), len(nets), enoughKeepers)
}

// checkClock holds this machine's clock against the dates that keepers put into their
// receipts: none can be from before its letter, nor from the future.
func (n *Node) checkClock(ctx context.Context, add func(name, is, format string, args ...any)) error {
	in := n.insides()
	if in == nil {
		add("clock", desk.NotKnown, "the vault is locked, and the receipts of keepers in it")
		return nil
	}
	off := map[key.KeeperKey]bool{}
	now := protocol.Second(n.now().Unix())
	err := in.office.Stores.KV.View(ctx, func(r kv.Reader) error {
		return eachItem(r, in.office.Stores.Outbox, func(it outbox.Item) {
			for _, rec := range it.Receipts {
				early := rec.At+protocol.MaxAnnounceIn < protocol.Second(it.CreatedMS/1000)
				off[rec.Keeper] = off[rec.Keeper] || early || rec.At > now+protocol.MaxAnnounceIn
			}
		})
	})
	wrong := 0
	for _, is := range off {
		if is {
			wrong++
		}
	}
	switch {
	case len(off) == 0:
		add("clock", desk.NotKnown, "no keeper has signed a receipt yet")
	case 2*wrong > len(off):
		add("clock", desk.No, "it differs from that of %d of %d keepers by more than two minutes", wrong, len(off))
	default:
		add("clock", desk.Yes, "it agrees with that of %d of %d keepers", len(off)-wrong, len(off))
	}
	return err
}
