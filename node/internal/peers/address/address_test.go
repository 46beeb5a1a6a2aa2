package address

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

const farAway = "/ip4/198.51.100.7/udp/4001/quic-v1"

func addrs(texts ...string) (out []ma.Multiaddr) {
	for _, t := range texts {
		out = append(out, ma.StringCast(t))
	}
	return out
}

func TestBestAddresses(t *testing.T) {
	got := Best(addrs("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/0.0.0.0/udp/1/quic-v1",
		"/ip4/198.51.100.7/tcp/1", "/ip6/2001:db8::1/udp/1/quic-v1", "/ip4/198.51.100.7/tcp/1/ws", "/ip4/198.51.100.7/udp/1/quic-v1",
		"/ip4/198.51.100.7/udp/1/quic-v1"))
	want := addrs("/ip4/198.51.100.7/udp/1/quic-v1", "/ip6/2001:db8::1/udp/1/quic-v1", "/ip4/198.51.100.7/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1")
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if !got[i].Equal(want[i]) {
			t.Errorf("%d: %v, want %v", i, got[i], want[i])
		}
	}
	said := Advertised(addrs("/ip4/198.51.100.7/udp/1/quic-v1", "/ip4/10.0.0.1/udp/1/quic-v1"), nil)
	if len(said) != 1 || AddrScope(said[0]) != Public {
		t.Errorf("a node with a public address announces %v", said)
	}
	if said := Advertised(addrs("/ip4/10.0.0.1/udp/1/quic-v1"), addrs(farAway)); len(said) != 1 || said[0].String() != farAway {
		t.Errorf("told to announce one address, it announces %v", said)
	}
}

func TestPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		farAway: "198.51.100.0/24", "/ip6/2001:db8:1:2ff:3::1/tcp/1": "2001:db8:1:200::/56", "/dns4/x.example/tcp/1": "unknown",
		"/ip6/::ffff:198.51.100.7/tcp/1": "198.51.100.0/24", "/ip6/::1/tcp/1": "::/56",
	} {
		if got := Prefix(ma.StringCast(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestScopes(t *testing.T) {
	for text, want := range map[string]Scope{
		farAway: Public, "/dns4/x.example/tcp/1": Public, "/ip4/127.0.0.1/tcp/1": Loopback, "/ip6/::1/tcp/1": Loopback, "/ip6/::ffff:127.0.0.1/tcp/1": Loopback,
		"/ip4/10.0.0.1/tcp/1": Private, "/ip4/169.254.0.1/tcp/1": Private, "/ip6/fd00::1/tcp/1": Private,
	} {
		if got := AddrScope(ma.StringCast(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for from, want := range map[string]Scope{
		"198.51.100.0/24": Public, "unknown": Public, "127.0.0.0/24": Loopback, "10.0.0.0/24": Private, "fd00::/56": Private,
	} {
		if got := PrefixScope(from); got != want {
			t.Errorf("a caller from %s: %d, want %d", from, got, want)
		}
	}
}

// A place at a relay is one hop, at an IP address, of an Ed25519 key; what strangers nest
// deeper is no address.
func TestPlacesAtRelays(t *testing.T) {
	const relay, rsa = "/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8", "/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
	const seat = farAway + relay + "/p2p-circuit"
	for text, want := range map[string]bool{
		seat: true, "/ip6/2001:db8::1/tcp/1" + relay + "/p2p-circuit": true,
		seat + relay: false, seat + relay + "/p2p-circuit": false, seat + "/p2p-circuit": false, seat + farAway: false,
		farAway + "/p2p-circuit": false, farAway + rsa + "/p2p-circuit": false, "/p2p-circuit": false, relay + "/p2p-circuit": false,
		"/dns4/x.example/tcp/1" + relay + "/p2p-circuit": false, farAway + "/ip4/10.0.0.1/tcp/1" + relay + "/p2p-circuit": false,
		farAway + relay: false, "/ip4/198.51.100.7/tcp/1/ws" + relay + "/p2p-circuit": false,
	} {
		a := ma.StringCast(text)
		if Circuit(a) != want || Dialable(a) != want || Direct(a) {
			t.Errorf("%s: a place at a relay: %v, dialable: %v, direct: %v", text, Circuit(a), Dialable(a), Direct(a))
		}
	}
	a := ma.StringCast(seat)
	if Prefix(a) != "198.51.100.0/24" || AddrScope(a) != Public || AddrScope(ma.StringCast("/ip4/10.0.0.1/tcp/1"+relay+"/p2p-circuit")) != Private {
		t.Errorf("it counts in %s, scope %d", Prefix(a), AddrScope(a))
	}
	if got := Best(addrs(seat, "/ip4/10.0.0.1/tcp/1", farAway)); len(got) != 3 || !got[0].Equal(ma.StringCast(farAway)) || !got[1].Equal(a) {
		t.Errorf("straight before relayed, and both before nearer ones: %v", got)
	}
	raw := [][]byte{a.Bytes(), {1, 2, 3}}
	if !RelayedAlone(raw) || RelayedAlone(append(raw, ma.StringCast(farAway).Bytes())) || RelayedAlone(nil) {
		t.Error("who is reached over relays alone")
	}
}
