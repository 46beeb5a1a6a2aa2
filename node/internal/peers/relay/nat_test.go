package relay_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/relay"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func echo(_ context.Context, c peers.Conn, _ string) { _, _ = io.Copy(c, c) }

// A town is some public nodes in the open, and others behind NATs, in a bubble.
type town struct {
	t    *testing.T
	net  *netem.Net
	open []*peers.Host
	all  []*peers.Host
}

func inTown(t *testing.T, open int, run func(w *town)) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, net: netem.New(netem.Config{Latency: 20 * time.Millisecond})}
		defer func() {
			for _, h := range w.all {
				if err := h.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Minute)
			w.net.Close()
			time.Sleep(10 * time.Minute)
		}()
		for range open {
			w.open = append(w.open, w.move(w.net.Add(), nil))
		}
		run(w)
	})
}

// move opens a host at a place, which knows those in the open.
func (w *town) move(at *netem.Host, with func(*peers.Config)) *peers.Host {
	w.t.Helper()
	cfg := peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	for _, h := range w.open {
		cfg.Bootstrap = append(cfg.Bootstrap, h.Self())
	}
	if with != nil {
		with(&cfg)
	}
	h, err := peers.Open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, proto := range []string{peers.ProtoMail, peers.ProtoPost, peers.ProtoSync} {
		h.Serve(proto, echo)
	}
	w.all = append(w.all, h)
	return h
}

func (w *town) until(what string, ok func() bool) {
	w.t.Helper()
	for range 1800 {
		if ok() {
			return
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("in half an hour it did not come about that %s", what)
}

// seated waits until a node behind a NAT has its two seats.
func (w *town) seated(h *peers.Host) {
	w.t.Helper()
	w.until("a node behind a NAT knows it", func() bool { return h.Relay().Report().Verdict == relay.No })
	w.until("it has two seats", func() bool { return h.Relay().Fills()["seats"].At == 2 })
}

// ask sends a word over a stream and reads it back.
func ask(from *peers.Host, to protocol.Keeper, proto string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, to, proto)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("word")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// ways counts the connections of one host with another, over relays and straight.
func ways(from *peers.Host, to protocol.Keeper) (relayed, straight int) {
	info := address.Info(to)
	for _, c := range from.Libp2p().Network().ConnsToPeer(info.ID) {
		if address.Relayed(c.RemoteMultiaddr()) {
			relayed++
		} else {
			straight++
		}
	}
	return relayed, straight
}

func places(t *testing.T, k protocol.Keeper) (out []ma.Multiaddr) {
	t.Helper()
	for _, raw := range k.Addrs {
		a, err := ma.NewMultiaddrBytes(raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// Behind a NAT a node finds out, sits at two relays in different networks, and announces
// those places and nothing else; in the open it finds out as well, and relays.
func TestBehindANAT(t *testing.T) {
	inTown(t, 5, func(w *town) {
		t := w.t // the bubble's
		h := w.move(w.net.AddBehind(netem.Cone), nil)
		w.seated(h)
		at := places(t, h.Self())
		if len(at) != 2 || !address.Circuit(at[0]) || !address.Circuit(at[1]) || address.Prefix(at[0]) == address.Prefix(at[1]) {
			t.Errorf("it announces %v", at)
		}
		said := h.Libp2p().Addrs() // by identify, and in the DHT
		if len(said) != 2 || !address.Circuit(said[0]) || !address.Circuit(said[1]) {
			t.Errorf("libp2p announces %v", said)
		}
		home := ma.StringCast("/ip4/10.0.5.9/udp/1/quic-v1")
		if peers.AtHome(h) || len(peers.Worth(h, []ma.Multiaddr{home})) > 0 {
			t.Error("who named a door in its own house makes it knock there")
		}
		for _, o := range w.open {
			w.until("the others know that they are reached", func() bool { return o.Relay().Report().Verdict == relay.Yes })
			if got := places(t, o.Self()); len(got) != 1 || !address.Direct(got[0]) {
				t.Errorf("in the open one announces %v", got)
			}
		}
		for _, k := range w.open[0].Keepers(99) {
			if k.Key == h.Self().Key {
				t.Error("a node that is reached over relays alone is given as a keeper")
			}
		}
	})
}

// Two NATs that give a socket one port let a way be punched through both; of one that
// gives every destination another port this can't be, and the relay carries what it may.
func TestPunch(t *testing.T) {
	for name, row := range map[string]struct {
		kind     netem.Kind
		straight bool
	}{"cone": {netem.Cone, true}, "symmetric": {netem.Symmetric, false}} {
		t.Run(name, func(t *testing.T) {
			inTown(t, 5, func(w *town) {
				t := w.t // the bubble's
				called := w.move(w.net.AddBehind(netem.Cone), nil)
				caller := w.move(w.net.AddBehind(row.kind), nil)
				w.seated(called)
				time.Sleep(time.Minute)
				to := called.Self()
				if err := ask(caller, to, peers.ProtoMail); err != nil {
					t.Fatalf("mail: %v", err)
				}
				time.Sleep(time.Minute)
				relayed, straight := ways(caller, to)
				if (straight > 0) != row.straight {
					t.Errorf("%d ways over a relay, %d straight", relayed, straight)
				}
				if err := ask(caller, to, peers.ProtoMail); err != nil {
					t.Errorf("mail again: %v", err)
				}
				err := ask(caller, to, peers.ProtoSync)
				if row.straight && err != nil || !row.straight && !errors.Is(err, fault.Offline) {
					t.Errorf("a pull: %v", err)
				}
				t.Logf("%s: %d ways over a relay, %d straight", name, relayed, straight)
			})
		})
	}
}

// A personal node calls over a relay; it is called over none, and takes no seat.
func TestAPersonalNodeCallsOverARelay(t *testing.T) {
	inTown(t, 5, func(w *town) {
		t := w.t // the bubble's
		called := w.move(w.net.AddBehind(netem.Cone), nil)
		w.seated(called)
		hers := w.move(w.net.Add(), func(c *peers.Config) { c.Profile, c.Listen = peers.Personal, nil })
		if err := ask(hers, called.Self(), peers.ProtoMail); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if _, straight := ways(hers, called.Self()); straight > 0 {
			t.Error("a way was punched to a personal node")
		}
		if got := hers.Libp2p().Network().ListenAddresses(); len(got) > 0 || len(hers.Libp2p().Addrs()) > 0 || hers.Relay().Fills()["seats"].At > 0 {
			t.Errorf("it listens on %v", got)
		}
		for _, c := range hers.Libp2p().Network().Conns() {
			if c.Stat().Direction == network.DirInbound {
				t.Errorf("somebody called it: %v", c)
			}
		}
		got := hers.Libp2p().Mux().Protocols()
		for _, refused := range []string{"/libp2p/circuit/relay/0.2.0/stop", "/libp2p/circuit/relay/0.2.0/hop", "/libp2p/dcutr", "/libp2p/autonat/2/dial-request"} {
			if slices.ContainsFunc(got, func(p wireproto.ID) bool { return string(p) == refused }) {
				t.Errorf("it serves %s", refused)
			}
		}
	})
}
