package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/node/lab/hostile"
)

const simulated = "engine = \"simulated\"\n"

func TestAttacksThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		simulated + "[censors]\ncunt = 1":                   "censors.cunt: unknown key; the keys of [censors] are count, victims, hold",
		"[late]\ncount = 5":                                 "late.count: 5 is out of bounds; want 0 to 4",
		"[late]\ncount = 1\nfrom = \"20s\"\nover = \"11s\"": "late: somebody starts after the duration; make the duration longer",
		"[late]\ncount = 1\nfrom = \"-1s\"":                 "late: somebody starts after the duration",
		"[late]\nfrom = 5":                                  "late.from: 5ns is too short; write it with a unit",
		"[floods]\ncount = 501":                             "floods.count: 501 is out of bounds; want 0 to 500",
		"[floods]\nrate = 0":                                "floods.rate: 0 is out of bounds; want 1 to 100000",
		"[floods]\nfor = \"2m\"":                            "floods.for: 2m is out of bounds; want 1s to 1m0s",
		"[floods]\nfor = \"20s\"":                           "floods.for: a flood has no end; make it shorter than floods.every",
		"[floods]\ncount = 1\nevery = \"1m\"":               "floods.every: there is no flood within the duration",
		"duration = \"2h\"\n[floods]\ncount = 1\nfor = \"1s\"\nevery = \"1500ms\"": "floods.every: there are too many floods; want at most 1000",
		"[floods]\ntargets = 6":                                                 "floods.targets: 6 is out of bounds; want 1 to 5",
		simulated + "[floods]\nshared = true":                                   "floods.shared: the simulated engine can't do that; leave it out, or set engine = \"processes\"",
		simulated + "duration = \"1h\"\n[floods]\ncount = 500\nevery = \"10s\"": "floods.count: 180000 peers in all floods together; the simulated engine has addresses for 50000",
		simulated + "[censors]\nhold = \"all\"":                                 "censors.hold: \"all\" is unknown; want need or customer",
		simulated + "[censors]\nvictims = 0":                                    "censors.victims: 0 is out of bounds; want 1 to 5",
		simulated + "[censors]\ncount = 1\nvictims = 5":                         "censors.victims: nobody is left who is none",
		simulated + "[censors]\ncount = 1001":                                   "censors.count: 1001 is out of bounds",
		simulated + "[network]\nshards = 1\n[silent]\ncount = 1":                "silent: there is no odd topic; set network.shards to 2 or more",
		simulated + "[silent]\nwhole = -1":                                      "silent.whole: -1 is out of bounds",
		simulated + "[network]\npublic = 4500\n[silent]\nwhole = 999":           "network: 5501 nodes in all; the simulated engine runs at most 5000",
		simulated + "[siege]\nhosts = 1":                                        "siege.hosts: the simulated engine can't do that; leave it out, or set engine = \"processes\"",
		simulated + "[siege]\ncrowd = 1":                                        "siege.crowd: the simulated engine can't do that",
		"[siege]\nhosts = 201":                                                  "siege.hosts: 201 is out of bounds; want 0 to 200",
		"[siege]\nstreams = 0":                                                  "siege.streams: 0 is out of bounds; want 1 to 1000",
		"[siege]\ncrowd = -1":                                                   "siege.crowd: -1 is out of bounds",
		"[siege]\nfor = \"60s\"":                                                "siege.for: a siege has no end; make it shorter than siege.every",
		"[siege]\nhosts = 1":                                                    "siege.every: there is no siege within the duration",
		"[censors]\ncount = 1":                                                  "censors.count: the processes engine can't do that",
		"[silent]\ncount = 1":                                                   "silent.count: the processes engine can't do that",
		"[silent]\nwhole = 1":                                                   "silent.whole: the processes engine can't do that",
		"[churn]\nper_minute = 1\n[late]\ncount = 4":                            "churn.per_minute: the one public node there is can't go",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestAttacksArePlanned: who comes late is not there before, and does not churn; victims are
// the last public nodes; attackers come after all others.
func TestAttacksArePlanned(t *testing.T) {
	s, err := read(simulated + "duration = \"1m\"\n[network]\npublic = 6\n[late]\ncount = 2\nfrom = \"10s\"\nover = \"20s\"\n[censors]\ncount = 3\nvictims = 3\n" +
		"[floods]\ncount = 1\n[silent]\ncount = 1\nwhole = 2\n[churn]\nper_minute = 20")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Plan(1)
	roles := ""
	for i, pl := range p.Players {
		roles += pl.Role[:1]
		if pl.Late != (i == 4 || i == 5) || pl.Victim != (i >= 3 && i < 6) {
			t.Errorf("%d: %+v", i, pl)
		}
	}
	if roles != "hhhhhhhhcccsdd" {
		t.Errorf("%s", roles)
	}
	count, came := map[string]int{}, map[int]time.Duration{}
	for _, st := range p.Steps {
		count[st.Do]++
		if st.Player > 3 && (st.Do == GoDown || st.Do == ComeUp) && st.Player < 6 {
			came[st.Player] = st.At
			if st.Do == GoDown {
				t.Errorf("%+v", st)
			}
		}
	}
	if d := cmp.Diff(map[int]time.Duration{4: 10 * time.Second, 5: 30 * time.Second}, came); d != "" || count[Flood] != 3 || count[Watch] != 15 {
		t.Errorf("%s %v", d, count)
	}
}

// TestFiguresOfAttacks: what the records say of attacks comes out.
func TestFiguresOfAttacks(t *testing.T) {
	all := story()
	all[0].Victim = true // a
	all[1].Late = true   // b, of whom the first life counts: from the start on
	all = append(all,
		Record{Kind: KindHostile, MS: 20_100, What: hostile.Withheld, Context: "n2", Seq: 1},
		Record{Kind: KindHostile, MS: 19_000, What: hostile.Flood},
		Record{Kind: KindHostile, MS: 24_000, What: hostile.Calm, Attempts: 1000, Looked: 5, LastMS: 300, TheirCPU: 100, CPUMS: 50},
		Record{Kind: KindHostile, MS: 28_000, What: hostile.Besieged, RSS: 40},
		Record{Kind: KindHostile, MS: 33_000, What: hostile.Relieved, Attempts: 500, Looked: 60, Judged: 7, RSS: 50, Links: [2]int{8, 9}},
		Record{Kind: KindHostile, MS: 0, What: hostile.Places, Mesh: [2]int{3, 1}}, Record{Kind: KindHostile, MS: 4000, What: hostile.Places, Mesh: [2]int{4, 0}, LastMS: 4000})
	f := Compute(Default(), 1, all)
	got := map[string]float64{}
	for _, m := range Measures() {
		if v := m.Of(&f); v != nil {
			got[m.Key] = *v
		}
	}
	for key, want := range map[string]float64{
		"victim_delivery": 0.75, "victim_least": 0.75, "withheld_delivery": 1, "withheld_last_ms": 500, "flood_sent": 1000, "flood_looked_at": 5, "flood_looked_last_ms": 300,
		"flood_latency_p99_ms": 500, "calm_latency_p50_ms": 200, "flood_cpu_share": 0.02, "flood_target_cpu_share": 0.01, "silent_places_first": 0.25, "silent_places_end": 0, "silent_stay_ms": 4000,
		"siege_streams": 500, "siege_streams_at_once": 60, "siege_crowd_let_in": 7, "siege_rss_before": 40, "siege_rss_most": 50, "siege_connections": 8, "siege_served": 9,
		"late_delivery": 1, "late_live": 1, "late_last_ms": 300,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s: %v, want %v", key, v, want)
		}
	}
}

// TestALatecomerIsJudgedByWhatWasLive: what was taken back before it came, or came after, is
// no loss; what was live and did not come is one.
func TestALatecomerIsJudgedByWhatWasLive(t *testing.T) {
	say := func(ms int64, context string, seq uint64, what string) Record {
		return Record{Kind: KindSaid, MS: ms, Node: "p", What: what, Context: context, Seq: seq, Shard: 1}
	}
	all := []Record{
		{Kind: KindNode, Node: "b", Public: true, Role: Honest, Late: true}, {Kind: KindLife, MS: 50_000, Node: "b", What: "up", Life: 1, Shards: []uint16{1}},
		say(0, "gone", 1, "announced"), say(10_000, "gone", 2, "withdrawn"), say(20_000, "live", 1, "announced"), say(30_000, "lost", 1, "announced"), say(60_000, "new", 1, "announced"),
		say(40_000, "going", 1, "announced"), say(51_000, "going", 2, "withdrawn"),
		{Kind: KindHeard, MS: 51_500, Node: "b", Context: "live", Seq: 1, Way: ByPull}, {Kind: KindHeard, MS: 52_000, Node: "b", Context: "gone", Seq: 2, Way: ByPull},
		{Kind: KindMark, What: "end", MS: 200_000},
	}
	f := Compute(Default(), 1, all)
	if f.LateHeld == nil || *f.LateHeld != 2.0/3 || *f.LateLast != 2000 || *f.LateLive != 3 {
		t.Errorf("%+v", f.Figures)
	}
}
