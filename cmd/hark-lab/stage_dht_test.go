package main

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
)

// playDHT plays a small scenario with the DHT and gives its figures.
func playDHT(t *testing.T, change func(*lab.Scenario)) (f lab.Figures) {
	synctest.Test(t, func(t *testing.T) {
		s := lab.Default()
		s.Engine, s.Duration, s.Settle = lab.Simulated, lab.Duration(time.Second), lab.Duration(time.Second)
		s.Network.DHT, s.Network.Public, s.Network.Personal, s.Network.Shards = true, 4, 1, 1
		s.Load.Needs = 1
		s.Records = lab.Records{Passports: 2, Announcements: 2, Each: 1}
		change(&s)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var all []lab.Record
		st := newStage(t, s, s.Plan(1), 1)
		err := play.Run(context.Background(), s, st.plan, st, func(r lab.Record) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		}, nil)
		if err != nil {
			t.Error(err)
		}
		if err := st.close(); err != nil {
			t.Error(err)
		}
		f = lab.Compute(s, 1, all)
	})
	return f
}

// TestSimulatedNodesHaveADHT: every node stands in every other's table, though the
// diversity filter is at work; what keepers put is found by the DHT alone, also after
// strangers put more than there is room for; and nothing outlives the bubble.
func TestSimulatedNodesHaveADHT(t *testing.T) {
	f := playDHT(t, func(s *lab.Scenario) { s.DHTFlood = lab.DHTFlood{Peers: 2, Records: 40, Bytes: 64 << 10} })
	if *f.PassportsAlone != 1 || *f.NeedsAlone != 1 || *f.PassportsFound != 1 || *f.NeedsFound != 1 || *f.TableNodes != 3 || *f.HeldBytes == 0 {
		t.Errorf("%+v", f.DHTFigures)
	}
	if *f.FloodTaken == 0 || *f.FloodLeft < 0.99 || *f.FloodFill > 1 || *f.FloodFill < 0.5 {
		t.Errorf("the flood: %v were taken, %v of the room at most", *f.FloodTaken, *f.FloodFill)
	}
}
