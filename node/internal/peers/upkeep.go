package peers

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

// The pauses of the loop: while too few public nodes are connected, and otherwise.
const (
	hungryPause = time.Second
	calmPause   = 15 * time.Second
	askSoon     = time.Second // at first; doubled each time
	askHungry   = 15 * time.Second
	askCalm     = 5 * time.Minute
	savePause   = time.Minute
	young       = 10 * time.Second // a connection that is not shed yet
)

// target is how many public nodes a node goes to by itself.
func (c Config) target() int {
	if c.Profile == Public {
		return cmp.Or(c.Target, publicTarget)
	}
	return cmp.Or(c.Target, personalTarget)
}

// dialled counts, of the public nodes that are connected, those to which a public
// node went itself: whoever comes by himself, a thousand of them, takes no place
// among these. A personal node goes to all that it is connected with.
func dialled(net network.Network, there []key.KeeperKey) (n int) {
	for _, k := range there {
		if slices.ContainsFunc(net.ConnsToPeer(address.ID(k)), outbound) {
			n++
		}
	}
	return n
}

func outbound(c network.Conn) bool { return c.Stat().Direction == network.DirOutbound }

// shed closes connections that a public node dialled beyond its target: those in no mesh,
// not young, with no stream of ours open. Else every node that was ever asked for
// something would stay connected, and be told by gossip, three times each, of messages
// that it has from its mesh; and what a node spends would grow with the network.
func shed(h *Host, there []key.KeeperKey) {
	extra := dialled(h.host.Network(), there) - h.cfg.target()
	for _, k := range there {
		id := address.ID(k)
		if h.cfg.Profile != Public || extra <= 0 || h.host.ConnManager().IsProtected(id, "") {
			continue
		}
		conns := h.host.Network().ConnsToPeer(id)
		if len(conns) == 0 || slices.ContainsFunc(conns, func(c network.Conn) bool { return !outbound(c) || inUse(c) }) {
			continue
		}
		if err := h.host.Network().ClosePeer(id); err == nil {
			extra--
		}
	}
}

// inUse tells a connection that is young, or has a stream of ours or a circuit.
func inUse(c network.Conn) bool {
	return time.Since(c.Stat().Opened) < young || slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
		return slices.Contains([]wireproto.ID{ProtoMail, ProtoPost, ProtoSync, ProtoBlob, proto.ProtoIDv2Hop, proto.ProtoIDv2Stop}, s.Protocol())
	})
}

// nudge wakes the loop.
func (h *Host) nudge() {
	select {
	case h.kick <- struct{}{}:
	default: // it is awake
	}
}

// keepUp is the loop of step 3.
func (h *Host) keepUp(ctx context.Context) {
	var asked, saved time.Time
	soon := askSoon
	for ctx.Err() == nil {
		now := h.cfg.Now()
		there := slices.DeleteFunc(h.known.keys(), func(k key.KeeperKey) bool { return !h.Connected(k) })
		pause, ask := calmPause, askCalm
		if missing := h.cfg.target() - dialled(h.host.Network(), there); missing > 0 {
			pause, ask = hungryPause, askHungry
			for _, k := range h.known.candidates(min(missing, dialsAtOnce), now, h.Connected) {
				h.hireDial(k)
			}
		} else {
			for _, k := range h.known.probe(now, h.Connected) {
				h.hireDial(k)
			}
		}
		if h.poor.Swap(false) {
			ask = askHungry
		}
		shed(h, there)
		if h.cfg.Off&WayExchange == 0 && len(there) > 0 && now.Sub(asked) > min(soon, ask) {
			asked, soon = now, min(2*soon, askCalm)
			h.hireAsk(there[rand.N(len(there))])
		}
		if now.Sub(saved) > savePause {
			saved = now
			h.save()
		}
		select {
		case <-ctx.Done():
		case <-h.kick:
		case <-time.After(pause):
		}
	}
}

func (h *Host) hireDial(k protocol.Keeper) {
	err := h.upkeep.Hire("peers dial", func(ctx context.Context) {
		defer h.known.dialed(k.Key)
		if _, err := h.connect(ctx, k); err != nil {
			h.cfg.Log.Debug("a public node can't be reached", "keeper", k.Key, "why", err)
		} else if !h.Connected(k.Key) {
			h.known.later(k.Key, h.cfg.Now())
		}
	})
	if err != nil {
		h.known.dialed(k.Key) // later
	}
}

// hireAsk asks a connected node for others; its answer also says whether it is of this
// network, which counts where that way in is off too.
func (h *Host) hireAsk(k key.KeeperKey) {
	if h.cfg.Exchange == nil {
		return
	}
	err := h.upkeep.Hire("peers exchange", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
		defer cancel()
		c, err := h.Dial(ctx, protocol.Keeper{Key: k}, ProtoSync)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }() // read to its end
		told, err := h.cfg.Exchange(ctx, c, k)
		placed(h, k, err)
		if err != nil {
			h.cfg.Log.Debug("no exchange of nodes", "keeper", k, "why", err)
			return
		}
		h.Learn(told, WayExchange)
	})
	if err != nil {
		h.cfg.Log.Debug("too busy to ask for nodes", "why", err)
	}
}

// watch follows who comes and goes.
func (h *Host) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-h.ended.Out():
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				h.meet(e.Peer)
			case event.EvtPeerProtocolsUpdated:
				h.meet(e.Peer)
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness == network.NotConnected {
					h.nudge()
				}
			}
		}
	}
}

// meet notes a connected node that serves others. What it says of its addresses is
// believed as far as the connection shows it: those on the IP address that it has, or
// those at the relay over which it was reached. One that says to sit at relays is not
// reached straight, whatever way was punched to it.
func (h *Host) meet(id peer.ID) {
	serves, err := h.host.Peerstore().SupportsProtocols(id, ProtoSync)
	if err != nil {
		return
	}
	k, err := address.Keeper(peer.AddrInfo{ID: id})
	conns := h.host.Network().ConnsToPeer(id)
	if err != nil || len(conns) == 0 {
		return
	}
	if len(serves) == 0 {
		h.known.servesNothing(k.Key)
		return
	}
	addrs := h.host.Peerstore().Addrs(id)
	sits := slices.ContainsFunc(addrs, address.Circuit)
	if i := slices.IndexFunc(conns, func(c network.Conn) bool { return address.Relayed(c.RemoteMultiaddr()) == sits }); i >= 0 {
		c := conns[i]
		if c.Stat().Direction == network.DirOutbound {
			addrs = append([]ma.Multiaddr{c.RemoteMultiaddr()}, addrs...)
		}
		addrs = slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool { return sits != address.Circuit(a) })
		ask, back := h.known.met(k.Key, address.IPOf(c.RemoteMultiaddr()), addrs, h.cfg.Now())
		if ask {
			h.hireAsk(k.Key)
		}
		if back {
			isBack(h, k.Key)
		}
	} else if sits {
		h.known.sits(k.Key, slices.DeleteFunc(addrs, address.Direct))
	}
}

func (h *Host) save() {
	if h.cfg.Book == nil {
		return
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	if ks, changed := h.known.save(); changed {
		h.cfg.Book.Save(ks)
	}
}
