package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// How a request is judged:
//
//  1. terms.Decide: the law, and what she put on offer. What fails is refused, and
//     no rule of hers changes that.
//  2. Her rules for each field: never refuses.
//  3. What it costs: no less than her own counter named, where it answers one, and no
//     more than she lets this vendor owe her.
//  4. Her rules for requests, with the three that are built in: the most restrictive of
//     those that hold.
//  5. What no rule may do: special information and children's are left to her, by the
//     vocabulary's class and by the one that she chose, and so is credit beyond what is
//     left of this vendor's.
//  6. Where no rule holds, she is asked.

// Rules reads customers' own rules; package consent does. What it gives says what the
// rules say together.
type Rules interface {
	Compile(list []terms.Rule) (func(terms.Question) terms.Verdict, error)
}

// settingRules names her rules for requests.
const settingRules = "consent.rules"

// builtIn are the rules that stand beside hers.
var builtIn = []terms.Rule{terms.AlwaysRule, terms.OfferedRule, terms.CounterRule}

func ownRules(r kv.Reader) (list []terms.Rule, err error) {
	err = records.GetSetting(r, settingRules, &list)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return list, err
}

// compiled gives her rules, read once and after each change. Rules that cannot be read
// any more ask her each time.
func (t *turn) compiled() func(terms.Question) terms.Verdict {
	if t.m.rules != nil {
		return t.m.rules
	}
	list, err := ownRules(t)
	if err == nil && t.m.cfg.Rules != nil {
		t.m.rules, err = t.m.cfg.Rules.Compile(append(list, builtIn...))
	}
	if err != nil || t.m.rules == nil {
		t.m.cfg.Log.Warn("market: her rules cannot be read, she is asked", "err", err)
		return func(terms.Question) terms.Verdict {
			return terms.Verdict{Action: terms.AskHer, Why: "her rules cannot be read"}
		}
	}
	return t.m.rules
}

// An asking is a request that came, with all that it is judged by.
type asking struct {
	id    protocol.Hash
	r     *protocol.Request
	more  protocol.Particulars
	chain wire.Chain
	a     *protocol.Announcement
	after protocol.GrantID // the agreement whose counter it answers; zero: none
}

// judge decides on a request, by rules alone.
func (t *turn) judge(c *records.Context, q asking, rules func(terms.Question) terms.Verdict) (terms.Decision, error) {
	d := terms.Decide(q.a, q.r, q.chain.Latest(), q.more)
	if !d.Grant && !d.Ask {
		return d, nil
	}
	always, special, err := t.fieldsOf(q.r)
	if err != nil {
		return d, err
	}
	if special.Why != "" && (!special.Ask || !d.Ask) {
		d = special
	}
	if !d.Grant && !d.Ask {
		return d, nil
	}
	about, costs, err := t.costs(c, &q)
	if err != nil || !costs.Grant && !costs.Ask {
		return costs, err
	}
	known, err := records.GetAcquaintance(t, q.r.Vendor)
	if err != nil {
		return d, err
	}
	question := t.question(c, q, known, always, d.Ask)
	question.Request.Answers = about.met(&q)
	v := rules(question)
	switch {
	case v.Action == terms.DenyAll:
		d = terms.HerRule.Refuse("her rule %s refuses it", v.Rule.Name)
	case d.Ask:
		return d, nil // whatever allows it: only she grants what is special
	case costs.Ask:
		return costs, nil // or what goes beyond the credit that is left
	case v.Action == terms.Allow:
		d = terms.Decision{Grant: true}
	default:
		d = terms.HerWord.Refuse("%s", cmp.Or(v.Why, "no rule of hers decides it"))
		d.Ask = true
	}
	if v.Action != terms.Silent {
		d.Rule, d.Hash = v.Rule.Name, v.Rule.Hash()
	}
	return d, nil
}

// costs judges a request by its price alone, and gives the counter that it answers.
func (t *turn) costs(c *records.Context, q *asking) (*countered, terms.Decision, error) {
	about, err := t.counterOf(c, q)
	if err != nil {
		return nil, terms.Decision{}, err
	}
	if d := about.dearer(q.r); d.Why != "" {
		return about, d, nil
	}
	price, err := askedPrice(q.r.Fields)
	if err != nil {
		return nil, terms.Decision{}, err
	}
	d, err := t.credit(q.r.Vendor, price)
	return about, d, err
}

// fieldsOf asks her rule for each field of a request: for which fields it is always, and
// what stands against one of them. A field that the vault no longer has gives nothing
// away.
func (t *turn) fieldsOf(r *protocol.Request) (always map[protocol.FieldName]bool, against terms.Decision, err error) {
	always = map[protocol.FieldName]bool{}
	for _, ask := range r.Fields {
		f, err := t.m.cfg.Stores.Vault.About(t, ask.Name)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, against, err
		}
		always[ask.Name] = f.Rule.Gives(ask.Purpose)
		d := terms.DecideField(f.Name, f.Class, f.Rule)
		if !d.Grant && (against.Why == "" || against.Ask && !d.Ask) {
			against = d
		}
	}
	return always, against, nil
}

// question is what her rules may know of a request.
func (t *turn) question(c *records.Context, q asking, known records.Acquaintance, always map[protocol.FieldName]bool, special bool) terms.Question {
	p := q.chain.Latest()
	out := terms.Question{
		Request: terms.AboutRequest{
			OnOffer: true, PriceMet: true, // terms.Decide refused it otherwise
			Basis: map[protocol.LegalBasis]string{protocol.BasisConsent: "consent", protocol.BasisContract: "contract"}[q.r.Basis],
			Days:  int64((max(q.r.Until, t.now) - t.now + protocol.Day - 1) / protocol.Day), Special: special, Automat: q.more.Automated != "",
			Abroad: slices.ContainsFunc(q.r.Countries, func(r protocol.Region) bool { return r.Country() != c.Region.Country() }),
		},
		Vendor: terms.AboutVendor{
			ID: q.r.Vendor.String(), Name: p.Name, Country: string(p.Country), Registration: p.Registration, Passport: int64(p.Seq),
			Known: known.Granted > 0, Granted: int64(known.Granted), Refused: int64(known.Refused), Lapses: int64(known.Lapses),
		},
		Need: terms.AboutNeed{
			Kind: c.Flow.Kind.String(), Name: c.Name, Category: string(c.Category), Sector: c.Category.Sector(), Region: string(c.Region), Auto: c.Auto,
		},
	}
	for _, f := range q.r.Fields {
		class := "unknown"
		if info, ok := f.Name.Info(); ok {
			class = info.Class.String()
		}
		if own, err := t.m.cfg.Stores.Vault.About(t, f.Name); err == nil {
			class = own.Class.String()
		}
		out.Price.Minor += f.Price.Minor
		out.Price.Currency = cmp.Or(f.Price.Currency, out.Price.Currency)
		out.Fields = append(out.Fields, terms.AboutField{
			Name: string(f.Name), Class: class, Purpose: string(f.Purpose), Required: f.Required, Days: int64(f.Retention), Price: f.Price.Minor,
			OnOffer: true, Always: always[f.Name],
		})
	}
	return out
}

// askingOf reads back the request of an agreement.
func (t *turn) askingOf(a *records.Agreement, c *records.Context) (asking, error) {
	q := asking{id: a.Letters.Request, after: a.Terms.Consent.After}
	raw, err := records.GetEnvelope(t, q.id)
	if err != nil {
		return q, fmt.Errorf("request %s: %w", q.id.Short(), err)
	}
	s, err := wire.Open(raw)
	if err != nil {
		return q, err
	}
	if q.r, err = wire.As[*protocol.Request](s); err != nil {
		return q, err
	}
	q.more = particulars.Of(s.Extra())
	if q.chain, err = t.chain(q.r); err != nil {
		return q, err
	}
	h, err := wire.OpenAnnouncement(c.Raw)
	if err != nil {
		return q, fmt.Errorf("own announcement: %w", err)
	}
	q.a = h.A()
	return q, nil
}

// OwnRules reads her rules, in order of name.
func (m *Market) OwnRules(ctx context.Context) (list []terms.Rule, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		list, err = ownRules(r)
		return err
	})
	return list, err
}

// AddRule keeps one more rule of hers, from the next request on.
func (m *Market) AddRule(ctx context.Context, rule terms.Rule) error {
	return m.changeRules(ctx, "add rule", rule, func(list []terms.Rule) ([]terms.Rule, error) {
		if slices.ContainsFunc(builtIn, func(b terms.Rule) bool { return b.Name == rule.Name }) {
			return nil, fmt.Errorf("the rule %s is built in; give yours another name: %w", rule.Name, fault.Conflict)
		}
		if len(list) >= terms.MaxRules {
			return nil, fmt.Errorf("%d rules, at most %d; remove one first: %w", len(list), terms.MaxRules, fault.Full)
		}
		return append(list, rule), nil
	})
}

// RemoveRule forgets one.
func (m *Market) RemoveRule(ctx context.Context, name string) error {
	return m.changeRules(ctx, "remove rule", terms.Rule{Name: name}, func(list []terms.Rule) ([]terms.Rule, error) {
		i := slices.IndexFunc(list, func(r terms.Rule) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no rule is called %.60q: %w", name, fault.NotFound)
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// changeRules compiles the new list before it is kept, and notes what changed.
func (m *Market) changeRules(ctx context.Context, name string, rule terms.Rule, change func([]terms.Rule) ([]terms.Rule, error)) error {
	return m.command(ctx, name, func(t *turn) error {
		list, err := ownRules(t)
		if err == nil {
			list, err = change(list)
		}
		if err != nil {
			return err
		}
		judge, err := m.cfg.Rules.Compile(append(slices.Clone(list), builtIn...))
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b terms.Rule) int { return cmp.Compare(a.Name, b.Name) })
		if err := records.PutSetting(t, settingRules, list); err != nil {
			return err
		}
		t.then(func() { m.rules = judge })
		kind, body := "consent.rule-removed", map[string]string{"rule": rule.Name}
		if rule.Action != terms.Silent {
			kind = "consent.rule-added"
			body["action"], body["when"], body["rule-hash"] = rule.Action.String(), rule.When, rule.Hash().String()
		}
		return t.note(kind, body)
	})
}

// A Replayed is what would become of a request that was got before.
type Replayed struct {
	Agreement records.Agreement
	Decision  terms.Decision
}

// maxReplay bounds what one replay looks at.
const maxReplay = 500

// Replay judges requests that were got before by her rules as they are now, with one more
// where there is one. It changes nothing. whole: all of them were looked at.
func (m *Market) Replay(ctx context.Context, more *terms.Rule) (out []Replayed, whole bool, err error) {
	whole = true
	err = m.Do(ctx, "replay", func(t *turn) error {
		judge := t.compiled()
		if more != nil {
			list, err := ownRules(t)
			if err == nil {
				judge, err = m.cfg.Rules.Compile(append(append(list, *more), builtIn...))
			}
			if err != nil {
				return err
			}
		}
		return records.EachAgreement(t, nil, func(a records.Agreement) (bool, error) {
			if a.Flow.Me != protocol.Customer || a.Letters.Request.IsZero() {
				return true, nil
			}
			if len(out) == maxReplay {
				whole = false
				return false, nil
			}
			c, err := records.GetContext(t, a.Context)
			if err != nil {
				return true, nil //nolint:nilerr // a need that is gone: nothing would become of it
			}
			q, err := t.askingOf(&a, &c)
			if err != nil {
				return false, err
			}
			q.a = t.asOpen(&c, q.a)
			d, err := t.judge(&c, q, judge)
			out = append(out, Replayed{a, d})
			return err == nil, err
		})
	})
	return out, whole, err
}

// asOpen is the latest announcement of a need as it would stand if it were open: one that
// was withdrawn offers nothing any more.
func (t *turn) asOpen(c *records.Context, a *protocol.Announcement) *protocol.Announcement {
	b := *a
	b.Status, b.Fields, b.Region, b.Terms = protocol.Open, c.Fields, c.Region, t.m.cfg.Genesis.Terms
	return &b
}
