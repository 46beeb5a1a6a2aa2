package dht

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

func boardOf(t *testing.T, announcements, vendors int) *board.Board {
	t.Helper()
	b, err := board.Open(kv.Memory(), testShards, board.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range announcements {
		h, err := wire.OpenAnnouncement(sample{name: fmt.Sprint("need ", i)}.sign())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), h, int64(born)*1000); err != nil {
			t.Fatal(err)
		}
	}
	for i := range vendors {
		if _, err := b.PutPassports(t.Context(), chain(fmt.Sprint("vendor ", i), 1, nil)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// Whoever starts again goes on where the clock says: at any moment of 22 hours the next
// in turn is the one that would have been next without the start.
func TestARoundGoesOnByTheClock(t *testing.T) {
	b := boardOf(t, 5, 3)
	turn := putEvery / 9
	key := func(r *round) string {
		h, c, err := r.next(t.Context())
		switch {
		case err != nil:
			t.Fatal(err)
		case !h.IsZero():
			return AnnKey(h.A().ContextID())
		case !c.IsZero():
			return PassportKey(c.Vendor())
		}
		return "end"
	}
	through := &round{board: b}
	midnight := time.Unix(0, 1000*int64(putEvery))
	for i := range 20 {
		want, starts := key(through), midnight.Add(time.Duration(i)*turn-turn/3)
		again := &round{board: b}
		if last := again.begin(t.Context(), starts); last.Add(turn).Sub(starts).Round(time.Second) != (turn / 3).Round(time.Second) {
			t.Errorf("turn %d: the one before was %v ago", i, starts.Sub(last))
		}
		if got := key(again); got != want {
			t.Errorf("turn %d: %q in place of %q", i, got, want)
		}
	}
}

// A round looks at everything on the board once, in 22 hours, and begins anew.
func TestARoundTakesADay(t *testing.T) {
	b := boardOf(t, 7, 4)
	r := &round{board: b}
	for turn := range 2 {
		seen, took := map[string]bool{}, time.Duration(0)
		for range 12 { // and one step for the end of the round
			h, c, err := r.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			took += r.pause()
			switch {
			case !h.IsZero():
				seen[AnnKey(h.A().ContextID())] = true
			case !c.IsZero():
				seen[PassportKey(c.Vendor())] = true
			}
		}
		if len(seen) != 11 || took < putEvery-time.Hour || took > putEvery {
			t.Errorf("round %d: %d records in %v", turn, len(seen), took)
		}
	}
	if p := (&round{board: boardOf(t, 0, 0)}).pause(); p != putEvery {
		t.Errorf("an empty board: %v", p)
	}
}

func TestPutsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPuts(maxPuts)
		for i := range 2 * maxPuts {
			p.add(put{key: fmt.Sprint(i)})
		}
		p.add(put{key: "0", value: []byte("newer")})
		if p.size() != maxPuts {
			t.Errorf("%d wait", p.size())
		}
		if one, ok := p.next(); !ok || string(one.value) != "newer" {
			t.Errorf("the first is %+v: a newer version takes the place of the older", one)
		}
	})
}
