package market

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
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
