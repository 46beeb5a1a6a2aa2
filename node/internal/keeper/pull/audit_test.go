package pull

import (
	"testing"

	"github.com/harkmarket/hark/protocol"
)

func TestWithheld(t *testing.T) {
	const since, now = protocol.Second(10_000), protocol.Second(20_000)
	times := func(at ...protocol.Second) []protocol.Second { return at }
	for name, row := range map[string]struct {
		came, lacks []protocol.Second
		want        int
	}{
		"takes part":            {nil, nil, 0},
		"had it all along":      {times(since, now-Grace-1), nil, 2},
		"never got it":          {nil, times(since, now-Grace-1), 2},
		"both":                  {times(15_000), times(15_000), 2},
		"has had no time yet":   {times(now - Grace), times(now), 0},
		"before this node came": {times(since - 1), times(0), 0},
		"from the future":       {times(now + 1), times(1<<63 - 1), 0},
	} {
		if got := Withheld(now, since, row.came, row.lacks); got != row.want {
			t.Errorf("%s: %d, want %d", name, got, row.want)
		}
	}
}
