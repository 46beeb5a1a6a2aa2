package stamp

import (
	"errors"
	"slices"
	"testing"
)

// The first nonce that does the work is found, and no less work is.
func TestGrind(t *testing.T) {
	for effort := range uint8(14) {
		base := append([]byte("base"), make([]byte, 8)...)
		nonce, err := Grind(base, effort, nil)
		if err != nil || Work(base, nonce) < int(effort) {
			t.Fatalf("effort %d: nonce %d does %d, %v", effort, nonce, Work(base, nonce), err)
		}
		for before := range nonce {
			if Work(base, before) >= int(effort) {
				t.Errorf("effort %d: nonce %d comes before %d", effort, before, nonce)
			}
		}
		if effort > 8 && Work(append([]byte("else"), make([]byte, 8)...), nonce) >= int(effort) {
			t.Errorf("effort %d: the stamp is good for another base", effort)
		}
	}
}

func TestAStepStopsTheWork(t *testing.T) {
	var heard []uint64
	_, err := Grind(make([]byte, 8), 60, func(tries uint64) bool { heard = append(heard, tries); return len(heard) < 3 })
	if !errors.Is(err, ErrStopped) || !slices.Equal(heard, []uint64{0, stepTries, 2 * stepTries}) {
		t.Errorf("%v, heard %v", err, heard)
	}
}
