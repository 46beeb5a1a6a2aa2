package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestBootstrapIsAdded: what is named after the home was made stands in it for good, each once,
// and the network stays the same; what is no such address changes nothing.
func TestBootstrapIsAdded(t *testing.T) {
	p := place(t)
	if _, err := AddBootstrap(p, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("no home: %v", err)
	}
	if err := Init(InitOptions{Paths: p}); err != nil {
		t.Fatal(err)
	}
	before, err := ReadNetwork(p.network())
	if err != nil {
		t.Fatal(err)
	}
	some := func(n int) (out []string) {
		for i := range n {
			id := address.ID(key.Generate[key.Keeper]().Public())
			out = append(out, fmt.Sprintf("/ip4/192.0.2.%d/udp/4001/quic-v1/p2p/%s", i%250, id))
		}
		return out
	}
	two := some(2)
	for _, add := range [][]string{two[:1], two, {two[1], two[1]}} {
		if _, err := AddBootstrap(p, add); err != nil {
			t.Fatal(err)
		}
	}
	after, err := ReadNetwork(p.network())
	if err != nil || after.ID != before.ID || !slices.Equal(after.Bootstrap, two) {
		t.Errorf("%q, %v, want %q", after.Bootstrap, err, two)
	}
	for name, c := range map[string]struct {
		add  []string
		want fault.Kind
	}{
		"a name":    {[]string{two[0], "example.org"}, fault.Malformed},
		"no key":    {[]string{"/ip4/192.0.2.1/udp/4001/quic-v1"}, fault.Malformed},
		"too many":  {some(maxBootstrap), fault.Full},
		"too large": {[]string{"/dns4/" + strings.Repeat("x", protocol.MaxGenesis) + "/udp/1/quic-v1/p2p/" + strings.TrimPrefix(two[0], two[0][:strings.LastIndex(two[0], "/")+1])}, fault.Full},
	} {
		if _, err := AddBootstrap(p, c.add); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if same, err := ReadNetwork(p.network()); err != nil || !slices.Equal(same.Bootstrap, two) {
		t.Errorf("what was refused changed the file: %q, %v", same.Bootstrap, err)
	}
}
