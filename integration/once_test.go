package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestAKeyOutlivesAKill asks real processes with keys, kills them as soon as they have
// answered, and asks the same again after the restart: one need, one new version of it,
// one value.
func TestAKeyOutlivesAKill(t *testing.T) {
	g := youngNetwork()
	public, addrs := publicNodes(t, g, 2)
	her := newProcess(t, "shopper", node.InitOptions{Network: g, Bootstrap: addrs})
	startAll(t, her)
	acquainted(t, []*process{her}, len(public))
	ask := func(key string, fn func(context.Context, desk.House) error) {
		t.Helper()
		if err := her.ask(t.Context(), func(ctx context.Context, h desk.House) error { return fn(client.Keyed(ctx, key), h) }); err != nil {
			t.Fatal(err)
		}
	}
	killed := func() {
		t.Helper()
		her.kill()
		startAll(t, her)
		acquainted(t, []*process{her}, len(public))
	}
	create := func(spec desk.NeedSpec) (n desk.Need) {
		t.Helper()
		ask("c1", func(ctx context.Context, h desk.House) (err error) {
			n, err = h.Customer().Needs().Create(ctx, spec)
			return err
		})
		return n
	}
	spec := desk.NeedSpec{Name: "a desk lamp", Category: "home.furniture", Region: "ZA-GP"}
	first := create(spec)
	killed()
	if second := create(spec); second.ID != first.ID || second.Name != first.Name {
		t.Errorf("asked again after the kill: need %s, which was %s", second.ID, first.ID)
	}
	update := func() (n desk.Need) {
		t.Helper()
		ask("u1", func(ctx context.Context, h desk.House) (err error) {
			n, err = h.Customer().Needs().Update(ctx, first.ID, desk.NeedSpec{Name: "a floor lamp"})
			return err
		})
		return n
	}
	seq := update().Seq
	if again := update(); again.Seq != seq || seq != first.Seq+1 {
		t.Errorf("updated twice with one key: seq %d, %d, then %d", first.Seq, seq, again.Seq)
	}
	killed()
	if again := update(); again.Seq != seq || again.Name != "a floor lamp" {
		t.Errorf("updated again after the kill: seq %d of %q, want %d", again.Seq, again.Name, seq)
	}
	if err := her.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		list, err := all(ctx, h.Customer().Needs().List, desk.Query{All: true})
		if err == nil && (len(list) != 1 || list[0].Seq != seq) {
			t.Errorf("there are %d needs: %+v", len(list), list)
		}
		_, other := h.Customer().Needs().Create(client.Keyed(ctx, "c1"), desk.NeedSpec{Name: "something else"})
		if e, ok := errors.AsType[*client.Error](other); !ok || e.Code != "key-used" || !errors.Is(other, fault.Conflict) {
			t.Errorf("another need with the key: %v", other)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
