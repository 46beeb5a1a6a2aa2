package hostile

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/node/lab/span"
)

func TestMoments(t *testing.T) {
	d := Default()
	if d.Nodes() != 0 || d.Tell() != "" || len(d.Flooded(time.Hour)) != 0 || len(d.Watched(time.Hour)) != 0 || len(d.Arrivals()) != 0 {
		t.Errorf("by default somebody is there: %+v", d)
	}
	d.Late = Late{Count: 3, From: span.Duration(10 * time.Second), Over: span.Duration(20 * time.Second)}
	d.Floods.Count, d.Silent.Whole, d.Censors.Count = 2, 4, 5
	if got := d.Arrivals(); !slices.Equal(got, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}) {
		t.Errorf("%v", got)
	}
	if got := d.Flooded(50 * time.Second); !slices.Equal(got, []time.Duration{12 * time.Second, 32 * time.Second}) { // 8 s at the end of each 20 s
		t.Errorf("%v", got)
	}
	d.Siege = Siege{Crowd: 1, For: span.Duration(5 * time.Second), Every: span.Duration(10 * time.Second)}
	if got := d.Besieged(25 * time.Second); !slices.Equal(got, []time.Duration{5 * time.Second, 15 * time.Second}) || !d.Armed() {
		t.Errorf("%v", got)
	}
	d.Siege.Crowd = 0
	if got := d.Watched(9 * time.Second); !slices.Equal(got, []time.Duration{0, 4 * time.Second, 8 * time.Second}) {
		t.Errorf("%v", got)
	}
	if got, want := d.Tell(), ", 3 of them late, 5 censors around 1, 4 that are silent in odd topics, floods by 2"; got != want || d.Nodes() != 9 {
		t.Errorf("%s, %d nodes", got, d.Nodes())
	}
	d.Late = Late{Count: 1, From: span.Duration(time.Second)}
	if got := d.Arrivals(); !slices.Equal(got, []time.Duration{time.Second}) {
		t.Errorf("%v", got)
	}
}

// figures are those of what is known, by the names of measures.
func figures(f Figures) map[string]float64 {
	out := map[string]float64{}
	for _, m := range Measures() {
		if v := m.Of(&f); v != nil {
			out[m.Key] = *v
		}
	}
	return out
}

func TestNothingIsKnownOfNobody(t *testing.T) {
	f := Compute(Seen{Pairs: []Pair{{Node: "a", Heard: 10, AtOnce: true}}})
	if got := figures(f); len(got) > 0 || !cmp.Equal(f, Figures{}) {
		t.Errorf("%v", got)
	}
}

// TestFiguresOfVictims: of four pairs of victims one is late by more than ten minutes, one
// is never heard; who is no victim does not count.
func TestFiguresOfVictims(t *testing.T) {
	got := figures(Compute(Seen{Pairs: []Pair{
		{Node: "a", Due: 1000, Heard: 2000, Victim: true}, {Node: "a", Due: 1000, Heard: 61_000, Victim: true, Withheld: true},
		{Node: "b", Due: 0, Heard: Limit + 1, Victim: true, Withheld: true}, {Node: "b", Due: 0, Heard: -1, Victim: true, Withheld: true}, {Node: "c", Heard: -1},
	}}))
	want := map[string]float64{"victim_delivery": 0.5, "victim_least": 0, "withheld_delivery": 1.0 / 3, "withheld_last_ms": Limit + 1}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestFiguresOfFloods: what is announced during a flood, between two, and so soon after one
// that it is neither.
func TestFiguresOfFloods(t *testing.T) {
	got := figures(Compute(Seen{
		Floods: []Span{{From: 5000, To: 10_000, Sent: 100, Looked: 3, Last: 40, CPUMS: 500, TargetCPUMS: 250}, {From: 15_000, To: 20_000, Sent: 50, Looked: 1, Last: 20, CPUMS: 500, TargetCPUMS: 250}},
		Pairs: []Pair{
			{Due: 1000, Heard: 1100, AtOnce: true}, {Due: 2000, Heard: 2050, AtOnce: true}, {Due: 6000, Heard: 6300, AtOnce: true}, {Due: 7000, Heard: 7100, AtOnce: true},
			{Due: 16_000, Heard: 16_000 + InTime + 1, AtOnce: true}, {Due: 17_000, Heard: -1, AtOnce: true}, {Due: 11_000, Heard: 99_000, AtOnce: true}, {Due: 12_500, Heard: 99_000},
		},
	}))
	want := map[string]float64{
		"flood_sent": 150, "flood_looked_at": 4, "flood_looked_last_ms": 40, "flood_cpu_share": 0.1, "flood_target_cpu_share": 0.05, "flood_delivery_60s": 0.5,
		"flood_latency_p50_ms": 300, "flood_latency_p99_ms": InTime + 1, "calm_latency_p50_ms": 50, "calm_latency_p99_ms": 100, "flood_latency_p99_ratio": (InTime + 1) / 100,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestFiguresOfSieges: the most of what the sieges came to, and how long authors waited
// during and between them.
func TestFiguresOfSieges(t *testing.T) {
	got := figures(Compute(Seen{
		Blockades: []Blockade{
			{Span: Span{From: 5000, To: 10_000, Sent: 100, TargetCPUMS: 250}, AtOnce: 20, Served: 7, Conns: 9, LetIn: 3, RSSBefore: 50, RSSMost: 70},
			{Span: Span{From: 15_000, To: 20_000, Sent: 50, TargetCPUMS: 250}, AtOnce: 10, Served: 8, Conns: 5, LetIn: 4, RSSBefore: 60, RSSMost: 65},
		},
		Pairs: []Pair{{Due: 1000, Heard: 1100, AtOnce: true}, {Due: 6000, Heard: 6300, AtOnce: true}, {Due: 7000, Heard: -1, AtOnce: true}},
		Posts: []Post{{1000, 40}, {6000, 90}, {11_000, 9999}, {13_000, 30}},
	}))
	want := map[string]float64{
		"siege_streams": 150, "siege_streams_at_once": 20, "siege_served": 8, "siege_connections": 9, "siege_crowd_let_in": 4, "siege_rss_before": 50, "siege_rss_most": 70, "siege_node_cpu_share": 0.05,
		"siege_post_p99_ms": 90, "siege_calm_post_p99_ms": 40, "siege_delivery_60s": 0.5, "siege_latency_p99_ms": 300, "siege_calm_latency_p99_ms": 100,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFiguresOfLatecomersAndTheSilent(t *testing.T) {
	got := figures(Compute(Seen{
		Latecomers: []Latecomer{{Live: 10, Held: 10, Last: 900}, {Live: 30, Held: 20, Last: 700}, {}},
		Looks:      []Look{{MS: 0, Honest: 30, Ours: 10}, {MS: 4000, Honest: 35, Ours: 5, Stay: 4000}, {MS: 8000, Honest: 40}},
	}))
	want := map[string]float64{"late_delivery": 0.75, "late_last_ms": 900, "late_live": 40.0 / 3, "silent_places_first": 0.25, "silent_places_end": 0, "silent_stay_ms": 4000}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSiegesHaveBounds(t *testing.T) {
	good := Order{Targets: []Target{{}}, Streams: 1, ForMS: 1, Protocols: []string{"/x"}}
	if !good.Check() || !good.Siege() {
		t.Error("a good order is refused")
	}
	for name, change := range map[string]func(*Order){
		"too many hosts": func(o *Order) { o.Count = maxHosts + 1 }, "no streams": func(o *Order) { o.Streams = 0 }, "too many streams": func(o *Order) { o.Streams = maxStreams + 1 },
		"a crowd too large": func(o *Order) { o.Crowd = maxCrowd + 1 }, "too many protocols": func(o *Order) { o.Protocols = make([]string, maxProtocols+1) }, "nobody": func(o *Order) { o.Count = -1 },
	} {
		o := good
		if change(&o); o.Check() {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestOrdersHaveBounds(t *testing.T) {
	good := Order{Targets: []Target{{}}, Count: 1, Rate: 1, ForMS: 1}
	if !good.Check() {
		t.Error("a good order is refused")
	}
	for name, change := range map[string]func(*Order){
		"no target": func(o *Order) { o.Targets = nil }, "too many": func(o *Order) { o.Targets = make([]Target, MaxTargets+1) }, "nobody": func(o *Order) { o.Count = 0 },
		"too many peers": func(o *Order) { o.Count = maxFlooding + 1 }, "too fast": func(o *Order) { o.Rate = maxRate + 1 }, "still": func(o *Order) { o.Rate = 0 },
		"for too long": func(o *Order) { o.ForMS = maxForMS + 1 }, "no time": func(o *Order) { o.ForMS = 0 }, "before the first": func(o *Order) { o.Round = -1 },
	} {
		o := good
		if change(&o); o.Check() {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
