package node_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/nodetest"
)

// A clockStory is a whole deal in which the clock of one node is wrong from the first
// minute to the last. After each line the story's own invariants are checked: no
// promise counts as broken, every ledger verifies, no vendor holds what it signed that
// it deleted, no offer opens after its revocation. What is old does not come back: a
// need that was updated stands everywhere under its last seq, and a withdrawn one
// nowhere, also after the restart of a keeper.
const clockStory = `
keeper k1
keeper k2
keeper k3
vendor couches
sells couches 1 "Two-seater couch grey" 4500
customer thandi location.area Melville contact.hours evenings
customer sipho location.area Yeoville contact.hours mornings
clock WHO BY
wait 10m
need thandi couch "a couch for two" budget 6000
need sipho seat "a grey couch" budget 6000
wait 10m
expect board couches BOARD
wait 140m
expect offers thandi couch 1
expect offers sipho seat 1
update thandi couch budget 5000
wait 150m
expect need thandi couch "announced 2"
accept thandi couch
wait 150m
expect deals thandi fulfilled 1
close thandi
revoke thandi
wait 150m
expect grants thandi deleted 1
withdraw thandi couch
wait 150m
stop k1
wait 10m
start k1
wait 10m
expect need thandi couch "withdrawn 3"
expect board couches 1
expect held couches 1
expect problem WHO clock WARNED
`

// onBoard is how many of the two needs the vendor's board has after ten minutes, where who's
// clock is wrong: what was made in a minute that has not come is ignored, and pulled later.
func onBoard(who, by string) string {
	switch who + by {
	case "thandi+1h":
		return "1"
	case "couches-1h":
		return "0"
	}
	return "2"
}

// TestMust_clock_skew: a clock that is an hour wrong, either way, at any node: nothing
// is lost, nothing stale is accepted, and its owner is warned, and nobody else.
func TestMust_clock_skew(t *testing.T) {
	play := func(t *testing.T, who, by, board, warned string, change ...string) (err error) {
		text := strings.NewReplacer(append(change, "WHO", who, "BY", by, "BOARD", board, "WARNED", warned)...).Replace(clockStory)
		for _, other := range []string{"k2", "couches", "thandi"} {
			if other != who {
				text += fmt.Sprintf("expect problem %s clock 0\n", other)
			}
		}
		synctest.Test(t, func(t *testing.T) { err = nodetest.Play(t, text) })
		return err
	}
	for _, plant := range []struct {
		name, found, by, board, warned string
		change                         []string
	}{
		{"a warning is wanted where the clock is right", "expect problem couches", "+30s", "2", "1", nil},
		{"no warning is wanted where the clock is an hour wrong", "expect problem couches", "+1h", "2", "0", nil},
		{"nobody ignores what was made in an hour that has not come", "expect board couches", "+0s", "0", "0", nil},
		{"the vendor keeps a need that was withdrawn", "expect board couches 1", "+0s", "2", "0", []string{"withdraw thandi", "offline couches\nwithdraw thandi"}},
		{"the customer's letters are lost: she is cut off", "expect deals thandi", "+0s", "2", "0", []string{"wait 140m\nexpect offers", "offline thandi\nwait 140m\nexpect offers"}},
	} {
		if err := play(t, "couches", plant.by, plant.board, plant.warned, plant.change...); err == nil || !strings.Contains(err.Error(), plant.found) {
			t.Fatalf("%s, and the story ends so: %v", plant.name, err)
		}
	}
	t.Run("skewed", func(t *testing.T) {
		for _, who := range []string{"k1", "couches", "thandi"} {
			for _, by := range []string{"+1h", "-1h"} {
				t.Run(who+" "+by, func(t *testing.T) {
					t.Parallel()
					if err := play(t, who, by, onBoard(who, by), "1"); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
	if !t.Failed() {
		t.Log("an hour wrong, ahead and behind, at a keeper, a vendor and a customer: 6 deals, none lost; nothing early or stale on a board; each owner warned")
	}
}
