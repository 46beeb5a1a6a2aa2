package wire

import (
	"bytes"
	"errors"
	"math/bits"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

// next makes a passport after those of a chain and lets change it before it is signed.
func next(raws [][]byte, n int, change func(*protocol.Passport)) [][]byte {
	p := *must(As[*protocol.Passport](must(Open(raws[len(raws)-1]))))
	p.Seq++
	p.Vendor, p.Re = ID(raws[0]), ID(raws[len(raws)-1])
	p.Root, p.Next = rootKey(n).Public(), NextRoot(rootKey(n+1).Public())
	change(&p)
	return append(raws[:len(raws):len(raws)], must(Sign(rootKey(n), &p)))
}

func TestMust_own_passport(t *testing.T) {
	two := passports(2)
	oldKey, newKey := operation.Public(), private[key.Operational]("new operation").Public()
	three := next(two, 2, func(p *protocol.Passport) {
		p.Operational = []protocol.Operational{{Key: newKey, Roles: protocol.RoleRequests, From: testNow, Until: testNow + 10}}
	})
	c, err := OpenChain(three, testNet)
	if err != nil || c.Len() != 3 || c.Vendor() != ID(three[0]) || c.LatestHash() != ID(three[2]) || c.Latest().Seq != 3 || len(c.Raws()) != 3 {
		t.Fatalf("rotated twice: %v", err)
	}
	// A chain without the check of commitments would take a thief's passport.
	thief := next(two, 7, func(*protocol.Passport) {})
	if s := must(Open(thief[2])); s.Kind() != protocol.KindPassport {
		t.Fatal("the thief's passport must be sound in itself")
	}
	for name, raws := range map[string][][]byte{
		"key that was not committed to": thief,
		"another predecessor":           next(two, 2, func(p *protocol.Passport) { p.Re = hash("x") }),
		"another vendor":                next(two, 2, func(p *protocol.Passport) { p.Vendor = hash("x") }),
		"seq left out":                  next(two, 2, func(p *protocol.Passport) { p.Seq++ }),
		"another network":               next(two, 2, func(p *protocol.Passport) { p.Net = hash("x") }),
		"no first":                      two[1:],
		"out of order":                  {two[1], two[0]},
		"first twice":                   {two[0], two[0]},
		"not a passport":                {two[0], must(Sign(itsDuty, offer()))},
	} {
		if _, err := OpenChain(raws, testNet); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raws := range map[string][][]byte{"none": nil, "17": make([][]byte, 17), "garbage": {{1}}} {
		if _, err := OpenChain(raws, testNet); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, row := range []struct {
		k    key.OperationalKey
		role protocol.Role
		at   protocol.Second
		want bool
	}{
		{oldKey, protocol.RoleRequests, testNow, true}, // the newer passport leaves it out: its dates hold
		{oldKey, protocol.RoleRequests | protocol.RoleNodes, testNow, true},
		{oldKey, protocol.RoleInbox, testNow, false},
		{oldKey, 0, testNow, false},
		{oldKey, protocol.RoleRequests, testNow - protocol.Day - protocol.MaxSkew, true}, // a reader whose clock is behind
		{oldKey, protocol.RoleRequests, testNow - protocol.Day - protocol.MaxSkew - 1, false},
		{oldKey, protocol.RoleRequests, testNow + 90*protocol.Day, false},
		{newKey, protocol.RoleRequests, testNow + 9, true},
		{newKey, protocol.RoleRequests, testNow + 10, false},
		{newKey, protocol.RoleNodes, testNow, false},
		{private[key.Operational]("x").Public(), protocol.RoleRequests, testNow, false},
	} {
		if got := c.Operational(row.k, row.role, row.at); got != row.want {
			t.Errorf("%+v", row)
		}
	}
	cut := must(OpenChain(next(three, 3, func(p *protocol.Passport) {
		p.Operational = []protocol.Operational{{Key: oldKey, Roles: protocol.RoleRequests, From: testNow - protocol.Day, Until: testNow}}
	}), testNet))
	if cut.Operational(oldKey, protocol.RoleRequests, testNow) {
		t.Error("the latest word on a key does not count")
	}
	var none Chain
	if !none.IsZero() || none.Latest() != nil || !none.Vendor().IsZero() || !none.LatestHash().IsZero() || none.Operational(oldKey, 1, testNow) {
		t.Error("no chain says something")
	}
}

func TestGenesis(t *testing.T) {
	net, raw, err := NetworkID(genesis())
	if err != nil || net != ID(raw) {
		t.Fatal(err)
	}
	if g := must(OpenGenesis(raw)); g.Name != "test" || len(g.Lanes) != 2 {
		t.Errorf("%+v", g)
	}
	other := genesis()
	other.Salt = id("other salt")
	if again, _, err := NetworkID(other); err != nil || again == net {
		t.Error("two networks of one id")
	}
	for name, row := range map[string]struct {
		do   func(*protocol.Genesis)
		want fault.Kind
	}{
		"no version":     {func(g *protocol.Genesis) { g.V = 0 }, bad},
		"version":        {func(g *protocol.Genesis) { g.V = 2 }, newer},
		"no name":        {func(g *protocol.Genesis) { g.Name = "" }, bad},
		"long name":      {func(g *protocol.Genesis) { g.Name = long }, bad},
		"no shards":      {func(g *protocol.Genesis) { g.Shards = 0 }, bad},
		"12 shards":      {func(g *protocol.Genesis) { g.Shards = 12 }, bad},
		"2048 shards":    {func(g *protocol.Genesis) { g.Shards = 2048 }, bad},
		"no categories":  {func(g *protocol.Genesis) { g.Categories = protocol.Hash{} }, bad},
		"no salt":        {func(g *protocol.Genesis) { g.Salt = protocol.ID{} }, bad},
		"no lane":        {func(g *protocol.Genesis) { g.Lanes = nil }, bad},
		"lane 2":         {func(g *protocol.Genesis) { g.Lanes[1].Lane = 2 }, newer},
		"lane twice":     {func(g *protocol.Genesis) { g.Lanes[0] = g.Lanes[1] }, bad},
		"work of 0":      {func(g *protocol.Genesis) { g.Lanes[1].Effort = 0 }, bad},
		"endless work":   {func(g *protocol.Genesis) { g.Lanes[1].Effort = MaxEffort + 1 }, bad},
		"no duty":        {func(g *protocol.Genesis) { g.Duties.Lease = 0 }, bad},
		"eternal duties": {func(g *protocol.Genesis) { g.Duties.Boxes = 4000 * protocol.Day }, bad},
	} {
		g := genesis()
		row.do(g)
		if _, _, err := NetworkID(g); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
		if raw, err := Marshal(g); err == nil {
			if _, err := OpenGenesis(raw); !errors.Is(err, row.want) {
				t.Errorf("%s, read: %v", name, err)
			}
		}
	}
}

func TestShard(t *testing.T) {
	used := map[uint16]bool{}
	for _, c := range protocol.Categories().All() {
		for _, r := range []protocol.Region{"ZA", "NA", "BW", "US"} {
			whole := Shard(c.Code, r, 1024)
			if whole >= 1024 || Shard(c.Code, r, 1) != 0 {
				t.Fatal("out of range")
			}
			for n := uint16(2); n <= 1024; n *= 2 { // halving the number halves the shard
				if Shard(c.Code, r, n) != whole>>(10-(bits.Len16(n)-1)) {
					t.Fatal("not the top bits")
				}
			}
			used[Shard(c.Code, r, 16)] = true
		}
	}
	if len(used) != 16 {
		t.Errorf("%d of 16 shards are used", len(used))
	}
	if Shard("home.furniture", "ZA-GP", 256) != Shard("home.garden", "ZA-WC", 256) {
		t.Error("a shard depends on more than sector and country")
	}
}

func TestAChainAsOneValue(t *testing.T) {
	three := must(OpenChain(passports(3), testNet))
	value := must(JoinChain(three))
	raws, err := SplitChain(value)
	if err != nil {
		t.Fatal(err)
	}
	if c := must(OpenChain(raws, testNet)); c.LatestHash() != three.LatestHash() || c.Len() != 3 {
		t.Error("another chain came out")
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "cut short": value[:len(value)-1], "something after": append(value[:len(value):len(value)], 0, 0, 0, 0),
		"an empty one": {0, 0, 0, 0}, "half a length": {0, 0, 0}, "too long": make([]byte, protocol.MaxChainValue+1),
		"17": bytes.Repeat([]byte{0, 0, 0, 1, 7}, 17), "a huge length": {255, 255, 255, 255, 1},
	} {
		if _, err := SplitChain(bad); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSplitChain: what comes apart goes together to the same bytes.
func FuzzSplitChain(f *testing.F) {
	f.Add(must(JoinChain(must(OpenChain(passports(2), testNet)))))
	f.Add([]byte{0, 0, 0, 1, 7})
	f.Fuzz(func(t *testing.T, value []byte) {
		if got, over := alloc.Over(alloc.Most(len(value)), func() { _, _ = SplitChain(value) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(value))
		}
		raws, err := SplitChain(value)
		if err != nil {
			return
		}
		if len(raws) > protocol.MaxPassports || !bytes.Equal(seal.LP(raws...), value) {
			t.Fatalf("%d passports", len(raws))
		}
	})
}
