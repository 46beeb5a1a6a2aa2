// Package score holds what a gossip router goes by: how its meshes are kept, what a peer
// earns and pays, and where it ends. Rules are made for a network of so many shards, and
// checked once at start: no credit may outweigh a penalty.
package score

import (
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// SeenFor is how long a router knows a message again.
const SeenFor = 10 * time.Minute

// MeshLow is the number of peers in a topic's mesh below which more are taken in.
const MeshLow = 6

// Rules are all that a router goes by.
type Rules struct {
	Mesh   pubsub.GossipSubParams
	All    *pubsub.PeerScoreParams
	Topic  *pubsub.TopicScoreParams // the same for each topic
	Limits *pubsub.PeerScoreThresholds
	Gater  *pubsub.PeerGaterParams // nil: nobody is kept from saying more than can be judged
}

// MeshParams are gossipsub's parameters as its authors' attack tests had them, for
// topics on which little is said.
//
//	D 8 (6…12)    two more than the default: with a fifth of honest peers among those
//	              connected, a mesh of honest links hangs together
//	Dout 3        links that we dialled, the most that D = 8 permits: whoever only dials
//	              in, be it a thousand times, gets no more than the rest of a mesh
//	Dscore 6      a full mesh keeps first those who brought something first
//	factor 1      ids told, each second, to every peer outside the mesh (so that Dlazy says
//	              nothing), for the …
//	history 6/3   … three seconds after: a message costs 34 bytes each time, to 512 peers at
//	              most (peers.Limits). It is how it gets around a mesh of peers that drop:
//	              whoever sits in such a mesh, with four or five good peers outside it,
//	              hears from the first of them that has a heartbeat. Where a quarter are
//	              told he waits for seconds, and has pulled it before
//	no IDONTWANT  which asks others not to send what this node has: a peer that may
//	              keep quiet can't be told from one that passes nothing on (silence).
//	              It would cost an RPC to each mesh peer for each message, to save one
func MeshParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dout, p.Dscore = 8, MeshLow, 12, 3, 6
	p.GossipFactor, p.HistoryLength, p.HistoryGossip = 1, 6, 3
	p.IDontWantMessageThreshold = math.MaxInt32
	return p
}

// Credit is what a peer can earn in all topics together, penalties are what it pays.
const (
	AllCredit     = 5.0 // in all topics of the network together
	creditFor     = 20  // first deliveries within hours, in each topic
	invalidCost   = 10.0
	AuditPenalty  = 40.0 // of whoever pull-audit found withholding
	SilentPenalty = 8.0  // of whoever passes nothing on, of a topic in whose mesh it is
)

// Limits of a score below zero: 0 takes a peer out of the meshes.
const (
	GossipLimit  = -10.0 // no more gossip with it
	publishLimit = -50.0 // nothing of our own to it
	deafLimit    = -80.0 // nothing is heard from it
)

// For are the rules of a network with so many shards; audit is what a peer owes
// for withholding. Almost all of it is
// penalty. What credit there is, for those who were first to bring something, only
// orders peers among those above zero: all topics together earn less than the
// smallest penalty, so that good behaviour in one topic can't pay for silence or junk
// in another (the attack of CVE-2022-47547), however many topics a network has.
//
//	1 invalid message:  -10, out of the meshes
//	2 invalid messages: -40, no longer gossiped with
//	3 invalid messages: -90, not heard at all until that has decayed (an hour)
//	withheld what others had, or answers no audit: -40 (Blame)
//	passes nothing on in one topic: -8 for an hour, out of the meshes (silence)
//
// The router's own count of missing deliveries is not used: on a topic with less than
// one message a second it would punish honest peers. silence counts by the message
// instead of by the second.
func For(shards uint16, audit func(peer.ID) float64) Rules {
	all := &pubsub.PeerScoreParams{
		Topics:                      map[string]*pubsub.TopicScoreParams{}, // filled by Join
		AppSpecificScore:            audit,
		AppSpecificWeight:           1,
		IPColocationFactorWeight:    -10,
		IPColocationFactorThreshold: 3,
		IPColocationFactorWhitelist: near(),
		BehaviourPenaltyWeight:      -10,
		BehaviourPenaltyThreshold:   3,
		BehaviourPenaltyDecay:       pubsub.ScoreParameterDecay(10 * time.Minute),
		DecayInterval:               time.Second,
		DecayToZero:                 0.01,
		RetainScore:                 time.Hour,
		SeenMsgTTL:                  SeenFor,
	}
	each := &pubsub.TopicScoreParams{
		SkipAtomicValidation:           true,
		TopicWeight:                    1,
		TimeInMeshQuantum:              time.Minute,
		FirstMessageDeliveriesWeight:   AllCredit / creditFor / float64(max(shards, 1)),
		FirstMessageDeliveriesCap:      creditFor,
		FirstMessageDeliveriesDecay:    pubsub.ScoreParameterDecay(6 * time.Hour),
		InvalidMessageDeliveriesWeight: -invalidCost,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(time.Hour),
	}
	limits := &pubsub.PeerScoreThresholds{
		GossipThreshold:             GossipLimit,
		PublishThreshold:            publishLimit,
		GraylistThreshold:           deafLimit,
		AcceptPXThreshold:           1000, // nobody: peers come from package peers
		OpportunisticGraftThreshold: AllCredit / creditFor / float64(max(shards, 1)),
	}
	return Rules{MeshParams(), all, each, limits, pubsub.DefaultPeerGaterParams()}
}

// ErrOffset says that parameters let good behaviour pay for bad.
var ErrOffset = errors.New("credit can pay for misbehaviour")

// Check refuses rules by which a peer on all of shards topics could earn so
// much that its silence or junk in one of them goes unpunished.
func (r Rules) Check(shards uint16) error {
	all, each, limits := r.All, r.Topic, r.Limits
	credit := each.TopicWeight * (each.TimeInMeshWeight*each.TimeInMeshCap + each.FirstMessageDeliveriesWeight*each.FirstMessageDeliveriesCap)
	credit *= float64(max(shards, 1)) // the cap of all topics' sum is no help: it caps what is left after penalties
	junk := func(n float64) float64 { return -each.TopicWeight * each.InvalidMessageDeliveriesWeight * n * n }
	for _, rule := range []struct {
		what       string
		cost, need float64
	}{
		{"one invalid message keeps a peer in the mesh", junk(1), credit},
		{"two invalid messages keep a peer in gossip", junk(2), credit - limits.GossipThreshold},
		{"three invalid messages keep a peer heard", junk(3), credit - limits.GraylistThreshold},
		{"what was withheld keeps a peer in gossip", all.AppSpecificWeight * AuditPenalty, credit - limits.GossipThreshold},
		{"silence keeps a peer in the mesh", all.AppSpecificWeight * SilentPenalty, credit},
		{"breaking the router's rules keeps a peer in the mesh", -all.BehaviourPenaltyWeight, credit},
	} {
		if !(rule.cost > rule.need) || math.IsInf(rule.need, 0) { // NaN is refused too
			return fmt.Errorf("%w: %s: it costs %.1f, and %.1f can be earned or owed", ErrOffset, rule.what, rule.cost, rule.need)
		}
	}
	if each.MeshMessageDeliveriesWeight != 0 {
		full := -each.TopicWeight * each.MeshMessageDeliveriesWeight * each.MeshMessageDeliveriesThreshold * each.MeshMessageDeliveriesThreshold
		if !(full > credit-limits.GossipThreshold) {
			return fmt.Errorf("%w: silence costs %.1f, and %.1f can be earned or owed", ErrOffset, full, credit-limits.GossipThreshold)
		}
	}
	return nil
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
