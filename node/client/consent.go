package client

import (
	"context"
	"net/http"

	"github.com/harkmarket/hark/node/desk"
)

type consent struct{ c *Client }

// Consent gives the desk for what decides on requests.
func (c *Client) Consent() desk.Consent { return consent{c} }

func (d requests) Grant(ctx context.Context, id string, less desk.LessSpec) (desk.Request, error) {
	return Post[desk.Request](ctx, d.c, at("/requests", id, "grant"), less)
}

func (d requests) Refuse(ctx context.Context, id, reason string) (desk.Request, error) {
	return Post[desk.Request](ctx, d.c, at("/requests", id, "refuse"), noteBody{reason})
}

func (d requests) Snooze(ctx context.Context, id string, spec desk.SnoozeSpec) (desk.Request, error) {
	return Post[desk.Request](ctx, d.c, at("/requests", id, "snooze"), spec)
}

func (d consent) Get(ctx context.Context) (desk.ConsentView, error) {
	return Get[desk.ConsentView](ctx, d.c, "/consent")
}

func (d consent) Add(ctx context.Context, r desk.ConsentRule) (desk.ConsentRule, error) {
	return Post[desk.ConsentRule](ctx, d.c, "/consent/rules", r)
}

func (d consent) Remove(ctx context.Context, name string) error {
	return remove(ctx, d.c, at("/consent/rules", name))
}

func (d consent) Test(ctx context.Context, more desk.ConsentRule) (desk.ConsentTest, error) {
	return Post[desk.ConsentTest](ctx, d.c, "/consent/test", more)
}

func (d consent) Budget(ctx context.Context, b desk.PromptBudget) (desk.ConsentView, error) {
	return Put[desk.ConsentView](ctx, d.c, "/consent/budget", b)
}

func (d consent) Credit(ctx context.Context, most desk.Money) (desk.ConsentView, error) {
	return Put[desk.ConsentView](ctx, d.c, "/consent/credit", most)
}

func (d consent) Block(ctx context.Context, vendor string, yes bool) (desk.ConsentView, error) {
	verb := http.MethodPut
	if !yes {
		verb = http.MethodDelete
	}
	var v desk.ConsentView
	return v, d.c.Call(ctx, verb, at("/consent/blocked", vendor), nil, &v)
}
