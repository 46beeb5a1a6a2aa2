package market

import (
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

func TestSweepForgetsWhatIsPastItsDateAndNothingElse(t *testing.T) {
	s := kv.Memory()
	id := func(i int) (h protocol.Hash) {
		h[0], h[1], h[2] = byte(i>>16), byte(i>>8), byte(i)
		return h
	}
	const all = sweepBatch + 500
	for from := 1; from <= all; from += 500 {
		err := s.Update(t.Context(), func(tx kv.Tx) error {
			for i := from; i < from+500 && i <= all; i++ {
				if _, err := MarkSeen(tx, key.MailboxKey{byte(i)}, id(i), protocol.Second(100+i%2*100), roomy); err != nil { // odd ones live longer
					return err
				}
			}
			return putSighting(tx, Sighting{Letter: id(from), AtMS: int64(from), Missing: []key.KeeperKey{{1}}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var at []byte
	rounds := 0
	for {
		next, err := Sweep(t.Context(), s, 150, 1000, at)
		if err != nil {
			t.Fatal(err)
		}
		if rounds++; next == nil {
			break
		}
		at = next
	}
	if rounds < 2 {
		t.Errorf("%d records were swept in %d round", all, rounds)
	}
	err := s.View(t.Context(), func(r kv.Reader) error {
		for i := 1; i <= all; i++ {
			if known, err := Seen(r, id(i)); err != nil || known != (i%2 == 1) {
				t.Fatalf("letter %d: known %v (%v)", i, known, err)
			}
		}
		return EachSighting(r, nil, func(s Sighting) (bool, error) {
			if s.AtMS < 1000 {
				t.Errorf("a sighting of %d ms is still there", s.AtMS)
			}
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
