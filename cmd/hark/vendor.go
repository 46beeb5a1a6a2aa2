package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/strict"
)

type catalogCmd struct {
	Import catalogImportCmd `cmd:"" help:"Import products from a file: CSV, tab, | or # between columns."`
	List   catalogListCmd   `cmd:"" help:"List products."`
	Search catalogSearchCmd `cmd:"" help:"Find products by words."`
}

type catalogImportCmd struct {
	File     string `arg:"" help:"The file; - is standard input."`
	Currency string `help:"ISO 4217 code, where the file is silent." placeholder:"CODE"`
	DryRun   bool   `help:"Only report."`
	Replace  bool   `help:"Remove products that the file lacks."`
}

func (c *catalogImportCmd) Run(ctx context.Context, a *app) error {
	in, closeIn, err := a.input(c.File)
	if err != nil {
		return err
	}
	defer closeIn()
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Vendor().Catalog().Import(ctx, in, desk.ImportSpec{Currency: c.Currency, DryRun: c.DryRun, Replace: c.Replace})
		if err != nil {
			return err
		}
		return a.show("hark.import/1", r, func(p *page) {
			p.line("%d rows: %d added, %d changed, %d removed, %d the same", r.Rows, r.Added, r.Changed, r.Removed, r.Same)
			for _, e := range r.Errors {
				p.line("row %d: %s", e.Row, clean(e.What))
			}
			if !r.Applied {
				p.line("nothing was applied")
			}
		})
	})
}

// input opens a file, or standard input for "-".
func (a *app) input(path string) (io.Reader, func(), error) {
	if path == "-" {
		return a.stdin, func() {}, nil
	}
	f, _, _, err := openSized(path)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil // it was only read
}

func product(p desk.Product) []string {
	return []string{p.ID, money(p.Price), p.Title, p.Category, p.Region}
}

const productHead = "ID PRICE TITLE CATEGORY REGION"

type catalogListCmd struct{ paging }

func (c *catalogListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		p, err := h.Vendor().Catalog().List(ctx, q)
		if err != nil {
			return err
		}
		return list(a, "hark.products/1", p.Items, p.Next, productHead, product)
	})
}

type catalogSearchCmd struct {
	Text  string `arg:"" help:"Words to look for."`
	Limit int    `help:"At most so many (1 to 50)." default:"20"`
}

func (c *catalogSearchCmd) Run(ctx context.Context, a *app) error {
	if err := within("--limit", c.Limit, 1, 50); err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		items, err := h.Vendor().Catalog().Search(ctx, c.Text, c.Limit)
		if err != nil {
			return err
		}
		return list(a, "hark.products/1", items, "", productHead, product)
	})
}

type boardCmd struct {
	List boardListCmd `cmd:"" help:"List announcements heard."`
	Show boardShowCmd `cmd:"" help:"Show one, as every stranger sees it."`
}

type boardListCmd struct {
	paging
	Sector []string `help:"Only of this sector. Repeat it." placeholder:"SECTOR"`
	All    bool     `help:"Also what is withdrawn."`
}

func (c *boardListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.Text, q.All = strings.Join(c.Sector, " "), c.All
		p, err := h.Vendor().Board().List(ctx, q)
		if err != nil {
			return err
		}
		return list(a, "hark.notices/1", p.Items, p.Next, "NEED KIND STATUS CATEGORY REGION FIELDS EXPIRES ASKED", func(n desk.Notice) []string {
			asked := map[bool]string{true: "yes", false: "no"}[n.Asked]
			return []string{short(n.Context), n.Kind, n.Status, n.Category, n.Region, prices(n.Fields), when(n.Expires), asked}
		})
	})
}

type boardShowCmd struct {
	byID
	Hex bool `help:"Print the bytes too."`
}

func (c *boardShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		n, s, err := h.Vendor().Board().Get(ctx, c.ID)
		if err != nil {
			return err
		}
		v := struct {
			Notice   desk.Notice   `json:"notice"`
			Stranger desk.Stranger `json:"stranger"`
		}{n, s}
		return a.show("hark.notice/1", v, func(p *page) {
			p.facts("Need", n.Context, "Kind", n.Kind, "Status", n.Status, "Category", n.Category, "Region", n.Region,
				"On offer", prices(n.Fields), "Version", fmt.Sprint(n.Seq), "Created", when(n.Created), "Expires", when(n.Expires))
			p.line("")
			writeStranger(p, s, c.Hex)
		})
	})
}

type followCmd struct {
	Show followShowCmd `cmd:"" help:"Show which announcements you listen for."`
	Set  followSetCmd  `cmd:"" help:"Change it; what is not given stays."`
}

type followShowCmd struct{}

func (c *followShowCmd) Run(ctx context.Context, a *app) error {
	return rule(ctx, a, nil)
}

type followSetCmd struct {
	Sector     []string `help:"Only these sectors; all means every one." placeholder:"SECTOR"`
	Region     []string `help:"Only these regions; all means every one." placeholder:"CODE"`
	Ask        *bool    `help:"Ask for access by yourself." negatable:""`
	AskAlso    []string `help:"Ask for these fields even where they are not on offer." placeholder:"FIELD"`
	Protection *string  `help:"What requests tell of how information is protected abroad." placeholder:"TEXT"`
	Automated  *string  `help:"What requests tell of decisions that no person takes." placeholder:"TEXT"`
	Effort     *int     `help:"Bits of work on the stamp of a request (0 to 30), where the network asks for less: of a full mailbox the dearest stay." placeholder:"BITS"`
	Pay        string   `help:"Pay by yourself, with a voucher, at most so much for one grant; 0 pays nothing." placeholder:"AMOUNT"`
	Owe        string   `help:"And stop where so much is owed and promised in all; 20 times as much where nothing is said." placeholder:"AMOUNT"`
}

func (c *followSetCmd) Run(ctx context.Context, a *app) error {
	pay, err := amount("--pay", c.Pay)
	if err != nil {
		return err
	}
	owe, err := amount("--owe", c.Owe)
	if err != nil {
		return err
	}
	return rule(ctx, a, func(f *desk.Follow) {
		if pay != nil {
			f.Pay = *pay
		}
		if owe != nil {
			f.Owe = *owe
		}
		choose(&f.Sectors, c.Sector)
		choose(&f.Regions, c.Region)
		choose(&f.AskAlso, c.AskAlso)
		set(&f.Effort, c.Effort)
		set(&f.Protection, c.Protection)
		set(&f.Automated, c.Automated)
		set(&f.Ask, c.Ask)
	})
}

// amount reads the value of a flag; nil where there is none.
func amount(flag, text string) (*desk.Money, error) {
	if text == "" {
		return nil, nil
	}
	m, err := protocol.ParseAmount(text, "ZAR")
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s %s: %w", flag, text, err)}
	}
	return &desk.Money{Minor: m.Minor, Currency: string(m.Currency)}, nil
}

// some writes an amount where there is one.
func some(m desk.Money) string {
	if m.Minor == 0 {
		return ""
	}
	return money(&m)
}

type answerCmd struct {
	Rule answerRuleCmd `cmd:"" help:"What happens by itself."`
}

type answerRuleCmd struct {
	Show followShowCmd    `cmd:"" help:"Show it."`
	Set  answerRuleSetCmd `cmd:"" help:"Change it; what is not given stays."`
}

type answerRuleSetCmd struct {
	Answer  *bool `help:"Answer granted needs from the catalogue." negatable:""`
	Offers  *int  `help:"At most so many offers for a grant (1 to 5)." placeholder:"N"`
	Confirm *bool `help:"Confirm accepted offers." negatable:""`
	Fulfil  *bool `help:"Report confirmed deals fulfilled: for services rendered at once." negatable:""`
}

func (c *answerRuleSetCmd) Run(ctx context.Context, a *app) error {
	if c.Offers != nil && *c.Offers == 0 {
		return usagef("--offers 0: want 1 to 5; --no-answer makes none")
	}
	return rule(ctx, a, func(f *desk.Follow) {
		set(&f.Answer, c.Answer)
		set(&f.Offers, c.Offers)
		set(&f.Confirm, c.Confirm)
		set(&f.Fulfil, c.Fulfil)
	})
}

func set[T any](at *T, given *T) {
	if given != nil {
		*at = *given
	}
}

// choose replaces a list by what was given; "all" empties it.
func choose(at *[]string, given []string) {
	if given == nil {
		return
	}
	*at = given
	if len(given) == 1 && given[0] == "all" {
		*at = []string{}
	}
}

// rule shows a vendor's rules, after a change where there is one.
func rule(ctx context.Context, a *app, change func(*desk.Follow)) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		rules := h.Vendor().Rules()
		f, err := rules.Get(ctx)
		if err != nil {
			return err
		}
		if change != nil {
			change(&f)
			if f, err = rules.Set(ctx, f); err != nil {
				return err
			}
		}
		return a.show("hark.follow/1", f, func(p *page) {
			all := func(l []string) string {
				if len(l) == 0 {
					return "all"
				}
				return strings.Join(l, ", ")
			}
			yes := map[bool]string{true: "yes", false: "no"}
			p.facts("Sectors", all(f.Sectors), "Regions", all(f.Regions), "Ask by itself", yes[f.Ask], "Ask also for", strings.Join(f.AskAlso, ", "),
				"Bits of a stamp", count(f.Effort), "Pays by itself", some(f.Pay), "And owes in all", some(f.Owe),
				"Answer by itself", yes[f.Answer], "Offers per grant", count(f.Offers), "Confirm", yes[f.Confirm], "Fulfil", yes[f.Fulfil])
		})
	})
}

type passportCmd struct {
	Show   passportShowCmd   `cmd:"" help:"Show yours."`
	Issue  passportIssueCmd  `cmd:"" help:"Issue your first passport."`
	Set    passportSetCmd    `cmd:"" help:"Issue a new one that says something else; what is not given stays. Its keys are fresh."`
	Rotate passportRotateCmd `cmd:"" help:"Issue a new one with fresh keys."`
	Get    passportGetCmd    `cmd:"" help:"Show a vendor's."`
	Import passportImportCmd `cmd:"" help:"Keep a vendor's passport from a file."`
	Export passportExportCmd `cmd:"" help:"Write yours to a file that others import."`
}

func (a *app) passport(p desk.Passport, err error) error {
	if err != nil {
		return err
	}
	return a.show("hark.passport/1", p, func(out *page) {
		out.facts("Vendor", p.Vendor, "Name", p.Name, "Registration", p.Registration, "Country", p.Country, "Contact", p.Contact,
			"Information officer", p.Officer, "Authority", p.Authority, "Passport", fmt.Sprintf("number %d (%s)", p.Seq, short(p.Hash)))
		for _, k := range p.Operational {
			out.line("Key %s for %s, %s to %s", short(k.Key), strings.Join(k.Roles, ", "), when(k.From), when(k.Until))
		}
		for _, u := range p.Uses {
			out.line("Uses %s for %s, kept %d days", strings.Join(u.Fields, ", "), u.Purpose, u.Retention)
		}
	})
}

type passportShowCmd struct{}

func (c *passportShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error { return a.passport(h.Vendor().Passports().Own(ctx)) })
}

type passportIssueCmd struct {
	Name string `help:"The name that customers see." required:""`
	passportFlags
}

// passportFlags are what a vendor says of itself.
type passportFlags struct {
	Registration string   `help:"Company registration number."`
	Country      string   `help:"Where it is registered." placeholder:"CODE"`
	Contact      string   `help:"How to reach you."`
	Officer      string   `help:"Your information officer."`
	Authority    string   `help:"The authority that you answer to."`
	Use          []string `help:"What you ask for, and for what: purpose=field,field:days. Repeat it; none registers the usual fields, to make offers." sep:"none" placeholder:"USE"`
}

// spec reads the flags.
func (f passportFlags) spec(name string) (desk.PassportSpec, error) {
	s := desk.PassportSpec{Name: name, Registration: f.Registration, Country: f.Country, Contact: f.Contact, Officer: f.Officer, Authority: f.Authority}
	for _, text := range f.Use {
		purpose, rest, ok := strings.Cut(text, "=")
		fields, days, kept := strings.Cut(rest, ":")
		n, err := strconv.ParseUint(cmp.Or(days, "0"), 10, 16)
		if !ok || err != nil || kept && days == "" {
			return s, usagef("--use %s: want purpose=field,field:days, as make-offer=location.area,contact.hours:30", text)
		}
		s.Uses = append(s.Uses, desk.IntendedUse{Purpose: purpose, Fields: strings.Split(fields, ","), Retention: uint32(n)})
	}
	return s, nil
}

// Run issues the first passport, and no other: a second one would take the keys out of use that
// living grants were countersigned with.
func (c *passportIssueCmd) Run(ctx context.Context, a *app) error {
	return issue(ctx, a, c.Name, c.passportFlags, func(p desk.Passport, err error) error {
		if err == nil {
			return fmt.Errorf("this vendor has passport number %d already; hark passport set changes what it says, hark passport rotate gives it fresh keys: %w", p.Seq, fault.Conflict)
		}
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
}

// issue issues a passport, where may allows it with the one that there is.
func issue(ctx context.Context, a *app, name string, f passportFlags, may func(desk.Passport, error) error) error {
	s, err := f.spec(name)
	if err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if err := may(h.Vendor().Passports().Own(ctx)); err != nil {
			return err
		}
		return a.passport(h.Vendor().Passports().Issue(ctx, s))
	})
}

type passportSetCmd struct {
	Name string `help:"The name that customers see."`
	passportFlags
}

func (c *passportSetCmd) Run(ctx context.Context, a *app) error {
	if reflect.ValueOf(*c).IsZero() {
		return usagef("say what? Give one of the flags; hark passport rotate only gives fresh keys")
	}
	return issue(ctx, a, c.Name, c.passportFlags, func(_ desk.Passport, err error) error {
		if errors.Is(err, fault.NotFound) {
			return fmt.Errorf("there is no passport yet; hark passport issue makes the first: %w", fault.NotFound)
		}
		return err
	})
}

type passportRotateCmd struct{}

// Run issues a passport with the same words and fresh keys.
func (c *passportRotateCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		p, err := h.Vendor().Passports().Own(ctx)
		if err != nil {
			return err
		}
		return a.passport(h.Vendor().Passports().Issue(ctx, desk.PassportSpec{Name: p.Name, Registration: p.Registration,
			Country: p.Country, Contact: p.Contact, Officer: p.Officer, Authority: p.Authority, Uses: p.Uses}))
	})
}

type passportGetCmd struct {
	Vendor string `arg:"" help:"The vendor's id."`
}

func (c *passportGetCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		return a.passport(h.Vendor().Passports().Get(ctx, c.Vendor))
	})
}

// passportFile is what passport export writes.
type passportFile struct {
	Schema string   `json:"schema"`
	Vendor string   `json:"vendor"`
	Name   string   `json:"name"`
	Chain  []string `json:"chain"`
}

const passportSchema = "hark.passports/1"

const maxPassportFile = 1 << 20 // sixteen passports of the largest size, in base64, have 350 KiB

type passportImportCmd struct {
	File string `arg:"" help:"The file; - is standard input."`
}

func (c *passportImportCmd) Run(ctx context.Context, a *app) error {
	in, closeIn, err := a.input(c.File)
	if err != nil {
		return err
	}
	defer closeIn()
	var f passportFile
	if err := strict.Read(in, maxPassportFile, &f); err != nil {
		return fmt.Errorf("%s is no %s file: %w", c.File, passportSchema, err)
	}
	if f.Schema != passportSchema {
		return fmt.Errorf("%s has schema %q, this program reads %s: %w", c.File, f.Schema, passportSchema, fault.Unsupported)
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		return a.passport(h.Vendor().Passports().Import(ctx, f.Chain))
	})
}

type passportExportCmd struct {
	File string `arg:"" default:"-" help:"Where to; - is standard output."`
}

func (c *passportExportCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		p, err := h.Vendor().Passports().Own(ctx)
		if err != nil {
			return err
		}
		raw, err := json.MarshalIndent(passportFile{passportSchema, p.Vendor, p.Name, p.Chain}, "", "  ")
		if err != nil {
			return err
		}
		write := func(w io.Writer) error { _, err := w.Write(append(raw, '\n')); return err }
		if c.File == "-" {
			return write(a.stdout)
		}
		if err := writeNew(c.File, write); err != nil {
			return err
		}
		return a.done("hark.export/1", map[string]string{"file": c.File}, "wrote %s", c.File)
	})
}

type heldCmd struct {
	List   heldListCmd   `cmd:"" help:"List what you hold, per grant."`
	Get    heldGetCmd    `cmd:"" help:"Write one value that you hold to a file."`
	Delete heldDeleteCmd `cmd:"" help:"Delete what you hold under a grant."`
}

type heldListCmd struct{ paging }

func (c *heldListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		p, err := h.Vendor().Held().List(ctx, q)
		if err != nil {
			return err
		}
		return list(a, "hark.held/1", p.Items, p.Next, "GRANT NEED FIELDS KEYS UNTIL", func(r desk.HeldRecord) []string {
			return []string{short(r.Grant), short(r.Context), strings.Join(r.Fields, ", "), strings.Join(r.Keys, ", "), when(r.Until)}
		})
	})
}

type heldGetCmd struct {
	Grant string `arg:"" help:"The grant."`
	Field string `arg:"" help:"The field."`
	Out   string `required:"" help:"Write the value to this new file; - is standard output." placeholder:"FILE"`
}

func (c *heldGetCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		get := func(w io.Writer) error { return h.Vendor().Held().Download(ctx, c.Grant, c.Field, w) }
		if c.Out == "-" {
			return get(a.stdout)
		}
		if err := writeNew(c.Out, get); err != nil {
			return err
		}
		return a.done("hark.export/1", map[string]string{"file": c.Out}, "wrote %s", c.Out)
	})
}

type heldDeleteCmd struct {
	Grant string `arg:"" help:"The grant."`
}

func (c *heldDeleteCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if err := h.Vendor().Held().Delete(ctx, c.Grant); err != nil {
			return err
		}
		return a.done("hark.deleted/1", map[string]string{"grant": c.Grant}, "deleted what was held under %s", c.Grant)
	})
}
