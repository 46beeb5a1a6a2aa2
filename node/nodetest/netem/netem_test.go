package netem

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
)

const echo = "/echo/1"

// pair runs two hosts on a network in a bubble; the second echoes.
func pair(t *testing.T, cfg Config, run func(t *testing.T, n *Net, at [2]*Host, a, b host.Host)) {
	synctest.Test(t, func(t *testing.T) {
		n := New(cfg)
		at := [2]*Host{n.Add(), n.Add()}
		var hosts [2]host.Host
		for i, p := range at {
			h, err := libp2p.New(append(p.Options(), libp2p.Transport(quic.NewTransport), libp2p.ListenAddrStrings(p.Listen()),
				libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay(), libp2p.DisableMetrics())...)
			if err != nil {
				t.Fatal(err)
			}
			hosts[i] = h
		}
		hosts[1].SetStreamHandler(echo, func(s network.Stream) { _, _ = io.Copy(s, s); _ = s.Close() })
		run(t, n, at, hosts[0], hosts[1])
		for _, h := range hosts {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		n.Close()
		time.Sleep(5 * time.Minute)
	})
}

// ask sends bytes there and back, and says how long that took.
func ask(a, b host.Host, bytes int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := a.Connect(ctx, peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		return 0, err
	}
	s, err := a.NewStream(ctx, b.ID(), echo)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Reset() }()
	start := time.Now()
	if err := s.SetDeadline(start.Add(time.Minute)); err != nil {
		return 0, err
	}
	if _, err := s.Write(make([]byte, bytes)); err != nil {
		return 0, err
	}
	if err := s.CloseWrite(); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, s)
	if err == nil && int(n) != bytes {
		err = io.ErrUnexpectedEOF
	}
	return time.Since(start), err
}

func TestPacketsTakeTheirTime(t *testing.T) {
	pair(t, Config{Latency: 100 * time.Millisecond}, func(t *testing.T, _ *Net, at [2]*Host, a, b host.Host) {
		if _, err := ask(a, b, 1); err != nil { // the protocol is agreed on
			t.Fatal(err)
		}
		took, err := ask(a, b, 1)
		if err != nil || took < 200*time.Millisecond || took > 500*time.Millisecond {
			t.Errorf("there and back in %v: %v", took, err)
		}
		if p, q := at[0].IP().As4(), at[1].IP().As4(); p[1] == q[1] || a.Addrs()[0].String() != at[0].Listen() {
			t.Errorf("%v and %v share a /16, or %v is not %s", p, q, a.Addrs(), at[0].Listen())
		}
		sent, _ := at[0].Bytes()
		_, received := at[1].Bytes()
		if sent == 0 || received == 0 || received > sent {
			t.Errorf("%d bytes sent, %d received", sent, received)
		}
	})
}

func TestBandwidthIsBounded(t *testing.T) {
	pair(t, Config{Latency: time.Millisecond, Bits: 1_000_000}, func(t *testing.T, _ *Net, _ [2]*Host, a, b host.Host) {
		if took, err := ask(a, b, 250_000); err != nil || took < 2*time.Second {
			t.Errorf("2 Mbit over 1 Mbit/s in %v: %v", took, err)
		}
	})
}

func TestLossIsMendedByQUIC(t *testing.T) {
	pair(t, Config{Loss: 0.1}, func(t *testing.T, n *Net, at [2]*Host, a, b host.Host) {
		if _, err := ask(a, b, 100_000); err != nil {
			t.Fatalf("one packet of ten lost: %v", err)
		}
		sent, _ := at[0].Bytes()
		if _, received := at[1].Bytes(); received > sent*97/100 {
			t.Errorf("%d bytes sent, %d received: too few were lost", sent, received)
		}
		n.SetLoss(1)
		if _, err := ask(a, b, 1); err == nil {
			t.Error("an answer although every packet is lost")
		}
	})
}

func TestNothingCrossesAPartition(t *testing.T) {
	pair(t, Config{}, func(t *testing.T, n *Net, at [2]*Host, a, b host.Host) {
		for name, c := range map[string]struct{ cut, mend func() }{
			"partition": {func() { n.Partition(at[:1], at[1:]) }, n.Heal},
			"offline":   {func() { at[1].SetOnline(false) }, func() { at[1].SetOnline(true) }},
		} {
			if _, err := ask(a, b, 1); err != nil {
				t.Fatalf("%s, before: %v", name, err)
			}
			c.cut()
			if _, err := ask(a, b, 1); err == nil {
				t.Fatalf("%s: an answer", name)
			}
			time.Sleep(time.Minute) // the connection is given up
			if _, err := ask(a, b, 1); err == nil || errors.Is(err, context.Canceled) {
				t.Fatalf("%s: an answer over a new connection (%v)", name, err)
			}
			c.mend()
			time.Sleep(time.Minute) // libp2p waits before it dials again
			if _, err := ask(a, b, 1); err != nil {
				t.Fatalf("%s, after: %v", name, err)
			}
		}
	})
}

// Each host is in a /16 of its own, that libp2p's DHT takes for one, but for those that
// were put beside another, each in a /24 of its own.
func TestHostsAreInNetworksOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{})
		defer n.Close()
		seen, numbers := map[string]bool{}, map[int]bool{}
		for range 3000 {
			h := n.Add()
			group := string(peerdiversity.IPGroupKey(net.IP(h.IP().AsSlice())))
			if !h.IP().IsGlobalUnicast() || h.IP().IsPrivate() || seen[group] || numbers[number(&net.UDPAddr{IP: h.ip()})] {
				t.Fatalf("%s", h.IP())
			}
			seen[group], numbers[number(&net.UDPAddr{IP: h.ip()})] = true, true
		}
		first := n.Add()
		near := [2]*Host{n.AddBeside(first), n.AddBeside(first)}
		a, b, c := first.IP().As4(), near[0].IP().As4(), near[1].IP().As4()
		if [2]byte(a[:2]) != [2]byte(b[:2]) || [2]byte(a[:2]) != [2]byte(c[:2]) || a[2] == b[2] || b[2] == c[2] || a[2] == c[2] {
			t.Errorf("%v, beside it %v and %v", a, b, c)
		}
	})
}
