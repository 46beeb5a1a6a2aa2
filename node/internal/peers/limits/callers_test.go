package limits

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol/fault"
)

// come lets a prefix have as many streams as it can.
func come(c *Callers, proto, from string) (n int) {
	for c.Come(proto, from) == nil {
		n++
	}
	return n
}

// One address prefix has at most half of the streams, and leaves as much for others.
func TestCallersShareTheStreams(t *testing.T) {
	c := NewCallers(16, nil)
	for _, one := range []struct {
		from string
		want int
	}{{"a", 8}, {"b", 4}, {"c", 2}, {"d", 1}, {"e", 1}, {"f", 0}} {
		if n := come(c, "p", one.from); n != one.want || !errors.Is(c.Come("p", one.from), fault.Full) {
			t.Errorf("%s has %d streams, want %d", one.from, n, one.want)
		}
	}
	if c.all.used != 16 {
		t.Errorf("%d in all", c.all.used)
	}
	for range 8 {
		c.Leave("p", "a")
	}
	if err := c.Come("p", "f"); err != nil || c.all.used != 9 || len(c.all.by) != 5 {
		t.Errorf("once a has gone: %v, %d streams of %d prefixes", err, c.all.used, len(c.all.by))
	}
}

// Of each protocol a prefix has at most half too, and what it takes of one it does not
// take of another.
func TestCallersShareEachProtocol(t *testing.T) {
	c := NewCallers(64, map[string]int{"mail": 32, "post": 8, "blob": 1000})
	for _, one := range []struct {
		proto, from string
		want        int
	}{{"post", "a", 4}, {"post", "b", 2}, {"mail", "a", 16}, {"mail", "b", 8}, {"blob", "a", 7}, {"blob", "c", 14}} {
		if n := come(c, one.proto, one.from); n != one.want {
			t.Errorf("%s has %d streams %s, want %d", one.from, n, one.proto, one.want)
		}
	}
	if used, most := c.Of("post"); used != 6 || most != 8 {
		t.Errorf("%d posts of %d", used, most)
	}
	if used, most := c.Of("blob"); used != 21 || most != 64 {
		t.Errorf("%d blobs of %d", used, most)
	}
	if used, most := c.Of("other"); used != 51 || most != 64 {
		t.Errorf("%d in all of %d", used, most)
	}
}

// Whoever comes and goes, no prefix holds more than half of anything, nothing is above
// its bound, and what has gone is free.
func TestNoPrefixHoldsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := map[string]int{"mail": rapid.IntRange(1, 24).Draw(t, "mail"), "post": rapid.IntRange(1, 8).Draw(t, "post")}
		c := NewCallers(rapid.IntRange(1, 32).Draw(t, "all"), bounds)
		type stream struct{ proto, from string }
		var open []stream
		for range rapid.IntRange(1, 200).Draw(t, "times") {
			if len(open) > 0 && rapid.IntRange(0, 3).Draw(t, "leaves") == 0 {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				c.Leave(open[i].proto, open[i].from)
				open = append(open[:i], open[i+1:]...)
				continue
			}
			s := stream{rapid.SampledFrom([]string{"mail", "post", "other"}).Draw(t, "proto"), fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "from"))}
			if c.Come(s.proto, s.from) == nil {
				open = append(open, s)
			}
			for _, of := range []*share{&c.all, c.of["mail"], c.of["post"]} {
				sum := 0
				for from, n := range of.by {
					if sum += n; n > (of.most+1)/2 {
						t.Fatalf("%s has %d of %d", from, n, of.most)
					}
				}
				if sum != of.used || sum > of.most {
					t.Fatalf("%d are counted as %d, of %d", sum, of.used, of.most)
				}
			}
		}
		for _, s := range open {
			c.Leave(s.proto, s.from)
		}
		if c.all.used+len(c.all.by)+c.of["mail"].used+len(c.of["mail"].by) != 0 {
			t.Fatal("something is left")
		}
	})
}
