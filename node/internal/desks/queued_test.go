package desks

import (
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// A need whose announcement nobody has is said to be queued while nobody is reached, or
// after it was tried in vain; once a keeper has it it is announced, whoever is reached.
func TestANeedIsQueuedUntilAKeeperHasIt(t *testing.T) {
	o := open(t)
	reached := false
	o.Reached = func() bool { return reached }
	n := must((Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "a desk"}))
	says := func(when string, want bool) {
		t.Helper()
		got, list := must((Needs{o}).Get(t.Context(), n.ID)), must((Needs{o}).List(t.Context(), desk.Query{}))
		if got.Queued != want || list.Items[0].Queued != want || got.State != "announced" {
			t.Errorf("%s: %+v", when, got)
		}
	}
	if !n.Queued {
		t.Errorf("new, and nobody is reached: %+v", n)
	}
	says("nobody is reached", true)
	reached = true
	says("it is about to go", false)
	becomes := func(change func(*outbox.Item)) {
		t.Helper()
		cid := must((Needs{o}).resolve(t.Context(), records.Contexts, n.ID))
		if err := o.Stores.KV.Update(t.Context(), func(tx kv.Tx) error {
			c, err := records.GetContext(tx, cid)
			if err != nil {
				return err
			}
			it, err := o.Stores.Outbox.Get(tx, wire.ID(c.Raw))
			if err != nil {
				return err
			}
			change(&it)
			_, err = o.Stores.Outbox.Save(tx, it)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	becomes(func(it *outbox.Item) { it.Tries = 1 })
	says("tried in vain", true)
	becomes(func(it *outbox.Item) { it.State = outbox.Deposited })
	reached = false
	says("a keeper has it", false)
}
