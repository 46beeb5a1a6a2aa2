package peers

import (
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/relay"
)

// Relay is this node's part in reaching those behind NATs, itself among them.
func (h *Host) Relay() *relay.Service { return h.relay }

// straight are the public nodes that may be asked to relay for this one: those reached
// straight, connected ones first.
func straight(known []Known) (out []peer.AddrInfo) {
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	slices.SortStableFunc(known, func(a, b Known) int {
		switch {
		case a.Connected == b.Connected:
			return 0
		case a.Connected:
			return -1
		}
		return 1
	})
	for _, k := range known {
		info := address.Info(k.Keeper)
		if !k.Failing && slices.ContainsFunc(info.Addrs, address.Direct) {
			info.Addrs = slices.DeleteFunc(info.Addrs, address.Relayed)
			out = append(out, info)
		}
	}
	return out
}

// operator says who runs a node, by its peer id.
func operator(of func(key.KeeperKey) string) func(peer.ID) string {
	if of == nil {
		return nil
	}
	return func(id peer.ID) string {
		k, err := address.Keeper(peer.AddrInfo{ID: id})
		if err != nil {
			return ""
		}
		return of(k.Key)
	}
}
