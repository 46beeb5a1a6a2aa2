package span

import (
	"testing"
	"time"
)

func TestSpansReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "2h": 2 * time.Hour, "1m": time.Minute, "250ms": 250 * time.Millisecond} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v %v", text, d, err)
		}
		var again Duration
		raw, err := d.MarshalText()
		if err != nil || again.UnmarshalText(raw) != nil || again != d {
			t.Errorf("%s: written as %s, read as %v", text, raw, again)
		}
	}
	if s := Duration(90 * time.Minute).String(); s != "1h30m" {
		t.Errorf("an hour and a half is %s", s)
	}
	if err := new(Duration).UnmarshalText([]byte("5 parsecs")); err == nil {
		t.Error("parsecs are no time span")
	}
}
