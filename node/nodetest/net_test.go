package nodetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestNetworkInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(context.Background())
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		a, b, p := n.Port(true), n.Port(true), n.Port(false)
		serve := func(_ context.Context, c peers.Conn, from string) { _, _ = io.WriteString(c, from) }
		a.Serve(peers.ProtoMail, serve)
		p.Serve(peers.ProtoMail, serve)
		read := func(from, to *Port) (string, error) {
			c, err := from.Dial(t.Context(), to.Self(), peers.ProtoMail)
			if err != nil {
				return "", err
			}
			raw, err := io.ReadAll(c)
			return string(raw), err
		}
		if got, err := read(p, a); err != nil || got != p.prefix() {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := read(a, a); err != nil || got != a.prefix() {
			t.Errorf("to itself: %q, %v", got, err)
		}
		if _, err := read(a, p); !errors.Is(err, fault.Offline) {
			t.Errorf("to a personal node: %v", err)
		}
		if ks := p.Keepers(9); len(ks) != 2 || len(a.Keepers(9)) != 1 || len(p.Keepers(1)) != 1 {
			t.Errorf("Keepers: %v", ks)
		}
		n.SetLink(p, a, false)
		if _, err := read(p, a); !errors.Is(err, fault.Offline) {
			t.Errorf("over a cut link: %v", err)
		}
		n.SetLink(p, a, true)
		n.SetOnline(a, false)
		if _, err := read(p, a); !errors.Is(err, fault.Offline) || len(b.Keepers(9)) != 0 {
			t.Errorf("to a node that is off: %v", err)
		}
		n.SetOnline(a, true)
		if _, err := read(p, a); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		n.SetDelay(time.Second)
		begin := time.Now()
		if _, err := read(p, a); err != nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestGossipInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(context.Background())
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		var heard []string
		join := func(name string, verdict uint8, shards ...uint16) *Port {
			p := n.Port(true)
			if err := p.Join(shards, func(_ context.Context, raw []byte, shard uint16, _ string) uint8 {
				heard = append(heard, name+" "+string(raw))
				return verdict
			}); err != nil {
				t.Fatal(err)
			}
			return p
		}
		a := join("a", 0, 1)
		bridge := join("bridge", 0, 1)
		far := join("far", 0, 1)
		join("elsewhere", 0, 2)
		n.SetLink(a, far, false)
		say := func(p *Port, word string) []string {
			heard = nil
			if err := p.Publish(t.Context(), 1, []byte(word)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			slices.Sort(heard)
			return heard
		}
		if got := say(a, "x"); !slices.Equal(got, []string{"bridge x", "far x"}) {
			t.Errorf("heard by %v", got)
		}
		n.SetLink(a, bridge, false)
		if got := say(a, "y"); len(got) != 0 {
			t.Errorf("over cut links: %v", got)
		}
		personal := n.Port(false)
		if err := personal.Publish(t.Context(), 1, nil); !errors.Is(err, fault.Unsupported) {
			t.Error(err)
		}
		if err := personal.Join(nil, nil); !errors.Is(err, fault.Unsupported) {
			t.Error(err)
		}
	})
}

func TestANodeThatIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(context.Background())
		defer func() { _ = n.Close() }()
		p, old := n.Port(false), n.Port(true)
		if err := old.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Dial(t.Context(), old.Self(), peers.ProtoMail); !errors.Is(err, fault.Offline) {
			t.Error(err)
		}
		again := n.PortOf(true, old.Key())
		again.Serve(peers.ProtoMail, func(context.Context, peers.Conn, string) {})
		c, err := p.Dial(t.Context(), protocol.Keeper{Key: old.Key().Public()}, peers.ProtoMail)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
