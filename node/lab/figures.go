package lab

import (
	"math"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/lab/hostile"
)

// Figures are what one run comes to. A figure of which nothing is known is absent.
// A pair is an announcement and an honest public node that follows its topic.
//
//house:allow fields one flat object for each run is what tables are read from
type Figures struct {
	Seed          uint64 `json:"seed"`
	Announced     int    `json:"announced"` // announcements and withdrawals that their authors' nodes took
	Failed        int    `json:"failed"`    // those that they did not take
	Pairs         int    `json:"pairs"`     // judged; see Unjudged
	PairsAtOnce   int    `json:"pairs_at_once"`
	Unjudged      int    `json:"pairs_unjudged"` // the node was not there for long enough to expect it
	HeardOutright int    `json:"heard_without_pull"`
	HeardInTime   int    `json:"heard_in_time"`
	Heard         int    `json:"heard"`

	Outright *float64  `json:"delivery_without_pull,omitempty"` // share of the pairs whose node was there from the start; also what gossip brought after pull had, where the engine sees it
	InTime   *float64  `json:"delivery_60s,omitempty"`          // share of all pairs, from when the node could hear of it
	Ever     *float64  `json:"delivery,omitempty"`              // share of all pairs by the end
	Latency  Quantiles `json:"latency_ms,omitzero"`             // of pairs whose node was there from the start

	BytesPerNode         *float64 `json:"bytes_per_node,omitempty"` // sent and received, mean over honest public nodes
	BytesPerAnnouncement *float64 `json:"bytes_per_announcement,omitempty"`
	PacketsPerNode       *float64 `json:"packets_per_node,omitempty"` // as bytes
	RPCsPerNode          *float64 `json:"rpcs_per_node,omitempty"`    // of gossip
	JudgedPerNode        *float64 `json:"judged_per_node,omitempty"`  // announcements that its router judged and let pass, or ignored
	CPUPerNode           *float64 `json:"cpu_ms_per_node,omitempty"`
	RSSPerNode           *float64 `json:"rss_bytes_per_node,omitempty"`

	SybilLinks *float64 `json:"sybil_links,omitempty"` // links of an honest public node with Sybils for each with an honest node, when the load began
	SybilMesh  *float64 `json:"sybil_mesh,omitempty"`  // share of the places in their meshes that were Sybils'

	SpyKeeper *float64 `json:"spy_precision_keeper,omitempty"` // share of guesses that name a keeper which the author gave it to
	SpyAuthor *float64 `json:"spy_precision_author,omitempty"` // share that name its author
	SpyChance *float64 `json:"spy_chance,omitempty"`           // of naming such a keeper by throwing dice

	DHTFigures
	hostile.Figures

	Keepers KeeperFigures `json:"keepers,omitzero"`

	Series Series `json:"-"`
}

// Quantiles are nearest-rank, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Series are what plots are drawn from.
type Series struct {
	Due, Got     []float64            // ms at which a pair became due, and was heard; sorted
	LatencyByWay map[string][]float64 // ms, sorted
	BytesByNode  []float64            // sorted
	Marks        []Mark
}

// A Mark is a moment that a plot shows.
type Mark struct {
	MS   float64
	What string
}

// InTime is how long pull may take to bring what gossip did not.
const InTime = time.Minute

// Compute works the figures out of the records of one run.
func Compute(s Scenario, seed uint64, records []Record) Figures {
	t := newTables(records)
	f := Figures{Seed: seed, Series: Series{LatencyByWay: map[string][]float64{}, Marks: t.marks}}
	wait := min(InTime, time.Duration(s.Settle)).Milliseconds()
	for _, a := range t.said {
		if a.What == "failed" {
			f.Failed++
			continue
		}
		f.Announced++
		for _, n := range t.public {
			if n.Role == Honest {
				p := t.judge(a, n, wait)
				f.pair(p)
				t.note(a, n, p)
			}
		}
	}
	f.finish(s, t)
	return f
}

// A pair is judged by when it could be heard first, and when it was.
type pair struct {
	asked, due, heard int64
	way               string
	again             bool // gossip brought it after pull had
	follows           bool // the node is one that should hear it
	counts, was       bool
}

func (f *Figures) pair(p pair) {
	if !p.counts && !p.was {
		if p.follows {
			f.Unjudged++
		}
		return
	}
	f.Pairs++
	f.Series.Due = append(f.Series.Due, float64(p.due))
	atOnce := p.due == p.asked
	if atOnce {
		f.PairsAtOnce++
	}
	if !p.was {
		return
	}
	f.Heard++
	f.Series.Got = append(f.Series.Got, float64(p.heard))
	if p.heard <= p.due+InTime.Milliseconds() {
		f.HeardInTime++
	}
	if atOnce {
		if p.way != ByPull || p.again {
			f.HeardOutright++
		}
		f.Series.LatencyByWay[p.way] = append(f.Series.LatencyByWay[p.way], float64(p.heard-p.asked))
	}
}

// finish works out shares, quantiles and costs.
func (f *Figures) finish(s Scenario, t *tables) {
	f.Outright, f.InTime, f.Ever = share(f.HeardOutright, f.PairsAtOnce), share(f.HeardInTime, f.Pairs), share(f.Heard, f.Pairs)
	var all []float64
	for _, list := range f.Series.LatencyByWay {
		slices.Sort(list)
		all = append(all, list...)
	}
	f.Latency = quantiles(all)
	slices.Sort(f.Series.Due)
	slices.Sort(f.Series.Got)
	f.costs(t)
	f.spies(t)
	f.dht(t)
	f.Keepers.finish(s, t)
	f.Figures = hostile.Compute(t.hostile())
}

// costs adds up what honest public nodes used, over all their lives.
func (f *Figures) costs(t *tables) {
	var bytes, packets, rpcs, judged, cpu, rss []float64
	known := func(list []float64, v float64) []float64 {
		if v > 0 {
			list = append(list, v)
		}
		return list
	}
	for _, n := range t.public {
		lives := t.usage[n.Node]
		if n.Role != Honest || len(lives) == 0 {
			continue
		}
		sum := func(of func(Record) float64) float64 {
			v := -of(t.before[n.Node])
			for _, u := range lives {
				v += of(u)
			}
			return v
		}
		bytes = append(bytes, sum(func(u Record) float64 { return float64(u.Sent + u.Received) }))
		packets = known(packets, sum(func(u Record) float64 { return float64(u.Packets) }))
		rpcs = known(rpcs, sum(func(u Record) float64 { return float64(u.RPCs) }))
		judged = known(judged, sum(func(u Record) float64 { return float64(u.Judged) }))
		cpu = known(cpu, sum(func(u Record) float64 { return float64(u.CPUMS) }))
		most := 0.0
		for _, u := range lives {
			most = max(most, float64(u.RSS))
		}
		rss = known(rss, most)
	}
	slices.Sort(bytes)
	f.Series.BytesByNode = bytes
	f.BytesPerNode, f.CPUPerNode, f.RSSPerNode = mean(bytes), mean(cpu), mean(rss)
	f.PacketsPerNode, f.RPCsPerNode, f.JudgedPerNode = mean(packets), mean(rpcs), mean(judged)
	if all := t.usage[""]; f.CPUPerNode == nil && len(all) > 0 { // the engine knows only what all used together
		sum := -float64(t.before[""].CPUMS)
		for _, u := range all {
			sum += float64(u.CPUMS)
		}
		f.CPUPerNode = mean([]float64{sum / float64(max(t.players, 1))})
	}
	f.sybils(t)
	if f.BytesPerNode != nil && f.Announced > 0 {
		v := *f.BytesPerNode / float64(f.Announced)
		f.BytesPerAnnouncement = &v
	}
}

// sybils tells how near the Sybils got.
func (f *Figures) sybils(t *tables) {
	var links, mesh [2]int
	for _, n := range t.public {
		if u := t.before[n.Node]; n.Role == Honest {
			links[0], links[1], mesh[0], mesh[1] = links[0]+u.Links[0], links[1]+u.Links[1], mesh[0]+u.Mesh[0], mesh[1]+u.Mesh[1]
		}
	}
	if links[1] > 0 {
		f.SybilLinks, f.SybilMesh = share(links[1], links[0]), share(mesh[1], mesh[0]+mesh[1])
	}
}

// spies judges the first-spy attack: of each announcement, the spy that heard it
// first names the node that told it.
func (f *Figures) spies(t *tables) {
	if t.spyCount == 0 {
		return
	}
	honest := 0
	for _, n := range t.public {
		if n.Role == Honest {
			honest++
		}
	}
	guesses, keeper, author, posted := 0, 0, 0, 0
	for _, a := range t.said {
		heard := t.heard[version{a.Context, a.Seq}]
		g, ok := t.spied[version{a.Context, a.Seq}]
		if !ok || a.What == "failed" {
			continue
		}
		guesses++
		for _, h := range heard {
			if h.Way == ByPost && t.role[h.Node] == Honest {
				posted++
			}
		}
		if heard[g.From].Way == ByPost {
			keeper++
		}
		if g.From == a.Node {
			author++
		}
	}
	f.SpyKeeper, f.SpyAuthor, f.SpyChance = share(keeper, guesses), share(author, guesses), share(posted, guesses*honest)
}

func share(n, of int) *float64 {
	if of == 0 {
		return nil
	}
	v := float64(n) / float64(of)
	return &v
}

func mean(list []float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	sum /= float64(len(list))
	return &sum
}

func quantiles(list []float64) Quantiles {
	if len(list) == 0 {
		return Quantiles{}
	}
	slices.Sort(list)
	at := func(q float64) float64 { return list[max(0, int(math.Ceil(q*float64(len(list))))-1)] }
	return Quantiles{at(0.5), at(0.9), at(0.99), at(1)}
}
