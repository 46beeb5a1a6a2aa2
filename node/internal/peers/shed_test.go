package peers

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// What a node dialled once for a question is closed again; what is in
// use, and what others dialled, stays.
func TestConnectionsThatNothingUsesAreShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		var all []*Host
		begin := func(bootstrap ...protocol.Keeper) *Host {
			at := net.Add()
			h, err := Open(context.Background(), Config{
				Profile: Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(), Target: 1,
				Bootstrap: bootstrap, Log: slog.New(slog.DiscardHandler), Now: time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			h.Serve(ProtoSync, echo)
			h.Serve(ProtoMail, echo)
			all = append(all, h)
			return h
		}
		a := begin()
		in := begin(a.Self())
		time.Sleep(10 * time.Second)
		kept := begin()
		s, err := a.Dial(t.Context(), kept.Self(), ProtoMail)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("here")); err != nil {
			t.Fatal(err)
		}
		for range 14 {
			c, err := a.Dial(t.Context(), begin().Self(), ProtoSync)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("once"))
			_ = c.Reset()
		}
		time.Sleep(10 * time.Second)
		if n := dialled(a.host.Network(), a.known.keys()); n != 15 {
			t.Errorf("%d were dialled", n)
		}
		time.Sleep(3 * time.Minute)
		if n := dialled(a.host.Network(), a.known.keys()); n != 1 {
			t.Errorf("%d are left, want one: that in use", n)
		}
		if !a.Connected(kept.self) || !a.Connected(in.self) {
			t.Error("a connection in use, or one that another dialled, was closed")
		}
		_ = s.Reset()
		for _, h := range all {
			shut(t, h)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(15 * time.Minute)
	})
}
