package mischief

import (
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

func texts(letters [][]byte) (out []string) {
	for _, l := range letters {
		out = append(out, string(l))
	}
	return out
}

func TestEachBreaksItsPromiseAndNoOther(t *testing.T) {
	box := key.MailboxKey{1}
	for how, want := range map[Misbehaviour]struct {
		dropped     int // of five letters
		first, next []string
	}{
		"":           {0, []string{"five"}, []string{"five"}},
		WithholdMail: {5, []string{"five"}, []string{"five"}},
		FlipBits:     {0, []string{"fivd"}, []string{"fivd"}},
		RollBack:     {3, []string{"one", "two", "five"}, []string{"five"}},
		ReplayMail:   {0, []string{"one", "two", "three", "four", "five"}, []string{"five"}},
	} {
		m := New(how)
		dropped := 0
		for _, l := range []string{"one", "two", "three", "four", "five"} {
			if m.Drops(box, []byte(l)) {
				dropped++
			}
		}
		left := [][]byte{[]byte("five")}
		first, next := texts(m.Given(box, left, true)), texts(m.Given(box, left, false))
		if dropped != want.dropped || !slices.Equal(first, want.first) || !slices.Equal(next, want.next) {
			t.Errorf("%q: dropped %d, gives %v, then %v", how, dropped, first, next)
		}
		if other := m.Given(key.MailboxKey{2}, nil, true); len(other) != 0 {
			t.Errorf("%q: another box gets %v", how, texts(other))
		}
	}
}

func TestBound(t *testing.T) {
	m := New(ReplayMail)
	for i := range 2 * atticBoxes {
		m.Drops(key.MailboxKey{byte(i), byte(i >> 8), 1}, fmt.Append(nil, i))
	}
	m.Drops(key.MailboxKey{0, 0, 1}, make([]byte, atticLetter+1))
	if len(m.attic) != atticBoxes || len(m.attic[key.MailboxKey{0, 0, 1}]) != 1 {
		t.Errorf("%d boxes, at most %d", len(m.attic), atticBoxes)
	}
}

// What says more than is known is blamed by one that misbehaves so, and by no other.
func TestBlamesWhatSaysMore(t *testing.T) {
	signed := func(x protocol.Extra) []byte {
		t.Helper()
		h := protocol.Header{Net: protocol.Hash{1}, Kind: protocol.KindAck, ID: wire.NewID(), To: protocol.Hash{2}, Context: protocol.Hash{3}, Seq: 1, Created: 1, Expires: 2}
		raw, err := wire.SignExtra(key.Generate[key.Duty](), &protocol.Ack{Header: h, Grant: protocol.GrantID{4}, Acked: []protocol.Hash{{5}}}, x)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	plain, more := signed(nil), signed(protocol.Extra{0x18, 0xff, 0x01})
	for how, want := range map[Misbehaviour]bool{BlameLater: true, ReplayMail: false, "": false} {
		if m := New(how); m.Blames(more) != want || m.Blames(plain) || m.Blames([]byte("noise")) {
			t.Errorf("%q blames what says more: %v, what does not: %v", how, m.Blames(more), m.Blames(plain))
		}
	}
}
