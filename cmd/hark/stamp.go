package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// stamped runs a call that may have the node work on a stamp, and meanwhile shows, on
// a terminal, how that goes. Whoever interrupts the call ends the work.
func (a *app) stamped(ctx context.Context, h desk.House, call func() error) error {
	if !isTerminal(a.stderr) {
		return call()
	}
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
		watchStamp(watching, a.stderr, plain, time.Now(), h.Admin().Events)
	})
	err := call()
	stop()
	wg.Wait()
	return err
}

// quiet is how long a call may take before anything is shown of it.
const quiet = 400 * time.Millisecond

// watchStamp writes one line and keeps rewriting it, or, where plain, a line for each
// piece of news; until ctx ends.
func watchStamp(ctx context.Context, w io.Writer, plain bool, since time.Time, events func(context.Context, uint64, func(desk.Event) error) error) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(quiet):
	}
	wide := 0
	_ = events(ctx, 0, func(e desk.Event) error { // it ends with ctx; without events there is nothing to show
		line, ok := stampLine(e)
		switch {
		case !ok || e.AtMS < since.UnixMilli():
		case plain:
			fmt.Fprintln(w, line)
		default:
			fmt.Fprintf(w, "\r%-*s", wide, line)
			wide = max(wide, len(line))
		}
		return nil
	})
	if wide > 0 {
		fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", wide))
	}
}

// stampLine puts an event of the work on a stamp into words.
func stampLine(e desk.Event) (string, bool) {
	tries, err := strconv.ParseUint(e.Data["tries"], 10, 64)
	expected, err2 := strconv.ParseUint(e.Data["expected"], 10, 64)
	if e.Kind != "stamp.progress" || err != nil || err2 != nil || expected == 0 {
		return "", false
	}
	return fmt.Sprintf("working on the stamp: %.1f million tries, on average it takes %.1f (ctrl-c ends it)", float64(tries)/1e6, float64(expected)/1e6), true
}
