package score

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func nobody(peer.ID) float64 { return 0 }

// bad are rules by which good behaviour pays for bad. The first are those of the
// attack of CVE-2022-47547, and of gossipsub's own attack tests on several topics.
var bad = map[string]func(r *Rules){
	"credit as in the attack tests": func(r *Rules) {
		r.Topic.FirstMessageDeliveriesWeight, r.Topic.FirstMessageDeliveriesCap = 0.664, 1500
	},
	"credit that no cap of all topics mends": func(r *Rules) {
		r.All.TopicScoreCap, r.Topic.FirstMessageDeliveriesWeight, r.Topic.FirstMessageDeliveriesCap = 1, 0.5, 60
	},
	"time in the mesh": func(r *Rules) {
		r.Topic.TimeInMeshWeight, r.Topic.TimeInMeshQuantum, r.Topic.TimeInMeshCap = 0.03, time.Second, 3600
	},
	"junk that costs nothing":     func(r *Rules) { r.Topic.InvalidMessageDeliveriesWeight = 0 },
	"an audit that costs nothing": func(r *Rules) { r.All.AppSpecificWeight = 0 },
	"a limit that nobody reaches": func(r *Rules) { r.Limits.GraylistThreshold = -1e6 },
	"a topic that counts as none": func(r *Rules) { r.Topic.TopicWeight = 0 },
	"no number":                   func(r *Rules) { r.Topic.FirstMessageDeliveriesWeight = math.NaN() },
	"silence that credit outweighs": func(r *Rules) {
		r.Topic.MeshMessageDeliveriesWeight, r.Topic.MeshMessageDeliveriesThreshold = -0.1, 5
	},
	"free breaking of rules": func(r *Rules) { r.All.BehaviourPenaltyWeight = 0 },
}

// TestCreditPaysForNothing: rules by which good behaviour in one topic pays for silence or
// junk in another are refused, and those of a network of any size pass.
func TestCreditPaysForNothing(t *testing.T) {
	for name, spoil := range bad {
		r := For(16, nobody)
		spoil(&r)
		if err := r.Check(16); !errors.Is(err, ErrOffset) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, shards := range []uint16{0, 1, 8, 16, 64, 1024, math.MaxUint16} {
		r := For(shards, nobody)
		if err := r.Check(shards); err != nil {
			t.Fatalf("%d shards: %v", shards, err)
		}
	}
}
