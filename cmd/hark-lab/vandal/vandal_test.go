package vandal

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/nodetest/netem"
)

// TestJunkIsGossip: it reads as gossipsub's own bytes, on the topic, and no two pieces are
// the same.
func TestJunkIsGossip(t *testing.T) {
	seen := map[string]bool{}
	for _, first := range []uint64{0, 3, 1 << 32} {
		raw := Junk("topic", first, 3)
		n, k := binary.Uvarint(raw)
		if int(n) != len(raw)-k {
			t.Fatalf("a length of %d before %d bytes", n, len(raw)-k)
		}
		pieces := fields(t, raw[k:])
		if len(pieces) != 3 {
			t.Fatalf("%d pieces", len(pieces))
		}
		for _, p := range pieces { // field 2 of an RPC is a message: its data in field 2, its topic in field 4
			if inside := fields(t, p.data); p.number != 2 || len(inside) != 2 || inside[0].number != 2 || len(inside[0].data) != 88 || seen[string(inside[0].data)] ||
				inside[1].number != 4 || string(inside[1].data) != "topic" {
				t.Errorf("%+v", inside)
			} else {
				seen[string(inside[0].data)] = true
			}
		}
	}
}

// A part is one length-delimited field of a protobuf message.
type part struct {
	number byte
	data   []byte
}

// fields reads a message that has no other fields.
func fields(t *testing.T, raw []byte) (out []part) {
	t.Helper()
	for len(raw) > 0 {
		n, k := binary.Uvarint(raw[1:])
		if raw[0]&7 != 2 || k <= 0 || int(n) > len(raw)-1-k {
			t.Fatalf("no field: %x", raw[:min(len(raw), 16)])
		}
		out = append(out, part{raw[0] >> 3, raw[1+k : 1+k+int(n)]})
		raw = raw[1+k+int(n):]
	}
	return out
}

// TestAFloodHasItsRate: two peers flood two targets for a while, at the rate that was
// ordered; one whose target is not there says so.
func TestAFloodHasItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{})
		f := &Force{}
		var at []*Peer
		for range 2 {
			p, host := here(t, net)
			at = append(at, p)
			f.Targets = append(f.Targets, host)
			f.Orders = append(f.Orders, Order{Topic: "t", Rate: 1000, For: 4 * time.Second})
			one, err := Open(append(net.Add().Options(), libp2p.NoListenAddrs)...)
			if err != nil {
				t.Fatal(err)
			}
			f.Peers = append(f.Peers, one)
		}
		if err := f.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		sent, err := f.Flood(t.Context(), 1)
		if took := time.Since(began); err != nil || sent < 7000 || sent > 9000 || took < 3*time.Second || took > 5*time.Second {
			t.Errorf("%d within %v, %v", sent, took, err)
		}
		for _, p := range at {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		lost, err := Open(append(net.Add().Options(), libp2p.NoListenAddrs)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := lost.Join(soon(t), f.Targets[0]); err == nil {
			t.Error("it joined a node that is gone")
		}
		if err := lost.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(10 * time.Minute)
	})
}

// soon ends a little later.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// here is a peer that listens, and where.
func here(t *testing.T, net *netem.Net) (*Peer, peer.AddrInfo) {
	t.Helper()
	place := net.Add()
	p, err := Open(append(place.Options(), libp2p.ListenAddrStrings(place.Listen()))...)
	if err != nil {
		t.Fatal(err)
	}
	return p, peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()}
}

// TestJunkCostsLittle: it is made without a random number, so that whoever floods is no
// slower than who is flooded.
func TestJunkCostsLittle(t *testing.T) {
	if !bytes.Equal(Junk("t", 7, 2), Junk("t", 7, 2)) {
		t.Error("the same junk differs")
	}
}
