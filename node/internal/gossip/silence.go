package gossip

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// When a peer in a mesh counts as silent.
const (
	judgedBy    = 20               // watched messages of one topic, all while it was in the mesh: it brought none
	bringers    = 2                // peers that brought a message, before it says anything about a third
	watchPause  = 3 * time.Second  // at least, and …
	watchSpread = 4 * time.Second  // … at most so much more, between two watched messages of one topic
	watchFor    = 30 * time.Second // how late a peer may bring what another brought
	maxWatched  = 8                // messages of one topic at once, and as many that are being judged
	maxBringers = 128              // peers noted of one message
	maxAccounts = 4096             // pairs of a peer and a topic
	accountFor  = time.Hour        // after the last message that counted
	vouchFor    = 10 * time.Minute // after it, who brought something is not audited for that
)

// A silence watches which peers in the meshes bring anything. It implements
// pubsub.RawTracer, and costs no packet.
//
//  1. Of what arrives on a topic a message is watched every five seconds or so, drawn by
//     chance: who brought it, first or again, within half a minute.
//  2. One that a single peer brought says nothing: this node may be the first that heard
//     it, and whoever heard it from here does not send it back. One that two brought,
//     independently of this node, was on its way through the mesh.
//  3. It counts against each peer that was in the mesh all that time and brought
//     nothing. An honest one fails now and then, when this node was its fastest way;
//     it does not fail twenty times in a row.
//
// Who passes on one message in twenty is not found, nor who sends back at once what it was
// sent: neither can be told from an honest peer on a slow link. Pull makes up for them.
//
// What others are told they need not send, they can't be missed for: this node sends no
// IDONTWANT (score.MeshParams). Ids that a peer offers don't count: who offers what is missing
// here is asked for it, and brings it.
type silence struct {
	listener

	mesh  *mesh
	now   func() time.Time
	found func(p peer.ID, topic string) // must not block

	mu      sync.Mutex
	most    int                  // accounts
	watched map[string]*watching // by topic; those that were joined
	of      map[pair]account
}

type pair struct {
	peer  peer.ID
	topic string
}

// An account is what a peer brought of the last messages that counted: a bit each.
type account struct {
	brought uint32
	n       int
	last    time.Time
}

// A watching is what is watched of a topic.
type watching struct {
	next time.Time // before it nothing more is
	list []*sample // oldest first
}

// A sample is a message that is watched.
type sample struct {
	id      string
	at      time.Time
	owed    []peer.ID // who was in the mesh then
	brought []peer.ID
	kept    bool // it passed the door
}

var _ pubsub.RawTracer = (*silence)(nil)

func newSilence(m *mesh, now func() time.Time, found func(peer.ID, string)) *silence {
	return &silence{mesh: m, now: now, found: found, most: maxAccounts, watched: map[string]*watching{}, of: map[pair]account{}}
}

// fill is how many accounts are kept, and the most that can be.
func (s *silence) fill() (n, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.of), s.most
}

// Join implements pubsub.RawTracer.
func (s *silence) Join(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[topic] = &watching{}
}

// Leave implements pubsub.RawTracer.
func (s *silence) Leave(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, topic)
}

// ValidateMessage implements pubsub.RawTracer: a message came first, and is to be
// judged. Others may bring it before it is.
func (s *silence) ValidateMessage(m *pubsub.Message) {
	topic := m.GetTopic()
	in, _ := s.mesh.peers(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if w := s.watched[topic]; w != nil && !now.Before(w.next) && len(w.list) < 2*maxWatched {
		w.list = append(w.list, &sample{id: m.ID, at: now, owed: in, brought: []peer.ID{m.ReceivedFrom}})
	}
}

// DeliverMessage implements pubsub.RawTracer: it passed the door. The first that does
// after the pause is the one that is watched.
func (s *silence) DeliverMessage(m *pubsub.Message) {
	topic := m.GetTopic()
	in, _ := s.mesh.peers(topic)
	s.mu.Lock()
	silent := s.settle(topic, in)
	now := s.now()
	if w := s.watched[topic]; w != nil {
		for _, one := range w.list {
			if one.id == m.ID && !one.kept && !now.Before(w.next) {
				one.kept, w.next = true, now.Add(watchPause+rand.N(watchSpread)) //nolint:gosec // nobody gains much by a guess
			}
		}
		w.drop(m.ID)
	}
	s.mu.Unlock()
	for _, p := range silent {
		s.found(p, topic)
	}
}

// RejectMessage implements pubsub.RawTracer: what nobody should pass on says nothing.
func (s *silence) RejectMessage(m *pubsub.Message, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watched[m.GetTopic()]; w != nil {
		w.drop(m.ID)
	}
}

// drop forgets a message that was judged and is not watched.
func (w *watching) drop(id string) {
	w.list = slices.DeleteFunc(w.list, func(one *sample) bool { return one.id == id && !one.kept })
}

// DuplicateMessage implements pubsub.RawTracer: it came again.
func (s *silence) DuplicateMessage(m *pubsub.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watched[m.GetTopic()]
	if w == nil {
		return
	}
	for _, one := range w.list {
		// Each peer is noted once, and no stranger makes the list long.
		if one.id == m.ID && len(one.brought) < maxBringers && !slices.Contains(one.brought, m.ReceivedFrom) {
			one.brought = append(one.brought, m.ReceivedFrom)
		}
	}
}

// settle counts the messages that were watched for long enough, for and against those
// who were in the mesh from then until now. Called with mu held.
func (s *silence) settle(topic string, in []peer.ID) (silent []peer.ID) {
	w, now := s.watched[topic], s.now()
	for w != nil && len(w.list) > 0 && now.Sub(w.list[0].at) >= watchFor {
		one := w.list[0]
		w.list = w.list[1:]
		if !one.kept || len(one.brought) < bringers {
			continue
		}
		for _, p := range one.owed {
			if slices.Contains(in, p) && s.count(pair{p, topic}, slices.Contains(one.brought, p), now) {
				silent = append(silent, p)
			}
		}
	}
	return silent
}

// count adds a message to an account, and tells whether that peer is silent. Its
// account begins anew then. Called with mu held.
func (s *silence) count(of pair, brought bool, now time.Time) (silent bool) {
	a, ok := s.of[of]
	if !ok {
		s.makeRoom(now)
	}
	if now.Sub(a.last) > accountFor {
		a = account{}
	}
	a.brought <<= 1
	if brought {
		a.brought |= 1
	}
	a.brought &= 1<<judgedBy - 1
	a.n, a.last = min(a.n+1, judgedBy), now
	if a.n == judgedBy && a.brought == 0 {
		a, silent = account{last: now}, true
	}
	s.of[of] = a
	return silent
}

// brings tells whether a peer brought one of the last messages that counted on a topic.
func (s *silence) brings(p peer.ID, topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.of[pair{p, topic}]
	return ok && a.brought != 0 && s.now().Sub(a.last) < vouchFor
}

// makeRoom forgets accounts whose time is over, or else the one that rests longest.
func (s *silence) makeRoom(now time.Time) {
	if len(s.of) < s.most {
		return
	}
	var oldest pair
	for of, a := range s.of {
		if now.Sub(a.last) > accountFor {
			delete(s.of, of)
		} else if o, ok := s.of[oldest]; !ok || a.last.Before(o.last) {
			oldest = of
		}
	}
	if len(s.of) >= s.most {
		delete(s.of, oldest)
	}
}

// ThrottlePeer implements pubsub.RawTracer: this node is too busy to hear a peer, which
// can't be blamed for what was dropped here.
func (s *silence) ThrottlePeer(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watched {
		for _, one := range w.list {
			one.owed = slices.DeleteFunc(slices.Clone(one.owed), func(o peer.ID) bool { return o == p })
		}
	}
}

// least is the smallest number of the last judgedBy messages that a peer brought, -1
// where no account is full.
func (s *silence) least() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := -1
	for _, a := range s.of {
		if n := bits.OnesCount32(a.brought); a.n == judgedBy && (least < 0 || n < least) {
			least = n
		}
	}
	return least
}
