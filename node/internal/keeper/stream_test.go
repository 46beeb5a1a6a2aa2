package keeper_test

import (
	"context"
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

// raw opens a stream without the client's care.
func (w *world) raw(to *node, proto string) (peers.Conn, protocol.Hello) {
	w.Helper()
	c, err := w.net.Port(false).Dial(w.Context(), to.port.Self(), proto)
	if err != nil {
		w.Fatal(err)
	}
	hello, _, err := wire.ReadHello(c)
	if err != nil {
		w.Fatal(err)
	}
	return c, hello
}

func ask(c peers.Conn, op *protocol.Op) (r protocol.Reply, err error) {
	if err = wire.WriteFrame(c, op); err == nil {
		err = wire.ReadFrame(c, &r)
	}
	return r, err
}

func kindOf(r protocol.Reply) fault.Kind { return fault.Kind(r.Fault - 1) }

func TestMalformedStreamsAreAnsweredAndReset(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		for name, bytes := range map[string][]byte{
			"no CBOR":   {0, 0, 0, 2, 0xff, 0xff},
			"too long":  {0, 1, 0x80, 1},
			"empty":     {0, 0, 0, 0},
			"not an op": {0, 0, 0, 1, 0xa0},
		} {
			c, _ := w.raw(k, peers.ProtoMail)
			if _, err := c.Write(bytes); err != nil {
				t.Fatal(err)
			}
			var r protocol.Reply
			if err := wire.ReadFrame(c, &r); err != nil || kindOf(r) != fault.Malformed {
				t.Errorf("%s: answer %+v, %v", name, r, err)
			}
			if err := wire.ReadFrame(c, &r); err == nil {
				t.Errorf("%s: the stream goes on", name)
			}
		}
		c, _ := w.raw(k, peers.ProtoSync)
		if r, err := ask(c, &protocol.Op{N: 2, Kind: protocol.OpPeers}); err != nil || kindOf(r) != fault.Malformed {
			t.Errorf("numbers that skip: %+v, %v", r, err)
		}
	})
}

func TestAnOperationCannotBeReplayedOrMoved(t *testing.T) {
	in(t, func(w *world) {
		a, b := w.keeper(), w.keeper()
		box := key.Generate[key.Mailbox]()
		first, hello := w.raw(a, peers.ProtoMail)
		op := &protocol.Op{N: 1, Kind: protocol.OpCollect, Box: box.Public()}
		if err := wire.SignOp(box, op, a.port.Key().Public(), hello.Nonce); err != nil {
			t.Fatal(err)
		}
		if r, err := ask(first, op); err != nil || r.Fault != 0 || r.N != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		for name, to := range map[string]*node{"replayed on another stream": a, "moved to another keeper": b} {
			c, other := w.raw(to, peers.ProtoMail)
			if other.Nonce == hello.Nonce {
				t.Fatal("a nonce came twice")
			}
			if r, err := ask(c, op); err != nil || kindOf(r) != fault.NotFound {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	})
}

func TestEachProtocolHasItsOwnOperations(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		c, _ := w.raw(k, peers.ProtoPost)
		if r, err := ask(c, &protocol.Op{N: 1, Kind: protocol.OpPeers}); err != nil || kindOf(r) != fault.Unsupported {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := ask(c, &protocol.Op{N: 2, Kind: protocol.OpPost, Data: []byte("x")}); err != nil || kindOf(r) != fault.Malformed {
			t.Errorf("the stream did not go on: %+v, %v", r, err)
		}
	})
}

func TestSilentStreamsEnd(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		c, _ := w.raw(k, peers.ProtoMail)
		begin := time.Now()
		var r protocol.Reply
		if err := wire.ReadFrame(c, &r); err == nil || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestAnotherNetworkIsRefused(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		cl := keeper.Client{Port: w.net.Port(false), Net: protocol.Hash{1}}
		if _, err := cl.Mail(w.Context(), k.port.Self()); !errors.Is(err, fault.Unsupported) {
			t.Errorf("Mail = %v", err)
		}
	})
}

// One caller who uses up its budget is told so, on a stream that goes on; others are
// served, and time heals.
func TestBudgetsAreByAddressAndInAll(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper(func(c *keeper.Config) {
			c.Limits = keeper.Limits{Prefix: keeper.Rate{PerSecond: 1, Burst: 10}, Name: keeper.DefaultLimits.Name, All: keeper.Rate{PerSecond: 10, Burst: 14}, Relay: keeper.DefaultLimits.Relay}
		})
		greedy := must(w.client().Sync(w.Context(), k.port.Self()))
		full := 0
		for range 15 {
			if _, err := greedy.Peers(w.Context()); errors.Is(err, fault.Full) {
				full++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if full != 5 {
			t.Errorf("%d of 15 refused, want 5", full)
		}
		other := must(w.client().Sync(w.Context(), k.port.Self()))
		if _, err := other.Peers(w.Context()); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		for range 3 {
			_, err := other.Peers(w.Context())
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := other.Peers(w.Context()); !errors.Is(err, fault.Full) {
			t.Errorf("all together: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := greedy.Peers(w.Context()); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
}

func TestOneBudgetForEachCapability(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper(func(c *keeper.Config) {
			c.Limits = keeper.DefaultLimits
			c.Limits.Name = keeper.Rate{PerSecond: 1, Burst: 2}
		})
		box := key.Generate[key.Mailbox]()
		s := w.mail(k)
		leave := func(c protocol.Capability, dep key.Private[key.Depositor]) error {
			_, err := s.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: letter(box.Public()), Cap: c, Key: dep})
			return err
		}
		one, depOne := capability(box)
		two, depTwo := capability(box)
		for i, want := range []error{nil, nil, fault.Full} {
			if err := leave(one, depOne); !errors.Is(err, want) {
				t.Errorf("letter %d: %v", i, err)
			}
		}
		if err := leave(two, depTwo); err != nil {
			t.Errorf("another capability: %v", err)
		}
		if _, _, err := s.Collect(w.Context(), box, protocol.Hash{}); err != nil {
			t.Errorf("the owner: %v", err)
		}
	})
}

func TestStreamsAreUsedUp(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper(func(c *keeper.Config) {
			big := keeper.Rate{PerSecond: 1e6, Burst: 1e6}
			c.Limits = keeper.Limits{Prefix: big, Name: big, All: big, Relay: big}
		})
		s := must(w.client().Sync(w.Context(), k.port.Self()))
		for i := range 4096 {
			if _, err := s.Peers(w.Context()); err != nil {
				t.Fatal(i, err)
			}
		}
		if _, err := s.Peers(w.Context()); !errors.Is(err, fault.Offline) {
			t.Errorf("operation 4,097: %v", err)
		}
		synctest.Wait()
	})
}

// A keeper says on every stream whose it is, and whoever calls is told.
func TestAKeeperNamesItsOperator(t *testing.T) {
	in(t, func(w *world) {
		vendor := protocol.VendorID{5}
		mine := w.keeper(func(c *keeper.Config) { c.Operator = func() protocol.VendorID { return vendor } })
		nobodys := w.keeper()
		heard := map[key.KeeperKey]protocol.VendorID{}
		cl := w.client()
		cl.Greeted = func(k key.KeeperKey, says wire.Aside) { heard[k] = says.Operator }
		for _, n := range []*node{mine, nobodys} {
			for _, open := range []func(context.Context, protocol.Keeper) (*keeper.Session, error){cl.Mail, cl.Post, cl.Sync} {
				delete(heard, n.port.Key().Public())
				s, err := open(w.Context(), n.port.Self())
				if err != nil {
					t.Fatal(err)
				}
				_ = s.Close()
				want := protocol.VendorID{}
				if n == mine {
					want = vendor
				}
				if got, ok := heard[n.port.Key().Public()]; !ok || got != want {
					t.Errorf("operator %s, want %s", got.Short(), want.Short())
				}
			}
		}
	})
}
