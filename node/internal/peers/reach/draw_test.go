package reach

import (
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

// One honest node on a way is asked within five, whoever fills the others.
func TestNoWayIsCrowdedOut(t *testing.T) {
	node := func(by peers.Way, failing bool) peers.Known {
		return peers.Known{Keeper: protocol.Keeper{Key: key.Generate[key.Keeper]().Public()}, Ways: by, Failing: failing}
	}
	for _, honest := range append([]peers.Way{0}, peers.AllWays...) {
		want := node(honest, false)
		known := []peers.Known{want}
		for _, by := range append([]peers.Way{0}, peers.AllWays...) {
			for range 40 {
				if by != honest {
					known = append(known, node(by, false))
				}
				known = append(known, node(by, true))
			}
		}
		found := false
		for _, k := range draw(known, 5) {
			found = found || k.Key == want.Keeper.Key
		}
		if !found {
			t.Errorf("the honest node of way %d is not asked", honest)
		}
	}
	few := []peers.Known{node(peers.WayCache, true), node(peers.WayDHT, false)}
	if got := draw(few, 9); len(got) != 2 {
		t.Errorf("%d of 2", len(got))
	}
}
