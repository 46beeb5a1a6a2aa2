package courier_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/pipe"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/outbox"
)

// need is an announcement that names keepers, as an item of the outbox.
func (w *world) need(ctx key.Private[key.Context], seq uint64, keepers ...protocol.Keeper) outbox.Item {
	w.Helper()
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, key.NewSecret(), ctx.Public(), seq)
	if err != nil {
		w.Fatal(err)
	}
	raw := must(wire.SignAnnouncement(ctx, &protocol.Announcement{
		Header: protocol.Header{Net: netID, ID: wire.NewID(), Seq: seq, Created: now(), Expires: now() + 6*protocol.Hour},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: protocol.Hash{8}, Keepers: keepers, Mailbox: key.Generate[key.Mailbox]().Public(),
		Body: body, Commitment: commitment,
	}, protocol.LaneWork, effort))
	return outbox.Item{
		ID: wire.ID(raw), What: outbox.Announcement, Data: raw, Keepers: keepers, Kind: protocol.KindAnnouncement,
		Grant: protocol.Hash(ctx.Public()), Expires: now() + 6*protocol.Hour,
	}
}

// posts are the operations of posting that came to each keeper, by who sent them.
type posts struct {
	mu   sync.Mutex
	seen map[*node][]nodetest.Seen
}

func (w *world) watchPosts() *posts {
	p := &posts{seen: map[*node][]nodetest.Seen{}}
	for _, n := range w.keepers {
		n.port.Spy(func(s nodetest.Seen) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if s.Proto == peers.ProtoPost && s.Op.Kind == protocol.OpPost {
				p.seen[n] = append(p.seen[n], s)
			}
		})
	}
	return p
}

// of gives what came to a keeper from one address.
func (p *posts) of(n *node, from string) (ops []*protocol.Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen[n] {
		if s.From == from {
			ops = append(ops, s.Op)
		}
	}
	return ops
}

func (n *node) has(it outbox.Item) bool { return n.board.Seen(it.ID) }

// Every keeper gets a need by way of another one, and nobody gets an announcement
// from her: neither open, nor sealed to itself.
func TestNeedsGoByWayOfAnotherKeeper(t *testing.T) {
	in(t, "", func(w *world) {
		u, p := w.user(courier.Posting{TwoHops: true}), w.watchPosts()
		ctx := key.Generate[key.Context]()
		for seq := range uint64(2) {
			it := w.need(ctx, seq+1, w.addresses()...)
			u.send(it)
			time.Sleep(2 * time.Second)
			if got := u.item(it.ID); got.State != outbox.Done || !got.Over() {
				t.Fatalf("seq %d: %s, %q", seq+1, got.State, got.Last)
			}
			for i, n := range w.keepers {
				if !n.has(it) {
					t.Errorf("keeper %d lacks seq %d", i, seq+1)
				}
			}
		}
		passed := 0
		for i, n := range w.keepers {
			for _, op := range p.of(n, u.port.Prefix()) {
				passed++
				if op.Next.Key.IsZero() || op.Next.Key == n.key() || len(op.Data) != wire.SealedPost {
					t.Errorf("keeper %d got from her %d bytes for %s", i, len(op.Data), op.Next.Key)
				}
			}
		}
		if passed != 6 {
			t.Errorf("%d posts for three keepers and two versions", passed)
		}
	})
}

// One time is drawn for all keepers of a need, and none publishes before it.
func TestNeedsAreHeld(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user(courier.Posting{TwoHops: true, Delay: 8 * time.Second})
		var held []time.Duration
		for range 8 {
			it := w.need(key.Generate[key.Context](), 1, w.addresses()...)
			begin, first := time.Now(), time.Duration(0)
			u.send(it)
			for u.item(it.ID).State != outbox.Done && time.Since(begin) < 20*time.Second {
				if first == 0 && slices.ContainsFunc(w.keepers, func(n *node) bool { return n.has(it) }) {
					first = time.Since(begin)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if got := u.item(it.ID); !got.Over() || got.Tries != 1 {
				t.Errorf("%s after %d tries: %q", got.State, got.Tries, got.Last)
			}
			held = append(held, first)
		}
		if slices.Max(held) > 8100*time.Millisecond || slices.Max(held)-slices.Min(held) < time.Second {
			t.Errorf("published after %v", held)
		}
	})
}

// A keeper that started anew has another key: it is fetched and the post repeated.
func TestAPostUnderAKeyThatIsGone(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user(courier.Posting{TwoHops: true})
		first := w.need(key.Generate[key.Context](), 1, w.addresses()...)
		u.send(first)
		time.Sleep(time.Second)
		time.Sleep(26 * time.Hour) // keys turned; the words that she has are of before
		again := w.need(key.Generate[key.Context](), 1, w.addresses()...)
		u.send(again)
		time.Sleep(time.Second)
		if got := u.item(again.ID); got.State != outbox.Done || got.Tries != 1 {
			t.Errorf("%s after %d tries: %q", got.State, got.Tries, got.Last)
		}
		for i, n := range w.keepers {
			restarted := w.restart(n)
			if !restarted.has(again) {
				t.Fatalf("keeper %d lost its board", i)
			}
		}
		third := w.need(key.Generate[key.Context](), 1, w.addresses()...)
		u.send(third)
		time.Sleep(5 * time.Second)
		if got := u.item(third.ID); got.State != outbox.Done || got.Tries > 2 {
			t.Errorf("after a restart: %s after %d tries: %q", got.State, got.Tries, got.Last)
		}
	})
}

// restart serves a keeper's port anew over the same stores: another post key.
func (w *world) restart(n *node) *node {
	w.net.SetOnline(n.port, false) // its streams end
	n.Keeper = w.serve(n, "")
	w.net.SetOnline(n.port, true)
	return n
}

// A first hop that takes a post and drops it is found out, and another one is asked
// in the same try.
func TestAFirstHopThatDropsPosts(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user(courier.Posting{TwoHops: true})
		liar := w.keepers[0]
		w.lie(liar, func(op *protocol.Op) (protocol.Reply, bool) { return protocol.Reply{}, op.Kind == protocol.OpPost })
		gone := key.Generate[key.Context]()
		for seq := range uint64(6) {
			it := w.need(gone, seq+1, w.addresses()...)
			u.send(it)
			time.Sleep(10 * time.Second)
			for i, n := range w.keepers[1:] {
				if !n.has(it) {
					t.Errorf("keeper %d lacks seq %d: %s, %q", i+1, seq+1, u.item(it.ID).State, u.item(it.ID).Last)
				}
			}
		}
	})
}

// A first hop that makes up a refusal of the next one is not believed either.
func TestAFirstHopThatMakesUpRefusals(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user(courier.Posting{TwoHops: true})
		for _, n := range w.keepers[:2] {
			w.lie(n, func(op *protocol.Op) (protocol.Reply, bool) {
				return protocol.Reply{Fault: 3, Text: "precedence"}, op.Kind == protocol.OpPost && op.Next.Key != n.key() && !op.Next.Key.IsZero()
			})
		}
		it := w.need(key.Generate[key.Context](), 1, w.addresses()...)
		u.send(it)
		time.Sleep(3 * time.Second)
		for i, n := range w.keepers {
			if !n.has(it) {
				t.Errorf("keeper %d lacks it: %q", i, u.item(it.ID).Last)
			}
		}
	})
}

// Nodes of before, which know no sealed posts, get announcements as before; as first
// hops another one is asked, then the keeper itself.
func TestKeepersThatKnowNoSealedPosts(t *testing.T) {
	for name, old := range map[string]int{"one": 1, "two": 2, "all": 3} {
		t.Run(name, func(t *testing.T) {
			in(t, "", func(w *world) {
				u := w.user(courier.Posting{TwoHops: true, Delay: time.Second})
				for _, n := range w.keepers[:old] {
					w.lie(n, func(op *protocol.Op) (protocol.Reply, bool) {
						return protocol.Reply{Fault: 8}, op.Kind == protocol.OpPostKey
					})
				}
				it := w.need(key.Generate[key.Context](), 1, w.addresses()...)
				u.send(it)
				time.Sleep(6 * time.Second)
				if got := u.item(it.ID); got.State != outbox.Done || got.Tries != 1 {
					t.Errorf("%s after %d tries: %q", got.State, got.Tries, got.Last)
				}
				for i, n := range w.keepers {
					if !n.has(it) {
						t.Errorf("keeper %d lacks it", i)
					}
				}
			})
		})
	}
}

// Where a need has one keeper there is no first hop: it gets it straight, sealed where
// it shall be held. With one hop, likewise.
func TestNeedsThatGoStraight(t *testing.T) {
	for name, how := range map[string]courier.Posting{
		"one keeper": {TwoHops: true}, "one keeper, held": {TwoHops: true, Delay: time.Second}, "one hop": {}, "one hop, held": {Delay: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, "", func(w *world) {
				u, p := w.user(how), w.watchPosts()
				to := w.addresses()
				if how.TwoHops {
					to = to[:1]
				}
				it := w.need(key.Generate[key.Context](), 1, to...)
				u.send(it)
				time.Sleep(4 * time.Second)
				if got := u.item(it.ID); got.State != outbox.Done || got.Tries != 1 {
					t.Errorf("%s: %q", got.State, got.Last)
				}
				for i, n := range w.keepers[:len(to)] {
					ops := p.of(n, u.port.Prefix())
					if len(ops) != 1 || !ops[0].Next.Key.IsZero() && ops[0].Next.Key != n.key() {
						t.Errorf("keeper %d got %d posts", i, len(ops))
					}
				}
			})
		})
	}
}

// First hops can be drawn among others; those that the need names are left out of it.
func TestFirstHopsThatAreNoKeepers(t *testing.T) {
	in(t, "", func(w *world) {
		var others []protocol.Keeper
		for range 2 {
			n := w.keeper("")
			w.keepers = append(w.keepers, n)
			others = append(others, n.port.Self())
		}
		own := w.addresses()[:3]
		u := w.user(courier.Posting{TwoHops: true, Hops: func(int) []protocol.Keeper { return append(slices.Clone(own), others...) }})
		p := w.watchPosts()
		it := w.need(key.Generate[key.Context](), 1, own...)
		u.send(it)
		time.Sleep(2 * time.Second)
		if got := u.item(it.ID); got.State != outbox.Done {
			t.Errorf("%s: %q", got.State, got.Last)
		}
		for i, n := range w.keepers {
			if ops := p.of(n, u.port.Prefix()); i < 3 && len(ops) > 0 {
				t.Errorf("keeper %d passed on a post", i)
			}
		}
	})
}

// lie lets a keeper answer some operations of posting with what fn says.
func (w *world) lie(n *node, fn func(*protocol.Op) (protocol.Reply, bool)) {
	honest := n.port.Handler(peers.ProtoPost)
	n.port.Serve(peers.ProtoPost, func(ctx context.Context, c peers.Conn, from string) {
		mine, theirs := pipe.New()
		go func() {
			honest(ctx, theirs, from)
			_ = theirs.Close()
		}()
		defer func() { _ = mine.Close() }()
		hello, _, err := wire.ReadHello(mine)
		if err != nil || wire.WriteFrame(c, &hello) != nil {
			return
		}
		for honestly := uint32(1); ; {
			var op protocol.Op
			if wire.ReadFrame(c, &op) != nil {
				return
			}
			r, lies := fn(&op)
			if outer := op.N; lies {
				r.N = outer
			} else {
				op.N, r = honestly, protocol.Reply{}
				honestly++
				if wire.WriteFrame(mine, &op) != nil || wire.ReadFrame(mine, &r) != nil {
					return
				}
				r.N = outer
			}
			if wire.WriteFrame(c, &r) != nil {
				return
			}
		}
	})
}
