package node

import (
	"fmt"
	"time"

	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// How a personal node's announcements leave it, where config.toml is silent.
const (
	DefaultPostHops  = 2
	DefaultPostDelay = "5s"
)

// posting reads how announcements leave this node. Public nodes gossip their own.
func (s Settings) posting() (courier.Posting, error) {
	p := courier.Posting{TwoHops: protocol.Edition >= 0}
	if s.PostHops != nil {
		p.TwoHops = *s.PostHops == 2
		if *s.PostHops < 1 || *s.PostHops > 2 {
			return p, fmt.Errorf("post_hops is %d: write 2 (another keeper passes a need on, sealed) or 1 (straight to each keeper): %w", *s.PostHops, fault.Malformed)
		}
	}
	text := DefaultPostDelay
	if s.PostDelay != nil {
		text = *s.PostDelay
	}
	const most = protocol.MaxPostHold * time.Millisecond
	var err error
	if p.Delay, err = time.ParseDuration(text); err != nil || p.Delay < 0 || p.Delay > most {
		return p, fmt.Errorf("post_delay is %q: write a span from 0s to %v, such as %q; each need waits a random part of it: %w", text, most, DefaultPostDelay, fault.Malformed)
	}
	if s.Profile == Public {
		return courier.Posting{}, nil
	}
	return p, nil
}

// posting is how announcements leave this node.
func (n *Node) posting() (courier.Posting, error) {
	if s := n.cfg.Simulated; s != nil {
		switch {
		case s.Profile == Public:
			return courier.Posting{}, nil
		case s.Posting != nil:
			return *s.Posting, nil
		}
		return courier.Posting{TwoHops: true}, nil
	}
	return n.settings.posting()
}
