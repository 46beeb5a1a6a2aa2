package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol/fault"
)

// read parses and checks.
func read(text string) (Scenario, error) {
	s, err := Parse("x.toml", []byte(text))
	if err == nil {
		err = s.Check()
	}
	return s, err
}

func TestScenariosThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"seed = 1\n[links]\nlos = 0.1":          "x.toml: line 3: links.los: unknown key; the keys of [links] are latency, jitter, loss, bandwidth",
		"sed = 1":                               "x.toml: line 1: sed: unknown key; the keys of a scenario are name, about, engine, seed,",
		"[nodes]\npublic = 3":                   "x.toml: line 1: nodes: unknown key",
		"duration = 5":                          "duration: 5ns is too short; write it with a unit",
		"duration = \"5 parsecs\"":              "is no time span such as 90s",
		"seed = 1\nseed = 2":                    "line 2",
		"seed = -1":                             "line 1",
		"engine = \"quantum\"":                  "engine: \"quantum\" is no engine; want processes or simulated",
		"name = \" \"":                          "name: the name is empty",
		"duration = \"0s\"":                     "duration: 0s is out of bounds",
		"seeds = 0":                             "seeds: 0 is out of bounds; want 1 to 100",
		"[network]\npublic = 0":                 "network.public: 0 is out of bounds",
		"[network]\npublic = 60\npersonal = 60": "network: 120 nodes in all; the processes engine runs at most 64",
		"[network]\nshards = 3":                 "network.shards: 3 is out of bounds; want a power of two",
		"[network]\nfollow = \"some\"":          "network.follow",
		"[network]\nways = [\"smoke\"]":         "network.ways: \"smoke\" is no way in of the processes engine; it has bootstrap, cache, exchange, dht",
		"[network]\nways = [\"cache\"]":         "network.ways: a fresh node finds nobody without bootstrap; add bootstrap",
		"engine = \"simulated\"\n[network]\nways = [\"bootstrap\", \"dht\"]": "network.ways: \"dht\" is no way in of the simulated engine; it has bootstrap, exchange",
		"[network]\ndht = true": "network.dht: real processes take part in the DHT anyway; leave it out",
		"engine = \"simulated\"\n[network]\npublic = 1\ndht = true":                 "network.dht: one public node has nobody to ask",
		"engine = \"simulated\"\n[network]\nways = [\"bootstrap\"]\ndht = true":     "network.dht: network.ways leaves it out; add dht there",
		"engine = \"simulated\"\n[records]\npassports = 3":                          "records: there is no DHT; set network.dht = true",
		"[records]\nannouncements = 3":                                              "records: there is no DHT",
		"[records]\npassports = -1":                                                 "records.passports: -1 is out of bounds; want 0 to 2000",
		"[records]\neach = 0":                                                       "records.each: 0 is out of bounds",
		"engine = \"simulated\"\n[dht_sybils]\nper_key = 20":                        "dht_sybils.per_key: there is no DHT; set network.dht = true",
		"engine = \"simulated\"\n[network]\ndht = true\n[dht_sybils]\nper_key = 20": "dht_sybils.per_key: there are no keys to sit at; set records.passports",
		"engine = \"simulated\"\n[dht_sybils]\nper_key = 65":                        "dht_sybils.per_key: 65 is out of bounds",
		"[dht_sybils]\nnets = -1":                                                   "dht_sybils.nets: -1 is out of bounds",
		"[dht_sybils]\nlies = nan":                                                  "dht_sybils.lies: NaN is no share; a share is 0 to 1",
		"[dht_sybils]\nlie = 1":                                                     "dht_sybils.lie: unknown key; the keys of [dht_sybils] are per_key, nets, lies",
		"[dht_flood]\npeers = 3":                                                    "dht_flood.peers: there is no DHT",
		"engine = \"simulated\"\n[dht_flood]\npeers = 300":                          "dht_flood.peers: 300 is out of bounds",
		"[dht_flood]\nrecords = 0":                                                  "dht_flood.records: 0 is out of bounds; want 1 to 5000",
		"[dht_flood]\nbytes = -1":                                                   "dht_flood.bytes: -1 is out of bounds",
		"[network]\nwork = 40":                                                      "network.work: 40 bits take too long",
		"[load]\nneeds = 0":                                                         "load.needs",
		"[load]\nwithdrawn = 1.5":                                                   "load.withdrawn: 1.5 is no share",
		"[load]\ncategories = [\"home.furnitures\"]":                                "load.categories: \"home.furnitures\" is no category; near it are home.furniture",
		"[load]\npost_hops = 3":                                                     "load.post_hops: 3 is out of bounds; want 1 to 2",
		"[load]\npost_hops = 0":                                                     "load.post_hops: 0 is out of bounds",
		"[load]\npost_delay = \"11s\"":                                              "load.post_delay: 11s is out of bounds; want 0s to 10s",
		"engine = \"simulated\"\n[load]\npost_delay = \"-1s\"":                      "load.post_delay: -1s is out of bounds",
		"[churn]\nper_minute = 1000":                                                "churn.per_minute",
		"[churn]\nper_minute = 1\n[network]\npublic = 1":                            "churn.per_minute: the one public node there is can't go",
		"[links]\nloss = 0.01":                                                      "links.loss: the processes engine can't do that; leave it out, or set engine = \"simulated\"",
		"[links]\nlatency = \"1s\"":                                                 "links.latency: the processes engine can't do that",
		"[sybils]\ncount = 1":                                                       "sybils.count: the processes engine can't do that",
		"[spies]\ncount = 1":                                                        "spies.count: the processes engine can't do that",
		"[partition]\nfor = \"1s\"":                                                 "partition.for: the processes engine can't do that",
		"[clock]\nskew = \"1h\"":                                                    "clock.skew: the processes engine can't do that",
		"[network]\ndials = 3":                                                      "network.dials: the processes engine can't do that",
		"engine = \"simulated\"\n[links]\nloss = nan":                               "links.loss: NaN is no share",
		"engine = \"simulated\"\n[links]\nlatency = \"0s\"":                         "links.latency: out of bounds",
		"engine = \"simulated\"\n[links]\nbandwidth = 1":                            "links.bandwidth",
		"engine = \"simulated\"\n[partition]\nfor = \"1h\"":                         "partition: it ends after the duration",
		"engine = \"simulated\"\n[clock]\nskew = \"48h\"":                           "clock.skew: out of bounds",
		"engine = \"simulated\"\n[network]\npublic = 6000":                          "network.public: 6000 is out of bounds",
		"name = \"" + strings.Repeat("x", maxFile) + "\"":                           "a scenario has at most 65536",
		"about = \"" + strings.Repeat("x", 3000) + "\"\nname = \"n\"":               "about: longer than 2,000 bytes",
	} {
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fault.Malformed) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// TestScenarioIsKeptInFull: what is written holds every key, and reads back the same.
func TestScenarioIsKeptInFull(t *testing.T) {
	s, err := read("name = \"n\"\nengine = \"simulated\"\n[links]\nloss = 0.25\n[load]\ncategories = [\"home.furniture\"]")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Parameters() {
		_, key, ok := strings.Cut(p.Key, ".")
		if !ok {
			key = p.Key
		}
		if !strings.Contains(string(raw), "\n"+key+" = ") && !strings.HasPrefix(string(raw), key) {
			t.Errorf("%s is not written", p.Key)
		}
		if Meanings()[p.Key] == "" {
			t.Errorf("%s has no meaning", p.Key)
		}
	}
	again, err := read(string(raw))
	if d := cmp.Diff(s, again); err != nil || d != "" {
		t.Errorf("%v\n%s\n%s", err, d, raw)
	}
}

// TestBothEnginesPostAlike: a scenario that does not say how needs are posted means the
// same on both.
func TestBothEnginesPostAlike(t *testing.T) {
	for _, engine := range []string{Processes, Simulated} {
		s, err := read("engine = \"" + engine + "\"")
		if err != nil || s.Load.PostHops != 2 || s.Load.PostDelay != 0 {
			t.Errorf("%s: %+v %v", engine, s.Load, err)
		}
		s, err = read("engine = \"" + engine + "\"\n[load]\npost_hops = 1\npost_delay = \"2500ms\"")
		if err != nil || s.Load.PostHops != 1 || s.Load.PostDelay != Duration(2500*time.Millisecond) {
			t.Errorf("%s: %+v %v", engine, s.Load, err)
		}
	}
}

func TestSet(t *testing.T) {
	s := Default()
	for _, pair := range []string{"links.loss=0.5", "name=two words", "seed = 7", "duration=90s", `load.categories=["home.furniture"]`, `about="a = b"`} {
		if err := s.Set(pair); err != nil {
			t.Errorf("%s: %v", pair, err)
		}
	}
	if s.Links.Loss != 0.5 || s.Name != "two words" || s.Seed != 7 || time.Duration(s.Duration) != 90*time.Second || len(s.Load.Categories) != 1 || s.About != "a = b" {
		t.Errorf("%+v", s)
	}
	before := s
	for pair, want := range map[string]string{
		"links.loss": "KEY=VALUE", "links.los=1": "unknown key; the keys of [links]", "seed=many": "seed", "=1": "KEY=VALUE", "a=1\nb=2": "KEY=VALUE", "links.loss=": "KEY=VALUE",
	} {
		if err := s.Set(pair); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pair, err)
		}
	}
	if d := cmp.Diff(before, s); d != "" {
		t.Errorf("what was refused has changed something: %s", d)
	}
}

// TestExamplesAreScenarios reads those that come along.
func TestExamplesAreScenarios(t *testing.T) {
	files, err := filepath.Glob("../../examples/lab/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(f, raw)
		if err == nil {
			err = s.Check()
		}
		if want := strings.TrimSuffix(filepath.Base(f), ".toml"); err != nil || s.Name != want || s.About == "" {
			t.Errorf("%s: %v, name %q, about %q", f, err, s.Name, s.About)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name = \"n\"\n[load]\nneeds = 3"))
	f.Add([]byte("[links]\nloss = nan"))
	f.Add([]byte("duration = \"1h\"\n[churn]\nper_minute = 1e9"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse("f", raw)
		if err != nil || s.Check() != nil {
			return
		}
		text, err := s.Format()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse("g", text); err != nil || again.Check() != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if s.Load.Needs < 100 && s.Network.Public+s.Network.Personal < 100 {
			_ = s.Plan(s.Seed)
		}
	})
}

func TestPlan(t *testing.T) {
	s, err := read("engine = \"simulated\"\nduration = \"2m\"\n[network]\npublic = 6\npersonal = 3\n[load]\nneeds = 40\nwithdrawn = 0.5\n[churn]\nper_minute = 30\ndowntime = \"20s\"\n" +
		"[partition]\nat = \"10s\"\nfor = \"30s\"\n[clock]\nskew = \"1h\"\nshare = 0.5\n[sybils]\ncount = 2\n[spies]\ncount = 1")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Plan(5)
	if d := cmp.Diff(p, s.Plan(5)); d != "" {
		t.Errorf("one seed, two plans: %s", d)
	}
	if cmp.Equal(p, s.Plan(6)) {
		t.Error("two seeds, one plan")
	}
	count, skewed, sides := map[string]int{}, 0, 0
	down, said := map[int]bool{}, map[int]bool{}
	for i, st := range p.Steps {
		count[st.Do]++
		if i > 0 && st.At < p.Steps[i-1].At {
			t.Error("steps are out of order")
		}
		switch st.Do {
		case Announce:
			said[st.Need] = true
			if pl := p.Players[st.Player]; pl.Public || st.Category == "" || st.At >= time.Duration(s.Duration) {
				t.Errorf("%+v by %+v", st, pl)
			}
		case Withdraw:
			if !said[st.Need] || st.At > time.Duration(s.Duration) {
				t.Errorf("%+v", st)
			}
		case GoDown:
			if down[st.Player] || !p.Players[st.Player].Public {
				t.Errorf("%+v", st)
			}
			down[st.Player] = true
			up := 0
			for i := range s.Network.Public {
				if !down[i] {
					up++
				}
			}
			if up < 1 {
				t.Error("no public node is left")
			}
		case ComeUp:
			if !down[st.Player] {
				t.Errorf("%+v", st)
			}
			down[st.Player] = false
		}
	}
	for _, pl := range p.Players {
		skewed += one(pl.Skew != 0)
		sides += pl.Side
	}
	if count[Announce] != 40 || count[Withdraw] < 10 || count[Withdraw] > 30 || count[GoDown] == 0 || count[GoDown] != count[ComeUp] || count[Split] != 1 || count[Join] != 1 {
		t.Errorf("%v", count)
	}
	if len(p.Players) != 12 || skewed != 5 || sides != 3+2+1+1 || p.Players[9].Role != Sybil || p.Players[11].Role != Spy {
		t.Errorf("%d players, %d wrong clocks, %d on the other side: %+v", len(p.Players), skewed, sides, p.Players)
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// story is one run by hand: three public nodes and a customer.
//
//	a is there all the time, b goes away from 10 s to 100 s, c is on another topic.
//	need 1 at 0 s: a by post, b by gossip; need 2 at 20 s: a by gossip, b by pull when
//	it is back; need 3 at 30 s: nobody; need 4 at 40 s failed; need 1 is taken back at
//	50 s: a hears it, b does not.
func story() []Record {
	say := func(ms int64, need int, what string, seq uint64) Record {
		return Record{Kind: KindSaid, MS: ms, Node: "p", Need: need, What: what, Context: fmt.Sprint("n", need), Seq: seq, Shard: 1}
	}
	hear := func(ms int64, node string, need int, seq uint64, way string) Record {
		return Record{Kind: KindHeard, MS: ms, Node: node, Context: fmt.Sprint("n", need), Seq: seq, Shard: 1, Way: way}
	}
	return []Record{
		{Kind: KindNode, Node: "a", Public: true, Role: Honest}, {Kind: KindNode, Node: "b", Public: true, Role: Honest},
		{Kind: KindNode, Node: "c", Public: true, Role: Honest}, {Kind: KindNode, Node: "p", Role: Honest}, {Kind: KindNode, Node: "s", Public: true, Role: Spy},
		{Kind: KindLife, Node: "a", What: "up", Life: 1, Shards: []uint16{0, 1}}, {Kind: KindLife, Node: "b", What: "up", Life: 1, Shards: []uint16{1}},
		{Kind: KindLife, Node: "c", What: "up", Life: 1, Shards: []uint16{0}},
		{Kind: KindLife, MS: 10_000, Node: "b", What: "down"}, {Kind: KindLife, MS: 100_000, Node: "b", What: "up", Life: 2, Shards: []uint16{1}},
		say(0, 1, "announced", 1), say(20_000, 2, "announced", 1), say(30_000, 3, "announced", 1), say(40_000, 4, "failed", 0), say(50_000, 1, "withdrawn", 2),
		hear(100, "a", 1, 1, ByPost), hear(300, "b", 1, 1, ByGossip), hear(20_500, "a", 2, 1, ByGossip), hear(130_000, "b", 2, 1, ByPull), hear(50_200, "a", 1, 2, ByPost),
		{Kind: KindSpied, MS: 120, Node: "s", Context: "n1", Seq: 1, From: "a"}, {Kind: KindSpied, MS: 110, Node: "t", Context: "n1", Seq: 1, From: "b"},
		{Kind: KindSpied, MS: 50_300, Node: "s", Context: "n1", Seq: 2, From: "a"},
		{Kind: KindUsage, MS: 1, Node: "a", Life: 1, What: "start", Sent: 100, CPUMS: 1000, Packets: 5, RPCs: 3, Judged: 1, Links: [2]int{2, 5}, Mesh: [2]int{1, 3}},
		{Kind: KindUsage, MS: 200_000, Node: "a", Life: 1, Sent: 600, Received: 500, CPUMS: 3000, RSS: 10, Packets: 15, RPCs: 9, Judged: 5},
		{Kind: KindUsage, MS: 10_000, Node: "b", Life: 1, Sent: 100, CPUMS: 500, Packets: 3, RPCs: 1}, {Kind: KindUsage, MS: 200_000, Node: "b", Life: 2, Received: 300, CPUMS: 500, RSS: 30, Packets: 1, RPCs: 1},
		{Kind: KindMark, What: "end", MS: 200_000},
	}
}

func TestFigures(t *testing.T) {
	s := Default()
	s.Settle = Duration(2 * time.Minute)
	f := Compute(s, 9, story())
	// Pairs: need 1 at a and b; need 2 at a, and at b from 100 s; need 3 at a and b, not
	// heard; the withdrawal at a, and at b from 100 s.
	want := Figures{Seed: 9, Announced: 4, Failed: 1, Pairs: 8, PairsAtOnce: 5, HeardOutright: 4, HeardInTime: 5, Heard: 5}
	got := f
	got.Series, got.Latency = Series{}, Quantiles{}
	got.Outright, got.InTime, got.Ever, got.BytesPerNode, got.BytesPerAnnouncement, got.CPUPerNode, got.RSSPerNode = nil, nil, nil, nil, nil, nil, nil
	got.SpyKeeper, got.SpyAuthor, got.SpyChance, got.PacketsPerNode, got.RPCsPerNode, got.JudgedPerNode = nil, nil, nil, nil, nil, nil
	got.SybilLinks, got.SybilMesh, got.Keepers = nil, nil, KeeperFigures{}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s", d)
	}
	if *f.Outright != 0.8 || *f.InTime != 0.625 || *f.Ever != 0.625 {
		t.Errorf("%v %v %v", *f.Outright, *f.InTime, *f.Ever)
	}
	if f.Latency != (Quantiles{200, 500, 500, 500}) {
		t.Errorf("%+v", f.Latency)
	}
	if *f.BytesPerNode != (1000+400)/2 || *f.BytesPerAnnouncement != 175 || *f.CPUPerNode != 1500 || *f.RSSPerNode != 20 {
		t.Errorf("%v %v %v %v", *f.BytesPerNode, *f.BytesPerAnnouncement, *f.CPUPerNode, *f.RSSPerNode)
	}
	if *f.PacketsPerNode != (10+4)/2 || *f.RPCsPerNode != (6+2)/2 || *f.JudgedPerNode != 4 || *f.SybilLinks != 2.5 || *f.SybilMesh != 0.75 { // of b nothing is known that it judged
		t.Errorf("%v %v %v %v %v", *f.PacketsPerNode, *f.RPCsPerNode, *f.JudgedPerNode, *f.SybilLinks, *f.SybilMesh)
	}
	if *f.SpyKeeper != 0.5 || *f.SpyAuthor != 0 || *f.SpyChance != 1.0/3 { // the first guess names b, the second a; each was posted to one of three
		t.Errorf("%v %v %v", *f.SpyKeeper, *f.SpyAuthor, *f.SpyChance)
	}
	if !slices.Equal(f.Series.Got, []float64{100, 300, 20_500, 50_200, 130_000}) || len(f.Series.Due) != 8 {
		t.Errorf("%+v", f.Series)
	}
}

// TestFiguresSeeLosses: each thing that was not heard, or too late, shows.
func TestFiguresSeeLosses(t *testing.T) {
	s := Default()
	all := story()
	without := func(drop func(Record) bool) Figures { return Compute(s, 1, slices.DeleteFunc(slices.Clone(all), drop)) }
	whole := Compute(s, 1, all)
	if f := without(func(r Record) bool { return r.Kind == KindHeard && r.Node == "a" && r.Context == "n1" && r.Seq == 1 }); f.Heard != whole.Heard-1 || f.Unjudged != 1 {
		t.Errorf("a need that was taken back 50 s later and not heard: %+v", f)
	}
	if f := without(func(r Record) bool { return r.Kind == KindHeard && r.Node == "a" && r.Context == "n2" }); *f.Ever >= *whole.Ever || f.Pairs != whole.Pairs {
		t.Errorf("a need that was not heard: %+v", f)
	}
	pulled := func(more ...Record) Figures {
		list := append(slices.Clone(all), more...)
		for i := range list {
			if list[i].Kind == KindHeard && list[i].Node == "a" && list[i].Context == "n2" {
				list[i].Way = ByPull
			}
		}
		return Compute(s, 1, list)
	}
	if f := pulled(); f.HeardOutright != whole.HeardOutright-1 {
		t.Errorf("only pull brought it: %+v", f)
	}
	if f := pulled(Record{Kind: KindAgain, MS: 21_000, Node: "a", Context: "n2", Seq: 1}); f.HeardOutright != whole.HeardOutright {
		t.Errorf("pull brought it, and gossip half a second later: %+v", f)
	}
	late := slices.Clone(all)
	for i := range late {
		if late[i].Kind == KindHeard && late[i].Way == ByPull {
			late[i].MS = 161_000
		}
	}
	if f := Compute(s, 1, late); f.Heard != whole.Heard || f.HeardInTime != whole.HeardInTime-1 {
		t.Errorf("too late: %+v", f)
	}
	if f := Compute(s, 1, nil); f.Outright != nil || f.BytesPerNode != nil || f.Latency != (Quantiles{}) || f.SpyChance != nil {
		t.Errorf("of nothing: %+v", f)
	}
}

// TestFiguresOfAPartition: what crosses it is due when it is joined.
func TestFiguresOfAPartition(t *testing.T) {
	s := Default()
	records := []Record{
		{Kind: KindNode, Node: "a", Public: true, Role: Honest}, {Kind: KindNode, Node: "b", Public: true, Role: Honest, Side: 1}, {Kind: KindNode, Node: "p", Role: Honest},
		{Kind: KindLife, Node: "a", What: "up", Life: 1, Shards: []uint16{0}}, {Kind: KindLife, Node: "b", What: "up", Life: 1, Shards: []uint16{0}},
		{Kind: KindMark, MS: 5000, What: "split"}, {Kind: KindMark, MS: 3_605_000, What: "join"}, {Kind: KindMark, MS: 4_000_000, What: "end"},
		{Kind: KindSaid, MS: 6000, Node: "p", What: "announced", Context: "n", Seq: 1},
		{Kind: KindHeard, MS: 6050, Node: "a", Context: "n", Seq: 1, Way: ByPost}, {Kind: KindHeard, MS: 3_640_000, Node: "b", Context: "n", Seq: 1, Way: ByPull},
	}
	f := Compute(s, 1, records)
	if f.Pairs != 2 || f.PairsAtOnce != 1 || *f.Outright != 1 || *f.InTime != 1 || f.Latency.Max != 50 || len(f.Series.Marks) != 2 {
		t.Errorf("%+v", f)
	}
}

func TestRawDataIsReadStrictly(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, v := range []any{Head{RawSchema, KindHeard, 3}, story()[16], story()[5]} {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(b.String(), `"shard":1`) || strings.Count(b.String(), `"shard"`) != 1 {
		t.Error(b.String())
	}
	var got []Record
	h, err := ReadRecords(&b, func(r Record) { got = append(got, r) })
	if d := cmp.Diff([]Record{story()[16], story()[5]}, got); err != nil || h.Seed != 3 || d != "" {
		t.Errorf("%v %+v %s", err, h, d)
	}
	head := `{"schema":"hark.lab-raw/1"}` + "\n"
	for text, want := range map[string]fault.Kind{
		"": fault.Malformed, `{"schema":"hark.lab-raw/2"}`: fault.Unsupported, "x": fault.Unsupported, head + "{": fault.Malformed, head + `{"ms":"x"}`: fault.Malformed,
		head + strings.Repeat("x", maxLine+1): fault.Malformed,
	} {
		if _, err := ReadRecords(strings.NewReader(text), func(Record) {}); !errors.Is(err, want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add([]byte(`{"schema":"hark.lab-raw/1"}` + "\n" + `{"kind":"heard","ms":1,"node":"a","context":"n","seq":1}`))
	f.Add([]byte(`{"schema":"hark.lab-raw/1"}` + "\n" + `{"kind":"life","ms":-9223372036854775808,"node":"a","what":"up","shards":[0]}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		var all []Record
		if _, err := ReadRecords(bytes.NewReader(raw), func(r Record) { all = append(all, r) }); err == nil {
			_ = Compute(Default(), 1, all)
		}
	})
}

func result(seed uint64, delivery, latency []float64) Result {
	s := Default()
	s.Seed = seed
	r := Result{Name: "r", Engine: s.Engine, Parameters: s.Parameters(), Made: Made{Program: "1", Go: "go1", Modules: []string{"m v1"}}}
	for i := range delivery {
		r.Runs = append(r.Runs, Figures{InTime: &delivery[i], Latency: Quantiles{P50: latency[i], P99: latency[i] * 2}})
	}
	r.Figures = Spreads(r.Runs)
	return r
}

func TestSpreads(t *testing.T) {
	r := result(1, []float64{0.5, 1, 0.75}, []float64{1, 2, 3})
	if d := cmp.Diff(Spread{"delivery_60s", "share", 0.75, 0.5, 1, 0.25, 3}, r.Figures[0]); d != "" {
		t.Error(d)
	}
	if h := Headline(r.Figures); len(h) != 3 || h[0].Key != "delivery_60s" {
		t.Errorf("%+v", h)
	}
}

// TestDHTFigures: shares of lookups by what was looked up and how, the fullest node of a
// flood, and the means of honest public nodes.
func TestDHTFigures(t *testing.T) {
	look := func(of, by string, found bool) Record {
		return Record{Kind: KindLookup, Node: "personal-1", Lookup: &Lookup{Of: of, By: by, Found: found, TookMS: 400}}
	}
	f := Compute(Default(), 1, []Record{
		{Kind: KindNode, Node: "public-1", Public: true, Role: Honest}, {Kind: KindNode, Node: "public-2", Public: true, Role: Honest},
		{Kind: KindUsage, Node: "public-1", Life: 1, MS: 5, DHT: &DHTUse{Nodes: 3, Conns: 10, Held: 100}},
		{Kind: KindUsage, Node: "public-1", Life: 2, MS: 9, DHT: &DHTUse{Nodes: 5, Conns: 20, Held: 300}},
		{Kind: KindUsage, Node: "public-2", Life: 1, MS: 9, DHT: &DHTUse{Nodes: 7, Conns: 30, Held: 500}},
		look(Passport, ByDHT, false), look(Passport, ByDHT, true), look(Passport, ByAll, true), look(Passport, ByAll, true), look(Announcement, ByAll, false),
		{Kind: KindMark, What: "flood of the DHT", Flood: &DHTFlooded{Taken: 70, Held: 30, Most: 40, Before: 8, After: 6}},
	})
	var got []string
	for _, m := range dhtMeasures() {
		if v := m.Of(&f); v != nil {
			got = append(got, fmt.Sprint(m.Key, " ", *v))
		}
	}
	want := []string{
		"connections 25", "dht_nodes 6", "dht_bytes 400", "dht_passports_alone 0.5", "dht_passports_found 1", "dht_needs_found 0", "dht_lookup_ms 400",
		"dht_flood_taken 70", "dht_flood_left 0.75", "dht_flood_fill 0.75",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
