package market

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// waits has the shop ask about a need that grants nothing by itself.
func (w *town) waits(fields ...protocol.FieldName) {
	w.Helper()
	need := w.wish(fields...)
	h := must(w.shop.Announcement(w.Context(), need))
	var ask []protocol.FieldAsk
	for _, f := range h.A().Fields {
		ask = append(ask, askField(f))
	}
	w.grant = must(w.shop.Ask(w.Context(), h, ask, h.A().Expires))
	w.settle()
	if a := w.her.agreement(w.grant); a.Flow.State != flow.Requested || a.Terms.Consent.PromptedMS == 0 {
		w.Fatalf("it does not wait: %s, %+v", a.Flow.State, a.Terms.Consent)
	}
}

func TestSheGrantsLess(t *testing.T) {
	in(t, func(w *town) {
		w.vaultRule("contact.email", vault.Change{Value: ptr("thandi@example.org")})
		w.waits("contact.email", "identity.name", "location.area")
		for name, less := range map[string]Less{
			"a field that was not asked for": {Fields: []protocol.FieldName{"contact.phone"}},
			"a level of a field left out":    {Fields: []protocol.FieldName{"identity.name"}, Coarse: map[protocol.FieldName]string{"contact.email": "domain"}},
			"a level that is not known":      {Coarse: map[protocol.FieldName]string{"contact.email": "vague"}},
			"a level that does not fit":      {Coarse: map[protocol.FieldName]string{"contact.email": "year"}},
		} {
			if err := w.her.Allow(w.Context(), w.grant, less); err == nil {
				w.Errorf("%s was granted", name)
			}
		}
		less := Less{Fields: []protocol.FieldName{"contact.email", "identity.name"}, Coarse: map[protocol.FieldName]string{"contact.email": "domain"}}
		w.ok(w.her.Allow(w.Context(), w.grant, less))
		w.settle()
		held := must(w.shop.held(w.grant))
		if len(held.Fields) != 2 || held.Fields[0].Value != "example.org" || held.Fields[1].Value != "Thandi" {
			w.Errorf("the shop holds %+v", held.Fields)
		}
		a, b := w.her.agreement(w.grant), w.shop.agreement(w.grant)
		if !a.Terms.Consent.Less || a.Terms.Consent.By != "person" || a.Terms.Consent.Rule != terms.HerWord.Rule() || b.Terms.Fields[0].Level != "domain" {
			w.Errorf("she has %+v, the shop %+v", a.Terms.Consent, b.Terms.Fields)
		}
		if err := w.her.Allow(w.Context(), w.grant, Less{}); !errors.Is(err, fault.Conflict) {
			w.Errorf("granted twice: %v", err)
		}
	})
}

func ptr[T any](v T) *T { return &v }

func TestAFieldThatIsAlwaysGivenIsGrantedByThatRule(t *testing.T) {
	for purpose, want := range map[protocol.Purpose]flow.AgreementState{protocol.PurposeOffer: flow.Disclosed, protocol.PurposeFulfil: flow.Requested} {
		in(t, func(w *town) {
			always := terms.FieldRule{Will: terms.Always, For: []protocol.Purpose{purpose}}
			w.vaultRule("location.area", vault.Change{Rule: &always})
			need := w.wish("location.area")
			h := must(w.shop.Announcement(w.Context(), need))
			w.grant = must(w.shop.Ask(w.Context(), h, []protocol.FieldAsk{askField(h.A().Fields[0])}, h.A().Expires))
			w.settle()
			a := w.her.agreement(w.grant)
			if a.Flow.State != want || want == flow.Disclosed && (a.Terms.Consent.Rule != terms.AlwaysRule.Name || a.Terms.Consent.Hash != terms.AlwaysRule.Hash()) {
				w.Errorf("always for %s: %s, %+v", purpose, a.Flow.State, a.Terms.Consent)
			}
		})
	}
}

// Special information is left to her, whatever her rules say, and she can grant it.
func TestNoRuleGrantsWhatIsSpecial(t *testing.T) {
	in(t, func(w *town) {
		w.ok(w.her.AddRule(w.Context(), terms.Rule{Name: "all", Action: terms.Allow, When: "true"}))
		need, marked := w.wish("health.allergy"), protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy"}}
		id, _ := w.guest(registers("health.allergy")).asks(w, need, marked, nil)
		if a := w.her.agreement(id); a.Flow.State != flow.Requested || a.Terms.Law != terms.SpecialIsHers.Law() {
			w.Errorf("%s under %q", a.Flow.State, a.Terms.Law)
		}
		w.vaultRule("location.area", vault.Change{Class: protocol.Special}) // her own class counts too
		id2, _ := w.guest(nil).asks(w, w.wish("location.area"), protocol.Particulars{}, nil)
		if a := w.her.agreement(id2); a.Flow.State != flow.Requested {
			w.Errorf("a field that is special to her: %s", a.Flow.State)
		}
		w.ok(w.her.Allow(w.Context(), id, Less{}))
		if a := w.her.agreement(id); a.Flow.State != flow.Granted || a.Terms.Consent.By != "person" {
			w.Errorf("she granted it: %s %+v", a.Flow.State, a.Terms.Consent)
		}
		_, opened := w.guest(nil).asks(w, w.wish("contact.email"), protocol.Particulars{}, nil) // the rule itself works
		var by string
		list := must(first(w.her.Replay(w.Context(), nil)))
		for _, r := range list {
			if len(r.Agreement.Terms.Asked) == 1 && r.Agreement.Terms.Asked[0].Name == "contact.email" {
				by = r.Agreement.Terms.Consent.Rule
			}
		}
		if !opened || by != "all" || len(list) != 3 {
			w.Errorf("%d requests; the ordinary one was decided by %q", len(list), by)
		}
	})
}

func first[A, B any](a A, _ B, err error) (A, error) { return a, err }

func TestAReplayChangesNothing(t *testing.T) {
	in(t, func(w *town) {
		w.waits("location.area")
		w.ok(w.her.Withdraw(w.Context(), w.her.agreement(w.grant).Context)) // a need that is over is judged as it stood
		before := w.her.kept()
		for when, want := range map[string]terms.Decision{
			"false":                        {Ask: true},
			`vendor.name == "Veld & Vine"`: {Grant: true},
		} {
			list, whole, err := w.her.Replay(w.Context(), &terms.Rule{Name: "tried", Action: terms.Allow, When: when})
			if err != nil || !whole || len(list) != 1 || list[0].Decision.Grant != want.Grant || list[0].Decision.Ask != want.Ask {
				w.Errorf("%s: %+v, %v", when, list, err)
			}
		}
		if _, _, err := w.her.Replay(w.Context(), &terms.Rule{Name: "tried", Action: terms.Allow, When: "vendr"}); !errors.Is(err, fault.Malformed) {
			w.Errorf("a rule that cannot be read: %v", err)
		}
		if len(w.her.kept()) != len(before) || w.her.agreement(w.grant).Flow.State != flow.Refused { // it ended with its need
			w.Error("something changed")
		}
	})
}

func TestRulesAreKeptAndForgotten(t *testing.T) {
	in(t, func(w *town) {
		ctx := w.Context()
		yes := terms.Rule{Name: "yes", Action: terms.Allow, When: "true"}
		w.ok(w.her.AddRule(ctx, yes))
		for name, r := range map[string]terms.Rule{
			"a name twice": yes, "a name of one that is built in": {Name: terms.OfferedRule.Name, Action: terms.Allow, When: "true"},
			"one that cannot be read": {Name: "x", Action: terms.Allow, When: "vendor.nmae"}, "no action": {Name: "x", When: "true"},
		} {
			if err := w.her.AddRule(ctx, r); err == nil {
				w.Errorf("%s was kept", name)
			}
		}
		if list := must(w.her.OwnRules(ctx)); len(list) != 1 || list[0] != yes {
			w.Errorf("rules %+v", list)
		}
		w.ok(w.her.RemoveRule(ctx, "yes"))
		if err := w.her.RemoveRule(ctx, "yes"); !errors.Is(err, fault.NotFound) {
			w.Errorf("forgotten twice: %v", err)
		}
		w.waits("location.area") // it decides nothing any more
	})
}

func TestASnoozeComesBackOnce(t *testing.T) {
	in(t, func(w *town) {
		w.waits("location.area")
		for _, d := range []time.Duration{0, time.Second, MaxSnooze + 1} {
			if err := w.her.Snooze(w.Context(), w.grant, d); !errors.Is(err, fault.Malformed) {
				w.Errorf("put off for %v: %v", d, err)
			}
		}
		told := func() (n int) {
			w.her.mu.Lock()
			defer w.her.mu.Unlock()
			for _, e := range w.her.events {
				if e == "request.waiting" {
					n++
				}
			}
			return n
		}
		w.ok(w.her.Snooze(w.Context(), w.grant, 3*time.Hour))
		time.Sleep(2 * time.Hour)
		if a := w.her.agreement(w.grant); told() != 1 || a.Terms.Consent.SnoozeMS == 0 {
			w.Errorf("told %d times while it was put off; %+v", told(), a.Terms.Consent)
		}
		time.Sleep(2 * time.Hour)
		if a := w.her.agreement(w.grant); told() != 2 || a.Terms.Consent.SnoozeMS != 0 {
			w.Errorf("told %d times when the time was over; %+v", told(), a.Terms.Consent)
		}
		time.Sleep(12 * time.Hour)
		if told() != 2 {
			w.Errorf("told %d times in all", told())
		}
		w.ok(w.her.Snooze(w.Context(), w.grant, time.Hour))
		w.ok(w.her.Refuse(w.Context(), w.grant, "")) // decided: nothing comes back
		time.Sleep(2 * time.Hour)
		if told() != 2 {
			w.Error("what was decided came back")
		}
	})
}

// A request that waits ends with its need, put off or not, with an answer that says why;
// its vendor may ask for the same under the next one. One that an earlier program left
// waiting ends when it would come back.
func TestWhatWaitsEndsWithItsNeed(t *testing.T) {
	refused := func(w *town, why string) {
		w.Helper()
		a := w.her.agreement(w.grant)
		if a.Flow.State != flow.Refused || a.Terms.Consent.Rule != terms.Withdrawn.Rule() || a.Terms.Why != why || a.Terms.Consent.SnoozeMS != 0 {
			w.Errorf("it is %s: %q, %+v", a.Flow.State, a.Terms.Why, a.Terms.Consent)
		}
		w.settle()
		if b := w.shop.agreement(w.grant); b.Flow.State != flow.Refused {
			w.Errorf("its vendor has it as %s", b.Flow.State)
		}
	}
	for _, snooze := range []bool{false, true} {
		in(t, func(w *town) {
			w.waits("location.area")
			if snooze {
				w.ok(w.her.Snooze(w.Context(), w.grant, 3*time.Hour))
			}
			w.ok(w.her.Withdraw(w.Context(), w.her.agreement(w.grant).Context))
			refused(w, "the need is withdrawn")
			time.Sleep(25 * time.Hour) // there is another prompt for this vendor
			refused(w, "the need is withdrawn")
			w.waits("location.area")
		})
	}
	in(t, func(w *town) {
		w.waits("location.area")
		w.ok(w.her.Snooze(w.Context(), w.grant, time.Hour))
		w.ok(w.her.Do(w.Context(), "left over", func(t *turn) error {
			c, err := records.GetContext(t, w.her.agreement(w.grant).Context)
			if err != nil {
				return err
			}
			c.Flow.State = flow.Withdrawn
			return t.putContext(c)
		}))
		time.Sleep(2 * time.Hour)
		refused(w, "the need is withdrawn")
	})
}

func TestABlockedVendorIsNotHeard(t *testing.T) {
	in(t, func(w *town) {
		g := w.guest(nil)
		id, _ := g.asks(w, w.need, protocol.Particulars{}, func(r *protocol.Request) { r.Fields = r.Fields[:1] })
		need := w.wish("location.area")
		waits, _ := g.asks(w, need, protocol.Particulars{}, nil)
		w.ok(w.her.Block(w.Context(), g.id, true))
		if w.her.agreement(waits).Flow.State != flow.Refused {
			w.Error("what waited is not refused")
		}
		if a := w.her.agreement(id); a.Flow.State != flow.Granted {
			w.Errorf("what was granted before is %s: revoking is another word", a.Flow.State)
		}
		if _, opened := g.asks(w, w.wish("location.area"), protocol.Particulars{}, nil); opened {
			w.Error("a blocked vendor's request was taken")
		}
		w.ok(w.her.Block(w.Context(), g.id, false))
		if _, opened := g.asks(w, w.wish("location.area"), protocol.Particulars{}, nil); !opened {
			w.Error("it is not heard again")
		}
	})
}

// A counter opens a way for one more request, which goes under its capability.
func TestACounterOpensAWay(t *testing.T) {
	in(t, func(w *town) {
		w.waits("contact.email", "location.area")
		if err := w.her.Counter(w.Context(), w.grant, Less{}, map[protocol.FieldName]int64{"contact.phone": 1}); !errors.Is(err, fault.Malformed) {
			w.Errorf("a price of a field that was not asked for: %v", err)
		}
		w.ok(w.her.Counter(w.Context(), w.grant, Less{Days: 1}, map[protocol.FieldName]int64{"contact.email": 500}))
		w.settle()
		old := w.grant
		a := w.shop.agreement(old)
		if a.Flow.State != flow.Countered || len(a.Terms.Fields) != 2 || a.Terms.Fields[0].Price.Minor != 500 || w.her.agreement(old).Flow.State != flow.Countered {
			w.Fatalf("the shop has %s %+v", a.Flow.State, a.Terms.Fields)
		}
		h := must(w.shop.Announcement(w.Context(), a.Context))
		w.grant = must(w.shop.Ask(w.Context(), h, []protocol.FieldAsk{askField(protocol.FieldOnOffer{Name: "location.area"})}, h.A().Expires))
		it := w.until(protocol.KindRequest)
		if it.Cap.Box != h.A().Mailbox || it.First.Vendor != (protocol.Hash{}) {
			w.Errorf("it goes %+v", it.Cap)
		}
		w.settle()
		if s, by := w.shop.agreement(w.grant).Flow.State, w.her.agreement(w.grant).Terms.Consent.Rule; s != flow.Disclosed || by != terms.CounterRule.Name {
			w.Errorf("the second request, which asks for what she would grant, is %s by %s", s, by)
		}
		if _, err := w.shop.Ask(w.Context(), h, nil, h.A().Expires); !errors.Is(err, fault.Conflict) || !errors.Is(err, fault.Denied) {
			w.Errorf("a third request: %v", err)
		}
	})
}

// A vendor's node does not send what it may not ask.
func TestAnUnlawfulRequestIsNotSent(t *testing.T) {
	in(t, func(w *town) {
		h := must(w.shop.Announcement(w.Context(), w.need))
		for name, f := range map[string]protocol.FieldAsk{
			"not registered": askField(protocol.FieldOnOffer{Name: "identity.id-number"}),
			"special":        askField(protocol.FieldOnOffer{Name: "health.allergy"}),
			"kept for ever":  {Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue},
		} {
			if _, err := w.shop.Ask(w.Context(), h, []protocol.FieldAsk{f}, h.A().Expires); !errors.Is(err, fault.Denied) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if list := w.shop.posted(protocol.KindRequest); len(list) > 0 {
			w.Errorf("%d requests were sent", len(list))
		}
		w.ok(w.shop.SetRules(w.Context(), Follow{Ask: true, AskAlso: []protocol.FieldName{"identity.id-number"}}))
		if list := w.shop.posted(protocol.KindRequest); len(list) > 0 {
			w.Errorf("%d requests were sent by itself", len(list))
		}
		w.ok(w.shop.SetRules(w.Context(), Follow{Ask: true}))
		w.settle()
		if _, err := records.Asked(reader(w.shop), w.need); err != nil {
			w.Errorf("a lawful one was not sent: %v", err)
		}
	})
}

// Her decisions are there after a restart, and so is what was asked before.
func TestDecisionsOutliveARestart(t *testing.T) {
	in(t, func(w *town) {
		g, need := w.guest(nil), w.wish("location.area")
		id, _ := g.asks(w, need, protocol.Particulars{}, nil)
		w.ok(w.her.AddRule(w.Context(), terms.Rule{Name: "no", Action: terms.DenyAll, When: "need.region == 'ZA-GP'"}))
		w.ok(w.her.Refuse(w.Context(), id, ""))
		again := New(w.her.cfg)
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		go again.Run(ctx)
		old := w.her.Market
		w.her.Market = again
		defer func() { w.her.Market = old }()
		g.rotate(w)
		w.dropped(g, need)
		if id, _ := w.guest(nil).asks(w, need, protocol.Particulars{}, nil); w.her.agreement(id).Terms.Consent.Rule != "no" {
			w.Error("her rule is forgotten")
		}
	})
}
