package node_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
)

// A trade is one customer and one vendor who are never on the network at the same
// time, and three keepers between them: whatever one says to the other rests at the
// keepers when its turn ends. Turns alternate, hers first:
//
//	announce · request · grant · receipt · disclosure · offer · accept · confirm and
//	fulfil · close and revoke · deletion · (she reads it)
type trade struct {
	t           *testing.T
	w           *nodetest.World
	keepers     []*nodetest.Member
	her, vendor *nodetest.Member
	late        []*nodetest.Member // keepers that answer her only when the others have
	turns       int
}

var tradeSteps = []string{"announce", "request", "grant", "receipt", "disclosure", "offer", "accept", "fulfil", "close and revoke", "deletion"}

// A turn: the keepers that are late come after a moment, then she acts. Each is long
// enough for a node that comes back to try again.
const (
	lateBy  = 40 * time.Second
	readFor = 50 * time.Second
	turnFor = 3 * time.Minute
)

// newTrade makes one with keepers that misbehave as named, "" where they don't.
func newTrade(t *testing.T, mis ...string) *trade {
	tr := &trade{t: t, w: nodetest.NewWorld(t)}
	for i, how := range mis {
		tr.keepers = append(tr.keepers, tr.w.Misbehaving(fmt.Sprint("keeper ", i+1), true, how))
	}
	tr.vendor, tr.her = tr.w.Public("couches"), tr.w.Personal("thandi")
	time.Sleep(5 * time.Second)
	tr.vendor.Sell(shop)
	tr.her.Fill(map[string]string{"location.area": "Melville"})
	tr.w.Net.SetLink(tr.her.Port, tr.vendor.Port, false) // so that it is no keeper of hers
	time.Sleep(time.Minute)
	return tr
}

// turn lets one of the two be on the network for a while.
func (tr *trade) turn() {
	tr.t.Helper()
	on, off := tr.her, tr.vendor
	if tr.turns%2 == 1 {
		on, off = off, on
	}
	off.Online(false)
	for _, k := range tr.late {
		k.Online(on != tr.her) // the vendor draws keepers in its turns: it should find all
	}
	on.Online(true)
	time.Sleep(lateBy)
	for _, k := range tr.late {
		k.Online(true)
	}
	time.Sleep(readFor)
	if on == tr.her {
		tr.act()
	}
	time.Sleep(turnFor)
	on.Online(false)
	tr.turns++
}

// act is what she does by hand: announce, accept, close, revoke.
func (tr *trade) act() {
	tr.t.Helper()
	check := func(err error) {
		if err != nil {
			tr.t.Fatalf("turn %d: %v", tr.turns, err)
		}
	}
	if tr.turns == 0 {
		_, err := tr.her.Customer().Needs().Create(bg, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture", MaxPrice: 600000})
		check(err)
		return
	}
	for _, o := range tr.her.Offers(desk.Query{}) {
		if o.State == "offered" {
			_, err := tr.her.Customer().Offers().Accept(bg, o.ID, "")
			check(err)
		}
	}
	p, err := tr.her.Customer().Deals().List(bg, desk.Query{State: "fulfilled"})
	check(err)
	for _, d := range p.Items {
		_, err := tr.her.Customer().Deals().Step(bg, d.ID, "close", "")
		check(err)
		_, err = tr.her.Customer().Grants().Revoke(bg, nil, desk.Query{}, "done")
		check(err)
	}
}

var bg = context.Background()

// done tells whether everything has arrived on both sides.
func (tr *trade) done() bool {
	tr.t.Helper()
	for _, m := range []*nodetest.Member{tr.her, tr.vendor} {
		g := m.Grants(desk.Query{})
		p, err := m.Customer().Deals().List(bg, desk.Query{State: "closed"})
		if err != nil || len(g) != 1 || g[0].State != "deleted" || len(p.Items) != 1 {
			return false
		}
	}
	return true
}

// play goes on until all is done, at most so many turns, and gives how many it took.
func (tr *trade) play(most int) (turns int, err error) {
	tr.t.Helper()
	for !tr.done() {
		if tr.turns >= most {
			return tr.turns, fmt.Errorf("after %d turns not done: hers %s, the vendor's %s", tr.turns, tr.her.States(), tr.vendor.States())
		}
		tr.turn()
	}
	return tr.turns, nil
}

// once says what was acted on other than once: each kind of ledger entry of either
// side is there as often as in a trade that nothing disturbed. What a side says of its
// own accord more often, as a renewed lease does, is no matter of keepers.
func (tr *trade) once(undisturbed map[string]int) (wrong []string) {
	tr.t.Helper()
	got := tr.entries()
	if overtaken := tr.her.Name + " deal.confirmed"; got[overtaken] == 0 && got[tr.her.Name+" deal.fulfilled"] == 1 {
		got[overtaken] = undisturbed[overtaken] // both were late, and what was fulfilled needs no confirmation
	}
	for _, kind := range slices.Sorted(maps.Keys(undisturbed)) {
		if got[kind] != undisturbed[kind] {
			wrong = append(wrong, fmt.Sprintf("%s %d times, not %d", kind, got[kind], undisturbed[kind]))
		}
		delete(got, kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(got)) {
		wrong = append(wrong, fmt.Sprintf("%s %d times, not at all", kind, got[kind]))
	}
	for _, m := range []*nodetest.Member{tr.her, tr.vendor} {
		if rep, err := m.Ledger().Verify(bg); err != nil || !rep.OK {
			wrong = append(wrong, fmt.Sprintf("the ledger of %s: %+v %v", m.Name, rep.Problems, err))
		}
		for _, g := range m.Grants(desk.Query{}) {
			if len(g.Lapses) > 0 {
				wrong = append(wrong, fmt.Sprintf("%s counts broken promises: %v", m.Name, g.Lapses))
			}
		}
	}
	return wrong
}

func (tr *trade) entries() map[string]int {
	tr.t.Helper()
	out := map[string]int{}
	for _, m := range []*nodetest.Member{tr.her, tr.vendor} {
		p, err := m.Ledger().List(bg, desk.Query{Limit: 500})
		if err != nil {
			tr.t.Fatal(err)
		}
		for _, e := range p.Items {
			out[m.Name+" "+e.Kind]++
		}
	}
	return out
}

// inTrade runs one trade in a bubble.
func inTrade(t *testing.T, mis []string, test func(tr *trade)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := newTrade(t, mis...)
		defer tr.w.Close()
		test(tr)
	})
}

var honest = []string{"", "", ""}

// undisturbed is a trade with three honest keepers that stay.
func undisturbed(t *testing.T) (turns int, entries map[string]int) {
	t.Helper()
	inTrade(t, honest, func(tr *trade) {
		var err error
		if turns, err = tr.play(20); err != nil {
			t.Fatal(err)
		}
		entries = tr.entries()
	})
	return turns, entries
}

// A death is what happens to a keeper.
type death struct {
	name string
	do   func(k *nodetest.Member)
}

var (
	wiped  = death{"wiped", (*nodetest.Member).Wipe}
	gone   = death{"gone", (*nodetest.Member).Stop}
	deaths = []death{wiped, gone}
)

// dies plays a trade in which these keepers die after a step; before, which may be
// nil, comes in the turn of that step.
func dies(t *testing.T, step int, d death, which []int, most int, before func(tr *trade), entries map[string]int) (turns int, wrong []string) {
	t.Helper()
	inTrade(t, honest, func(tr *trade) {
		for tr.turns < step {
			tr.turn()
		}
		if before != nil {
			before(tr)
		}
		tr.turn()
		for _, k := range which {
			d.do(tr.keepers[k])
		}
		for _, k := range tr.keepers {
			if k.Node != nil {
				k.Online(true)
			}
		}
		var err error
		if turns, err = tr.play(most); err != nil {
			wrong = []string{err.Error()}
			return
		}
		wrong = tr.once(entries)
	})
	return turns, wrong
}

// TestMust_keeper_dies: any one of three keepers wiped or gone, after any step:
// nothing is lost, and nothing comes later. Two wiped or gone: the third has it. Two
// wiped that alone had it: delayed until its sender is there again, and not lost.
func TestMust_keeper_dies(t *testing.T) {
	turns, entries := undisturbed(t)
	if turns != len(tradeSteps)+1 {
		t.Fatalf("an undisturbed trade took %d turns, not one for each of %v", turns, tradeSteps)
	}
	const tries = 60
	if _, wrong := dies(t, 4, gone, []int{0, 1, 2}, 2*turns, nil, entries); len(wrong) == 0 {
		t.Fatal("all three keepers are gone, and nothing was missed")
	}
	twice := maps.Clone(entries)
	twice["thandi offer.opened"]++
	if _, wrong := dies(t, 4, wiped, []int{0}, turns, nil, twice); len(wrong) != 1 {
		t.Fatalf("an offer less than there should be: %q", wrong)
	}
	var one, two, late atomic.Int64
	t.Run("steps", func(t *testing.T) {
		for step, name := range tradeSteps {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				pair := []int{step % 3, (step + 1) % 3}
				for _, d := range deaths {
					for k := range honest {
						if n, wrong := dies(t, step, d, []int{k}, turns, nil, entries); len(wrong) > 0 {
							t.Errorf("keeper %d %s after %s: %d turns, %q", k+1, d.name, name, n, wrong)
						}
						one.Add(1)
					}
					if n, wrong := dies(t, step, d, pair, turns, nil, entries); len(wrong) > 0 {
						t.Errorf("keepers %v %s after %s: %d turns, %q", pair, d.name, name, n, wrong)
					}
					two.Add(1)
				}
				n, wrong := dies(t, step, wiped, pair, tries, func(tr *trade) { tr.keepers[(step+2)%3].Online(false) }, entries)
				if len(wrong) > 0 {
					t.Errorf("keepers %v, which alone had it, wiped after %s: %d turns, %q", pair, name, n, wrong)
				}
				if n > turns {
					late.Add(1)
				}
			})
		}
	})
	if int(late.Load()) < len(tradeSteps)/2 {
		t.Errorf("only %d of %d letters that no keeper had any more came later", late.Load(), len(tradeSteps))
	}
	t.Logf("%d steps; one of three keepers wiped or gone: %d trades, two: %d trades, all in %d turns with each message acted on once; two wiped that alone had it: %d trades, %d of them later, none lost",
		len(tradeSteps), one.Load(), two.Load(), turns, len(tradeSteps), late.Load())
}
