package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// A view is all that one node's API tells of the show.
type view struct {
	name     string
	role     role
	key      string // as a keeper
	vendor   string // vendor id
	needs    []desk.Need
	requests []desk.Request
	grants   []desk.Grant
	offers   []desk.Offer
	deals    []desk.Deal
	board    []desk.Notice
	sent     []desk.LetterReport
	read     []desk.LetterReport
	held     []desk.HeldRecord
	ledger   desk.LedgerReport
	audit    *node.AuditReport // of the stopped home; nil where the network is kept
}

func (v *view) String() string { return string(v.role) + " " + v.name }

// maxPages bounds how long a list may be.
const maxPages = 1000

// pages reads all of a list.
func pages[T any](ctx context.Context, list func(context.Context, desk.Query) (desk.Page[T], error), q desk.Query) (out []T, err error) {
	q.Limit = 500
	for range maxPages {
		p, err := list(ctx, q)
		if err != nil {
			return out, err
		}
		out = append(out, p.Items...)
		if p.Next == "" {
			return out, nil
		}
		q.After = p.Next
	}
	return out, fmt.Errorf("a list of more than %d pages", maxPages)
}

// look reads everything from one node.
func look(ctx context.Context, p *process) (view, error) {
	v := view{name: p.name, role: p.role, key: p.self.Key, vendor: p.self.Vendor}
	if p.role == customerRole {
		v.key = "" // it is nobody's keeper
	}
	if !p.alive() {
		return v, nil // its end is a problem already
	}
	var errs [10]error
	c, letters := p.api.Customer(), func(sent bool) func(context.Context, desk.Query) (desk.Page[desk.LetterReport], error) {
		return func(ctx context.Context, q desk.Query) (desk.Page[desk.LetterReport], error) {
			return p.api.Admin().Letters(ctx, sent, q)
		}
	}
	v.needs, errs[0] = pages(ctx, c.Needs().List, desk.Query{All: true})
	v.requests, errs[1] = pages(ctx, c.Requests().List, desk.Query{All: true})
	v.grants, errs[2] = pages(ctx, c.Grants().List, desk.Query{All: true})
	v.offers, errs[3] = pages(ctx, c.Offers().List, desk.Query{All: true})
	v.deals, errs[4] = pages(ctx, c.Deals().List, desk.Query{})
	v.board, errs[5] = pages(ctx, p.api.Vendor().Board().List, desk.Query{All: true})
	v.sent, errs[6] = pages(ctx, letters(true), desk.Query{})
	v.read, errs[7] = pages(ctx, letters(false), desk.Query{})
	v.held, errs[8] = pages(ctx, p.api.Vendor().Held().List, desk.Query{})
	v.ledger, errs[9] = p.api.Ledger().Verify(ctx)
	if err := errors.Join(errs[:]...); err != nil {
		return v, fmt.Errorf("%s: %w", p, err)
	}
	return v, nil
}

// judge reads all figures, stops the network unless it is kept, reads the homes, and
// names what does not hold.
func (sh *show) judge(ctx context.Context, keep bool) Report {
	if sh.brokenOff {
		sh.problem("the show broke off there, and the figures are incomplete")
	}
	sh.story.progress("reading the figures")
	views := make([]view, len(sh.nodes))
	if err := each(sh.nodes, func(i int, p *process) (err error) { views[i], err = look(ctx, p); return err }); err != nil {
		sh.problem("%v", err)
	}
	if !keep {
		sh.story.progress("stopping the network and reading the homes")
		if err := sh.stop(); err != nil {
			sh.problem("%v", err)
		}
		sh.audit(views)
	}
	asked := make([]asked, 0, len(sh.needs))
	for _, a := range sh.needs {
		if a.id != "" {
			asked = append(asked, asNeed(a))
		}
	}
	r := figures(views, asked)
	r.Needs = len(sh.in.needs)
	found := problems(views, asked, r)
	if sh.brokenOff {
		found = blames(views) // what is merely unfinished says nothing about anybody
	}
	r.Problems = append(r.Problems, slices.Concat(sh.deaths(), sh.problems, found)...) // a list, even where it is empty
	return r
}

// audit opens the stopped homes one after another: each is copied for it.
func (sh *show) audit(views []view) {
	for i, p := range sh.nodes {
		rep, err := node.Audit(p.paths, nil)
		if err != nil {
			sh.problem("%s: its home cannot be read: %v", p, err)
			continue
		}
		views[i].audit = &rep
	}
}

// asked is a need as the figures see it.
type asked struct{ input, id, customer string }

func asNeed(a *announced) asked { return asked{a.input, a.id, a.customer.name} }
