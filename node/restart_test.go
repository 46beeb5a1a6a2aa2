package node_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
)

// TestAFollowerIsToldThatItsNodeStartedAnew follows events over the REST API, and
// resumes in the next life of the node with the last id of the one before.
func TestAFollowerIsToldThatItsNodeStartedAnew(t *testing.T) {
	paths := newHome(t)
	enough := errors.New("enough")
	follow := func(after uint64, last string) (got []desk.Event) {
		t.Helper()
		n := openHome(t, paths)
		c, err := client.Open(t.Context(), paths.API())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.Admin().Events(t.Context(), after, func(e desk.Event) error {
			if got = append(got, e); e.Kind == last {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := follow(0, "node.ready")
	if first[0].Kind == desk.EventGap {
		t.Errorf("who starts sees a gap: %+v", first[0])
	}
	second := follow(first[len(first)-1].ID, "node.ready")
	if second[0].Kind != desk.EventGap || second[0].Data["why"] != desk.GapUnknown || len(second) != len(first)+1 {
		t.Errorf("after the restart come %+v, which were %+v", second, first)
	}
}

// newHome makes the home of a public node of a network of its own.
func newHome(t *testing.T) node.Paths {
	t.Helper()
	paths, err := node.DefaultPaths(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Init(node.InitOptions{Paths: paths, Profile: node.Public, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}); err != nil {
		t.Fatal(err)
	}
	return paths
}

// openHome opens a real node, which its caller closes.
func openHome(t *testing.T, paths node.Paths) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Paths: paths, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
