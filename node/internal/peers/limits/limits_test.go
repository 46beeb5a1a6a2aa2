package limits

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Whoever has all addresses of a network has half of the connections that strangers may
// have, and somebody elsewhere is let in; this machine itself is not bounded so.
func TestANetworkHasHalfOfTheConnections(t *testing.T) {
	const conns = 512
	for _, c := range []struct {
		from string
		want int
	}{{"1.2.3", conns * 3 / 8}, {"127.0.0", conns * 3 / 4}} {
		m, err := Manager(conns)
		if err != nil {
			t.Fatal(err)
		}
		connect := func(ip string, n int) bool {
			at := ma.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip, 1000+n))
			scope, err := m.OpenConnection(network.DirInbound, false, at)
			if err != nil {
				return false
			}
			if err := scope.SetPeer(peer.ID(fmt.Sprint(ip, n))); err != nil {
				scope.Done()
				return false
			}
			return true
		}
		in := 0
		for host := range 16 {
			for n := range connsPerIP {
				if connect(fmt.Sprintf("%s.%d", c.from, host+1), n) {
					in++
				}
			}
		}
		if in != c.want {
			t.Errorf("%s: %d connections are let in, want %d", c.from, in, c.want)
		}
		if got := connect("4.5.6.7", 0); got != (c.from == "1.2.3") {
			t.Errorf("beside %s somebody elsewhere is let in: %v", c.from, got)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
