package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

type offerCmd struct {
	List    offerListCmd    `cmd:"" help:"List offers, best first."`
	Show    offerShowCmd    `cmd:"" help:"Show one."`
	Make    offerMakeCmd    `cmd:"" help:"Make an offer by hand, as a vendor."`
	Accept  offerAcceptCmd  `cmd:"" help:"Accept an offer."`
	Decline offerDeclineCmd `cmd:"" help:"Decline an offer."`
}

type offerListCmd struct {
	paging
	State  string `help:"Only in this state: ${deal_states}."`
	Need   string `help:"Only for this need." placeholder:"ID"`
	Grant  string `help:"Only under this grant." placeholder:"ID"`
	Vendor string `help:"Only of this vendor: its id or name." placeholder:"VENDOR"`
	All    bool   `help:"Also those that miss your constraints, or have expired."`
}

func (c *offerListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.State, q.Context, q.Grant, q.Vendor, q.All = c.State, c.Need, c.Grant, c.Vendor, c.All
		p, err := h.Customer().Offers().List(ctx, q)
		if err = known(ctx, h, q, len(p.Items), err); err != nil {
			return err
		}
		return list(a, "hark.offers/1", p.Items, p.Next, "ID STATE PRICE TITLE VENDOR NEED MISSES", func(o desk.Offer) []string {
			return []string{short(o.ID), o.State, price(o), o.Title, o.VendorName, o.Need, strings.Join(o.Misses, ", ")}
		})
	})
}

func price(o desk.Offer) string {
	if o.Price == nil {
		return "on request"
	}
	return money(o.Price)
}

type offerShowCmd struct{ byID }

func (c *offerShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		o, err := h.Customer().Offers().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show("hark.offer/1", o, func(p *page) { writeOffer(p, o) })
	})
}

func writeOffer(p *page, o desk.Offer) {
	p.facts("Id", o.ID, "Title", o.Title, "Description", o.Description, "Price", price(o), "Quantity", count(int(o.Quantity)),
		"Condition", o.Condition, "Region", o.Region, "Vendor", o.VendorName+" ("+o.Vendor+")", "Product", o.Product,
		"Need", o.Need, "Grant", o.Grant, "State", o.State, "Valid until", when(o.ValidUntil), "Misses", strings.Join(o.Misses, ", "))
}

type offerMakeCmd struct {
	Grant   string `arg:"" help:"Under this grant."`
	Product string `arg:"" help:"The product's id in the catalogue."`
	Price   string `help:"Another price than the catalogue's." placeholder:"AMOUNT"`
	Hold    int    `help:"Ask keepers to show it only after so many seconds, at most 3600." placeholder:"SECONDS"`
}

func (c *offerMakeCmd) Run(ctx context.Context, a *app) error {
	s := desk.OfferSpec{Grant: c.Grant, Product: c.Product, Hold: c.Hold}
	if c.Price != "" {
		m, err := protocol.ParseAmount(c.Price, "ZAR")
		if err != nil {
			return &usageError{fmt.Errorf("--price: %w", err)}
		}
		s.Price = m.Minor
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		o, err := h.Customer().Offers().Make(ctx, s)
		if err != nil {
			return err
		}
		return a.done("hark.offer/1", o, "offered %s for %s: offer %s", clean(o.Title), price(o), short(o.ID))
	})
}

// noted is a step on one thing with words to the other side.
type noted struct {
	byID
	Note string `help:"Words to the other side."`
}

type offerAcceptCmd struct{ noted }

func (c *offerAcceptCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		d, err := h.Customer().Offers().Accept(ctx, c.ID, c.Note)
		return a.moved(d, err)
	})
}

type offerDeclineCmd struct{ noted }

func (c *offerDeclineCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		d, err := h.Customer().Offers().Decline(ctx, c.ID, c.Note)
		return a.moved(d, err)
	})
}

// moved prints where a deal now is.
func (a *app) moved(d desk.Deal, err error) error {
	if err != nil {
		return err
	}
	return a.show("hark.deal/1", d, func(p *page) {
		p.line("deal %s: %s", short(d.ID), d.State)
		if next := due(d.Due); next != "" {
			p.line("%s", next)
		}
	})
}

type dealCmd struct {
	List    dealListCmd    `cmd:"" help:"List deals."`
	Show    dealShowCmd    `cmd:"" help:"Show one and its steps."`
	Confirm dealConfirmCmd `cmd:"" help:"Confirm an accepted offer (vendor)."`
	Fulfil  dealFulfilCmd  `cmd:"" help:"Report it fulfilled (vendor)."`
	Close   dealCloseCmd   `cmd:"" help:"Close a fulfilled deal (customer)."`
	Cancel  dealCancelCmd  `cmd:"" help:"Cancel it."`
}

type dealListCmd struct {
	paging
	State string `help:"Only in this state: ${deal_states}."`
	Need  string `help:"Only for this need." placeholder:"ID"`
	Grant string `help:"Only under this grant." placeholder:"ID"`
	All   bool   `help:"Also those that have ended."`
}

func (c *dealListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.State, q.Context, q.Grant, q.All = c.State, c.Need, c.Grant, c.All
		p, err := h.Customer().Deals().List(ctx, q)
		if err = known(ctx, h, q, len(p.Items), err); err != nil {
			return err
		}
		return list(a, "hark.deals/1", p.Items, p.Next, "ID SIDE STATE PRICE TITLE VENDOR NEXT", func(d desk.Deal) []string {
			return []string{short(d.ID), d.Side, d.State, price(d.Offer), d.Offer.Title, d.Offer.VendorName, due(d.Due)}
		})
	})
}

type dealShowCmd struct{ byID }

func (c *dealShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		d, err := h.Customer().Deals().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show("hark.deal/1", d, func(p *page) {
			p.facts("Deal", d.ID, "Side", d.Side, "State", d.State, "Next", due(d.Due))
			for _, s := range d.Steps {
				p.line("%s  %s by %s  %s", whenMS(s.AtMS), s.Kind, s.By, clean(s.Note))
			}
			p.line("")
			writeOffer(p, d.Offer)
		})
	})
}

func (c *noted) step(ctx context.Context, a *app, step string) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		d, err := h.Customer().Deals().Step(ctx, c.ID, step, c.Note)
		return a.moved(d, err)
	})
}

type (
	dealConfirmCmd struct{ noted }
	dealFulfilCmd  struct{ noted }
	dealCloseCmd   struct{ noted }
	dealCancelCmd  struct{ noted }
)

func (c *dealConfirmCmd) Run(ctx context.Context, a *app) error { return c.step(ctx, a, "confirm") }
func (c *dealFulfilCmd) Run(ctx context.Context, a *app) error  { return c.step(ctx, a, "fulfil") }
func (c *dealCloseCmd) Run(ctx context.Context, a *app) error   { return c.step(ctx, a, "close") }
func (c *dealCancelCmd) Run(ctx context.Context, a *app) error  { return c.step(ctx, a, "cancel") }

// writeNew writes a file that is its owner's alone; nothing is left of a failed one,
// and nothing that was there is overwritten.
func writeNew(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path) // the first error says what went wrong
	}
	return err
}
