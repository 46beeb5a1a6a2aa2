package nodetest

import (
	"context"
	"errors"

	"github.com/harkmarket/hark/node/internal/crew"
)

// AtOnce does all of it, so many at a time, and waits until it is done.
func AtOnce(ctx context.Context, most int, all []func(context.Context) error) error {
	work := crew.New(ctx, most, nil)
	next, ended := make(chan func(context.Context) error), make(chan error, len(all))
	var errs []error
	for range most {
		errs = append(errs, work.Hire("at once", func(ctx context.Context) {
			for do := range next {
				ended <- do(ctx)
			}
		}))
	}
	for _, do := range all {
		next <- do
	}
	close(next)
	for range all {
		errs = append(errs, <-ended)
	}
	return errors.Join(errors.Join(errs...), work.Dismiss(ctx))
}
