package lab

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// KeeperFigures are what came of attacks on keepers, and by keepers.
type KeeperFigures struct {
	Guesses    int       `json:"spy_guesses,omitempty"`              // announcements none of whose keepers spies, whose author is guessed
	Author     *float64  `json:"spy_precision_posted,omitempty"`     // share of them whose author is guessed, by all that spies saw
	Chance     *float64  `json:"spy_posted_chance,omitempty"`        // of naming her by throwing dice
	Times      *float64  `json:"spy_times_chance,omitempty"`         // the one by the other
	OwnKeepers *float64  `json:"spy_precision_own_keeper,omitempty"` // the same share where a keeper of the need spies
	Letters    int       `json:"letters,omitempty"`                  // sent
	Delivered  *float64  `json:"letters_delivered,omitempty"`        // share of them that were acted on
	Twice      *float64  `json:"letters_twice,omitempty"`            // acted on more than once
	Mail       Quantiles `json:"letters_ms,omitzero"`                // from when it was sent until it was acted on
	Named      *float64  `json:"liars_named,omitempty"`              // share of liars that somebody's status names as such
	Slandered  *float64  `json:"honest_named,omitempty"`             // honest keepers that one does
	Lied       *float64  `json:"needs_at_liars,omitempty"`           // share of needs that were announced with a liar among their keepers
	Left       *float64  `json:"needs_left_at_liars,omitempty"`      // share of those whose keepers still are
	FloodKept  *float64  `json:"mail_flood_kept,omitempty"`          // most letters that one keeper keeps for a need that is flooded
	FloodIn    *float64  `json:"mail_flood_vouched,omitempty"`       // share of requests of vouched vendors that are kept
	FloodOut   *float64  `json:"mail_flood_identities,omitempty"`    // share of requests of the flood that are
}

// keeperMeasures are those that are shown.
func keeperMeasures() []Measure {
	of := func(pick func(*KeeperFigures) *float64) func(*Figures) *float64 {
		return func(f *Figures) *float64 { return pick(&f.Keepers) }
	}
	mail := func(pick func(Quantiles) float64) func(*Figures) *float64 {
		return func(f *Figures) *float64 {
			if f.Keepers.Mail == (Quantiles{}) {
				return nil
			}
			v := pick(f.Keepers.Mail)
			return &v
		}
	}
	counted := func(pick func(*KeeperFigures) int) func(*Figures) *float64 {
		return func(f *Figures) *float64 {
			v := float64(pick(&f.Keepers))
			if v == 0 {
				return nil
			}
			return &v
		}
	}
	return []Measure{
		{"spy_guesses", "Announcements whose author spies guess that keep nothing for her", "count", false, counted(func(k *KeeperFigures) int { return k.Guesses })},
		{"spy_precision_posted", "Such guesses, by all that spies saw, that name the author", "share", false, of(func(k *KeeperFigures) *float64 { return k.Author })},
		{"spy_posted_chance", "Naming her by throwing dice", "share", false, of(func(k *KeeperFigures) *float64 { return k.Chance })},
		{"spy_times_chance", "The guesses beside the dice", "count", false, of(func(k *KeeperFigures) *float64 { return k.Times })},
		{"spy_precision_own_keeper", "Guesses that name the author, where a keeper of hers spies", "share", false, of(func(k *KeeperFigures) *float64 { return k.OwnKeepers })},
		{"letters", "Letters that were sent", "count", false, counted(func(k *KeeperFigures) int { return k.Letters })},
		{"letters_delivered", "Letters that were acted on", "share", false, of(func(k *KeeperFigures) *float64 { return k.Delivered })},
		{"letters_twice", "Letters that were acted on more than once", "count", false, of(func(k *KeeperFigures) *float64 { return k.Twice })},
		{"letters_p50_ms", "Half of all letters acted on within", "ms", false, mail(func(q Quantiles) float64 { return q.P50 })},
		{"letters_p99_ms", "99 % of letters acted on within", "ms", false, mail(func(q Quantiles) float64 { return q.P99 })},
		{"letters_max_ms", "The last letter acted on after", "ms", false, mail(func(q Quantiles) float64 { return q.Max })},
		{"liars_named", "Liars that are named in the status of somebody", "share", false, of(func(k *KeeperFigures) *float64 { return k.Named })},
		{"honest_named", "Honest keepers that are", "count", false, of(func(k *KeeperFigures) *float64 { return k.Slandered })},
		{"needs_at_liars", "Needs announced with a liar among their keepers", "share", false, of(func(k *KeeperFigures) *float64 { return k.Lied })},
		{"needs_left_at_liars", "Of these, those with a liar among them at the end", "share", false, of(func(k *KeeperFigures) *float64 { return k.Left })},
		{"mail_flood_kept", "Requests that a keeper keeps of a need that was flooded, at most", "count", false, of(func(k *KeeperFigures) *float64 { return k.FloodKept })},
		{"mail_flood_vouched", "Requests of vouched vendors that are kept", "share", false, of(func(k *KeeperFigures) *float64 { return k.FloodIn })},
		{"mail_flood_identities", "Requests of the flood that are kept", "share", false, of(func(k *KeeperFigures) *float64 { return k.FloodOut })},
	}
}

// keeperTables are the records that are about keepers.
type keeperTables struct {
	role      map[string]string
	customers []string
	traces    []Record           // operations that spies were asked for
	told      map[string]version // by a name of its bytes or mailbox: an announcement that spies heard
	letters   []Record
	named     []Record
	held      map[string][]string // by context, the keepers at the end
	floods    []Record
}

func newKeeperTables() keeperTables {
	return keeperTables{role: map[string]string{}, told: map[string]version{}, held: map[string][]string{}}
}

// tell notes what an announcement that a spy heard is named by.
func (t *keeperTables) tell(r Record) {
	for _, name := range r.Names {
		t.told[name] = version{r.Context, r.Seq}
	}
}

// take notes what the kinds of this file are.
func (t *keeperTables) take(r Record) {
	switch r.Kind {
	case KindLetter:
		t.letters = append(t.letters, r)
	case KindNamed:
		t.named = append(t.named, r)
	case KindHeld:
		t.held[r.Context] = r.Keepers
	case KindFlood:
		t.floods = append(t.floods, r)
	}
}

// finish works out what is known.
func (f *KeeperFigures) finish(s Scenario, t *tables) {
	f.guess(s, t)
	f.mail(t)
	f.lies(t)
	f.flood(t)
}

// A posted is one announcement, as everybody sees it, and its author, whom no guess looks at.
type posted struct {
	version
	keepers []string
	surface int64 // when the first node anywhere had it by gossip
	author  string
}

// slack is how much later or earlier than it should a need may surface, in milliseconds.
const slack = 500

// guess works out how often spies that put together all that they saw name the author of an
// announcement. A node that asked for an operation which names it surely posted it; one that
// had something sealed handed on to a keeper of it, just before it surfaced, posted it or one
// of the others that fit as well. Where nothing speaks for anybody, anybody is guessed. Of
// announcements of which a spy is a keeper, it is another figure.
func (f *KeeperFigures) guess(s Scenario, t *tables) {
	if t.spyCount == 0 || len(t.customers) == 0 {
		return
	}
	all := t.posted()
	said := t.evidence(all, time.Duration(s.Load.PostDelay).Milliseconds())
	chance := 1 / float64(len(t.customers))
	var right, sure float64
	own := 0
	for i, p := range all {
		var score float64
		best, most := "", 0.0
		for _, by := range slices.Sorted(maps.Keys(said[i])) {
			if said[i][by] > most {
				best, most = by, said[i][by]
			}
		}
		switch best {
		case "":
			score = chance
		case p.author:
			score = 1
		}
		if slices.ContainsFunc(p.keepers, func(k string) bool { return t.role[k] == Spy }) {
			own, sure = own+1, sure+score
			continue
		}
		f.Guesses, right = f.Guesses+1, right+score
	}
	f.Chance = &chance
	if f.Guesses > 0 {
		v := right / float64(f.Guesses)
		times := v / chance
		f.Author, f.Times = &v, &times
	}
	if own > 0 {
		v := sure / float64(own)
		f.OwnKeepers = &v
	}
}

// posted are the announcements that surfaced.
func (t *tables) posted() (out []posted) {
	kept := map[string][]string{} // of each need: a withdrawal goes to the same
	for _, a := range t.said {
		if len(a.Keepers) > 0 {
			kept[a.Context] = a.Keepers
		}
		p := posted{version: version{a.Context, a.Seq}, keepers: kept[a.Context], author: a.Node}
		for _, h := range t.heard[p.version] {
			if h.Way == ByGossip && (p.surface == 0 || h.MS < p.surface) {
				p.surface = h.MS
			}
		}
		if a.What != "failed" && p.surface > 0 {
			out = append(out, p)
		}
	}
	return out
}

// evidence is what all traces say for each announcement, by customer.
func (t *tables) evidence(all []posted, hold int64) []map[string]float64 {
	said := make([]map[string]float64, len(all))
	of, by := map[version]int{}, map[string][]int{} // by what it is, by a keeper that it names
	for i, p := range all {
		said[i], of[p.version] = map[string]float64{}, i
		for _, k := range p.keepers {
			by[k] = append(by[k], i)
		}
	}
	for _, tr := range t.traces {
		if !slices.Contains(t.customers, tr.From) {
			continue
		}
		for _, name := range tr.Names {
			if i, known := of[t.told[name]]; known {
				said[i][tr.From] += 1e6
			}
		}
		if tr.Next == "" || len(tr.Names) > 0 {
			continue
		}
		var fit []int
		for _, i := range by[tr.Next] {
			if gap := all[i].surface - tr.MS; gap >= -slack && gap <= hold+slack {
				fit = append(fit, i)
			}
		}
		for _, i := range fit { // of those that fit alike, the one that surfaced soonest after it
			soon := 1 - float64(all[i].surface-tr.MS+slack)/float64(hold+3*slack)
			said[i][tr.From] += (1 + soon/100) / float64(len(fit))
		}
	}
	return said
}

// answers are which letter is kept, by the kind under which it was sent.
var answers = map[string]string{
	"request.sent": "request.received", "grant.given": "grant.kept", "receipt.sent": "receipt.kept", "disclosure.sent": "disclosure.kept",
}

// mail tells what became of letters. A node writes each that it acts on into its ledger.
func (f *KeeperFigures) mail(t *tables) {
	type letter struct{ grant, kind string }
	sent, kept := map[letter][]int64{}, map[letter][]int64{}
	slices.SortStableFunc(t.letters, func(a, b Record) int { return cmp.Compare(a.MS, b.MS) })
	for _, r := range t.letters {
		if answer := answers[r.What]; answer != "" {
			l := letter{r.Grant, answer}
			sent[l] = append(sent[l], r.MS)
		} else {
			l := letter{r.Grant, r.What}
			kept[l] = append(kept[l], r.MS)
		}
	}
	var took []float64
	twice := 0
	for l, list := range sent { // a disclosure may be sent again on purpose, and is kept again then
		f.Letters += len(list)
		twice += max(len(kept[l])-len(list), 0)
		for i, at := range kept[l][:min(len(kept[l]), len(list))] {
			took = append(took, float64(at-list[i]))
		}
	}
	if f.Letters == 0 {
		return
	}
	v := float64(twice)
	f.Delivered, f.Twice, f.Mail = share(len(took), f.Letters), &v, quantiles(took)
}

// lied are the codes under which a status names a keeper that broke a promise; others, such
// as that it is silent, are no reproach.
var lied = []string{"keeper-lied", "keeper-altered", "keeper-replayed"}

// lies tells which keepers were named, and which needs left them.
func (f *KeeperFigures) lies(t *tables) {
	liars := 0
	for _, n := range t.public {
		if n.Role == Liar {
			liars++
		}
	}
	if liars == 0 && len(t.letters) == 0 {
		return
	}
	named, slandered := map[string]bool{}, map[string]bool{}
	for _, r := range t.named {
		switch {
		case !slices.Contains(lied, r.What):
		case t.role[r.From] == Liar:
			named[r.From] = true
		default:
			slandered[r.From] = true
		}
	}
	v := float64(len(slandered))
	f.Named, f.Slandered = share(len(named), liars), &v
	bad := func(keepers []string) bool {
		return slices.ContainsFunc(keepers, func(k string) bool { return t.role[k] == Liar })
	}
	needs, at, left := 0, 0, 0
	for _, a := range t.said {
		now, lives := t.held[a.Context]
		if a.What != "announced" || !lives || liars == 0 {
			continue
		}
		needs++
		if bad(a.Keepers) {
			at++
			if bad(now) {
				left++
			}
		}
	}
	f.Lied, f.Left = share(at, needs), share(left, at)
}

// flood tells what became of floods of requests.
func (f *KeeperFigures) flood(t *tables) {
	type box struct {
		need   int
		keeper string
	}
	kept, came, in := map[box]int{}, map[string]int{}, map[string]int{}
	most := 0
	for _, r := range t.floods {
		b := box{r.Need, r.Node}
		kept[b] += r.Came[2]
		most = max(most, kept[b])
		came[r.What], in[r.What] = came[r.What]+r.Came[0], in[r.What]+r.Came[2]
	}
	if len(t.floods) == 0 {
		return
	}
	v := float64(most)
	f.FloodKept, f.FloodIn, f.FloodOut = &v, share(in[Vouched], came[Vouched]), share(in[Identities], came[Identities])
}

// Who took part in a flood.
const (
	Identities = "identities"
	Vouched    = "vouched"
)
