package play

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/lab"
)

// TestAStageWithoutAttacks: what an engine can't do to keepers is said, and the run goes on.
func TestAStageWithoutAttacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all, _, err := play(t, "duration = \"30s\"\nsettle = \"5s\"\nengine = \"simulated\"\n[load]\nneeds = 2\n[liars]\ncount = 1\nhow = [\"wipe\"]\n[mail_flood]\nidentities = 1\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, r := range all {
			if r.Kind == lab.KindMark && strings.Contains(r.Error, "this engine can't do that") {
				count[r.What+" "+r.Node]++
			}
			if r.Kind == lab.KindSaid && r.What == "announced" {
				count["announced"]++
			}
		}
		if count["failed to lose liar-1"] != 1 || count["failed to flood "] != 1 || count["announced"] != 2 {
			t.Errorf("%v", count)
		}
	})
}
