package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

type needCmd struct {
	New      needNewCmd      `cmd:"" help:"Announce it."`
	Preview  needPreviewCmd  `cmd:"" help:"Show what strangers would see; announces nothing."`
	List     needListCmd     `cmd:"" help:"List yours."`
	Show     needShowCmd     `cmd:"" help:"Show one."`
	Stranger needStrangerCmd `cmd:"" help:"Show what strangers see of it, byte for byte."`
	Update   needUpdateCmd   `cmd:"" help:"Announce it with other words or constraints."`
	Renew    needRenewCmd    `cmd:"" help:"Announce it for another life."`
	Withdraw needWithdrawCmd `cmd:"" help:"Take it back."`

	Categories needCategoriesCmd `cmd:"" help:"List the categories that it can have."`
}

// An interestCmd has the same commands: only the kind of context differs.
type interestCmd struct{ needCmd }

// AfterApply notes which of the two kinds was meant.
func (c *interestCmd) AfterApply(a *app) error {
	a.interest = true
	return nil
}

// kind is the word of the API for what the command is about.
func (a *app) kind() string {
	if a.interest {
		return "interest"
	}
	return "need"
}

// specFlags are what a need says besides its name.
type specFlags struct {
	Description string   `help:"More words. Only vendors with a grant read them." placeholder:"TEXT"`
	Category    string   `help:"sector.thing; strangers see it." placeholder:"CODE"`
	Region      string   `help:"Country or province; strangers see it." placeholder:"CODE"`
	MaxPrice    string   `help:"The most you would pay, as 1299.00 or \"R 1 299\"." placeholder:"AMOUNT"`
	Currency    string   `help:"ISO 4217 code." placeholder:"CODE"`
	Quantity    uint32   `help:"How many." placeholder:"N"`
	Condition   string   `help:"new, used or refurbished." enum:"new,used,refurbished," default:""`
	NeededBy    string   `help:"Date, as 2026-12-31." placeholder:"DATE"`
	Field       []string `help:"A field on offer, with its floor price: name or name=1.00. Repeat it; none means the category's." sep:"none" placeholder:"FIELD"`
	Issuer      []string `help:"Vendors whom this issuer vouches for come first." placeholder:"KEY"`
	Days        *int     `help:"How long it stands." placeholder:"N"`
	Auto        *bool    `help:"Grant what it offers by itself, to whoever asks for no more. Otherwise you are asked." negatable:""`
}

// into puts what was given into a spec.
func (f *specFlags) into(s *desk.NeedSpec) error {
	if err := someDays(f.Days); err != nil {
		return err
	}
	s.Description = cmp.Or(f.Description, s.Description)
	s.Category, s.Region = cmp.Or(f.Category, s.Category), cmp.Or(f.Region, s.Region)
	s.Quantity, s.Condition, s.Days = cmp.Or(f.Quantity, s.Quantity), cmp.Or(f.Condition, s.Condition), cmp.Or(valueOf(f.Days), s.Days)
	s.Currency = cmp.Or(f.Currency, s.Currency)
	set(&s.Auto, f.Auto)
	if f.Issuer != nil {
		s.Issuers = f.Issuer
	}
	if f.MaxPrice != "" {
		m, err := protocol.ParseAmount(f.MaxPrice, protocol.Currency(cmp.Or(s.Currency, "ZAR")))
		if err != nil {
			return &usageError{fmt.Errorf("--max-price: %w", err)}
		}
		s.MaxPrice, s.Currency = m.Minor, string(m.Currency)
	}
	if f.NeededBy != "" {
		t, err := time.Parse(time.DateOnly, f.NeededBy)
		if err != nil {
			return usagef("--needed-by %q: want a date as 2026-12-31", f.NeededBy)
		}
		s.NeededBy = t
	}
	if len(f.Field) > 0 {
		s.Fields = map[string]int64{}
	}
	for _, field := range f.Field {
		name, price, _ := strings.Cut(field, "=")
		s.Fields[name] = 0
		if price == "" {
			continue
		}
		m, err := protocol.ParseAmount(price, protocol.Currency(cmp.Or(s.Currency, "ZAR")))
		if err != nil {
			return &usageError{fmt.Errorf("--field %s: %w", field, err)}
		}
		s.Fields[name] = m.Minor
	}
	return nil
}

type needNewCmd struct {
	Name string `arg:"" help:"What you want, in your words."`
	specFlags
}

func (c *needNewCmd) spec(a *app) (desk.NeedSpec, error) {
	s := desk.NeedSpec{Name: c.Name, Interest: a.interest}
	return s, c.into(&s)
}

func (c *needNewCmd) Run(ctx context.Context, a *app) error {
	s, err := c.spec(a)
	if err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		var n desk.Need
		err := a.stamped(ctx, h, func() (err error) { n, err = h.Customer().Needs().Create(ctx, s); return err })
		if err != nil {
			return err
		}
		return a.show("hark.need/1", n, func(p *page) {
			p.line("%s", said(n, ""))
			p.line("what strangers see of it: hark %s stranger %s", a.kind(), short(n.ID))
		})
	})
}

// said tells what became of an announcement; more is said of one that went out.
func said(n desk.Need, more string) string {
	if n.Queued {
		return fmt.Sprintf("queued %s %s: no keeper is reached, and it is announced when one is; hark netcheck says how that stands", n.Kind, short(n.ID))
	}
	return fmt.Sprintf("announced %s %s%s", n.Kind, short(n.ID), more)
}

// needState is a need's state as people read it.
func needState(n desk.Need) string {
	if n.Queued {
		return "queued"
	}
	return n.State
}

type needPreviewCmd struct{ needNewCmd }

func (c *needPreviewCmd) Run(ctx context.Context, a *app) error {
	s, err := c.spec(a)
	if err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		var v desk.Stranger
		err := a.stamped(ctx, h, func() (err error) { v, err = h.Customer().Needs().Preview(ctx, s); return err })
		if err != nil {
			return err
		}
		return a.show("hark.stranger/1", v, func(p *page) { writeStranger(p, v, false) })
	})
}

// paging are the flags of every list.
type paging struct {
	Limit int    `help:"At most so many (1 to 500)." default:"100"`
	After string `help:"Go on after this item."`
}

// maxPage is how many items a list has at most.
const maxPage = 500

func (g paging) query() (desk.Query, error) {
	return desk.Query{Limit: g.Limit, After: g.After}, within("--limit", g.Limit, 1, maxPage)
}

// someDays refuses a span of no day; what is too long is for the node to say.
func someDays(n *int) error {
	if n != nil && *n < 1 {
		return usagef("--days %d: want 1 or more", *n)
	}
	return nil
}

// within refuses a number that is out of bounds.
func within(flag string, n, least, most int) error {
	if n < least || n > most {
		return usagef("%s %d: want %d to %d", flag, n, least, most)
	}
	return nil
}

type needListCmd struct {
	paging
	State string `help:"Only in this state: ${need_states}."`
}

func (c *needListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.Kind, q.State = a.kind(), c.State
		p, err := h.Customer().Needs().List(ctx, q)
		if err != nil {
			return err
		}
		return list(a, "hark.needs/1", p.Items, p.Next, "ID STATE NAME CATEGORY BUDGET REQUESTS GRANTS OFFERS EXPIRES", func(n desk.Need) []string {
			return []string{short(n.ID), needState(n), n.Name, n.Category, money(n.MaxPrice), fmt.Sprint(n.Requests), fmt.Sprint(n.Grants), fmt.Sprint(n.Offers), when(n.Expires)}
		})
	})
}

// byID is the argument of commands on one thing.
type byID struct {
	ID string `arg:"" help:"Its id, or a unique prefix."`
}

type needShowCmd struct{ byID }

func (c *needShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		n, err := h.Customer().Needs().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show("hark.need/1", n, func(p *page) { writeNeed(p, n) })
	})
}

func writeNeed(p *page, n desk.Need) {
	p.facts("Id", n.ID, "Kind", n.Kind, "Name", n.Name, "Description", n.Description, "State", needState(n), "Category", n.Category,
		"Region", n.Region, "Budget", money(n.MaxPrice), "Quantity", count(int(n.Quantity)), "Condition", n.Condition,
		"On offer", prices(n.Fields), "Version", fmt.Sprint(n.Seq), "Created", when(n.Created), "Expires", when(n.Expires),
		"So far", fmt.Sprintf("%d requests, %d grants, %d offers", n.Requests, n.Grants, n.Offers), "Next", due(n.Due))
}

type needStrangerCmd struct {
	byID
	Hex bool `help:"Print the bytes too."`
}

func (c *needStrangerCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		s, err := h.Customer().Needs().Stranger(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show("hark.stranger/1", s, func(p *page) { writeStranger(p, s, c.Hex) })
	})
}

// writeStranger shows each part of an announcement that strangers see.
func writeStranger(p *page, s desk.Stranger, withHex bool) {
	p.line("Strangers see %d bytes:\n", s.Bytes)
	var rows [][]string
	for _, part := range s.Parts {
		rows = append(rows, []string{part.Name, part.Value, fmt.Sprint(part.Bytes)})
	}
	p.table([]string{"PART", "VALUE", "BYTES"}, rows)
	if raw, err := hex.DecodeString(s.Hex); withHex && err == nil {
		p.line("\n%s", hex.Dump(raw))
	}
}

type needUpdateCmd struct {
	byID
	Name string `help:"Other words."`
	specFlags
}

// Run keeps what is not given anew, but for the date by which it is needed: the view
// of a need does not show it.
func (c *needUpdateCmd) Run(ctx context.Context, a *app) error {
	if c.Name == "" && reflect.ValueOf(c.specFlags).IsZero() {
		return usagef("update what? Give one of the flags; hark %s renew announces it again as it is", a.kind())
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		n, err := h.Customer().Needs().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		s := specOf(n)
		s.Name = cmp.Or(c.Name, s.Name)
		if err := c.into(&s); err != nil {
			return err
		}
		if err := a.stamped(ctx, h, func() (err error) { n, err = h.Customer().Needs().Update(ctx, n.ID, s); return err }); err != nil {
			return err
		}
		return a.done("hark.need/1", n, "%s", said(n, fmt.Sprintf(" anew (version %d)", n.Seq)))
	})
}

// specOf turns a view back into what was asked for; no fields means those on offer.
func specOf(n desk.Need) desk.NeedSpec {
	s := desk.NeedSpec{Name: n.Name, Description: n.Description, Category: n.Category, Region: n.Region, Quantity: n.Quantity,
		Condition: n.Condition, Interest: n.Kind == "interest", Auto: n.Auto}
	if n.MaxPrice != nil {
		s.MaxPrice, s.Currency = n.MaxPrice.Minor, n.MaxPrice.Currency
	}
	return s
}

type needRenewCmd struct{ byID }

func (c *needRenewCmd) Run(ctx context.Context, a *app) error {
	return endNeed(ctx, a, c.ID, desk.Renew, "renewed")
}

type needWithdrawCmd struct{ byID }

func (c *needWithdrawCmd) Run(ctx context.Context, a *app) error {
	return endNeed(ctx, a, c.ID, desk.Withdraw, "withdrawn")
}

func endNeed(ctx context.Context, a *app, id string, how desk.NeedEnd, word string) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		var n desk.Need
		err := a.stamped(ctx, h, func() (err error) { n, err = h.Customer().Needs().End(ctx, id, how); return err })
		if err != nil {
			return err
		}
		return a.done("hark.need/1", n, "%s: %s %s, %s", word, n.Kind, short(n.ID), n.State)
	})
}

type requestCmd struct {
	List    requestListCmd    `cmd:"" help:"List requests."`
	Show    requestShowCmd    `cmd:"" help:"Show one: who asks for what, why, for how long."`
	Grant   requestGrantCmd   `cmd:"" help:"Grant one that waits."`
	Less    requestLessCmd    `cmd:"" help:"Grant less than it asks: fewer fields, shorter, a coarser value; or make a counter-proposal."`
	Refuse  requestRefuseCmd  `cmd:"" help:"Refuse one that waits."`
	Snooze  requestSnoozeCmd  `cmd:"" help:"Put one off; it comes back once."`
	Block   requestBlockCmd   `cmd:"" help:"Drop a vendor's requests before you see anything of them."`
	Unblock requestUnblockCmd `cmd:"" help:"Hear a vendor again, also about what you refused it before."`
	Blocked requestBlockedCmd `cmd:"" help:"List the vendors that are blocked."`
	Ask     requestAskCmd     `cmd:"" help:"Ask for access to an announced need, as a vendor."`
}

type requestListCmd struct {
	paging
	State  string `help:"Only in this state: ${grant_states}."`
	Need   string `help:"Only under this need." placeholder:"ID"`
	Vendor string `help:"Only of this vendor: its id or name." placeholder:"VENDOR"`
}

func (c *requestListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.State, q.Context, q.Vendor = c.State, c.Need, c.Vendor
		p, err := h.Customer().Requests().List(ctx, q)
		if err = known(ctx, h, q, len(p.Items), err); err != nil {
			return err
		}
		return list(a, "hark.requests/1", p.Items, p.Next, "ID STATE VENDOR NEED FIELDS RULE AT", func(r desk.Request) []string {
			return []string{short(r.ID), r.State, r.VendorName, short(r.Context), asked(r.Fields), r.Rule, when(r.At)}
		})
	})
}

func asked(fields []desk.FieldAsk) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.Field)
	}
	return strings.Join(names, ", ")
}

type requestShowCmd struct{ byID }

func (c *requestShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Customer().Requests().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show("hark.request/1", r, func(p *page) { writeRequest(p, r) })
	})
}

func writeRequest(p *page, r desk.Request) {
	p.facts("Id", r.ID, "Vendor", r.VendorName+" ("+r.Vendor+")", "Need", r.Context, "State", r.State, "Why", r.Why, "Law", r.Law, "Decided by", decidedBy(r), "Put off until", when(r.Snoozed), "Notice", r.NoticeHash,
		"Until", when(r.Until), "Grant", r.Grant, "At", when(r.At), "Pays", money(r.Price), "She would grant", prices(r.Counter))
	var rows [][]string
	for _, f := range r.Fields {
		must := map[bool]string{true: "yes", false: "no"}[f.Required]
		rows = append(rows, []string{f.Field, f.Purpose, must, fmt.Sprintf("%d days", f.Retention), money(f.Price)})
	}
	p.line("")
	p.table(strings.Fields("FIELD PURPOSE REQUIRED KEPT PRICE"), rows)
	for _, n := range r.Notice {
		p.line("%s: %s", clean(n.Name), clean(n.Text))
	}
}

type requestAskCmd struct {
	Need    string   `arg:"" help:"The announced need, from hark board list."`
	Field   []string `help:"Fields to ask for; none means all on offer." placeholder:"FIELD"`
	Days    *int     `help:"For how long." placeholder:"N"`
	Special []string `help:"Fields that are special, or a child's, and asked for expressly." placeholder:"FIELD"`
	Price   []string `help:"What you pay for a field, by a voucher: field=1.00. You owe it from when you are given something." sep:"none" placeholder:"FIELD=PRICE"`
}

func (c *requestAskCmd) Run(ctx context.Context, a *app) error {
	s := desk.AskSpec{Context: c.Need, Fields: slices.Clone(c.Field), Days: valueOf(c.Days), Special: c.Special}
	prices, currency, err := fieldPrices(c.Price)
	if err != nil {
		return err
	}
	if err := someDays(c.Days); err != nil {
		return err
	}
	s.Price, s.Currency = prices, string(currency)
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Customer().Requests().Ask(ctx, s)
		if err != nil {
			return err
		}
		return a.done("hark.request/1", r, "asked for %s: request %s", asked(r.Fields), short(r.ID))
	})
}

type accessCmd struct {
	List requestListCmd `cmd:"" help:"List requests."`
	Ask  requestAskCmd  `cmd:"" help:"Ask for access to an announced need."`
}
