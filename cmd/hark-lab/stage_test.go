package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/lab"
)

// TestNodesPostAsTheScenarioSays: simulated customers post by its hops and delay.
func TestNodesPostAsTheScenarioSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lab.Default()
		s.Engine = lab.Simulated
		s.Load.PostHops, s.Load.PostDelay = 1, lab.Duration(5*time.Second)
		st := newStage(t, s, s.Plan(1), 1)
		defer func() {
			if err := st.close(); err != nil {
				t.Error(err)
			}
		}()
		if p := st.w.Posting; p == nil || p.TwoHops || p.Delay != 5*time.Second {
			t.Errorf("%+v", p)
		}
	})
}

// TestNodesHaveTheWaysOfTheScenario: simulated nodes use those that it names, or all that
// they have.
func TestNodesHaveTheWaysOfTheScenario(t *testing.T) {
	for _, ways := range [][]string{{}, {"bootstrap"}} {
		synctest.Test(t, func(t *testing.T) {
			s := lab.Default()
			s.Engine, s.Network.Ways = lab.Simulated, ways
			st := newStage(t, s, s.Plan(1), 1)
			defer st.w.Close()
			v, err := st.w.Carrier("one").Admin().Status(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range v.Ways {
				if off := len(ways) > 0 && w.Way != "bootstrap"; (w.Works == desk.Off) != off {
					t.Errorf("%v: %+v", ways, w)
				}
			}
		})
	}
}
