package peers

import (
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A node of another network answers dials and speaks the same protocols: only its Hello,
// which an Exchange reads, says of which network it is. Until it says otherwise it is
// nobody's way in: it counts as a node whose dial failed, and its connection is closed.

// OtherNetwork is the error of an Exchange with a node of another network.
type OtherNetwork struct{ Net protocol.Hash }

func (e *OtherNetwork) Error() string { return fmt.Sprintf("it is of another network, %s", e.Net) }

// Unwrap gives fault.Unsupported.
func (e *OtherNetwork) Unwrap() error { return fault.Unsupported }

// placed notes what an Exchange with a node said of its network.
func placed(h *Host, k key.KeeperKey, err error) {
	if o, ok := errors.AsType[*OtherNetwork](err); ok {
		h.known.elsewhere(k, o.Net, h.cfg.Now())
		_ = h.host.Network().ClosePeer(address.ID(k)) // if it went by itself, so much the better
	} else if err == nil && h.known.here(k) {
		h.meet(address.ID(k))
	}
}

// elsewhere notes that a node said to be of another network.
func (t *table) elsewhere(k key.KeeperKey, net protocol.Hash, now time.Time) {
	t.mu.Lock()
	if e := t.entries[k]; e != nil {
		t.dirty = t.dirty || !e.reached.IsZero()
		e.other, e.reached = net, time.Time{}
	}
	t.mu.Unlock()
	t.failed(k, now)
}

// here notes that a node said to be of this network, and tells whether that is news.
func (t *table) here(k key.KeeperKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[k]
	if e == nil || e.other.IsZero() {
		return false
	}
	e.other = protocol.Hash{}
	return true
}
