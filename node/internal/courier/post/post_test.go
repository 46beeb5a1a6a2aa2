package post

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/outbox"
)

func some(from, n byte) (out []protocol.Keeper) {
	for b := range n {
		out = append(out, protocol.Keeper{Key: key.KeeperKey{from + b + 1}})
	}
	return out
}

// The keeper itself is never its own first hop, others of the need are when there is
// nobody else, and one try asks three.
func TestFirstHops(t *testing.T) {
	own, others := some(0, 3), some(100, 2)
	it := outbox.Item{Keepers: own}
	for name, c := range map[string]struct {
		how           Posting
		want, foreign int // hops, of which others
	}{
		"one hop":                  {Posting{Hops: func(int) []protocol.Keeper { return others }}, 0, 0},
		"other keepers":            {Posting{TwoHops: true}, 2, 0},
		"others first":             {Posting{TwoHops: true, Hops: func(int) []protocol.Keeper { return append(some(0, 3), others...) }}, 3, 2},
		"three at most":            {Posting{TwoHops: true, Hops: func(int) []protocol.Keeper { return some(100, 9) }}, 3, 3},
		"nobody else in the world": {Posting{TwoHops: true, Hops: func(int) []protocol.Keeper { return nil }}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				ways := New(Config{Posting: c.how}).ways(it, own[0])
				foreign := 0
				for i, w := range ways {
					if w.Key == own[0].Key {
						t.Fatal("the keeper is its own first hop")
					}
					if w.Key[0] > 100 {
						foreign++
						if i >= c.foreign {
							t.Fatalf("hop %d is another's: keepers of the need come last", i)
						}
					}
				}
				if len(ways) != c.want || foreign != c.foreign {
					t.Fatalf("%d hops, %d of others; want %d and %d", len(ways), foreign, c.want, c.foreign)
				}
			}
		})
	}
}

// Who is at fault for a no, as far as the first hop tells the truth.
func TestWhoseRefusal(t *testing.T) {
	refused := func(k fault.Kind, text string) error { return &keeper.Refused{Kind: k, Text: text} }
	for name, c := range map[string]struct {
		err               error
		passedOn, useless bool
	}{
		"the keeper has a later version":       {refused(fault.Expired, "precedence"), true, false},
		"the keeper finds it malformed":        {refused(fault.Malformed, "shard"), true, false},
		"the keeper does not know its network": {refused(fault.Unsupported, "net"), true, false},
		"one of them knows no sealed posts":    {refused(fault.Unsupported, ""), false, true},
		"the hop does not know the keeper":     {refused(fault.NotFound, keeper.NeedNext), false, true},
		"one of them is full":                  {refused(fault.Full, ""), false, false},
		"the keeper is away":                   {refused(fault.Offline, ""), false, false},
		"one of them broke":                    {refused(fault.Internal, ""), false, false},
		"the hop is away":                      {fmt.Errorf("dial: %w", fault.Offline), false, false},
	} {
		if passedOn(c.err) != c.passedOn || useless(c.err) != c.useless {
			t.Errorf("%s: passed on %v, useless %v", name, passedOn(c.err), useless(c.err))
		}
	}
}

func TestHoldsAreBounded(t *testing.T) {
	for range 200 {
		if d := (Posting{Delay: 24 * time.Hour}).Hold(); d < 0 || d > protocol.MaxPostHold*time.Millisecond {
			t.Fatalf("held for %v", d)
		}
		if d := (Posting{}).Hold(); d != 0 {
			t.Fatalf("held for %v without a delay", d)
		}
	}
}

// Where every first hop is away, the error says so, and the keeper gets nothing
// straight before the tries are used up.
func TestStraightOnlyAfterTheTries(t *testing.T) {
	own := some(0, 3)
	var asked []key.KeeperKey
	p := New(Config{Posting: Posting{TwoHops: true}, Keys: 4, Now: time.Now,
		With: func(_ context.Context, to protocol.Keeper, _ string, _ func(*keeper.Session) error) error {
			asked = append(asked, to.Key)
			return fault.Offline
		}})
	for tries := range uint32(straight + 1) {
		asked = nil
		it := outbox.Item{Keepers: own}
		for range tries {
			it.Tries++
		}
		if err := p.Announce(t.Context(), it, own[0], 0); !errors.Is(err, fault.Offline) {
			t.Errorf("try %d: %v", tries, err)
		}
		last := tries == straight
		if direct := len(asked) == 1 && asked[0] == own[0].Key; direct != last || !last && len(asked) != 2 {
			t.Errorf("try %d asked %v", tries, asked)
		}
	}
	if f := p.Fill(); f.Used != 0 || f.Cap != 4 {
		t.Errorf("post keys: %+v", f)
	}
}
