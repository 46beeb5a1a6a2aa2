// Package figures judges a demonstration: by what the nodes' own APIs tell, and by
// their homes once they are stopped, never by what the parent saw on the way.
//
//  1. Look reads everything from one running node; an audit of its home is added
//     once it is stopped;
//  2. Compute works all figures out of these views;
//  3. Problems names whatever does not hold, and who is to blame where one is.
package figures

import (
	"context"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// A View is all that one node's API tells of a demonstration.
type View struct {
	name     string
	role     process.Role
	key      string // as a keeper
	vendor   string // its id as one
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
	Audit    *node.AuditReport // of the stopped home; nil where the network is kept
}

func (v *View) String() string { return string(v.role) + " " + v.name }

// maxPages bounds how long a list may be.
const maxPages = 1000

// Pages reads all of a list.
func Pages[T any](ctx context.Context, list func(context.Context, desk.Query) (desk.Page[T], error), q desk.Query) (out []T, err error) {
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

// Look reads everything from one node.
func Look(ctx context.Context, p *process.Process) (View, error) {
	v := View{name: p.Name, role: p.Role, key: p.Self.Key, vendor: p.Self.Vendor}
	if p.Role == process.Customer || p.Role == process.Practice {
		v.key = "" // it is nobody's keeper
	}
	if !p.Alive() {
		return v, nil // its end is a problem already
	}
	var errs [10]error
	c, letters := p.API.Customer(), func(sent bool) func(context.Context, desk.Query) (desk.Page[desk.LetterReport], error) {
		return func(ctx context.Context, q desk.Query) (desk.Page[desk.LetterReport], error) {
			return p.API.Admin().Letters(ctx, sent, q)
		}
	}
	v.needs, errs[0] = Pages(ctx, c.Needs().List, desk.Query{All: true})
	v.requests, errs[1] = Pages(ctx, c.Requests().List, desk.Query{All: true})
	v.grants, errs[2] = Pages(ctx, c.Grants().List, desk.Query{All: true})
	v.offers, errs[3] = Pages(ctx, c.Offers().List, desk.Query{All: true})
	v.deals, errs[4] = Pages(ctx, c.Deals().List, desk.Query{})
	v.board, errs[5] = Pages(ctx, p.API.Vendor().Board().List, desk.Query{All: true})
	v.sent, errs[6] = Pages(ctx, letters(true), desk.Query{})
	v.read, errs[7] = Pages(ctx, letters(false), desk.Query{})
	v.held, errs[8] = Pages(ctx, p.API.Vendor().Held().List, desk.Query{})
	v.ledger, errs[9] = p.API.Ledger().Verify(ctx)
	if err := errors.Join(errs[:]...); err != nil {
		return v, fmt.Errorf("%s: %w", p, err)
	}
	return v, nil
}

// An Asked is a need as the parent announced it.
type Asked struct{ Input, ID, Customer string }
