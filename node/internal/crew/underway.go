package crew

import "sync"

// UnderWay marks what is being done: each thing once at a time, and no more than so many
// things at once. Make it with NewUnderWay; it is safe for concurrent use.
type UnderWay[K comparable] struct {
	most int
	mu   sync.Mutex
	now  map[K]bool
}

// NewUnderWay has room for so many things.
func NewUnderWay[K comparable](most int) *UnderWay[K] {
	return &UnderWay[K]{most: most, now: map[K]bool{}}
}

// Begin marks a thing, unless it is under way already or there is no room.
func (u *UnderWay[K]) Begin(k K) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now[k] || len(u.now) >= u.most {
		return false
	}
	u.now[k] = true
	return true
}

// End makes room again.
func (u *UnderWay[K]) End(k K) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.now, k)
}

// Has reports whether a thing is under way.
func (u *UnderWay[K]) Has(k K) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now[k]
}

// Fill is how many things are under way, and the most that can be.
func (u *UnderWay[K]) Fill() (n, most int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.now), u.most
}
