package node

import (
	"context"
	"strconv"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/metrics"
	"github.com/harkmarket/hark/store/outbox"
)

// samples are all that this node counts, as /metrics shows it.
func (n *Node) samples(ctx context.Context) ([]metrics.Sample, error) {
	v, err := n.Admin().Status(ctx)
	if err != nil {
		return nil, err
	}
	out := statusSamples(v)
	if n.keeper != nil {
		for j, count := range n.keeper.Judged() {
			out = append(out, metrics.Counter("announcements_judged_total", "Announcements that came in, whichever way, by verdict and reason.",
				float64(count), metrics.Label{Name: "verdict", Value: j.Verdict.String()}, metrics.Label{Name: "reason", Value: string(j.Reason)}))
		}
		in, passed := n.keeper.PostBytes()
		for direction, count := range map[string]int64{"received": in, "passed": passed} {
			out = append(out, metrics.Counter("post_bytes_total", "Bytes of the announcements that were posted here, and of those passed on sealed to another node.",
				float64(count), metrics.Label{Name: "direction", Value: direction}))
		}
	}
	if g, ok := n.port.(*gossip.Network); ok && g.Gossip != nil {
		out = append(out, gossipSamples(g.Gossip)...)
	}
	return out, nil
}

// statusSamples spells what hark status shows.
func statusSamples(v desk.Status) []metrics.Sample {
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	out := []metrics.Sample{
		metrics.Gauge("build_info", "Which program this is; always 1.", 1,
			metrics.Label{Name: "version", Value: v.Version}, metrics.Label{Name: "profile", Value: v.Profile}, metrics.Label{Name: "network", Value: v.Network}),
		metrics.Gauge("start_time_seconds", "When the node started, in seconds since 1970.", float64(v.Started.Unix())),
		metrics.Gauge("ready_seconds", "How long it took from start to ready.", float64(v.ReadyMS)/1000),
		metrics.Gauge("locked", "1 while the vault is locked.", is(v.Locked)),
		metrics.Gauge("public_nodes", "Public nodes known and thought alive.", float64(v.Peers)),
		metrics.Gauge("store_bytes", "Bytes of the store on disk.", float64(v.DiskBytes)),
	}
	for _, f := range v.Bounds {
		bound := metrics.Label{Name: "bound", Value: f.Name}
		out = append(out, metrics.Gauge("bound_used", "How full a queue, table or cache is.", float64(f.Used), bound),
			metrics.Gauge("bound_limit", "How full it may become.", float64(f.Cap), bound))
	}
	for s := outbox.Queued; s <= outbox.Cancelled && !v.Locked; s++ { // also where there are none: what has no series can't be watched
		out = append(out, metrics.Gauge("letters", "Letters and announcements sent, by state of delivery.", float64(v.Delivery[s.String()]), metrics.Label{Name: "state", Value: s.String()}))
	}
	for what, count := range v.Counts {
		out = append(out, metrics.Gauge("records", "Needs, grants, offers, deals and what else this node keeps.", float64(count), metrics.Label{Name: "what", Value: what}))
	}
	problems := map[string]int{}
	for _, p := range v.Problems {
		problems[p.Code]++
	}
	for code, count := range problems {
		out = append(out, metrics.Gauge("problems", "Problems that hark status names, by code.", float64(count), metrics.Label{Name: "code", Value: code}))
	}
	missing, altered, replayed := 0, 0, 0
	for _, k := range v.Keepers {
		missing, altered, replayed = missing+len(k.Missing), altered+len(k.Altered), replayed+len(k.Replayed)
	}
	fault := "Letters that a keeper should have held and did not, had altered, or showed again after their deletion, by what it did."
	return append(out, metrics.Gauge("keeper_faults", fault, float64(missing), metrics.Label{Name: "what", Value: "missing"}),
		metrics.Gauge("keeper_faults", fault, float64(altered), metrics.Label{Name: "what", Value: "altered"}),
		metrics.Gauge("keeper_faults", fault, float64(replayed), metrics.Label{Name: "what", Value: "replayed"}))
}

// gossipSamples spells what the router did.
func gossipSamples(g *gossip.Gossip) []metrics.Sample {
	c := g.Counts()
	messages := "Announcements that came by gossip, by what became of them."
	talk, bytes := "Gossip RPCs, by direction.", "Bytes of the announcements in gossip RPCs, by direction."
	of := func(name, help, label, value string, n int64) metrics.Sample {
		return metrics.Counter(name, help, float64(n), metrics.Label{Name: label, Value: value})
	}
	out := []metrics.Sample{
		of("gossip_messages_total", messages, "outcome", "kept", c.Kept),
		of("gossip_messages_total", messages, "outcome", "ignored", c.Ignored),
		of("gossip_messages_total", messages, "outcome", "blamed", c.Blamed),
		of("gossip_messages_total", messages, "outcome", "throttled", c.Throttled),
		of("gossip_messages_total", messages, "outcome", "duplicate", c.Duplicates),
		of("gossip_rpcs_total", talk, "direction", "received", c.ReceivedRPC),
		of("gossip_rpcs_total", talk, "direction", "sent", c.SentRPC),
		of("gossip_rpcs_total", talk, "direction", "dropped", c.DroppedRPC),
		of("gossip_message_bytes_total", bytes, "direction", "received", c.ReceivedBytes),
		of("gossip_message_bytes_total", bytes, "direction", "sent", c.SentBytes),
		metrics.Counter("gossip_grafts_total", "Peers taken into a mesh.", float64(c.Grafts)),
		metrics.Counter("gossip_prunes_total", "Peers put out of a mesh.", float64(c.Prunes)),
		metrics.Counter("gossip_gated_total", "Times that a peer was refused because too much of what it sends is dropped.", float64(c.GatedPeers)),
	}
	for _, s := range g.Joined() {
		out = append(out, metrics.Gauge("gossip_mesh_peers", "Peers in the mesh of a shard.", float64(len(g.Mesh(uint16(s)))),
			metrics.Label{Name: "shard", Value: strconv.Itoa(s)}))
	}
	return out
}
