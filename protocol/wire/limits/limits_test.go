package limits

import (
	"bytes"
	"errors"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

func TestLimits(t *testing.T) {
	for _, n := range []uint32{1, 23, protocol.MaxPerDay} {
		x, err := Extra(protocol.GrantLimits{PerDay: n})
		if err != nil || Of(x).PerDay != n {
			t.Errorf("%d comes back as %d: %x, %v", n, Of(x).PerDay, x, err)
		}
	}
	if x, err := Extra(protocol.GrantLimits{}); x != nil || err != nil {
		t.Errorf("no limit is written as %x, %v", x, err)
	}
	if _, err := Extra(protocol.GrantLimits{PerDay: protocol.MaxPerDay + 1}); !errors.Is(err, fault.Malformed) {
		t.Errorf("more than the most: %v", err)
	}
}

// TestOtherForms: whatever else stands there counts as absent, and harms nobody.
func TestOtherForms(t *testing.T) {
	for what, x := range map[string][]byte{
		"nothing": nil, "a number": {0x18, Key, 0x05}, "an empty map": {0x18, Key, 0xa0}, "an unknown key": {0x18, Key, 0xa1, 0x02, 0x05},
		"more than the most": {0x18, Key, 0xa1, 0x01, 0x18, protocol.MaxPerDay + 1}, "a text": {0x18, Key, 0xa1, 0x01, 0x61, 'a'},
		"cut": {0x18, Key, 0xa1, 0x01}, "another key": {0x18, Key + 1, 0xa1, 0x01, 0x05},
	} {
		if l := Of(x); l != (protocol.GrantLimits{}) {
			t.Errorf("%s reads as %+v", what, l)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte{0x18, Key, 0xa1, 0x01, 0x05})
	f.Add([]byte{0x18, Key, 0xa0})
	f.Add([]byte{0x18, Key, 0xa1, 0x01})
	f.Fuzz(func(t *testing.T, x []byte) {
		if got, over := alloc.Over(alloc.Most(len(x)), func() { _ = Of(x) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(x))
		}
		l := Of(x)
		if l.PerDay > protocol.MaxPerDay {
			t.Fatalf("%x reads as %d a day", x, l.PerDay)
		}
		raw, err := Extra(l)
		if err != nil || Of(raw) != l {
			t.Fatalf("%x reads as %+v and is written as %x, %v", x, l, raw, err)
		}
		if l.PerDay > 0 && !bytes.Contains(x, raw[2:]) {
			t.Fatalf("%x holds another spelling of %x", x, raw)
		}
	})
}
