package gossip

import (
	"net"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Scores are penalties only. No topic earns a peer any credit, so good behaviour in
// one topic can't pay for silence or junk in another (the attack of CVE-2022-47547),
// however many topics a network has. Deliveries are not scored: on a topic with less
// than one message a second that would punish honest peers; pull makes up for
// silent ones.
//
//	2 invalid messages: -40, pruned and no longer gossiped with
//	3 invalid messages: -90, not heard at all until that has decayed (an hour)
func scores() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	return &pubsub.PeerScoreParams{
			Topics:                      map[string]*pubsub.TopicScoreParams{}, // filled by Join
			AppSpecificScore:            func(peer.ID) float64 { return 0 },
			IPColocationFactorWeight:    -10,
			IPColocationFactorThreshold: 3,
			IPColocationFactorWhitelist: near(),
			BehaviourPenaltyWeight:      -10,
			BehaviourPenaltyThreshold:   3,
			BehaviourPenaltyDecay:       pubsub.ScoreParameterDecay(10 * time.Minute),
			DecayInterval:               time.Second,
			DecayToZero:                 0.01,
			RetainScore:                 time.Hour,
			SeenMsgTTL:                  seenFor,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold:   -10,
			PublishThreshold:  -50,
			GraylistThreshold: -80,
			AcceptPXThreshold: 1000, // nobody: peers come from package peers
		}
}

func topicScore() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		SkipAtomicValidation:           true,
		TopicWeight:                    1,
		TimeInMeshQuantum:              time.Minute,
		InvalidMessageDeliveriesWeight: -10,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(time.Hour),
	}
}

// near are networks in which many nodes of one operator share an address: this
// machine and private ones, as in tests and offices.
func near() []*net.IPNet {
	var out []*net.IPNet
	for _, s := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		if _, n, err := net.ParseCIDR(s); err == nil {
			out = append(out, n)
		}
	}
	return out
}
