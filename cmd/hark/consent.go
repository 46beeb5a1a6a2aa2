package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

type consentCmd struct {
	Show   consentShowCmd   `cmd:"" help:"Show the rules, the prompts of a day, who is blocked, and what you refused to whom."`
	Rule   consentRuleCmd   `cmd:"" help:"Your own rules for requests."`
	Budget consentBudgetCmd `cmd:"" help:"How often a day you are told of requests; what is not given stays."`
	Credit consentCreditCmd `cmd:"" help:"How much one vendor may owe you: vouchers are credit, and may never be paid."`
	Words  consentWordsCmd  `cmd:"" help:"List the words that conditions may use."`
}

func showConsent(a *app, v desk.ConsentView, err error) error {
	if err != nil {
		return err
	}
	return a.show("hark.consent/1", v, func(p *page) {
		p.facts("Prompts a day", fmt.Sprintf("%d, of one vendor %d, kept for vendors you know %d; %d in the last 24 hours", v.Budget.Day, v.Budget.Vendor, v.Budget.Known, v.Budget.Used))
		for _, m := range v.Credit {
			p.facts("One vendor may owe", money(&m))
		}
		p.line("")
		p.table(strings.Fields("RULE ACTION WHEN"), ruleRows(v.Rules))
		for _, b := range v.Blocked {
			p.line("Blocked: %s %s, since %s", clean(b.Name), short(b.Vendor), when(b.Since))
		}
		for _, w := range v.Withheld {
			p.line("Refused: %s %s, %s, on %s; hark request unblock %s lifts it", clean(w.Name), short(w.Vendor), strings.Join(w.Fields, " "), when(w.Since), short(w.Vendor))
		}
	})
}

func ruleRows(list []desk.ConsentRule) (rows [][]string) {
	for _, r := range list {
		rows = append(rows, ruleRow(r))
	}
	return rows
}

func ruleRow(r desk.ConsentRule) []string { return []string{r.Name, r.Action, r.When} }

type consentShowCmd struct{}

func (c *consentShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Get(ctx)
		return showConsent(a, v, err)
	})
}

type consentRuleCmd struct {
	Add  ruleAddCmd  `cmd:"" help:"Add one. Of those that hold the most restrictive wins: deny, ask, allow."`
	List ruleListCmd `cmd:"" help:"List them."`
	Test ruleTestCmd `cmd:"" help:"Show what would have become of the requests you got so far."`
	Rm   ruleRmCmd   `cmd:"" help:"Remove one."`
}

// ruleFlags are a rule as it is written.
type ruleFlags struct {
	Action string `arg:"" help:"allow, ask or deny." enum:"allow,ask,deny"`
	When   string `arg:"" help:"A condition in CEL, as 'vendor.known && price.minor >= 500'."`
}

type ruleAddCmd struct {
	Name string `arg:"" help:"Your name for it: lower-case letters, digits, hyphens."`
	ruleFlags
}

// Help is the long help of the command.
func (c *ruleAddCmd) Help() string {
	return `Conditions are written in CEL over the request, the vendor, the need, the price and
the fields; hark consent words lists the words. No rule grants special information or
a child's, and none grants what is not on offer. With no rule that holds, you are asked.

  hark consent rule add known-shops allow 'vendor.known && vendor.lapses == 0'
  hark consent rule add no-numbers deny 'fields.exists(f, f.name.startsWith("identity."))'
  hark consent rule add not-for-long ask 'request.days > 30'`
}

func (c *ruleAddCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Consent().Add(ctx, desk.ConsentRule{Name: c.Name, Action: c.Action, When: c.When})
		if err != nil {
			return err
		}
		return a.done("hark.rule/1", r, "rule %s: %s when %s", r.Name, r.Action, clean(r.When))
	})
}

type ruleListCmd struct{}

func (c *ruleListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Get(ctx)
		if err != nil {
			return err
		}
		return list(a, "hark.rules/1", v.Rules, "", "RULE ACTION WHEN", ruleRow)
	})
}

type ruleTestCmd struct {
	Action string `help:"With a rule more, that does this." enum:"allow,ask,deny," default:""`
	When   string `help:"When this holds." placeholder:"CEL"`
}

func (c *ruleTestCmd) Run(ctx context.Context, a *app) error {
	if (c.Action == "") != (c.When == "") {
		return usagef("a rule to be tried needs both --action and --when")
	}
	var more desk.ConsentRule
	if c.When != "" {
		more = desk.ConsentRule{Name: "tried", Action: c.Action, When: c.When}
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Test(ctx, more)
		if err != nil {
			return err
		}
		return list(a, "hark.replays/1", v.Items, "", "REQUEST VENDOR FIELDS IS WOULD BY WHY", func(r desk.Replay) []string {
			return []string{short(r.Request), r.VendorName, r.Fields, r.State, r.Would, r.WouldBy, r.Why}
		})
	})
}

type ruleRmCmd struct {
	Name string `arg:"" help:"Its name."`
}

func (c *ruleRmCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if err := h.Consent().Remove(ctx, c.Name); err != nil {
			return err
		}
		return a.done("hark.removed/1", map[string]string{"rule": c.Name}, "removed rule %s", clean(c.Name))
	})
}

type consentBudgetCmd struct {
	Day    *int `help:"In all." placeholder:"N"`
	Vendor *int `help:"Of one vendor." placeholder:"N"`
	Known  *int `help:"Of these, kept for vendors that you granted something before." placeholder:"N"`
}

func (c *consentBudgetCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Get(ctx)
		if err != nil || c.Day == nil && c.Vendor == nil && c.Known == nil {
			return showConsent(a, v, err)
		}
		set(&v.Budget.Day, c.Day)
		set(&v.Budget.Vendor, c.Vendor)
		set(&v.Budget.Known, c.Known)
		if c.Known == nil {
			v.Budget.Known = min(v.Budget.Known, v.Budget.Day)
		}
		v, err = h.Consent().Budget(ctx, v.Budget)
		return showConsent(a, v, err)
	})
}

type consentCreditCmd struct {
	Most string `arg:"" optional:"" help:"The most, as 20.00 or 'USD 5.00'; 0: grant nothing for money. None: show it."`
}

func (c *consentCreditCmd) Run(ctx context.Context, a *app) error {
	var most desk.Money
	if c.Most != "" {
		m, err := protocol.ParseAmount(c.Most, "ZAR")
		if err != nil {
			return &usageError{fmt.Errorf("%s: %w", c.Most, err)}
		}
		most = desk.Money{Minor: m.Minor, Currency: string(m.Currency)}
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if c.Most == "" {
			v, err := h.Consent().Get(ctx)
			return showConsent(a, v, err)
		}
		v, err := h.Consent().Credit(ctx, most)
		return showConsent(a, v, err)
	})
}

type vendorArg struct {
	Vendor string `arg:"" help:"The vendor's id or name, or a request of it."`
}

type requestBlockCmd struct{ vendorArg }

func (c *requestBlockCmd) Run(ctx context.Context, a *app) error { return c.block(ctx, a, true) }

type requestUnblockCmd struct{ vendorArg }

func (c *requestUnblockCmd) Run(ctx context.Context, a *app) error { return c.block(ctx, a, false) }

func (c *vendorArg) block(ctx context.Context, a *app, yes bool) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Block(ctx, c.Vendor, yes)
		if err != nil {
			return err
		}
		word := map[bool]string{true: "blocked", false: "heard again, also about what you refused it before"}[yes]
		return a.done("hark.consent/1", v, "%s: %s", clean(c.Vendor), word)
	})
}

type requestBlockedCmd struct{}

func (c *requestBlockedCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Get(ctx)
		if err != nil {
			return err
		}
		return list(a, "hark.blocked/1", v.Blocked, "", "VENDOR NAME SINCE", func(b desk.BlockedVendor) []string {
			return []string{short(b.Vendor), b.Name, when(b.Since)}
		})
	})
}

type consentWordsCmd struct{}

func (c *consentWordsCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Consent().Get(ctx)
		if err != nil {
			return err
		}
		return a.show("hark.consent/1", v, func(p *page) {
			for _, w := range v.Words {
				p.line("%s", w)
			}
			p.line("each of fields has name, class, purpose, required, days, price, on_offer, always")
		})
	})
}

type requestGrantCmd struct{ byID }

func (c *requestGrantCmd) Run(ctx context.Context, a *app) error {
	return grantRequest(ctx, a, c.ID, desk.LessSpec{})
}

func grantRequest(ctx context.Context, a *app, id string, less desk.LessSpec) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Customer().Requests().Grant(ctx, id, less)
		if err != nil {
			return err
		}
		word := "granted"
		switch {
		case r.State == "countered":
			word = "answered with a counter-proposal"
		case r.Less:
			word = "granted less"
		}
		return a.done("hark.request/1", r, "request %s of %s: %s", short(r.ID), clean(r.VendorName), word)
	})
}

type requestLessCmd struct {
	byID
	Fields []string `help:"Only these." placeholder:"FIELD"`
	Days   *int     `help:"For no longer." placeholder:"N"`
	Coarse []string `help:"A coarser value: field=level (hark consent show --json lists the levels)." placeholder:"FIELD=LEVEL"`
	Price  []string `help:"At least so much: field=1.00. The vendor is told, and may ask again at that price; it pays with a voucher, which it then owes you." sep:"none" placeholder:"FIELD=PRICE"`
}

func (c *requestLessCmd) Run(ctx context.Context, a *app) error {
	if err := someDays(c.Days); err != nil {
		return err
	}
	s := desk.LessSpec{Fields: c.Fields, Days: valueOf(c.Days)}
	for _, text := range c.Coarse {
		field, level, ok := strings.Cut(text, "=")
		if !ok {
			return usagef("--coarse %s: want field=level", text)
		}
		if s.Coarse == nil {
			s.Coarse = map[string]string{}
		}
		s.Coarse[field] = level
	}
	var err error
	if s.Price, _, err = fieldPrices(c.Price); err != nil {
		return err
	}
	if len(s.Fields) == 0 && s.Days == 0 && s.Coarse == nil && s.Price == nil {
		return usagef("less in what? Name --fields, --days, --coarse or --price; hark request grant gives all of it")
	}
	return grantRequest(ctx, a, c.ID, s)
}

// fieldPrices reads prices of fields, all in one currency.
func fieldPrices(list []string) (prices map[string]int64, currency protocol.Currency, err error) {
	for _, text := range list {
		field, price, _ := strings.Cut(text, "=")
		m, err := protocol.ParseAmount(price, "ZAR")
		if err == nil && currency != "" && currency != m.Currency {
			err = fmt.Errorf("beside a price in %s", currency)
		}
		if err != nil {
			return nil, "", &usageError{fmt.Errorf("--price %s: %w", text, err)}
		}
		if prices == nil {
			prices = map[string]int64{}
		}
		prices[field], currency = m.Minor, m.Currency
	}
	return prices, currency, nil
}

type requestRefuseCmd struct {
	byID
	Reason string `help:"Words to the vendor."`
}

func (c *requestRefuseCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Customer().Requests().Refuse(ctx, c.ID, c.Reason)
		if err != nil {
			return err
		}
		return a.done("hark.request/1", r, "request %s of %s: refused", short(r.ID), clean(r.VendorName))
	})
}

type requestSnoozeCmd struct {
	byID
	For string `help:"For how long, as 12h or 3d." default:"1d"`
}

func (c *requestSnoozeCmd) Run(ctx context.Context, a *app) error {
	d, err := span(c.For)
	if err != nil {
		return &usageError{err}
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Customer().Requests().Snooze(ctx, c.ID, desk.SnoozeSpec{Seconds: int64(d / time.Second)})
		if err != nil {
			return err
		}
		return a.done("hark.request/1", r, "request %s of %s: put off until %s", short(r.ID), clean(r.VendorName), when(r.Snoozed))
	})
}

// span reads a time such as 90m, 12h or 3d.
func span(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 10_000 {
			return 0, fmt.Errorf("%q is no number of days", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time: want 90m, 12h or 3d", text)
	}
	return d, nil
}

// decidedBy says who decided on a request, and by which rule.
func decidedBy(r desk.Request) string {
	who := map[string]string{"rule": "a rule: ", "person": "you: "}[r.By]
	return strings.TrimSuffix(who+cmp.Or(r.Rule, ""), ": ")
}
