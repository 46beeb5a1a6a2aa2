package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
)

func letter(n int) (id protocol.Hash) {
	copy(id[:], fmt.Sprint(n))
	return id
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := NewRecent(3)
	for i := range 4 {
		if !r.Add(letter(i)) || r.Add(letter(i)) {
			t.Errorf("letter %d is new, and then known", i)
		}
	}
	for i, want := range []bool{false, true, true, true} {
		if r.Has(letter(i)) != want {
			t.Errorf("letter %d: %v", i, !want)
		}
	}
	if len(r.at) != 3 || len(r.order) != 3 {
		t.Errorf("it holds %d and %d", len(r.at), len(r.order))
	}
}

func TestWhenForgetsTheOldest(t *testing.T) {
	w := NewWhen(3)
	moment := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for i := range 4 {
		w.Set(letter(i), moment(i))
	}
	w.Set(letter(1), moment(10)) // known: it takes no room, and keeps its place
	for i, want := range []time.Time{{}, moment(10), moment(2), moment(3)} {
		if at, ok := w.Get(letter(i)); ok == want.IsZero() || !at.Equal(want) {
			t.Errorf("letter %d: %v, %v", i, at, ok)
		}
	}
	w.Set(letter(4), moment(4))
	if _, ok := w.Get(letter(1)); ok || w.Len() != 3 || len(w.order) != 3 {
		t.Errorf("it holds %d and %d", w.Len(), len(w.order))
	}
}
