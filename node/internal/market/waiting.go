package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// A request that no rule decides waits for her, until the time that it names. She is
// told of it, once: that is a prompt. How many there are a day is hers to say; what comes
// beyond waits without a word, and is in the list when she looks. Of one vendor there is
// one a day, so that whoever floods uses up its own; and a part of the day's prompts is
// kept for vendors that she knows, so that a crowd of strangers does not use up theirs.

// A Budget is how often a day she may be told of requests.
type Budget struct {
	Day    int // in all
	Vendor int // of one vendor
	Known  int // of Day, kept for vendors that she has granted something before
}

// DefaultBudget holds until she says otherwise.
var DefaultBudget = Budget{Day: 5, Vendor: 1, Known: 2}

// MaxPrompts bounds each number of a Budget.
const MaxPrompts = 100

// Names of settings.
const (
	settingBudget  = "consent.budget"
	settingPrompts = "consent.prompts"
)

// A prompted is one prompt of the last day.
type prompted struct {
	AtMS   int64
	Vendor protocol.VendorID
	Known  bool
}

const dayMS = 24 * 3600 * 1000

func budget(r kv.Reader) (b Budget, err error) {
	if err = records.GetSetting(r, settingBudget, &b); errors.Is(err, fault.NotFound) {
		return DefaultBudget, nil
	}
	return b, err
}

// promptsOf lists the prompts of the last 24 hours.
func promptsOf(r kv.Reader, nowMS int64) (list []prompted, err error) {
	if err = records.GetSetting(r, settingPrompts, &list); errors.Is(err, fault.NotFound) {
		err = nil
	}
	return slices.DeleteFunc(list, func(p prompted) bool { return p.AtMS <= nowMS-dayMS }), err
}

// mayPrompt takes one of the day's prompts, if there is one for this vendor.
func (t *turn) mayPrompt(v protocol.VendorID, known bool) (bool, error) {
	b, err := budget(t)
	if err != nil {
		return false, err
	}
	list, err := promptsOf(t, t.nowMS)
	if err != nil {
		return false, err
	}
	ofVendor, strangers := 0, 0
	for _, p := range list {
		if p.Vendor == v {
			ofVendor++
		}
		if !p.Known {
			strangers++
		}
	}
	if len(list) >= b.Day || ofVendor >= b.Vendor || !known && strangers >= b.Day-b.Known {
		return false, nil
	}
	return true, records.PutSetting(t, settingPrompts, append(list, prompted{t.nowMS, v, known}))
}

// await leaves a request to her.
func (t *turn) await(a *records.Agreement, d terms.Decision) error {
	known, err := records.GetAcquaintance(t, a.Vendor)
	if err != nil {
		return err
	}
	a.Terms.Why, a.Terms.Law = d.Why, d.Law
	a.Terms.Consent.Rule, a.Terms.Consent.Hash = d.Rule, d.Hash
	yes, err := t.mayPrompt(a.Vendor, known.Granted > 0)
	if err != nil {
		return err
	}
	if yes {
		t.prompt(a)
	}
	return t.keep(a)
}

// prompt tells her of a request that waits.
func (t *turn) prompt(a *records.Agreement) {
	a.Terms.Consent.PromptedMS = t.nowMS
	id, body := a.ID.String(), agreementNote(a, "why", a.Terms.Why, "fields", asked(a.Terms.Asked))
	t.then(func() { t.m.cfg.Events.Emit("request.waiting", id, body) })
}

// Waits reports whether a request waits for its customer's decision.
func Waits(a *records.Agreement) bool {
	return a.Flow.Me == protocol.Customer && a.Flow.State == flow.Requested
}

// waiting finds a request that waits, with its need.
func (t *turn) waiting(id protocol.GrantID) (a records.Agreement, c records.Context, err error) {
	if a, err = records.GetAgreement(t, id); err != nil {
		return a, c, err
	}
	if !Waits(&a) {
		return a, c, fmt.Errorf("request %s waits for no decision here, it is %s: %w", a.Letters.Request.Short(), a.Flow.State, fault.Conflict)
	}
	c, err = records.GetContext(t, a.Context)
	return a, c, err
}

// A Less says in what a grant is less than what was asked. Zero: in nothing.
type Less struct {
	Fields []protocol.FieldName          // only these
	Days   int                           // for no longer
	Coarse map[protocol.FieldName]string // at this level
}

func (l Less) any() bool { return len(l.Fields) > 0 || l.Days > 0 || len(l.Coarse) > 0 }

// Allow grants a request that waits, or less than it asks. What the law forbids she does
// not grant by mistake: it was refused when it came.
func (m *Market) Allow(ctx context.Context, id protocol.GrantID, less Less) error {
	return m.command(ctx, "allow", func(t *turn) error {
		a, c, err := t.waiting(id)
		if err != nil {
			return err
		}
		if c.Flow.State != flow.Announced {
			return fmt.Errorf("need %s is %s, nothing is granted under it: %w", short(c.ID), c.Flow.State, fault.Conflict)
		}
		q, err := t.askingOf(&a, &c)
		if err != nil {
			return err
		}
		if a.Terms.Fields, err = t.lessOf(terms.GrantFields(q.r), less); err != nil {
			return err
		}
		if i := slices.IndexFunc(a.Terms.Fields, func(f protocol.FieldGrant) bool { return f.Level != "" && f.Price.Minor > 0 }); i >= 0 {
			return fmt.Errorf("%s was asked for as it is, at %s: a coarser value for it is a counter-proposal, with a price of its own: %w",
				a.Terms.Fields[i].Name, a.Terms.Fields[i].Price, fault.Conflict)
		}
		a.Terms.Start = t.now
		if less.Days > 0 {
			a.Terms.End = min(a.Terms.End, t.now+protocol.Second(less.Days)*protocol.Day)
		}
		if a.Terms.End <= a.Terms.Start {
			return fmt.Errorf("request %s wants access only until now: %w", q.id.Short(), fault.Expired)
		}
		d := terms.HerWord.Refuse("")
		return t.give(&a, c, q, d, "person", less.any())
	})
}

// lessOf takes from fields what she does not grant.
func (t *turn) lessOf(fields []protocol.FieldGrant, less Less) ([]protocol.FieldGrant, error) {
	has := func(name protocol.FieldName) bool {
		return slices.ContainsFunc(fields, func(f protocol.FieldGrant) bool { return f.Name == name })
	}
	for name := range less.Coarse {
		if !has(name) || len(less.Fields) > 0 && !slices.Contains(less.Fields, name) {
			return nil, fmt.Errorf("field %q is not among those to be granted: %w", string(name), fault.Malformed)
		}
	}
	for _, name := range less.Fields {
		if !has(name) {
			return nil, fmt.Errorf("field %q was not asked for: %w", string(name), fault.Malformed)
		}
	}
	var out []protocol.FieldGrant
	for _, f := range fields {
		if len(less.Fields) > 0 && !slices.Contains(less.Fields, f.Name) {
			continue
		}
		own, err := t.m.cfg.Stores.Vault.Get(t, f.Name)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
		if own.Rule.Will == terms.Never {
			return nil, fmt.Errorf("field %q is never given: her own rule; change it, or grant less: %w", string(f.Name), fault.Denied)
		}
		if level, ok := less.Coarse[f.Name]; ok {
			if own.Blob != nil {
				return nil, fmt.Errorf("field %q is a large value, of which there is nothing coarser: grant it whole, or leave it out: %w", string(f.Name), fault.Malformed)
			}
			if _, err := terms.Coarsen(level, own.Value); err != nil {
				return nil, fmt.Errorf("field %q: %w", string(f.Name), err)
			}
			f.Form, f.Level = protocol.FormCoarse, level
		}
		out = append(out, f)
	}
	return out, nil
}

// give grants a request, by a rule or by her.
func (t *turn) give(a *records.Agreement, c records.Context, q asking, d terms.Decision, by string, less bool) error {
	a.Terms.Why, a.Terms.Law = "", ""
	if err := errors.Join(t.affords(a.Vendor, a.Terms.Fields), t.decided(a, d, by)); err != nil {
		return err
	}
	a.Terms.Consent.Less = less
	return t.grant(a, c, grantTo{re: q.id, seal: q.r.Seal, reply: q.r.Reply})
}

// decided notes by whom, and by which rule, a request was decided.
func (t *turn) decided(a *records.Agreement, d terms.Decision, by string) error {
	w := &a.Terms.Consent
	w.By, w.Rule, w.Hash, w.SnoozeMS = by, d.Rule, d.Hash, 0
	return records.SetDue(t, records.DueSnooze, a.ID, 0)
}

// consentNote is what a ledger entry says of how a request was decided.
func consentNote(a *records.Agreement) []string {
	w := a.Terms.Consent
	note := []string{"by", w.By, "rule", w.Rule}
	if !w.Hash.IsZero() {
		note = append(note, "rule-hash", w.Hash.String())
	}
	if !w.Notice.IsZero() {
		note = append(note, "notice", w.Notice.String())
	}
	if w.Less {
		note = append(note, "less", "yes")
	}
	return note
}

// Refuse refuses a request that waits; reason is for the vendor.
func (m *Market) Refuse(ctx context.Context, id protocol.GrantID, reason string) error {
	return m.command(ctx, "refuse", func(t *turn) error {
		a, c, err := t.waiting(id)
		if err != nil {
			return err
		}
		return t.refuseHere(&a, c, reason)
	})
}

func (t *turn) refuseHere(a *records.Agreement, c records.Context, reason string) error {
	if reason == "" {
		reason = "she refuses it"
	}
	q, err := t.askingOf(a, &c)
	if err != nil {
		return err
	}
	return t.refuse(a, c, q.r, q.id, terms.HerWord.Refuse("%s", reason), "person")
}

// MaxSnooze is for how long a request can be put off at once.
const MaxSnooze = 90 * 24 * time.Hour

// Snooze puts a request off: it comes back once, when that time is over and it still
// waits.
func (m *Market) Snooze(ctx context.Context, id protocol.GrantID, d time.Duration) error {
	if d < time.Minute || d > MaxSnooze {
		return fmt.Errorf("a request is put off for a minute at least, and for %d days at most: %w", MaxSnooze/(24*time.Hour), fault.Malformed)
	}
	return m.command(ctx, "snooze", func(t *turn) error {
		a, _, err := t.waiting(id)
		if err != nil {
			return err
		}
		a.Terms.Consent.SnoozeMS = t.nowMS + d.Milliseconds()
		if err := records.SetDue(t, records.DueSnooze, a.ID, a.Terms.Consent.SnoozeMS); err != nil {
			return err
		}
		if err := t.note("request.snoozed", agreementNote(&a, "until", time.UnixMilli(a.Terms.Consent.SnoozeMS).UTC().Format(time.RFC3339))); err != nil {
			return err
		}
		return t.keep(&a)
	})
}

// snoozeDue brings a request back that was put off. It was her wish, and costs no prompt
// of the day.
func (t *turn) snoozeDue(id protocol.GrantID) error {
	if err := records.SetDue(t, records.DueSnooze, id, 0); err != nil {
		return err
	}
	a, err := records.GetAgreement(t, id)
	if err != nil || !Waits(&a) {
		return err
	}
	c, err := records.GetContext(t, a.Context)
	if err == nil && c.Flow.State.Final() {
		return t.overFor(&a, c)
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	a.Terms.Consent.SnoozeMS = 0
	t.prompt(&a)
	return t.keep(&a)
}

// maxOver is how many requests are refused in one turn because their need is over: what
// one transaction holds.
const maxOver = 16

// over refuses what waits under a need that is withdrawn or has expired: nothing can be
// granted any more. What is left over for another turn is due at once.
func (t *turn) over(c records.Context) error {
	var wait []records.Agreement
	err := records.EachUnder(t, c.ID, func(a records.Agreement) (bool, error) {
		if Waits(&a) && a.Flow.Due(t.m.cfg.Genesis.Duties).At > t.now { // else it ends by itself, now
			wait = append(wait, a)
		}
		return len(wait) <= maxOver, nil
	})
	if err != nil {
		return err
	}
	for _, a := range wait[:min(len(wait), maxOver)] {
		if err := t.overFor(&a, c); err != nil {
			return err
		}
	}
	if len(wait) > maxOver {
		return records.SetDue(t, records.DueContext, c.ID, t.nowMS)
	}
	return nil
}

// overFor refuses one request because its need is over. That takes nothing from its
// vendor: it may ask for the same under another need.
func (t *turn) overFor(a *records.Agreement, c records.Context) error {
	q, err := t.askingOf(a, &c)
	if err != nil {
		return err
	}
	return t.refuse(a, c, q.r, q.id, terms.Withdrawn.Refuse("the need is %s", c.Flow.State), "rule")
}

// settingBlocked counts the vendors that are blocked.
const settingBlocked = "consent.blocked"

// Block drops a vendor's requests from now on, before anything of them is shown or kept,
// and refuses those that wait; or, where yes is false, hears it again, also about what
// she refused it before.
func (m *Market) Block(ctx context.Context, v protocol.VendorID, yes bool) error {
	return m.command(ctx, "block", func(t *turn) error {
		b, err := records.GetAcquaintance(t, v)
		if err != nil {
			return err
		}
		was := b.BlockedMS > 0
		if yes == was && (yes || len(b.Withheld) == 0) {
			return nil
		}
		n, err := blockedCount(t)
		if err != nil {
			return err
		}
		kind, note := "vendor.unblocked", map[string]string{"vendor": v.String()}
		if was {
			n--
		}
		if yes {
			kind, b.BlockedMS, n = "vendor.blocked", t.nowMS, n+1
			if n > int64(m.tally.lim.Blocked) {
				return fmt.Errorf("%d vendors are blocked, at most so many: %w", n-1, fault.Full)
			}
		} else {
			for _, w := range b.Withheld {
				note["lifted"] = strings.TrimSpace(note["lifted"] + " " + cmp.Or(string(w.Field), "need"))
			}
			b.BlockedMS, b.Withheld = 0, nil
		}
		if err := errors.Join(records.PutAcquaintance(t, b), records.PutSetting(t, settingBlocked, n)); err != nil {
			return err
		}
		if err := t.note(kind, note); err != nil || !yes {
			return err
		}
		return t.refuseAll(v)
	})
}

func blockedCount(r kv.Reader) (n int64, err error) {
	if err = records.GetSetting(r, settingBlocked, &n); errors.Is(err, fault.NotFound) {
		err = nil
	}
	return n, err
}

// ConsentFills gives each bound of what decides on requests with its fill.
func (m *Market) ConsentFills(r kv.Reader) ([]kv.Fill, error) {
	list, err := ownRules(r)
	b, err2 := budget(r)
	prompts, err3 := promptsOf(r, m.cfg.Now().UnixMilli())
	blocked, err4 := blockedCount(r)
	credit, err5 := saidCredits(r)
	return []kv.Fill{
		{Name: "consent.rules", Used: int64(len(list)), Cap: terms.MaxRules},
		{Name: "consent.prompts", Used: int64(len(prompts)), Cap: int64(max(b.Day, len(prompts), 1))},
		{Name: "consent.blocked", Used: blocked, Cap: int64(m.tally.lim.Blocked)},
		{Name: "consent.credit", Used: int64(len(credit)), Cap: maxCredits},
	}, errors.Join(err, err2, err3, err4, err5)
}

// refuseAll refuses what waits of one vendor.
func (t *turn) refuseAll(v protocol.VendorID) error {
	var wait []records.Agreement
	err := records.EachAgreement(t, nil, func(a records.Agreement) (bool, error) {
		if a.Vendor == v && Waits(&a) {
			wait = append(wait, a)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, a := range wait {
		c, err := records.GetContext(t, a.Context)
		if errors.Is(err, fault.NotFound) {
			continue // nothing is left that could be granted
		}
		if err == nil {
			err = t.refuseHere(&a, c, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blocked refuses a blocked vendor's request before anything of it is kept.
func (t *turn) blocked(v protocol.VendorID) error {
	b, err := records.GetAcquaintance(t, v)
	if err != nil || b.BlockedMS == 0 {
		return err
	}
	return because(terms.Blocked.Refuse("vendor %s is blocked", v.Short()))
}

// because makes an error of a decision that nobody is told of.
func because(d terms.Decision) error {
	return fmt.Errorf("%s (rule %s; %s): %w", d.Why, d.Rule, d.Law, fault.Denied)
}

// met counts what became of a vendor's requests.
func (t *turn) met(a *records.Agreement, count func(*records.Acquaintance)) error {
	k, err := records.GetAcquaintance(t, a.Vendor)
	if err != nil {
		return err
	}
	k.Name = a.VendorName
	count(&k)
	return records.PutAcquaintance(t, k)
}

// SetBudget changes how often she may be told of requests.
func (m *Market) SetBudget(ctx context.Context, b Budget) error {
	for _, n := range []int{b.Day, b.Vendor, b.Known} {
		if n < 0 || n > MaxPrompts {
			return fmt.Errorf("%d prompts a day, want 0 to %d: %w", n, MaxPrompts, fault.Malformed)
		}
	}
	if b.Known > b.Day {
		return fmt.Errorf("%d prompts kept of %d: %w", b.Known, b.Day, fault.Malformed)
	}
	return m.command(ctx, "budget", func(t *turn) error { return records.PutSetting(t, settingBudget, b) })
}

// Prompts gives the budget, and how much of it the last 24 hours have used.
func (m *Market) Prompts(ctx context.Context) (b Budget, used int, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		if b, err = budget(r); err != nil {
			return err
		}
		list, err := promptsOf(r, m.cfg.Now().UnixMilli())
		used = len(list)
		return err
	})
	return b, used, err
}

// A told is what a vendor told her before it collects, as it is kept: POPIA s18(1), GDPR
// art. 13.
type told struct {
	Vendor       protocol.VendorID    `cbor:"1,keyasint,omitzero"`
	Name         string               `cbor:"2,keyasint,omitempty"`
	Registration string               `cbor:"3,keyasint,omitempty"`
	Country      protocol.Region      `cbor:"4,keyasint,omitempty"`
	Contact      string               `cbor:"5,keyasint,omitempty"`
	Officer      string               `cbor:"6,keyasint,omitempty"`
	Authority    string               `cbor:"7,keyasint,omitempty"`
	Fields       []protocol.FieldAsk  `cbor:"8,keyasint,omitempty"`
	Basis        protocol.LegalBasis  `cbor:"9,keyasint,omitempty"`
	Recipients   []string             `cbor:"10,keyasint,omitempty"`
	Countries    []protocol.Region    `cbor:"11,keyasint,omitempty"`
	Notice       protocol.Notice      `cbor:"12,keyasint,omitzero"`
	More         protocol.Particulars `cbor:"13,keyasint,omitzero"`
	Until        protocol.Second      `cbor:"14,keyasint,omitempty"`
}

// keepNotice keeps what she was told, under its hash.
func (t *turn) keepNotice(q asking) (protocol.Hash, error) {
	p := q.chain.Latest()
	raw, err := wire.Marshal(&told{
		Vendor: q.r.Vendor, Name: p.Name, Registration: p.Registration, Country: p.Country, Contact: p.Contact, Officer: p.Officer,
		Authority: p.Authority, Fields: q.r.Fields, Basis: q.r.Basis, Recipients: q.r.Recipients, Countries: q.r.Countries,
		Notice: q.r.Notice, More: q.more, Until: q.r.Until,
	})
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("notice: %w", err)
	}
	id := wire.ID(raw)
	return id, records.PutEnvelope(t, id, raw)
}
