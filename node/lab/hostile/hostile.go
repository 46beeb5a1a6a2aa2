// Package hostile is what attackers on gossip and latecomers are to an experiment:
//
//  1. tables of a scenario say how many there are and what they do; Rules refuse what
//     makes no sense, and Tell says in a few words who is there;
//  2. Moments are when a plan has them act;
//  3. an engine notes what they did in records of one kind, What says which;
//  4. Figures are worked out from what package lab found in the records, and Measures
//     show them.
//
// It knows no record and no plan: package lab, which does, stands on it.
package hostile

import (
	"fmt"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/lab/span"
)

// Late are public nodes that come when the market is under way.
type Late struct {
	Count int           `toml:"count" comment:"So many of the public nodes, the last of them, start late."`
	From  span.Duration `toml:"from" comment:"When the first of them starts, from the start of the load."`
	Over  span.Duration `toml:"over" comment:"The others follow evenly within this."`
}

// Censors surround public nodes and keep needs from them.
type Censors struct {
	Count   int    `toml:"count" comment:"Nodes that gossip, and answer pulls, as good ones do, but for the needs that they hold back. Simulated only, as all of [censors]."`
	Victims int    `toml:"victims" comment:"So many public nodes, the last of them, so that those who come late are first among them, hear by gossip from censors alone."`
	Hold    string `toml:"hold" comment:"What they hold back: need (the first that the first customer announces), or customer (every one of hers)."`
}

// Floods are peers that send announcements which nobody can have passed on.
type Floods struct {
	Count   int           `toml:"count" comment:"Peers that flood at the same time, each time under new keys; on the processes engine, all of one process."`
	Rate    int           `toml:"rate" comment:"Invalid announcements a second, by each of them."`
	For     span.Duration `toml:"for" comment:"How long each flood lasts."`
	Every   span.Duration `toml:"every" comment:"One flood in each of this, at its end, so that what is announced before it tells how it is without."`
	Shared  bool          `toml:"shared" comment:"They come from the address that the honest nodes have, as behind one NAT. Processes only: simulated peers have one each."`
	Targets int           `toml:"targets" comment:"Public nodes that are flooded, the first of them; each peer floods one."`
}

// Silent are good in some topics and pass nothing on in others.
type Silent struct {
	Count int `toml:"count" comment:"Nodes that pass on what comes in even topics and nothing of odd ones, and answer nothing. Simulated only, as all of [silent]."`
	Whole int `toml:"whole" comment:"Whole nodes that do the same, and pull and answer truthfully."`
}

// Siege is of one node, by streams that say nothing, or lie about how much they will.
type Siege struct {
	Hosts   int           `toml:"hosts" comment:"Hosts, each at an address of its own, that hold streams open at the first public node. Processes only, as all of [siege]."`
	Streams int           `toml:"streams" comment:"Of each of them in each protocol of the node: they trickle a byte every ten seconds, and are begun anew when it ends them; besides, one for each of ten lengths and nestings that lie."`
	Crowd   int           `toml:"crowd" comment:"Connections that come at the same time from one more address."`
	For     span.Duration `toml:"for" comment:"How long each siege lasts."`
	Every   span.Duration `toml:"every" comment:"One siege in each of this, at its end."`
}

// Tables are all of them.
type Tables struct {
	Late    Late
	Censors Censors
	Floods  Floods
	Silent  Silent
	Siege   Siege
}

// What Censors.Hold says.
const (
	HoldNeed     = "need"
	HoldCustomer = "customer"
)

// Default is nobody.
func Default() Tables {
	second := span.Duration(time.Second)
	return Tables{
		Censors: Censors{Victims: 1, Hold: HoldNeed},
		Floods:  Floods{Rate: 10_000, For: 8 * second, Every: 20 * second, Targets: 1},
		Siege:   Siege{Streams: 40, For: 30 * second, Every: 60 * second},
	}
}

// Bounds.
const (
	maxCensors  = 1000
	maxFlooding = 500
	maxRate     = 100_000
	maxFlood    = time.Minute
	maxFloods   = 1000 // in one run
	maxHosts    = 200
	maxStreams  = 1000
	maxCrowd    = 1000
	maxCame     = 50_000 // simulated peers that have flooded, each of which took an address
)

// A Rule is one thing that must be so.
type Rule struct {
	OK              bool
	Key, What, Next string
}

// A Setting is the rest of a scenario, as far as rules need it.
type Setting struct {
	Simulated bool
	Public    int
	Shards    uint16
	Duration  time.Duration
}

// Rules refuse what makes no sense, and what an engine can't do.
func (t *Tables) Rules(s Setting) []Rule {
	within := func(key string, v, least, most int) Rule {
		return Rule{v >= least && v <= most, key, fmt.Sprintf("%d is out of bounds", v), fmt.Sprintf("want %d to %d", least, most)}
	}
	span := func(key string, d span.Duration, least, most time.Duration) Rule {
		v := time.Duration(d)
		return Rule{v >= least && v <= most, key, fmt.Sprintf("%s is out of bounds", d), fmt.Sprintf("want %s to %s", least, most)}
	}
	end := t.Late.From + t.Late.Over
	out := []Rule{
		within("late.count", t.Late.Count, 0, s.Public-1),
		{t.Late.From >= 0 && t.Late.Over >= 0 && time.Duration(end) <= s.Duration, "late", "somebody starts after the duration", "make the duration longer, or late.from and late.over shorter"},
		within("floods.count", t.Floods.Count, 0, maxFlooding), within("floods.rate", t.Floods.Rate, 1, maxRate),
		span("floods.for", t.Floods.For, time.Second, maxFlood), span("floods.every", t.Floods.Every, time.Second, 24*time.Hour),
		{t.Floods.For < t.Floods.Every, "floods.for", "a flood has no end", "make it shorter than floods.every"},
		{t.Floods.Count == 0 || time.Duration(t.Floods.Every) <= s.Duration, "floods.every", "there is no flood within the duration", "make the duration longer"},
		{t.Floods.Count == 0 || s.Duration/time.Duration(max(t.Floods.Every, 1)) <= maxFloods, "floods.every", "there are too many floods", fmt.Sprintf("want at most %d within the duration", maxFloods)},
		within("floods.targets", t.Floods.Targets, 1, s.Public),
		{t.Censors.Hold == HoldNeed || t.Censors.Hold == HoldCustomer, "censors.hold", fmt.Sprintf("%q is unknown", t.Censors.Hold), "want need or customer"},
		within("censors.victims", t.Censors.Victims, 1, s.Public),
		{t.Censors.Count == 0 || t.Censors.Victims < s.Public, "censors.victims", "nobody is left who is none", "make it smaller than network.public"},
		{t.Silent.Count+t.Silent.Whole == 0 || s.Shards > 1, "silent", "there is no odd topic", "set network.shards to 2 or more"},
	}
	out = append(out, within("siege.hosts", t.Siege.Hosts, 0, maxHosts), within("siege.streams", t.Siege.Streams, 1, maxStreams), within("siege.crowd", t.Siege.Crowd, 0, maxCrowd),
		span("siege.for", t.Siege.For, time.Second, maxFlood), span("siege.every", t.Siege.Every, time.Second, 24*time.Hour),
		Rule{t.Siege.For < t.Siege.Every, "siege.for", "a siege has no end", "make it shorter than siege.every"},
		Rule{s.Simulated || !t.Siege.there() || time.Duration(t.Siege.Every) <= s.Duration, "siege.every", "there is no siege within the duration", "make the duration longer"},
		Rule{s.Simulated || !t.Siege.there() || s.Duration/time.Duration(max(t.Siege.Every, 1)) <= maxFloods, "siege.every", "there are too many sieges", fmt.Sprintf("want at most %d within the duration", maxFloods)})
	if !s.Simulated {
		const cant, next = "the processes engine can't do that", "leave it out, or set engine = \"simulated\""
		return append(out, Rule{t.Censors.Count == 0, "censors.count", cant, next}, Rule{t.Silent.Count == 0, "silent.count", cant, next},
			Rule{t.Silent.Whole == 0, "silent.whole", cant, next})
	}
	const cant, next = "the simulated engine can't do that", "leave it out, or set engine = \"processes\""
	came := t.Floods.Count * len(t.Flooded(s.Duration))
	out = append(out, Rule{came <= maxCame, "floods.count", fmt.Sprintf("%d peers in all floods together", came), fmt.Sprintf("the simulated engine has addresses for %d: take fewer peers or fewer floods", maxCame)})
	out = append(out, Rule{!t.Floods.Shared, "floods.shared", cant, next}, Rule{t.Siege.Hosts == 0, "siege.hosts", cant, next}, Rule{t.Siege.Crowd == 0, "siege.crowd", cant, next})
	return append(out, within("censors.count", t.Censors.Count, 0, maxCensors), within("silent.count", t.Silent.Count, 0, maxCensors),
		within("silent.whole", t.Silent.Whole, 0, maxCensors))
}

// Nodes are how many attackers there are that an engine runs as nodes.
func (t *Tables) Nodes() int { return t.Censors.Count + t.Silent.Count + t.Silent.Whole }

// Tell says who is there, to be put behind a list of nodes.
func (t *Tables) Tell() string {
	var b strings.Builder
	if n := t.Late.Count; n > 0 {
		fmt.Fprintf(&b, ", %d of them late", n)
	}
	if n := t.Censors.Count; n > 0 {
		fmt.Fprintf(&b, ", %d censors around %d", n, t.Censors.Victims)
	}
	if n := t.Silent.Count + t.Silent.Whole; n > 0 {
		fmt.Fprintf(&b, ", %d that are silent in odd topics", n)
	}
	if n := t.Floods.Count; n > 0 {
		fmt.Fprintf(&b, ", floods by %d", n)
	}
	if t.Siege.there() {
		fmt.Fprintf(&b, ", a siege by %d hosts and a crowd of %d", t.Siege.Hosts, t.Siege.Crowd)
	}
	return b.String()
}

// watchEvery is how often somebody looks who is in the meshes.
const watchEvery = 4 * time.Second

// Arrivals are when those who come late start.
func (t *Tables) Arrivals() (out []time.Duration) {
	for i := range t.Late.Count {
		out = append(out, time.Duration(t.Late.From)+time.Duration(t.Late.Over)*time.Duration(i)/time.Duration(max(t.Late.Count-1, 1)))
	}
	return out
}

// Flooded are when floods begin.
func (t *Tables) Flooded(duration time.Duration) (out []time.Duration) {
	return atEnds(t.Floods.Count > 0, t.Floods.For, t.Floods.Every, duration)
}

// Besieged are when sieges begin.
func (t *Tables) Besieged(duration time.Duration) (out []time.Duration) {
	return atEnds(t.Siege.there(), t.Siege.For, t.Siege.Every, duration)
}

func (s Siege) there() bool { return s.Hosts+s.Crowd > 0 }

// Armed tells whether somebody attacks who is no node of an engine's own.
func (t *Tables) Armed() bool { return t.Floods.Count > 0 || t.Siege.there() }

// atEnds are the beginnings of what lasts for so long at the end of each period.
func atEnds(there bool, long, every span.Duration, duration time.Duration) (out []time.Duration) {
	for end := every; there && time.Duration(end) <= duration; end += every {
		out = append(out, time.Duration(end-long))
	}
	return out
}

// Watched are when somebody looks who is in the meshes.
func (t *Tables) Watched(duration time.Duration) (out []time.Duration) {
	for at := time.Duration(0); t.Silent.Count+t.Silent.Whole > 0 && at < duration; at += watchEvery {
		out = append(out, at)
	}
	return out
}
