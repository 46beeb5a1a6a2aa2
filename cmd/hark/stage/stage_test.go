package stage

import (
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/lab"
)

// TestHomesPostAsTheScenarioSays: customers' homes get its hops and its delay, written
// out, so that the program's own defaults have no say; keepers' have neither.
func TestHomesPostAsTheScenarioSays(t *testing.T) {
	s := lab.Default()
	for _, want := range []struct {
		hops  int
		delay time.Duration
		text  string
	}{{2, 0, "0s"}, {1, 5 * time.Second, "5s"}} {
		s.Load.PostHops, s.Load.PostDelay = want.hops, lab.Duration(want.delay)
		st, err := New(s, s.Plan(1), "hark", t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range st.nodes {
			o := st.options(a, nil)
			if a.listen != "" && (o.PostHops != 0 || o.PostDelay != "") || a.listen == "" && (o.PostHops != want.hops || o.PostDelay != want.text) {
				t.Errorf("%s: %d hops, %q", a.p, o.PostHops, o.PostDelay)
			}
		}
	}
}

// TestHomesHaveTheWaysOfTheScenario: each home is limited to them, and where the scenario
// names none, nothing is written, which is all.
func TestHomesHaveTheWaysOfTheScenario(t *testing.T) {
	s := lab.Default()
	for _, want := range [][]string{nil, {"bootstrap"}, {"bootstrap", "dht"}} {
		if s.Network.Ways = lab.Default().Network.Ways; want != nil {
			s.Network.Ways = want
		}
		st, err := New(s, s.Plan(1), "hark", t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range st.nodes {
			if o := st.options(a, nil); !slices.Equal(o.Ways, want) || (o.Ways == nil) != (want == nil) {
				t.Errorf("%s: %v, want %v", a.p, o.Ways, want)
			}
		}
	}
}
