package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/demo/network"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
)

// A relation is what a customer gave to a practice of her choice, with no need behind it.
type relation struct {
	customer, practice *process.Process
	grant              string
	revoked            time.Time
}

// standing gives the practice a field, changes it, and sees that the change goes out.
// Then the practice is gone, and the grant is revoked: its deadline runs while the show
// goes on. Where somebody else misbehaves the practice stays, and keeps its promise.
func (sh *show) standing(ctx context.Context) error {
	r := &relation{customer: sh.Of(process.Customer)[0], practice: sh.Of(process.Practice)[0]}
	desks := r.customer.API.Customer()
	for _, who := range []int{0, 1} { // where she lives, and where she has moved
		if _, err := desks.Vault().Set(ctx, input.Address, desk.Value(input.Value(input.Address, who))); err != nil {
			return fmt.Errorf("%s: vault: %w", r.customer, err)
		}
		if who == 0 {
			g, err := desks.Grants().Give(ctx, desk.GiveSpec{Vendor: r.practice.Self.Vendor, Name: "my dentist", Fields: []string{input.Address}, Days: 730})
			if err != nil {
				return fmt.Errorf("%s could not give %s access: %w", r.customer, r.practice, err)
			}
			r.grant = g.ID
		}
		if err := r.await(ctx, "have the address", func(g desk.Grant) bool { return g.State == "disclosed" && g.Updates == uint64(who) }); err != nil {
			return err
		}
	}
	if err := r.holding(ctx); err != nil {
		return err
	}
	sh.relation = r
	if sh.sabotage == "" {
		if err := r.practice.Stop(); err != nil {
			return err
		}
	}
	r.revoked = time.Now()
	if _, err := desks.Grants().Revoke(ctx, []string{r.grant}, desk.Query{}, "I have moved away"); err != nil {
		return fmt.Errorf("%s: revoke: %w", r.customer, err)
	}
	sh.story.standing(r, sh.sabotage == "")
	return nil
}

// holding waits until the practice has acknowledged what it holds, so that nothing else
// is under way when it goes.
func (r *relation) holding(ctx context.Context) error {
	return process.Poll(ctx, dealWait, r.practice.String()+" should hold the address", func(ctx context.Context) (bool, error) {
		list, err := figures.Pages(ctx, r.practice.API.Vendor().Held().List, desk.Query{})
		return len(list) == 1 && slices.Contains(list[0].Fields, input.Address), err
	})
}

// await waits for what becomes of a relation.
func (r *relation) await(ctx context.Context, what string, so func(desk.Grant) bool) error {
	return process.Poll(ctx, dealWait, fmt.Sprintf("%s should %s", r.practice, what), func(ctx context.Context) (bool, error) {
		g, err := r.customer.API.Customer().Grants().Get(ctx, r.grant)
		return err == nil && so(g), err
	})
}

// lapses waits for the deadline that the practice misses, and sees that it answers for
// it when it comes back.
func (sh *show) lapses(ctx context.Context) error {
	r := sh.relation
	if sh.sabotage == "" {
		sh.story.Progress("waiting for the deadline that %s misses", r.practice.Name)
		due := time.Until(r.revoked) + time.Duration(network.DeletionDue)*time.Second
		if err := process.Poll(ctx, max(due, 0)+dealWait, "the deadline of "+r.practice.String()+" should pass", func(ctx context.Context) (bool, error) {
			g, err := r.customer.API.Customer().Grants().Get(ctx, r.grant)
			return len(g.Lapses) == 1, err
		}); err != nil {
			return err
		}
		if err := sh.Again(ctx, r.practice); err != nil {
			return err
		}
	}
	if err := r.await(ctx, "delete what it held", func(g desk.Grant) bool { return g.State == "deleted" }); err != nil {
		return err
	}
	g, err := r.customer.API.Customer().Grants().Get(ctx, r.grant)
	if err != nil {
		return fmt.Errorf("%s: %w", r.customer, err)
	}
	sh.story.lapses(r, g)
	return nil
}

// ruleName names the rule by which one vendor is granted.
const ruleName = "my-shop"

// interests are what one customer announces, with the fields that she would tell.
var interests = desk.NeedSpec{
	Name: "things made of wood, now and then", Category: "home.furniture", Interest: true,
	Fields: map[string]int64{"location.area": 0, "preference.delivery": 0},
}

// decisions announces an interest that grants nothing by itself, and answers those who
// ask in three ways: by a rule, with less, and not at all.
func (sh *show) decisions(ctx context.Context) error {
	customers, vendors := sh.Of(process.Customer), sh.Of(process.Vendor)
	her := customers[min(1, len(customers)-1)]
	desks := her.API.Customer()
	rule := desk.ConsentRule{Name: ruleName, Action: "allow", When: fmt.Sprintf("need.kind == 'interest' && vendor.id == '%s'", vendors[0].Self.Vendor)}
	if _, err := her.API.Consent().Add(ctx, rule); err != nil {
		return fmt.Errorf("%s: rule: %w", her, err)
	}
	for f := range interests.Fields {
		if _, err := desks.Vault().Set(ctx, f, desk.Value(input.Value(f, 1))); err != nil {
			return fmt.Errorf("%s: vault: %w", her, err)
		}
	}
	interest, err := desks.Needs().Create(ctx, interests)
	if err != nil {
		return fmt.Errorf("%s could not announce an interest: %w", her, err)
	}
	var asked []desk.Request
	if err := process.Poll(ctx, needWait, fmt.Sprintf("all vendors should ask %s", her), func(ctx context.Context) (bool, error) {
		asked, err = figures.Pages(ctx, desks.Requests().List, desk.Query{Context: interest.ID})
		return len(asked) == len(vendors), err
	}); err != nil {
		return err
	}
	for _, q := range asked {
		if err := decide(ctx, her, q, slices.IndexFunc(vendors, func(v *process.Process) bool { return v.Self.Vendor == q.Vendor })); err != nil {
			return fmt.Errorf("%s could not decide on the request of %s: %w", her, q.VendorName, err)
		}
	}
	if err := process.Poll(ctx, needWait, fmt.Sprintf("what %s decided should be done", her), func(ctx context.Context) (bool, error) {
		asked, err = figures.Pages(ctx, desks.Requests().List, desk.Query{Context: interest.ID})
		return !slices.ContainsFunc(asked, func(q desk.Request) bool { return q.State != "disclosed" && q.State != "refused" }), err
	}); err != nil {
		return err
	}
	sh.story.decisions(her, rule, asked)
	return nil
}

// decide answers the request of the i-th vendor: the rule has granted the first.
func decide(ctx context.Context, her *process.Process, q desk.Request, i int) (err error) {
	switch i % 3 {
	case 1:
		_, err = her.API.Customer().Requests().Grant(ctx, q.ID, desk.LessSpec{Fields: []string{"location.area"}, Days: 3})
	case 2:
		_, err = her.API.Customer().Requests().Refuse(ctx, q.ID, "not from a shop that I do not know")
	default:
		if i > 0 {
			_, err = her.API.Customer().Requests().Grant(ctx, q.ID, desk.LessSpec{})
		}
	}
	return err
}

func (s *Story) standing(r *relation, gone bool) {
	s.head("1. Access without a need: she chooses who has it")
	s.say("  %s gives %s her address, for two years. She moves and changes it in her vault,", r.customer.Name, r.practice.Name)
	s.say("  once: her node sends the new one to whoever was granted it, and to nobody else.")
	s.say("  Now she takes it back. The vendor owes a signed deletion within %d seconds in this network.", network.DeletionDue)
	if gone {
		s.say("  But its node has just been switched off. What comes of that is told at the end.")
	}
}

func (s *Story) lapses(r *relation, g desk.Grant) {
	s.head("10. What became of the address")
	if len(g.Lapses) == 0 {
		s.say("  %s was told that it may not keep it.", r.practice.Name)
	}
	for _, l := range g.Lapses {
		s.say("  A broken promise of %s stands in %s's ledger, with its proof:", r.practice.Name, r.customer.Name)
		s.say("    %s", input.Clean(l))
	}
	now := "It"
	if len(g.Lapses) > 0 {
		now = "It was switched on again, and"
	}
	s.say("  %s has deleted and signed for: %s.", now, input.Clean(strings.Join(g.Deleted, ", ")))
}

func (s *Story) decisions(her *process.Process, rule desk.ConsentRule, asked []desk.Request) {
	s.head("8. What no rule decides waits for her")
	s.say("  %s announces an interest that grants nothing by itself. One rule of hers allows a shop that", her.Name)
	s.say("  she knows: %s", rule.When[:min(len(rule.When), 68)]+"…")
	for _, q := range asked {
		switch {
		case q.State == "refused":
			s.say("  %s: refused, %s (%s).", q.VendorName, input.Clean(q.Why), input.Clean(q.Law))
		case q.By == "rule":
			s.say("  %s: granted by her rule %s; the ledger names it.", q.VendorName, q.Rule)
		case q.Less:
			s.say("  %s: granted less than it asked: location.area alone, for three days.", q.VendorName)
		default:
			s.say("  %s: granted by herself.", q.VendorName)
		}
	}
}
