// Package reach finds out how a host reaches others, and others it.
//
//  1. Probe dials public nodes over one transport, beside the connections that there
//     are.
//  2. Reachable tells whether others get through to a public node, by what AutoNAT found
//     out, and what to do where they don't.
package reach

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/relay"
)

// Bounds of a probe.
const (
	probes   = 3 // nodes dialled
	dialWait = 5 * time.Second
)

// A Transport is one of the two ways to carry streams.
type Transport int

// The transports.
const (
	QUIC Transport = ma.P_QUIC_V1
	TCP  Transport = ma.P_TCP
)

// Probe finds out whether a transport works from here: yes (1) where a node answers
// over it, no (-1) where none of those tried does, 0 where none is known that listens
// on it. It opens connections of its own and closes them.
func Probe(ctx context.Context, h *peers.Host, over Transport) int {
	s, ok := h.Libp2p().Network().(*swarm.Swarm)
	if !ok {
		return 0
	}
	for _, c := range s.Conns() {
		if _, err := c.RemoteMultiaddr().ValueForProtocol(int(over)); err == nil && c.Stat().Direction == network.DirOutbound {
			return 1
		}
	}
	tried := 0
	known := h.View()
	slices.SortStableFunc(known, func(a, b peers.Known) int { return rank(a) - rank(b) })
	for _, k := range known {
		info := address.Info(k.Keeper)
		for _, a := range info.Addrs {
			if _, err := a.ValueForProtocol(int(over)); err != nil {
				continue
			}
			if tried++; tried > probes || ctx.Err() != nil {
				return -1
			}
			dial, cancel := context.WithTimeout(ctx, dialWait)
			c, err := s.TransportForDialing(a).Dial(dial, a, info.ID)
			cancel()
			if err == nil {
				_ = c.Close() // it answered
				return 1
			}
			break
		}
	}
	if tried > 0 {
		return -1
	}
	return 0
}

// rank puts those first that are there.
func rank(k peers.Known) int {
	if k.Connected {
		return 0
	}
	return 1
}

// Reachable tells whether others reach this public node, how that is known, and what to
// do where they don't.
func Reachable(h *peers.Host) (is int, detail string) {
	r := h.Relay().Report()
	switch {
	case r.Announced:
		return 1, "its operator says so, of " + list(r.At)
	case r.Verdict == relay.Yes:
		return 1, "others dialled it at " + list(r.At)
	case r.Verdict == relay.No:
		detail = "others dialled it at " + list(r.At) + " and did not get through; "
		if len(r.Relays) == 0 {
			detail += "no relay was found so far"
		} else {
			detail += "it is called by way of " + list(r.Relays)
		}
		return -1, detail + "; let the router forward a port to this machine, and put that address into announce of config.toml"
	}
	for _, c := range h.Libp2p().Network().Conns() {
		if c.Stat().Direction == network.DirInbound && peers.AtHome(h) {
			return 1, "somebody opened a connection to this node, in its own network"
		}
	}
	return 0, "nobody has tried to dial it back yet"
}

func list(at []ma.Multiaddr) string {
	var out []string
	for _, a := range at {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}
