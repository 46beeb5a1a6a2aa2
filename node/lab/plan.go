package lab

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/harkmarket/hark/protocol"
)

// What a Step does.
const (
	Announce = "announce"
	Withdraw = "withdraw"
	GoDown   = "down"
	ComeUp   = "up"
	Split    = "split"
	Join     = "join"
	Lose     = "lose"
	FloodBox = "flood box"
	Leave    = "leave"
	Return   = "return"
	Flood    = "flood"
	Watch    = "watch"
	Besiege  = "besiege"
)

// Roles of players.
const (
	Honest = "honest"
	Sybil  = "sybil"
	Spy    = "spy"
	Liar   = "liar"
	Censor = "censor"
	Silent = "silent" // answers nothing
	Double = "double" // a whole node that is silent in some topics
)

// A Player is one node of a run.
type Player struct {
	Name   string
	Public bool
	Role   string
	Skew   time.Duration // of its clock
	Side   int           // of a partition
	Lie    string        // what a liar does
	Late   bool          // it starts with a step
	Victim bool          // of censors
}

// A Step is one thing that happens.
type Step struct {
	At       time.Duration // from the start of the load
	Do       string
	Player   int    // index of whom it happens to
	Need     int    // number of the need, from 1
	Category string // of an announcement
}

// A Plan is who does what when. It follows from the scenario and the seed alone.
type Plan struct {
	Players []Player // public ones first, then personal ones, then Sybils, spies and other attackers
	Steps   []Step   // in order
}

// Plan works it out for one seed.
func (s *Scenario) Plan(seed uint64) Plan {
	//nolint:gosec // an experiment that can be repeated needs dice that can
	dice := rand.New(rand.NewPCG(seed, 0x6c6162))
	p := Plan{Players: s.players(dice)}
	p.Steps = append(p.Steps, s.announcements(dice)...)
	p.Steps = append(p.Steps, s.floods(p.Steps)...)
	p.Steps = append(p.Steps, s.absences(p.Steps)...)
	p.Steps = append(p.Steps, s.comings(dice)...)
	p.Steps = append(p.Steps, s.wipes(p.Players)...)
	p.Steps = append(p.Steps, s.attacks()...)
	if s.Partition.For > 0 {
		p.Steps = append(p.Steps, Step{At: time.Duration(s.Partition.At), Do: Split}, Step{At: time.Duration(s.Partition.At + s.Partition.For), Do: Join})
	}
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return p
}

// players casts all nodes; who is on which side of a partition, and whose clock is
// wrong, is drawn.
func (s *Scenario) players(dice *rand.Rand) (out []Player) {
	add := func(kind string, n int, public bool, role string) {
		first := len(out)
		for i := range n {
			out = append(out, Player{Name: fmt.Sprintf("%s-%d", kind, i+1), Public: public, Role: role})
		}
		if s.Partition.For == 0 {
			return
		}
		for _, i := range dice.Perm(n)[:int(s.Partition.Share*float64(n)+0.5)] {
			out[first+i].Side = 1
		}
	}
	add("public", s.Network.Public, true, Honest)
	add("personal", s.Network.Personal, false, Honest)
	honest := len(out)
	add("sybil", s.Sybils.Count, true, Sybil)
	add("spy", s.Spies.Count, true, Spy)
	add("liar", s.Liars.Count, true, Liar)
	for i := range s.Liars.Count {
		out[len(out)-s.Liars.Count+i].Lie = s.Liars.Lie(i)
	}
	add("censor", s.Censors.Count, true, Censor)
	add("silent", s.Silent.Count, true, Silent)
	add("double", s.Silent.Whole, true, Double)
	s.mark(out[:s.Network.Public])
	if s.Clock.Skew == 0 {
		return out
	}
	for k, i := range dice.Perm(honest)[:int(s.Clock.Share*float64(honest)+0.5)] {
		out[i].Skew = time.Duration(s.Clock.Skew)
		if k%2 == 1 {
			out[i].Skew = -out[i].Skew
		}
	}
	return out
}

// announcements spreads needs over the duration, and takes some back in what is left
// of it.
func (s *Scenario) announcements(dice *rand.Rand) (out []Step) {
	about := s.Load.Categories
	if len(about) == 0 {
		for _, c := range protocol.Categories().All() {
			about = append(about, string(c.Code))
		}
	}
	n := s.Load.Needs
	gap := time.Duration(s.Duration) / time.Duration(n)
	for i := range n {
		at := gap * time.Duration(i)
		by := s.Network.Public + i%s.Network.Personal
		out = append(out, Step{At: at, Do: Announce, Player: by, Need: i + 1, Category: about[dice.IntN(len(about))]})
		if dice.Float64() < s.Load.Withdrawn && !s.Flooded(i+1) {
			left := time.Duration(s.Duration) - at
			out = append(out, Step{At: at + left/2 + time.Duration(dice.Int64N(int64(left/2)+1)), Do: Withdraw, Player: by, Need: i + 1})
		}
	}
	return out
}

// comings draws who goes down when. Nobody goes while he is away, and one public node
// always stays.
func (s *Scenario) comings(dice *rand.Rand) (out []Step) {
	n := int(s.Churn.PerMinute * time.Duration(s.Duration).Minutes())
	var moments []time.Duration
	for range n {
		moments = append(moments, time.Duration(dice.Int64N(int64(s.Duration))))
	}
	slices.Sort(moments)
	back := map[int]time.Duration{} // when who is away comes back
	for _, at := range moments {
		var here []int
		for i := range s.Network.Public - s.Late.Count {
			if back[i] <= at {
				here = append(here, i)
			}
		}
		who := dice.IntN(max(len(here), 1))
		if len(here) < 2 {
			continue
		}
		i := here[who]
		back[i] = at + time.Duration(s.Churn.Downtime)
		out = append(out, Step{At: at, Do: GoDown, Player: i}, Step{At: back[i], Do: ComeUp, Player: i})
	}
	return out
}
