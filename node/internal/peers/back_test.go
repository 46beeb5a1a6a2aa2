package peers

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
)

// Back is who was reached, then in vain, and is met again; not a newcomer, nor one that
// never answered before, nor one that was there all the time.
func TestWhoIsBack(t *testing.T) {
	now, tb := time.Unix(1_800_000_000, 0), newTable(key.KeeperKey{}, maxTable)
	named, met := keeperAt(farAway), keeperAt(farAway)
	tb.learn([]protocol.Keeper{named, met}, WayExchange)
	meet := func(k protocol.Keeper) bool {
		_, back := tb.met(k.Key, netip.MustParseAddr("198.51.100.7"), addrs(farAway), now)
		return back
	}
	tb.failed(named.Key, now)
	if meet(named) || meet(met) || meet(met) || meet(keeperAt(farAway)) {
		t.Error("one that was never lost is back")
	}
	tb.failed(met.Key, now)
	if !meet(met) || meet(met) {
		t.Error("one that was lost is not back, or twice")
	}
}

// Those that are lost are tried again early, a few of them and seldom; one that never
// was there, or not for a day, is not; and each waits for its pause otherwise.
func TestRevivingIsBounded(t *testing.T) {
	now, tb := time.Unix(1_800_000_000, 0), newTable(key.KeeperKey{}, maxTable)
	lost := map[key.KeeperKey]bool{}
	for i := range 30 {
		k := keeperAt(farAway)
		tb.learn([]protocol.Keeper{k}, WayExchange)
		switch i % 3 {
		case 0:
			tb.met(k.Key, netip.MustParseAddr("198.51.100.7"), addrs(farAway), now)
			lost[k.Key] = true
		case 1:
			tb.met(k.Key, netip.MustParseAddr("198.51.100.7"), addrs(farAway), now.Add(-freshFor))
		}
		for range 20 {
			tb.failed(k.Key, now)
		}
	}
	if got := tb.probe(now.Add(time.Minute), nobody); len(got) != 0 {
		t.Errorf("%d are tried before their pause is over", len(got))
	}
	tried := 0
	for range 600 { // ten minutes in which somebody is back every second
		for _, k := range tb.revive(dialsAtOnce, now, nobody) {
			if !lost[k.Key] {
				t.Error("one that was not lost is tried")
			}
			tb.dialed(k.Key)
			tried++
		}
		now = now.Add(time.Second)
	}
	if most := dialsAtOnce * 20; tried != most {
		t.Errorf("%d dials in ten minutes, want %d", tried, most)
	}
	if got := tb.probe(now.Add(longPause), nobody); len(got) != 1 || !lost[got[0].Key] {
		t.Errorf("after the pause %v is tried", got)
	}
}

// A node that comes and goes under real conditions: its neighbour loses it and tells
// that it is back, and whoever does so a thousand times takes no more than maxBack places.
func TestAHostTellsWhoIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		var all []*Host
		var ends []*netem.Host
		for range 3 {
			at := net.Add()
			cfg := Config{
				Profile: Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(), Target: 1,
				Log: slog.New(slog.DiscardHandler), Now: time.Now,
			}
			if len(all) > 0 {
				cfg.Bootstrap = []protocol.Keeper{all[0].Self()}
			}
			h, err := Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			h.Serve(ProtoSync, echo)
			all, ends = append(all, h), append(ends, at)
			time.Sleep(5 * time.Second)
		}
		told := func(h *Host) (who []key.KeeperKey) {
			for {
				select {
				case k := <-Back(h):
					who = append(who, k.Key)
				default:
					return who
				}
			}
		}
		time.Sleep(time.Minute)
		if who := told(all[1]); len(who) != 0 {
			t.Errorf("%v are back where nobody was lost", who)
		}
		net.Partition(ends[:1], ends[1:])
		time.Sleep(10 * time.Minute)
		if who := told(all[1]); len(who) != 0 {
			t.Errorf("%v are back while the network is cut", who)
		}
		net.Partition()
		time.Sleep(2 * time.Minute)
		if who := told(all[1]); len(who) != 1 || who[0] != all[0].self {
			t.Errorf("%v are back, want the one that was lost", who)
		}
		for range 1000 {
			isBack(all[1], all[0].self)
		}
		if who := told(all[1]); len(who) != maxBack {
			t.Errorf("%d wait to be heard of, at most %d", len(who), maxBack)
		}
		for _, h := range all {
			shut(t, h)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(15 * time.Minute)
	})
}
