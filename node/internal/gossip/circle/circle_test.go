package circle

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestACircleIsEverybodyUntilItIsClosed: scores decide, not a list; only who is surrounded
// gossips with nobody else.
func TestACircleIsEverybodyUntilItIsClosed(t *testing.T) {
	var c Circle
	if c.Contains("anybody") || c.Add("somebody") || c.Contains("somebody") {
		t.Error("somebody is kept out")
	}
	c.Close(func(id peer.ID) bool { return id == "censor" })
	if c.Contains("censor") || !c.Contains("anybody") {
		t.Error("it is not closed")
	}
}
