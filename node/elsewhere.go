package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// elsewhere lists the public nodes that said to be of another network.
func (n *Node) elsewhere() (out []peers.Known) {
	if v, ok := n.port.(interface{ View() []peers.Known }); ok {
		for _, k := range v.View() {
			if !k.Other.IsZero() {
				out = append(out, k)
			}
		}
	}
	return out
}

// elsewhereProblems names those of them that the owner has put on the list: who else calls
// here, or is named by others, is not the owner's concern.
func (n *Node) elsewhereProblems(add func(code, what, fix string)) {
	for _, k := range n.elsewhere() {
		if k.Ways&peers.WayBootstrap == 0 {
			continue
		}
		at := k.Keeper.Key.String()
		if texts := address.Texts(k.Keeper); len(texts) > 0 {
			at = texts[0]
		}
		add("other-network", fmt.Sprintf("the node at %s is of another network (%s; this home is of %s, %q): it counts as no way in", at, shortNet(k.Other), shortNet(n.net), n.genesis.Name),
			"take it out of \"bootstrap\" in network.json (hark paths says where), put the address of a node of this network there, and start again; or, to join that network, make another home with its file: hark init --home FOLDER --network FILE")
	}
}

// shortNet is as much of a network's id as people compare.
func shortNet(h protocol.Hash) string { return hex.EncodeToString(h[:6]) }

// networkKey is where a home remembers of which network it is.
var networkKey = []byte("node/network")

// belongs holds the network file against the network that this home is of, which it
// remembers from its first start on: what was kept, signed and promised in one network
// means nothing in another.
func (n *Node) belongs(ctx context.Context) error {
	return n.store.Update(ctx, func(tx kv.Tx) error {
		was, err := tx.Get(networkKey)
		if errors.Is(err, fault.NotFound) {
			return tx.Put(networkKey, n.net[:])
		}
		if err != nil || string(was) == string(n.net[:]) {
			return err
		}
		return fmt.Errorf("this home is of network %x, and %s is now that of network %s (%q): put the file of its own network back, or make another home for that one with hark init --home FOLDER --network FILE: %w",
			was, n.cfg.Paths.network(), n.net, n.genesis.Name, fault.Conflict)
	})
}

// peerOf shows a public node.
func peerOf(k peers.Known) desk.Peer {
	p := desk.Peer{Key: k.Keeper.Key.String(), Addrs: address.Texts(k.Keeper), Connected: k.Connected, From: k.From}
	if !k.Other.IsZero() {
		p.From = "other network"
	}
	return p
}
