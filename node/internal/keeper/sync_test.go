package keeper_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func TestAPostIsKeptAndHeardByAll(t *testing.T) {
	in(t, func(w *world) {
		a, b, c := w.keeper(), w.keeper(), w.keeper()
		n := w.need(a, effort)
		w.announce(a, n.raw)
		if _, err := a.board.ByID(w.Context(), wire.ID(n.raw)); err != nil {
			t.Errorf("answered before it was kept: %v", err)
		}
		synctest.Wait()
		for _, k := range []*node{a, b, c} {
			if !k.heard(wire.ID(n.raw)) {
				t.Error("a node did not hear it")
			}
		}
		w.announce(b, n.raw) // known already: no error
	})
}

// One announcement that comes by several ways at the same time is refused by none of
// them: to its author a refusal would say that a later version stands there.
func TestOneAnnouncementByManyWaysAtOnce(t *testing.T) {
	in(t, func(w *world) {
		a := w.keeper()
		const ways = 8
		var posters [ways]*keeper.Session
		for i := range posters {
			posters[i] = must(w.client().Post(w.Context(), a.port.Self()))
			w.Cleanup(func() { _ = posters[i].Close() })
		}
		for range 20 {
			n := w.need(a, effort)
			said := make(chan error, ways)
			for _, s := range posters {
				go func() { said <- s.Announce(w.Context(), n.raw) }()
			}
			for range posters {
				if err := <-said; err != nil {
					t.Fatal(err)
				}
			}
		}
		for j, count := range a.Judged() {
			if j.Reason != check.OK && j.Reason != check.Seen {
				t.Errorf("%d judged %+v", count, j)
			}
		}
	})
}

func TestPostsAreTurnedAway(t *testing.T) {
	in(t, func(w *world) {
		a := w.keeper()
		s := must(w.client().Post(w.Context(), a.port.Self()))
		good := w.need(a, effort)
		flipped := append([]byte(nil), w.need(a, effort).raw...)
		flipped[len(flipped)-1] ^= 1
		for name, p := range map[string]struct {
			raw  []byte
			want fault.Kind
		}{
			"junk":            {[]byte("junk"), fault.Malformed},
			"flipped bit":     {flipped, fault.Malformed},
			"too little work": {w.need(a, effort-1).raw, fault.NotFound},
		} {
			if err := s.Announce(w.Context(), p.raw); !errors.Is(err, p.want) {
				t.Errorf("%s: %v", name, err)
			}
			if errors.Is(s.Announce(w.Context(), good.raw), fault.Offline) {
				s = must(w.client().Post(w.Context(), a.port.Self()))
			}
		}
		time.Sleep(7 * time.Hour)
		s = must(w.client().Post(w.Context(), a.port.Self()))
		if err := s.Announce(w.Context(), good.raw); !errors.Is(err, fault.Expired) {
			t.Errorf("past its date: %v", err)
		}
	})
}

// A node that was away finds by pull what gossip brought to the others: announcements
// and passports, at once when it is back.
func TestPullHealsWhatGossipMissed(t *testing.T) {
	in(t, func(w *world) {
		a, b := w.keeper(), w.keeper()
		w.net.SetOnline(b.port, false)
		var needs []need
		for range 5 {
			n := w.need(a, effort)
			w.announce(a, n.raw)
			needs = append(needs, n)
		}
		v := w.seller(a, protocol.RoleRequests)
		if err := must(w.client().Sync(w.Context(), a.port.Self())).Publish(w.Context(), v.chain); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b.heard(wire.ID(needs[0].raw)) {
			t.Fatal("heard while it was away")
		}
		w.net.SetOnline(b.port, true)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		for i, n := range needs {
			if !b.heard(wire.ID(n.raw)) {
				t.Errorf("need %d was not pulled", i)
			}
		}
		if c, err := b.board.Passports(w.Context(), v.id()); err != nil || c.Vendor() != v.id() {
			t.Errorf("the passport was not pulled: %v", err)
		}
		// Its index follows: a first letter to a pulled need is kept.
		raw := letter(needs[0].box.Public())
		if _, err := w.mail(b).Deposit(w.Context(), keeper.Deposit{Box: needs[0].box.Public(), Letter: raw, First: v.first(needs[0], raw, b, effort)}); err != nil {
			t.Errorf("first letter: %v", err)
		}
	})
}

func TestPullPages(t *testing.T) {
	in(t, func(w *world) {
		big := keeper.Rate{PerSecond: 1e6, Burst: 1e6}
		generous := func(c *keeper.Config) { c.Limits = keeper.Limits{Prefix: big, Name: big, All: big, Relay: big} }
		a := w.keeper(generous)
		b := w.keeper(generous)
		w.net.SetLink(a.port, b.port, false)
		for range 150 {
			w.announce(a, w.need(a, effort).raw)
		}
		w.net.SetLink(a.port, b.port, true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.fresh) != 150 {
			t.Errorf("%d of 150 pulled", len(b.fresh))
		}
	})
}

func TestExchangeOfNodes(t *testing.T) {
	in(t, func(w *world) {
		a, b := w.keeper(), w.keeper()
		c, err := w.net.Port(false).Dial(w.Context(), a.port.Self(), "/hark/sync/1")
		if err != nil {
			t.Fatal(err)
		}
		ks, err := keeper.Client{Net: netID}.Exchange()(w.Context(), c, a.port.Key().Public())
		if err != nil || len(ks) != 1 || ks[0].Key != b.port.Key().Public() {
			t.Errorf("%v, %v", ks, err)
		}
	})
}

// What is on the board at start is known: the index is read again.
func TestTheIndexOutlivesARestart(t *testing.T) {
	in(t, func(w *world) {
		a := w.keeper()
		n, v := w.need(a, effort), w.seller(a, protocol.RoleRequests)
		w.announce(a, n.raw)
		if err := must(w.client().Sync(w.Context(), a.port.Self())).Publish(w.Context(), v.chain); err != nil {
			t.Fatal(err)
		}
		again := w.keeper(func(c *keeper.Config) { c.Board, c.Door.Memory = a.board, a.board })
		raw := letter(n.box.Public())
		if _, err := w.mail(again).Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: v.first(n, raw, again, effort)}); err != nil {
			t.Error(err)
		}
		if f := again.Fills(); f["boxes"].At != 1 || f["inboxes"].At != 1 {
			t.Errorf("%+v", f)
		}
		time.Sleep(7 * time.Hour)
		synctest.Wait()
		if f := again.Fills(); f["boxes"].At != 0 {
			t.Errorf("an expired need is remembered: %+v", f)
		}
	})
}
