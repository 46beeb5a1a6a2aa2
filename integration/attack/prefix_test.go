package attack

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// places are how many streams of a protocol a public node serves at once.
var places = map[protocol.ID]int{"/hark/post/1": 128, "/hark/sync/1": 128, "/hark/blob/1": 64}

// greeted tells whether a host is served: it opens a stream, and the first byte of a
// Hello comes. The stream stays open, silent.
func greeted(h host.Host, at peer.ID, proto protocol.ID) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := h.NewStream(ctx, at, proto)
	if err != nil {
		return false
	}
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = s.Write(nil) // the protocol is told, if nothing else
	if err == nil {
		_, err = io.ReadFull(s, make([]byte, 1))
	}
	if err != nil {
		_ = s.Reset()
	}
	return err == nil
}

// crowdOut has hosts of one address take what they can of a protocol, and tells how much
// that was, and whether somebody elsewhere is served then.
func crowdOut(t *testing.T, crowd []host.Host, elsewhere host.Host, target peer.AddrInfo, proto protocol.ID) (taken int64, served bool) {
	t.Helper()
	var n atomic.Int64
	together(len(crowd), func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := crowd[i].Connect(ctx, target); err != nil {
			t.Error(err)
			return
		}
		for greeted(crowd[i], target.ID, proto) {
			n.Add(1)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := elsewhere.Connect(ctx, target); err != nil {
		t.Fatal(err)
	}
	return n.Load(), greeted(elsewhere, target.ID, proto)
}

// firstCome is a server that serves so many streams at once, whoever calls.
func firstCome(t *testing.T, at *netem.Host, proto protocol.ID, most int64) host.Host {
	t.Helper()
	h, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings(at.Listen()),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	h.SetStreamHandler(proto, func(s network.Stream) {
		if n.Add(1) > most {
			n.Add(-1)
			_ = s.Reset()
			return
		}
		_, _ = s.Write([]byte{0})
	})
	return h
}

func shutAll(t *testing.T, hosts ...host.Host) {
	t.Helper()
	for _, h := range hosts {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneAddressLeavesHalf: fresh hosts behind one address take what they can of the
// streams of one protocol at a public node. They get half; whoever calls from elsewhere
// is served, and needs are posted.
func TestOneAddressLeavesHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{})
		server := firstCome(t, net.Add(), "/hark/sync/1", 128)
		crowd, elsewhere := crowdAt(t, net.Add(), 4), crowdAt(t, net.Add(), 1)[0]
		taken, served := crowdOut(t, crowd, elsewhere, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}, "/hark/sync/1")
		if served || taken != 128 {
			t.Fatalf("a server that serves whoever comes first gave %d of 128 to one address, and served another: %v; the check finds nothing", taken, served)
		}
		shutAll(t, append(crowd, elsewhere, server)...)
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(11 * time.Minute)
	})
	for proto, most := range places {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewSimWorld(t, nodetest.SimConfig{Shards: 1})
			defer w.Close()
			c := gather(t, w, 3)
			time.Sleep(10 * time.Second)
			target := c.members[0].Gossip.Libp2p()
			at := peer.AddrInfo{ID: target.ID(), Addrs: target.Addrs()}
			crowd, elsewhere := crowdAt(t, w.Weather().Add(), 40), crowdAt(t, w.Weather().Add(), 1)[0]
			taken, served := crowdOut(t, crowd, elsewhere, at, proto)
			t.Logf("%s: 40 hosts of one address took %d of %d streams", proto, taken, most)
			if !served || taken < int64(most/4) || taken > int64(most/2) {
				t.Errorf("%s: one address has %d of %d streams, and another is served: %v", proto, taken, most, served)
			}
			raw, err := w.Need(0, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.members[1].PostAt(context.Background(), c.members[0], raw); err != nil {
				t.Errorf("%s: a need is not posted: %v", proto, err)
			}
			shutAll(t, append(crowd, elsewhere)...)
			time.Sleep(11 * time.Minute)
		})
	}
}
