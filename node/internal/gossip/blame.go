package gossip

import (
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip/score"
	"github.com/harkmarket/hark/node/internal/peers/address"
)

// How withholding is punished.
const (
	maxBlamed  = 1024             // peers remembered
	blameLeast = 3                // announcements withheld within an hour, before it counts
	blameHalf  = 20 * time.Minute // a penalty halves in
	blameLeft  = 1.0              // a smaller penalty is none
	silentFor  = time.Hour        // whoever brings nothing is out of the meshes
)

// blames remember which peers were found withholding announcements, or silent.
type blames struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[peer.ID]*blame
}

// A blame is what was reported of one peer.
type blame struct {
	withheld int
	since    time.Time // of the first report that counts still
	last     time.Time // of the last report that brought the penalty; zero: none did
	silent   time.Time // when it was found last to bring nothing; zero: never
}

func newBlames(now func() time.Time) *blames { return &blames{now: now, of: map[peer.ID]*blame{}} }

// penalty is the peer's, between -score.AuditPenalty-score.SilentPenalty and 0. What it withheld
// decays; silence is over after an hour.
func (b *blames) penalty(p peer.ID) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[p].penalty(b.now())
}

func (one *blame) penalty(now time.Time) float64 {
	if one == nil {
		return 0
	}
	silent := 0.0
	if !one.silent.IsZero() && now.Sub(one.silent) < silentFor {
		silent = -score.SilentPenalty
	}
	return silent + one.withholding(now)
}

func (one *blame) withholding(now time.Time) float64 {
	if one.last.IsZero() {
		return 0
	}
	left := score.AuditPenalty * math.Exp2(-max(0, now.Sub(one.last).Seconds())/blameHalf.Seconds())
	if left < blameLeft {
		return 0
	}
	return -left
}

// punished counts those of list that have a penalty now.
func (b *blames) punished(list []peer.ID) (n int) {
	for _, p := range list {
		if b.penalty(p) < 0 {
			n++
		}
	}
	return n
}

// report adds to what a peer withheld; may says whether a penalty may come of it.
func (b *blames) report(p peer.ID, withheld int, may bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	one := b.open(p, now)
	if now.Sub(one.since) > time.Hour {
		one.withheld, one.since = 0, now
	}
	one.withheld = min(one.withheld+withheld, 1<<20)
	if may && one.withheld >= blameLeast {
		one.last = now
	}
}

// silence notes that a peer brings nothing.
func (b *blames) silence(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.open(p, now).silent = now
}

// open finds what is remembered of a peer, or begins it. Called with mu held.
func (b *blames) open(p peer.ID, now time.Time) *blame {
	one := b.of[p]
	if one == nil {
		b.makeRoom(now)
		one = &blame{since: now}
		b.of[p] = one
	}
	return one
}

// makeRoom forgets peers whose time is over, or else one that was reported longest ago.
func (b *blames) makeRoom(now time.Time) {
	if len(b.of) < maxBlamed {
		return
	}
	var oldest peer.ID
	for p, one := range b.of {
		if now.Sub(one.since) > time.Hour && one.penalty(now) == 0 {
			delete(b.of, p)
		} else if o := b.of[oldest]; o == nil || one.since.Before(o.since) {
			oldest = p
		}
	}
	if len(b.of) >= maxBlamed {
		delete(b.of, oldest)
	}
}

func (b *blames) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.of)
}

// blamed takes what an audit found: a peer of a shard's mesh withheld announcements
// that others had. It is hearsay, so no more than half of those on a topic are ever
// punished at once: whoever held back an announcement himself, to have everybody else
// found silent, can't empty a mesh.
func (g *Gossip) blamed(who key.KeeperKey, shard uint16, withheld int) {
	id := address.ID(who)
	if who.Check() != nil || withheld <= 0 || shard >= g.cfg.Shards || g.Lax {
		return
	}
	here := g.router.ListPeers(Topic(g.cfg.Net, g.cfg.Shards, shard))
	may := 2*(g.blames.punished(here)+1) <= len(here) || g.blames.penalty(id) < 0
	g.blames.report(id, withheld, may)
	if g.blames.penalty(id) < 0 {
		g.cfg.Log.Info("a peer is out of the mesh: it withheld what others had", "peer", who, "shard", shard, "withheld", withheld)
	}
}

// silent takes what was seen in a mesh: a peer brings nothing of what others bring. It
// is no hearsay, so as many are put out as are found; those who bring remain, for without
// two of them nobody is found (silence). Who only found himself in a bad place goes on
// to be told what is there to be asked for (the penalty is above score.GossipLimit), and hears
// a second later what he heard at once.
func (g *Gossip) silent(p peer.ID, topic string) {
	if g.Lax {
		return
	}
	g.blames.silence(p)
	g.cfg.Log.Info("a peer is out of the mesh: it passes nothing on", "peer", p, "topic", topic)
}
