package outbox

import (
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

// Due returns up to limit (at most 64) items whose Next has come, longest due
// first, with their Data. nextMS is when to ask again: nowMS if more are due, 0 if
// nothing at all is waiting for its time. Call it in a View.
func (o *Outbox) Due(r kv.Reader, nowMS int64, limit int) (items []Item, nextMS int64, err error) {
	return o.DueExcept(r, nowMS, limit, func(protocol.Hash) bool { return false })
}

// DueExcept is Due without the items that are under way already.
func (o *Outbox) DueExcept(r kv.Reader, nowMS int64, limit int, underWay func(id protocol.Hash) bool) (items []Item, nextMS int64, err error) {
	limit = min(limit, maxPage)
	err = r.Scan([]byte("o/d/"), nil, func(k, _ []byte) (bool, error) {
		time, at, err := parse(k)
		if err != nil {
			return false, err
		}
		if int64(time) > nowMS || len(items) >= limit {
			nextMS = max(int64(time), nowMS)
			return false, nil
		}
		rec, err := load(r, at)
		if err != nil || underWay(rec.Item.ID) {
			return err == nil, err
		}
		it, err := o.full(r, at)
		items = append(items, it)
		return err == nil, err
	})
	return items, nextMS, err
}

// Bounds of one Hasten: items looked at, and items hastened.
const maxLooked, maxHasten = 256, 64

// Hasten has items whose delivery failed, and that wait for another try, tried again
// within spreadMS of nowMS, at points that jitter (0 ≤ jitter() < 1) picks: at most 64,
// those whose turn comes soonest. It tells how many.
func (o *Outbox) Hasten(tx kv.Tx, nowMS, spreadMS int64, jitter func() float64) (n int, err error) {
	looked := 0
	after := place{}.at("o/d/", uint64(max(nowMS+spreadMS, 0))) // what is sooner is due
	err = tx.Scan([]byte("o/d/"), after, func(k, _ []byte) (bool, error) {
		_, at, err := parse(k)
		if err != nil {
			return false, err
		}
		old, err := load(tx, at)
		if err != nil {
			return false, err
		}
		looked++
		if now := old; old.Item.Tries > 0 && old.Item.State < Done {
			now.Item.Next = later(nowMS+int64(jitter()*float64(spreadMS)), old.Item.NotBefore)
			if err := o.write(tx, at, old, now); err != nil {
				return false, err
			}
			n++
		}
		return looked < maxLooked && n < maxHasten, nil
	})
	return n, err
}

// A Filter chooses items: those of one grant or context, in one of some states,
// of one sort. What is zero does not matter.
type Filter struct {
	Grant  protocol.Hash
	States []State
	What   What
}

func (f *Filter) match(it *Item) bool {
	return (f.Grant.IsZero() || f.Grant == it.Grant) && (f.What == 0 || f.What == it.What) &&
		(len(f.States) == 0 || slices.Contains(f.States, it.State))
}

// List returns up to limit (at most 64) items, newest first, without Data, and
// whether there are more. after is the ID of the last item of the page before; it
// is fault.NotFound once that is forgotten.
func (o *Outbox) List(r kv.Reader, f Filter, after protocol.Hash, limit int) (items []Item, more bool, err error) {
	var from []byte
	if !after.IsZero() {
		at := o.place('i', after)
		rec, err := load(r, at)
		if err != nil {
			return nil, false, fmt.Errorf("outbox: list: %w", err)
		}
		from = at.at("o/c/", ^uint64(rec.Item.CreatedMS))
	}
	limit = min(limit, maxPage)
	err = r.Scan([]byte("o/c/"), from, func(k, _ []byte) (bool, error) {
		_, at, err := parse(k)
		if err != nil {
			return false, err
		}
		rec, err := load(r, at)
		if err != nil || !f.match(&rec.Item) {
			return err == nil, err
		}
		if more = len(items) >= limit; more {
			return false, nil
		}
		items = append(items, rec.Item)
		return true, nil
	})
	return items, more, err
}

// Sweep ends up to 64 items whose date has passed and returns them, and forgets up
// to 64 ended ones that were made longer than KeepMS ago. more tells that there
// was more of either; call it again in another transaction.
func (o *Outbox) Sweep(tx kv.Tx, nowMS int64) (expired []Item, more bool, err error) {
	err = tx.Scan([]byte("o/x/"), nil, func(k, _ []byte) (bool, error) {
		expires, at, err := parse(k)
		if err != nil || int64(expires) > nowMS/1000 {
			return false, err
		}
		if more = len(expired) >= maxPage; more {
			return false, nil
		}
		old, err := load(tx, at)
		if err != nil {
			return false, err
		}
		now := old
		now.Item.State = Expired
		expired = append(expired, now.Item)
		return true, o.write(tx, at, old, now)
	})
	if err != nil {
		return nil, false, err
	}
	n, err := o.forget(tx, uint64(max(nowMS-o.lim.KeepMS, 0)), maxPage)
	return expired, more || n == maxPage, err
}

// Stats shows each bound of the whole outbox with its fill.
func (o *Outbox) Stats(r kv.Reader) ([]kv.Fill, error) {
	t, err := counted(r)
	return []kv.Fill{
		{Name: "outbox.items", Used: t.Items, Cap: int64(o.lim.Items)},
		{Name: "outbox.bytes", Used: t.Bytes, Cap: o.lim.Bytes},
	}, err
}
