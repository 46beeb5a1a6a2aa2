package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/consent"
	"github.com/harkmarket/hark/node/internal/pay"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

var (
	genesis = &protocol.Genesis{
		V: protocol.Version, Name: "test", Shards: 4, Categories: protocol.Categories().Digest(), Lanes: []protocol.LaneRule{{}},
		Terms: protocol.TermsRoster(), Duties: protocol.DefaultDuties, Salt: protocol.ID{1},
	}
	keepers = []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public(), Addrs: [][]byte{{4, 127, 0, 0, 1}}}}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A side is one node's market with nothing around it: what it posts stays in its
// outbox until a test carries it over.
type side struct {
	*Market
	t       testing.TB
	other   *side
	carried map[protocol.Hash]bool
	to      atomic.Pointer[[]protocol.Keeper] // where announcements move; nil: nowhere

	mu     sync.Mutex
	heard  map[protocol.ContextID]wire.Heard // shared by both sides
	chains map[protocol.VendorID]wire.Chain  // likewise
	boxes  map[key.MailboxKey]bool           // read by this side
	events []string
}

// Kick, Watch, Unwatch and Collect implement Mail.
func (s *side) Kick() {}

func (s *side) Watch(b records.Box) { s.mu.Lock(); defer s.mu.Unlock(); s.boxes[b.Key] = true }

func (s *side) Unwatch(k key.MailboxKey) { s.mu.Lock(); defer s.mu.Unlock(); delete(s.boxes, k) }

func (s *side) Collect(key.MailboxKey) {}

func (s *side) reads(k key.MailboxKey) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.boxes[k] }

// Replace implements Places.
func (s *side) Replace(list []protocol.Keeper) ([]protocol.Keeper, bool) {
	if to := s.to.Load(); to != nil && list[0].Key != (*to)[0].Key {
		return *to, true
	}
	return list, false
}

// Keepers implements market.Places.
func (s *side) Keepers(int) []protocol.Keeper { return keepers }

// Announcement, Passport and EachOpen implement Registry.
func (s *side) Announcement(_ context.Context, c protocol.ContextID) (wire.Heard, error) {
	if h, ok := s.heard[c]; ok {
		return h, nil
	}
	return wire.Heard{}, fault.NotFound
}

func (s *side) Passport(_ context.Context, v protocol.VendorID) (wire.Chain, error) {
	if c, ok := s.chains[v]; ok {
		return c, nil
	}
	return wire.Chain{}, fault.NotFound
}

func (s *side) EachOpen(_ context.Context, fn func(wire.Heard) error) error {
	for _, c := range slices.SortedFunc(maps.Keys(s.heard), func(a, b protocol.ContextID) int { return slices.Compare(a[:], b[:]) }) {
		if err := fn(s.heard[c]); err != nil {
			return err
		}
	}
	return nil
}

// Match implements Answers: nothing is offered by itself.
func (s *side) Match(protocol.GrantID, protocol.Demand, protocol.Category, int) {}

// Emit implements Events.
func (s *side) Emit(kind, _ string, _ map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, kind)
}

// A town is a customer and a vendor.
type town struct {
	*testing.T
	her, shop *side
	need      protocol.ContextID
	grant     protocol.GrantID
	before    protocol.GrantID // one that was granted before
}

// in runs a test in a bubble with fake time, with a need announced and heard.
func in(t *testing.T, test func(w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		w := &town{T: t, her: newSide(t), shop: newSide(t)}
		w.her.other, w.shop.other = w.shop, w.her
		w.shop.heard, w.shop.chains = w.her.heard, w.her.chains
		for _, s := range []*side{w.her, w.shop} {
			go s.Run(ctx)
			go s.Upkeep(ctx)
		}
		defer synctest.Wait()
		defer stop()
		w.ok(w.shop.IssuePassport(ctx, Profile{Name: "Veld & Vine", Country: "ZA", Contact: "shop@example.org"}))
		for name, value := range map[protocol.FieldName]string{"contact.email": "her@example.org", "location.area": "Melville", "identity.name": "Thandi"} {
			w.ok(w.her.cfg.Stores.KV.Update(ctx, func(tx kv.Tx) error {
				_, err := w.her.cfg.Stores.Vault.Set(tx, name, value, 1)
				return err
			}))
		}
		w.need = must(w.her.Announce(ctx, Need{
			Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Life: protocol.Day, Auto: true,
			Fields: []protocol.FieldOnOffer{{Name: "contact.email"}, {Name: "location.area"}},
			Demand: protocol.Demand{Name: "a desk", Currency: "ZAR", Quantity: 2},
		}))
		w.settle()
		test(w)
	})
}

func newSide(t testing.TB) *side {
	s := &side{
		t: t, carried: map[protocol.Hash]bool{}, heard: map[protocol.ContextID]wire.Heard{}, chains: map[protocol.VendorID]wire.Chain{},
		boxes: map[key.MailboxKey]bool{},
	}
	store := kv.Sealed(kv.Memory(), key.NewSecret())
	net, _, err := wire.NetworkID(genesis)
	if err != nil {
		t.Fatal(err)
	}
	s.Market = New(Config{
		Stores: Stores{
			KV: store, Ledger: must(ledger.Open(context.Background(), store, key.Generate[key.Device]())),
			Outbox: must(outbox.Open(store, outbox.Limits{})), Vault: vault.New(key.NewSecret()), Held: held.New(),
		},
		Rules: consent.Engine{}, Rails: pay.Rails{Life: genesis.Duties.Boxes}, Net: net, Genesis: genesis, Mail: s, Places: s, Registry: s, Answers: s, Events: s, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	return s
}

func (w *town) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// posted lists what lies in a side's outbox and was not carried yet, oldest first, of
// one kind or, for 0, of all.
func (s *side) posted(kind protocol.Kind) (out []outbox.Item) {
	s.t.Helper()
	o := s.cfg.Stores.Outbox
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		list, _, err := o.List(r, outbox.Filter{}, protocol.Hash{}, 64)
		for _, it := range slices.Backward(list) {
			if s.carried[it.ID] || it.State > outbox.Done || kind != 0 && it.Kind != kind {
				continue
			}
			full, err := o.Get(r, it.ID)
			if err != nil {
				return err
			}
			out = append(out, full)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// carry brings what a side has posted to the other, save what keep names; it tells
// whether there was anything.
func (s *side) carry(keep protocol.Kind) (any bool) {
	s.t.Helper()
	for _, it := range s.posted(0) {
		if it.Kind == keep {
			continue
		}
		s.carried[it.ID] = true
		switch it.What {
		case outbox.Letter:
			opened, err := s.other.Letter(context.Background(), it.Box, it.Data)
			if errors.Is(err, fault.Full) {
				s.carried[it.ID] = false // it waits at its keepers
				continue
			}
			if err != nil || !opened {
				s.t.Fatalf("%s is not taken: %v, %v", it.Kind, opened, err)
			}
		case outbox.Announcement:
			h := must(wire.OpenAnnouncement(it.Data))
			s.heard[h.A().ContextID()] = h
			if err := s.other.Heard(context.Background(), h); err != nil {
				s.t.Fatal(err)
			}
		case outbox.Passport:
			c := must(wire.OpenChain(it.First.Chain, s.cfg.Net))
			s.chains[c.Vendor()] = c
		}
		any = true
	}
	return any
}

// settle carries everything to and fro until nothing is left to carry.
func (w *town) settle() { w.until(0) }

// until does the same, but a letter of one kind stays where it is; it is returned.
func (w *town) until(kind protocol.Kind) outbox.Item {
	w.Helper()
	for range 20 {
		time.Sleep(time.Second) // acknowledgements are gathered for a moment
		if a, b := w.her.carry(kind), w.shop.carry(kind); !a && !b {
			break
		}
	}
	if kind == 0 {
		return outbox.Item{}
	}
	list := append(w.her.posted(kind), w.shop.posted(kind)...)
	if len(list) != 1 {
		w.Fatalf("%d letters with %s, want one", len(list), kind)
	}
	return list[0]
}

// ask has the shop ask for access to the need.
func (w *town) ask() {
	w.Helper()
	h := must(w.shop.Announcement(context.Background(), w.need))
	var fields []protocol.FieldAsk
	for _, f := range h.A().Fields {
		fields = append(fields, askField(f))
	}
	w.grant = must(w.shop.Ask(context.Background(), h, fields, h.A().Expires))
}

// agree brings both sides to a disclosure.
func (w *town) agree() {
	w.Helper()
	w.ask()
	w.settle()
	for name, s := range map[string]*side{"her": w.her, "the shop": w.shop} {
		if a := s.agreement(w.grant); a.Flow.State != flow.Disclosed {
			w.Fatalf("with %s it is %s", name, a.Flow.State)
		}
	}
}

func (s *side) agreement(id protocol.GrantID) (a records.Agreement) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { a, err = records.GetAgreement(r, id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *side) context(id protocol.ContextID) (c records.Context) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { c, err = records.GetContext(r, id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// kept is all that a side keeps.
func (s *side) kept() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			all[string(k)] = string(v)
			return true, nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s *side) entries() (kinds []string) {
	s.t.Helper()
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		list, err := s.cfg.Stores.Ledger.List(r, 0, 500, "")
		for _, e := range list {
			kinds = append(kinds, e.Kind)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return kinds
}

// refuses gives a side a letter that it must not take: nothing changes, nothing is
// entered in the ledger, nothing is said.
func (s *side) refuses(what string, box key.MailboxKey, raw []byte) {
	s.t.Helper()
	if raw == nil { // no library reads it, nor signs it: package wire tests that
		if !strings.HasSuffix(what, "to another") && !strings.HasSuffix(what, "of another context") {
			s.t.Errorf("%s: it cannot be made", what)
		}
		return
	}
	before, entries, events := s.kept(), s.entries(), len(s.events)
	opened, err := s.Letter(context.Background(), box, raw)
	if opened || err != nil {
		s.t.Errorf("%s: opened %v, %v", what, opened, err)
	}
	after := s.kept()
	for k := range after {
		if before[k] != after[k] {
			s.t.Errorf("%s: record %q changed", what, k[:min(len(k), 4)])
		}
	}
	if len(after) != len(before) || len(s.entries()) != len(entries) || len(s.events) != events {
		s.t.Errorf("%s: %d records were %d, entries %v were %v", what, len(after), len(before), s.entries(), entries)
	}
}

func TestTheFlowBetweenTwoMarkets(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		ctx := context.Background()
		rec := must(w.shop.held(w.grant))
		if len(rec.Fields) != 2 || rec.Demand.Name != "a desk" {
			w.Errorf("the shop holds %+v", rec)
		}
		ids := must(w.shop.Offer(ctx, w.grant, []Proposal{{Product: "1", Title: "Desk", Price: protocol.Money{Minor: 50_000, Currency: "ZAR"}, Rank: 1}}))
		w.settle()
		deal := w.her.deal(ids[0])
		if deal.Offer.Price.Minor != 100_000 || deal.Flow.State != flow.Offered {
			w.Errorf("she sees %+v", deal)
		}
		w.ok(w.her.Step(ctx, ids[0], protocol.KindAccept, "yes"))
		w.settle()
		w.ok(w.shop.Step(ctx, ids[0], protocol.KindConfirm, ""))
		w.settle()
		w.ok(w.shop.Step(ctx, ids[0], protocol.KindFulfil, ""))
		w.settle()
		w.ok(w.her.Step(ctx, ids[0], protocol.KindClose, ""))
		w.settle()
		for name, s := range map[string]*side{"her": w.her, "the shop": w.shop} {
			if d := s.deal(ids[0]); d.Flow.State != flow.Closed || len(d.Steps) != 5 {
				w.Errorf("with %s the deal is %s after %d steps", name, d.Flow.State, len(d.Steps))
			}
		}
		w.ok(w.her.Revoke(ctx, []protocol.GrantID{w.grant}, "done"))
		w.settle()
		for name, s := range map[string]*side{"her": w.her, "the shop": w.shop} {
			if a := s.agreement(w.grant); a.Flow.State != flow.Deleted || len(a.Lapses) > 0 {
				w.Errorf("with %s the grant is %s, lapses %v", name, a.Flow.State, a.Lapses)
			}
		}
		if _, err := w.shop.held(w.grant); !errors.Is(err, fault.NotFound) {
			w.Errorf("after its deletion the shop holds something: %v", err)
		}
		for _, err := range []error{
			w.her.Revoke(ctx, []protocol.GrantID{w.grant}, "twice"),
			w.her.Pause(ctx, w.grant, false, ""),
			w.her.Step(ctx, ids[0], protocol.KindCancel, ""),
		} {
			if !errors.Is(err, fault.Conflict) {
				w.Errorf("after its end: %v", err)
			}
		}
		_, err := w.shop.Offer(ctx, w.grant, []Proposal{{Product: "2", Title: "Chair"}})
		if !errors.Is(err, fault.Conflict) {
			w.Errorf("an offer after its end: %v", err)
		}
	})
}

func (s *side) held(id protocol.GrantID) (rec held.Record, err error) {
	err = s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		rec, err = s.cfg.Stores.Held.Get(r, id)
		return err
	})
	return rec, err
}

func (s *side) deal(id protocol.Hash) (d records.Deal) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { d, err = records.GetDeal(r, id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// What the wrong side asks for is refused before anything is kept.
func TestCommandsOfTheWrongSide(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		ctx := context.Background()
		unknown := protocol.Hash{99}
		before := w.shop.kept()
		for name, c := range map[string]struct {
			err  error
			want fault.Kind
		}{
			"the shop revokes":          {w.shop.Revoke(ctx, []protocol.GrantID{w.grant}, ""), fault.Denied},
			"the shop pauses":           {w.shop.Pause(ctx, w.grant, false, ""), fault.Conflict},
			"the shop exercises":        {w.shop.Exercise(ctx, w.grant, protocol.RightAccess, nil, nil), fault.Conflict},
			"a step of no deal":         {w.shop.Step(ctx, unknown, protocol.KindAccept, ""), fault.NotFound},
			"an unknown grant":          {w.her.Revoke(ctx, []protocol.GrantID{unknown}, ""), fault.NotFound},
			"an unknown need":           {w.her.Withdraw(ctx, protocol.ContextID{99}), fault.NotFound},
			"an unknown need, updated":  {w.her.Update(ctx, protocol.ContextID{99}, nil), fault.NotFound},
			"a need in another place":   {w.her.Update(ctx, w.need, func(n *Need) error { n.Region = "ZA-WC"; return nil }), fault.Conflict},
			"resumed, and never paused": {w.her.Pause(ctx, w.grant, true, ""), fault.Conflict},
		} {
			if !errors.Is(c.err, c.want) {
				w.Errorf("%s: %v, want %v", name, c.err, c.want)
			}
		}
		h := must(w.shop.Announcement(ctx, w.need))
		if _, err := w.shop.Ask(ctx, h, nil, h.A().Expires); !errors.Is(err, fault.Conflict) {
			w.Errorf("asked twice: %v", err)
		}
		if _, err := w.her.Ask(ctx, h, nil, h.A().Expires); !errors.Is(err, errNoPassport) {
			w.Errorf("asked without a passport: %v", err)
		}
		if _, err := w.her.Offer(ctx, w.grant, nil); !errors.Is(err, fault.Denied) {
			w.Errorf("a customer offers: %v", err)
		}
		if _, err := w.her.Give(ctx, Gift{Vendor: unknown, Name: "x", Life: protocol.Day}); !errors.Is(err, fault.NotFound) {
			w.Errorf("given to nobody: %v", err)
		}
		if !maps.Equal(before, w.shop.kept()) {
			w.Error("the shop's records changed")
		}
	})
}

func TestANeedThatIsOverTakesNoRequests(t *testing.T) {
	in(t, func(w *town) {
		w.ask()
		letter := w.until(protocol.KindRequest)
		w.ok(w.her.Withdraw(context.Background(), w.need))
		if err := w.her.Update(context.Background(), w.need, nil); !errors.Is(err, fault.Conflict) {
			w.Errorf("a withdrawn need is renewed: %v", err)
		}
		w.her.refuses("a request to a withdrawn need", letter.Box, letter.Data)
	})
}

// fields holds one of everything that ends in an id, so that notes are checked for values.
func TestTheLedgerHoldsNoValues(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		for _, s := range []*side{w.her, w.shop} {
			err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
				list, err := s.cfg.Stores.Ledger.List(r, 0, 500, "")
				for _, e := range list {
					for _, value := range []string{"her@example.org", "Melville", "a desk"} {
						if slices.Contains(fmtWords(e.Body), value) {
							w.Errorf("entry %d, %s, holds %q", e.Seq, e.Kind, value)
						}
					}
				}
				return err
			})
			w.ok(err)
		}
	})
}

func fmtWords(raw []byte) []string {
	var m map[string]string
	if err := jsonUnmarshal(raw, &m); err != nil {
		return []string{fmt.Sprint(err)}
	}
	return slices.Collect(maps.Values(m))
}

// A market that nobody runs holds a bounded number of jobs; whoever comes after waits
// with its own context.
func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSide(t).Market
		ran := 0
		for range queue + 50 {
			m.again(func(*turn) error { ran++; return nil })
		}
		for _, f := range m.Stats() {
			if f.Name == "market.queue" && (f.Used != queue || f.Cap != queue) || f.Used > f.Cap {
				t.Errorf("%s: %d of %d", f.Name, f.Used, f.Cap)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Do(ctx, "one more", func(*turn) error { ran++; return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one more: %v", err)
		}
		run, stop := context.WithCancel(context.Background())
		go m.Run(run)
		if err := m.Do(t.Context(), "after all", func(*turn) error { return nil }); err != nil {
			t.Error(err)
		}
		if ran != queue {
			t.Errorf("%d jobs ran, want %d", ran, queue)
		}
		stop()
		synctest.Wait()
		if err := m.Do(t.Context(), "too late", func(*turn) error { return nil }); err != nil && !errors.Is(err, fault.Offline) {
			t.Errorf("too late: %v", err)
		}
		for range queue + 1 {
			m.again(func(*turn) error { return nil })
		}
		if err := m.Do(t.Context(), "much too late", func(*turn) error { return nil }); !errors.Is(err, fault.Offline) {
			t.Errorf("much too late: %v", err)
		}
	})
}

// A turn that fails keeps nothing and has no effect outside.
func TestATurnThatFailsHasNoEffect(t *testing.T) {
	in(t, func(w *town) {
		before, events := w.her.kept(), len(w.her.events)
		broken := errors.New("broken")
		err := w.her.Do(context.Background(), "half a step", func(t *turn) error {
			t.then(func() { w.Error("the world heard of it") })
			if err := t.note("half", map[string]string{"grant": "x"}); err != nil {
				return err
			}
			if err := records.PutBox(t, records.Box{Seed: protocol.Share(key.NewSecret())}); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) || !maps.Equal(before, w.her.kept()) || len(w.her.events) != events {
			w.Errorf("%v, and something is kept or said", err)
		}
	})
}

func TestALockedMarketDoesNothing(t *testing.T) {
	locked := fmt.Errorf("shut: %w", fault.Locked)
	m := Locked(kv.Memory(), locked)
	ctx := t.Context()
	h, g := wire.Heard{}, protocol.GrantID{1}
	for name, do := range map[string]func() error{
		"announce":       func() error { _, err := m.Announce(ctx, Need{}); return err },
		"preview":        func() error { _, err := m.Preview(ctx, Need{}); return err },
		"update":         func() error { return m.Update(ctx, protocol.ContextID{}, nil) },
		"withdraw":       func() error { return m.Withdraw(ctx, protocol.ContextID{}) },
		"give":           func() error { _, err := m.Give(ctx, Gift{Vendor: g, Life: 1}); return err },
		"ask":            func() error { _, err := m.Ask(ctx, h, nil, 1); return err },
		"offer":          func() error { _, err := m.Offer(ctx, g, nil); return err },
		"step":           func() error { return m.Step(ctx, g, protocol.KindAccept, "") },
		"revoke":         func() error { return m.Revoke(ctx, []protocol.GrantID{g}, "") },
		"pause":          func() error { return m.Pause(ctx, g, false, "") },
		"withdraw field": func() error { return m.WithdrawField(ctx, []protocol.GrantID{g}, "contact.email", "") },
		"right":          func() error { return m.Exercise(ctx, g, protocol.RightAccess, nil, nil) },
		"passport":       func() error { return m.IssuePassport(ctx, Profile{}) },
		"rules":          func() error { return m.SetRules(ctx, Follow{}) },
		"heard":          func() error { return m.Heard(ctx, h) },
		"letter":         func() error { _, err := m.Letter(ctx, key.MailboxKey{}, nil); return err },
		"read":           func() error { return m.Collected(ctx, key.MailboxKey{}, 1) },
	} {
		if err := do(); !errors.Is(err, locked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
