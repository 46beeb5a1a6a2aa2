package desks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// known checks that what a query selects by is something: a vendor, need or field that
// nothing here is about is a slip of the pen, and not a selection of nothing. Where a beginning
// fits several needs or vendors, they are named.
func (d Grants) known(ctx context.Context, q desk.Query) error {
	if q.Vendor == "" && q.Context == "" && q.Field == "" {
		return nil
	}
	seen := sights{contexts: map[string]bool{}, vendors: map[string]string{}, fields: map[string]bool{}}
	err := d.view(ctx, func(r kv.Reader) error {
		held, err := d.Stores.Vault.List(r)
		if err != nil {
			return err
		}
		for _, f := range held {
			seen.fields[string(f.Name)] = true
		}
		if err := records.EachContext(r, nil, func(c records.Context) (bool, error) {
			seen.contexts[hexOf(c.ID)] = true
			return true, nil
		}); err != nil {
			return err
		}
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			seen.see(&a)
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	return seen.check(q)
}

// sights are what there is to select by.
type sights struct {
	contexts map[string]bool
	vendors  map[string]string // id to name
	fields   map[string]bool
}

func (s *sights) see(a *records.Agreement) {
	s.contexts[hexOf(a.Context)], s.vendors[a.Vendor.String()] = true, a.VendorName
	for _, f := range a.Terms.Fields {
		s.fields[string(f.Name)] = true
	}
	for _, f := range a.Terms.Asked {
		s.fields[string(f.Name)] = true
	}
}

func (s *sights) check(q desk.Query) error {
	if q.Context != "" {
		var fit []string
		for id := range s.contexts {
			if strings.HasPrefix(id, q.Context) {
				fit = append(fit, id)
			}
		}
		if err := single("need", q.Context, fit, nil); err != nil {
			return err
		}
	}
	if q.Vendor != "" {
		var fit, names []string
		for id, name := range s.vendors {
			if names = append(names, name); strings.HasPrefix(id, q.Vendor) || strings.EqualFold(name, q.Vendor) {
				fit = append(fit, id)
			}
		}
		if err := single("vendor", q.Vendor, fit, names); err != nil {
			return err
		}
	}
	if _, ok := protocol.FieldName(q.Field).Info(); q.Field != "" && !ok && !s.fields[q.Field] {
		names := slices.Collect(maps.Keys(s.fields))
		for _, f := range protocol.Fields() {
			names = append(names, string(f.Name))
		}
		return noSuch("field", q.Field, sorted(names), fault.NotFound)
	}
	return nil
}

// single refuses a word that fits nothing, or more than one.
func single(what, word string, fit, names []string) error {
	switch slices.Sort(fit); {
	case len(fit) == 0:
		return noSuch(what, word, sorted(names), fault.NotFound)
	case len(fit) > 1:
		for i := range fit {
			fit[i] = fit[i][:12]
		}
		return fmt.Errorf("%s %.64q fits several: %s: %w", what, word, strings.Join(fit[:min(len(fit), 4)], ", "), fault.Conflict)
	}
	return nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// vendorsNamed are the ids of vendors of that name.
func vendorsNamed(r kv.Reader, name string) (ids []string, err error) {
	if name == "" {
		return nil, nil
	}
	err = records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		if id := a.Vendor.String(); strings.EqualFold(a.VendorName, name) && !slices.Contains(ids, id) && len(ids) < maxPage {
			ids = append(ids, id)
		}
		return true, nil
	})
	return ids, err
}
