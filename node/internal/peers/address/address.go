// Package address judges addresses of nodes: which of them this program can dial, from
// how far they are reached, which of them others should hear, and to which network a
// caller's address belongs. A place at a relay counts as the relay's: in its network,
// and as far as it.
package address

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Dialable tells whether a is an address that this program can dial: a direct one, or a
// place at a relay.
func Dialable(a ma.Multiaddr) bool { return Direct(a) || Circuit(a) }

// Direct tells whether a is an address of one of our two transports: an IP address or
// a name, then UDP and QUIC, or TCP, and nothing more.
func Direct(a ma.Multiaddr) bool {
	at := codes(a)
	if len(at) < 2 || !slices.Contains([]int{ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6}, at[0]) {
		return false
	}
	return slices.Equal(at[1:], []int{ma.P_UDP, ma.P_QUIC_V1}) || slices.Equal(at[1:], []int{ma.P_TCP})
}

// Bare reads an address of one of our two transports without the key behind it, as a node
// is told where to listen and what to announce.
func Bare(text string) (ma.Multiaddr, error) {
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("%.200q is no address: want one such as /ip4/0.0.0.0/udp/4001/quic-v1: %w", text, fault.Malformed)
	}
	if !Direct(a) {
		return nil, fmt.Errorf("address %.200q is neither QUIC nor TCP: want /ip4/…/udp/…/quic-v1 or /ip4/…/tcp/…, with no /p2p/: %w", text, fault.Malformed)
	}
	return a, nil
}

// Circuit tells whether a is a place at a relay: the relay's direct address, by IP so
// that everybody sees in which network it is, the relay's Ed25519 key, and the word
// p2p-circuit. A relay behind a relay is none, nor is anything after the word.
func Circuit(a ma.Multiaddr) bool {
	n := len(a) - 2
	if n < 2 || a[n].Protocol().Code != ma.P_P2P || a[n+1].Protocol().Code != ma.P_CIRCUIT {
		return false
	}
	id, err := peer.IDFromBytes(a[n].RawValue())
	return err == nil && len(id) == keyID && Direct(a[:n]) && IPOf(a).IsValid()
}

// keyID is how long a peer id is that holds an Ed25519 key.
const keyID = 38

// Relayed tells whether a, of a connection, leads over a relay.
func Relayed(a ma.Multiaddr) bool { return slices.Contains(codes(a), ma.P_CIRCUIT) }

// RelayedAlone tells whether of these addresses, in binary form, there are some that lead
// over relays, and none that leads straight.
func RelayedAlone(raw [][]byte) bool {
	some := false
	for _, b := range raw {
		a, err := ma.NewMultiaddrBytes(b)
		if err == nil && Direct(a) {
			return false
		}
		some = some || err == nil && Circuit(a)
	}
	return some
}

func codes(a ma.Multiaddr) (at []int) {
	for _, c := range a {
		at = append(at, c.Protocol().Code)
	}
	return at
}

// A Scope is from how far an address can be reached.
type Scope int

// The scopes, nearest first.
const (
	Loopback Scope = iota
	Private
	Public
)

// ScopeOf is the scope of an IP address.
func ScopeOf(ip netip.Addr) Scope {
	switch ip = ip.Unmap(); {
	case ip.IsLoopback():
		return Loopback
	case ip.IsPrivate() || ip.IsLinkLocalUnicast():
		return Private
	}
	return Public
}

// IPOf is the IP address in a, not valid where there is a name instead.
func IPOf(a ma.Multiaddr) netip.Addr {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// AddrScope is the scope of a multiaddr. A name counts as public.
func AddrScope(a ma.Multiaddr) Scope {
	if ip := IPOf(a); ip.IsValid() {
		return ScopeOf(ip)
	}
	return Public // a name
}

// Best picks the addresses that others should hear: dialable, short, those that
// are reached from farthest first, straight before relayed, QUIC before TCP, at most
// protocol.MaxAddrs.
func Best(all []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range all {
		ip := IPOf(a)
		if !Dialable(a) || len(a.Bytes()) > protocol.MaxAddr || ip.IsValid() && ip.IsUnspecified() {
			continue
		}
		if !slices.ContainsFunc(out, a.Equal) {
			out = append(out, a)
		}
	}
	rank := func(a ma.Multiaddr) int {
		n := -8 * int(AddrScope(a))
		if Relayed(a) {
			n += 4
		}
		if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err != nil {
			n += 2
		}
		if a[0].Protocol().Code == ma.P_IP6 {
			n++
		}
		return n
	}
	slices.SortStableFunc(out, func(a, b ma.Multiaddr) int { return rank(a) - rank(b) })
	return out[:min(len(out), protocol.MaxAddrs)]
}

// Advertised is what a public node says of itself: what it is told to announce,
// or where it listens. Once it has a public address, others have no use for the rest.
func Advertised(listen, announce []ma.Multiaddr) []ma.Multiaddr {
	if len(announce) > 0 {
		return Best(announce)
	}
	out := Best(listen)
	if len(out) > 0 && AddrScope(out[0]) == Public {
		return slices.DeleteFunc(out, func(a ma.Multiaddr) bool { return AddrScope(a) != Public })
	}
	return out
}

// Prefix is the network to which a caller's budget belongs: /24 of an IPv4
// address, /56 of an IPv6 one, "unknown" where there is no IP address.
func Prefix(a ma.Multiaddr) string {
	ip := IPOf(a)
	if !ip.IsValid() {
		return "unknown"
	}
	bits := 24
	if ip.Is6() {
		bits = 56
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// PrefixScope is the scope of a caller, by its prefix.
func PrefixScope(from string) Scope {
	p, err := netip.ParsePrefix(from)
	if err != nil {
		return Public
	}
	return ScopeOf(p.Addr())
}
