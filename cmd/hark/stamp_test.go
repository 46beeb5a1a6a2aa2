package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

func progress(at time.Time, tries string) desk.Event {
	return desk.Event{AtMS: at.UnixMilli(), Kind: "stamp.progress", Data: map[string]string{"tries": tries, "expected": "16777216"}}
}

func TestStampLine(t *testing.T) {
	now := time.Now()
	if line, ok := stampLine(progress(now, "2500000")); !ok || line != "working on the stamp: 2.5 million tries, on average it takes 16.8 (ctrl-c ends it)" {
		t.Errorf("%q", line)
	}
	other := progress(now, "1")
	other.Kind = "need.announced"
	for _, e := range []desk.Event{other, progress(now, ""), progress(now, "-1"), {Kind: "stamp.progress"}, {Kind: "stamp.progress", Data: map[string]string{"tries": "1", "expected": "0"}}} {
		if line, ok := stampLine(e); ok {
			t.Errorf("%+v: %q", e, line)
		}
	}
}

// One line is rewritten and wiped in the end; where there is no colour each is a line
// of its own; what happened before the call is not shown.
func TestWatchStamp(t *testing.T) {
	since := time.Now()
	for plain, want := range map[bool]int{false: 0, true: 2} {
		ctx, cancel := context.WithCancel(t.Context())
		var out strings.Builder
		watchStamp(ctx, &out, plain, since, func(_ context.Context, after uint64, fn func(desk.Event) error) error {
			for _, e := range []desk.Event{progress(since.Add(-time.Minute), "9900000"), progress(since.Add(time.Second), "1000000"), progress(since.Add(time.Second), "2000000")} {
				if err := fn(e); err != nil {
					return err
				}
			}
			cancel()
			return ctx.Err()
		})
		got := out.String()
		if strings.Count(got, "\n") != want || strings.Contains(got, "9.9") || !strings.Contains(got, "2.0 million") || strings.Contains(got, "\x1b") {
			t.Errorf("plain %v: %q", plain, got)
		}
		if last := got[strings.LastIndex(strings.TrimRight(got, "\r"), "\r")+1:]; !plain && strings.TrimSpace(last) != "" {
			t.Errorf("it ends with %q", last)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	watchStamp(ctx, &out, false, since, func(context.Context, uint64, func(desk.Event) error) error {
		t.Error("a call that was quick is watched")
		return nil
	})
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}
