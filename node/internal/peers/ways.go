package peers

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Way is how a node comes to know of public nodes: four, which do not depend on
// each other. As a set it is several of them.
type Way uint8

// The ways in.
const (
	WayBootstrap Way = 1 << iota // the list in the network file
	WayCache                     // what was reached in an earlier run
	WayExchange                  // what nodes that we are connected with name
	WayDHT                       // providers of keepers, and the DHT's own list of an earlier run
)

// AllWays are they, in this order.
var AllWays = []Way{WayBootstrap, WayCache, WayExchange, WayDHT}

func (w Way) String() string {
	switch w {
	case WayBootstrap:
		return "bootstrap"
	case WayCache:
		return "cache"
	case WayExchange:
		return "exchange"
	case WayDHT:
		return "dht"
	}
	return "several"
}

// WaysOf reads names of ways in, at least one.
func WaysOf(names []string) (ways Way, err error) {
	for _, name := range names {
		i := slices.IndexFunc(AllWays, func(w Way) bool { return w.String() == name })
		if i < 0 {
			return 0, fmt.Errorf("%q is no way in; the four are %v, %v, %v and %v: %w", name, AllWays[0], AllWays[1], AllWays[2], AllWays[3], fault.Malformed)
		}
		ways |= AllWays[i]
	}
	if ways == 0 {
		return 0, fmt.Errorf("without any way in a node finds nobody; name some of %v, %v, %v and %v: %w", AllWays[0], AllWays[1], AllWays[2], AllWays[3], fault.Malformed)
	}
	return ways, nil
}

// A WayReport is what came of a way in.
type WayReport struct {
	Way     Way
	Off     bool
	Asked   bool // it has been tried, or had something to say
	Known   int  // nodes that it named
	Reached int  // of these, reached within a day
	Failed  int  // of these, tried and not reached since
	Last    time.Time
}

// Works is yes (1) where a node that the way named was reached within a day, no (-1)
// where it was tried and there is none, and 0 where nobody can know yet.
func (r WayReport) Works() int {
	switch {
	case r.Reached > 0:
		return 1
	case r.Off, r.Asked && r.Known == r.Failed:
		return -1
	}
	return 0
}

// Ways tells what came of each way in.
func (h *Host) Ways() []WayReport {
	out := h.known.ways(h.cfg.Now())
	for i := range out {
		out[i].Off = h.cfg.Off&out[i].Way != 0
	}
	return out
}

func (t *table) ways(now time.Time) []WayReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]WayReport, len(AllWays))
	for i, w := range AllWays {
		out[i] = WayReport{Way: w, Asked: t.news&w != 0}
		for _, e := range t.entries {
			if e.ways&w == 0 {
				continue
			}
			out[i].Known++
			switch {
			case e.fails > 0:
				out[i].Failed++
			case now.Sub(e.reached) < freshFor:
				out[i].Reached++
			}
			if e.reached.After(out[i].Last) {
				out[i].Last = e.reached
			}
		}
	}
	return out
}

// Worth keeps of addresses that strangers named those that this node may dial: of
// its own transports, and no nearer than the nodes with which it deals, so that
// nobody can make a node of the wide world knock at doors of its own house.
func Worth(h *Host, all []ma.Multiaddr) []ma.Multiaddr {
	far := horizon(h)
	return slices.DeleteFunc(address.Best(all), func(a ma.Multiaddr) bool { return address.AddrScope(a) < far })
}

// horizon is the farthest scope from which this node can be reached, or, of a node
// that can't, the nearest of those to whom it is connected. One that stands behind a NAT
// and went out into the wide world is of the wide world.
func horizon(h *Host) address.Scope {
	if outside(h) {
		return address.Public
	}
	if self := h.Self(); len(self.Addrs) > 0 {
		if a, err := ma.NewMultiaddrBytes(self.Addrs[0]); err == nil {
			return address.AddrScope(a)
		}
	}
	nearest := address.Public
	for _, c := range h.host.Network().Conns() {
		if ip := address.IPOf(c.RemoteMultiaddr()); ip.IsValid() {
			nearest = min(nearest, address.ScopeOf(ip))
		}
	}
	return nearest
}

// outside tells whether a public node went to another at a public address.
func outside(h *Host) bool {
	return h.cfg.Profile == Public && slices.ContainsFunc(h.host.Network().Conns(), func(c network.Conn) bool {
		return outbound(c) && !HomeAddr(c.RemoteMultiaddr())
	})
}

// AtHome tells whether a host can be reached on this machine or in a private network
// alone, and went no further itself.
func AtHome(h *Host) bool {
	if outside(h) {
		return false
	}
	self := h.Self()
	for _, raw := range self.Addrs {
		if a, err := ma.NewMultiaddrBytes(raw); err == nil && !HomeAddr(a) {
			return false
		}
	}
	return len(self.Addrs) > 0
}

// HomeAddr tells whether an address lies on this machine or in a private network.
func HomeAddr(a ma.Multiaddr) bool { return address.AddrScope(a) != address.Public }

// Home tells whether an address prefix, as handed to a Handler, lies on this machine
// or in a private network.
func Home(from string) bool {
	p, err := netip.ParsePrefix(from)
	return err == nil && address.ScopeOf(p.Addr()) != address.Public
}
