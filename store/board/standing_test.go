package board_test

import (
	"context"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

// Whose a context is follows the latest open version that named keepers, holds for its
// withdrawals and its shadow, and stands after the board was opened again. Another
// keeper's board says no.
func TestOursIsKept(t *testing.T) {
	for _, c := range []struct {
		self string
		want bool
	}{{"k", true}, {"somebody else", false}} {
		s := kv.Memory()
		b := open(t, s, board.Limits{})
		b.put(spec{name: "before", life: 50})
		b.For(private[key.Keeper](c.self).Public())
		ours := func(when, name string, want bool) {
			t.Helper()
			for range 2 { // in memory, and from disk
				if got := b.Ours(contextID(name)); got != want {
					t.Errorf("%s, %s: %s is ours: %v", c.self, when, name, got)
				}
				b = open(t, s, board.Limits{})
				b.For(private[key.Keeper](c.self).Public())
			}
		}
		ours("it came before anybody said whose board it is", "before", false)
		ours("nothing is there", "desk", false)
		b.put(spec{name: "desk", life: 50})
		ours("open", "desk", c.want)
		b.put(spec{name: "desk", seq: 2, gone: true, life: 10})
		ours("withdrawn", "desk", c.want)
		b.put(spec{name: "desk", seq: 3, gone: true, life: 20})
		ours("withdrawn again", "desk", c.want)
		b.put(spec{name: "desk", seq: 9, life: 50})
		ours("an open one after its withdrawal is nothing", "desk", c.want)
		b.put(spec{name: "unknown", gone: true, life: 20})
		ours("the withdrawal of what never came", "unknown", false)
		b.put(spec{name: "shade", life: 90})
		b.put(spec{name: "shade", seq: 2, life: 10})
		if _, err := b.Expire(context.Background(), now+11); err != nil {
			t.Fatal(err)
		}
		ours("a shadow", "shade", c.want)
		b.put(spec{name: "shade", seq: 3, gone: true, life: 90})
		ours("its withdrawal", "shade", c.want)
	}
}

// Standings shows all that stands once, in pages, and no shadows.
func TestStandings(t *testing.T) {
	b := open(t, kv.Memory(), board.Limits{})
	b.For(private[key.Keeper]("k").Public())
	want := map[protocol.ContextID]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b.put(spec{name: name, life: 50})
		want[contextID(name)] = true
	}
	b.put(spec{name: "e", seq: 2, life: 5})
	b.put(spec{name: "a", seq: 2, gone: true, life: 50})
	if _, err := b.Expire(context.Background(), now+6); err != nil {
		t.Fatal(err)
	}
	delete(want, contextID("e"))
	var after protocol.ContextID
	for page := b.Standings(after, 2); len(page) > 0; page = b.Standings(after, 2) {
		if len(page) > 2 {
			t.Fatalf("%d on a page", len(page))
		}
		for _, s := range page {
			if !want[s.Context] || s.HeardMS != nowMS || !s.Ours {
				t.Errorf("%+v", s)
			}
			delete(want, s.Context)
			after = s.Context
		}
	}
	if len(want) > 0 || len(b.Standings(protocol.ContextID{}, -1)) > 0 {
		t.Errorf("%d are missing", len(want))
	}
}
