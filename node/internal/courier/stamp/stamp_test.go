package stamp

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/outbox"
)

func letter(n int) (id protocol.Hash) {
	copy(id[:], fmt.Sprint(n))
	return id
}

// A stamp is worked on once for each letter and keeper, ends with its context, and is
// forgotten with the letter.
func TestStampsAreRemembered(t *testing.T) {
	m := New(8)
	to := []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}, {Key: key.Generate[key.Keeper]().Public()}}
	it := outbox.Item{ID: letter(1), Data: []byte("letter"), Box: key.Generate[key.Mailbox]().Public(), Keepers: to}
	it.First.Stamp = protocol.Admission{Lane: protocol.LaneWork, Effort: 8}
	made := map[int]protocol.Admission{}
	for i, k := range to {
		s, err := m.Stamp(t.Context(), it, k)
		f := protocol.FirstContact{Stamp: s}
		if err != nil || wire.FirstWork(&f, it.Box, wire.ID(it.Data), k.Key) != 8 {
			t.Fatalf("keeper %d: %+v, %v", i, s, err)
		}
		made[i] = s
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i, k := range to { // no work is left: it does not matter that nobody waits
		if s, err := m.Stamp(gone, it, k); err != nil || s != made[i] {
			t.Errorf("keeper %d again: %+v, %v", i, s, err)
		}
	}
	dear := it
	dear.ID, dear.First.Stamp.Effort = letter(2), 40 // about a day
	if _, err := m.Stamp(gone, dear, to[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("a dear one that nobody waits for: %v", err)
	}
	if len(m.mills) != 0 || len(m.stamps) != 2 {
		t.Errorf("%d at work, %d remembered", len(m.mills), len(m.stamps))
	}
	if m.Forget(it); len(m.stamps) != 0 {
		t.Errorf("%d are remembered of a letter that is over", len(m.stamps))
	}
	for n := range m.most {
		m.stamps[stampOf{letter(n + 10), to[0].Key}] = protocol.Admission{}
	}
	for range 2 { // a full table lets one go, and none for what it has
		if _, err := m.Stamp(t.Context(), it, to[0]); err != nil || len(m.stamps) != m.most {
			t.Errorf("%d of a full table are left, %v", len(m.stamps), err)
		}
	}
}
