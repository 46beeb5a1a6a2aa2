package keeper_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func TestALetterUnderACapability(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		box := key.Generate[key.Mailbox]()
		c, dep := capability(box)
		raw := letter(box.Public())
		sender, owner := w.mail(k), w.mail(k)
		r, err := sender.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: raw, Cap: c, Key: dep})
		if err != nil || r.Keeper != k.port.Key().Public() || r.Letter != wire.ID(raw) {
			t.Fatalf("Deposit = %+v, %v", r, err)
		}
		letters, more, err := owner.Collect(w.Context(), box, protocol.Hash{})
		if err != nil || more || len(letters) != 1 || !slices.Equal(letters[0], raw) {
			t.Fatalf("Collect = %d letters, %v, %v", len(letters), more, err)
		}
		had, err := owner.Delete(w.Context(), box, []protocol.Hash{wire.ID(raw)})
		if err != nil || len(had) != 1 || had[0] != wire.ID(raw) {
			t.Fatalf("Delete = %v, %v", had, err)
		}
		if letters, _, err := owner.Collect(w.Context(), box, protocol.Hash{}); err != nil || len(letters) != 0 {
			t.Fatalf("after Delete: %d letters, %v", len(letters), err)
		}
		// Deleted letters stay away.
		if _, err := sender.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: raw, Cap: c, Key: dep}); !errors.Is(err, fault.Conflict) {
			t.Errorf("deposit of a deleted letter: %v", err)
		}
		if err := owner.Revoke(w.Context(), box, c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := sender.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: letter(box.Public()), Cap: c, Key: dep}); !errors.Is(err, fault.NotFound) {
			t.Errorf("deposit under a revoked capability: %v", err)
		}
	})
}

// Every way to leave or take what is not one's own is refused, and the session goes on.
func TestMailRefusals(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		box, other := key.Generate[key.Mailbox](), key.Generate[key.Mailbox]()
		c, dep := capability(box)
		forged := c
		forged.Letters++
		old := c
		old.Expires = now() - 1
		long := c
		long.Expires = now() + 4000*protocol.Day
		for _, cap := range []*protocol.Capability{&old, &long} {
			if err := wire.SignCapability(box, cap); err != nil {
				t.Fatal(err)
			}
		}
		raw := letter(box.Public())
		s := w.mail(k)
		for name, d := range map[string]struct {
			keeper.Deposit
			want fault.Kind
		}{
			"no lane":             {keeper.Deposit{Box: box.Public(), Letter: raw}, fault.NotFound},
			"forged capability":   {keeper.Deposit{Box: box.Public(), Letter: raw, Cap: forged, Key: dep}, fault.NotFound},
			"expired capability":  {keeper.Deposit{Box: box.Public(), Letter: raw, Cap: old, Key: dep}, fault.Expired},
			"capability too long": {keeper.Deposit{Box: box.Public(), Letter: raw, Cap: long, Key: dep}, fault.NotFound},
		} {
			var refused *keeper.Refused
			if _, err := s.Deposit(w.Context(), d.Deposit); !errors.As(err, &refused) || refused.Kind != d.want {
				t.Errorf("%s: %v, want %v", name, err, d.want)
			}
		}
		if _, err := s.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: raw, Cap: c, Key: dep}); err != nil {
			t.Errorf("the session did not survive: %v", err)
		}
		if letters, _, err := s.Collect(w.Context(), other, protocol.Hash{}); err != nil || len(letters) != 0 {
			t.Errorf("another box: %d letters, %v", len(letters), err)
		}
		if k.Fills()["budgets"].At == 0 {
			t.Error("nobody was charged")
		}
	})
}

func TestPushesComeAndStopAtTheWindow(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		box := key.Generate[key.Mailbox]()
		c, dep := capability(box)
		sender, owner := w.mail(k), w.mail(k)
		leave := func() {
			t.Helper()
			if _, err := sender.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: letter(box.Public()), Cap: c, Key: dep}); err != nil {
				t.Fatal(err)
			}
		}
		leave()
		watch, err := w.client().Watch(w.Context(), k.port.Self())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = watch.Close() }()
		if err := watch.Subscribe(box); err != nil {
			t.Fatal(err)
		}
		for range 19 {
			leave()
		}
		got := receive(w, watch, 16)
		// Nothing more comes until something is deleted; signs of life do, unseen.
		short, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		none := make(chan keeper.Push, 1)
		go func() {
			p, err := watch.Recv(w.Context())
			if err != nil {
				t.Error(err)
			}
			none <- p
		}()
		select {
		case p := <-none:
			t.Fatalf("%d letters beyond the window", len(p.Letters))
		case <-short.Done():
		}
		cancel()
		if _, err := owner.Delete(w.Context(), box, got[:4]); err != nil {
			t.Fatal(err)
		}
		p := <-none
		for _, raw := range p.Letters {
			got = append(got, wire.ID(raw))
		}
		got = append(got, receive(w, watch, 20-len(got))...)
		slices.SortFunc(got, func(a, b protocol.Hash) int { return slices.Compare(a[:], b[:]) })
		if n := len(slices.Compact(got)); n != 20 {
			t.Errorf("%d different letters of 20", n)
		}
		time.Sleep(10 * time.Minute) // with nothing but signs of life
		if _, _, err := owner.Collect(w.Context(), box, protocol.Hash{}); !errors.Is(err, fault.Offline) {
			t.Error("an idle session stays open for ever")
		}
		fresh := w.mail(k)
		if _, err := fresh.Delete(w.Context(), box, got); err != nil {
			t.Fatal(err)
		}
		sender = w.mail(k)
		leave()
		receive(w, watch, 1)
	})
}

func receive(w *world, watch *keeper.Watch, n int) (got []protocol.Hash) {
	w.Helper()
	for len(got) < n {
		p, err := watch.Recv(w.Context())
		if err != nil || p.Err != nil {
			w.Fatal(err, p.Err)
		}
		for _, raw := range p.Letters {
			got = append(got, wire.ID(raw))
		}
	}
	if len(got) != n {
		w.Fatalf("%d letters pushed, want %d", len(got), n)
	}
	return got
}

func TestAHeldLetterComesWhenItIsDue(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		box := key.Generate[key.Mailbox]()
		c, dep := capability(box)
		watch, err := w.client().Watch(w.Context(), k.port.Self())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = watch.Close() }()
		if err := watch.Subscribe(box); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := w.mail(k).Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: letter(box.Public()), Cap: c, Key: dep, Hold: 600}); err != nil {
			t.Fatal(err)
		}
		receive(w, watch, 1)
		if d := time.Since(begin); d < 10*time.Minute || d > 10*time.Minute+2*time.Second {
			t.Errorf("shown after %v", d)
		}
	})
}

func TestAFirstLetterToAnAnnouncement(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		n := w.need(k, effort)
		v := w.seller(k, protocol.RoleRequests)
		raw := letter(n.box.Public())
		s := w.mail(k)
		deposit := func(f protocol.FirstContact) error {
			_, err := s.Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: f})
			return err
		}
		good := v.first(n, raw, k, effort)
		if err := deposit(good); !errors.Is(err, fault.NotFound) || keeper.LacksPassport(err) {
			t.Errorf("before the announcement: %v", err)
		}
		w.announce(k, n.raw)
		if err := deposit(v.first(n, raw, k, effort-1)); !errors.Is(err, fault.NotFound) {
			t.Errorf("too little work: %v", err)
		}
		if err := deposit(good); !keeper.LacksPassport(err) {
			t.Errorf("an unknown vendor: %v, want to be asked for the passport", err)
		}
		stranger := w.seller(k, protocol.RoleRequests)
		swapped := good
		swapped.Chain = stranger.chain
		if err := deposit(swapped); !errors.Is(err, fault.NotFound) || keeper.LacksPassport(err) {
			t.Errorf("another vendor's passport: %v", err)
		}
		noRole := w.seller(k, protocol.RoleInbox)
		wrong := noRole.first(n, raw, k, effort)
		wrong.Chain = noRole.chain
		if err := deposit(wrong); !errors.Is(err, fault.NotFound) {
			t.Errorf("a key that may not ask: %v", err)
		}
		elsewhere := v.first(n, raw, w.keeper(), effort)
		elsewhere.Chain = v.chain
		if err := deposit(elsewhere); !errors.Is(err, fault.NotFound) {
			t.Errorf("made for another keeper: %v", err)
		}
		good.Chain = v.chain
		if err := deposit(good); err != nil {
			t.Fatal(err)
		}
		good.Chain = nil
		if err := deposit(good); err != nil {
			t.Errorf("again, now that the vendor is known: %v", err)
		}
		// One per vendor and box.
		second := letter(n.box.Public())
		if _, err := s.Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: second, First: v.first(n, second, k, effort)}); err == nil {
			t.Error("a second letter of one vendor was kept")
		}
		if letters, _, err := s.Collect(w.Context(), n.box, protocol.Hash{}); err != nil || len(letters) != 1 {
			t.Errorf("%d letters, %v", len(letters), err)
		}
	})
}

// Whoever names another's mailbox in an announcement takes no letters away from it,
// and when that ends nothing ends with it.
func TestAMailboxStaysWithItsOwner(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		n, v := w.need(k, effort), w.seller(k, protocol.RoleRequests)
		w.announce(k, n.raw)
		h, err := wire.OpenAnnouncement(n.raw)
		if err != nil {
			t.Fatal(err)
		}
		a := *h.A()
		a.Header.ID, a.Expires, a.Issuers = wire.NewID(), now()+protocol.Hour, nil
		w.announce(k, must(wire.SignAnnouncement(key.Generate[key.Context](), &a, protocol.LaneWork, effort)))
		time.Sleep(2 * time.Hour) // the thief's has ended, and was forgotten
		synctest.Wait()
		raw := letter(n.box.Public())
		f := v.first(n, raw, k, effort)
		f.Chain = v.chain
		if _, err := w.mail(k).Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: f}); err != nil {
			t.Errorf("a first letter to the owner: %v", err)
		}
	})
}

// When the box is full, a vendor that an issuer of the announcement vouches for
// still gets in, and one that another issuer vouches for does not.
func TestVouchedVendorsGoFirst(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		n := w.need(k, effort)
		w.announce(k, n.raw)
		s := w.mail(k)
		try := func(by key.Private[key.Issuer]) error {
			v, raw := w.seller(k, protocol.RoleRequests), letter(n.box.Public())
			f := v.first(n, raw, k, effort)
			f.Chain = v.chain
			if !by.IsZero() {
				f.Vouch = protocol.Vouch{Vendor: v.id(), Expires: now() + protocol.Day}
				if err := wire.SignVouch(by, &f.Vouch); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: f})
			return err
		}
		for i := range protocol.FirstPerBox {
			if err := try(key.Private[key.Issuer]{}); err != nil {
				t.Fatalf("letter %d: %v", i, err)
			}
		}
		if err := try(key.Private[key.Issuer]{}); !errors.Is(err, fault.Full) {
			t.Errorf("one too many: %v", err)
		}
		if err := try(key.Generate[key.Issuer]()); !errors.Is(err, fault.Full) {
			t.Errorf("vouched for by a stranger: %v", err)
		}
		if err := try(n.issuer); err != nil {
			t.Errorf("vouched for by an issuer that she named: %v", err)
		}
	})
}

func TestTheOpenLaneOfAnInbox(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		v := w.seller(k, protocol.RoleRequests)
		raw := letter(v.inbox.Public())
		s := w.mail(k)
		deposit := func(stamp uint8) error {
			var f protocol.FirstContact
			wire.StampFirst(&f, v.inbox.Public(), wire.ID(raw), k.port.Key().Public(), stamp)
			_, err := s.Deposit(w.Context(), keeper.Deposit{Box: v.inbox.Public(), Letter: raw, First: f})
			return err
		}
		if err := deposit(effort); !keeper.LacksPassport(err) {
			t.Errorf("an unknown box: %v", err)
		}
		sync := must(w.client().Sync(w.Context(), k.port.Self()))
		defer func() { _ = sync.Close() }()
		if err := sync.Publish(w.Context(), v.chain); err != nil {
			t.Fatal(err)
		}
		if err := sync.Publish(w.Context(), v.chain); err != nil {
			t.Errorf("publish again: %v", err)
		}
		// A vendor that names the inbox as its own, and asks for more, changes nothing.
		root, lie := key.Generate[key.Root](), *must(wire.OpenChain(v.chain, netID)).Latest()
		lie.ID, lie.From, lie.Root, lie.Inbox.Effort = wire.NewID(), protocol.Hash{}, root.Public(), effort+16
		if err := sync.Publish(w.Context(), [][]byte{must(wire.Sign(root, &lie))}); err != nil {
			t.Fatal(err)
		}
		for _, stamp := range []uint8{0, effort - 1} {
			if err := deposit(stamp); !errors.Is(err, fault.NotFound) {
				t.Errorf("stamp %d: %v", stamp, err)
			}
		}
		if err := deposit(effort); err != nil {
			t.Error(err)
		}
	})
}

// A keeper that goes away shows: the session and the watch end with Offline.
func TestAKeeperThatGoesAway(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		box := key.Generate[key.Mailbox]()
		s := w.mail(k)
		watch := must(w.client().Watch(w.Context(), k.port.Self()))
		if err := watch.Subscribe(box); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.net.SetOnline(k.port, false)
		if _, err := watch.Recv(w.Context()); !errors.Is(err, fault.Offline) {
			t.Errorf("Recv = %v", err)
		}
		if _, _, err := s.Collect(w.Context(), box, protocol.Hash{}); !errors.Is(err, fault.Offline) {
			t.Errorf("Collect = %v", err)
		}
		if _, err := w.client().Mail(w.Context(), k.port.Self()); !errors.Is(err, fault.Offline) {
			t.Errorf("Mail = %v", err)
		}
		w.net.SetOnline(k.port, true)
		if _, _, err := w.mail(k).Collect(w.Context(), box, protocol.Hash{}); err != nil {
			t.Error(err)
		}
	})
}
