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
