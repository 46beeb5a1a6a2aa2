package reach

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
)

func open(t *testing.T, profile peers.Profile, listen []string, bootstrap ...protocol.Keeper) *peers.Host {
	t.Helper()
	h, err := peers.Open(context.Background(), peers.Config{
		Profile: profile, Listen: listen, Key: key.Generate[key.Keeper](), Bootstrap: bootstrap, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

const quic, tcp = "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"

// Each transport is yes, no or not known by itself, whatever the connections use.
func TestProbe(t *testing.T) {
	both := open(t, peers.Public, []string{quic, tcp})
	one := open(t, peers.Public, []string{quic})
	gone := open(t, peers.Public, []string{tcp})
	away := gone.Self()
	if err := gone.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		known     []protocol.Keeper
		quic, tcp int
	}{
		"nobody":                    {nil, 0, 0},
		"one that listens on both":  {[]protocol.Keeper{both.Self()}, 1, 1},
		"one that listens on QUIC":  {[]protocol.Keeper{one.Self()}, 1, 0},
		"one that has gone":         {[]protocol.Keeper{away}, 0, -1},
		"one of TCP gone, one QUIC": {[]protocol.Keeper{away, one.Self()}, 1, -1},
	} {
		h := open(t, peers.Personal, nil, row.known...)
		if q, c := Probe(t.Context(), h, QUIC), Probe(t.Context(), h, TCP); q != row.quic || c != row.tcp {
			t.Errorf("%s: QUIC %d, TCP %d; want %d, %d", name, q, c, row.quic, row.tcp)
		}
	}
}

func TestReachable(t *testing.T) {
	h := open(t, peers.Public, []string{quic})
	if is, _ := Reachable(h); is != 0 {
		t.Errorf("before anybody came: %d", is)
	}
	other := open(t, peers.Personal, nil)
	c, err := other.Dial(t.Context(), h.Self(), peers.ProtoSync)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if is, _ := Reachable(h); is != 1 {
		t.Errorf("once somebody is there: %d", is)
	}
}
