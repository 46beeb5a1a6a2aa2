package crew

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestUnderWay(t *testing.T) {
	u := NewUnderWay[int](2)
	switch {
	case !u.Begin(1) || !u.Begin(2):
		t.Error("there was room")
	case u.Begin(1) || u.Begin(3):
		t.Error("twice, or one too many")
	case !u.Has(1) || u.Has(3):
		t.Error("what is under way")
	}
	u.End(1)
	u.End(3) // was never begun
	if n, most := u.Fill(); n != 1 || most != 2 || u.Has(1) || !u.Begin(3) {
		t.Errorf("%d of %d", n, most)
	}
}

func TestEachThingIsBegunOnce(t *testing.T) {
	u := NewUnderWay[int](4)
	var begun atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if u.Begin(i % 8) {
				begun.Add(1)
			}
		})
	}
	wg.Wait()
	if begun.Load() != 4 {
		t.Errorf("%d were begun, there is room for 4", begun.Load())
	}
}
