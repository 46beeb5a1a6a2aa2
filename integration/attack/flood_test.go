package attack

import (
	"context"
	"encoding/binary"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/node/nodetest/netem"
)

// junkRate is how much a peer that floods alone sends each second.
const junkRate, junkBatch = 10_000, 250

// field is one length-delimited field of a protobuf message.
func field(number byte, data []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(data))), data...)
}

// junk is an RPC of gossipsub with n messages that nobody can have passed on.
func junk(topic string, from, n int) []byte {
	var rpc []byte
	for i := range n {
		data := binary.BigEndian.AppendUint64(make([]byte, 0, 96), uint64(from+i))
		rpc = append(rpc, field(2, append(field(2, append(data, make([]byte, 80)...)), field(4, []byte(topic))...))...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(rpc))), rpc...)
}

// vandal is a host that speaks just enough gossipsub to send junk.
func vandal(t *testing.T, net *netem.Net) host.Host {
	t.Helper()
	at := net.Add()
	h, err := libp2p.New(append(at.Options(), libp2p.Transport(quic.NewTransport), libp2p.NoListenAddrs,
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	h.SetStreamHandler("/meshsub/1.1.0", func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	return h
}

// flood sends junk to one node for so long, and gives how much was sent.
func flood(h host.Host, at peer.AddrInfo, topic string, number, rate int, long time.Duration) (sent int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Connect(ctx, at); err != nil {
		return 0, err
	}
	s, err := h.NewStream(ctx, at.ID, protocol.ID("/meshsub/1.1.0"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Reset() }()
	tick := time.NewTicker(time.Second * junkBatch / time.Duration(rate))
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
		if err := s.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return sent, err
		}
		if _, err := s.Write(junk(topic, number<<32+sent, junkBatch)); err != nil {
			return sent, nil //nolint:nilerr // it was thrown out
		}
		sent += junkBatch
	}
	return sent, nil
}

// deaf is after how long a node must have stopped hearing a flood.
const deaf = 5 * time.Second

// TestMust_invalid_flood: one peer sends ten thousand invalid announcements a second,
// then fifty send a thousand each (ten thousand each at HARK_SIM_SCALE=10); the node
// stops hearing them, and the others get through. Queues are measured in the bubble's
// time, which does not know what work costs: that is shown beside it.
func TestMust_invalid_flood(t *testing.T) {
	if heard := bareFlood(t); heard <= deaf {
		t.Fatalf("gossipsub without scores stopped hearing junk after %v: the check finds nothing", heard)
	}
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewSimWorld(t, nodetest.SimConfig{Config: netem.Config{Bits: 1_000_000_000}, Shards: 1}) // what is measured is not the line
		defer w.Close()
		topic, err := w.Topic(0)
		if err != nil {
			t.Fatal(err)
		}
		c := gather(t, w, 8)
		victim := peer.AddrInfo{ID: c.members[0].Gossip.Libp2p().ID(), Addrs: c.members[0].Gossip.Libp2p().Addrs()}
		vandals := make([]host.Host, 51)
		for i := range vandals {
			vandals[i] = vandal(t, w.Weather())
		}
		time.Sleep(20 * time.Second)
		posts := func(n int) outcome {
			clear(c.posted)
			for i := range n {
				c.post(i, 0)
				time.Sleep(200 * time.Millisecond)
			}
			time.Sleep(15 * time.Second)
			return c.count()
		}
		calm := posts(40)
		for _, attack := range [][]host.Host{vandals[:1], vandals[1:]} {
			before, _ := c.members[0].Judged()
			rate := max(junkRate/len(attack), min(junkRate, scale()*junkRate/10)) // of each
			used, began, sent := cpu(t), time.Now(), make(chan int, len(attack))
			for i, h := range attack {
				go func() {
					n, err := flood(h, victim, topic, i, rate, 8*time.Second)
					if err != nil {
						t.Error(err)
					}
					sent <- n
				}()
			}
			got := posts(40)
			all := 0
			for range attack {
				all += <-sent
			}
			used = cpu(t) - used
			after, last := c.members[0].Judged()
			t.Logf("%d peers sent %d pieces of junk, %d were looked at, the last %v after they began; honest: %s; before: %s; %v of CPU in all, %v for each piece of junk",
				len(attack), all, after[2]-before[2], last.Sub(began), got, calm, used.Round(time.Millisecond), used/time.Duration(max(all, 1)))
			switch {
			case after[2] == before[2] || all < 2*(after[2]-before[2]):
				t.Error("there was no flood")
			case last.Sub(began) > deaf:
				t.Error("junk was heard for too long")
			case got.p99 > calm.p99*12/10 || got.gossip < 0.999 || got.all < 1:
				t.Error("honest announcements suffered")
			}
		}
		for _, h := range vandals {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// bareFlood is the same flood at gossipsub without scores: for how long junk was
// looked at.
func bareFlood(t *testing.T) (heard time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{})
		victim := start(t, net, "topic", pubsub.ValidationReject, func(*pubsub.GossipSubParams) {})
		h := vandal(t, net)
		began := time.Now()
		if _, err := flood(h, peer.AddrInfo{ID: victim.host.ID(), Addrs: victim.host.Addrs()}, "topic", 0, junkRate, 8*time.Second); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		victim.mu.Lock()
		for _, at := range victim.heard {
			heard = max(heard, at.Sub(began))
		}
		victim.mu.Unlock()
		victim.close(t)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(10 * time.Minute)
	})
	return heard
}
