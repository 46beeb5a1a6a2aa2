package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// bounds are all that status shows of an open public node.
var bounds = strings.Fields(`
	api.answer-bytes api.answers api.requests api.streams
	board.bytes board.entries board.passport-bytes board.passports catalog.products
	courier.boxes courier.deliveries courier.doomed courier.parked courier.slots courier.streams
	gossip.topics held.records keeper.boxes keeper.budgets keeper.inboxes keeper.prefixes keeper.pushes keeper.refused
	mailbox.boxes mailbox.bytes mailbox.bytes-per-box mailbox.first-per-box mailbox.inbox-per-box mailbox.letters
	mailbox.letters-per-box mailbox.revoked mailbox.revoked-per-box mailbox.tombs mailbox.tombs-per-box
	mailbox.watchers mailbox.watchers-per-box
	market.agreements market.contexts market.crew market.queue market.requests-per-context
	node.crew node.events node.fresh outbox.bytes outbox.items
	peers.connected peers.connections peers.known peers.streams seller.queue vault.bytes vault.fields vault.purges vault.uploads`)

// overruns says what is wrong with a list of bounds.
func overruns(list []desk.Fill, want []string) (wrong []string) {
	name := regexp.MustCompile(`^[a-z]+\.[a-z]+(-[a-z]+)*$`)
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
		switch {
		case !name.MatchString(f.Name):
			wrong = append(wrong, f.Name+" is no name like room.thing")
		case f.Cap <= 0:
			wrong = append(wrong, f.Name+" has no bound")
		case f.Used < 0 || f.Used > f.Cap:
			wrong = append(wrong, fmt.Sprintf("%s is %d of %d", f.Name, f.Used, f.Cap))
		}
	}
	for _, n := range want {
		if !slices.Contains(names, n) {
			wrong = append(wrong, n+" is missing")
		}
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		wrong = append(wrong, "a bound twice")
	}
	return wrong
}

// TestMust_bounded: every queue, table and stream has a bound that status shows, and a
// flood fills it and hurts nobody else.
func TestMust_bounded(t *testing.T) {
	planted := []desk.Fill{{Name: "board entries", Cap: 1}, {Name: "a.b"}, {Name: "c.d", Used: 3, Cap: 2}, {Name: "e.f", Cap: 1}, {Name: "e.f", Cap: 1}}
	if got := overruns(planted, []string{"g.h"}); len(got) != 5 {
		t.Fatalf("of five planted faults these were found: %q", got)
	}
	t.Run("status", statusShowsAll)
	for _, f := range floods {
		t.Run(f.bound, func(t *testing.T) { f.run(t) })
	}
	for name, test := range rooms {
		t.Run(name, test)
	}
}

// statusShowsAll opens a real public node on loopback.
func statusShowsAll(t *testing.T) {
	paths, err := node.DefaultPaths(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Init(node.InitOptions{Paths: paths, Profile: node.Public, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Config{Paths: paths, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	v, err := n.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if wrong := overruns(v.Bounds, bounds); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	for _, f := range v.Bounds {
		if !slices.Contains(bounds, f.Name) {
			t.Errorf("%s is shown, and no test knows of it", f.Name)
		}
	}
}

// A flood is done to one node with small limits, in the middle of a market.
type flood struct {
	bound   string
	limits  node.Limits
	refused error // of the last attempt; nil: older things give way
	attack  func(f *field) error
	at      func(f *field) *nodetest.Member // whose bound; nil: the keeper's
}

// A field is a market with a keeper that is flooded.
type field struct {
	*testing.T
	w      *nodetest.World
	target *nodetest.Member
	her    *nodetest.Member
	vendor *nodetest.Member
	net    protocol.Hash
}

func (f flood) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		f1 := &field{T: t, w: w}
		var err error
		if f1.net, _, err = wire.NetworkID(w.Genesis); err != nil {
			t.Fatal(err)
		}
		w.Public("keeper one")
		w.Public("keeper two")
		w.Limits = f.limits
		f1.target = w.Public("target")
		f1.her = w.Personal("thandi")
		w.Limits = node.Limits{}
		f1.vendor = w.Public("couches")
		time.Sleep(5 * time.Second)
		f1.vendor.Sell(shop)
		f1.her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
		sipho := w.Personal("sipho") // somebody else altogether
		sipho.Fill(map[string]string{"location.area": "Yeoville"})
		before := announce(t, sipho, 7)
		w.Until(5*time.Minute, "an offer before the flood", func() (bool, error) { return len(sipho.Offers(desk.Query{Context: before})) > 0, nil })

		err = f.attack(f1)
		if f.refused == nil && err != nil || !errors.Is(err, f.refused) {
			t.Errorf("the last of the flood: %v, want %v", err, f.refused)
		}
		f1.full(f)
		after := announce(t, sipho, 7)
		w.Until(15*time.Minute, "an offer to somebody else", func() (bool, error) { return len(sipho.Offers(desk.Query{Context: after})) > 0, nil })
		if _, err := sipho.Customer().Grants().Revoke(t.Context(), nil, desk.Query{}, ""); err != nil {
			t.Fatal(err)
		}
		w.Until(30*time.Minute, "two deletions", func() (bool, error) { return len(sipho.Grants(desk.Query{State: "deleted"})) == 2, nil })
	})
}

// full checks that the bound was reached and not passed.
func (f *field) full(of flood) {
	f.Helper()
	m := f.target
	if of.at != nil {
		m = of.at(f)
	}
	v, err := m.Admin().Status(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	if wrong := overruns(v.Bounds, []string{of.bound}); len(wrong) > 0 {
		f.Error(wrong)
	}
	for _, b := range v.Bounds {
		if b.Name == of.bound && b.Used != b.Cap {
			f.Errorf("the flood filled %d of %d", b.Used, b.Cap)
		}
	}
}

func (f *field) client() keeper.Client { return keeper.Client{Port: f.w.Net.Port(false), Net: f.net} }

// mail opens a session with the keeper that is flooded.
func (f *field) mail() *keeper.Session {
	f.Helper()
	s, err := f.client().Mail(f.Context(), f.target.Port.Self())
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// deposit leaves one letter under a capability that the flooder made itself.
func (f *field) deposit(s *keeper.Session, box key.Private[key.Mailbox], size int) (protocol.Hash, error) {
	f.Helper()
	to := key.GenerateSeal[key.DutySeal]().Public()
	raw, _, err := wire.SealLetter(to, seal.Duty, f.net, box.Public(), second()+protocol.Day, make([]byte, size))
	if err != nil {
		f.Fatal(err)
	}
	dep := key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: dep.Public(), Letters: 64, KiB: 640, Expires: second() + protocol.Day}
	if err := wire.SignCapability(box, &c); err != nil {
		f.Fatal(err)
	}
	_, err = s.Deposit(f.Context(), keeper.Deposit{Box: box.Public(), Letter: raw, Cap: c, Key: dep})
	return wire.ID(raw), err
}

// oneBox fills one mailbox, manyBoxes one each.
func oneBox(n, size int) func(*field) error {
	return func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range n {
			_, err = f.deposit(s, box, size)
		}
		return err
	}
}

func manyBoxes(n, size int) func(*field) error {
	return func(f *field) (err error) {
		s := f.mail()
		for range n {
			_, err = f.deposit(s, key.Generate[key.Mailbox](), size)
		}
		return err
	}
}

// post announces needs of nobody, which end within the hour.
func post(n int) func(*field) error {
	return func(f *field) (err error) {
		s, err := f.client().Post(f.Context(), f.target.Port.Self())
		if err != nil {
			f.Fatal(err)
		}
		for range n {
			ctx := key.Generate[key.Context]()
			body, commitment, err := wire.SealBody(protocol.Demand{Name: "nothing"}, key.NewSecret(), ctx.Public(), 1)
			if err != nil {
				f.Fatal(err)
			}
			raw, err := wire.SignAnnouncement(ctx, &protocol.Announcement{
				Header: protocol.Header{Net: f.net, ID: wire.NewID(), Seq: 1, Created: second(), Expires: second() + protocol.Hour},
				Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA",
				Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: f.w.Genesis.Terms, Mailbox: key.Generate[key.Mailbox]().Public(),
				Keepers: []protocol.Keeper{f.target.Port.Self()}, Body: body, Commitment: commitment,
			}, protocol.LaneNone, 0)
			if err != nil {
				f.Fatal(err)
			}
			if err := s.Announce(f.Context(), raw, protocol.Keeper{}); err != nil {
				return err
			}
		}
		return nil
	}
}

// askers lets strangers ask about a need of hers, all at one keeper.
func askers(n int, away bool) func(*field) error {
	return func(f *field) (err error) {
		need := announce(f.T, f.her, 7)
		if away {
			f.her.Online(false)
			defer f.her.Online(true)
		}
		for range n {
			v := newIssuer(f.T, f.w)
			if _, err = v.ask(need, v.chain, v.chain, v.ops[0], v.ops[0]); err != nil && !errors.Is(err, fault.Full) {
				f.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		return err
	}
}

// watchers subscribes on streams of their own, to one mailbox or each to another.
func watchers(n int, one bool) func(*field) error {
	return func(f *field) error {
		box := key.Generate[key.Mailbox]()
		var last *keeper.Watch
		for range n {
			if !one {
				box = key.Generate[key.Mailbox]()
			}
			w, err := f.client().Watch(f.Context(), f.target.Port.Self())
			if err != nil {
				return err
			}
			if err := w.Subscribe(box); err != nil {
				return err
			}
			synctest.Wait()
			last = w
		}
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		p, _ := last.Recv(ctx) // where it was not refused there is nothing to receive
		return p.Err
	}
}

var floods = []flood{
	{bound: "board.entries", limits: node.Limits{Board: board.Limits{Entries: 32}}, refused: nil, attack: func(f *field) error {
		err := post(64)(f)
		if errors.Is(err, fault.Full) { // a need that ends no later than all others finds no room
			return nil
		}
		return err
	}},
	{bound: "board.passports", limits: node.Limits{Board: board.Limits{Passports: 4}}, attack: func(f *field) (err error) {
		for range 12 {
			v := newIssuer(f.T, f.w)
			err = v.publish(f.target, v.chain)
		}
		return err
	}},
	{bound: "mailbox.letters-per-box", limits: node.Limits{Mail: mailbox.Policy{LettersPerBox: 24}}, refused: fault.Full, attack: oneBox(32, 100)},
	{bound: "mailbox.boxes", limits: node.Limits{Mail: mailbox.Policy{Boxes: 24}}, refused: fault.Full, attack: manyBoxes(32, 100)},
	{bound: "mailbox.letters", limits: node.Limits{Mail: mailbox.Policy{Letters: 24}}, refused: fault.Full, attack: manyBoxes(32, 100)},
	{bound: "mailbox.first-per-box", limits: node.Limits{Mail: mailbox.Policy{FirstPerBox: 4}}, refused: fault.Full, attack: func(f *field) error {
		for _, k := range f.w.Members()[:2] { // so that her need is kept at the target alone
			f.w.Net.SetLink(f.her.Port, k.Port, false)
			defer f.w.Net.SetLink(f.her.Port, k.Port, true)
		}
		f.w.Net.SetLink(f.her.Port, f.vendor.Port, false)
		return askers(12, true)(f)
	}},
	{bound: "mailbox.inbox-per-box", limits: node.Limits{Mail: mailbox.Policy{InboxPerBox: 4}}, refused: fault.Full, attack: func(f *field) (err error) {
		v := newIssuer(f.T, f.w)
		if err := v.publish(f.target, v.chain); err != nil {
			f.Fatal(err)
		}
		c, err := wire.OpenChain(v.chain, v.net)
		if err != nil {
			f.Fatal(err)
		}
		s := f.mail()
		for range 12 {
			to := key.GenerateSeal[key.InboxSeal]().Public()
			raw, _, err := wire.SealLetter(to, seal.Vendor, f.net, c.Latest().Inbox.Box, second()+protocol.Day, []byte("hello"))
			if err != nil {
				f.Fatal(err)
			}
			first := protocol.FirstContact{}
			wire.StampFirst(&first, c.Latest().Inbox.Box, wire.ID(raw), f.target.Port.Self().Key, 1)
			_, err = s.Deposit(f.Context(), keeper.Deposit{Box: c.Latest().Inbox.Box, Letter: raw, First: first, Key: key.Generate[key.Depositor]()})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{bound: "mailbox.tombs-per-box", limits: node.Limits{Mail: mailbox.Policy{TombsPerBox: 16}}, attack: func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range 24 {
			id, err := f.deposit(s, box, 100)
			if err != nil {
				return err
			}
			if _, err := s.Delete(f.Context(), box, []protocol.Hash{id}); err != nil {
				return err
			}
		}
		return nil
	}},
	{bound: "mailbox.revoked-per-box", limits: node.Limits{Mail: mailbox.Policy{RevokedPerBox: 8}}, refused: fault.Full, attack: func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range 12 {
			err = s.Revoke(f.Context(), box, wire.NewID())
		}
		return err
	}},
	{bound: "mailbox.watchers-per-box", refused: fault.Full, attack: watchers(12, true)},
	{bound: "mailbox.watchers", limits: node.Limits{Mail: mailbox.Policy{Watchers: 48}}, refused: fault.Full, attack: watchers(64, false)},
	{bound: "keeper.pushes", refused: fault.Full, attack: watchers(1100, false)},
	{bound: "market.contexts", limits: node.Limits{Market: market.Limits{Contexts: 4}}, refused: fault.Full, attack: func(f *field) (err error) {
		for range 6 {
			_, err = f.her.Customer().Needs().Create(f.Context(), desk.NeedSpec{Name: "a couch"})
		}
		return err
	}, at: func(f *field) *nodetest.Member { return f.her }},
	{bound: "market.requests-per-context", limits: node.Limits{Market: market.Limits{Requests: 5}}, attack: askers(12, false),
		at: func(f *field) *nodetest.Member { return f.her }},
}

// rooms are floods on one room by itself, where a whole node adds nothing.
var rooms = map[string]func(t *testing.T){
	"market.queue": func(t *testing.T) {
		m := market.New(market.Config{Stores: market.Stores{KV: kv.Memory()}, Mail: noMail{}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 300)
		for range cap(done) {
			go func() { done <- m.CatchUp(ctx) }()
		}
		for range cap(done) - 256 { // nobody runs the loop: who finds no place gives up
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		full(t, m.Stats(), "market.queue")
		m.Run(ctx) // which is over: nobody waits for ever
		for range 256 {
			<-done //nolint:errcheck // done or refused: it ended
		}
	},
	"seller.queue": func(t *testing.T) {
		s := seller.New(seller.Config{Log: slog.New(slog.DiscardHandler), Queue: 8})
		for i := range 20 {
			s.Match(protocol.GrantID{byte(i)}, protocol.Demand{Name: "x"}, "home.furniture", 5)
		}
		full(t, []kv.Fill{s.Fill()}, "seller.queue")
		if s.Stats().Dropped != 12 {
			t.Errorf("%+v", s.Stats())
		}
	},
	"outbox.items": func(t *testing.T) {
		store := kv.Memory()
		o, err := outbox.Open(store, outbox.Limits{Items: 8})
		if err != nil {
			t.Fatal(err)
		}
		put := func(i byte) error {
			data := []byte{i, 1}
			return store.Update(t.Context(), func(tx kv.Tx) error {
				return o.Put(tx, outbox.Item{ID: wire.ID(data), What: outbox.Announcement, Data: data,
					Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}, CreatedMS: 1, Expires: 1 << 40})
			})
		}
		for i := range byte(12) {
			if err := put(i); (err == nil) != (i < 8) || i >= 8 && !errors.Is(err, fault.Full) {
				t.Errorf("item %d: %v", i, err)
			}
		}
		if err := store.View(t.Context(), func(r kv.Reader) error {
			fills, err := o.Stats(r)
			full(t, fills, "outbox.items")
			return err
		}); err != nil {
			t.Fatal(err)
		}
	},
	"vault.fields": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret())
		var last error
		for i := 0; i < vault.MaxFields+100; i += 100 {
			last = store.Update(t.Context(), func(tx kv.Tx) error {
				for j := range 100 {
					if _, err := v.Set(tx, protocol.FieldName(fmt.Sprintf("note.n%d", i+j)), "x", 1); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if !errors.Is(last, fault.Full) {
			t.Errorf("fields too many: %v", last)
		}
		fullVault(t, store, v, "vault.fields")
	},
	"vault.bytes": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret()).Within(vault.Limits{Bytes: 4 << 10})
		for i := range 6 {
			err := upload(t, store, v, fmt.Sprintf("document.n%d", i), bytes.NewReader(make([]byte, 1<<10)))
			if (err == nil) != (i < 4) || i >= 4 && !errors.Is(err, fault.Full) {
				t.Errorf("large value %d: %v", i, err)
			}
		}
		fullVault(t, store, v, "vault.bytes")
	},
	"vault.uploads": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret())
		var nested func(i int) error // each reads its value from the one before
		nested = func(i int) error {
			return upload(t, store, v, fmt.Sprintf("document.n%d", i), readerFunc(func([]byte) (int, error) {
				if i < vault.MaxUploads {
					return 0, nested(i + 1)
				}
				fullVault(t, store, v, "vault.uploads")
				return 0, upload(t, store, v, "document.more", strings.NewReader("x"))
			}))
		}
		if err := nested(1); !errors.Is(err, fault.Full) {
			t.Errorf("one upload too many: %v", err)
		}
	},
	"vault.purges": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret()).Within(vault.Limits{Purges: 6})
		var last error
		for i := range 10 {
			last = store.Update(t.Context(), func(tx kv.Tx) error {
				_, err := v.Set(tx, "contact.email", fmt.Sprint(i), 1)
				return errors.Join(err, v.Remove(tx, "contact.email"))
			})
		}
		if !errors.Is(last, fault.Full) {
			t.Errorf("one erasure too many: %v", last)
		}
		fullVault(t, store, v, "vault.purges")
	},
	"keeper.budgets": func(t *testing.T) {
		now := time.Unix(1, 0)
		b := budget.New(budget.Limits{Prefix: budget.Rate{PerSecond: 1, Burst: 8}, Name: budget.Rate{PerSecond: 1, Burst: 8},
			All: budget.Rate{PerSecond: 1, Burst: 1e9}, Relay: budget.Rate{PerSecond: 1, Burst: 8}}, func() time.Time { return now })
		for i := range budget.Max + 100 {
			_ = b.Caller(fmt.Sprint(i), 1)
			_ = b.Named("box", fmt.Append(nil, i), 1) // refusals are not what is looked at
		}
		if prefixes, names := b.Sizes(); prefixes != budget.Max || names != budget.Max {
			t.Errorf("%d prefixes, %d names, want %d", prefixes, names, budget.Max)
		}
		if err := b.Caller("somebody else", 8); err != nil {
			t.Errorf("somebody else: %v", err)
		}
	},
	"courier.streams": func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net := nodetest.NewNet(context.Background())
			staff := crew.New(context.Background(), 1024, nil)
			c := courier.New(courier.Config{
				Client: keeper.Client{Port: net.Port(false)}, Crew: staff, KV: kv.Memory(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			for range 200 {
				box := key.Generate[key.Mailbox]()
				c.Watch(records.Box{Key: box.Public(), Seed: protocol.Share(box.Seed()), Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}})
			}
			full(t, c.Stats(), "courier.streams")
			if err := errors.Join(staff.Dismiss(context.Background()), net.Close()); err != nil {
				t.Error(err)
			}
		})
	},
	"node.fresh": func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewWorld(t)
			defer w.Close()
			w.Limits = node.Limits{Fresh: 2}
			vendor := w.Public("couches")
			w.Limits = node.Limits{}
			other := w.Public("keeper")
			time.Sleep(5 * time.Second)
			vendor.Sell(shop)
			net, _, err := wire.NetworkID(w.Genesis)
			if err != nil {
				t.Fatal(err)
			}
			if err := post(64)(&field{T: t, w: w, target: other, net: net}); err != nil {
				t.Fatal(err)
			}
			w.Until(5*time.Minute, "a request for each, those that did not fit too", func() (bool, error) {
				p, err := vendor.Vendor().Board().List(t.Context(), desk.Query{Limit: 500})
				return len(p.Items) == 64 && !slices.ContainsFunc(p.Items, func(n desk.Notice) bool { return !n.Asked }), err
			})
		})
	},
}

// noMail hears of mail and does nothing.
type noMail struct{}

func (noMail) Kick()                  {}
func (noMail) Watch(records.Box)      {}
func (noMail) Unwatch(key.MailboxKey) {}
func (noMail) Collect(key.MailboxKey) {}

// full checks one fill among those of a room.
func full(t *testing.T, list []kv.Fill, name string) {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			if f.Used != f.Cap {
				t.Errorf("%s is %d of %d", name, f.Used, f.Cap)
			}
			return
		}
	}
	t.Errorf("%s is not shown", name)
}

// fullVault holds one bound of a vault to full.
func fullVault(t *testing.T, store kv.Store, v *vault.Vault, name string) {
	t.Helper()
	if err := store.View(t.Context(), func(r kv.Reader) error {
		fills, err := v.Fills(r)
		full(t, fills, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func upload(t *testing.T, store kv.Store, v *vault.Vault, name string, src io.Reader) error {
	_, _, err := v.Upload(t.Context(), store, protocol.FieldName(name), "", vault.Change{}, src, 1,
		func(kv.Tx, vault.Field, vault.What) error { return nil })
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
