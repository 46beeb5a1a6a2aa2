// Package known spares a keeper to check twice what it has checked: capabilities.
package known

import (
	"cmp"
	"sync"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// Max bounds the capabilities whose signature is known to hold.
const Max = 4096

// Capabilities remembers which capabilities were checked: a depositor shows the same
// one with each letter. One is remembered by all of its bytes, the signature among
// them; dates and revocations are asked about each time.
type Capabilities struct {
	most int
	mu   sync.Mutex
	ok   map[protocol.Hash]protocol.Second // until when
}

// NewCapabilities knows none, and remembers at most so many; zero: Max.
func NewCapabilities(most int) *Capabilities {
	return &Capabilities{most: cmp.Or(most, Max), ok: map[protocol.Hash]protocol.Second{}}
}

// Check is wire.CheckCapability.
func (k *Capabilities) Check(c protocol.Capability, now protocol.Second) error {
	raw, err := wire.Marshal(&c)
	if err != nil {
		return err
	}
	id := wire.ID(raw)
	k.mu.Lock()
	until := k.ok[id]
	k.mu.Unlock()
	if now < until {
		return nil
	}
	if err := wire.CheckCapability(c, now); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ok) >= k.most {
		for other := range k.ok { // any: it is checked again
			delete(k.ok, other)
			break
		}
	}
	k.ok[id] = c.Expires
	return nil
}

// Size is how many are remembered, and how many may be.
func (k *Capabilities) Size() (n, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ok), k.most
}
