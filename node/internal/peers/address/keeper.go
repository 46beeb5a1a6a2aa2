package address

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Keeper turns libp2p's notion of a node into ours: the Ed25519 key
// out of the peer id, and the best addresses that QUIC or TCP can dial.
func Keeper(info peer.AddrInfo) (protocol.Keeper, error) {
	pub, err := info.ID.ExtractPublicKey()
	if err != nil || pub.Type() != crypto.Ed25519 {
		return protocol.Keeper{}, fmt.Errorf("peer id %s is of no Ed25519 key: %w", info.ID, fault.Malformed)
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != key.PublicSize {
		return protocol.Keeper{}, fmt.Errorf("peer id %s: %w", info.ID, fault.Malformed)
	}
	k := protocol.Keeper{Key: key.KeeperKey(raw)}
	for _, a := range Best(info.Addrs) {
		k.Addrs = append(k.Addrs, a.Bytes())
	}
	return k, nil
}

// ID is the peer id of a keeper key: the key itself, as a protobuf in an identity
// multihash. libp2p's own function hashes and marshals, and this is asked for every
// node that is known, whenever it is looked who is there.
func ID(k key.KeeperKey) peer.ID { return peer.ID("\x00\x24\x08\x01\x12\x20" + string(k[:])) }

// Info is the reverse. Addresses that we cannot dial are left out.
func Info(k protocol.Keeper) peer.AddrInfo {
	info := peer.AddrInfo{ID: ID(k.Key)}
	for _, raw := range k.Addrs[:min(len(k.Addrs), protocol.MaxAddrs)] {
		if len(raw) > protocol.MaxAddr {
			continue
		}
		a, err := ma.NewMultiaddrBytes(raw)
		if err == nil && Dialable(a) {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info
}

// Parse reads "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3…", as others write a
// node that can be reached. The peer id must be that of an Ed25519 key.
func Parse(text string) (protocol.Keeper, error) {
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return protocol.Keeper{}, fmt.Errorf("address %q: %v: %w", text, err, fault.Malformed)
	}
	if len(info.Addrs) == 0 {
		return protocol.Keeper{}, fmt.Errorf("address %q says who, not where: %w", text, fault.Malformed)
	}
	return Keeper(*info)
}

// Texts writes a keeper as Parse reads it, one line for each address.
func Texts(k protocol.Keeper) []string {
	info := Info(k)
	if len(info.Addrs) == 0 {
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

// PrefixOf is the address prefix of a node's first address, as handed to a Handler of
// one that calls from there.
func PrefixOf(k protocol.Keeper) string {
	if len(k.Addrs) == 0 {
		return "unknown"
	}
	a, err := ma.NewMultiaddrBytes(k.Addrs[0])
	if err != nil {
		return "unknown"
	}
	return Prefix(a)
}
