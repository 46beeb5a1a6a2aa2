// Package roster is what a node remembers of the keepers that it deals with, and how
// it draws some of them for a mailbox.
//
//  1. Whoever opens a stream to a keeper tells who says to run it (Greeted), and
//     whether it answered (Met).
//  2. A keeper that was silent for long while others answered, or of which there is
//     evidence (Convict), is out for a time.
//  3. Draw picks keepers of different operators and address prefixes among those that
//     are known and not out, Pair two of them to compare boards with; Replace puts others
//     in the place of those that are out.
//
// Silence counts from one failure to the next, and only where another keeper answered
// in between: a node that is off the network itself, or asleep, blames nobody. Nothing
// here is kept on disk: proof is, and is told again at each start, and who is silent
// is found out again.
package roster

import (
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// How long a keeper is silent before it is out, and for how long it is then; and the
// most that counts from one failure to the next.
const (
	SilentFor = 30 * time.Minute
	silentOut = 6 * time.Hour
	oneStep   = 10 * time.Minute
)

// DoubtedFor is how long a keeper is out that is suspected, and not convicted.
const DoubtedFor = 24 * time.Hour

// Max bounds the keepers remembered.
const Max = 1024

// manyKnown is among how many a draw chooses.
const manyKnown = 256

// A note is what is remembered of one keeper.
type note struct {
	operator protocol.VendorID
	failed   time.Time     // the last try, if it failed
	silent   time.Duration // of late, while others answered
	out      time.Time     // because silent: until then
	doubted  time.Time     // suspected: until then
	lied     bool          // convicted
	seen     time.Time     // last change
	clocked  bool          // it said what time it is
	ahead    time.Duration // how far our clock went before its
}

func (n *note) isOut(now time.Time) bool {
	return n.lied || now.Before(n.out) || now.Before(n.doubted)
}

// A Roster is safe for concurrent use. Make it with New.
type Roster struct {
	known    func(n int) []protocol.Keeper
	now      func() time.Time
	mu       sync.Mutex
	of       map[key.KeeperKey]*note
	answered time.Time // when any keeper answered last
}

// New makes an empty roster. known gives public nodes thought alive, the best first
// and otherwise in random order, as peers.Port.Keepers does.
func New(known func(n int) []protocol.Keeper, now func() time.Time) *Roster {
	return &Roster{known: known, now: now, of: map[key.KeeperKey]*note{}}
}

// at gives a keeper's note, making one. Called with mu held.
func (r *Roster) at(k key.KeeperKey) *note {
	n := r.of[k]
	if n == nil {
		if len(r.of) >= Max {
			r.forget()
		}
		n = &note{}
		r.of[k] = n
	}
	n.seen = r.now()
	return n
}

// forget makes room: the note that changed longest ago gives way, one of a keeper
// that is out last of all.
func (r *Roster) forget() {
	var oldest key.KeeperKey
	var its *note
	now := r.now()
	for k, n := range r.of {
		if its == nil || !n.isOut(now) && its.isOut(now) || n.isOut(now) == its.isOut(now) && n.seen.Before(its.seen) {
			oldest, its = k, n
		}
	}
	delete(r.of, oldest)
}

// Greeted notes what a keeper says of itself: who runs it, and what time it is there.
func (r *Roster) Greeted(k key.KeeperKey, says wire.Aside) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.at(k)
	n.operator, n.clocked = says.Operator, says.Clock != 0
	if n.clocked {
		n.ahead = r.now().Sub(time.Unix(int64(says.Clock), 0))
	}
}

// Operator is the vendor who says to run a keeper, zero where none is known.
func (r *Roster) Operator(k key.KeeperKey) protocol.VendorID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.of[k]; n != nil {
		return n.operator
	}
	return protocol.VendorID{}
}

// clockFor is how long a keeper's word about the time counts: streams to it may stay open,
// and be greeted on no more, for as long.
const clockFor = 24 * time.Hour

// Ahead is how far this node's clock goes before those of the keepers that it met of
// late, behind where it is negative: the median, so that a few liars change nothing; of
// two the lesser. of says how many were asked; from none nothing is known.
func (r *Roster) Ahead() (by time.Duration, of int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []time.Duration
	for _, n := range r.of {
		if n.clocked && r.now().Sub(n.seen) < clockFor {
			all = append(all, n.ahead)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	if low.Abs() < high.Abs() {
		return low, len(all)
	}
	return high, len(all)
}

// Met notes that a keeper answered, or could not be reached. One that answers again is
// silent no more.
func (r *Roster) Met(k key.KeeperKey, answers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, now := r.at(k), r.now()
	if answers {
		r.answered = now
		n.failed, n.silent, n.out = time.Time{}, 0, time.Time{}
		return
	}
	if !n.failed.IsZero() && r.answered.After(n.failed) {
		n.silent += min(now.Sub(n.failed), oneStep)
	}
	n.failed = now
	if n.silent >= SilentFor {
		n.out = now.Add(silentOut)
	}
}

// Convict puts a keeper out for good: there is proof that it lied.
func (r *Roster) Convict(k key.KeeperKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(k).lied = true
}

// Doubt puts a keeper out until DoubtedFor after a moment: there is evidence that is
// no proof.
func (r *Roster) Doubt(k key.KeeperKey, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := since.Add(DoubtedFor); r.now().Before(until) {
		n := r.at(k)
		n.doubted = until
	}
}

// Silent reports whether a keeper is out because it does not answer.
func (r *Roster) Silent(k key.KeeperKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.of[k]
	return n != nil && r.now().Before(n.out)
}

// Silents lists the keepers that are out because they do not answer.
func (r *Roster) Silents() (out []key.KeeperKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for k, n := range r.of {
		if now.Before(n.out) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b key.KeeperKey) int { return slices.Compare(a[:], b[:]) })
	return out
}

// Size is how many keepers are remembered, of Max.
func (r *Roster) Size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.of)
}

// candidates are the keepers known, without those named: those that may be drawn, and
// those that are out.
func (r *Roster) candidates(without []protocol.Keeper) (good, out []Candidate) {
	list := r.known(manyKnown)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for _, k := range list {
		if slices.ContainsFunc(without, func(o protocol.Keeper) bool { return o.Key == k.Key }) {
			continue
		}
		c, n := Candidate{Keeper: k}, r.of[k.Key]
		if n != nil {
			c.Operator = n.operator
		}
		if n != nil && n.isOut(now) {
			out = append(out, c)
		} else {
			good = append(good, c)
		}
	}
	return good, out
}

// Draw picks at most n keepers, of different operators and address prefixes as far as
// can be. One that is out is picked only where nobody else is known.
func (r *Roster) Draw(n int) []protocol.Keeper {
	good, out := r.candidates(nil)
	if len(good) == 0 {
		good = out
	}
	return Diverse(good, n, nil)
}

// Pair picks two keepers to compare with: one that this node is not connected with, whom
// nobody who surrounds it has chosen, and one that it is connected with, who costs no
// connection. So what a round costs is the same in a small network, where most are
// connected, and in a large one. They are of different operators and address prefixes as
// far as can be; where the two that are picked so are not, any two that are come first.
func (r *Roster) Pair(connected func(key.KeeperKey) bool) []protocol.Keeper {
	good, out := r.candidates(nil)
	if len(good) == 0 {
		good = out
	}
	var near, far []Candidate
	for _, c := range good {
		if connected(c.Keeper.Key) {
			near = append(near, c)
		} else {
			far = append(far, c)
		}
	}
	for _, first := range far[:min(len(far), 1)] {
		for _, second := range near {
			if kinOf(first).like(kinOf(second)) == 0 {
				return []protocol.Keeper{first.Keeper, second.Keeper}
			}
		}
	}
	return Diverse(good, 2, nil)
}

// Replace puts others in the place of keepers that are out, and says whether it put
// any: where nobody is known to take a place, the list stays as it is.
func (r *Roster) Replace(list []protocol.Keeper) ([]protocol.Keeper, bool) {
	good, _ := r.candidates(list)
	r.mu.Lock()
	now := r.now()
	var stay []Candidate
	bad := 0
	for _, k := range list {
		c, n := Candidate{Keeper: k}, r.of[k.Key]
		if n != nil {
			c.Operator = n.operator
		}
		if n != nil && n.isOut(now) {
			bad++
		} else {
			stay = append(stay, c)
		}
	}
	r.mu.Unlock()
	fresh := Diverse(good, bad, stay)
	if len(fresh) < bad || bad == 0 {
		return list, false
	}
	next := make([]protocol.Keeper, 0, len(list))
	for _, c := range stay {
		next = append(next, c.Keeper)
	}
	return append(next, fresh...), true
}
