package market

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// fill reads one bound of a side.
func (s *side) fill(name string) (f kv.Fill) {
	s.t.Helper()
	list := s.Stats()
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		letters, err := s.LetterFills(r)
		list = append(list, letters...)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(f kv.Fill) bool { return f.Name == name })
	if i < 0 {
		s.t.Fatalf("%s is not shown", name)
	}
	return list[i]
}

// has checks how full a bound is.
func (s *side) has(name string, used int64) {
	s.t.Helper()
	if f := s.fill(name); f.Used != used {
		s.t.Errorf("%s is %d of %d, want %d", f.Name, f.Used, f.Cap, used)
	}
}

// Strangers can send as much junk as they like: nothing of it stays, and it takes no room
// from what is remembered.
func TestJunkIsNotRemembered(t *testing.T) {
	in(t, func(w *town) {
		before, box := w.her.kept(), key.FromSeed[key.Mailbox](w.her.context(w.need).Keys.Box.Secret()).Public()
		for range 300 {
			raw := sealed(key.GenerateSeal[key.ContextSeal]().Public(), seal.First, w.her.cfg.Net, box, []byte("junk"))
			for range 2 {
				if opened, err := w.her.Letter(context.Background(), box, raw); opened || err != nil {
					w.Fatalf("opened %v, %v", opened, err)
				}
			}
		}
		if !maps.Equal(before, w.her.kept()) {
			w.Error("something of it is kept")
		}
		w.agree()
		if f := w.her.fill("market.letters"); f.Used == 0 {
			w.Error("what was acted on is not remembered")
		}
	})
}

// Whoever fills the room of a mailbox has his own letters put off, and nobody else's. What
// was put off is acted on once there is room, once.
func TestAFullMailboxPutsItsLettersOff(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		had := w.shop.fill("market.letters-per-box").Used
		w.shop.tally.lim.BoxLetters = int(had) + 8
		box := boxOf(w.shop.agreement(w.grant))
		long := func(h *protocol.Header) { h.Expires = h.Created + genesis.Duties.Letters }
		write := func(kind protocol.Kind, m protocol.Message) (again func() error) {
			raw := forgeDuty(w.her, w.grant, kind, m, key.Private[key.Duty]{}, long)
			return func() error { _, err := w.shop.Letter(context.Background(), box, raw); return err }
		}
		n := 0
		for ; n < 64; n++ {
			ack := write(protocol.KindAck, &protocol.Ack{Grant: w.grant, Acked: []protocol.Hash{{byte(n + 1)}}})
			if err := ack(); errors.Is(err, fault.Full) {
				break
			} else if err != nil {
				w.Fatal(err)
			}
		}
		w.shop.has("market.letters-per-box", had+8)
		if n > 8 {
			w.Errorf("%d letters find room", n)
		}
		time.Sleep(20 * 24 * time.Hour)
		until := protocol.Second(time.Now().Unix()) + genesis.Duties.Right
		right := write(protocol.KindRight, &protocol.Right{Grant: w.grant, Exercise: protocol.RightAccess, Deadline: until})
		rights := func() int { return len(w.shop.agreement(w.grant).Flow.Rights) }
		if err := right(); !errors.Is(err, fault.Full) || rights() != 0 {
			w.Errorf("a letter that finds no room: %v, %d rights", err, rights())
		}
		if id, err := w.her.Announce(context.Background(), Need{Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA", Life: protocol.Day, Auto: true, Demand: protocol.Demand{Name: "a lamp"}}); err != nil {
			w.Error(err)
		} else {
			w.need = id
		}
		old := w.grant
		w.settle()
		w.agree() // in other mailboxes
		w.grant = old
		time.Sleep(11 * 24 * time.Hour) // those of the first day are past their date
		for i := range 2 {
			before := w.shop.kept()
			if err := right(); err != nil || rights() != 1 {
				w.Errorf("time %d: once there is room: %v, %d rights", i+1, err, rights())
			}
			if same := maps.Equal(before, w.shop.kept()); same != (i == 1) {
				w.Errorf("time %d: the same as before is %v", i+1, same)
			}
		}
	})
}

// What comes after a grant has ended opens under no key, so that a keeper can make it: of
// each grant no more is counted than it may have offers.
func TestLateLettersAreBounded(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		w.her.tally.lim.Offers = 4
		box := message[*protocol.Grant](w.her, w.her.agreement(w.grant).Letters.Grant).OfferBox.Capability.Box
		w.ok(w.her.Revoke(context.Background(), []protocol.GrantID{w.grant}, "enough"))
		letters := w.her.fill("market.letters").Used
		for i := range 10 {
			raw := sealed(key.GenerateSeal[key.OfferSeal]().Public(), seal.Offer, w.her.cfg.Net, box, []byte("junk"))
			if opened, err := w.her.Letter(context.Background(), box, raw); err != nil || opened != (i < 4) {
				w.Errorf("letter %d: opened %v, %v", i+1, opened, err)
			}
		}
		late := len(slices.DeleteFunc(w.her.entries(), func(kind string) bool { return kind != "offer.late" }))
		if late != 4 || w.her.agreement(w.grant).Offers.Late != 4 {
			w.Errorf("%d entries, %+v", late, w.her.agreement(w.grant).Offers)
		}
		w.her.has("market.letters", letters+8)
		w.her.has("market.offers-per-grant", 4)
	})
}

// A vendor that has no room for another agreement asks as soon as one has ended.
func TestWhatHasEndedMakesRoom(t *testing.T) {
	in(t, func(w *town) {
		ctx := context.Background()
		w.shop.tally.lim.Agreements = 1
		w.ok(w.shop.SetRules(ctx, Follow{Ask: true}))
		w.settle()
		w.shop.has("market.agreements", 1)
		another := func() {
			w.Helper()
			w.need = must(w.her.Announce(ctx, Need{Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA", Life: protocol.Day, Auto: true, Demand: protocol.Demand{Name: "a lamp"}}))
			w.settle()
		}
		last := func() (state flow.AgreementState) {
			w.ok(w.her.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
				return records.EachUnder(r, w.need, func(a records.Agreement) (bool, error) { state = a.Flow.State; return true, nil })
			}))
			return state
		}
		another()
		if got := last(); got != flow.NoAgreement {
			w.Fatalf("the agreement too many is %s", got)
		}
		all := must(w.shop.living())
		w.ok(w.her.Revoke(ctx, all, "enough"))
		w.settle()
		if got := last(); got != flow.Disclosed {
			w.Errorf("once there is room it is %s", got)
		}
		w.shop.has("market.agreements", 1)
		w.her.has("market.requests-per-context", 1)

		w.her.tally.lim.Contexts = 2
		w.her.has("market.contexts", 2)
		lamp := Need{Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA", Life: protocol.Day, Demand: protocol.Demand{Name: "a lamp"}}
		if _, err := w.her.Announce(ctx, lamp); !errors.Is(err, fault.Full) {
			w.Errorf("a need too many: %v", err)
		}
		w.ok(w.her.Withdraw(ctx, w.need))
		w.her.has("market.contexts", 1)
		if _, err := w.her.Announce(ctx, lamp); err != nil {
			w.Errorf("a need in the place of one that was withdrawn: %v", err)
		}
		time.Sleep(3 * 24 * time.Hour)
		w.her.has("market.contexts", 0)
		w.settle()
		w.her.has("market.agreements", 0)

		v := must(w.shop.Vendor(ctx))
		id := must(w.her.Give(ctx, Gift{Vendor: v.ID, Name: "my shop", Life: 7 * protocol.Day}))
		w.settle()
		w.her.has("market.contexts", 1)
		w.ok(w.her.Revoke(ctx, []protocol.GrantID{id}, ""))
		w.settle()
		w.her.has("market.contexts", 0)
	})
}

// living are the agreements of a side that have not ended.
func (s *side) living() (ids []protocol.GrantID, err error) {
	err = s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			if !a.Flow.Final() {
				ids = append(ids, a.ID)
			}
			return true, nil
		})
	})
	return ids, err
}
