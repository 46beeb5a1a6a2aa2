package peers

import (
	"time"

	"github.com/harkmarket/hark/crypto/key"
)

// maxSought is how many connections beyond the target a node may have dialled for more
// of them to be sought.
const maxSought = 64

// Seek goes to at most n more public nodes that suit, beyond the target, to none again
// that it went to so short a time ago, and does not wait until it is there. Where none is
// known, more nodes are asked for.
func Seek(h *Host, suits func(key.KeeperKey) bool, n int, again time.Duration) (going int) {
	if n = min(n, dialsAtOnce, h.cfg.target()+maxSought-dialled(h.host.Network(), h.known.keys())); n <= 0 {
		return 0
	}
	unfit := func(k key.KeeperKey) bool { return !suits(k) || h.Connected(k) }
	for _, k := range h.known.seek(n, h.cfg.Now(), again, unfit) {
		h.hireDial(k)
		going++
	}
	if going == 0 {
		h.poor.Store(true)
	}
	return going
}
