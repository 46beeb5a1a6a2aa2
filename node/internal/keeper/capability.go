package keeper

import (
	"cmp"
	"sync"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// maxCapabilities bounds the capabilities whose signature is known to hold.
const maxCapabilities = 4096

// capabilities remembers which capabilities were checked: a depositor shows the same
// one with each letter. One is remembered by all of its bytes, the signature among
// them; dates and revocations are asked about each time.
type capabilities struct {
	most int
	mu   sync.Mutex
	ok   map[protocol.Hash]protocol.Second // until when
}

func newCapabilities(most int) *capabilities {
	return &capabilities{most: cmp.Or(most, maxCapabilities), ok: map[protocol.Hash]protocol.Second{}}
}

// check is wire.CheckCapability.
func (k *capabilities) check(c protocol.Capability, now protocol.Second) error {
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

func (k *capabilities) size() (n, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ok), k.most
}
