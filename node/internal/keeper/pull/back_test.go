package pull

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A counter is a network that counts who is dialled; nobody answers, each after a while.
type counter struct {
	peers.Port
	takes  time.Duration
	drawn  atomic.Int64
	visits atomic.Int64
}

func (c *counter) Dial(ctx context.Context, to protocol.Keeper, _ string) (peers.Conn, error) {
	if to.Key == node(1).Key {
		c.drawn.Add(1)
	} else {
		c.visits.Add(1)
	}
	select {
	case <-ctx.Done():
	case <-time.After(c.takes):
	}
	return nil, fmt.Errorf("nobody: %w", fault.Offline)
}

// Nodes that go and come back all the time, under as many keys as they like, are visited
// so often and no more; and the rounds are what they are without them.
func TestVisitsAreBounded(t *testing.T) {
	const minutes = 30
	run := func(takes time.Duration, returns int) (drawn, visits int64) {
		synctest.Test(t, func(t *testing.T) {
			net := &counter{takes: takes}
			p := New(Config{
				Client: client.Client{Port: net}, Sources: func() []protocol.Keeper { return []protocol.Keeper{node(1)} },
				Log: slog.New(slog.DiscardHandler), Now: func() protocol.Second { return protocol.Second(time.Now().Unix()) },
			})
			p.Follow([]uint16{1})
			work := crew.New(t.Context(), 2, nil)
			if err := work.Hire("pull", p.Run); err != nil {
				t.Fatal(err)
			}
			if err := work.Hire("returns", p.Returns); err != nil {
				t.Fatal(err)
			}
			for range minutes * 60 {
				for i := range returns {
					p.Back(node(byte(2 + i)))
				}
				time.Sleep(time.Second)
			}
			if err := work.Dismiss(context.Background()); err != nil {
				t.Fatal(err)
			}
			drawn, visits = net.drawn.Load(), net.visits.Load()
		})
		return drawn, visits
	}
	calm, none := run(time.Millisecond, 0)
	if none != 0 {
		t.Errorf("%d visits where nobody is back", none)
	}
	const most = maxBack + minutes*60/backEvery + 1
	for _, returns := range []int{1, 50} {
		drawn, visits := run(time.Millisecond, returns)
		if drawn != calm || visits > most || visits < most/2 {
			t.Errorf("%d back each second: %d rounds, %d without; %d visits, at most %d", returns, drawn, calm, visits, most)
		}
		t.Logf("%d back each second for %d minutes: %d visits, at most %d; %d rounds, as without", returns, minutes, visits, most, drawn)
	}
	if drawn, visits := run(time.Hour, 50); drawn < minutes/2 || visits > most {
		t.Errorf("visits that hang: %d rounds, %d visits", drawn, visits)
	}
}
