package peers

import (
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
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

// KeeperFromAddrInfo turns libp2p's notion of a node into ours: the Ed25519 key out of
// the peer id, and the best addresses.
func KeeperFromAddrInfo(info peer.AddrInfo) (protocol.Keeper, error) { return address.Keeper(info) }

// AddrInfoFromKeeper is the reverse. Addresses that we cannot dial are left out.
func AddrInfoFromKeeper(k protocol.Keeper) (peer.AddrInfo, error) { return address.Info(k) }

func privateKey(k key.Private[key.Keeper]) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(k.Seed().Reveal()))
}
