package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
)

func TestKeeperScenariosThatAreRefused(t *testing.T) {
	const sim = "engine = \"simulated\"\n"
	for text, want := range map[string]string{
		"[load]\npost_by = \"strangers\"":                                                 "load.post_by: the processes engine can't do that",
		sim + "[load]\npost_by = \"birds\"":                                               "load.post_by: \"birds\" is unknown; want keepers or strangers",
		sim + "[load]\npost_by = \"strangers\"\npost_hops = 1":                            "load.post_by: needs that are posted straight are taken on by nobody; set load.post_hops to 2",
		sim + "[letters]\nvendors = 6":                                                    "letters.vendors: 6 is out of bounds; want 0 to 5, as many as there are public nodes",
		sim + "[letters]\nvendors = 1\n[network]\nfollow = \"own\"":                       "letters.vendors: a vendor follows all topics; set network.follow to all",
		"[liars]\ncount = 1":                                                              "liars.count: the processes engine can't do that",
		"[liars]\nhow = [\"wipe\"]":                                                       "liars.how: the processes engine can't do that",
		"[liars]\nevery = \"1s\"":                                                         "liars.every: the processes engine can't do that",
		"[letters]\naway = \"1s\"\n[load]\nneeds = 2":                                     "letters.away: the processes engine can't do that",
		sim + "[letters]\naway = \"-1s\"":                                                 "letters.away: -1s is out of bounds",
		sim + "[letters]\naway = \"3s\"":                                                  "letters.away: she would be away when she announces again; want at most 2s, or fewer needs",
		sim + "duration = \"5m\"\n[letters]\naway = \"5s\"\n[mail_flood]\nidentities = 1": "letters.away: customers whose needs are flooded leave by themselves",
		sim + "[liars]\ncount = -1":                                                       "liars.count: -1 is out of bounds",
		sim + "[liars]\nhow = [\"wipe\", \"whisper\"]":                                    "liars.how: \"whisper\" is no lie; want withhold, roll-back, wipe, alter, replay",
		sim + "[liars]\nevery = \"0s\"":                                                   "liars.every: 0s is out of bounds; want more than 0s",
		sim + "duration = \"1h\"\n[liars]\nevery = \"1s\"":                                "liars.every: more than 1000 times; make it longer",
		sim + "[liars]\ncount = 4999":                                                     "network: 5006 nodes in all",
		"[mail_flood]\nidentities = 1":                                                    "mail_flood.identities: the processes engine can't do that",
		"[mail_flood]\nneeds = 2":                                                         "mail_flood.needs: the processes engine can't do that",
		"[mail_flood]\naddresses = 2":                                                     "mail_flood.addresses: the processes engine can't do that",
		"[mail_flood]\nvouched = 2":                                                       "mail_flood.vouched: the processes engine can't do that",
		"[mail_flood]\nnamed = false":                                                     "mail_flood.named: the processes engine can't do that",
		sim + "[mail_flood]\nidentities = 300000":                                         "mail_flood.identities: 300000 is out of bounds; want 0 to 200000",
		sim + "[mail_flood]\naddresses = 0":                                               "mail_flood.addresses: 0 is out of bounds; want 1 to 1000",
		sim + "[mail_flood]\nneeds = 0":                                                   "mail_flood.needs: 0 is out of bounds",
		sim + "[mail_flood]\nvouched = -1":                                                "mail_flood.vouched: -1 is out of bounds",
		sim + "[mail_flood]\nidentities = 1\nneeds = 21":                                  "mail_flood.needs: 21 of 20 needs; flood no more than there are",
		sim + "[liars]\nmany = 1":                                                         "liars.many: unknown key; the keys of [liars] are count, how, every",
	} {
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fault.Malformed) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestPlanOfLiarsAndFloods: who lies how, who loses everything when, and that a need which
// is flooded stays.
func TestPlanOfLiarsAndFloods(t *testing.T) {
	s, err := read("engine = \"simulated\"\nduration = \"1m\"\n[load]\nneeds = 10\nwithdrawn = 1.0\n[spies]\ncount = 1\n[liars]\ncount = 6\nevery = \"25s\"\n" +
		"[mail_flood]\nidentities = 5\nneeds = 3")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Plan(1)
	var how []string
	for _, pl := range p.Players {
		if pl.Role == Liar && pl.Public && pl.Whole() {
			how = append(how, pl.Lie)
		}
	}
	if want := append(Lies(), Withhold); !slices.Equal(how, want) {
		t.Errorf("%v, want %v", how, want)
	}
	var lost []string
	flooded, back := 0, 0
	for _, st := range p.Steps {
		switch st.Do {
		case Lose:
			lost = append(lost, fmt.Sprint(p.Players[st.Player].Lie, " ", st.At))
		case FloodBox:
			flooded++
			if st.Need > 3 || p.Players[st.Player].Public {
				t.Errorf("%+v", st)
			}
		case Withdraw:
			back++
			if st.Need <= 3 {
				t.Errorf("a need is taken back while it is flooded: %+v", st)
			}
		}
	}
	if want := []string{"wipe 25s", "wipe 50s"}; !slices.Equal(lost, want) || flooded != 3 || back != 7 {
		t.Errorf("%v, want %v; %d floods, %d taken back", lost, want, flooded, back)
	}
	s.Liars.How = []string{Alter}
	if l := s.Liars.Lie(4); l != Alter || (Player{Role: Sybil}).Whole() {
		t.Error(l)
	}
}

// spiedMarket is one run by hand, with customers x and y, keepers a to d and a spy s.
//
//	need 1 of x at a and b: the spy had something from x to hand on to a, just before;
//	need 2 of y at a and c: nothing fits;
//	need 3 of y at s and d: y brought it to the spy;
//	need 4 of y at b and d: y collected its mail at the spy, who is no keeper of it.
func spiedMarket() (s Scenario, all []Record) {
	s = Default()
	for _, n := range []string{"a", "b", "c", "d"} {
		all = append(all, Record{Kind: KindNode, Node: n, Public: true, Role: Honest})
	}
	all = append(all, Record{Kind: KindNode, Node: "s", Public: true, Role: Spy}, Record{Kind: KindNode, Node: "x", Role: Honest}, Record{Kind: KindNode, Node: "y", Role: Honest})
	need := func(ms int64, n, by string, keepers ...string) {
		all = append(all, Record{Kind: KindSaid, MS: ms, Node: by, What: "announced", Context: n, Seq: 1, Keepers: keepers},
			Record{Kind: KindHeard, MS: ms + 300, Node: "d", Context: n, Seq: 1, Way: ByGossip},
			Record{Kind: KindSpied, MS: ms + 350, Node: "s", Context: n, Seq: 1, From: "d", Names: []string{"bytes of " + n, "box of " + n}})
	}
	need(10_000, "n1", "x", "a", "b")
	need(60_000, "n2", "y", "a", "c")
	need(90_000, "n3", "y", "d", "s")
	need(120_000, "n4", "y", "b", "d")
	trace := func(ms int64, by, next string, names ...string) {
		all = append(all, Record{Kind: KindSpied, MS: ms, Node: "s", What: "post", From: by, Next: next, Names: names})
	}
	trace(10_100, "x", "a")
	trace(90_100, "y", "d")
	trace(90_100, "y", "", "bytes of n3")
	trace(130_000, "y", "", "box of n4")
	trace(60_100, "a", "", "bytes of n2") // a public node, which hands on what others gave it
	return s, all
}

func TestSpiesPutTogetherWhatTheySaw(t *testing.T) {
	s, all := spiedMarket()
	k := Compute(s, 1, all).Keepers
	// Of needs 1, 2 and 4: x, anybody, y. A keeper of need 3 spies.
	if k.Guesses != 3 || *k.Author != 2.5/3 || *k.Chance != 0.5 || *k.Times != 2.5/3/0.5 || *k.OwnKeepers != 1 {
		t.Errorf("%d guesses, %v right, chance %v, %v times it; own keepers %v", k.Guesses, *k.Author, *k.Chance, *k.Times, *k.OwnKeepers)
	}
	without := func(drop func(Record) bool) KeeperFigures {
		return Compute(s, 1, slices.DeleteFunc(slices.Clone(all), drop)).Keepers
	}
	if k := without(func(r Record) bool { return r.What == "post" }); *k.Author != 0.5 || *k.Times != 1 {
		t.Errorf("spies that saw nothing do better than dice: %v", *k.Author)
	}
	if k := without(func(r Record) bool { return r.Role == Spy }); k.Author != nil || k.Guesses != 0 {
		t.Errorf("nobody spies: %+v", k)
	}
	late := slices.Clone(all)
	for i := range late {
		if late[i].Next == "a" {
			late[i].MS = 5000 // five seconds before it surfaced
		}
	}
	if k := Compute(s, 1, late).Keepers; *k.Author != 2.0/3 {
		t.Errorf("what was handed on long before says something: %v", *k.Author)
	}
	s.Load.PostDelay = Duration(6 * time.Second)
	if k := Compute(s, 1, late).Keepers; *k.Author != 2.5/3 {
		t.Errorf("it may have been held for so long, and that says nothing: %v", *k.Author)
	}
}

func TestFiguresOfLetters(t *testing.T) {
	letter := func(ms int64, node, what, grant string) Record {
		return Record{Kind: KindLetter, MS: ms, Node: node, What: what, Grant: grant}
	}
	all := []Record{
		{Kind: KindNode, Node: "v", Public: true, Role: Honest}, {Kind: KindNode, Node: "l", Public: true, Role: Liar}, {Kind: KindNode, Node: "m", Public: true, Role: Liar},
		{Kind: KindNode, Node: "x", Role: Honest},
		{Kind: KindSaid, MS: 1, Node: "x", What: "announced", Context: "n1", Seq: 1, Keepers: []string{"l", "v"}},
		{Kind: KindSaid, MS: 1, Node: "x", What: "announced", Context: "n2", Seq: 1, Keepers: []string{"m", "v"}},
		{Kind: KindSaid, MS: 1, Node: "x", What: "announced", Context: "n3", Seq: 1, Keepers: []string{"v"}},
		letter(1000, "v", "request.sent", "g1"), letter(1200, "x", "request.received", "g1"), letter(1300, "x", "grant.given", "g1"), letter(1700, "v", "grant.kept", "g1"),
		letter(2000, "v", "request.sent", "g2"), letter(2500, "x", "request.received", "g2"), letter(1750, "v", "receipt.sent", "g1"), // which is lost
		letter(2600, "x", "grant.revoked", "g2"), // no letter that is counted
		{Kind: KindNamed, Node: "x", From: "l", What: "keeper-lied"}, {Kind: KindNamed, Node: "v", From: "l", What: "keeper-altered"},
		{Kind: KindNamed, Node: "x", From: "m", What: "keeper-silent"}, {Kind: KindNamed, Node: "x", From: "v", What: "keeper-silent"},
		{Kind: KindHeld, Node: "x", Context: "n1", Keepers: []string{"v"}}, {Kind: KindHeld, Node: "x", Context: "n2", Keepers: []string{"m", "v"}},
		{Kind: KindHeld, Node: "x", Context: "n3", Keepers: []string{"v"}},
	}
	k := Compute(Default(), 1, all).Keepers
	if k.Letters != 4 || *k.Delivered != 0.75 || *k.Twice != 0 || k.Mail != (Quantiles{400, 500, 500, 500}) {
		t.Errorf("%d letters, %v delivered, %v twice, %+v", k.Letters, *k.Delivered, *k.Twice, k.Mail)
	}
	if *k.Named != 0.5 || *k.Slandered != 0 || *k.Lied != 2.0/3 || *k.Left != 0.5 {
		t.Errorf("named %v, honest %v; needs %v, left %v", *k.Named, *k.Slandered, *k.Lied, *k.Left)
	}
	k = Compute(Default(), 1, append(all, letter(3000, "x", "request.received", "g1"), Record{Kind: KindNamed, Node: "x", From: "v", What: "keeper-lied"})).Keepers
	if *k.Twice != 1 || *k.Slandered != 1 {
		t.Errorf("a letter that was acted on twice, and a slander: %v %v", *k.Twice, *k.Slandered)
	}
	if k := Compute(Default(), 1, all[:1]).Keepers; k.Twice != nil || k.Named != nil {
		t.Errorf("of nothing: %+v", k)
	}
}

func TestFiguresOfAMailFlood(t *testing.T) {
	flood := func(keeper, what string, came ...int) Record {
		return Record{Kind: KindFlood, Need: 1, Node: keeper, What: what, Came: [3]int(came)}
	}
	k := Compute(Default(), 1, []Record{
		flood("a", Identities, 1000, 900, 16), flood("a", Vouched, 50, 2, 48), flood("b", Identities, 1000, 900, 20), flood("b", Vouched, 50, 0, 50),
	}).Keepers
	if *k.FloodKept != 70 || *k.FloodIn != 0.98 || *k.FloodOut != 0.018 {
		t.Errorf("%v kept, %v of the vouched, %v of the flood", *k.FloodKept, *k.FloodIn, *k.FloodOut)
	}
}
