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

// The table gives out what fits, each once within a while, and none that pauses.
func TestSeekingIsBounded(t *testing.T) {
	now, tb := time.Unix(1e9, 0), newTable(key.KeeperKey{}, 64)
	var fit []protocol.Keeper
	for i := range 20 {
		k := keeperAt("/ip4/192.0.2.1/udp/4001/quic-v1")
		tb.learn([]protocol.Keeper{k}, WayExchange)
		if i%2 == 0 {
			fit = append(fit, k)
		}
	}
	unfit := func(k key.KeeperKey) bool {
		for _, f := range fit {
			if f.Key == k {
				return false
			}
		}
		return true
	}
	tb.failed(fit[0].Key, now)
	seen := map[key.KeeperKey]bool{}
	for range 5 {
		for _, k := range tb.seek(4, now, time.Minute, unfit) {
			if unfit(k.Key) || seen[k.Key] || k.Key == fit[0].Key {
				t.Errorf("%v is given out", k.Key)
			}
			seen[k.Key] = true
			tb.dialed(k.Key)
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d are given out", len(seen))
	}
	if got := tb.seek(99, now.Add(2*time.Minute), time.Minute, unfit); len(got) != 10 {
		t.Errorf("%d are given out later", len(got))
	}
	if got := tb.seek(-1, now.Add(time.Hour), time.Minute, unfit); len(got) != 0 {
		t.Errorf("%d are given out for less than none", len(got))
	}
}

// A host goes to nodes that are sought beyond its target, and to no more than maxSought
// however many are sought.
func TestAHostGoesToThoseSought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
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
			return h
		}
		all := []*Host{begin()}
		hub := all[0]
		var others []protocol.Keeper
		for range maxSought + 6 {
			h := begin(hub.Self())
			all, others = append(all, h), append(others, h.Self())
		}
		a := begin(hub.Self())
		all = append(all, a)
		time.Sleep(20 * time.Second)
		for len(others) > 0 { // as nodes would tell them
			n := min(maxShare, len(others))
			a.Learn(others[:n], WayExchange)
			others = others[n:]
		}
		even := func(k key.KeeperKey) bool { return k[0]%2 == 0 }
		count := func() int { return dialled(a.host.Network(), a.known.keys()) }
		before := count()
		if n := Seek(a, even, 3, time.Minute); n != 3 {
			t.Errorf("goes to %d of three", n)
		}
		time.Sleep(3 * time.Second)
		if n := count(); n != before+3 {
			t.Errorf("%d were dialled, %d before", n, before)
		}
		nobody := func(key.KeeperKey) bool { return false }
		if n := Seek(a, nobody, 3, time.Minute); n != 0 || !a.poor.Load() {
			t.Errorf("goes to %d where nobody suits, and asks for no more", n)
		}
		for range 17 { // before what is dialled is old enough to be shed
			Seek(a, func(key.KeeperKey) bool { return true }, 1000, 10*time.Minute)
			time.Sleep(300 * time.Millisecond)
		}
		if n := count(); n < maxSought-4 || n > 1+maxSought {
			t.Errorf("%d were dialled, however many are wanted", n)
		}
		for _, h := range all {
			shut(t, h)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(15 * time.Minute)
	})
}
