package budget

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However it is asked, a bucket gives no more than its burst and its rate.
func TestBucketsNeverGiveMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{rapid.Float64Range(0.1, 50).Draw(t, "rate"), rapid.Float64Range(1, 100).Draw(t, "burst")}
		b := newBuckets(rate)
		begin := time.Unix(1000, 0)
		now, given := begin, 0.0
		for range rapid.IntRange(1, 200).Draw(t, "times") {
			now = now.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(t, "ms")) * time.Millisecond)
			cost := float64(rapid.IntRange(1, 8).Draw(t, "cost"))
			if b.take("x", cost, now) {
				given += cost
			}
		}
		// A clock that went back may refill again what it refilled before.
		most := rate.Burst + rate.PerSecond*(now.Sub(begin).Seconds()+200*0.1)
		if given > most+1e-6 {
			t.Fatalf("%v given, at most %v", given, most)
		}
	})
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(Rate{1, 5})
	now := time.Unix(1000, 0)
	for i := range 2 * Max {
		if !b.take(fmt.Sprint(i), 1, now) {
			t.Fatal("a newcomer is refused")
		}
	}
	if b.size() != Max {
		t.Errorf("%d buckets, at most %d", b.size(), Max)
	}
}
