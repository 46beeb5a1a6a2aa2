package peers

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// ParseAddr reads "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3…", as others write a
// node that can be reached. The peer id must be that of an Ed25519 key.
func ParseAddr(text string) (protocol.Keeper, error) {
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return protocol.Keeper{}, fmt.Errorf("address %q: %v: %w", text, err, fault.Malformed)
	}
	if len(info.Addrs) == 0 {
		return protocol.Keeper{}, fmt.Errorf("address %q says who, not where: %w", text, fault.Malformed)
	}
	return KeeperFromAddrInfo(*info)
}

// AddrTexts writes a keeper as ParseAddr reads it, one line for each address.
func AddrTexts(k protocol.Keeper) []string {
	info, err := AddrInfoFromKeeper(k)
	if err != nil || len(info.Addrs) == 0 {
		return nil // of a node without an address libp2p would write its id alone
	}
	full, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range full {
		out = append(out, a.String())
	}
	return out
}

// KeeperFromAddrInfo turns libp2p's notion of a node into ours: the Ed25519 key
// out of the peer id, and the best addresses that QUIC or TCP can dial.
func KeeperFromAddrInfo(info peer.AddrInfo) (protocol.Keeper, error) {
	pub, err := info.ID.ExtractPublicKey()
	if err != nil || pub.Type() != crypto.Ed25519 {
		return protocol.Keeper{}, fmt.Errorf("peer id %s is of no Ed25519 key: %w", info.ID, fault.Malformed)
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != key.PublicSize {
		return protocol.Keeper{}, fmt.Errorf("peer id %s: %w", info.ID, fault.Malformed)
	}
	k := protocol.Keeper{Key: key.KeeperKey(raw)}
	for _, a := range best(info.Addrs) {
		k.Addrs = append(k.Addrs, a.Bytes())
	}
	return k, nil
}

// AddrInfoFromKeeper is the reverse. Addresses that we cannot dial are left out.
func AddrInfoFromKeeper(k protocol.Keeper) (peer.AddrInfo, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(k.Key[:])
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("keeper key: %v: %w", err, fault.Malformed)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("keeper key: %v: %w", err, fault.Malformed)
	}
	info := peer.AddrInfo{ID: id}
	for _, raw := range k.Addrs[:min(len(k.Addrs), protocol.MaxAddrs)] {
		if len(raw) > protocol.MaxAddr {
			continue
		}
		a, err := ma.NewMultiaddrBytes(raw)
		if err == nil && dialable(a) {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info, nil
}

func privateKey(k key.Private[key.Keeper]) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(k.Seed().Reveal()))
}

// dialable tells whether a is an address of one of our two transports: an IP
// address or a name, then UDP and QUIC, or TCP, and nothing more.
func dialable(a ma.Multiaddr) bool {
	var at []int
	for _, c := range a {
		at = append(at, c.Protocol().Code)
	}
	if len(at) < 2 || !slices.Contains([]int{ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6}, at[0]) {
		return false
	}
	return slices.Equal(at[1:], []int{ma.P_UDP, ma.P_QUIC_V1}) || slices.Equal(at[1:], []int{ma.P_TCP})
}

// A scope is from how far an address can be reached.
type scope int

const (
	loopback scope = iota
	private
	public
)

func scopeOf(ip netip.Addr) scope {
	switch ip = ip.Unmap(); {
	case ip.IsLoopback():
		return loopback
	case ip.IsPrivate() || ip.IsLinkLocalUnicast():
		return private
	}
	return public
}

// ipOf is the IP address in a, not valid where there is a name instead.
func ipOf(a ma.Multiaddr) netip.Addr {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

func addrScope(a ma.Multiaddr) scope {
	if ip := ipOf(a); ip.IsValid() {
		return scopeOf(ip)
	}
	return public // a name
}

// best picks the addresses that others should hear: dialable, short, those that
// are reached from farthest first, QUIC before TCP, at most protocol.MaxAddrs.
func best(all []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range all {
		ip := ipOf(a)
		if !dialable(a) || len(a.Bytes()) > protocol.MaxAddr || ip.IsValid() && ip.IsUnspecified() {
			continue
		}
		if !slices.ContainsFunc(out, a.Equal) {
			out = append(out, a)
		}
	}
	rank := func(a ma.Multiaddr) int {
		n := -4 * int(addrScope(a))
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

// advertised is what a public node says of itself: what it is told to announce,
// or where it listens. Once it has a public address, others have no use for the rest.
func advertised(listen, announce []ma.Multiaddr) []ma.Multiaddr {
	if len(announce) > 0 {
		return best(announce)
	}
	out := best(listen)
	if len(out) > 0 && addrScope(out[0]) == public {
		return slices.DeleteFunc(out, func(a ma.Multiaddr) bool { return addrScope(a) != public })
	}
	return out
}

// prefix is the network to which a caller's budget belongs: /24 of an IPv4
// address, /56 of an IPv6 one, "unknown" where there is no IP address.
func prefix(a ma.Multiaddr) string {
	ip := ipOf(a)
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

// prefixScope is the scope of a caller, by its prefix.
func prefixScope(from string) scope {
	p, err := netip.ParsePrefix(from)
	if err != nil {
		return public
	}
	return scopeOf(p.Addr())
}
