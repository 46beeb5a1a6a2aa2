package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// TestWhatAKeeperLackedOnceIsNoProblem: letters that are missing at one keeper after a moment
// in which it was down are told with the keepers, and are no problem; they are one when that
// goes on, until nothing was missing for a while, and for good where its receipt shows a lie.
func TestWhatAKeeperLackedOnceIsNoProblem(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(list ...time.Duration) (at []int64) {
		for _, d := range list {
			at = append(at, now.Add(-d).UnixMilli())
		}
		return at
	}
	const h, m = time.Hour, time.Minute
	for name, c := range map[string]struct {
		at     []int64
		after  time.Duration
		proofs []desk.KeeperProof
		want   string
	}{
		"a moment":            {at: ago(m, m, m), want: ""},
		"around a full hour":  {at: ago(59*m, 61*m, 61*m), want: ""},
		"it goes on":          {at: ago(m, h+m, 2*h+m, 5*h+m), want: "keeper-lacked"},
		"it went on":          {at: ago(m, h+m, 2*h+m, 5*h+m), after: 20 * h, want: ""},
		"a moment, and proof": {at: ago(m), after: 900 * h, proofs: []desk.KeeperProof{{Found: "lacked"}}, want: "keeper-lied"},
	} {
		rep := desk.KeeperReport{Key: "k", Proofs: c.proofs, Lacked: lackedAt(c.at, now.Add(c.after).UnixMilli())}
		if rep.Lacked.Letters != len(c.at) || rep.Lacked.LastMS != slices.Max(c.at) {
			t.Errorf("%s: %+v", name, rep.Lacked)
		}
		var got []string
		keeperProblems([]desk.KeeperReport{rep}, func(code, _, _ string) { got = append(got, code) })
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: problems %q, want %q", name, got, c.want)
		}
	}
}
