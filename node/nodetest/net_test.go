package nodetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// in runs a test in a bubble, on a network of its own. The bubble fails a test that leaves a goroutine behind.
func in(t *testing.T, test func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(context.Background())
		test(t, n)
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

const echoProto = "/echo/1"

// echo answers what it reads, and tells who came.
func echo(from *string) peers.Handler {
	return func(_ context.Context, c peers.Conn, prefix string) {
		if from != nil {
			*from = prefix
		}
		_, _ = io.Copy(c, c) // it ends with the stream
	}
}

// says sends a word and reads it back.
func says(c peers.Conn, word string) error {
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != word {
		return errors.New("got " + string(got))
	}
	return nil
}

func dial(from, to *Port) (peers.Conn, error) {
	return from.Dial(context.Background(), to.Self(), echoProto)
}

func TestStreams(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		keeper, her := n.Port(true), n.Port(false)
		var from string
		keeper.Serve(echoProto, echo(&from))
		her.Serve(echoProto, echo(nil)) // a personal node serves nobody
		c, err := dial(her, keeper)
		if err != nil {
			t.Fatal(err)
		}
		if err := says(c, "hello"); err != nil {
			t.Error(err)
		}
		if from != her.prefix() || from == keeper.prefix() {
			t.Errorf("it came from %q", from)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		self, err := dial(keeper, keeper)
		if err != nil || says(self, "me") != nil {
			t.Errorf("a way to itself: %v", err)
		}
		for name, f := range map[string]func() (peers.Conn, error){
			"a personal node": func() (peers.Conn, error) { return dial(keeper, her) },
			"an unknown key": func() (peers.Conn, error) {
				return her.Dial(context.Background(), protocol.Keeper{}, echoProto)
			},
			"a protocol not served": func() (peers.Conn, error) {
				return her.Dial(context.Background(), keeper.Self(), "/other/1")
			},
		} {
			if _, err := f(); !errors.Is(err, fault.Offline) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestSelf(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, b, her := n.Port(true), n.Port(true), n.Port(false)
		if len(a.Self().Addrs) != 1 || slices.Equal(a.Self().Addrs[0], b.Self().Addrs[0]) || len(her.Self().Addrs) != 0 {
			t.Errorf("addresses %x, %x, %x", a.Self().Addrs, b.Self().Addrs, her.Self().Addrs)
		}
		if texts := address.Texts(a.Self()); len(texts) != 1 {
			t.Errorf("in words: %v", texts)
		}
		if got := her.Keepers(9); len(got) != 2 {
			t.Errorf("she knows %d keepers", len(got))
		}
		if got := a.Keepers(9); len(got) != 1 || got[0].Key != b.Key().Public() {
			t.Errorf("a knows %v", got)
		}
		if got := her.Keepers(1); len(got) != 1 {
			t.Errorf("asked for one, got %d", len(got))
		}
	})
}

// Whatever cuts two nodes breaks the streams between them, and no others.
func TestPartitions(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, b, her := n.Port(true), n.Port(true), n.Port(false)
		a.Serve(echoProto, echo(nil))
		b.Serve(echoProto, echo(nil))
		open := func(to *Port) peers.Conn {
			t.Helper()
			c, err := dial(her, to)
			if err != nil || says(c, "x") != nil {
				t.Fatalf("%v", err)
			}
			return c
		}
		for name, c := range map[string]struct{ cut, mend func() }{
			"link":    {func() { n.SetLink(her, a, false) }, func() { n.SetLink(a, her, true) }},
			"offline": {func() { n.SetOnline(a, false) }, func() { n.SetOnline(a, true) }},
		} {
			toA, toB := open(a), open(b)
			c.cut()
			if err := says(toA, "x"); err == nil {
				t.Errorf("%s: a stream survived", name)
			}
			if err := says(toB, "x"); err != nil {
				t.Errorf("%s: another stream broke: %v", name, err)
			}
			if _, err := dial(her, a); !errors.Is(err, fault.Offline) {
				t.Errorf("%s: dialled %v", name, err)
			}
			if got := her.Keepers(9); len(got) != 1 {
				t.Errorf("%s: she knows %d keepers", name, len(got))
			}
			c.mend()
			if err := says(open(a), "x"); err != nil {
				t.Errorf("%s, mended: %v", name, err)
			}
		}
	})
}

func TestAWaitingReaderHearsOfTheCut(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, her := n.Port(true), n.Port(false)
		a.Serve(echoProto, func(ctx context.Context, _ peers.Conn, _ string) { <-ctx.Done() })
		c, err := dial(her, a)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error)
		go func() { _, err := c.Read(make([]byte, 1)); over <- err }()
		synctest.Wait()
		n.SetOnline(her, false)
		if err := <-over; err == nil {
			t.Error("it read something")
		}
	})
}

func TestDelay(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, her := n.Port(true), n.Port(false)
		a.Serve(echoProto, echo(nil))
		n.SetDelay(3 * time.Second)
		start := time.Now()
		if _, err := dial(her, a); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("it took %v, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := her.Dial(ctx, a.Self(), echoProto); !errors.Is(err, fault.Offline) {
			t.Errorf("in too short a time: %v", err)
		}
	})
}

// ears gathers what a port hears.
type ears struct {
	mu    sync.Mutex
	words []string
}

func (e *ears) hear(verdict uint8) peers.Hear {
	return func(_ context.Context, raw []byte, _ uint16, _ string) uint8 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.words = append(e.words, string(raw))
		return verdict
	}
}

func (e *ears) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.words)
}

func TestGossip(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, b, c, deaf, her := n.Port(true), n.Port(true), n.Port(true), n.Port(true), n.Port(false)
		var atA, atB, atC, atDeaf ears
		for p, e := range map[*Port]*ears{a: &atA, b: &atB, c: &atC} {
			if err := p.Join([]uint16{1}, e.hear(0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := deaf.Join([]uint16{2}, atDeaf.hear(0)); err != nil {
			t.Fatal(err)
		}
		n.SetLink(a, c, false) // what c hears came through b
		publish := func(p *Port, word string) {
			t.Helper()
			if err := p.Publish(context.Background(), 1, []byte(word)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		publish(a, "one")
		publish(a, "one") // again
		publish(b, "one") // by another
		for name, c := range map[string]struct {
			e    *ears
			want []string
		}{"a, who said it": {&atA, nil}, "b": {&atB, []string{"one"}}, "c": {&atC, []string{"one"}}, "another topic's": {&atDeaf, nil}} {
			if got := c.e.heard(); !slices.Equal(got, c.want) {
				t.Errorf("%s heard %v", name, got)
			}
		}
		// What b refuses goes no further.
		if err := b.Join([]uint16{1}, atB.hear(2)); err != nil {
			t.Fatal(err)
		}
		publish(a, "two")
		if got := atC.heard(); !slices.Equal(got, []string{"one"}) {
			t.Errorf("c heard %v", got)
		}
		if got := atB.heard(); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("b heard %v", got)
		}
		if err := her.Join([]uint16{1}, atA.hear(0)); !errors.Is(err, fault.Unsupported) {
			t.Errorf("a personal node joins: %v", err)
		}
		if err := her.Publish(context.Background(), 1, []byte("x")); !errors.Is(err, fault.Unsupported) {
			t.Errorf("a personal node publishes: %v", err)
		}
	})
}

func TestANodeThatComesBackTakesItsOldPlace(t *testing.T) {
	in(t, func(t *testing.T, n *Net) {
		a, her := n.Port(true), n.Port(false)
		a.Serve(echoProto, echo(nil))
		c, err := dial(her, a)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // closing twice is no error
			if err := a.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := says(c, "x"); err == nil {
			t.Error("a stream of a node that is gone")
		}
		if _, err := dial(her, a); !errors.Is(err, fault.Offline) {
			t.Errorf("dialled %v", err)
		}
		again := n.PortOf(true, a.Key())
		again.Serve(echoProto, echo(nil))
		c, err = dial(her, again)
		if err != nil || says(c, "x") != nil {
			t.Errorf("after it came back: %v", err)
		}
		if got := her.Keepers(9); len(got) != 1 {
			t.Errorf("she knows %d keepers", len(got))
		}
		if _, err := dial(a, again); !errors.Is(err, fault.Offline) {
			t.Errorf("the closed port dials: %v", err)
		}
	})
}

func TestNothingGoesThroughAClosedNet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(context.Background())
		a, her := n.Port(true), n.Port(false)
		a.Serve(echoProto, echo(nil))
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(her, a); !errors.Is(err, fault.Offline) {
			t.Errorf("dialled %v", err)
		}
		if got := her.Keepers(9); len(got) != 0 {
			t.Errorf("keepers %v", got)
		}
	})
}
