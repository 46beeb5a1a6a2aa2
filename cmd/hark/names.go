package main

import (
	"slices"
	"strings"

	"github.com/harkmarket/hark/protocol"
)

// A fieldName is one name of the vocabulary, as programs read it.
type fieldName struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	Title string `json:"title"`
	DPV   string `json:"category"` // in W3C DPV 2.3
}

type vaultFieldsCmd struct {
	Group string `arg:"" optional:"" help:"Only those of this group, as health."`
}

// Run needs no node: the vocabulary is part of the program.
func (c *vaultFieldsCmd) Run(a *app) error {
	var groups []string
	out := []fieldName{}
	for _, f := range protocol.Fields() {
		group, _, _ := strings.Cut(string(f.Name), ".")
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
		if c.Group == "" || c.Group == group {
			out = append(out, fieldName{string(f.Name), f.Class.String(), f.Title, f.DPV})
		}
	}
	if len(out) == 0 {
		return usagef("%s", protocol.NoSuch("group of fields", c.Group, groups))
	}
	return list(a, "hark.field-names/1", out, "", "NAME CLASS TITLE", func(f fieldName) []string {
		return []string{f.Name, f.Class, f.Title}
	})
}

// A categoryName is one category, as programs read it.
type categoryName struct {
	Code  string `json:"code"`
	Title string `json:"title"`
	Kind  string `json:"kind"` // goods, service, both
}

type needCategoriesCmd struct {
	Sector string `arg:"" optional:"" help:"Only those of this sector, as home."`
}

// Run needs no node: the list is part of the program.
func (c *needCategoriesCmd) Run(a *app) error {
	all, out := protocol.Categories(), []categoryName{}
	for _, i := range all.All() {
		if c.Sector == "" || c.Sector == i.Code.Sector() {
			out = append(out, categoryName{string(i.Code), i.Title, i.Kind})
		}
	}
	if len(out) == 0 {
		return usagef("%s", protocol.NoSuch("sector", c.Sector, all.Sectors()))
	}
	return list(a, "hark.categories/1", out, "", "CODE TITLE KIND", func(i categoryName) []string {
		return []string{i.Code, i.Title, i.Kind}
	})
}
