package keeper_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func (w *world) post(to *node) *keeper.Session {
	w.Helper()
	s, err := w.client().Post(w.Context(), to.port.Self())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	return s
}

// sealed makes a post for a keeper whose key was asked for at another.
func (w *world) sealed(s *keeper.Session, to *node, raw []byte, holdMS uint16) []byte {
	w.Helper()
	word, err := s.PostKey(w.Context(), to.port.Self().Key, now())
	if err != nil {
		w.Fatal(err)
	}
	return must(wire.SealPost(word, netID, protocol.Post{Data: raw, Hold: holdMS}))
}

// alone keeps gossip and pull from bringing a node what it is to get, or not to get,
// by a post.
func (n *node) alone(t *testing.T) {
	t.Helper()
	if err := n.Join(nil); err != nil {
		t.Fatal(err)
	}
}

// The first hop hands on what it can't read and keeps nothing; the second publishes.
func TestTwoHops(t *testing.T) {
	in(t, func(w *world) {
		hop, exit := w.keeper(), w.keeper()
		n := w.need(exit, effort)
		hop.alone(t)
		s := w.post(hop)
		sealed := w.sealed(s, exit, n.raw, 0)
		if bytes.Contains(sealed, n.raw[:64]) {
			t.Fatal("the announcement stands in the post")
		}
		if err := s.Post(w.Context(), sealed, exit.port.Self()); err != nil {
			t.Fatal(err)
		}
		if !exit.heard(wire.ID(n.raw)) {
			t.Error("the exit did not publish it")
		}
		if hop.heard(wire.ID(n.raw)) {
			t.Error("the first hop kept it")
		}
		if err := s.Post(w.Context(), sealed, exit.port.Self()); err != nil {
			t.Errorf("again: %v", err)
		}
		unknown := w.net.Port(false).Self()
		if err := s.Post(w.Context(), sealed, unknown); !errors.Is(err, fault.NotFound) || !refusedAs(err, "next") {
			t.Errorf("an exit that nobody knows: %v", err)
		}
		if _, err := s.PostKey(w.Context(), unknown.Key, now()); !errors.Is(err, fault.NotFound) || !refusedAs(err, "next") {
			t.Errorf("the key of one that nobody knows: %v", err)
		}
		if fills := hop.Fills(); fills["post-keys"].At != 1 || fills["held-posts"].At != 0 {
			t.Errorf("the first hop holds %+v", fills)
		}
	})
}

func refusedAs(err error, text string) bool {
	var r *keeper.Refused
	return errors.As(err, &r) && r.Text == text
}

// What the publishing node's door says comes back through the first hop.
func TestTwoHopsPassOnRefusals(t *testing.T) {
	in(t, func(w *world) {
		hop, exit := w.keeper(), w.keeper()
		hop.alone(t)
		for _, hold := range []uint16{0, 500} {
			s := w.post(hop)
			weak := w.sealed(s, exit, w.need(exit, effort-1).raw, hold)
			if err := s.Post(w.Context(), weak, exit.port.Self()); !errors.Is(err, fault.NotFound) || !refusedAs(err, "admission") {
				t.Errorf("hold %d, too little work: %v", hold, err)
			}
			junk := w.sealed(s, exit, []byte("junk"), hold)
			if err := s.Post(w.Context(), junk, exit.port.Self()); !errors.Is(err, fault.Malformed) {
				t.Errorf("hold %d, junk: %v", hold, err)
			}
		}
		exit.alone(t)
		w.net.SetOnline(exit.port, false)
		s := w.post(hop)
		if err := s.Post(w.Context(), make1(wire.SealedPost), exit.port.Self()); err == nil {
			t.Error("a next hop that is off the net took it")
		}
	})
}

func make1(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// A keeper sits on a post for as long as the sealed text says, and answers at once.
func TestHeldPost(t *testing.T) {
	in(t, func(w *world) {
		hop, exit := w.keeper(), w.keeper()
		hop.alone(t)
		s := w.post(hop)
		n, begin := w.need(exit, effort), time.Now()
		sealed := w.sealed(s, exit, n.raw, 7000)
		for range 2 { // one that comes twice is held once
			if err := s.Post(w.Context(), sealed, exit.port.Self()); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begin) > time.Second || exit.heard(wire.ID(n.raw)) || exit.Fills()["held-posts"].At != 1 {
			t.Fatalf("after %v: heard %v, %+v", time.Since(begin), exit.heard(wire.ID(n.raw)), exit.Fills()["held-posts"])
		}
		time.Sleep(6900 * time.Millisecond)
		if exit.heard(wire.ID(n.raw)) {
			t.Error("it was published too early")
		}
		time.Sleep(200 * time.Millisecond)
		if !exit.heard(wire.ID(n.raw)) || exit.Fills()["held-posts"].At != 0 {
			t.Error("it was not published when it was due")
		}
	})
}

// A short hold that comes after a long one does not wait for it.
func TestHeldPostsComeInTheirOrder(t *testing.T) {
	in(t, func(w *world) {
		exit := w.keeper()
		s := w.post(exit)
		late, early := w.need(exit, effort), w.need(exit, effort)
		for _, p := range []struct {
			n    need
			hold uint16
		}{{late, 9000}, {early, 1000}} {
			if err := s.Post(w.Context(), w.sealed(s, exit, p.n.raw, p.hold), exit.port.Self()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(1100 * time.Millisecond)
		if !exit.heard(wire.ID(early.raw)) || exit.heard(wire.ID(late.raw)) {
			t.Errorf("early %v, late %v", exit.heard(wire.ID(early.raw)), exit.heard(wire.ID(late.raw)))
		}
	})
}

// What is sealed to a key that the keeper does not have, is addressed to another, or
// is changed on the way, is told to be fetched anew and published by nobody.
func TestPostsUnderAnotherKey(t *testing.T) {
	in(t, func(w *world) {
		hop, exit, third := w.keeper(), w.keeper(), w.keeper()
		hop.alone(t)
		s := w.post(hop)
		n := w.need(exit, effort)
		good := w.sealed(s, exit, n.raw, 0)
		bent := bytes.Clone(good)
		bent[len(bent)-1] ^= 1
		stale := protocol.PostKey{Keeper: exit.port.Self().Key, Seal: key.GenerateSeal[key.PostSeal]().Public(), Expires: now() + protocol.Day}
		for name, p := range map[string]struct {
			raw []byte
			to  *node
		}{
			"changed": {bent, exit}, "of another keeper": {good, third}, "junk": {make1(wire.SealedPost), exit},
			"of a key before": {must(wire.SealPost(stale, netID, protocol.Post{Data: n.raw})), exit},
		} {
			if err := s.Post(w.Context(), p.raw, p.to.port.Self()); !keeper.LacksPostKey(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if exit.heard(wire.ID(n.raw)) || third.heard(wire.ID(n.raw)) {
			t.Error("something of this was published")
		}
		if at := hop.Fills()["post-keys"].At; at != 0 {
			t.Errorf("the first hop still gives out %d keys that were refused", at)
		}
		if err := s.Post(w.Context(), good, exit.port.Self()); err != nil {
			t.Errorf("the stream did not go on: %v", err)
		}
	})
}

// Keys turn once a day; what was sealed to the one before still opens, and what is
// older does not.
func TestPostKeysTurn(t *testing.T) {
	in(t, func(w *world) {
		exit := w.keeper()
		var words []protocol.PostKey
		for range 3 {
			word, err := w.post(exit).PostKey(w.Context(), exit.port.Self().Key, now())
			if err != nil {
				t.Fatal(err)
			}
			if left := word.Expires - now(); left < protocol.Day || left > protocol.MaxPostKey {
				t.Errorf("a key for another %d s", left)
			}
			words = append(words, word)
			time.Sleep(23 * time.Hour)
			again, err := w.post(exit).PostKey(w.Context(), exit.port.Self().Key, now())
			if err != nil || again.Seal != word.Seal {
				t.Errorf("within a day: another key, %v", err)
			}
			time.Sleep(time.Hour)
		}
		if words[0].Seal == words[1].Seal || words[1].Seal == words[2].Seal {
			t.Fatal("a key was used for longer than a day")
		}
		exit.alone(t)
		for i, want := range map[int]bool{0: false, 1: false, 2: true} {
			n := w.need(exit, effort)
			err := w.post(exit).Post(w.Context(), must(wire.SealPost(words[i], netID, protocol.Post{Data: n.raw})), exit.port.Self())
			if got := err == nil; got != want || !got && !keeper.LacksPostKey(err) {
				t.Errorf("sealed to key %d of 3: %v", i+1, err)
			}
		}
	})
}

// The queue is bounded, and one first hop does not take all of it.
func TestHeldPostsAreBounded(t *testing.T) {
	in(t, func(w *world) {
		exit := w.keeper()
		s := w.post(exit)
		to := must(s.PostKey(w.Context(), exit.port.Self().Key, now()))
		hold := func(s *keeper.Session) error {
			raw := w.need(exit, effort).raw
			return s.Post(w.Context(), must(wire.SealPost(to, netID, protocol.Post{Data: raw, Hold: protocol.MaxPostHold})), exit.port.Self())
		}
		for i := range 256 {
			if err := hold(s); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if err := hold(s); !errors.Is(err, fault.Full) {
			t.Errorf("one more of the same caller: %v", err)
		}
		if err := hold(w.post(exit)); err != nil { // another port, another address
			t.Errorf("another caller: %v", err)
		}
		if f := exit.Fills()["held-posts"]; f.At != 257 || f.Limit != 1024 {
			t.Errorf("%+v", f)
		}
		time.Sleep(11 * time.Second)
		if f := exit.Fills()["held-posts"]; f.At != 0 {
			t.Errorf("%d are still held", f.At)
		}
	})
}

// To have something passed on costs the caller so much that he can't use up what
// this node may ask of the next one.
func TestPassingOnIsDear(t *testing.T) {
	in(t, func(w *world) {
		limits := keeper.DefaultLimits
		limits.Prefix = keeper.Rate{PerSecond: 1, Burst: 4 * 64}
		hop := w.keeper(func(c *keeper.Config) { c.Limits = limits })
		exit := w.keeper()
		s := w.post(hop)
		passed := 0
		for range 16 {
			err := s.Post(w.Context(), make1(wire.SealedPost), exit.port.Self())
			if keeper.LacksPostKey(err) {
				passed++
			} else if !errors.Is(err, fault.Full) {
				t.Fatal(err)
			}
		}
		if passed < 3 || passed > 4 {
			t.Errorf("%d were passed on", passed)
		}
	})
}

// Streams of the post protocol take no wrong sizes: what is open goes to this node
// alone, what is sealed to the one that is named.
func TestPostSizes(t *testing.T) {
	in(t, func(w *world) {
		k, other := w.keeper(), w.keeper()
		next := protocol.Keeper{Key: other.port.Self().Key}
		for name, op := range map[string]*protocol.Op{
			"open to a next hop":        {N: 1, Kind: protocol.OpPost, Data: w.need(k, effort).raw, Next: next},
			"sealed without a next hop": {N: 1, Kind: protocol.OpPost, Data: make1(wire.SealedPost)},
			"a byte too long":           {N: 1, Kind: protocol.OpPost, Data: make1(wire.SealedPost + 1), Next: next},
			"a next hop of small order": {N: 1, Kind: protocol.OpPostKey, Next: protocol.Keeper{Key: key.KeeperKey{1}}},
		} {
			c, _ := w.raw(k, peers.ProtoPost)
			if r, err := ask(c, op); err != nil || kindOf(r) != fault.Malformed {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		c, _ := w.raw(k, peers.ProtoMail)
		if r, err := ask(c, &protocol.Op{N: 1, Kind: protocol.OpPostKey}); err != nil || kindOf(r) != fault.Unsupported {
			t.Errorf("a post key on a mail stream: %+v, %v", r, err)
		}
		c, _ = w.raw(k, peers.ProtoPost)
		r, err := ask(c, &protocol.Op{N: 1, Kind: protocol.OpPostKey})
		if err != nil || r.Fault != 0 || r.PostKey.Keeper != k.port.Self().Key || wire.CheckPostKey(r.PostKey, now()) != nil {
			t.Errorf("its own key, without a name: %+v, %v", r, err)
		}
		synctest.Wait()
	})
}

// A first hop keeps its stream to the next one open, and opens another where that
// one ended: for silence, or because the keeper was away.
func TestAFirstHopOpensItsLineAnew(t *testing.T) {
	in(t, func(w *world) {
		hop, exit := w.keeper(), w.keeper()
		hop.alone(t)
		for i, meanwhile := range []func(){
			func() {}, func() {}, func() { time.Sleep(2 * time.Minute) },
			func() { w.net.SetOnline(exit.port, false); w.net.SetOnline(exit.port, true) },
		} {
			meanwhile()
			s, n := w.post(hop), w.need(exit, effort)
			if err := s.Post(w.Context(), w.sealed(s, exit, n.raw, 0), exit.port.Self()); err != nil || !exit.heard(wire.ID(n.raw)) {
				t.Errorf("post %d: %v", i, err)
			}
			if f := hop.Fills()["post-lines"]; f.At != 1 || f.Limit != 64 {
				t.Errorf("post %d: %+v", i, f)
			}
		}
	})
}
