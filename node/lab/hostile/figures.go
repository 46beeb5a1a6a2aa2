package hostile

import (
	"math"
	"slices"
)

// What a record of what attackers did, or came to, is about.
const (
	Withheld = "withheld" // censors decided to hold an announcement back
	Flood    = "flood"    // a flood begins
	Calm     = "calm"     // it is over: how much was sent, of that looked at, and until when
	Besieged = "besieged" // a siege begins: the node's memory before
	Relieved = "relieved" // it is over: streams begun, open at once, the crowd let in, the node's memory and streams at most
	Places   = "places"   // who is in honest nodes' meshes of odd topics, and who has been there for longest
)

// Figures are those of attacks. What there was none of is absent.
//
//house:allow fields one flat object for each run is what tables are read from
type Figures struct {
	LateHeld *float64 `json:"late_delivery,omitempty"` // share of what was live when they started that latecomers hold
	LateLast *float64 `json:"late_last_ms,omitempty"`  // from a latecomer's start until it held the last of it, the longest
	LateLive *float64 `json:"late_live,omitempty"`     // announcements that were live when a latecomer started, mean

	VictimHeld   *float64 `json:"victim_delivery,omitempty"`   // share of all live announcements that victims hold within ten minutes
	VictimLeast  *float64 `json:"victim_least,omitempty"`      // of the victim that holds least
	WithheldHeld *float64 `json:"withheld_delivery,omitempty"` // the same, of what censors hold back
	WithheldLast *float64 `json:"withheld_last_ms,omitempty"`  // until the last victim has the last of it

	FloodSent    *float64 `json:"flood_sent,omitempty"`
	FloodLooked  *float64 `json:"flood_looked_at,omitempty"`      // of what was sent
	FloodLast    *float64 `json:"flood_looked_last_ms,omitempty"` // after a flood began, the longest
	FloodCPU     *float64 `json:"flood_cpu_share,omitempty"`      // processors that the flooding peers kept busy; known of processes
	FloodHeld    *float64 `json:"flood_delivery_60s,omitempty"`   // share of what is announced during floods
	FloodP50     *float64 `json:"flood_latency_p50_ms,omitempty"` // of what is announced during floods
	FloodP99     *float64 `json:"flood_latency_p99_ms,omitempty"`
	CalmP50      *float64 `json:"calm_latency_p50_ms,omitempty"` // between floods
	CalmP99      *float64 `json:"calm_latency_p99_ms,omitempty"`
	FloodSlower  *float64 `json:"flood_latency_p99_ratio,omitempty"`
	FloodNodeCPU *float64 `json:"flood_target_cpu_share,omitempty"` // processors that a flooded node kept busy; known of processes

	SilentFirst *float64 `json:"silent_places_first,omitempty"` // share of the places in honest meshes of odd topics when the load began
	SilentEnd   *float64 `json:"silent_places_end,omitempty"`
	SilentStay  *float64 `json:"silent_stay_ms,omitempty"` // the longest of one of them in one such mesh

	Siege SiegeFigures `json:"siege,omitzero"`
}

// SiegeFigures are those of sieges.
type SiegeFigures struct {
	Streams   *float64 `json:"streams,omitempty"`          // that the attackers began
	AtOnce    *float64 `json:"streams_at_once,omitempty"`  // of them, as they see it
	Served    *float64 `json:"served,omitempty"`           // streams that the node served at once, at most
	Conns     *float64 `json:"connections,omitempty"`      // that the node had at most
	LetIn     *float64 `json:"crowd_let_in,omitempty"`     // of the connections of one address, the most of them
	RSSBefore *float64 `json:"rss_before_bytes,omitempty"` // of the node, before the first
	RSSMost   *float64 `json:"rss_most_bytes,omitempty"`   // during one
	PostP99   *float64 `json:"post_p99_ms,omitempty"`      // a customer's wait until her announcement was taken, during a siege
	PostCalm  *float64 `json:"post_calm_p99_ms,omitempty"` // between them
	P99       *float64 `json:"latency_p99_ms,omitempty"`   // of what is announced during one
	Calm      *float64 `json:"latency_calm_p99_ms,omitempty"`
	Held      *float64 `json:"delivery_60s,omitempty"`
	NodeCPU   *float64 `json:"node_cpu_share,omitempty"` // processors that the node kept busy
}

// A Pair is an announcement and a node that should hear it.
type Pair struct {
	Node     string
	Due      float64 // ms
	Heard    float64 // ms; negative: not heard
	Victim   bool
	Withheld bool
	AtOnce   bool // the node was there when it was announced
}

// Limit is within what a victim must have what is kept from it, and InTime within what
// a pair counts as heard; both in ms.
const (
	Limit  = 600_000.0
	InTime = 60_000.0
)

// A Span is a flood, from when to when, and what it came to.
type Span struct {
	From, To     float64
	Sent, Looked float64
	Last         float64 // ms after From
	CPUMS        float64 // of the flooding peers
	TargetCPUMS  float64 // of a flooded node
}

// A Blockade is a siege.
type Blockade struct {
	Span
	AtOnce, Served, Conns, LetIn float64
	RSSBefore, RSSMost           float64
}

// A Post is an announcement that its author's node took in hand.
type Post struct{ MS, Took float64 }

// A Look is who was in the meshes at one moment.
type Look struct {
	MS           float64
	Honest, Ours int     // places of honest nodes, and of attackers
	Stay         float64 // ms
}

// A Latecomer is one that came late: what was live then, what of it it holds, and how
// long after its start it held the last of these.
type Latecomer struct {
	Live, Held int
	Last       float64
}

// Seen is what package lab found in the records of a run.
type Seen struct {
	Pairs      []Pair
	Floods     []Span
	Looks      []Look
	Latecomers []Latecomer
	Blockades  []Blockade
	Posts      []Post
}

// afterglow is for how long after a flood what is announced counts as neither, in ms.
const afterglow = 2000.0

// Compute works the figures out.
func Compute(s Seen) (f Figures) {
	f.late(s.Latecomers)
	f.victims(s.Pairs)
	f.floods(s)
	f.silent(s.Looks)
	f.Siege.compute(s)
	return f
}

func (f *Figures) late(all []Latecomer) {
	live, held, last := 0, 0, 0.0
	for _, l := range all {
		live, held, last = live+l.Live, held+l.Held, max(last, l.Last)
	}
	if live > 0 {
		f.LateLive = of(float64(live) / float64(len(all)))
		f.LateHeld, f.LateLast = of(float64(held)/float64(live)), of(last)
	}
}

func (f *Figures) victims(pairs []Pair) {
	type tally struct{ all, held int }
	var all, withheld tally
	each := map[string]tally{}
	last := 0.0
	for _, p := range pairs {
		if !p.Victim {
			continue
		}
		t := each[p.Node]
		in := 0
		if p.Heard >= 0 && p.Heard-p.Due <= Limit {
			in = 1
		}
		t.all, t.held, all.all, all.held = t.all+1, t.held+in, all.all+1, all.held+in
		each[p.Node] = t
		if p.Withheld {
			withheld.all, withheld.held = withheld.all+1, withheld.held+in
			last = max(last, p.Heard-p.Due)
		}
	}
	if all.all == 0 {
		return
	}
	least := 1.0
	for _, t := range each {
		least = min(least, float64(t.held)/float64(t.all))
	}
	f.VictimHeld, f.VictimLeast = of(float64(all.held)/float64(all.all)), of(least)
	if withheld.all > 0 {
		f.WithheldHeld, f.WithheldLast = of(float64(withheld.held)/float64(withheld.all)), of(last)
	}
}

func (f *Figures) floods(s Seen) {
	if len(s.Floods) == 0 {
		return
	}
	var sent, looked, last, busy, target, long float64
	for _, x := range s.Floods {
		sent, looked, last, busy = sent+x.Sent, looked+x.Looked, max(last, x.Last), busy+x.CPUMS
		target, long = target+x.TargetCPUMS, long+x.To-x.From
	}
	f.FloodSent, f.FloodLooked, f.FloodLast = of(sent), of(looked), of(last)
	if busy > 0 && long > 0 {
		f.FloodCPU = of(busy / long)
	}
	if target > 0 && long > 0 {
		f.FloodNodeCPU = of(target / long)
	}
	during, between, held := apart(s.Pairs, s.Floods)
	f.FloodHeld = held
	f.FloodP50, f.FloodP99, f.CalmP50, f.CalmP99 = quantile(during, 0.5), quantile(during, 0.99), quantile(between, 0.5), quantile(between, 0.99)
	if f.FloodP99 != nil && f.CalmP99 != nil && *f.CalmP99 > 0 {
		f.FloodSlower = of(*f.FloodP99 / *f.CalmP99)
	}
}

// apart tells how long pairs took of which the announcement came during some spans, and
// between them, and what share of the former was heard in time.
func apart(pairs []Pair, spans []Span) (during, between []float64, held *float64) {
	inTime, all := 0, 0
	for _, p := range pairs {
		within, near := at(spans, p.Due)
		if !p.AtOnce {
			continue
		}
		took := p.Heard - p.Due
		if within {
			if all++; p.Heard >= 0 && took <= InTime {
				inTime++
			}
		}
		switch {
		case p.Heard < 0:
		case within:
			during = append(during, took)
		case !near:
			between = append(between, took)
		}
	}
	if all > 0 {
		held = of(float64(inTime) / float64(all))
	}
	return during, between, held
}

func (f *SiegeFigures) compute(s Seen) {
	if len(s.Blockades) == 0 {
		return
	}
	var spans []Span
	var most Blockade
	var begun, busy, long float64
	for _, b := range s.Blockades {
		spans = append(spans, b.Span)
		begun, busy, long = begun+b.Sent, busy+b.TargetCPUMS, long+b.To-b.From
		most.AtOnce, most.Served, most.Conns = max(most.AtOnce, b.AtOnce), max(most.Served, b.Served), max(most.Conns, b.Conns)
		most.LetIn, most.RSSMost = max(most.LetIn, b.LetIn), max(most.RSSMost, b.RSSMost)
	}
	f.Streams, f.AtOnce, f.Served, f.Conns, f.LetIn = of(begun), of(most.AtOnce), of(most.Served), of(most.Conns), of(most.LetIn)
	f.RSSBefore, f.RSSMost = of(s.Blockades[0].RSSBefore), of(most.RSSMost)
	if long > 0 {
		f.NodeCPU = of(busy / long)
	}
	during, between, held := apart(s.Pairs, spans)
	f.P99, f.Calm, f.Held = quantile(during, 0.99), quantile(between, 0.99), held
	during, between = nil, nil
	for _, p := range s.Posts {
		if within, near := at(spans, p.MS); within {
			during = append(during, p.Took)
		} else if !near {
			between = append(between, p.Took)
		}
	}
	f.PostP99, f.PostCalm = quantile(during, 0.99), quantile(between, 0.99)
}

// at tells whether a moment is within a flood, and whether it is so soon after one that
// it says nothing of calm.
func at(floods []Span, ms float64) (within, near bool) {
	for _, x := range floods {
		within = within || ms >= x.From && ms <= x.To
		near = near || ms >= x.From && ms <= x.To+afterglow
	}
	return within, near
}

func (f *Figures) silent(looks []Look) {
	if len(looks) == 0 {
		return
	}
	share := func(l Look) *float64 {
		if l.Honest+l.Ours == 0 {
			return nil
		}
		return of(float64(l.Ours) / float64(l.Honest+l.Ours))
	}
	f.SilentFirst, f.SilentEnd = share(looks[0]), share(looks[len(looks)-1])
	stay := 0.0
	for _, l := range looks {
		stay = max(stay, l.Stay)
	}
	f.SilentStay = of(stay)
}

func of(v float64) *float64 { return &v }

func quantile(list []float64, q float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return of(list[max(0, int(math.Ceil(q*float64(len(list))))-1)])
}

// A Measure is one figure that is shown and compared.
type Measure struct {
	Key, Title, Unit string
	Of               func(*Figures) *float64
}

// Measures are all of them, in the order in which they are shown.
func Measures() []Measure {
	return []Measure{
		{"late_delivery", "Of what was live when they came, latecomers hold", "share", func(f *Figures) *float64 { return f.LateHeld }},
		{"late_last_ms", "A latecomer holds all of it, from its start, the longest", "ms", func(f *Figures) *float64 { return f.LateLast }},
		{"late_live", "Announcements live when a latecomer came", "count", func(f *Figures) *float64 { return f.LateLive }},
		{"victim_delivery", "Of all that is live, surrounded nodes hold within 10 min", "share", func(f *Figures) *float64 { return f.VictimHeld }},
		{"victim_least", "The same, of the one that holds least", "share", func(f *Figures) *float64 { return f.VictimLeast }},
		{"withheld_delivery", "Of what censors hold back, surrounded nodes hold within 10 min", "share", func(f *Figures) *float64 { return f.WithheldHeld }},
		{"withheld_last_ms", "The last surrounded node has the last of it after", "ms", func(f *Figures) *float64 { return f.WithheldLast }},
		{"flood_sent", "Invalid announcements sent", "count", func(f *Figures) *float64 { return f.FloodSent }},
		{"flood_looked_at", "Of them looked at", "count", func(f *Figures) *float64 { return f.FloodLooked }},
		{"flood_looked_last_ms", "The last is looked at, from the start of its flood", "ms", func(f *Figures) *float64 { return f.FloodLast }},
		{"flood_cpu_share", "Processors that flooding peers keep busy", "count", func(f *Figures) *float64 { return f.FloodCPU }},
		{"flood_target_cpu_share", "Processors that a flooded node keeps busy", "count", func(f *Figures) *float64 { return f.FloodNodeCPU }},
		{"flood_delivery_60s", "Announced during a flood: delivery within 60 s", "share", func(f *Figures) *float64 { return f.FloodHeld }},
		{"flood_latency_p50_ms", "Announced during a flood: latency, half within", "ms", func(f *Figures) *float64 { return f.FloodP50 }},
		{"calm_latency_p50_ms", "Announced between floods: latency, half within", "ms", func(f *Figures) *float64 { return f.CalmP50 }},
		{"flood_latency_p99_ms", "Announced during a flood: latency, 99 % within", "ms", func(f *Figures) *float64 { return f.FloodP99 }},
		{"calm_latency_p99_ms", "Announced between floods: latency, 99 % within", "ms", func(f *Figures) *float64 { return f.CalmP99 }},
		{"flood_latency_p99_ratio", "The former ÷ the latter", "count", func(f *Figures) *float64 { return f.FloodSlower }},
		{"silent_places_first", "Places in meshes of odd topics that silent nodes have at first", "share", func(f *Figures) *float64 { return f.SilentFirst }},
		{"silent_places_end", "The same at the end", "share", func(f *Figures) *float64 { return f.SilentEnd }},
		{"silent_stay_ms", "The longest stay of one in such a mesh", "ms", func(f *Figures) *float64 { return f.SilentStay }},
		{"siege_streams", "Streams that besiegers began", "count", func(f *Figures) *float64 { return f.Siege.Streams }},
		{"siege_streams_at_once", "Of them open at once", "count", func(f *Figures) *float64 { return f.Siege.AtOnce }},
		{"siege_served", "Streams that the besieged node served at once, at most", "count", func(f *Figures) *float64 { return f.Siege.Served }},
		{"siege_connections", "Connections that it had, at most", "count", func(f *Figures) *float64 { return f.Siege.Conns }},
		{"siege_crowd_let_in", "Of the connections of one address it let in", "count", func(f *Figures) *float64 { return f.Siege.LetIn }},
		{"siege_rss_before", "Its memory before the first siege", "bytes", func(f *Figures) *float64 { return f.Siege.RSSBefore }},
		{"siege_rss_most", "Its memory during one, at most", "bytes", func(f *Figures) *float64 { return f.Siege.RSSMost }},
		{"siege_node_cpu_share", "Processors that it keeps busy", "count", func(f *Figures) *float64 { return f.Siege.NodeCPU }},
		{"siege_post_p99_ms", "During a siege: an author's wait, 99 % within", "ms", func(f *Figures) *float64 { return f.Siege.PostP99 }},
		{"siege_calm_post_p99_ms", "Between sieges: an author's wait, 99 % within", "ms", func(f *Figures) *float64 { return f.Siege.PostCalm }},
		{"siege_delivery_60s", "Announced during a siege: delivery within 60 s", "share", func(f *Figures) *float64 { return f.Siege.Held }},
		{"siege_latency_p99_ms", "Announced during a siege: latency, 99 % within", "ms", func(f *Figures) *float64 { return f.Siege.P99 }},
		{"siege_calm_latency_p99_ms", "Announced between sieges: latency, 99 % within", "ms", func(f *Figures) *float64 { return f.Siege.Calm }},
	}
}
