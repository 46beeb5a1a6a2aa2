package desks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// stateOf is the state of an agreement in a list of requests: one that its customer has
// yet to decide on waits, or is put off.
func stateOf(a records.Agreement) string {
	switch {
	case market.Waits(&a) && a.Terms.Consent.SnoozeMS > 0:
		return "snoozed"
	case market.Waits(&a):
		return "waiting"
	}
	return a.Flow.State.String()
}

func hashText(h protocol.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// grantOf finds the grant that a request has, or would have.
func (d Requests) grantOf(ctx context.Context, id string) (g protocol.GrantID, err error) {
	v, err := d.Get(ctx, id)
	if err == nil {
		err = g.UnmarshalText([]byte(v.Grant))
	}
	return g, err
}

// after reads a request back, when something was done with it.
func (d Requests) after(ctx context.Context, g protocol.GrantID, err error) (desk.Request, error) {
	if err != nil {
		return desk.Request{}, err
	}
	return d.Get(ctx, g.String())
}

// Grant implements desk.Requests.
func (d Requests) Grant(ctx context.Context, id string, spec desk.LessSpec) (desk.Request, error) {
	g, err := d.grantOf(ctx, id)
	if err != nil {
		return desk.Request{}, err
	}
	if spec.Days < 0 || spec.Days > maxGiveDays {
		return desk.Request{}, fmt.Errorf("%d days, want 1 to %d: %w", spec.Days, maxGiveDays, fault.Malformed)
	}
	less := market.Less{Days: spec.Days, Coarse: map[protocol.FieldName]string{}}
	for _, f := range spec.Fields {
		less.Fields = append(less.Fields, protocol.FieldName(f))
	}
	for f, level := range spec.Coarse {
		less.Coarse[protocol.FieldName(f)] = level
	}
	if len(spec.Price) > 0 {
		prices := map[protocol.FieldName]int64{}
		for f, minor := range spec.Price {
			if minor < 0 || minor > protocol.MaxMinor {
				return desk.Request{}, fmt.Errorf("field %.48q at the price %d: %w", f, minor, fault.Malformed)
			}
			prices[protocol.FieldName(f)] = minor
		}
		return d.after(ctx, g, d.Market.Counter(ctx, g, less, prices))
	}
	return d.after(ctx, g, d.Market.Allow(ctx, g, less))
}

// Refuse implements desk.Requests.
func (d Requests) Refuse(ctx context.Context, id, reason string) (desk.Request, error) {
	if len(reason) > protocol.MaxText {
		return desk.Request{}, fmt.Errorf("a reason of %d bytes, at most %d: %w", len(reason), protocol.MaxText, fault.Malformed)
	}
	g, err := d.grantOf(ctx, id)
	if err != nil {
		return desk.Request{}, err
	}
	return d.after(ctx, g, d.Market.Refuse(ctx, g, reason))
}

// Snooze implements desk.Requests.
func (d Requests) Snooze(ctx context.Context, id string, spec desk.SnoozeSpec) (desk.Request, error) {
	g, err := d.grantOf(ctx, id)
	if err != nil {
		return desk.Request{}, err
	}
	most := int64(market.MaxSnooze / time.Second)
	return d.after(ctx, g, d.Market.Snooze(ctx, g, time.Duration(min(max(spec.Seconds, 0), most+1))*time.Second))
}

// Consent implements desk.Consent.
type Consent struct {
	*Office
	Words func() []string // that conditions may use
}

// Get implements desk.Consent.
func (d Consent) Get(ctx context.Context) (desk.ConsentView, error) {
	v := desk.ConsentView{Credit: []desk.Money{}, Rules: []desk.ConsentRule{}, Blocked: []desk.BlockedVendor{}, Withheld: []desk.WithheldVendor{}, Words: d.Words(), Levels: terms.Levels()}
	list, err := d.Market.OwnRules(ctx)
	if err != nil {
		return v, err
	}
	for _, r := range list {
		v.Rules = append(v.Rules, showRule(r))
	}
	b, used, err := d.Market.Prompts(ctx)
	if err != nil {
		return v, err
	}
	v.Budget = desk.PromptBudget{Day: b.Day, Vendor: b.Vendor, Known: b.Known, Used: used}
	err = d.view(ctx, func(r kv.Reader) error {
		if v.Credit, err = credits(r); err != nil {
			return err
		}
		return records.EachAcquaintance(r, func(a records.Acquaintance) (bool, error) {
			if a.BlockedMS > 0 {
				v.Blocked = append(v.Blocked, desk.BlockedVendor{Vendor: a.Vendor.String(), Name: a.Name, Since: momentMS(a.BlockedMS)})
			}
			if len(a.Withheld) > 0 {
				v.Withheld = append(v.Withheld, showWithheld(a))
			}
			return true, nil
		})
	})
	slices.SortStableFunc(v.Withheld, func(a, b desk.WithheldVendor) int { return b.Since.Compare(a.Since) })
	v.Withheld = v.Withheld[:min(len(v.Withheld), maxWithheldShown)]
	return v, err
}

// maxWithheldShown bounds a view.
const maxWithheldShown = 500

func showWithheld(a records.Acquaintance) desk.WithheldVendor {
	v := desk.WithheldVendor{Vendor: a.Vendor.String(), Name: a.Name, Since: momentMS(a.Withheld[len(a.Withheld)-1].AtMS)}
	for _, w := range a.Withheld {
		v.Fields = append(v.Fields, cmp.Or(string(w.Field), "need"))
	}
	return v
}

func showRule(r terms.Rule) desk.ConsentRule {
	return desk.ConsentRule{Name: r.Name, Action: r.Action.String(), When: r.When, Hash: r.Hash().String()}
}

func readRule(r desk.ConsentRule) (terms.Rule, error) {
	action, err := terms.ParseAction(r.Action)
	return terms.Rule{Name: r.Name, Action: action, When: r.When}, err
}

// Add implements desk.Consent.
func (d Consent) Add(ctx context.Context, r desk.ConsentRule) (desk.ConsentRule, error) {
	rule, err := readRule(r)
	if err == nil {
		err = d.Market.AddRule(ctx, rule)
	}
	if err != nil {
		return desk.ConsentRule{}, err
	}
	return showRule(rule), nil
}

// Remove implements desk.Consent.
func (d Consent) Remove(ctx context.Context, name string) error {
	return d.Market.RemoveRule(ctx, name)
}

// Test implements desk.Consent.
func (d Consent) Test(ctx context.Context, more desk.ConsentRule) (v desk.ConsentTest, err error) {
	var one *terms.Rule
	if more.Name != "" {
		rule, err := readRule(more)
		if err != nil {
			return v, err
		}
		one = &rule
	}
	list, whole, err := d.Market.Replay(ctx, one)
	v = desk.ConsentTest{Items: []desk.Replay{}, Whole: whole}
	for _, r := range list {
		a, c := r.Agreement, r.Agreement.Terms.Consent
		item := desk.Replay{
			Request: a.Letters.Request.String(), VendorName: a.VendorName, State: stateOf(a), By: c.By, Rule: c.Rule,
			Would: "deny", WouldBy: r.Decision.Rule, Why: r.Decision.Why, Law: r.Decision.Law,
		}
		fields := make([]string, len(a.Terms.Asked))
		for i, f := range a.Terms.Asked {
			fields[i] = string(f.Name)
		}
		item.Fields = strings.Join(fields, ", ")
		if r.Decision.Grant {
			item.Would = "allow"
		} else if r.Decision.Ask {
			item.Would = "ask"
		}
		v.Items = append(v.Items, item)
	}
	return v, err
}

// Budget implements desk.Consent.
func (d Consent) Budget(ctx context.Context, b desk.PromptBudget) (desk.ConsentView, error) {
	if err := d.Market.SetBudget(ctx, market.Budget{Day: b.Day, Vendor: b.Vendor, Known: b.Known}); err != nil {
		return desk.ConsentView{}, err
	}
	return d.Get(ctx)
}

// Block implements desk.Consent.
func (d Consent) Block(ctx context.Context, vendor string, yes bool) (desk.ConsentView, error) {
	v, err := d.vendorOf(ctx, vendor)
	if err == nil {
		err = d.Market.Block(ctx, v, yes)
	}
	if err != nil {
		return desk.ConsentView{}, err
	}
	return d.Get(ctx)
}

// vendorOf finds a vendor by its id or name, or by a request or grant of it. A whole id
// needs no agreement: she may block whom she has only heard of.
func (d Consent) vendorOf(ctx context.Context, text string) (v protocol.VendorID, err error) {
	low := strings.ToLower(strings.TrimSpace(text))
	if low == "" {
		return v, fmt.Errorf("name a vendor, or a request of it: %w", fault.Malformed)
	}
	var found []protocol.VendorID
	var ids []string // of those that it is not
	add := func(id protocol.VendorID) {
		if !slices.Contains(found, id) && len(found) < 4 {
			found = append(found, id)
		}
	}
	err = d.view(ctx, func(r kv.Reader) error {
		if err := records.EachAcquaintance(r, func(a records.Acquaintance) (bool, error) {
			if strings.HasPrefix(a.Vendor.String(), low) {
				add(a.Vendor)
			}
			ids = closer(ids, a.Vendor.String(), low)
			return true, nil
		}); err != nil {
			return err
		}
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			ids = closer(ids, a.Vendor.String(), low)
			if a.Flow.Me == protocol.Customer && (strings.HasPrefix(a.Vendor.String(), low) || strings.EqualFold(a.VendorName, low) ||
				strings.HasPrefix(a.Letters.Request.String(), low) || strings.HasPrefix(a.ID.String(), low)) {
				add(a.Vendor)
			}
			return true, nil
		})
	})
	switch {
	case err != nil:
		return v, err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return v, fmt.Errorf("%s fits several vendors: %s: %w", text, list(hashes(found)), fault.Conflict)
	}
	if err := v.UnmarshalText([]byte(low)); err != nil {
		return v, unknown("vendor or request", text, ids)
	}
	return v, nil
}

func hashes(ids []protocol.VendorID) (out [][32]byte) {
	for _, id := range ids {
		out = append(out, id)
	}
	return out
}
