package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
)

// wordsOfHelp are what the help of flags names.
func wordsOfHelp() kong.Vars {
	return kong.Vars{
		"need_states":   strings.Join(flow.ContextStates(), ", "),
		"grant_states":  strings.Join(append(flow.AgreementStates()[1:], "waiting", "snoozed"), ", "),
		"deal_states":   strings.Join(flow.DealStates()[1:], ", "),
		"letter_states": strings.Join(desk.LetterStates(), ", "),
		"ledger_kinds":  strings.Join(subjects(desk.LedgerKinds()), ", "),
		"event_kinds":   strings.Join(subjects(desk.EventKinds()), ", "),
	}
}

// subjects are what stands before the dots.
func subjects(kinds []string) (out []string) {
	for _, k := range kinds {
		subject, _, _ := strings.Cut(k, ".")
		out = append(out, subject)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// maxLooked bounds how many pages are looked through for what a word may have meant.
const maxLooked = 20

// known is for a list that came out empty: where what was selected by is nothing that this node
// has, that is said, with what is near it, in place of a list of nothing.
func known(ctx context.Context, h desk.House, q desk.Query, n int, err error) error {
	if err != nil || n > 0 || q.Vendor == "" && q.Context == "" && q.Grant == "" && q.Field == "" {
		return err
	}
	s := sights{vendors: map[string]string{}, needs: map[string]bool{}, grants: map[string]bool{}, fields: map[string]bool{}}
	if err := s.look(ctx, h); err != nil {
		return err
	}
	return s.check(q)
}

// sights are what a list can be selected by.
type sights struct {
	vendors               map[string]string // id to name
	needs, grants, fields map[string]bool
}

func (s *sights) look(ctx context.Context, h desk.House) error {
	if err := each(ctx, h.Customer().Needs().List, func(n desk.Need) { s.needs[n.ID] = true }); err != nil {
		return err
	}
	err := each(ctx, h.Customer().Requests().List, func(r desk.Request) {
		s.vendors[r.Vendor], s.needs[r.Context], s.grants[r.Grant] = r.VendorName, true, true
		for _, f := range r.Fields {
			s.fields[f.Field] = true
		}
	})
	if err != nil {
		return err
	}
	err = each(ctx, h.Customer().Grants().List, func(g desk.Grant) {
		s.vendors[g.Vendor], s.needs[g.Context], s.grants[g.ID] = g.VendorName, true, true
		for _, f := range g.Fields {
			s.fields[f.Field] = true
		}
	})
	if err != nil {
		return err
	}
	own, err := h.Customer().Vault().List(ctx)
	for _, f := range own {
		s.fields[f.Name] = true
	}
	for _, f := range protocol.Fields() {
		s.fields[string(f.Name)] = true
	}
	return err
}

// each goes through the pages of a list.
func each[T any](ctx context.Context, list func(context.Context, desk.Query) (desk.Page[T], error), do func(T)) error {
	q := desk.Query{Limit: maxPage}
	for range maxLooked {
		p, err := list(ctx, q)
		if err != nil {
			return err
		}
		for _, item := range p.Items {
			do(item)
		}
		if q.After = p.Next; q.After == "" {
			return nil
		}
	}
	return nil
}

func (s *sights) check(q desk.Query) error {
	begins := func(ids map[string]bool, word string) bool {
		for id := range ids {
			if strings.HasPrefix(id, strings.ToLower(word)) {
				return true
			}
		}
		return false
	}
	refuse := func(what, word string, all []string) error {
		return fmt.Errorf("%s: %w", clean(protocol.NoSuch(what, word, all)), fault.NotFound)
	}
	names := slices.Sorted(maps.Values(s.vendors))
	isVendor := slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, q.Vendor) })
	ids := map[string]bool{}
	for id := range s.vendors {
		ids[id] = true
	}
	switch {
	case q.Vendor != "" && !isVendor && !begins(ids, q.Vendor):
		return refuse("vendor", q.Vendor, slices.Compact(names))
	case q.Context != "" && !begins(s.needs, q.Context):
		return refuse("need", q.Context, nil)
	case q.Grant != "" && !begins(s.grants, q.Grant):
		return refuse("grant", q.Grant, nil)
	case q.Field != "" && !s.fields[q.Field]:
		return refuse("field", q.Field, slices.Sorted(maps.Keys(s.fields)))
	}
	return nil
}

// valueOf is what a pointer points at, zero where there is none.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
