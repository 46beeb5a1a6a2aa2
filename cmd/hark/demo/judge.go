package demo

import (
	"context"
	"slices"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
)

// judge reads all figures, stops the network unless it is kept, reads the homes, and
// names what does not hold.
func (sh *show) judge(ctx context.Context, keep bool) figures.Report {
	if sh.brokenOff {
		sh.problem("the show broke off there, and the figures are incomplete")
	}
	sh.story.Progress("reading the figures")
	views := make([]figures.View, len(sh.Nodes))
	err := process.Each(sh.Nodes, func(i int, p *process.Process) (err error) {
		views[i], err = figures.Look(ctx, p)
		return err
	})
	if err != nil {
		sh.problem("%v", err)
	}
	audits := 0
	if !sh.brokenOff { // what is merely unfinished says nothing about anybody
		audits = sh.auditExports(ctx)
	}
	if !keep {
		sh.story.Progress("stopping the network and reading the homes")
		if err := sh.Stop(); err != nil {
			sh.problem("%v", err)
		}
		sh.audit(views)
	}
	var asked []figures.Asked
	for _, a := range sh.needs {
		if a.id != "" {
			asked = append(asked, figures.Asked{Input: a.Input, ID: a.id, Customer: a.customer.Name})
		}
	}
	r := figures.Compute(views, asked)
	r.Needs, r.AuditsOK = len(sh.in.Needs), audits
	found := figures.Problems(views, asked, r)
	if sh.brokenOff {
		found = figures.Blames(views) // what is merely unfinished says nothing about anybody
	}
	r.Problems = append(r.Problems, slices.Concat(sh.Deaths(), sh.problems, found)...) // a list, even where it is empty
	return r
}

// audit opens the stopped homes one after another: each is copied for it.
func (sh *show) audit(views []figures.View) {
	for i, p := range sh.Nodes {
		rep, err := node.Audit(p.Paths, nil)
		if err != nil {
			sh.problem("%s: its home cannot be read: %v", p, err)
			continue
		}
		views[i].Audit = &rep
	}
}
