package vandal

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/node/nodetest/netem"
)

// TestASiegeKeepsOn: streams that the node ends are begun anew, the others trickle, and when
// it is over none is left.
func TestASiegeKeepsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{})
		victim, at := here(t, net)
		var came, got, open atomic.Int64
		victim.host.SetStreamHandler("/patient", func(s network.Stream) {
			came.Add(1)
			open.Add(1)
			defer open.Add(-1)
			n, _ := io.Copy(io.Discard, s)
			got.Add(n)
			_ = s.Close()
		})
		var ended atomic.Int64
		victim.host.SetStreamHandler("/short", func(s network.Stream) {
			ended.Add(1)
			time.Sleep(time.Second)
			_ = s.Reset()
		})
		s := &Siege{Target: at, Protocols: []string{"/patient", "/short"}, Streams: 2}
		s.Hosts, s.Crowd = []*Peer{outside(t, net)}, []*Peer{outside(t, net), outside(t, net)}
		toll := s.Lay(t.Context(), 15*time.Second)
		time.Sleep(10 * time.Second) // the node hears of the end
		if patient := came.Load(); patient < 2+10 || got.Load() < 2*2 || open.Load() > 0 {
			t.Errorf("%d patient streams, %d bytes, %d left", patient, got.Load(), open.Load())
		}
		if ended.Load() < 2*8 || toll.Begun < came.Load()+ended.Load() || toll.Most < 2*2 || toll.Most > 2*12 || toll.LetIn != 2 {
			t.Errorf("%d short streams, %+v", ended.Load(), toll)
		}
		for _, p := range append(append(s.Hosts, s.Crowd...), victim) {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(10 * time.Minute)
	})
}

func outside(t *testing.T, net *netem.Net) *Peer {
	t.Helper()
	p, err := Open(append(net.Add().Options(), libp2p.NoListenAddrs)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
