package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/answers"
)

// A command is one thing that a program asks of a node, with a key.
type command struct {
	name string
	of   *nodetest.Member
	do   func(ctx context.Context) error
}

// done tells whether a key was marked: a command that is marked with it as well is
// refused then, and has no effect.
func done(of *nodetest.Member, key string) (bool, error) {
	ctx := api.Carrying(context.Background(), answers.Request{Key: key, By: 2})
	probe := errors.New("nothing was marked")
	_, err := of.Consent().Budget(ctx, desk.PromptBudget{Day: 5, Vendor: 1, Known: 2})
	if err == nil {
		err = probe
	}
	if errors.Is(err, fault.Conflict) && strings.Contains(err.Error(), "done before") {
		return true, nil
	}
	if errors.Is(err, probe) {
		return false, nil
	}
	return false, err
}

// TestEveryCommandIsMarkedWithItsEffect: what a node was asked with a key is marked in
// the transaction of its effect, so that it is found after a crash before the answer.
// A command that was refused is not.
func TestEveryCommandIsMarkedWithItsEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		r := newRevokedWorld(t, w)
		if is, err := done(r.her, "never used"); is || err != nil {
			t.Fatalf("the check finds a mark that is none: %v", err)
		}
		for _, c := range r.commands() {
			if err := c.do(api.Carrying(context.Background(), answers.Request{Key: c.name, By: 1})); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			c.of.Stop()
			c.of.Start()
			if is, err := done(c.of, c.name); !is || err != nil {
				t.Errorf("%s is not marked: %v", c.name, err)
			}
			time.Sleep(10 * time.Second)
		}
		refused := api.Carrying(context.Background(), answers.Request{Key: "refused", By: 1})
		if _, err := r.her.Customer().Needs().End(refused, r.need.ID, desk.Withdraw); !errors.Is(err, fault.Conflict) {
			t.Errorf("withdrawn twice: %v", err)
		}
		if is, err := done(r.her, "refused"); is || err != nil {
			t.Errorf("what was refused is marked: %v", err)
		}
	})
}

// commands are those of both sides, each of which needs the ones before it.
func (r *revokedWorld) commands() []command {
	grant := func(vendor string) desk.Grant {
		for _, g := range r.her.Grants(desk.Query{Context: r.need.ID}) {
			if g.VendorName == vendor {
				return g
			}
		}
		return desk.Grant{}
	}
	couches, sofas := grant("couches"), grant("sofas")
	offer := r.her.Offers(desk.Query{Context: r.need.ID, Vendor: couches.Vendor})[0].ID
	type ctx = context.Context
	on := func(of *nodetest.Member, name string, do func(ctx) error) command { return command{name, of, do} }
	return []command{
		on(r.her, "create", func(c ctx) error {
			_, err := r.her.Customer().Needs().Create(c, desk.NeedSpec{Name: "a table", Category: "home.furniture"})
			return err
		}),
		on(r.her, "update", func(c ctx) error {
			_, err := r.her.Customer().Needs().Update(c, r.need.ID, desk.NeedSpec{Auto: true, Name: "a leather couch"})
			return err
		}),
		on(r.her, "renew", func(c ctx) error { _, err := r.her.Customer().Needs().End(c, r.need.ID, desk.Renew); return err }),
		on(r.her, "set", func(c ctx) error {
			_, err := r.her.Customer().Vault().Set(c, "contact.email", desk.Value("a@b.example"))
			return err
		}),
		on(r.her, "remove", func(c ctx) error { return r.her.Customer().Vault().Remove(c, "contact.email", 0) }),
		on(r.her, "rule", func(c ctx) error {
			_, err := r.her.Consent().Add(c, desk.ConsentRule{Name: "no-one", Action: "deny", When: "false"})
			return err
		}),
		on(r.her, "unrule", func(c ctx) error { return r.her.Consent().Remove(c, "no-one") }),
		on(r.her, "credit", func(c ctx) error {
			_, err := r.her.Consent().Credit(c, desk.Money{Minor: 100, Currency: "ZAR"})
			return err
		}),
		on(r.her, "give", func(c ctx) error {
			_, err := r.her.Customer().Grants().Give(c, desk.GiveSpec{Vendor: sofas.Vendor, Name: "my shop", Fields: []string{"contact.hours"}})
			return err
		}),
		on(r.her, "suspend", func(c ctx) error { _, err := r.her.Customer().Grants().Pause(c, sofas.ID, false, ""); return err }),
		on(r.her, "right", func(c ctx) error {
			_, err := r.her.Customer().Grants().Right(c, sofas.ID, desk.RightSpec{Exercise: "access"})
			return err
		}),
		on(r.revoked, "rules", func(c ctx) error {
			f, err := r.revoked.Vendor().Rules().Get(c)
			if err == nil {
				_, err = r.revoked.Vendor().Rules().Set(c, f)
			}
			return err
		}),
		on(r.revoked, "offer", func(c ctx) error {
			_, err := r.revoked.Customer().Offers().Make(c, desk.OfferSpec{Grant: couches.ID, Product: "2"})
			return err
		}),
		on(r.her, "accept", func(c ctx) error { _, err := r.her.Customer().Offers().Accept(c, offer, ""); return err }),
		on(r.her, "close", func(c ctx) error { _, err := r.her.Customer().Deals().Step(c, offer, "close", ""); return err }),
		on(r.her, "revoke", func(c ctx) error {
			_, err := r.her.Customer().Grants().Revoke(c, nil, desk.Query{Context: r.need.ID}, "")
			return err
		}),
		on(r.her, "block", func(c ctx) error { _, err := r.her.Consent().Block(c, sofas.Vendor, true); return err }),
		on(r.her, "withdraw", func(c ctx) error { _, err := r.her.Customer().Needs().End(c, r.need.ID, desk.Withdraw); return err }),
		on(r.revoked, "passport", func(c ctx) error {
			_, err := r.revoked.Vendor().Passports().Issue(c, desk.PassportSpec{Contact: "new@shop.example"})
			return err
		}),
	}
}

// TestARevocationCutOffIsDoneToItsEnd: of a revocation of all grants of a need one was
// kept when the node went down. Asked for again it ends the others, and answers with all.
func TestARevocationCutOffIsDoneToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		r := newRevokedWorld(t, w)
		all := r.her.Grants(desk.Query{Context: r.need.ID})
		before := time.Now()
		if _, err := r.her.Customer().Grants().Revoke(context.Background(), []string{all[0].ID}, desk.Query{}, ""); err != nil || len(all) != 2 {
			t.Fatal(all, err)
		}
		again := api.Carrying(context.Background(), answers.Request{Key: "k", By: 2, Since: before.UnixMilli()})
		for _, ids := range [][]string{nil, {all[0].ID, all[1].ID}} {
			list, err := r.her.Customer().Grants().Revoke(again, ids, desk.Query{Context: r.need.ID}, "")
			if err != nil || len(list) != 2 {
				t.Errorf("of 2 grants, asked for by %v: %d, %v", ids, len(list), err)
			}
		}
		if _, err := r.her.Customer().Grants().Revoke(context.Background(), []string{all[0].ID}, desk.Query{}, ""); !errors.Is(err, fault.Conflict) {
			t.Errorf("revoked again by another request: %v", err)
		}
	})
}
