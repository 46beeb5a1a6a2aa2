package market

import (
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

// TestRoom: the limit holds over any 24 hours, and one of each day is kept for the lease.
func TestRoom(t *testing.T) {
	hours := func(n int) protocol.Second { return protocol.Second(1_000_000 + n*3600) }
	s := Standing{PerDay: 3}
	for i, c := range []struct {
		at      int
		renewal bool
		ok      bool
		from    int
	}{
		{0, true, true, 0}, {1, false, true, 0}, {2, false, false, 24}, {3, true, true, 0}, {4, true, false, 24}, {24, false, false, 25}, {25, false, true, 0},
	} {
		ok, from := s.Room(c.renewal, hours(c.at))
		if ok != c.ok || !ok && from != hours(c.from) {
			t.Fatalf("step %d: %v from %d, want %v from %d", i, ok, from, c.ok, hours(c.from))
		}
		if ok {
			s.Count(hours(c.at))
		}
	}
	one := Standing{PerDay: 1}
	if ok, from := one.Room(false, hours(0)); ok || from != 0 {
		t.Errorf("of one a day, a change has %v, %d", ok, from)
	}
	free := Standing{}
	free.Count(hours(0))
	if ok, _ := free.Room(false, hours(0)); !ok || len(free.Sent) != 0 {
		t.Errorf("without a limit: %v, %v", ok, free.Sent)
	}
	for range 3 * protocol.MaxPerDay {
		one.Count(hours(0))
	}
	if len(one.Sent) != protocol.MaxPerDay {
		t.Errorf("%d moments are remembered", len(one.Sent))
	}
}

func TestWithhold(t *testing.T) {
	s := Standing{Given: []Given{{"contact.email", 1}, {"contact.phone", 2}}}
	s.Withhold("contact.email", "contact.email")
	if len(s.Withheld) != 1 || !s.Lacks("contact.email") || s.Lacks("contact.phone") || len(s.Given) != 1 {
		t.Errorf("%+v", s)
	}
	for i := range 3 * protocol.MaxFields {
		s.Withhold(protocol.FieldName("f." + string(rune('a'+i))))
	}
	if len(s.Withheld) != protocol.MaxFields {
		t.Errorf("%d fields are withheld", len(s.Withheld))
	}
}

// TestTouchSettles: the first change sets the moment, further ones leave it; moves are
// there until they are done.
func TestTouchSettles(t *testing.T) {
	db := kv.Memory()
	c := protocol.ContextID{7}
	update := func(fn func(kv.Tx) error) {
		t.Helper()
		if err := db.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	due := func() (at int64) {
		if err := db.View(t.Context(), func(r kv.Reader) error {
			list, _, err := NextDue(r, 1<<60, 4)
			if len(list) == 1 && list[0].What == DueUpdate {
				at = list[0].AtMS
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return at
	}
	update(func(tx kv.Tx) error { return Touch(tx, 1000) })
	update(func(tx kv.Tx) error { return Touch(tx, 2500) })
	if got := due(); got != 1000+Settle {
		t.Errorf("due at %d", got)
	}
	moves := func() (n int) {
		if err := db.View(t.Context(), func(r kv.Reader) error {
			return EachMove(r, func(id protocol.ContextID, since int64) (bool, error) {
				if id == c && since == 9 {
					n++
				}
				return true, nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	update(func(tx kv.Tx) error { return PutMove(tx, c, 9) })
	if moves() != 1 {
		t.Error("a move is not kept")
	}
	update(func(tx kv.Tx) error { return DeleteMove(tx, c) })
	if moves() != 0 {
		t.Error("a move stays")
	}
}
