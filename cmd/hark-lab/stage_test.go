package main

import (
	"testing"
	"testing/synctest"
	"time"

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
