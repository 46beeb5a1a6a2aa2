package lab

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/node/lab/span"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Engines.
const (
	Processes = "processes" // real processes of the real program, on loopback
	Simulated = "simulated" // real nodes on a simulated network, in one process
)

// A Scenario is one experiment. The keys of its file are the names in the tags.
//
//house:allow fields each is a key, or a table, of the file
type Scenario struct {
	Name     string   `toml:"name" comment:"What the experiment is called."`
	About    string   `toml:"about" comment:"What it is to find out."`
	Engine   string   `toml:"engine" comment:"processes (real ones, on this machine) or simulated (real nodes on a simulated network)."`
	Seed     uint64   `toml:"seed" comment:"Of the plan, and in the simulated network of the links, of whom nodes know at first and of their keys; not of what nodes draw for themselves. Run number n has seed + n - 1."`
	Seeds    int      `toml:"seeds" comment:"How many runs, each with a seed of its own: the spread between them is the noise."`
	Duration Duration `toml:"duration" comment:"How long needs are announced, and things go wrong."`
	Settle   Duration `toml:"settle" comment:"How long stragglers are waited for after that, at most."`

	Network   Network   `toml:"network"`
	Links     Links     `toml:"links"`
	Load      Load      `toml:"load"`
	Churn     Churn     `toml:"churn"`
	Sybils    Sybils    `toml:"sybils"`
	Spies     Spies     `toml:"spies"`
	Partition Partition `toml:"partition"`
	Clock     Clock     `toml:"clock"`
	Letters   Letters   `toml:"letters"`
	Liars     Liars     `toml:"liars"`
	MailFlood MailFlood `toml:"mail_flood"`

	Late      hostile.Late    `toml:"late"`
	Censors   hostile.Censors `toml:"censors"`
	Floods    hostile.Floods  `toml:"floods"`
	Silent    hostile.Silent  `toml:"silent"`
	Siege     hostile.Siege   `toml:"siege"`
	Records   Records         `toml:"records"`
	DHTSybils DHTSybils       `toml:"dht_sybils"`
	DHTFlood  DHTFlood        `toml:"dht_flood"`
}

// Network says who is there.
type Network struct {
	Public   int      `toml:"public" comment:"Always-on nodes: keepers."`
	Personal int      `toml:"personal" comment:"Customers' nodes, which announce the needs."`
	Shards   uint16   `toml:"shards" comment:"Gossip topics: a power of two."`
	Ways     []string `toml:"ways" comment:"Ways in that each node uses: bootstrap, which a fresh node needs, cache, exchange, dht; none: all. Simulated nodes have no cache, and dht with network.dht."`
	DHT      bool     `toml:"dht" comment:"Simulated nodes take part in the network's own DHT, as real ones always do. It costs nine to fourteen times the CPU time, and three to six times the memory. Simulated only."`
	Follow   string   `toml:"follow" comment:"What a public node follows: all topics, or only the two drawn from its own key (own)."`
	Dials    int      `toml:"dials" comment:"Public nodes to which each dials out; 0 is the program's own number. Simulated only."`
	Work     uint8    `toml:"work" comment:"Zero bits of work that an announcement asks for; 0 is none."`
}

// Links say what the simulated network is like.
type Links struct {
	Latency   Duration `toml:"latency" comment:"One way, at least. Simulated only, as all of [links]."`
	Jitter    Duration `toml:"jitter" comment:"At most so much more, drawn for each pair of nodes."`
	Loss      float64  `toml:"loss" comment:"Share of packets that are lost, 0 to 1."`
	Bandwidth int      `toml:"bandwidth" comment:"Bits a second, of each node each way."`
}

// Load says what customers do.
type Load struct {
	Needs      int      `toml:"needs" comment:"Announced in all, evenly over the duration, by customers in turn."`
	Withdrawn  float64  `toml:"withdrawn" comment:"Share of them taken back before the duration ends, 0 to 1."`
	Categories []string `toml:"categories" comment:"What they are about, drawn by the seed; none: all categories there are."`
	PostHops   int      `toml:"post_hops" comment:"2: a need goes to each of its keepers sealed, by way of another of them; 1: straight."`
	PostDelay  Duration `toml:"post_delay" comment:"Each need waits a random part of this at its keepers before it is published. 0s here, so that latency is the network's; people's nodes have 5s."`
	PostBy     string   `toml:"post_by" comment:"Who takes a sealed need on to each of its keepers: another of its keepers, or any public node (strangers), as it must not be: the planted fault of spies. Strangers simulated only."`
}

// Churn says how public nodes come and go.
type Churn struct {
	PerMinute float64  `toml:"per_minute" comment:"Times a minute that a public node, drawn by the seed, ends without a word. It comes back."`
	Downtime  Duration `toml:"downtime" comment:"How long it stays away."`
}

// Sybils are nodes that join every topic and pass nothing on.
type Sybils struct {
	Count int `toml:"count" comment:"Nodes that take part in gossip and drop everything. Simulated only."`
}

// Spies are public nodes like all others, keepers too, which note who handed in what, by
// gossip and on streams, and put it together.
type Spies struct {
	Count int `toml:"count" comment:"Public nodes beside those of [network] that do all that others do, note who handed in what, and put it together. Simulated only."`
}

// Partition cuts the network in two.
type Partition struct {
	At    Duration `toml:"at" comment:"When the network is cut in two. Simulated only."`
	For   Duration `toml:"for" comment:"How long; 0 is never."`
	Share float64  `toml:"share" comment:"Share of the public nodes on the smaller side; customers are divided alike."`
}

// Clock puts clocks wrong.
type Clock struct {
	Skew  Duration `toml:"skew" comment:"How wrong clocks are: fast and slow in turn. Simulated only."`
	Share float64  `toml:"share" comment:"Share of all nodes whose clock is wrong."`
}

// Default is the scenario whose values stand where a file says nothing.
func Default() Scenario {
	h := hostile.Default()
	return Scenario{
		Name: "unnamed", Engine: Processes, Seed: 1, Seeds: 1, Duration: Duration(30 * time.Second), Settle: Duration(90 * time.Second),
		Network:   Network{Public: 5, Personal: 2, Shards: 4, Ways: []string{}, Follow: FollowAll, Work: 0},
		Links:     Links{Latency: Duration(20 * time.Millisecond), Jitter: Duration(60 * time.Millisecond), Bandwidth: 50_000_000},
		Load:      Load{Needs: 20, Categories: []string{}, PostHops: 2, PostBy: ByKeepers},
		Churn:     Churn{Downtime: Duration(10 * time.Second)},
		Partition: Partition{Share: 0.5},
		Liars:     Liars{How: []string{}, Every: Duration(20 * time.Second)},
		MailFlood: MailFlood{Addresses: 64, Needs: 1, Vouched: protocol.FirstVouched, Named: true},
		Late:      h.Late, Censors: h.Censors, Floods: h.Floods, Silent: h.Silent, Siege: h.Siege,
		Records:  Records{Each: 2},
		DHTFlood: DHTFlood{Records: 100},
	}
}

// What public nodes may follow.
const (
	FollowAll = "all"
	FollowOwn = "own"
)

// Bounds of a scenario.
const (
	maxProcesses = 64     // of real ones on one machine
	maxNodes     = 5000   // simulated
	maxNeeds     = 20_000 // in one run
	maxSeeds     = 100
	maxTime      = 24 * time.Hour
	maxChurn     = 600
	maxPostDelay = Duration(protocol.MaxPostHold * time.Millisecond)
)

// Check refuses what makes no sense, and what the engine can't do, each by its name.
func (s *Scenario) Check() error {
	if err := checkSpans("", reflect.ValueOf(*s)); err != nil {
		return err
	}
	for _, r := range s.rules() {
		if !r.ok {
			return &Problem{Key: r.key, What: r.what, Next: r.next}
		}
	}
	for _, c := range s.Load.Categories {
		if !protocol.Categories().Has(protocol.Category(c)) {
			var near []string
			for _, n := range protocol.Categories().Near(c, 3) {
				near = append(near, string(n))
			}
			return &Problem{Key: "load.categories", What: fmt.Sprintf("%q is no category", c), Next: "near it are " + strings.Join(near, ", ")}
		}
	}
	return nil
}

// badWay gives the first way in that the engine does not have, or that is missing.
func (s *Scenario) badWay() (what, next string) {
	have := []string{"bootstrap", "cache", "exchange", "dht"}
	if s.Engine == Simulated {
		have = []string{"bootstrap", "exchange"}
		if s.Network.DHT {
			have = append(have, "dht")
		}
	}
	for _, w := range s.Network.Ways {
		if !slices.Contains(have, w) {
			return fmt.Sprintf("%q is no way in of the %s engine", w, s.Engine), "it has " + strings.Join(have, ", ")
		}
	}
	if len(s.Network.Ways) > 0 && !slices.Contains(s.Network.Ways, have[0]) {
		return "a fresh node finds nobody without bootstrap", "add bootstrap"
	}
	return "", ""
}

// checkSpans refuses time spans that were written without a unit: nothing here takes
// nanoseconds.
func checkSpans(prefix string, v reflect.Value) error {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("toml")
		if d, ok := v.Field(i).Interface().(Duration); ok && d != 0 && max(d, -d) < Duration(time.Millisecond) {
			return &Problem{Key: key, What: fmt.Sprintf("%s is too short", d), Next: "write it with a unit, as in \"90s\""}
		}
		if v.Field(i).Kind() == reflect.Struct {
			if err := checkSpans(key+".", v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A rule is one thing that must be so.
type rule struct {
	ok              bool
	key, what, next string
}

func (s *Scenario) rules() []rule {
	n, l := s.Network, s.Load
	h := s.hostile()
	nodes := n.Public + n.Personal + s.Sybils.Count + s.Spies.Count + s.Liars.Count + h.Nodes() + s.DHTSybils.PerKey + s.DHTFlood.Peers
	most := maxNodes
	if s.Engine == Processes {
		most = maxProcesses
	}
	share := func(key string, f float64) rule {
		return rule{f >= 0 && f <= 1 && !math.IsNaN(f), key, fmt.Sprintf("%v is no share", f), "a share is 0 to 1"}
	}
	within := func(key string, v, least, most int) rule {
		return rule{v >= least && v <= most, key, fmt.Sprintf("%d is out of bounds", v), fmt.Sprintf("want %d to %d", least, most)}
	}
	way, other := s.badWay()
	out := []rule{
		{s.Engine == Processes || s.Engine == Simulated, "engine", fmt.Sprintf("%q is no engine", s.Engine), "want processes or simulated"},
		{strings.TrimSpace(s.Name) != "" && len(s.Name) <= 100, "name", "the name is empty, or longer than 100 bytes", "give the experiment a short name"},
		{len(s.About) <= 2000, "about", "longer than 2,000 bytes", "say it shorter"},
		within("seeds", s.Seeds, 1, maxSeeds),
		{s.Duration > 0 && s.Duration <= Duration(maxTime), "duration", fmt.Sprintf("%s is out of bounds", s.Duration), "want more than 0s, at most 24h"},
		{s.Settle >= 0 && s.Settle <= Duration(maxTime), "settle", fmt.Sprintf("%s is out of bounds", s.Settle), "want 0s to 24h"},
		within("network.public", n.Public, 1, most), within("network.personal", n.Personal, 1, most),
		{nodes <= most, "network", fmt.Sprintf("%d nodes in all", nodes), fmt.Sprintf("the %s engine runs at most %d", s.Engine, most)},
		{n.Shards > 0 && n.Shards <= 1024 && n.Shards&(n.Shards-1) == 0, "network.shards", fmt.Sprintf("%d is out of bounds", n.Shards), "want a power of two, 1 to 1024"},
		{way == "", "network.ways", way, other},
		{n.Follow == FollowAll || n.Follow == FollowOwn, "network.follow", fmt.Sprintf("%q is unknown", n.Follow), "want all or own"},
		{n.Work <= 24, "network.work", fmt.Sprintf("%d bits take too long", n.Work), "want 0 to 24"},
		within("load.needs", l.Needs, 1, maxNeeds), share("load.withdrawn", l.Withdrawn),
		within("load.post_hops", l.PostHops, 1, 2),
		{l.PostDelay >= 0 && l.PostDelay <= maxPostDelay, "load.post_delay", fmt.Sprintf("%s is out of bounds", l.PostDelay), fmt.Sprintf("want 0s to %s", maxPostDelay)},
		{len(l.Categories) <= 100, "load.categories", "more than 100", "name fewer, or none for all"},
		{s.Churn.PerMinute >= 0 && s.Churn.PerMinute <= maxChurn, "churn.per_minute", fmt.Sprintf("%v is out of bounds", s.Churn.PerMinute), fmt.Sprintf("want 0 to %d", maxChurn)},
		{s.Churn.Downtime > 0 && s.Churn.Downtime <= Duration(maxTime), "churn.downtime", fmt.Sprintf("%s is out of bounds", s.Churn.Downtime), "want more than 0s"},
		{s.Churn.PerMinute == 0 || n.Public-s.Late.Count > 1, "churn.per_minute", "the one public node there is can't go", "set network.public to 2 or more"},
	}
	for _, r := range h.Rules(hostile.Setting{Simulated: s.Engine == Simulated, Public: n.Public, Shards: n.Shards, Duration: time.Duration(s.Duration)}) {
		out = append(out, rule{r.OK, r.Key, r.What, r.Next})
	}
	out = append(out, s.keeperRules()...)
	out = append(out, s.dhtRules(within)...)
	if s.Engine == Processes {
		return append(out, s.realRules()...)
	}
	return append(out, share("links.loss", s.Links.Loss), share("partition.share", s.Partition.Share), share("clock.share", s.Clock.Share),
		rule{s.Links.Latency > 0 && s.Links.Latency <= Duration(10*time.Second), "links.latency", "out of bounds", "want more than 0s, at most 10s"},
		rule{s.Links.Jitter >= 0 && s.Links.Jitter <= Duration(10*time.Second), "links.jitter", "out of bounds", "want 0s to 10s"},
		within("links.bandwidth", s.Links.Bandwidth, 10_000, 1<<40), within("network.dials", n.Dials, 0, 100),
		within("sybils.count", s.Sybils.Count, 0, most), within("spies.count", s.Spies.Count, 0, most),
		rule{s.Partition.At >= 0 && s.Partition.For >= 0 && s.Partition.At+s.Partition.For <= s.Duration, "partition", "it ends after the duration", "make the duration longer"},
		rule{max(s.Clock.Skew, -s.Clock.Skew) <= Duration(24*time.Hour), "clock.skew", "out of bounds", "want at most 24h"})
}

// realRules refuse what can't be done to real processes on loopback without rights
// over the machine.
func (s *Scenario) realRules() []rule {
	d := Default()
	not := notReal
	return []rule{
		not("network.dials", s.Network.Dials == 0), not("links.latency", s.Links.Latency == d.Links.Latency), not("links.jitter", s.Links.Jitter == d.Links.Jitter),
		not("links.loss", s.Links.Loss == 0), not("links.bandwidth", s.Links.Bandwidth == d.Links.Bandwidth), not("sybils.count", s.Sybils.Count == 0),
		not("spies.count", s.Spies.Count == 0), not("partition.for", s.Partition.For == 0), not("clock.skew", s.Clock.Skew == 0),
	}
}

// A Problem is what is wrong with a scenario, where, and what to do.
type Problem struct {
	File string
	Line int // 0: nowhere in particular
	Key  string
	What string
	Next string // what to do
}

// Error implements error.
func (p *Problem) Error() string {
	var at []string
	if p.File != "" {
		at = append(at, p.File)
	}
	if p.Line > 0 {
		at = append(at, fmt.Sprintf("line %d", p.Line))
	}
	if p.Key != "" {
		at = append(at, p.Key)
	}
	return strings.Join(append(at, p.What), ": ") + "; " + p.Next
}

// Unwrap gives the kind of fault.
func (p *Problem) Unwrap() error { return fault.Malformed }

// A Duration is a time span as people write it: 90s, 1h30m.
type Duration = span.Duration
