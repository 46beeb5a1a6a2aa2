package gossip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/internal/gossip/score"
)

// A watchtower is a silence with a clock of its own and the mesh a, b, c, quiet.
type watchtower struct {
	*silence
	at    time.Time
	n     int
	found []peer.ID
}

const watchedTopic = "topic"

func newWatchtower() *watchtower {
	w := &watchtower{at: time.Unix(1e9, 0)}
	m := newMesh()
	m.Join(watchedTopic)
	for _, p := range []peer.ID{"a", "b", "c", "quiet"} {
		m.Graft(p, watchedTopic)
	}
	w.silence = newSilence(m, func() time.Time { return w.at }, func(p peer.ID, _ string) { w.found = append(w.found, p) })
	w.Join(watchedTopic)
	return w
}

func from(p peer.ID, id int) *pubsub.Message {
	topic := watchedTopic
	return &pubsub.Message{Message: &pb.Message{Topic: &topic}, ID: fmt.Sprint(id), ReceivedFrom: p}
}

// brings has a message brought by these, in turn.
func (w *watchtower) brings(first peer.ID, then ...peer.ID) {
	w.n++
	w.at = w.at.Add(10 * time.Second)
	w.ValidateMessage(from(first, w.n))
	for i, p := range then {
		if i == 1 {
			w.DeliverMessage(from(first, w.n)) // the first of the others came while it was judged
		}
		w.DuplicateMessage(from(p, w.n))
	}
	if len(then) < 2 {
		w.DeliverMessage(from(first, w.n))
	}
}

func TestSilenceIsFound(t *testing.T) {
	for name, one := range map[string]struct {
		message func(w *watchtower, i int)
		want    []peer.ID
	}{
		"one brings nothing":            {func(w *watchtower, _ int) { w.brings("a", "b", "c") }, []peer.ID{"quiet"}},
		"one brings one in twenty-five": {func(w *watchtower, i int) { w.brings("a", "b", "c"); w.lone(i, 25) }, []peer.ID{"quiet"}},
		"one brings one in five":        {func(w *watchtower, i int) { w.some(i, 5) }, nil},
		"a single one brings all":       {func(w *watchtower, _ int) { w.brings("a") }, nil},
		"none passes the door": {func(w *watchtower, _ int) {
			w.n++
			w.at = w.at.Add(10 * time.Second)
			w.ValidateMessage(from("a", w.n))
			w.DuplicateMessage(from("b", w.n))
			w.RejectMessage(from("a", w.n), pubsub.RejectValidationIgnored)
		}, nil},
		"this node was too busy to hear it": {func(w *watchtower, _ int) { w.brings("a", "b", "c"); w.ThrottlePeer("quiet") }, nil},
		"it was not in the mesh for long": {func(w *watchtower, i int) {
			w.brings("a", "b", "c")
			if i%4 == 0 {
				w.mesh.Graft("quiet", watchedTopic)
			} else {
				w.mesh.Prune("quiet", watchedTopic)
			}
		}, nil},
	} {
		w := newWatchtower()
		for i := range judgedBy + 5 {
			one.message(w, i)
		}
		if !slices.Equal(w.found, one.want) {
			t.Errorf("%s: found %q, want %q", name, w.found, one.want)
		}
		if n := len(w.watched[watchedTopic].list); n > 2*maxWatched {
			t.Errorf("%s: %d messages are watched", name, n)
		}
	}
}

// lone has the quiet one bring every nth message, as the only one.
func (w *watchtower) lone(i, n int) {
	if i%n == n-1 {
		w.brings("quiet")
	}
}

// some has the quiet one bring every nth message, among others.
func (w *watchtower) some(i, n int) {
	if i%n == 0 {
		w.brings("quiet", "a", "b", "c")
	} else {
		w.brings("a", "b", "c")
	}
}

// A peer that leaves the mesh and comes back does not begin anew; the tables are bounded,
// and whoever floods with junk stops nothing from being watched.
func TestSilenceIsBounded(t *testing.T) {
	w := newWatchtower()
	for range judgedBy - 2 {
		w.brings("a", "b", "c")
	}
	w.mesh.Prune("quiet", watchedTopic)
	for range 10 {
		w.brings("a", "b", "c")
	}
	if w.mesh.Graft("quiet", watchedTopic); len(w.found) > 0 {
		t.Fatal("found too early")
	}
	for range 8 {
		for i := range 100 * maxWatched {
			w.ValidateMessage(from("quiet", 1e6+i))
			w.RejectMessage(from("quiet", 1e6+i), pubsub.RejectValidationIgnored)
		}
		w.brings("a", "b", "c")
	}
	if !slices.Equal(w.found, []peer.ID{"quiet"}) {
		t.Errorf("found %q", w.found)
	}
	for i := range 3 * maxAccounts {
		w.at = w.at.Add(time.Second)
		w.mu.Lock()
		w.count(pair{peer.ID(fmt.Sprint(i)), watchedTopic}, false, w.at)
		w.mu.Unlock()
		if n, most := w.fill(); n > most {
			t.Fatalf("%d accounts", n)
		}
	}
	if w.Leave(watchedTopic); len(w.watched) != 0 {
		t.Error("a topic that was left is watched")
	}
	w.brings("a", "b", "c")
}

// Silence costs the place in the meshes and no more, for an hour.
func TestSilenceCostsThePlace(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBlames(func() time.Time { return now })
	b.silence("a")
	if p := b.penalty("a"); p >= -score.AllCredit || p <= score.GossipLimit {
		t.Errorf("silence costs %v", p)
	}
	b.report("a", 3, true)
	if p := b.penalty("a"); p != -score.SilentPenalty-score.AuditPenalty {
		t.Errorf("silence and what was withheld cost %v", p)
	}
	b.silence("b")
	now = now.Add(silentFor)
	if p := b.penalty("b"); p != 0 {
		t.Errorf("after an hour silence costs %v", p)
	}
}
