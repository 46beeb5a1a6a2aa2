package peers

import (
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

// A Known is a public node that this one knows, for people's eyes.
type Known struct {
	Keeper    protocol.Keeper
	Connected bool
	From      string        // bootstrap, reached or told
	Ways      Way           // that named it; none: it called here
	Failing   bool          // since it was last reached, a dial failed
	Other     protocol.Hash // the network that it is of, where that is another
}

// View lists the table of known nodes, in order of their keys.
func (h *Host) View() []Known {
	out := h.known.view()
	for i := range out {
		out[i].Connected = out[i].Other.IsZero() && h.Connected(out[i].Keeper.Key)
	}
	return out
}

func (t *table) view() []Known {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Known, 0, len(t.entries))
	for _, e := range t.entries {
		k := Known{Keeper: e.keeper, From: "told", Ways: e.ways, Failing: e.fails > 0, Other: e.other}
		switch {
		case e.bootstrap:
			k.From = "bootstrap"
		case !e.reached.IsZero():
			k.From = "reached"
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Known) int { return slices.Compare(a.Keeper.Key[:], b.Keeper.Key[:]) })
	return out
}

// PeerID is the libp2p form of a keeper key.
func PeerID(k key.KeeperKey) string {
	return address.ID(k).String()
}
