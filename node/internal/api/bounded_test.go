package api

import (
	"fmt"
	"testing"
	"time"
)

// TestAnswersAreBounded: kept answers are bounded by number and by bytes; the
// oldest give way, and the latest is there.
func TestAnswersAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ n, size, wantN, wantBytes int }{
		"many":  {3 * maxAnswers, 10, maxAnswers, 10 * maxAnswers},
		"large": {64, 1 << 20, maxReplay >> 20, maxReplay},
	} {
		a := newAnswers(time.Now)
		last := ""
		for i := range c.n {
			last = fmt.Sprint(i)
			ans, mine := a.claim(last, [32]byte{1})
			if !mine {
				t.Fatalf("%s: a fresh key was taken", name)
			}
			a.settle(ans, 200, "text/plain", make([]byte, c.size))
		}
		if len(a.by) != c.wantN || a.bytes != c.wantBytes {
			t.Errorf("%s: %d answers of %d bytes", name, len(a.by), a.bytes)
		}
		if ans, mine := a.claim(last, [32]byte{1}); mine || len(ans.body) != c.size {
			t.Errorf("%s: the latest answer is gone", name)
		}
	}
}
