package lab

import (
	"math"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/lab/hostile"
)

// hostile are the tables that package hostile knows.
func (s *Scenario) hostile() *hostile.Tables {
	return &hostile.Tables{Late: s.Late, Censors: s.Censors, Floods: s.Floods, Silent: s.Silent, Siege: s.Siege}
}

// Armed tells whether somebody attacks who is no node of an engine's own.
func (s *Scenario) Armed() bool { return s.hostile().Armed() }

// Attackers says, to be put behind a list of nodes, who else is there.
func (s *Scenario) Attackers() string { return s.hostile().Tell() }

// mark says which public nodes come late, and which are censors' victims: the last.
func (s *Scenario) mark(public []Player) {
	for i := range public {
		public[i].Late = len(public)-i <= s.Late.Count
		public[i].Victim = s.Censors.Count > 0 && len(public)-i <= s.Censors.Victims
	}
}

// attacks are the steps of latecomers and attackers.
func (s *Scenario) attacks() (out []Step) {
	h := s.hostile()
	for i, at := range h.Arrivals() {
		out = append(out, Step{At: at, Do: ComeUp, Player: s.Network.Public - s.Late.Count + i})
	}
	for _, at := range h.Flooded(time.Duration(s.Duration)) {
		out = append(out, Step{At: at, Do: Flood})
	}
	for _, at := range h.Besieged(time.Duration(s.Duration)) {
		out = append(out, Step{At: at, Do: Besiege})
	}
	for _, at := range h.Watched(time.Duration(s.Duration)) {
		out = append(out, Step{At: at, Do: Watch})
	}
	return out
}

// attacks are what the figures of attacks are worked out from.
type attacks struct {
	records []Record
	pairs   []hostile.Pair
	of      []version // of each pair
}

// note takes what was judged of a pair.
func (t *tables) note(a, n Record, p pair) {
	if !p.counts && !p.was {
		return
	}
	h := hostile.Pair{Node: n.Node, Due: float64(p.due), Heard: -1, Victim: n.Victim, AtOnce: p.due == p.asked}
	if p.was {
		h.Heard = float64(p.heard)
	}
	t.attacks.pairs, t.attacks.of = append(t.attacks.pairs, h), append(t.attacks.of, version{a.Context, a.Seq})
}

// hostile hands on what the records say of attacks.
func (t *tables) hostile() (s hostile.Seen) {
	withheld := map[version]bool{}
	s.Pairs = t.attacks.pairs
	slices.SortStableFunc(t.attacks.records, func(a, b Record) int { return int(a.MS - b.MS) })
	for _, r := range t.attacks.records {
		switch last := len(s.Floods) - 1; r.What {
		case hostile.Withheld:
			withheld[version{r.Context, r.Seq}] = true
		case hostile.Flood:
			s.Floods = append(s.Floods, hostile.Span{From: float64(r.MS), To: math.MaxInt32})
		case hostile.Calm:
			if last >= 0 {
				x := &s.Floods[last]
				x.To, x.Sent, x.Looked, x.Last = float64(r.MS), float64(r.Attempts), float64(r.Looked), float64(r.LastMS)
				x.CPUMS, x.TargetCPUMS = float64(r.TheirCPU), float64(r.CPUMS)
			}
		case hostile.Besieged:
			s.Blockades = append(s.Blockades, hostile.Blockade{Span: hostile.Span{From: float64(r.MS), To: math.MaxInt32}, RSSBefore: float64(r.RSS)})
		case hostile.Relieved:
			if last := len(s.Blockades) - 1; last >= 0 {
				b := &s.Blockades[last]
				b.To, b.Sent, b.AtOnce, b.LetIn = float64(r.MS), float64(r.Attempts), float64(r.Looked), float64(r.Judged)
				b.Conns, b.Served, b.RSSMost, b.TargetCPUMS = float64(r.Links[0]), float64(r.Links[1]), float64(r.RSS), float64(r.CPUMS)
			}
		case hostile.Places:
			s.Looks = append(s.Looks, hostile.Look{MS: float64(r.MS), Honest: r.Mesh[0], Ours: r.Mesh[1], Stay: float64(r.LastMS)})
		}
	}
	for i := range s.Pairs {
		s.Pairs[i].Withheld = withheld[t.attacks.of[i]]
	}
	for _, a := range t.said {
		if a.What != "failed" {
			s.Posts = append(s.Posts, hostile.Post{MS: float64(a.MS), Took: float64(a.TookMS)})
		}
	}
	for _, n := range t.public {
		if lives := t.lives[n.Node]; n.Late && len(lives) > 0 {
			s.Latecomers = append(s.Latecomers, t.latecomer(n.Node, lives[0]))
		}
	}
	return s
}

// latecomer tells what was live when a node came, and how long it took to hold it. What
// was taken back before it came is no loss to it.
func (t *tables) latecomer(node string, l life) (out hostile.Latecomer) {
	for _, a := range t.said {
		v := version{a.Context, a.Seq}
		h, was := t.heard[v][node]
		next, over := t.next[v]
		switch {
		case a.What == "failed" || a.MS > l.from || !slices.Contains(l.shards, a.Shard) || !was && over:
			continue
		case over && next <= l.from:
			continue
		}
		out.Live++
		if was {
			out.Held++
			out.Last = max(out.Last, float64(h.MS-l.from))
		}
	}
	return out
}
