package posting

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// However time goes, a key that is given out is signed, dated within bounds, and opens
// until half of its life is over at the least; no key opens for longer than two days.
func TestOwnKeysTurn(t *testing.T) {
	sign := key.Generate[key.Keeper]()
	for _, steps := range [][]protocol.Second{
		{0, protocol.Hour, protocol.Day - protocol.Hour - 1, 1, protocol.Day, 1}, {0, 3 * protocol.Day, 1}, {0, protocol.Day - 1, protocol.Day, protocol.Day},
	} {
		o := &own{sign: sign}
		now := protocol.Second(1_800_000_000)
		given := map[key.Encapsulation[key.PostSeal]]protocol.PostKey{}
		for i, step := range steps {
			now += step
			word, err := o.word(now)
			if err != nil || wire.CheckPostKey(word, now) != nil || word.Expires < now+turnEvery || word.Expires > now+protocol.MaxPostKey {
				t.Fatalf("step %d: %+v, %v", i, word.Expires, err)
			}
			given[word.Seal] = word
			opens := map[key.Encapsulation[key.PostSeal]]bool{}
			for _, k := range o.keys(now) {
				opens[k.Public()] = true
			}
			for seal, was := range given {
				if opens[seal] != (now < was.Expires) {
					t.Errorf("step %d: a key that ends in %d s opens: %v", i, int64(was.Expires)-int64(now), opens[seal])
				}
			}
		}
	}
	o := &own{sign: sign}
	first, _ := o.word(1_800_000_000)
	back, err := o.word(1_700_000_000) // the clock was set back: the old date would be refused as too far ahead
	if err != nil || back.Seal == first.Seal || wire.CheckPostKey(back, 1_700_000_000) != nil || len(o.keys(1_700_000_000)) != 1 {
		t.Errorf("after a clock that was set back: %v", err)
	}
}

func TestKnownKeysAreBounded(t *testing.T) {
	k := newKnown(maxKnown)
	for i := range 2 * maxKnown {
		k.put(protocol.PostKey{Keeper: key.KeeperKey{byte(i), byte(i >> 8)}, Expires: 100}, 1)
	}
	if k.size() != maxKnown {
		t.Errorf("%d keys, at most %d", k.size(), maxKnown)
	}
	n := 2*maxKnown - 1
	last := key.KeeperKey{byte(n), byte(n >> 8)}
	if _, ok := k.get(last, 99); !ok {
		t.Error("the newest is gone")
	}
	if _, ok := k.get(last, 100); ok || k.size() != maxKnown-1 {
		t.Error("one that is past its date is given out, or kept")
	}
}

// Whatever comes in and whenever it is looked at, each post comes out once, not before
// it is due, in order, and the queue keeps to its bounds.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := newQueue(maxHeld), time.Unix(1000, 0)
		due, out := map[protocol.Hash]time.Time{}, map[protocol.Hash]bool{}
		take := func() {
			list, pause := q.due(now)
			for i, h := range list {
				if at, in := due[h.id]; !in || at.After(now) || out[h.id] || i > 0 && h.at.Before(list[i-1].at) {
					t.Fatalf("a post came out twice, too early, or out of order")
				}
				out[h.id] = true
			}
			if pause <= 0 || pause > time.Minute {
				t.Fatalf("pause %v", pause)
			}
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "posts") {
			p := protocol.Post{Data: fmt.Append(nil, rapid.IntRange(0, 40).Draw(t, "which")), Hold: rapid.Uint16Range(1, protocol.MaxPostHold).Draw(t, "hold")}
			id := wire.ID(p.Data)
			if _, in := due[id]; !in || out[id] {
				due[id] = now.Add(time.Duration(p.Hold) * time.Millisecond)
				delete(out, id)
			}
			if err := q.add(p, fmt.Sprint(i%3), now); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			take()
		}
		now = now.Add(protocol.MaxPostHold * time.Millisecond)
		take()
		if len(out) != len(due) || q.size() != 0 || len(q.of) != 0 {
			t.Fatalf("%d of %d came out, %d are left", len(out), len(due), q.size())
		}
	})
	q, now := newQueue(maxHeld), time.Unix(1000, 0)
	add := func(i int, from string) error {
		return q.add(protocol.Post{Data: fmt.Append(nil, i), Hold: 1}, from, now)
	}
	for i := range maxHeld {
		if err := add(i, fmt.Sprint(i/(maxHeld/heldPart))); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(maxHeld, "another"); !errors.Is(err, fault.Full) {
		t.Errorf("one too many: %v", err)
	}
	if err := add(0, "another"); err != nil {
		t.Errorf("one that is here already: %v", err)
	}
}
