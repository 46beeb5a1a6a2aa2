package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// decisions makes the operations by which a customer decides on requests herself.
func (r *routes) decisions() {
	q := func() desk.Requests { return r.s.house.Customer().Requests() }
	add(r, op{id: "grant-request", verb: http.MethodPost, path: "/requests/{id}/grant", tag: "requests", does: "Grant a request that waits, or less than it asks",
		more: "`fields`: only these; `days`: for no longer; `coarse`: field to level; `price`: field to minor units, which makes a counter-proposal of it. Empty: all of it."},
		shown(func(ctx context.Context, in *byIDWith[desk.LessSpec]) (desk.Request, error) {
			return q().Grant(ctx, in.ID, in.Body)
		}, q, desk.Requests.Get))
	add(r, op{id: "refuse-request", verb: http.MethodPost, path: "/requests/{id}/refuse", tag: "requests", does: "Refuse a request that waits"},
		shown(func(ctx context.Context, in *noted) (desk.Request, error) { return q().Refuse(ctx, in.ID, in.text()) }, q, desk.Requests.Get))
	add(r, op{id: "snooze-request", verb: http.MethodPost, path: "/requests/{id}/snooze", tag: "requests", does: "Put a request off; it comes back once",
		more: "At most 90 days; the request expires by its own time all the same."},
		shown(func(ctx context.Context, in *byIDWith[desk.SnoozeSpec]) (desk.Request, error) {
			return q().Snooze(ctx, in.ID, in.Body)
		}, q, desk.Requests.Get))
}

// consent makes the operations on what decides by itself.
func (r *routes) consent(c func() desk.Consent) {
	add(r, op{id: "get-consent", verb: http.MethodGet, path: "/consent", tag: "consent", does: "Show the rules for requests, the prompts of a day, who is blocked, and what was refused to whom"},
		func(ctx context.Context, _ *none) (desk.ConsentView, error) { return c().Get(ctx) })
	view := func(ctx context.Context) (desk.ConsentView, error) { return c().Get(ctx) }
	add(r, op{id: "add-consent-rule", verb: http.MethodPost, path: "/consent/rules", tag: "consent", does: "Add a rule", status: http.StatusCreated,
		more: "`when` is an expression in CEL over the words that get-consent lists. Of the rules that hold the most restrictive wins: deny, ask, allow. None allows special information or a child's."},
		seen(func(ctx context.Context, in *with[desk.ConsentRule]) (desk.ConsentRule, error) {
			return c().Add(ctx, in.Body)
		},
			func(ctx context.Context, in *with[desk.ConsentRule], _ string) (desk.ConsentRule, error) {
				v, err := view(ctx)
				if i := slices.IndexFunc(v.Rules, func(rule desk.ConsentRule) bool { return rule.Name == in.Body.Name }); i >= 0 {
					return v.Rules[i], err
				}
				return desk.ConsentRule{}, errors.Join(err, fmt.Errorf("rule %.60q was added and removed again: %w", in.Body.Name, fault.NotFound))
			}))
	act(r, op{id: "remove-consent-rule", verb: http.MethodDelete, path: "/consent/rules/{id}", tag: "consent", does: "Remove a rule"},
		func(ctx context.Context, in *byID) error { return c().Remove(ctx, in.ID) })
	create(r, op{id: "test-consent", path: "/consent/test", tag: "consent", free: true, does: "Show what would have become of earlier requests",
		more: "By the rules as they are, and, where the body names one, by one more. Nothing is changed."}, c, desk.Consent.Test)
	add(r, op{id: "set-consent-budget", verb: http.MethodPut, path: "/consent/budget", tag: "consent", does: "Change how many prompts there are in a day"},
		seen(func(ctx context.Context, in *with[desk.PromptBudget]) (desk.ConsentView, error) {
			return c().Budget(ctx, in.Body)
		},
			func(ctx context.Context, _ *with[desk.PromptBudget], _ string) (desk.ConsentView, error) {
				return view(ctx)
			}))
	add(r, op{id: "set-consent-credit", verb: http.MethodPut, path: "/consent/credit", tag: "consent", does: "Change how much one vendor may owe",
		more: "In minor units of one currency; 0: nothing is granted for money. Vouchers are credit: what is owed may never be paid."},
		seen(func(ctx context.Context, in *with[desk.Money]) (desk.ConsentView, error) {
			return c().Credit(ctx, in.Body)
		},
			func(ctx context.Context, _ *with[desk.Money], _ string) (desk.ConsentView, error) { return view(ctx) }))
	for verb, yes := range map[string]bool{http.MethodPut: true, http.MethodDelete: false} {
		id, does := "unblock-vendor", "Hear a vendor again, also about what was refused it before"
		if yes {
			id, does = "block-vendor", "Drop a vendor's requests before anything of them is shown"
		}
		add(r, op{id: id, verb: verb, path: "/consent/blocked/{id}", tag: "consent", does: does, more: "By the vendor's id or name, or a request of it."},
			seen(func(ctx context.Context, in *byID) (desk.ConsentView, error) { return c().Block(ctx, in.ID, yes) },
				func(ctx context.Context, _ *byID, _ string) (desk.ConsentView, error) { return view(ctx) }))
	}
}
