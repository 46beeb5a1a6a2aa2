package play

import (
	"context"
	"time"
)

// A Looker is a stage on which records stand that are looked up in the end, when
// everything else was measured.
type Looker interface {
	// Look looks all of them up, after whatever is done to them before. What it saw went
	// to saw when it returns.
	Look(ctx context.Context) error
}

// lookUp is the part of step 5 that costs too much to be counted with the rest.
func lookUp(ctx context.Context, r *run) error {
	l, ok := r.stage.(Looker)
	if !ok {
		return nil
	}
	r.tell("looking records up", time.Since(r.start))
	return l.Look(ctx)
}
