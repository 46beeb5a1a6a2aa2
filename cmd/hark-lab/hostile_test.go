package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/node/lab/play"
)

// TestAttacksHappen: in one small network somebody comes late, censors hold back a need, a
// node is flooded, and some are silent; the records say so, and pulling brings everything.
func TestAttacksHappen(t *testing.T) {
	s, err := lab.Parse("t", []byte("engine = \"simulated\"\nduration = \"20s\"\nsettle = \"5m\"\n[network]\npublic = 5\npersonal = 1\nshards = 2\n[load]\nneeds = 10\n[late]\ncount = 1\nfrom = \"5s\"\n"+
		"[censors]\ncount = 2\nvictims = 2\n[floods]\ncount = 2\nrate = 1000\nfor = \"1s\"\nevery = \"10s\"\n[silent]\ncount = 1\nwhole = 1\n"))
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var all []lab.Record
		sink := func(r lab.Record) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		}
		st := newStage(t, s, s.Plan(1), 1)
		if err := play.Run(t.Context(), s, st.plan, st, sink, nil); err != nil {
			t.Error(err)
		}
		if err := st.close(); err != nil {
			t.Error(err)
		}
		withheld := map[string]bool{}
		for _, r := range all {
			if r.Kind == lab.KindMark && strings.HasPrefix(r.What, "failed") {
				t.Errorf("%+v", r)
			}
			if r.What == hostile.Withheld {
				withheld[r.Context] = true
			}
		}
		f := lab.Compute(s, 1, all)
		if f.Announced != 10 || len(withheld) != 1 || f.WithheldHeld == nil || *f.WithheldHeld != 1 || *f.VictimLeast != 1 {
			t.Errorf("%d announced, %d withheld, %+v", f.Announced, len(withheld), f.Figures)
		}
		for _, r := range all {
			if r.Kind == lab.KindHeard && withheld[r.Context] && r.Way == lab.ByGossip && (r.Node == "public-4" || r.Node == "public-5") {
				t.Errorf("a victim heard what is withheld by gossip: %+v", r)
			}
		}
		if f.LateHeld == nil || *f.LateHeld != 1 || *f.LateLive < 2 {
			t.Errorf("%+v", f.Figures)
		}
		if f.FloodSent == nil || *f.FloodSent < 2000 || *f.FloodLooked < 1 || *f.FloodLooked > *f.FloodSent/2 {
			t.Errorf("%+v", f.Figures)
		}
		if f.SilentFirst == nil || *f.SilentFirst <= 0 || *f.SilentStay <= 0 {
			t.Errorf("%+v", f.Figures)
		}
	})
}

// sink is a bare host on loopback that counts what comes on gossipsub's streams.
func sink(t *testing.T) (at peer.AddrInfo, count func() int64) {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var n int64
	h.SetStreamHandler("/meshsub/1.1.0", func(s network.Stream) {
		buf := make([]byte, 1<<16)
		for {
			k, err := s.Read(buf)
			mu.Lock()
			n += int64(k)
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}, func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// TestOrdersAreTaken: what is ordered is sent to the target on this machine, and what came
// of it is said; the end of the orders is the end.
func TestOrdersAreTaken(t *testing.T) {
	to, count := sink(t)
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- takeOrders(in, out) }()
	order := hostile.Order{Targets: []hostile.Target{{Addr: to.Addrs[0].String() + "/p2p/" + to.ID.String(), Topic: "t"}}, Count: 2, Rate: 2000, ForMS: 500}
	said := json.NewDecoder(bufio.NewReader(answers))
	for round := range 2 {
		order.Round = round
		if err := json.NewEncoder(orders).Encode(order); err != nil {
			t.Fatal(err)
		}
		var begun, done hostile.Done
		if err := said.Decode(&begun); err != nil || !begun.Begun || begun.Error != "" {
			t.Fatalf("%v %+v", err, begun)
		}
		if err := said.Decode(&done); err != nil || done.Begun || done.Error != "" || done.Sent < 500 || done.Sent > 10_000 {
			t.Fatalf("%v %+v", err, done)
		}
	}
	if count() < 1000*90 {
		t.Errorf("%d bytes came", count())
	}
	if err := orders.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOrdersThatAreRefused: what is none, what is out of bounds, and whoever is not on this
// machine.
func TestOrdersThatAreRefused(t *testing.T) {
	const id = "/p2p/12D3KooWEyopopk1Rjf1cJgNYjJzq6zS5LtN4gcR8W4qmJEJtWN5"
	for text, want := range map[string]string{
		"flood everybody":           "an order: invalid character",
		`{"count":1,"what":"else"}`: "unknown field",
		`{"targets":[{"addr":"/ip4/127.0.0.1/udp/1/quic-v1"}],"count":0,"rate":1,"for_ms":1}`:            "out of bounds",
		`{"targets":[{"addr":"/ip4/192.0.2.1/udp/1/quic-v1` + id + `"}],"count":1,"rate":1,"for_ms":1}`:  "is not on this machine",
		`{"targets":[{"addr":"/dns4/localhost/udp/1/quic-v1` + id + `"}],"count":1,"rate":1,"for_ms":1}`: "is not on this machine",
		`{"targets":[{"addr":"somewhere"}],"count":1,"rate":1,"for_ms":1}`:                               "a target",
		`{"targets":[{"addr":"/ip4/127.0.0.1/udp/1/quic-v1"}],"count":1,"rate":1,"for_ms":1}`:            "a target",
	} {
		var out strings.Builder
		if err := takeOrders(strings.NewReader(text+"\n"+strings.Repeat(" ", 1)), &out); err != nil {
			t.Error(err)
		}
		var d hostile.Done
		if err := json.NewDecoder(strings.NewReader(out.String())).Decode(&d); err != nil || !strings.Contains(d.Error, want) {
			t.Errorf("%s: %s, want %q", text, out.String(), want)
		}
	}
}

func FuzzReadOrder(f *testing.F) {
	f.Add([]byte(`{"targets":[{"addr":"/ip4/127.0.0.1/udp/1/quic-v1","topic":"t"}],"count":1,"rate":1,"for_ms":1}`))
	f.Add([]byte(`{"targets":[{}],"count":1,"streams":1,"crowd":2,"protocols":["/x"],"for_ms":60000}`))
	f.Add([]byte(`{"targets":null,"round":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := readOrder(raw)
		if err != nil {
			return
		}
		if !o.Check() || len(o.Targets) == 0 || o.ForMS <= 0 || o.ForMS > 60_000 || o.Count < 0 || o.Count > 500 {
			t.Errorf("%+v", o)
		}
		for _, target := range o.Targets {
			if to, err := nearby(target.Addr); err == nil && len(to.Addrs) != 1 {
				t.Errorf("%s is at %v", target.Addr, to.Addrs)
			}
		}
	})
}

// TestNobodyWaitsForAFloodWithoutOrders: a flood ends when the one who ordered it is gone.
func TestNobodyWaitsForAFloodWithoutOrders(t *testing.T) {
	to, _ := sink(t)
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- takeOrders(in, out) }()
	order := hostile.Order{Targets: []hostile.Target{{Addr: to.Addrs[0].String() + "/p2p/" + to.ID.String(), Topic: "t"}}, Count: 1, Rate: 100, ForMS: 60_000}
	if err := json.NewEncoder(orders).Encode(order); err != nil {
		t.Fatal(err)
	}
	var begun hostile.Done
	if err := json.NewDecoder(answers).Decode(&begun); err != nil || !begun.Begun {
		t.Fatalf("%v %+v", err, begun)
	}
	if err := orders.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("it floods on")
	}
}
