package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

type grantCmd struct {
	List    grantListCmd    `cmd:"" help:"List grants, from either side."`
	Show    grantShowCmd    `cmd:"" help:"Show one."`
	Give    grantGiveCmd    `cmd:"" help:"Give a vendor of your choice access, with no need."`
	Revoke  grantRevokeCmd  `cmd:"" help:"Revoke grants. What was read can't be unread; the vendor owes a signed deletion."`
	Suspend grantSuspendCmd `cmd:"" help:"Disclose nothing further for now."`
	Resume  grantResumeCmd  `cmd:"" help:"Go on with a suspended grant."`
	Lapse   grantLapseCmd   `cmd:"" help:"Write the proof of a broken promise, which others can check without your node."`
	Export  grantExportCmd  `cmd:"" help:"Write grants as consent records, receipts, ODRL, a log or CSV."`
	Check   grantCheckCmd   `cmd:"" help:"Read an exported record and compare it with what is held here."`
	Right   grantRightCmd   `cmd:"" help:"Exercise a right: access, correction, deletion, objection."`
	Settle  grantSettleCmd  `cmd:"" help:"Say that what is owed under a grant was paid, outside of this node."`
}

type grantListCmd struct {
	paging
	State  string `help:"Only in this state: ${grant_states}."`
	Need   string `help:"Only under this need, interest or relation." placeholder:"ID"`
	Vendor string `help:"Only of this vendor: its id or name." placeholder:"ID"`
	Field  string `help:"Only those that give this field." placeholder:"FIELD"`
}

func (c *grantListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.State, q.Context, q.Vendor, q.Field = c.State, c.Need, c.Vendor, c.Field
		p, err := h.Customer().Grants().List(ctx, q)
		if err = known(ctx, h, q, len(p.Items), err); err != nil {
			return err
		}
		return list(a, "hark.grants/1", p.Items, p.Next, "ID SIDE STATE VENDOR UNDER FIELDS UNTIL OWED", func(g desk.Grant) []string {
			return []string{short(g.ID), g.Side, stateWords(g), g.VendorName, g.ContextKind + " " + short(g.Context), prices(g.Fields), when(g.End), money(g.Owed)}
		})
	})
}

// stateWords is a grant's state, and whether a promise under it was broken before.
func stateWords(g desk.Grant) string {
	if len(g.Lapses) > 0 && g.State != "lapsed" {
		return g.State + ", lapsed"
	}
	return g.State
}

type grantShowCmd struct {
	byID
	Reveal bool `help:"Show the values that the vendor says it holds, where you asked for access."`
}

func (c *grantShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		g, err := h.Customer().Grants().Get(ctx, c.ID)
		if err == nil && c.Reveal {
			g.Rights, err = h.Customer().Grants().Rights(ctx, g.ID, true)
		}
		if err != nil {
			return err
		}
		return a.show("hark.grant/1", g, func(p *page) { writeGrant(p, g) })
	})
}

func writeGrant(p *page, g desk.Grant) {
	p.facts("Id", g.ID, "Side", g.Side, "State", g.State, "Vendor", g.VendorName+" ("+g.Vendor+")", "Under", g.ContextKind+" "+g.Context,
		"Fields", prices(g.Fields), "From", when(g.Start), "Until", when(g.End), "Granted", whenMS(g.Times.Granted),
		"Countersigned", whenMS(g.Times.Receipted), "Disclosed", whenMS(g.Times.Disclosed), "Disclosures", count(int(g.Disclosures)),
		"Of these updates", count(int(g.Updates)), "At most a day", count(g.PerDay), "Good for", leaseWords(g), "Next disclosure", when(g.Renews),
		"Taken back", strings.Join(g.Withdrawn, ", "), "Price", money(g.Price), "Paid by", g.Rail, "Owed, not earned", money(g.Owed), "Settled", strings.TrimSpace(when(g.Settled)+" "+clean(g.SettledHow)),
		"Revoked", whenMS(g.Times.Revoked), "Deleted", whenMS(g.Times.Deleted), "Vendor deleted", strings.Join(g.Deleted, ", "),
		"Late offers", count(g.LateOffers), "Granted by", strings.TrimSpace(map[string]string{"rule": "a rule: ", "person": "you: "}[g.By]+g.Rule), "Less than asked", map[bool]string{true: "yes"}[g.Less],
		"Promises broken", strings.Join(g.Lapses, ", "), "Next", due(g.Due))
	for _, r := range g.Rights {
		p.line("Right to %s, asked %s: %s (answer due %s) %s", r.Exercise, when(r.At), r.Status, when(r.Deadline), clean(r.Text))
		for _, v := range r.Values {
			p.line("  it says that it holds %s: %s", clean(v.Field), clean(v.Value))
		}
	}
	for _, h := range g.Heads {
		p.line("Ledger head of %d entries countersigned by %s: %t", h.Size, short(h.By), h.Signed)
	}
}

// leaseWords says how long the vendor may use what it was given.
func leaseWords(g desk.Grant) string {
	if g.LeaseSeconds == 0 {
		return "one use, at once"
	}
	return spanWords(g.LeaseSeconds) + " after each disclosure"
}

type grantGiveCmd struct {
	Vendor  string        `arg:"" help:"The vendor's id."`
	Field   []string      `help:"Fields that it may see." required:"" placeholder:"FIELD"`
	Name    string        `help:"Your own words for this relation." required:""`
	Purpose string        `help:"What it may use them for."`
	Days    *int          `help:"For how long: 360 days where nothing is said, two years (730) at most." placeholder:"N"`
	PerDay  int           `help:"Disclose at most so often in 24 hours; changes wait for room." placeholder:"N"`
	Lease   time.Duration `help:"How long the vendor may go on with the values when it hears nothing more from you: an hour to a week." placeholder:"DURATION"`
	Once    bool          `help:"It may use the values once, at once. Always so of special personal information."`
}

func (c *grantGiveCmd) Run(ctx context.Context, a *app) error {
	if err := someDays(c.Days); err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		g, err := h.Customer().Grants().Give(ctx, desk.GiveSpec{Vendor: c.Vendor, Name: c.Name, Fields: c.Field, Purpose: c.Purpose, Days: valueOf(c.Days),
			PerDay: c.PerDay, LeaseSeconds: int64(c.Lease / time.Second), Once: c.Once})
		if err != nil {
			return err
		}
		return a.done("hark.grant/1", g, "granted %s to %s: grant %s", prices(g.Fields), clean(g.VendorName), short(g.ID))
	})
}

type grantRevokeCmd struct {
	IDs    []string `arg:"" optional:"" name:"id" help:"The grants."`
	Need   string   `help:"All under this need, interest or relation." placeholder:"ID"`
	Vendor string   `help:"All of this vendor: its id or name." placeholder:"VENDOR"`
	Field  string   `help:"Only this field: it is given no more and must be deleted; a grant of nothing else ends." placeholder:"FIELD"`
	All    bool     `help:"All there are."`
	Yes    bool     `help:"Don't ask whether all are meant."`
	Reason string   `help:"Words to the vendor."`
}

func (c *grantRevokeCmd) Run(ctx context.Context, a *app) error {
	if len(c.IDs) == 0 && c.Need == "" && c.Vendor == "" && c.Field == "" && !c.All {
		return usagef("revoke which grants? Name ids, --need, --vendor, --field, or --all")
	}
	if c.All && !c.Yes && !a.agree("This revokes every grant there is.") {
		return usagef("nothing was revoked")
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		gs, err := h.Customer().Grants().Revoke(ctx, c.IDs, desk.Query{Context: c.Need, Vendor: c.Vendor, Field: c.Field, All: c.All}, c.Reason)
		if err != nil {
			return err
		}
		if len(gs) == 0 && !a.JSON {
			return a.show("", nil, func(p *page) { p.line("nothing was revoked: of what is meant, no grant is alive") })
		}
		err = list(a, "hark.grants/1", gs, "", "REVOKED VENDOR NOW DELETION-DUE", func(g desk.Grant) []string {
			return []string{short(g.ID), g.VendorName, g.State, when(deletionDue(g, c.Field != ""))}
		})
		if err != nil || a.JSON {
			return err
		}
		return a.show("", nil, func(p *page) {
			p.line("\n%s\n", desk.AfterRevoking)
			for _, what := range desk.CannotUndo {
				p.line("- %s", what)
			}
		})
	})
}

// deletionDue is when a vendor owes its answer.
func deletionDue(g desk.Grant, field bool) time.Time {
	if n := len(g.Rights); field && n > 0 && g.State != "revoked" {
		return g.Rights[n-1].Deadline
	}
	return g.Due.At
}

type grantLapseCmd struct {
	ID string `arg:"" help:"The grant: its id, or the beginning of it."`
	fileArg
}

// Run writes what hark ledger evidence writes, where there is a lapse to show.
func (c *grantLapseCmd) Run(ctx context.Context, a *app) error {
	return c.write(ctx, a, func(ctx context.Context, h desk.House, w io.Writer) error {
		g, err := h.Customer().Grants().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		if len(g.Lapses) == 0 {
			return fmt.Errorf("no promise under grant %s was broken: %w", short(g.ID), fault.NotFound)
		}
		return h.Ledger().Evidence(ctx, g.ID, w)
	})
}

type pause struct {
	byID
	Reason string `help:"Words to the vendor."`
}

func (c *pause) pause(ctx context.Context, a *app, resume bool) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		g, err := h.Customer().Grants().Pause(ctx, c.ID, resume, c.Reason)
		if err != nil {
			return err
		}
		return a.done("hark.grant/1", g, "grant %s: %s", short(g.ID), g.State)
	})
}

type grantSuspendCmd struct{ pause }

func (c *grantSuspendCmd) Run(ctx context.Context, a *app) error { return c.pause.pause(ctx, a, false) }

type grantResumeCmd struct{ pause }

func (c *grantResumeCmd) Run(ctx context.Context, a *app) error { return c.pause.pause(ctx, a, true) }

type grantSettleCmd struct {
	byID
	How string `help:"How it was paid, in your own words." placeholder:"TEXT"`
}

func (c *grantSettleCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		g, err := h.Customer().Grants().Settle(ctx, c.ID, c.How)
		if err != nil {
			return err
		}
		return a.done("hark.grant/1", g, "grant %s: %s is settled", short(g.ID), money(g.Price))
	})
}

type grantRightCmd struct {
	byID
	Exercise string   `arg:"" help:"access, correction, deletion or objection." enum:"access,correction,deletion,objection"`
	Field    []string `help:"Which fields; none means all." placeholder:"FIELD"`
	Value    []string `help:"For a correction: name=- or name=file:PATH, the right value." sep:"none" placeholder:"NAME=FROM"`
}

func (c *grantRightCmd) Run(ctx context.Context, a *app) error {
	s := desk.RightSpec{Exercise: c.Exercise, Fields: c.Field}
	for _, v := range c.Value {
		name, from, _ := strings.Cut(v, "=")
		value, err := a.secret(from, "HARK_VALUE", "value of "+name)
		if err != nil {
			return err
		}
		if s.Values == nil {
			s.Values = map[string]string{}
		}
		s.Values[name] = string(value)
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		g, err := h.Customer().Grants().Right(ctx, c.ID, s)
		if err != nil {
			return err
		}
		return a.show("hark.grant/1", g, func(p *page) {
			p.line("asked for %s under grant %s", c.Exercise, short(g.ID))
			if n := len(g.Rights); n > 0 {
				p.line("an answer is due by %s", when(g.Rights[n-1].Deadline))
			}
		})
	})
}
