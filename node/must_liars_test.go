package node_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A lie is a promise that a keeper breaks, and the problem under which status must
// name it; proof is what its own signature must show beside that.
type lie struct {
	how, code, proof string
	wipes            bool // it loses everything after each turn
}

var lies = []lie{
	{how: "withhold-mail", code: "keeper-lied", proof: "lacked"},
	{how: "roll-back", code: "keeper-lied", proof: "lacked"},
	{how: "wipes", code: "keeper-lied", proof: "lacked", wipes: true},
	{how: "flip-bits", code: "keeper-altered", proof: "altered"},
	{how: "replay-mail", code: "keeper-replayed"},
}

// keepers are three of which the first so many lie.
func (l lie) keepers(liars int) []string {
	mis := slices.Clone(honest)
	for i := range liars {
		if !l.wipes {
			mis[i] = l.how
		}
	}
	return mis
}

// playLying plays until all is done or most turns are over. The liars are the
// first to answer her.
func (tr *trade) playLying(l lie, liars, most int) (turns int, err error) {
	tr.t.Helper()
	tr.late = tr.keepers[liars:]
	for !tr.done() {
		if tr.turns >= most {
			return tr.play(most)
		}
		tr.turn()
		for i := range liars {
			if l.wipes {
				tr.keepers[i].Wipe()
			}
		}
	}
	return tr.turns, nil
}

// accused gives, for each keeper, the codes under which either side's status names it,
// and what the proofs there show, each checked.
func (tr *trade) accused() (codes, proofs [][]string) {
	tr.t.Helper()
	codes, proofs = make([][]string, len(tr.keepers)), make([][]string, len(tr.keepers))
	for _, m := range []*nodetest.Member{tr.her, tr.vendor} {
		v, err := m.Admin().Status(bg)
		if err != nil {
			tr.t.Fatal(err)
		}
		for i, k := range tr.keepers {
			self := k.Key.Public().String()
			for _, p := range v.Problems {
				if strings.HasPrefix(p.Code, "keeper-") && strings.Contains(p.What, self) {
					codes[i] = append(codes[i], p.Code)
				}
			}
			for _, rep := range v.Keepers {
				if rep.Key != self {
					continue
				}
				for _, p := range rep.Proofs {
					raw, err := base64.StdEncoding.DecodeString(p.Receipt)
					var r protocol.DepositReceipt
					if err = errors.Join(err, wire.Unmarshal(raw, &r, protocol.MaxFrame)); err == nil {
						err = wire.CheckReceipt(r)
					}
					if err != nil || r.Keeper != k.Key.Public() || r.Letter.String() != p.Letter {
						tr.t.Errorf("a proof against %s proves nothing: %+v (%v)", k.Name, p, err)
					}
					proofs[i] = append(proofs[i], p.Found)
				}
			}
		}
	}
	return codes, proofs
}

// misjudged says who was named that should not have been, or was not that should have.
func (tr *trade) misjudged(l lie, liars int) (wrong []string) {
	tr.t.Helper()
	codes, proofs := tr.accused()
	for i, k := range tr.keepers {
		switch {
		case i >= liars && len(codes[i])+len(proofs[i]) > 0:
			wrong = append(wrong, fmt.Sprintf("%s is honest, and named: %v, proofs %v", k.Name, codes[i], proofs[i]))
		case i < liars && !slices.Contains(codes[i], l.code):
			wrong = append(wrong, fmt.Sprintf("%s is named as %v, not as %s", k.Name, codes[i], l.code))
		case i < liars && l.proof != "" && !slices.Contains(proofs[i], l.proof):
			wrong = append(wrong, fmt.Sprintf("of %s proofs are shown that it %v, not that it %s", k.Name, proofs[i], l.proof))
		}
	}
	return wrong
}

// TestMust_lying_keeper: a keeper withholds, rolls back, wipes, alters or replays. One
// of three: nothing is lost and nothing comes later. Two: at worst delayed until it is
// sent again. Each message is acted on once, the liar is named in status with its
// signature, and nobody else is.
func TestMust_lying_keeper(t *testing.T) {
	turns, entries := undisturbed(t)
	inTrade(t, lies[0].keepers(3), func(tr *trade) { // nobody is left to hold anything
		if _, err := tr.playLying(lies[0], 3, 2*turns); err == nil {
			t.Error("all three keepers throw letters away, and nothing was missed")
		}
	})
	inTrade(t, honest, func(tr *trade) { // nobody lied
		if _, err := tr.play(turns); err != nil {
			t.Fatal(err)
		}
		for _, l := range lies {
			if len(tr.misjudged(l, 1)) == 0 {
				t.Errorf("an honest keeper passes for one that does this: %s", l.how)
			}
		}
		if wrong := tr.misjudged(lie{}, 0); len(wrong) > 0 {
			t.Errorf("nobody lied: %q", wrong)
		}
	})
	for _, l := range lies {
		for liars, most := range []int{1: turns, 2: 60} {
			if liars == 0 {
				continue
			}
			inTrade(t, l.keepers(liars), func(tr *trade) {
				n, err := tr.playLying(l, liars, most)
				if err != nil {
					t.Errorf("%d of 3 keepers, %s: %v", liars, l.how, err)
					return
				}
				wrong := append(tr.once(entries), tr.misjudged(l, liars)...)
				if len(wrong) > 0 {
					t.Errorf("%d of 3 keepers, %s: %q", liars, l.how, wrong)
				}
				_, proofs := tr.accused()
				t.Logf("%-13s %d of 3: %d turns (undisturbed %d), each message acted on once, named as %s, %d proofs", l.how, liars, n, turns, l.code, len(slices.Concat(proofs...)))
			})
		}
	}
}

// unreplaced says what is wrong with the keepers of her need after one of them lied: it
// is still among them, or they are fewer, or status does not name it with what is known.
func (tr *trade) unreplaced(l lie) (wrong []string) {
	tr.t.Helper()
	list, err := tr.her.Customer().Needs().List(bg, desk.Query{})
	if err != nil || len(list.Items) != 1 {
		tr.t.Fatalf("%d needs, %v", len(list.Items), err)
	}
	keepers := list.Items[0].Keepers
	for i, k := range tr.keepers {
		if in := slices.Contains(keepers, k.Key.Public().String()); in == (i == 0) {
			wrong = append(wrong, fmt.Sprintf("%s is among the keepers of her need: %v", k.Name, in))
		}
	}
	if len(keepers) != protocol.MaxKeepers {
		wrong = append(wrong, fmt.Sprintf("her need has %d keepers", len(keepers)))
	}
	return append(wrong, tr.misjudged(l, 1)...)
}

// inboxNamed tells whether status warns the vendor of one keeper of its inbox, and
// whether the vendor itself has evidence against the first.
func (tr *trade) inboxNamed() (named, knows bool) {
	tr.t.Helper()
	v, err := tr.vendor.Admin().Status(bg)
	if err != nil {
		tr.t.Fatal(err)
	}
	self := tr.keepers[0].Key.Public().String()
	named = slices.ContainsFunc(v.Problems, func(p desk.Problem) bool {
		return p.Code == "inbox-keepers" && strings.Contains(p.What, "2 of 3")
	})
	knows = slices.ContainsFunc(v.Keepers, func(rep desk.KeeperReport) bool {
		return rep.Key == self && len(rep.Proofs)+len(rep.Replayed) > 0
	})
	return named, knows
}

// deceived plays a trade whose first keeper lies at three keepers, after which the
// fourth, if there is one, comes.
func deceived(t *testing.T, mis []string, then func(tr *trade)) {
	t.Helper()
	inTrade(t, mis, func(tr *trade) {
		for _, k := range tr.keepers[3:] {
			k.Online(false)
		}
		time.Sleep(time.Minute)
		tr.late = tr.keepers[1:3]
		for range 14 {
			if tr.done() {
				break
			}
			tr.turn()
		}
		for _, m := range append(slices.Clone(tr.keepers), tr.her, tr.vendor) {
			m.Online(true)
		}
		time.Sleep(20 * time.Minute)
		then(tr)
	})
}

// TestALiarIsReplaced: a keeper of a living need that withholds, alters or replays is
// named in status, and another takes its place.
func TestALiarIsReplaced(t *testing.T) {
	for _, l := range lies {
		if l.how == "roll-back" || l.wipes {
			continue // as one that withholds
		}
		t.Run(l.how, func(t *testing.T) {
			t.Parallel()
			deceived(t, []string{l.how, "", ""}, func(tr *trade) {
				if wrong := tr.unreplaced(l); len(wrong) != 1 {
					t.Errorf("nobody can take its place, and what is wrong is: %q", wrong)
				}
				if named, knows := tr.inboxNamed(); named != knows || l.proof == "" && !knows {
					t.Errorf("its inbox lies there too; the vendor knows of it: %v, and is told: %v", knows, named)
				}
			})
			deceived(t, []string{"", "", "", ""}, func(tr *trade) {
				if wrong := tr.unreplaced(l); len(wrong) < 3 { // it stays, the fourth does not come, and it is not named
					t.Errorf("an honest keeper was replaced: %q", wrong)
				}
				if named, _ := tr.inboxNamed(); named {
					t.Error("the vendor is told that its inbox lies at a liar")
				}
			})
			deceived(t, []string{l.how, "", "", ""}, func(tr *trade) {
				if wrong := tr.unreplaced(l); len(wrong) > 0 {
					t.Errorf("%q", wrong)
				}
				_, proofs := tr.accused()
				t.Logf("%-13s: replaced by the fourth in her need, named as %s, %d proofs", l.how, l.code, len(proofs[0]))
			})
		})
	}
}
