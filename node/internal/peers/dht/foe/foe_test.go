package foe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

var testNet = protocol.Hash{7}

// host opens one that knows these.
func host(t *testing.T, net *netem.Net, know ...protocol.Keeper) *peers.Host {
	at := net.Add()
	h, err := peers.Open(context.Background(), peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{at.Listen()}, Options: at.Options(), Bootstrap: know,
		DHT: dht.Protocol(testNet), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestTheyAreTakenForNodes: an honest node takes Sybils into its table, asks them, and
// finds nothing; what a flooder puts it judges like anything else, and what is no
// message is none.
func TestTheyAreTakenForNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		honest := host(t, net)
		d, err := dht.Open(context.Background(), dht.Config{
			Host: honest, Net: testNet, Shards: 1, Lanes: []protocol.LaneRule{{Lane: protocol.LaneNone}}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		var ring Ring
		all := []*peers.Host{honest}
		for i := range 3 {
			h := host(t, net, honest.Self())
			ring.Add(h, testNet, i == 0)
			all = append(all, h)
		}
		time.Sleep(time.Minute)
		if n := d.Nodes(); n != 3 {
			t.Errorf("%d nodes stand in its table", n)
		}
		if _, err := d.Passports(t.Context(), protocol.VendorID{1}); !errors.Is(err, fault.NotFound) || ring.Asked("GET_VALUE") == 0 {
			t.Errorf("%v, asked %d times", err, ring.Asked("GET_VALUE"))
		}
		line, err := Reach(t.Context(), all[1], testNet, honest.Self())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // refused, and over a new stream again
			if line.Put(t.Context(), dht.PassportKey(protocol.VendorID{1}), []byte("junk")) == nil {
				t.Error("junk was taken")
			}
		}
		if err := line.Provide(t.Context(), dht.KeeperPlace()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		found, err := d.Keepers(t.Context())
		if err != nil || !slices.ContainsFunc(found, func(k protocol.Keeper) bool { return k.Key == all[1].Self().Key }) {
			t.Errorf("who said to be a keeper is not found: %v %v", found, err)
		}
		line.Close()
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		for _, h := range all {
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(15 * time.Minute)
	})
}

func TestMessagesThatAreTooLong(t *testing.T) {
	raw := binary.AppendUvarint(nil, maxMessage+1)
	if _, err := read(bufio.NewReader(bytes.NewReader(raw))); !errors.Is(err, fault.Malformed) {
		t.Error(err)
	}
	if _, err := read(bufio.NewReader(bytes.NewReader(append(binary.AppendUvarint(nil, 3), 1)))); err == nil {
		t.Error("one that was cut off")
	}
}

func TestDistance(t *testing.T) {
	if Distance(peer.ID("here"), "here") != [32]byte{} || Distance(peer.ID("here"), "there") == [32]byte{} {
		t.Error("a key is where its bytes are")
	}
}
