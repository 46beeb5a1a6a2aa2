// Package demo shows the whole market at work between real processes of this
// program, on this machine alone, and checks every promise that it makes:
//
//  1. read needs and catalogues, from files or from the samples that come along;
//  2. make a home for each node and start it as a process of its own: vendors and
//     keepers are public nodes, customers personal ones;
//  3. vendors get a passport, a catalogue and rules; customers get made-up data;
//  4. one customer gives a practice of her choice a field, changes it, and takes it back
//     while the practice is off: a deadline begins to run;
//  5. customers announce needs, vendors ask, the needs grant what they offer, vendors
//     answer; the best offer of each need is accepted, fulfilled and closed;
//  6. one announces an interest that grants nothing by itself, and answers by a rule of
//     hers, with less, or with a refusal;
//  7. every grant is revoked while one more offer of each vendor is held back by
//     keepers, so that it surfaces when nobody can open it any more;
//  8. the practice missed its deadline: the lapse is on record when it comes back;
//  9. every node exports its ledger, and a judge without a node holds the exports
//     against the signatures in them and against each other;
//  10. all figures are read from the nodes' own APIs, and again from their homes once
//     they are stopped; whatever does not hold is a problem with a name.
//
// What the parent counts on the way only tells it how long to wait.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/demo/network"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/protocol/fault"
)

// Options say what to show.
type Options struct {
	Needs     string   // file of needs; the sample where empty
	Catalogs  []string // files of products, one vendor each; the sample where none
	Customers int
	Vendors   int // only without Catalogs
	Limit     int // at most so many needs
	Seed      uint64
	Keep      bool   // leave the network running
	Sabotage  string // one of Sabotages, or nothing
	Program   string // what to start: this program's own binary
	Dir       string // where homes are made; a temporary folder where empty

	checked bool // Vendors says how many catalogues there are
}

// Sabotages are the promises that one node can be made to break.
func Sabotages() []string {
	return []string{withholdMail, keepDeleted, forkLedger, reopenRevoked, flipBits, rewriteLedger, leakField}
}

const (
	withholdMail  = "withhold-mail"  // a keeper signs for letters and throws them away
	keepDeleted   = "keep-deleted"   // a vendor signs that it deleted, and keeps
	forkLedger    = "fork-ledger"    // a customer shows vendors another ledger than her own
	reopenRevoked = "reopen-revoked" // a customer keeps keys that she should have destroyed
	flipBits      = "flip-bits"      // a keeper changes letters
	rewriteLedger = "rewrite-ledger" // a customer rewrites what vendors have countersigned
	leakField     = "leak-field"     // a customer's node discloses one field more than was granted
)

// Bounds on what one machine is asked to do.
const (
	maxNeeds = 10_000
	maxNodes = 32 // of a kind
)

// Check refuses options that make no sense, and fills in the number of vendors.
func (o *Options) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), fault.Malformed)
	}
	if len(o.Catalogs) > 0 {
		if o.Vendors != 0 && !o.checked {
			return bad("--vendors goes without --catalog: each catalogue is one vendor")
		}
		o.Vendors, o.checked = len(o.Catalogs), true
	}
	if o.Vendors == 0 {
		o.Vendors = 3
	}
	switch {
	case o.Customers < 1 || o.Customers > maxNodes:
		return bad("%d customers, want 1 to %d", o.Customers, maxNodes)
	case o.Vendors < 1 || o.Vendors > maxNodes:
		return bad("%d vendors, want 1 to %d", o.Vendors, maxNodes)
	case o.Limit < 1 || o.Limit > maxNeeds:
		return bad("a limit of %d needs, want 1 to %d", o.Limit, maxNeeds)
	case o.Sabotage != "" && !slices.Contains(Sabotages(), o.Sabotage):
		return bad("sabotage %q is none of %s", o.Sabotage, strings.Join(Sabotages(), ", "))
	}
	return nil
}

// Run shows it. The report holds all that was found, with its problems; an error
// means that there was nothing to show: bad input, or a network that did not start.
func Run(ctx context.Context, o Options, s *Story) (r figures.Report, err error) {
	if err := o.Check(); err != nil {
		return r, err
	}
	in, err := input.Read(input.Source{Needs: o.Needs, Catalogs: o.Catalogs, Vendors: o.Vendors, Limit: o.Limit, Seed: o.Seed})
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(o.Dir, "hark-demo-")
	if err != nil {
		return r, fmt.Errorf("folder for the homes: %w", err)
	}
	defer func() {
		if !o.Keep || err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := network.New(network.Cast{Program: o.Program, Dir: dir, Outlive: o.Keep, Shops: in.Shops, Customers: o.Customers}, cancel)
	defer func() { n.End(o.Keep && err == nil) }()
	o.sabotage(n)
	s.begin(o, in)
	if err := n.Open(ctx, in, s); err != nil {
		return r, n.Explain(ctx, err)
	}
	s.players(n)
	sh := &show{Network: n, in: in, story: s, held: heldBack, sabotage: o.Sabotage}
	if err := sh.play(ctx); err != nil {
		if !n.AnyDied() && ctx.Err() != nil {
			return r, context.Cause(ctx) // interrupted
		}
		if !n.AnyDied() {
			sh.problem("%v", err)
		}
		sh.brokenOff = true
	}
	r = sh.judge(context.WithoutCancel(ctx), o.Keep)
	s.end(r)
	if o.Keep {
		s.kept(n, o.Program)
	}
	return r, nil
}

// sabotage chooses who misbehaves.
func (o *Options) sabotage(n *network.Network) {
	switch o.Sabotage {
	case withholdMail, flipBits:
		public := n.Public()
		public[len(public)-1].Misbehave = o.Sabotage
	case keepDeleted:
		vendors := n.Of(process.Vendor)
		vendors[min(1, len(vendors)-1)].Misbehave = o.Sabotage
	case forkLedger, reopenRevoked, rewriteLedger, leakField: // one who is sure to get an offer after revocation
		customers := n.Of(process.Customer)
		customers[min(1, o.Customers-1, o.Vendors-1)].Misbehave = o.Sabotage
	}
}
