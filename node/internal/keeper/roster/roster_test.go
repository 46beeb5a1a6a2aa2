package roster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/roster"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// keeper makes one with addresses, each "192.0.2.1" or "2001:db8::1".
func keeper(t *testing.T, addrs ...string) protocol.Keeper {
	t.Helper()
	k := protocol.Keeper{Key: key.Generate[key.Keeper]().Public()}
	for _, a := range addrs {
		m, err := ma.NewMultiaddr(a + "/udp/4001/quic-v1")
		if err != nil {
			t.Fatal(err)
		}
		k.Addrs = append(k.Addrs, m.Bytes())
	}
	return k
}

func ip4(n, host int) string { return fmt.Sprintf("/ip4/10.0.%d.%d", n, host) }

func operator(n byte) protocol.VendorID { return protocol.VendorID{n} }

func keys(list []protocol.Keeper) (out []key.KeeperKey) {
	for _, k := range list {
		out = append(out, k.Key)
	}
	return out
}

func TestDiverse(t *testing.T) {
	const loop = "/ip4/127.0.0.1"
	c := func(op byte, addrs ...string) roster.Candidate {
		o := protocol.VendorID{}
		if op > 0 {
			o = operator(op)
		}
		return roster.Candidate{Keeper: keeper(t, addrs...), Operator: o}
	}
	// A case is a list of candidates and which of them are picked.
	for name, row := range map[string]struct {
		known  []roster.Candidate
		n      int
		beside []roster.Candidate
		want   []int
	}{
		"none":                    {nil, 3, nil, nil},
		"fewer than asked":        {[]roster.Candidate{c(0, loop)}, 3, nil, []int{0}},
		"no place":                {[]roster.Candidate{c(0, loop)}, 0, nil, nil},
		"one operator":            {[]roster.Candidate{c(1, ip4(1, 1)), c(1, ip4(2, 1)), c(2, ip4(3, 1)), c(3, ip4(4, 1))}, 3, nil, []int{0, 2, 3}},
		"nobody's are their own":  {[]roster.Candidate{c(0, ip4(1, 1)), c(0, ip4(2, 1)), c(0, ip4(3, 1))}, 3, nil, []int{0, 1, 2}},
		"one prefix":              {[]roster.Candidate{c(0, ip4(1, 1)), c(0, ip4(1, 2)), c(0, ip4(2, 1))}, 2, nil, []int{0, 2}},
		"one prefix, IPv6":        {[]roster.Candidate{c(0, "/ip6/2001:db8:1::1"), c(0, "/ip6/2001:db8:1:ff::1"), c(0, "/ip6/2001:db8:2::1")}, 2, nil, []int{0, 2}},
		"a second address":        {[]roster.Candidate{c(0, ip4(1, 1)), c(0, ip4(2, 1), ip4(1, 2)), c(0, ip4(3, 1))}, 2, nil, []int{0, 2}},
		"loopback is no prefix":   {[]roster.Candidate{c(0, loop), c(0, loop), c(0, "/ip6/::1")}, 3, nil, []int{0, 1, 2}},
		"a name is no prefix":     {[]roster.Candidate{c(0, "/dns4/a.example"), c(0, "/dns4/a.example"), c(0)}, 3, nil, []int{0, 1, 2}},
		"better than none":        {[]roster.Candidate{c(1, ip4(1, 1)), c(1, ip4(1, 2)), c(1, ip4(1, 3))}, 3, nil, []int{0, 1, 2}},
		"least in common":         {[]roster.Candidate{c(1, ip4(1, 1)), c(1, ip4(1, 2)), c(1, ip4(2, 3))}, 2, nil, []int{0, 2}},
		"one in the way of three": {[]roster.Candidate{c(1, ip4(2, 1)), c(1, ip4(1, 1)), c(2, ip4(2, 2)), c(3, ip4(3, 1))}, 3, nil, []int{1, 2, 3}},
		"beside others": {[]roster.Candidate{c(1, ip4(1, 1)), c(2, ip4(9, 1)), c(2, ip4(3, 1))}, 1,
			[]roster.Candidate{c(1, ip4(8, 1)), c(3, ip4(9, 2))}, []int{2}},
	} {
		var want []key.KeeperKey
		for _, i := range row.want {
			want = append(want, row.known[i].Keeper.Key)
		}
		got := keys(roster.Diverse(row.known, row.n, row.beside))
		slices.SortFunc(got, func(a, b key.KeeperKey) int { return slices.Compare(a[:], b[:]) })
		slices.SortFunc(want, func(a, b key.KeeperKey) int { return slices.Compare(a[:], b[:]) })
		if !slices.Equal(got, want) {
			t.Errorf("%s: picked %d others", name, len(got))
		}
	}
}

// Whoever sits at a relay counts in the relay's network, beside whoever is there straight.
func TestAPlaceAtARelayCountsAsTheRelay(t *testing.T) {
	sits := keeper(t)
	at := ma.StringCast(ip4(1, 1) + "/udp/4001/quic-v1/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8/p2p-circuit")
	sits.Addrs = append(sits.Addrs, at.Bytes())
	beside, elsewhere := keeper(t, ip4(1, 2)), keeper(t, ip4(2, 1))
	got := roster.Diverse([]roster.Candidate{{Keeper: sits}, {Keeper: beside}, {Keeper: elsewhere}}, 2, nil)
	if want := keys([]protocol.Keeper{sits, elsewhere}); !slices.Equal(keys(got), want) {
		t.Errorf("%v, want %v", keys(got), want)
	}
}

// An operator with nine keepers in ten gets one place of three.
func TestOneOperatorGetsOnePlace(t *testing.T) {
	r, known, _ := newRoster(t, 30)
	for i, k := range *known {
		if i%10 > 0 {
			r.Greeted(k.Key, wire.Aside{Operator: operator(1)})
		}
	}
	for range 50 {
		(*known)[0], (*known)[10], (*known)[20] = (*known)[10], (*known)[20], (*known)[0]
		list, big := r.Draw(protocol.MaxKeepers), 0
		for _, k := range list {
			if i := slices.IndexFunc(*known, func(o protocol.Keeper) bool { return o.Key == k.Key }); i%10 > 0 {
				big++
			}
		}
		if len(list) != protocol.MaxKeepers || big > 1 {
			t.Fatalf("%d of %d places for one operator", big, len(list))
		}
	}
}

// newRoster makes a roster over keepers of different prefixes, and a clock.
func newRoster(t *testing.T, n int) (*roster.Roster, *[]protocol.Keeper, *time.Time) {
	t.Helper()
	var known []protocol.Keeper
	for i := range n {
		known = append(known, keeper(t, ip4(i+1, 1)))
	}
	clock := time.Unix(1_800_000_000, 0)
	return roster.New(func(int) []protocol.Keeper { return known }, func() time.Time { return clock }), &known, &clock
}

func TestSilence(t *testing.T) {
	r, known, clock := newRoster(t, 4)
	silent, other := (*known)[0].Key, (*known)[1].Key
	drawn := func() bool { return slices.Contains(keys(r.Draw(4)), silent) }
	pass := func(d, step time.Duration, others bool) {
		for range int(d / step) {
			*clock = clock.Add(step)
			if others {
				r.Met(other, true)
			}
			*clock = clock.Add(time.Second)
			r.Met(silent, false)
		}
	}
	r.Met(silent, false)
	if pass(5*roster.SilentFor, time.Minute, false); !drawn() {
		t.Fatal("a node that is off the network itself blamed a keeper")
	}
	r.Met(other, true)
	*clock = clock.Add(100 * time.Hour)
	if r.Met(silent, false); !drawn() {
		t.Fatal("a node that slept blamed a keeper")
	}
	if pass(roster.SilentFor/2, time.Minute, true); !drawn() {
		t.Fatal("out too early")
	}
	if pass(roster.SilentFor/2, time.Minute, true); drawn() || !r.Silent(silent) || len(r.Silents()) != 1 {
		t.Fatal("silent for long, and drawn")
	}
	next, changed := r.Replace((*known)[:3])
	if !changed || len(next) != 3 || slices.Contains(keys(next), silent) || !slices.Contains(keys(next), (*known)[3].Key) {
		t.Fatalf("replaced %v", changed)
	}
	*clock = clock.Add(7 * time.Hour)
	if !drawn() {
		t.Fatal("silence put it out for ever")
	}
	pass(time.Hour, time.Minute, true)
	if drawn() {
		t.Fatal("not out again")
	}
	if r.Met(silent, true); !drawn() || r.Silent(silent) {
		t.Fatal("it answers, and is still out")
	}
}

func TestConvictedAndDoubted(t *testing.T) {
	r, known, clock := newRoster(t, 3)
	liar, doubted := (*known)[0].Key, (*known)[1].Key
	r.Convict(liar)
	r.Doubt(doubted, *clock)
	r.Met(liar, true)
	if got := keys(r.Draw(3)); len(got) != 1 || got[0] != (*known)[2].Key {
		t.Fatalf("drew %d", len(got))
	}
	if _, changed := r.Replace(*known); changed {
		t.Fatal("replaced where nobody was known to take the place")
	}
	r.Convict((*known)[2].Key)
	if got := r.Draw(3); len(got) != 3 {
		t.Fatalf("with nobody else known %d were drawn", len(got))
	}
	*clock = clock.Add(roster.DoubtedFor)
	if got := keys(r.Draw(3)); len(got) != 1 || got[0] != doubted {
		t.Fatalf("a day later: %d drawn", len(got))
	}
	r.Doubt(doubted, clock.Add(-2*roster.DoubtedFor))
	if got := keys(r.Draw(3)); len(got) != 1 || got[0] != doubted {
		t.Fatal("an old doubt puts it out")
	}
}

// A flood of strange keys leaves the roster at its bound, and a convicted keeper in it.
func TestBound(t *testing.T) {
	r, known, clock := newRoster(t, 2)
	r.Convict((*known)[0].Key)
	for i := range 2 * roster.Max {
		*clock = clock.Add(time.Second)
		r.Greeted(key.KeeperKey{byte(i), byte(i >> 8), 1}, wire.Aside{Operator: operator(1)})
	}
	if r.Size() != roster.Max {
		t.Fatalf("%d of %d", r.Size(), roster.Max)
	}
	if got := keys(r.Draw(2)); len(got) != 1 || got[0] != (*known)[1].Key {
		t.Fatal("the flood acquitted it")
	}
}

// One of a pair is connected, the other is not, as long as two such are of different
// operators; else any two that are.
func TestPairIsOneConnectedAndOneThatIsNot(t *testing.T) {
	near, far := []protocol.Keeper{keeper(t, ip4(1, 1)), keeper(t, ip4(1, 2))}, []protocol.Keeper{keeper(t, ip4(2, 1)), keeper(t, ip4(2, 2)), keeper(t, ip4(3, 1))}
	connected := func(k key.KeeperKey) bool { return slices.Contains(keys(near), k) }
	for name, row := range map[string]struct {
		known []protocol.Keeper
		want  []int
	}{
		"both kinds":             {append(slices.Clone(far), near...), []int{0, 3}},
		"nobody is connected":    {far, []int{0, 2}},
		"everybody is connected": {near, []int{0, 1}},
		"one is known":           {near[:1], []int{0}},
		"nobody is known":        {nil, nil},
		"those near are its kin": {[]protocol.Keeper{keeper(t, ip4(1, 3)), far[0], near[0]}, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := roster.New(func(int) []protocol.Keeper { return row.known }, time.Now)
			var want []protocol.Keeper
			for _, i := range row.want {
				want = append(want, row.known[i])
			}
			if got := r.Pair(connected); !slices.Equal(keys(got), keys(want)) {
				t.Errorf("picked %v, want %v", keys(got), keys(want))
			}
		})
	}
}
