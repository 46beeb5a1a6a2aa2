package peers

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
)

// How long what we know of a node counts.
const (
	freshFor   = 24 * time.Hour // told on, and thought alive, this long after we reached it
	firstPause = time.Second    // before it is tried again
	longPause  = 10 * time.Minute
	bootPause  = time.Minute // the longest pause where it is on the bootstrap list
)

// A table holds the public nodes known, at most so many.
type table struct {
	most    int
	mu      sync.Mutex
	self    key.KeeperKey
	entries map[key.KeeperKey]*entry
	dirty   bool // something to save
	news    Way  // ways that had something to say
	revived time.Time
}

// An entry is what is known of one public node.
type entry struct {
	keeper    protocol.Keeper
	bootstrap bool
	ways      Way        // that named it; none: it called here
	reached   time.Time  // last, zero: never
	at        netip.Addr // the address where
	fails     int        // since then
	next      time.Time  // not tried before
	dialing   bool
	silent    bool          // it said what it serves, and nothing of ours
	other     protocol.Hash // the network that it said to be of, where that is another
	asked     time.Time     // for the nodes that it knows
	sought    time.Time     // last given out by seek
}

func newTable(self key.KeeperKey, most int) *table {
	return &table{most: most, self: self, entries: map[key.KeeperKey]*entry{}}
}

// learn takes in nodes that came by a way. What we know from our own experience
// is not overwritten by hearsay. It tells how many are new.
func (t *table) learn(ks []protocol.Keeper, by Way) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.news |= by
	bootstrap := by == WayBootstrap
	fresh := 0
	for _, k := range ks {
		info := address.Info(k)
		if k.Key == t.self || k.Key.Check() != nil || len(info.Addrs) == 0 {
			continue
		}
		e := t.entries[k.Key]
		if e != nil {
			e.ways |= by
		}
		switch {
		case e == nil && t.room(bootstrap):
			e = &entry{ways: by}
			t.entries[k.Key] = e
			fresh++
		case e == nil || e.bootstrap && !bootstrap || !e.reached.IsZero() && e.fails == 0:
			continue
		}
		e.bootstrap = e.bootstrap || bootstrap
		var err error
		if e.keeper, err = address.Keeper(info); err != nil {
			delete(t.entries, k.Key)
		}
	}
	return fresh
}

// room makes room for one more: a node that fails gives way, and to one that is there,
// or on the bootstrap list, also one that was only named. One that works, or is on
// the bootstrap list, does not.
func (t *table) room(sure bool) bool {
	if len(t.entries) < t.most {
		return true
	}
	var worst *entry
	for _, e := range t.entries {
		if e.bootstrap || e.dialing || e.fails == 0 && !e.reached.IsZero() {
			continue
		}
		if worst == nil || e.fails > worst.fails {
			worst = e
		}
	}
	if worst == nil || worst.fails == 0 && !sure {
		return false
	}
	delete(t.entries, worst.keeper.Key)
	return true
}

// met notes that we have a connection with a public node at ip, and which of its
// own addresses lie there. It tells whether the node should be asked for others, and
// whether it is back: reached once, and then in vain.
func (t *table) met(k key.KeeperKey, ip netip.Addr, listens []ma.Multiaddr, now time.Time) (ask, back bool) {
	there := address.Best(slices.DeleteFunc(slices.Clone(listens), func(a ma.Multiaddr) bool { return address.IPOf(a) != ip }))
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil {
		if k == t.self || len(there) == 0 || !t.room(true) {
			return false, false
		}
		e = &entry{keeper: protocol.Keeper{Key: k}}
		t.entries[k] = e
	}
	if !e.other.IsZero() {
		return true, false // it may have moved to this one: it is asked
	}
	back = e.fails > 0 && !e.reached.IsZero()
	t.dirty = t.dirty || e.reached.IsZero() || e.fails > 0
	e.reached, e.at, e.fails, e.next, e.silent = now, ip, 0, time.Time{}, false
	e.says(there)
	ask = now.Sub(e.asked) > time.Minute && len(t.entries) < plenty
	if ask {
		e.asked = now
	}
	return ask, back
}

// says takes over what a node says of its addresses, where it says something.
func (e *entry) says(at []ma.Multiaddr) {
	if len(at) == 0 || e.bootstrap {
		return
	}
	e.keeper.Addrs = nil
	for _, a := range at {
		e.keeper.Addrs = append(e.keeper.Addrs, a.Bytes())
	}
}

// sits notes that a connected node says to be reached over relays, where we have not
// reached it ourselves.
func (t *table) sits(k key.KeeperKey, at []ma.Multiaddr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil {
		if at = address.Best(at); k == t.self || len(at) == 0 || !t.room(false) {
			return
		}
		e = &entry{keeper: protocol.Keeper{Key: k}}
		t.entries[k] = e
	}
	e.says(address.Best(at))
	if !slices.ContainsFunc(at, func(a ma.Multiaddr) bool { return address.IPOf(a) == e.at }) {
		e.reached, e.at = time.Time{}, netip.Addr{}
	}
}

// servesNothing notes that a connected node said to serve nothing.
func (t *table) servesNothing(k key.KeeperKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[k]; e != nil {
		e.silent = true
	}
}

// failed notes that a dial failed, and pauses.
func (t *table) failed(k key.KeeperKey, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil {
		return
	}
	longest := longPause
	if e.bootstrap {
		longest = bootPause
	}
	pause := min(firstPause<<min(e.fails, 16), longest)
	e.fails++
	e.next = now.Add(pause/2 + rand.N(pause))
}

// candidates are up to n nodes to dial now, bootstrap nodes and those reached
// before first; they count as being dialed until dialed is called.
func (t *table) candidates(n int, now time.Time, connected func(key.KeeperKey) bool) []protocol.Keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.draw(n, now, connected)
}

// seek are likewise nodes to dial because they fit, but for those of which it gave out
// one so short a time ago.
func (t *table) seek(n int, now time.Time, again time.Duration, unfit func(key.KeeperKey) bool) []protocol.Keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.draw(n, now, func(k key.KeeperKey) bool { return now.Sub(t.entries[k].sought) < again || unfit(k) })
	for _, k := range out {
		t.entries[k.Key].sought = now
	}
	return out
}

// draw picks nodes to dial, with mu held.
func (t *table) draw(n int, now time.Time, unfit func(key.KeeperKey) bool) []protocol.Keeper {
	var all []*entry
	for k, e := range t.entries {
		if !e.dialing && !e.next.After(now) && !unfit(k) {
			all = append(all, e)
		}
	}
	rank := func(e *entry) int {
		switch {
		case address.RelayedAlone(e.keeper.Addrs):
			return 1 << 20 // where there is nobody else
		case e.bootstrap && e.fails == 0:
			return 0
		case e.fails == 0 && !e.reached.IsZero():
			return 1
		}
		return 2 + e.fails
	}
	shuffle(all)
	slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(rank(a), rank(b)) })
	var out []protocol.Keeper
	for _, e := range all[:min(max(n, 0), len(all))] {
		e.dialing = true
		out = append(out, e.keeper)
	}
	return out
}

// later leaves a node alone for a while, that was reached over a relay and is connected
// no better.
func (t *table) later(k key.KeeperKey, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[k]; e != nil {
		e.next = now.Add(longPause)
	}
}

func (t *table) dialed(k key.KeeperKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[k]; e != nil {
		e.dialing = false
	}
}

// alive are up to n nodes thought alive in random order: those reached within a
// day first, then those not tried yet, none whose last dial failed, nor any that is
// reached over relays alone, or is connected and said that it does not serve: it is no
// keeper.
func (t *table) alive(n int, now time.Time, connected func(key.KeeperKey) bool) []protocol.Keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	var known, told []protocol.Keeper
	for k, e := range t.entries {
		switch {
		case address.RelayedAlone(e.keeper.Addrs), connected(k) && e.silent, !e.other.IsZero():
		case connected(k) || e.fails == 0 && now.Sub(e.reached) < freshFor:
			known = append(known, e.keeper)
		case e.fails == 0:
			told = append(told, e.keeper)
		}
	}
	shuffle(known)
	shuffle(told)
	out := append(known, told...)
	return out[:min(max(n, 0), len(out))]
}

// share are up to n nodes that may be told to one who calls from scope: reached by
// ourselves within a day, with those addresses only where we reached them, and
// none nearer to us than the caller is.
func (t *table) share(n int, to address.Scope, now time.Time) []protocol.Keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []protocol.Keeper
	for k, e := range t.entries {
		if e.fails > 0 || now.Sub(e.reached) >= freshFor || address.ScopeOf(e.at) < to {
			continue
		}
		said := protocol.Keeper{Key: k}
		for _, raw := range e.keeper.Addrs {
			if a, err := ma.NewMultiaddrBytes(raw); err == nil && address.IPOf(a) == e.at {
				said.Addrs = append(said.Addrs, raw)
			}
		}
		if len(said.Addrs) > 0 {
			out = append(out, said)
		}
	}
	shuffle(out)
	return out[:min(max(n, 0), maxShare, len(out))]
}

// save gives what should outlive this run, if it changed since the last call:
// nodes reached, freshest first.
func (t *table) save() ([]protocol.Keeper, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dirty {
		return nil, false
	}
	t.dirty = false
	var all []*entry
	for _, e := range t.entries {
		if !e.reached.IsZero() {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return b.reached.Compare(a.reached) })
	out := make([]protocol.Keeper, len(all))
	for i, e := range all {
		out[i] = e.keeper
	}
	return out, true
}

func (t *table) get(k key.KeeperKey) (protocol.Keeper, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[k]; e != nil {
		return e.keeper, true
	}
	return protocol.Keeper{Key: k}, false
}

// keys lists all nodes known.
func (t *table) keys() []key.KeeperKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]key.KeeperKey, 0, len(t.entries))
	for k := range t.entries {
		out = append(out, k)
	}
	return out
}

func shuffle[T any](s []T) { rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }
