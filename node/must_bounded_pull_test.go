package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/pull"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// pullFloods are done to what pulls from others.
var pullFloods = map[string]func(t *testing.T){
	"keeper.returns":  func(t *testing.T) { synctest.Test(t, returnFlood) },
	"keeper.suspects": func(t *testing.T) { synctest.Test(t, suspectFlood) },
}

// A hush is a network in which nobody answers.
type hush struct {
	peers.Port
	last atomic.Pointer[key.KeeperKey] // who was dialled last
}

func (h *hush) Dial(_ context.Context, to protocol.Keeper, _ string) (peers.Conn, error) {
	h.last.Store(&to.Key)
	return nil, fmt.Errorf("nobody: %w", fault.Offline)
}

// pulling makes a puller, which is started by the caller.
func pulling(net peers.Port, change func(*pull.Config)) *pull.Puller {
	cfg := pull.Config{
		Client: client.Client{Port: net}, Sources: func() []protocol.Keeper { return nil },
		Log: slog.New(slog.DiscardHandler), Now: func() protocol.Second { return protocol.Second(time.Now().Unix()) },
	}
	change(&cfg)
	p := pull.New(cfg)
	p.Follow([]uint16{1})
	return p
}

func someKeeper() protocol.Keeper { return protocol.Keeper{Key: key.Generate[key.Keeper]().Public()} }

// returnFlood lets more nodes come back at once than can wait to be visited. One that
// comes back when they are through is visited.
func returnFlood(t *testing.T) {
	net := &hush{}
	p := pulling(net, func(*pull.Config) {})
	most := p.Fills()["returns"].Limit
	for range 10 * most {
		p.Back(someKeeper())
		if n := p.Fills()["returns"].At; n > most {
			t.Fatalf("%d wait, of %d", n, most)
		}
	}
	if n := p.Fills()["returns"].At; n != most {
		t.Errorf("%d wait, of %d", n, most)
	}
	work := crew.New(t.Context(), 1, nil)
	if err := work.Hire("returns", p.Returns); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Minute)
	honest := someKeeper()
	p.Back(honest)
	time.Sleep(time.Minute)
	if got := net.last.Load(); got == nil || *got != honest.Key {
		t.Error("somebody else who is back is not visited")
	}
	if err := work.Dismiss(context.Background()); err != nil {
		t.Error(err)
	}
}

// suspectFlood puts more peers into the mesh that do not answer than are remembered for
// it. Each round still audits, and finds who does not answer three times in a row.
func suspectFlood(t *testing.T) {
	var mesh []protocol.Keeper
	for range 64 {
		mesh = append(mesh, someKeeper())
	}
	found := map[key.KeeperKey]bool{}
	p := pulling(&hush{}, func(c *pull.Config) {
		c.Mesh = func(uint16) (in, quiet []protocol.Keeper) { return mesh, mesh }
		c.Audit = func(peer key.KeeperKey, _ uint16, _ int) { found[peer] = true }
	})
	work := crew.New(t.Context(), 1, nil)
	if err := work.Hire("pull", p.Run); err != nil {
		t.Fatal(err)
	}
	full := 0
	most := p.Fills()["suspects"].Limit
	for range 180 {
		time.Sleep(time.Minute)
		if n := p.Fills()["suspects"].At; n > most {
			t.Fatalf("%d suspects of %d", n, most)
		} else if n == most {
			full++
		}
	}
	if err := work.Dismiss(context.Background()); err != nil {
		t.Error(err)
	}
	if full == 0 || len(found) < most {
		t.Errorf("full %d times, %d of %d are found", full, len(found), len(mesh))
	}
}

// judgeFlood sends more messages than are judged at once, to a node whose board hangs. What
// is too much is dropped, and somebody else is heard as soon as the board goes on.
func judgeFlood(t *testing.T) {
	var heard atomic.Int64
	gate := make(chan struct{})
	target := openGossip(t)
	other, third := openGossip(t, target.Self()), openGossip(t, target.Self())
	hear := func(context.Context, []byte, uint16, string) uint8 { return 0 }
	if err := target.Join([]uint16{3}, func(context.Context, []byte, uint16, string) uint8 { <-gate; heard.Add(1); return 0 }); err != nil {
		t.Fatal(err)
	}
	for _, n := range []interface {
		Join([]uint16, peers.Hear) error
	}{other, third} {
		if err := n.Join([]uint16{3}, hear); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	within(t, "all that judge are busy, and more is dropped", func() bool {
		for range 16 {
			n++
			if err := other.Publish(t.Context(), 3, fmt.Append(nil, "flood ", n)); err != nil {
				t.Fatal(err)
			}
		}
		f := target.Gossip.Judging()
		if f.At > f.Limit {
			t.Fatalf("%d are judged of %d", f.At, f.Limit)
		}
		return f.At == f.Limit && target.Gossip.Counts().Throttled > 0
	})
	close(gate)
	within(t, "nothing is judged any more", func() bool { return target.Gossip.Judging().At == 0 })
	isHeard(t, third, &heard)
}
