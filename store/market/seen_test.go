package market

import (
	"errors"
	"fmt"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// roomy is room for all that a test remembers.
var roomy = Room{All: 1 << 20, Box: 1 << 20}

func putSighting(tx kv.Tx, s Sighting) error { return PutSighting(tx, s, roomy) }

// mark remembers a letter of a mailbox.
func mark(t *testing.T, s kv.Store, box, letter byte, most Room) error {
	t.Helper()
	return s.Update(t.Context(), func(tx kv.Tx) error {
		fresh, err := MarkSeen(tx, key.MailboxKey{box}, h(letter), 100, most)
		if err == nil && !fresh {
			t.Errorf("letter %d is not new", letter)
		}
		return err
	})
}

// filled are both fills as text.
func filled(t *testing.T, s kv.Store, most Room) (text string) {
	t.Helper()
	view(t, s, func(r kv.Reader) error {
		list, err := SeenFills(r, "market.letters", most)
		for _, f := range list {
			text += fmt.Sprintf("%s %d/%d ", f.Name, f.Used, f.Cap)
		}
		return err
	})
	return text
}

// One mailbox takes half of the room and no more; whoever has nothing yet finds some, and
// what was remembered stays remembered.
func TestAMailboxLeavesRoomForOthers(t *testing.T) {
	s, most := open(), Room{All: 12, Box: 8}
	letters := byte(0)
	for _, c := range []struct {
		box  byte
		fits int
	}{{1, 6}, {2, 3}, {3, 2}, {4, 1}, {1, 0}} {
		for i := range 10 {
			letters++
			err := mark(t, s, c.box, letters, most)
			if fits := i < c.fits; (err == nil) != fits || !fits && !errors.Is(err, fault.Full) {
				t.Errorf("letter %d of mailbox %d: %v", i+1, c.box, err)
			}
		}
	}
	if got, want := filled(t, s, most), "market.letters 12/12 market.letters-per-box 6/8 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	update(t, s, func(tx kv.Tx) error {
		if fresh, err := MarkSeen(tx, key.MailboxKey{5}, h(1), 100, Room{}); fresh || err != nil {
			t.Errorf("a letter that is known needs no room: %v, %v", fresh, err)
		}
		return nil
	})
	for letter, want := range map[byte]bool{1: true, 6: true, 7: false, 11: true, 14: false, 22: true, 31: true, 41: false} {
		view(t, s, func(r kv.Reader) error {
			if got, err := Seen(r, h(letter)); got != want || err != nil {
				t.Errorf("letter %d: seen %v (%v)", letter, got, err)
			}
			return nil
		})
	}
	narrow := Room{All: 100, Box: 2}
	s = open()
	for i := byte(1); i <= 3; i++ {
		if err := mark(t, s, 1, i, narrow); (err == nil) != (i < 3) {
			t.Errorf("letter %d of 2 of a mailbox: %v", i, err)
		}
	}
}

// What is swept gives its room back, also where it was kept by an earlier edition.
func TestSweptLettersGiveTheirRoomBack(t *testing.T) {
	s, most := open(), Room{All: 4, Box: 2}
	old := func(tx kv.Tx) error {
		return kv.PutCBOR(tx, seen.key(append([]byte{0xFF}, make([]byte, 31)...)), uint64(100))
	}
	update(t, s, old)
	for letter := byte(1); letter <= 2; letter++ {
		if err := mark(t, s, 1, letter, most); err != nil {
			t.Fatal(err)
		}
	}
	for _, now := range []protocol.Second{99, 100} {
		if next, err := Sweep(t.Context(), s, now, 0, nil); next != nil || err != nil {
			t.Fatal(next, err)
		}
		err := mark(t, s, 1, 3, most)
		if now == 99 && !errors.Is(err, fault.Full) || now == 100 && err != nil {
			t.Errorf("at %d: %v", now, err)
		}
	}
	left := 0
	view(t, s, func(r kv.Reader) error {
		return r.Scan([]byte(seen), nil, func(_, _ []byte) (bool, error) { left++; return true, nil })
	})
	if got, want := filled(t, s, most), "market.letters 1/4 market.letters-per-box 1/2 "; got != want || left != 1 {
		t.Errorf("%s with %d records, want %s with 1", got, left, want)
	}
}

// Sightings find no room for more, but those that are there may become proof; one of which
// nothing is left makes room.
func TestSightingsAreBounded(t *testing.T) {
	s, most := open(), Room{All: 4, Box: 4}
	put := func(letter, box byte, missing ...key.KeeperKey) error {
		return s.Update(t.Context(), func(tx kv.Tx) error {
			return PutSighting(tx, Sighting{Letter: h(letter), Box: key.MailboxKey{box}, AtMS: 5, Missing: missing}, most)
		})
	}
	liar := key.KeeperKey{7}
	for _, c := range []struct {
		letter, box byte
		missing     []key.KeeperKey
		full        bool
	}{
		{1, 1, []key.KeeperKey{liar}, false}, {2, 1, []key.KeeperKey{liar}, false}, {3, 1, []key.KeeperKey{liar}, true},
		{1, 1, []key.KeeperKey{liar, {8}}, false}, {4, 1, nil, false}, {5, 2, []key.KeeperKey{liar}, false},
		{6, 2, []key.KeeperKey{liar}, true}, {2, 1, nil, false}, {3, 1, []key.KeeperKey{liar}, false},
	} {
		if err := put(c.letter, c.box, c.missing...); errors.Is(err, fault.Full) != c.full || err != nil && !c.full {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var there []protocol.Hash
	view(t, s, func(r kv.Reader) error {
		return EachSighting(r, nil, func(s Sighting) (bool, error) { there = append(there, s.Letter); return true, nil })
	})
	if fmt.Sprint(there) != fmt.Sprint([]protocol.Hash{h(1), h(3), h(5)}) {
		t.Errorf("there are %v", there)
	}
	if _, err := Sweep(t.Context(), s, 0, 6, nil); err != nil {
		t.Fatal(err)
	}
	view(t, s, func(r kv.Reader) error {
		list, err := SightingFills(r, "x.y", most)
		if len(list) != 2 || list[0].Used != 0 || list[1].Used != 0 {
			t.Errorf("%+v", list)
		}
		return err
	})
}
