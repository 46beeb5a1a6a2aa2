package gossip

import (
	"context"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/internal/gossip/score"
)

// A mesh follows whom the router sends messages of each topic to. pubsub tells
// nobody but a tracer.
type mesh struct {
	listener

	mu   sync.Mutex
	of   map[string]map[peer.ID]bool
	news chan struct{} // closed and replaced at every change
}

var _ pubsub.RawTracer = (*mesh)(nil)

func newMesh() *mesh {
	return &mesh{of: map[string]map[peer.ID]bool{}, news: make(chan struct{})}
}

func (m *mesh) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	close(m.news)
	m.news = make(chan struct{})
}

// peers lists who is in the mesh of a topic; more tells when that has changed.
func (m *mesh) peers(topic string) (in []peer.ID, more <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.of[topic] {
		in = append(in, p)
	}
	return in, m.news
}

// size is how many are in the mesh of a topic.
func (m *mesh) size(topic string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.of[topic])
}

// Join implements pubsub.RawTracer.
func (m *mesh) Join(topic string) { m.change(func() { m.of[topic] = map[peer.ID]bool{} }) }

// Leave implements pubsub.RawTracer.
func (m *mesh) Leave(topic string) { m.change(func() { delete(m.of, topic) }) }

// Graft implements pubsub.RawTracer.
func (m *mesh) Graft(p peer.ID, topic string) {
	m.change(func() {
		if in := m.of[topic]; in != nil {
			in[p] = true
		}
	})
}

// Prune implements pubsub.RawTracer.
func (m *mesh) Prune(p peer.ID, topic string) { m.change(func() { delete(m.of[topic], p) }) }

// OnClosedOutboundStream implements pubsub.RawTracer.
func (m *mesh) OnClosedOutboundStream(p peer.ID) {
	m.change(func() {
		for _, in := range m.of {
			delete(in, p)
		}
	})
}

// leave takes whoever leaves a topic out of its mesh at once. The router waits for a PRUNE,
// and one that had left before a GRAFT reached it sends none (the GRAFT is for a topic that
// it is not on): its place would be held for nobody, and in the end it would count as
// silent. It is a pubsub RPC inspector: what it adds, the router reads as the peer's own
// word. The peer's own PRUNE, which follows, sets the pause before the next GRAFT.
func (m *mesh) leave(from peer.ID, rpc *pubsub.RPC) error {
	subs := rpc.GetSubscriptions()
	if len(subs) > maxShards+maxUnknown {
		return nil // the filter refuses it
	}
	gone := map[string]bool{}
	for _, s := range subs {
		if s.GetSubscribe() || gone[s.GetTopicid()] || !m.has(s.GetTopicid(), from) {
			continue
		}
		gone[s.GetTopicid()] = true
		if rpc.Control == nil {
			rpc.Control = &pb.ControlMessage{}
		}
		pause := uint64(1) // seconds
		rpc.Control.Prune = append(rpc.Control.Prune, &pb.ControlPrune{TopicID: s.Topicid, Backoff: &pause})
	}
	return nil
}

// has tells whether a peer is in the mesh of a topic.
func (m *mesh) has(topic string, p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[topic][p]
}

// settleFor is a little more than the heartbeat at which the router takes newcomers
// into its mesh; one of score.MeshLow is left to itself.
const settleFor = 1300 * time.Millisecond

// settle waits for newcomers on a topic to be taken into a mesh that is still
// small: what is published before that never reaches them by gossip, and pull
// takes a minute. Each newcomer is waited for once; in a mesh that stands there is
// no wait at all.
func (g *Gossip) settle(ctx context.Context, t *topic) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for {
		in, more := g.mesh.peers(t.on.String())
		if len(in) >= score.MeshLow || !t.newcomers(in, time.Now()) {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// newcomers tells whether somebody is on the topic, not in the mesh, and was seen
// first a moment ago.
func (t *topic) newcomers(in []peer.ID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.on.ListPeers()
	found := false
	seen := make(map[peer.ID]time.Time, len(here))
	for _, p := range here {
		first, ok := t.seen[p]
		if !ok {
			first = now
		}
		seen[p] = first
		found = found || now.Sub(first) < settleFor && !slices.Contains(in, p)
	}
	t.seen = seen
	return found
}
