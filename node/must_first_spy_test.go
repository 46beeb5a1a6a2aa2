package node_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// The size of the simulated market, and how long its needs are spread over.
const (
	spyPublic    = 40
	spyCustomers = 40
	spyWindow    = time.Minute
	spyDraws     = 400 // sets of spies that each figure is the mean of
)

// A posted is one need as everybody sees it, and who posted it.
type posted struct {
	id      protocol.Hash
	mailbox key.MailboxKey
	keepers map[key.KeeperKey]bool
	heard   time.Time // when the first node anywhere had it by gossip
	by      int       // the customer: the truth, which no estimator may look at
}

// A trace is one operation of a customer that came to a public node.
type trace struct {
	at   time.Time
	node int
	by   int
	op   *protocol.Op
}

// A spied market is one run: what every public node would have seen, had it spied.
type spied struct {
	keys   []key.KeeperKey
	needs  []posted
	traces []trace
	says   [][]float64   // what each trace says for each need
	hold   time.Duration // the longest, as everybody knows it from the program
}

// runSpied lets every customer announce one need at a random time, and remembers all
// that each public node sees. tell is what a customer does beside.
func runSpied(t *testing.T, how courier.Posting, strangers bool, tell func(*nodetest.World, *nodetest.Member, []byte)) (s *spied) {
	s = &spied{hold: how.Delay}
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		w.Net.SetDelay(10 * time.Millisecond)
		w.Posting = &how
		var mu sync.Mutex
		heard, of := map[protocol.Hash]time.Time{}, map[string]int{}
		var public []protocol.Keeper
		for i := range spyPublic {
			m := w.Public(fmt.Sprintf("public-%d", i))
			public = append(public, m.Port.Self())
			s.keys = append(s.keys, m.Port.Self().Key)
			m.Port.Spy(func(x nodetest.Seen) {
				mu.Lock()
				defer mu.Unlock()
				who, hers := of[x.From]
				switch id := wire.ID(x.Raw); {
				case x.Op != nil && hers:
					s.traces = append(s.traces, trace{x.At, i, who, x.Op})
				case x.Op == nil && heard[id].IsZero():
					heard[id] = x.At
				}
			})
		}
		if strangers {
			how.Hops = func(n int) []protocol.Keeper {
				list := slices.Clone(public)
				rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				return list[:min(n, len(list))]
			}
		}
		var hers []*nodetest.Member
		for i := range spyCustomers {
			m := w.Personal(fmt.Sprintf("customer-%d", i))
			mu.Lock()
			of[m.Port.Prefix()] = i
			mu.Unlock()
			hers = append(hers, m)
		}
		when := make([]time.Duration, spyCustomers)
		for i := range when {
			when[i] = rand.N(spyWindow)
		}
		order := make([]int, spyCustomers)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(when[a], when[b]) })
		begin := time.Now()
		for _, i := range order {
			time.Sleep(time.Until(begin.Add(when[i])))
			s.needs = append(s.needs, announceSpied(t, w, hers[i], i, tell))
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i, n := range s.needs {
			if s.needs[i].heard = heard[n.id]; heard[n.id].IsZero() {
				t.Fatalf("need %d was never heard", i)
			}
		}
	})
	s.weigh(s.evidence)
	return s
}

// weigh works out what each trace says, and forgets those that say nothing.
func (s *spied) weigh(evidence func(trace, posted) float64) {
	all := s.traces
	s.traces, s.says = nil, nil
	for _, tr := range all {
		row, any := make([]float64, len(s.needs)), false
		for i, n := range s.needs {
			row[i] = evidence(tr, n)
			any = any || row[i] != 0
		}
		if any {
			s.traces, s.says = append(s.traces, tr), append(s.says, row)
		}
	}
}

func announceSpied(t *testing.T, w *nodetest.World, m *nodetest.Member, by int, tell func(*nodetest.World, *nodetest.Member, []byte)) posted {
	ctx := context.Background()
	n, err := m.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a desk", Category: "home.furniture"})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := m.Customer().Needs().Stranger(ctx, n.ID)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(seen.Hex)
	if err != nil {
		t.Fatal(err)
	}
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		t.Fatal(err)
	}
	p := posted{id: h.ID(), mailbox: h.A().Mailbox, keepers: map[key.KeeperKey]bool{}, by: by}
	for _, k := range h.A().Keepers {
		p.keepers[k.Key] = true
	}
	if tell != nil {
		tell(w, m, raw)
	}
	return p
}

// How sure one trace is that its sender posted a need.
const (
	surely = 1e6 // it names the need: its bytes, its hash, its mailbox
	slack  = 500 * time.Millisecond
)

// evidence is what one trace says for one need. A trace with a next hop fits the
// needs that name this hop and surfaced within the longest hold after it; it says
// the more for a need the fewer others fit as well. Who handed a need on by gossip
// says nothing: it leads to a keeper, which the need names.
func (s *spied) evidence(tr trace, n posted) float64 {
	switch {
	case len(tr.op.Data) > 0 && wire.ID(tr.op.Data) == n.id, !tr.op.Box.IsZero() && tr.op.Box == n.mailbox, slices.Contains(tr.op.Hashes, n.id):
		return surely
	case tr.op.Kind != protocol.OpPost && tr.op.Kind != protocol.OpPostKey || tr.op.Next.Key.IsZero():
		return 0
	case !s.fits(tr, n):
		return -1
	}
	others := 0
	for _, o := range s.needs {
		if s.fits(tr, o) {
			others++
		}
	}
	// Of needs that fit alike, the one that surfaced soonest after it.
	soon := 1 - float64(n.heard.Sub(tr.at)+slack)/float64(s.hold+3*slack)
	return (1 + soon/100) / float64(others)
}

func (s *spied) fits(tr trace, n posted) bool {
	gap := n.heard.Sub(tr.at)
	return n.keepers[tr.op.Next.Key] && gap >= -slack && gap <= s.hold+slack
}

// precision lets a share of the public nodes spy together and tell what each has
// seen. The best guess for each need is worked out: first the pair of customer and
// need that the most speaks for, and so on, no customer twice; where nothing speaks
// for anybody, any customer that is left. It is the expected share of right guesses
// among the needs of which no keeper spies.
func (s *spied) precision(spies map[int]bool) (right float64, guessed int) {
	type pair struct {
		need, by int
		says     float64
	}
	said := make([]map[int]float64, len(s.needs))
	for i := range said {
		said[i] = map[int]float64{}
	}
	for j, tr := range s.traces {
		if !spies[tr.node] {
			continue
		}
		for i, e := range s.says[j] {
			if e != 0 {
				said[i][tr.by] += e
			}
		}
	}
	var pairs []pair
	for i, by := range said {
		for c, says := range by {
			if says > 0 {
				pairs = append(pairs, pair{i, c, says})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.says, a.says), cmp.Compare(a.need, b.need), cmp.Compare(a.by, b.by))
	})
	guess, taken := map[int]int{}, map[int]bool{}
	for _, p := range pairs {
		if _, done := guess[p.need]; !done && !taken[p.by] {
			guess[p.need], taken[p.by] = p.by, true
		}
	}
	free := float64(spyCustomers - len(taken))
	for i, n := range s.needs {
		if s.ownKeeperSpies(n, spies) {
			continue
		}
		guessed++
		switch by, ok := guess[i]; {
		case ok && by == n.by:
			right++
		case !ok && !taken[n.by]:
			right += 1 / free
		}
	}
	return right, guessed
}

func (s *spied) ownKeeperSpies(n posted, spies map[int]bool) bool {
	for i := range spies {
		if n.keepers[s.keys[i]] {
			return true
		}
	}
	return false
}

// mean is the precision over many draws of a share of spies.
func (s *spied) mean(share float64) float64 {
	r := rand.New(rand.NewPCG(1, 2))
	right, guessed := 0.0, 0
	for range spyDraws {
		spies := map[int]bool{}
		for _, i := range r.Perm(spyPublic)[:int(share*spyPublic+0.5)] {
			spies[i] = true
		}
		a, b := s.precision(spies)
		right, guessed = right+a, guessed+b
	}
	return right / float64(guessed)
}

// inTheOpen hands a need, as it is, to some public node as well.
func inTheOpen(_ *nodetest.World, m *nodetest.Member, raw []byte) {
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		panic(err)
	}
	c := keeper.Client{Port: m.Port, Net: h.A().Net}
	for _, k := range m.Port.Keepers(spyPublic) {
		if !slices.ContainsFunc(h.A().Keepers, func(own protocol.Keeper) bool { return own.Key == k.Key }) {
			if s, err := c.Post(context.Background(), k); err == nil {
				_ = s.Announce(context.Background(), raw) // what comes of it is not the question
				_ = s.Close()
			}
			return
		}
	}
}

// TestMust_first_spy: public nodes that spy and tell each other all that they see
// guess who posted a need at most twice as well as chance, apart from the needs that
// they keep mail for.
func TestMust_first_spy(t *testing.T) {
	const chance, bar = 1.0 / spyCustomers, 2.0 / spyCustomers
	sealed := courier.Posting{TwoHops: true}
	held := courier.Posting{TwoHops: true, Delay: 5 * time.Second}
	row := func(name string, how courier.Posting, strangers bool, tell func(*nodetest.World, *nodetest.Member, []byte)) float64 {
		s := runSpied(t, how, strangers, tell)
		at := s.mean(0.05)
		t.Logf("%-52s %.3f (%4.1f × chance) | %.3f | %.3f", name, at, at/chance, s.mean(0.10), s.mean(0.20))
		return at
	}
	t.Logf("%d public nodes, %d needs within %v, chance %.3f; precision with 5 %% | 10 %% | 20 %% of spies", spyPublic, spyCustomers, spyWindow, chance)
	// Planted: who hands a need to a stranger in the open is found, and so is who lets
	// strangers pass it on sealed: the next hop and the moment give the need away.
	if p := row("planted: in the open to one stranger too", sealed, false, inTheOpen); p < 1.25*bar {
		t.Errorf("a planted need in the open is not found: %.3f", p)
	}
	if p := row("planted: sealed by way of strangers, no delay", sealed, true, nil); p <= bar {
		t.Errorf("planted first hops that are strangers are not found: %.3f", p)
	}
	row("for comparison: by way of strangers, delay up to 5 s", held, true, nil)
	row("for comparison: one hop, no delay", courier.Posting{}, false, nil)
	for name, how := range map[string]courier.Posting{"two hops, no delay": sealed, "two hops, delay up to 5 s (default)": held} {
		if p := row(name, how, false, nil); p > bar {
			t.Errorf("%s: precision %.3f, at most %.3f", name, p, bar)
		}
	}
}
