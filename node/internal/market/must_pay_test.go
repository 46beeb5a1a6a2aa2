package market

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

func rand(minor int64) protocol.Money { return protocol.Money{Minor: minor, Currency: "ZAR"} }

// costs has the shop ask for one field at no price, her answer that it costs so much, and
// the shop ask again at that price, by hand. The second request is on its way.
func (w *town) costs(minor int64) {
	w.Helper()
	w.ok(w.her.SetBudget(w.Context(), Budget{Day: 9, Vendor: 9}))
	w.waits("location.area")
	w.ok(w.her.Counter(w.Context(), w.grant, Less{}, map[protocol.FieldName]int64{"location.area": minor}))
	w.settle()
	w.asksFor(w.shop.agreement(w.grant).Context, rand(minor))
}

// asksFor has the shop ask for the one field of a need at a price, by hand.
func (w *town) asksFor(need protocol.ContextID, price protocol.Money) {
	w.Helper()
	h := must(w.shop.Announcement(w.Context(), need))
	ask := askField(h.A().Fields[0])
	ask.Price = price
	w.grant = must(w.shop.Ask(w.Context(), h, []protocol.FieldAsk{ask}, h.A().Expires))
}

// forged makes a Receipt like the shop's own, but for a change. Its voucher stays as it was.
func (w *town) forged(change func(*protocol.Receipt)) []byte {
	w.Helper()
	r := *message[*protocol.Receipt](w.shop, w.shop.agreement(w.grant).Letters.Receipt)
	r.ID = wire.NewID()
	change(&r)
	a := w.her.agreement(w.grant)
	box := key.FromSeed[key.Mailbox](a.Mine.Box.Secret()).Public()
	return sealed(key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()).Public(), seal.Duty, w.her.cfg.Net, box, sign(w.shop.signer(), &r))
}

// voucher makes one like the shop's own, but for a change, signed with a key.
func (w *town) voucher(k key.Private[key.Operational], change func(*protocol.Voucher)) []byte {
	w.Helper()
	r := message[*protocol.Receipt](w.shop, w.shop.agreement(w.grant).Letters.Receipt)
	v := *must(wire.As[*protocol.Voucher](must(wire.Open(r.Payment.Proof))))
	change(&v)
	return sign(k, &v)
}

// refused gives a side a letter that it must not take; what it notes about it is its own.
func (s *side) refused(box key.MailboxKey, raw []byte) {
	s.t.Helper()
	if opened, err := s.Letter(context.Background(), box, raw); opened || err != nil {
		s.t.Errorf("it is taken: %v, %v", opened, err)
	}
}

// last is what the latest ledger entry of a kind says.
func (s *side) last(kind string) (body map[string]string) {
	s.t.Helper()
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		list, err := s.cfg.Stores.Ledger.List(r, 0, 500, kind)
		if err != nil || len(list) == 0 {
			return err
		}
		return jsonUnmarshal(list[len(list)-1].Body, &body)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

// worthless are Receipts for a priced grant that pay it not, or otherwise than was agreed.
var worthless = map[string]func(*town) []byte{
	"that pays nothing": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) { r.Payment = protocol.Payment{Rail: protocol.RailNone} })
	},
	"with a made-up proof": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) { r.Payment.Proof = []byte("IOU") })
	},
	"with the grant for a proof": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) { r.Payment.Proof = w.her.envelope(r.Re)[:protocol.MaxProof] })
	},
	"of less": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Amount.Minor--
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Amount.Minor-- })
		})
	},
	"of more": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Amount.Minor++
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Amount.Minor++ })
		})
	},
	"with a voucher of less": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Amount.Minor-- })
		})
	},
	"with a voucher in another currency": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Amount.Currency = "ZMW" })
		})
	},
	"with a voucher for another grant": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Grant = protocol.Hash{77} })
		})
	},
	"with a voucher for another letter": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Re = protocol.Hash{77} })
		})
	},
	"with a voucher to somebody else": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.To = protocol.Hash{77} })
		})
	},
	"with a voucher of another network": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Net = protocol.Hash{77} })
		})
	},
	"with a voucher that ends before the grant": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(w.shop.signer(), func(v *protocol.Voucher) { v.Expires = w.her.agreement(w.grant).Terms.End - 1 })
		})
	},
	"with a voucher of a stranger's": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = w.voucher(key.Generate[key.Operational](), func(*protocol.Voucher) {})
		})
	},
	"with a voucher that was given before": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = message[*protocol.Receipt](w.shop, w.shop.agreement(w.before).Letters.Receipt).Payment.Proof
		})
	},
	"with a bit of the voucher flipped": func(w *town) []byte {
		return w.forged(func(r *protocol.Receipt) {
			r.Payment.Proof = slices.Clone(r.Payment.Proof)
			r.Payment.Proof[len(r.Payment.Proof)-1] ^= 1
		})
	},
}

// gullible takes any payment for the right one: the planted violation.
type gullible struct{ Rails }

func (gullible) Verify(_, _ wire.Signed) (protocol.Hash, error) { return protocol.Hash{}, nil }

// owing brings a town to where the shop has paid for one grant, has been granted another, and
// its second Receipt is still on its way.
func (w *town) owing() (box key.MailboxKey) {
	w.Helper()
	w.costs(500)
	w.settle()
	if a := w.her.agreement(w.grant); a.Flow.State != flow.Disclosed || !a.Paying.Booked.Due {
		w.Fatalf("the first is %s, %+v", a.Flow.State, a.Paying)
	}
	w.before = w.grant
	w.costs(700)
	return w.until(protocol.KindReceipt).Box
}

// disclosures counts what has left for the shop under the grant.
func (w *town) disclosures() (n int) {
	for _, it := range w.her.posted(protocol.KindDisclosure) {
		if it.Grant == w.grant {
			n++
		}
	}
	return n
}

// TestMust_no_pay_no_key: of a grant that costs something nothing is disclosed before a
// payment that is bound to it, by a voucher of exactly the price, stands in the Receipt.
func TestMust_no_pay_no_key(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(worthless)) {
		in(t, func(w *town) {
			box := w.owing()
			raw := worthless[name](w)
			if raw == nil {
				t.Fatalf("a receipt %s cannot be made", name)
			}
			w.her.cfg.Rails = gullible{w.her.cfg.Rails}
			_, _ = w.her.Letter(w.Context(), box, raw)
			if w.disclosures() == 0 {
				t.Fatalf("with the check off, a receipt %s brings nothing, and the test proves nothing", name)
			}
		})
	}
	in(t, func(w *town) {
		box := w.owing()
		real := w.until(protocol.KindReceipt)
		for name, forge := range worthless {
			w.her.refused(box, forge(w))
			if a := w.her.agreement(w.grant); w.disclosures() > 0 || a.Flow.State != flow.Granted || a.Leases > 0 || a.Paying.Booked.Due {
				t.Errorf("a receipt %s: the grant is %s, %d disclosures, %+v", name, a.Flow.State, w.disclosures(), a.Paying)
			}
		}
		refusals := 0
		for _, kind := range w.her.entries() {
			if kind == "payment.refused" {
				refusals++
			}
		}
		said := w.her.last("payment.refused")
		if refusals != 1 || said["rule"] != terms.Unpaid.Rule() || said["law"] != terms.Unpaid.Law() || said["why"] == "" || said["grant"] != w.grant.String() {
			t.Errorf("it is noted %d times, and says %v", refusals, said)
		}
		w.her.accepts(real) // none of them stands in the right one's way
		if n := w.disclosures(); n != 1 {
			t.Errorf("%d disclosures for the right one", n)
		}
		kinds := w.her.entries()
		taken, given := lastIndex(kinds, "voucher.taken"), lastIndex(kinds, "disclosure.sent")
		if taken < 0 || taken > given || w.her.last("voucher.taken")["amount"] != "ZAR 7.00" {
			t.Errorf("the ledger has the voucher at %d, the disclosure at %d", taken, given)
		}
	})
	t.Logf("%d receipts that do not pay as was agreed: 0 disclosures; with the check off, %d", len(worthless), len(worthless))
}

func lastIndex(list []string, s string) int {
	for i, x := range slices.Backward(list) {
		if x == s {
			return i
		}
	}
	return -1
}

// What one vendor may owe her is hers to say, over all her needs together; what goes beyond
// is not granted, by no rule and by no mistake.
func TestWhatAVendorMayOweIsCapped(t *testing.T) {
	in(t, func(w *town) {
		ctx := w.Context()
		w.ok(w.her.AddRule(ctx, terms.Rule{Name: "yes", Action: terms.Allow, When: "price.minor >= 100"}))
		asks := func(minor int64) flow.AgreementState {
			w.asksFor(w.wish("location.area"), rand(minor))
			w.settle()
			return w.her.agreement(w.grant).Flow.State
		}
		if s := asks(5001); s != flow.Refused || w.shop.agreement(w.grant).Terms.Law != terms.OverCredit.Law() {
			t.Errorf("more than any vendor may owe: %s, the shop is told %q", s, w.shop.agreement(w.grant).Terms.Law)
		}
		if s := asks(3000); s != flow.Disclosed {
			t.Fatalf("within it: %s", s)
		}
		first := w.grant
		if s := asks(2001); s != flow.Requested {
			t.Errorf("beyond what is left: %s", s)
		}
		a := w.her.agreement(w.grant)
		if a.Terms.Consent.Rule != terms.OverCredit.Rule() || !strings.Contains(a.Terms.Why, "ZAR 30.00") || !strings.Contains(a.Terms.Why, "ZAR 50.00") {
			t.Errorf("she is told %q by %q", a.Terms.Why, a.Terms.Consent.Rule)
		}
		if s := w.shop.agreement(w.grant); s.Flow.State != flow.Requested || s.Terms.Why != "" {
			t.Errorf("the shop learns that she is a customer that it owes: %s %q", s.Flow.State, s.Terms.Why)
		}
		for name, err := range map[string]error{
			"granted by hand": w.her.Allow(ctx, w.grant, Less{}),
			"countered":       w.her.Counter(ctx, w.grant, Less{}, map[protocol.FieldName]int64{"location.area": 2500}),
		} {
			if err == nil || !strings.Contains(err.Error(), terms.OverCredit.Rule()) {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.ok(w.her.Settle(ctx, first, "by bank transfer"))
		w.ok(w.her.Allow(ctx, w.grant, Less{})) // there is room again
		w.settle()
		if s := w.her.agreement(w.grant).Flow.State; s != flow.Disclosed {
			t.Errorf("after settling: %s", s)
		}
		w.ok(w.her.SetCredit(ctx, rand(0)))
		if s := asks(100); s != flow.Refused {
			t.Errorf("nobody may owe her anything: %s", s)
		}
		if s := asks(0); s != flow.Requested {
			t.Errorf("and what is free of charge: %s", s)
		}
	})
}

// A vendor's node meets a counter by itself where its owner's rules pay the price, and as
// long as what it owes in all is within what its owner said.
func TestAVendorMeetsACounterByItself(t *testing.T) {
	in(t, func(w *town) {
		ctx := w.Context()
		w.ok(w.her.SetBudget(ctx, Budget{Day: 9, Vendor: 9}))
		w.ok(w.shop.SetRules(ctx, Follow{Ask: true, Pay: rand(500), Owe: rand(900)}))
		w.settle()
		counters := func(minor int64) (met bool) {
			need := w.wish("location.area")
			waiting, _ := w.her.waitingOf()
			if len(waiting) != 1 || waiting[0].Context != need {
				w.Fatalf("%d requests wait", len(waiting))
			}
			w.ok(w.her.Counter(ctx, waiting[0].ID, Less{}, map[protocol.FieldName]int64{"location.area": minor}))
			w.settle()
			latest := must(records.GetWith(reader(w.her), need, waiting[0].Vendor))
			return latest.ID != waiting[0].ID && latest.Flow.State == flow.Disclosed && latest.Terms.Consent.Rule == terms.CounterRule.Name
		}
		if !counters(500) {
			t.Error("what its rules pay is not met")
		}
		if counters(501) {
			t.Error("more than its rules pay is met")
		}
		if !counters(400) {
			t.Error("what is left of all that it may owe is not met")
		}
		if counters(1) {
			t.Error("more than it may owe in all is met")
		}
		owes := must(records.GetAccount(reader(w.shop), protocol.Vendor, must(w.shop.Vendor(ctx)).ID))
		if s := owes.Sum("ZAR"); s.Owed != 900 || s.Promised != 0 || s.Grants != 2 {
			t.Errorf("the shop owes %+v", s)
		}
		w.ok(w.shop.SetRules(ctx, Follow{Ask: true})) // pays nothing
		if counters(1) {
			t.Error("without a price in its rules it pays")
		}
	})
}

// What has a floor is asked for where the vendor's rules pay it, and left out where not.
func TestAVendorAsksForWhatItPays(t *testing.T) {
	for pay, want := range map[int64][]protocol.FieldName{0: {"contact.email"}, 199: {"contact.email"}, 200: {"contact.email", "location.area"}} {
		in(t, func(w *town) {
			need := must(w.her.Announce(w.Context(), Need{
				Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Life: protocol.Day, Auto: true,
				Fields: []protocol.FieldOnOffer{{Name: "contact.email"}, {Name: "location.area", Floor: rand(200)}},
				Demand: protocol.Demand{Name: "a chair", Currency: "ZAR"},
			}))
			dear := must(w.her.Announce(w.Context(), Need{
				Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Life: protocol.Day, Auto: true,
				Fields: []protocol.FieldOnOffer{{Name: "location.area", Floor: rand(500)}}, Demand: protocol.Demand{Name: "a lamp", Currency: "ZAR"},
			}))
			w.settle()
			w.ok(w.shop.SetRules(w.Context(), Follow{Ask: true, Pay: rand(pay)}))
			w.settle()
			a := must(records.GetWith(reader(w.her), need, must(w.shop.Vendor(w.Context())).ID))
			var got []protocol.FieldName
			for _, f := range a.Terms.Fields {
				got = append(got, f.Name)
			}
			if a.Flow.State != flow.Disclosed || !slices.Equal(got, want) || a.Paying.Booked.Due != (pay >= 200) {
				t.Errorf("paying %d it is %s with %v, %+v", pay, a.Flow.State, got, a.Paying)
			}
			if _, err := records.Asked(reader(w.shop), dear); !errors.Is(err, fault.NotFound) {
				t.Errorf("paying %d it asks for what it does not pay: %v", pay, err)
			}
		})
	}
}

// Many announcements that are not asked about stand in the way of none that is.
func TestCatchingUpEnds(t *testing.T) {
	in(t, func(w *town) {
		for range 3 * askPerTurn {
			must(w.her.Announce(w.Context(), Need{
				Reason: protocol.ContextNeed, Category: "travel.flights", Region: "ZA", Life: protocol.Day, Demand: protocol.Demand{Name: "away", Currency: "ZAR"},
			}))
		}
		w.settle()
		w.ok(w.shop.SetRules(w.Context(), Follow{Ask: true, Sectors: []string{"home"}}))
		w.settle() // a loop that goes on for ever never lets time pass
		if _, err := records.Asked(reader(w.shop), w.need); err != nil {
			t.Errorf("the one of its sector was not asked for: %v", err)
		}
	})
}

// What is paid for is given as it was asked for.
func TestACoarserValueForTheSamePriceIsACounter(t *testing.T) {
	in(t, func(w *town) {
		w.asksFor(w.wish("location.area"), rand(500))
		w.settle()
		coarse := Less{Coarse: map[protocol.FieldName]string{"location.area": "initials"}}
		if err := w.her.Allow(w.Context(), w.grant, coarse); !errors.Is(err, fault.Conflict) {
			t.Errorf("granted: %v", err)
		}
		w.ok(w.her.Counter(w.Context(), w.grant, coarse, map[protocol.FieldName]int64{"location.area": 100}))
		w.settle()
		if s := w.shop.agreement(w.grant).Flow.State; s != flow.Countered {
			t.Errorf("it is %s", s)
		}
	})
}

// A vendor that asked before what she answered is dearer is refused at a lower price.
func TestACounterIsAFloor(t *testing.T) {
	in(t, func(w *town) {
		w.waits("location.area")
		w.ok(w.her.Counter(w.Context(), w.grant, Less{}, map[protocol.FieldName]int64{"location.area": 500}))
		w.settle()
		w.asksFor(w.shop.agreement(w.grant).Context, rand(499))
		w.settle()
		a := w.shop.agreement(w.grant)
		if a.Flow.State != flow.Refused || a.Terms.Law != terms.TooCheap.Law() || !strings.Contains(a.Terms.Why, "ZAR 5.00") {
			t.Errorf("%s: %q under %q", a.Flow.State, a.Terms.Why, a.Terms.Law)
		}
	})
}

// Nothing is owed for a grant that ended before anything was disclosed; and what was, is
// owed whatever becomes of the grant.
func TestWhatARevocationLeavesOwed(t *testing.T) {
	sum := func(s *side, me protocol.Side, v protocol.VendorID) records.Sum {
		acc := must(records.GetAccount(reader(s), me, v))
		return acc.Sum("ZAR")
	}
	in(t, func(w *town) {
		v := must(w.shop.Vendor(w.Context())).ID
		w.costs(500)
		if s := sum(w.shop, protocol.Vendor, v); s.Promised != 500 {
			t.Errorf("asked: the shop has promised %+v", s)
		}
		it := w.until(protocol.KindReceipt)
		if s := sum(w.her, protocol.Customer, v); s.Promised != 500 || s.Owed != 0 {
			t.Errorf("granted: she has %+v", s)
		}
		w.ok(w.her.Revoke(w.Context(), []protocol.GrantID{w.grant}, "never mind"))
		w.her.accepts(it) // they cross
		w.settle()
		if a := w.her.agreement(w.grant); a.Leases != 0 || a.Flow.State != flow.Deleted {
			t.Errorf("with her it is %s after %d disclosures", a.Flow.State, a.Leases)
		}
		if h, s := sum(w.her, protocol.Customer, v), sum(w.shop, protocol.Vendor, v); h.Grants+s.Grants != 0 {
			t.Errorf("nothing was given, and she has %+v, the shop %+v", h, s)
		}
		if err := w.her.Settle(w.Context(), w.grant, ""); !errors.Is(err, fault.Conflict) {
			t.Errorf("nothing is settled: %v", err)
		}
	})
	in(t, func(w *town) {
		v := must(w.shop.Vendor(w.Context())).ID
		w.costs(500)
		w.settle()
		w.ok(w.her.Revoke(w.Context(), []protocol.GrantID{w.grant}, "done"))
		w.settle()
		for name, s := range map[string]records.Sum{"she has": sum(w.her, protocol.Customer, v), "the shop has": sum(w.shop, protocol.Vendor, v)} {
			if s.Owed != 500 || s.Promised != 0 {
				t.Errorf("after its end %s %+v", name, s)
			}
		}
		for _, s := range []*side{w.her, w.shop} {
			if err := s.Settle(w.Context(), w.grant, strings.Repeat("x", protocol.MaxText+1)); !errors.Is(err, fault.Malformed) {
				t.Errorf("too many words: %v", err)
			}
			w.ok(s.Settle(w.Context(), w.grant, "in cash"))
			if said := s.last("voucher.settled"); said["how"] != "in cash" || said["amount"] != "ZAR 5.00" || said["voucher"] == "" {
				t.Errorf("the ledger says %v", said)
			}
			if err := s.Settle(w.Context(), w.grant, ""); !errors.Is(err, fault.Conflict) {
				t.Errorf("settled twice: %v", err)
			}
		}
	})
}

// Nobody pays for what nobody asked for.
func TestAGiftCostsNothing(t *testing.T) {
	in(t, func(w *town) {
		gift := func(price protocol.Money) Gift {
			f := protocol.FieldGrant{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30, Price: price}
			return Gift{Vendor: must(w.shop.Vendor(w.Context())).ID, Name: "mine", Life: protocol.Day, Fields: []protocol.FieldGrant{f}}
		}
		must(w.her.Give(w.Context(), gift(rand(5))))
		it := w.until(protocol.KindGrant)
		w.shop.refuses("a gift at a price", it.Box, it.Data)
		w.her.carried[it.ID] = true
		id := must(w.her.Give(w.Context(), gift(protocol.Money{})))
		w.settle()
		if s := w.shop.agreement(id).Flow.State; s != flow.Disclosed {
			t.Errorf("without one it is %s", s)
		}
	})
}
