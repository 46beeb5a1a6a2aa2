package callers

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

// One address prefix has at most half of the streams, and leaves as much for others.
func TestCallersShareTheStreams(t *testing.T) {
	c := New(16)
	for _, one := range []struct {
		from string
		want int
	}{{"a", 8}, {"b", 4}, {"c", 2}, {"d", 1}, {"e", 1}, {"f", 0}} {
		n := 0
		for c.Come(one.from) == nil {
			n++
		}
		if n != one.want || !errors.Is(c.Come(one.from), fault.Full) {
			t.Errorf("%s has %d streams, want %d", one.from, n, one.want)
		}
	}
	if c.all != 16 {
		t.Errorf("%d in all", c.all)
	}
	for range 8 {
		c.Leave("a")
	}
	if err := c.Come("f"); err != nil || c.all != 9 || len(c.of) != 5 {
		t.Errorf("once a has gone: %v, %d streams of %d prefixes", err, c.all, len(c.of))
	}
}
