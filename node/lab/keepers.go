//house:allow package the words of an experiment, and the figures that are worked out of them
package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Letters are what vendors and customers say to each other by way of keepers.
type Letters struct {
	Vendors int      `toml:"vendors" comment:"So many public nodes are vendors as well: each asks for every need, is granted it, signs for it, and is told what it was granted."`
	Away    Duration `toml:"away" comment:"How long a customer is off the network, from a second after each of her announcements: letters to her rest at her keepers. Simulated only."`
}

// Liars are keepers that break a promise.
type Liars struct {
	Count int      `toml:"count" comment:"Public nodes that lie as keepers, beside those of [network]. Simulated only, as all of [liars]."`
	How   []string `toml:"how" comment:"What they do, in turn: withhold, roll-back, wipe, alter, replay; none: all of these."`
	Every Duration `toml:"every" comment:"How often one that wipes loses all that it keeps."`
}

// MailFlood is a flood of requests to a need from identities made for it.
type MailFlood struct {
	Identities int  `toml:"identities" comment:"Vendors made for it, each of which sends a request to every keeper of a need while its customer is away. Simulated only, as all of [mail_flood]."`
	Addresses  int  `toml:"addresses" comment:"From how many addresses they come."`
	Needs      int  `toml:"needs" comment:"How many needs are flooded: the first ones."`
	Vouched    int  `toml:"vouched" comment:"Vendors that an issuer vouches for, each from an address of its own, which come after the flood."`
	Named      bool `toml:"named" comment:"The need names that issuer. Where it does not, nobody comes first: the planted fault of the flood."`
}

// Who takes a sealed need on.
const (
	ByKeepers   = "keepers"
	ByStrangers = "strangers"
)

// What liars do.
const (
	Withhold = "withhold"
	RollBack = "roll-back"
	Wipe     = "wipe"
	Alter    = "alter"
	Replay   = "replay"
)

// Lies are all that they do.
func Lies() []string { return []string{Withhold, RollBack, Wipe, Alter, Replay} }

// Lie is what the liar of a number, from 0, does.
func (l Liars) Lie(n int) string {
	how := l.How
	if len(how) == 0 {
		how = Lies()
	}
	return how[n%len(how)]
}

// Bounds of a scenario.
const (
	maxIdentities = 200_000
	maxFlooders   = 1000
	maxWiped      = 1000 // times in one run
)

// keeperRules are those of what happens at keepers.
func (s *Scenario) keeperRules() []rule {
	f, l, p := s.MailFlood, s.Liars, s.Load.PostBy
	within := func(key string, v, least, most int) rule {
		return rule{v >= least && v <= most, key, fmt.Sprintf("%d is out of bounds", v), fmt.Sprintf("want %d to %d", least, most)}
	}
	out := []rule{
		{p == ByKeepers || p == ByStrangers, "load.post_by", fmt.Sprintf("%q is unknown", p), "want keepers or strangers"},
		{p == ByKeepers || s.Load.PostHops == 2, "load.post_by", "needs that are posted straight are taken on by nobody", "set load.post_hops to 2"},
		{s.Letters.Vendors >= 0 && s.Letters.Vendors <= s.Network.Public, "letters.vendors", fmt.Sprintf("%d is out of bounds", s.Letters.Vendors),
			fmt.Sprintf("want 0 to %d, as many as there are public nodes", s.Network.Public)},
		{s.Letters.Vendors == 0 || s.Network.Follow == FollowAll, "letters.vendors", "a vendor follows all topics", "set network.follow to all"},
		{s.Letters.Away >= 0, "letters.away", fmt.Sprintf("%s is out of bounds", s.Letters.Away), "want 0s or more"},
		{s.Letters.Away == 0 || s.Letters.Away+leaveAfter <= s.pause(), "letters.away", "she would be away when she announces again",
			fmt.Sprintf("want at most %s, or fewer needs, or more customers", max(s.pause()-leaveAfter, 0))},
		{s.Letters.Away == 0 || s.MailFlood.Identities == 0, "letters.away", "customers whose needs are flooded leave by themselves", "set letters.away to 0s"},
		{l.Every > 0, "liars.every", fmt.Sprintf("%s is out of bounds", l.Every), "want more than 0s"},
		{l.Every <= 0 || s.Duration/l.Every <= maxWiped, "liars.every", fmt.Sprintf("more than %d times", maxWiped), "make it longer"},
		{f.Identities == 0 || f.Needs <= s.Load.Needs, "mail_flood.needs", fmt.Sprintf("%d of %d needs", f.Needs, s.Load.Needs), "flood no more than there are"},
		within("liars.count", l.Count, 0, maxNodes), within("mail_flood.identities", f.Identities, 0, maxIdentities),
		within("mail_flood.addresses", f.Addresses, 1, maxFlooders), within("mail_flood.needs", f.Needs, 1, 100), within("mail_flood.vouched", f.Vouched, 0, maxFlooders),
	}
	for _, how := range l.How {
		out = append(out, rule{slices.Contains(Lies(), how), "liars.how", fmt.Sprintf("%q is no lie", how), "want " + strings.Join(Lies(), ", ")})
	}
	if s.Engine == Processes {
		d := Default()
		out = append(out, notReal("load.post_by", p == ByKeepers), notReal("letters.away", s.Letters.Away == 0),
			notReal("liars.count", l.Count == 0), notReal("liars.how", len(l.How) == 0), notReal("liars.every", l.Every == d.Liars.Every),
			notReal("mail_flood.identities", f.Identities == 0), notReal("mail_flood.addresses", f.Addresses == d.MailFlood.Addresses),
			notReal("mail_flood.needs", f.Needs == d.MailFlood.Needs), notReal("mail_flood.vouched", f.Vouched == d.MailFlood.Vouched), notReal("mail_flood.named", f.Named))
	}
	return out
}

// notReal refuses what can't be done to real processes.
func notReal(key string, ok bool) rule {
	return rule{ok, key, "the processes engine can't do that", "leave it out, or set engine = \"simulated\""}
}

// wipes has liars that wipe lose everything again and again.
func (s *Scenario) wipes(players []Player) (out []Step) {
	for i, p := range players {
		if p.Lie != Wipe {
			continue
		}
		for at := s.Liars.Every; at < s.Duration; at += s.Liars.Every {
			out = append(out, Step{At: time.Duration(at), Do: Lose, Player: i})
		}
	}
	return out
}

// leaveAfter is how long after an announcement a customer stays who leaves then.
const leaveAfter = Duration(time.Second)

// pause is how much time lies between two announcements of one customer, at least; one that
// announces once has all there is.
func (s *Scenario) pause() Duration {
	n := max(s.Load.Needs, 1)
	if n <= s.Network.Personal {
		return s.Duration + s.Settle
	}
	return s.Duration / Duration(n) * Duration(s.Network.Personal)
}

// absences have customers leave after their announcements, and come back.
func (s *Scenario) absences(steps []Step) (out []Step) {
	for _, st := range steps {
		if st.Do == Announce && s.Letters.Away > 0 {
			at := st.At + time.Duration(leaveAfter)
			out = append(out, Step{At: at, Do: Leave, Player: st.Player}, Step{At: at + time.Duration(s.Letters.Away), Do: Return, Player: st.Player})
		}
	}
	return out
}

// floods has the first needs flooded as soon as they are announced.
func (s *Scenario) floods(steps []Step) (out []Step) {
	for _, st := range steps {
		if st.Do == Announce && s.Flooded(st.Need) {
			out = append(out, Step{At: st.At, Do: FloodBox, Player: st.Player, Need: st.Need})
		}
	}
	return out
}

// Flooded tells whether a need is one that is flooded.
func (s *Scenario) Flooded(need int) bool {
	return s.MailFlood.Identities > 0 && need <= s.MailFlood.Needs
}

// Whole tells whether a player is a whole node, and not one that only gossips.
func (p Player) Whole() bool { return p.Role == Honest || p.Role == Spy || p.Role == Liar }
