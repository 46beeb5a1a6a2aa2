package node

import (
	"fmt"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/peers"
)

// off are the ways in that this node does not use.
func (s Settings) off() (peers.Way, error) {
	if s.Ways == nil {
		return 0, nil
	}
	on, err := peers.WaysOf(s.Ways)
	if err != nil {
		return 0, fmt.Errorf("ways: %w", err)
	}
	return ^on, nil
}

// ways shows what came of each way in.
func (n *Node) ways() []desk.WayIn {
	out := []desk.WayIn{}
	g, ok := n.port.(*gossip.Network)
	if !ok {
		return out
	}
	for _, w := range g.Ways() {
		v := desk.WayIn{Way: w.Way.String(), Works: answer(w.Works()), Known: w.Known, Reached: w.Reached}
		if w.Off {
			v.Works = desk.Off
		}
		if !w.Last.IsZero() {
			last := w.Last.UTC()
			v.Last = &last
		}
		out = append(out, v)
	}
	return out
}

// wayDetail says why netcheck answers as it does for a way in.
func (n *Node) wayDetail(w desk.WayIn) string {
	if w.Works == desk.Off {
		return "turned off: \"ways\" in config.toml, or hark run --ways, leaves it out"
	}
	detail := fmt.Sprintf("%d named, %d of them reached within a day", w.Known, w.Reached)
	if w.Way == peers.WayDHT.String() && n.dht != nil {
		detail += fmt.Sprintf("; %d nodes stand in its table", n.dht.Nodes())
	}
	return detail
}
