package node

import (
	"context"

	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/node/internal/desks"
	"github.com/harkmarket/hark/store/answers"
	"github.com/harkmarket/hark/store/kv"
)

// once implements market.Once: what a program asked for with a key is marked in the
// transaction of its effect.
type once struct{ kept *answers.Answers }

// Done implements market.Once.
func (o once) Done(ctx context.Context, tx kv.Tx, made string, nowMS int64) error {
	q, ok := api.Asking(ctx)
	if !ok {
		return nil
	}
	return o.kept.Mark(tx, q, made, nowMS)
}

// Since implements market.Once.
func (once) Since(ctx context.Context) int64 {
	q, _ := api.Asking(ctx)
	return q.Since
}

// replies implements api.Answers on the private store; fault.Locked while it is shut.
type replies struct{ n *Node }

// Find implements api.Answers.
func (r replies) Find(ctx context.Context, key string, nowMS int64) (a answers.Answer, err error) {
	in := r.n.insides()
	if in == nil {
		return a, desks.ErrLocked()
	}
	return in.answers.Find(ctx, key, nowMS)
}

// Keep implements api.Answers.
func (r replies) Keep(ctx context.Context, key string, a answers.Answer, nowMS int64) error {
	in := r.n.insides()
	if in == nil {
		return desks.ErrLocked()
	}
	return in.answers.Keep(ctx, key, a, nowMS)
}
