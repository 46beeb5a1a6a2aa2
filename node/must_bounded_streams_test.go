package node_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// streamFloods are done to real hosts at addresses of a simulated network.
var streamFloods = map[string]func(t *testing.T){
	"peers.mail-streams": func(t *testing.T) { protocolFlood(t, "mail", peers.ProtoMail) },
	"peers.post-streams": func(t *testing.T) { protocolFlood(t, "post", peers.ProtoPost) },
	"peers.sync-streams": func(t *testing.T) { protocolFlood(t, "sync", peers.ProtoSync) },
	"peers.blob-streams": func(t *testing.T) { protocolFlood(t, "blob", peers.ProtoBlob) },
}

// everyProto are the protocols that a public node serves.
var everyProto = map[string]string{"mail": peers.ProtoMail, "post": peers.ProtoPost, "sync": peers.ProtoSync, "blob": peers.ProtoBlob}

// A district is where hosts are opened that end together.
type district struct {
	*testing.T
	net  *netem.Net
	open []*peers.Host
}

// host opens a host at a place. A public one repeats what it is told.
func (d *district) host(at *netem.Host, p peers.Profile) *peers.Host {
	d.Helper()
	cfg := peers.Config{Profile: p, Key: key.Generate[key.Keeper](), Options: at.Options(), Log: slog.New(slog.DiscardHandler), Now: time.Now}
	if p == peers.Public {
		cfg.Listen = []string{at.Listen()}
	}
	h, err := peers.Open(context.Background(), cfg)
	if err != nil {
		d.Fatal(err)
	}
	for _, proto := range everyProto {
		h.Serve(proto, func(_ context.Context, c peers.Conn, _ string) { _, _ = io.Copy(c, c) })
	}
	d.open = append(d.open, h)
	return h
}

// take opens streams from one place, by as many hosts as it needs, until two hosts in a
// row get none; it gives those that are served.
func (d *district) take(at *netem.Host, to protocol.Keeper, proto string) (got []peers.Conn) {
	d.Helper()
	for vain := 0; vain < 2; {
		h, before := d.host(at, peers.Personal), len(got)
		for c, err := meet(d.T, h, to, proto); err == nil; c, err = meet(d.T, h, to, proto) {
			got = append(got, c)
		}
		if vain++; len(got) > before {
			vain = 0
		}
	}
	return got
}

// end closes all hosts and the network, and lets what they left end.
func (d *district) end() {
	for _, h := range d.open {
		closeHost(d.T, h)
	}
	time.Sleep(time.Minute)
	d.net.Close()
	time.Sleep(11 * time.Minute)
}

// protocolFlood takes all the streams of one protocol that an address prefix can, by fresh
// hosts. It gets half. Somebody else is served then, in this and in every other protocol;
// so is who shares the address, in every other. Then more prefixes come, until the
// protocol is full: who is there goes on, and so do the other protocols.
func protocolFlood(t *testing.T, name, proto string) {
	synctest.Test(t, func(t *testing.T) {
		d := &district{T: t, net: netem.New(netem.Config{Latency: 5 * time.Millisecond})}
		defer d.end()
		target := d.host(d.net.Add(), peers.Public)
		fill := func() peers.Fill {
			time.Sleep(time.Second) // who was refused is gone
			f := peers.Streams(target)[name]
			if f.At > f.Limit {
				t.Fatalf("%d streams %s of %d", f.At, name, f.Limit)
			}
			return f
		}
		elsewhere, office := d.net.Add(), d.net.Add()
		friend := d.host(elsewhere, peers.Personal)
		served := func(h *peers.Host, who string, but string) {
			t.Helper()
			for other, p := range everyProto {
				if other == but {
					continue
				}
				c, err := meet(t, h, target.Self(), p)
				if err != nil {
					t.Errorf("%s, by %s: %v", who, other, err)
					continue
				}
				_ = c.Close()
			}
		}
		held := len(d.take(office, target.Self(), proto))
		f := fill()
		if held != f.Limit/2 || f.At != held {
			t.Errorf("one prefix has %d streams %s of %d, want half", held, name, f.Limit)
		}
		served(friend, "somebody else", "")
		served(d.host(office, peers.Personal), "a neighbour behind the same address", name)
		fill()
		stays, err := meet(t, friend, target.Self(), proto)
		if err != nil {
			t.Fatal(err)
		}
		for f = fill(); f.At < f.Limit; f = fill() {
			if n := len(d.take(d.net.Add(), target.Self(), proto)); n == 0 {
				t.Fatalf("a new prefix has none, and %d of %d are taken", f.At, f.Limit)
			}
		}
		served(friend, "somebody else, with all taken", name)
		if err := talk(stays); err != nil {
			t.Errorf("who was there before: %v", err)
		}
		t.Logf("one prefix held %d of %d streams %s", held, f.Limit, name)
	})
}
