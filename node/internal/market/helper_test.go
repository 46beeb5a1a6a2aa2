package market

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	records "github.com/harkmarket/hark/store/market"
)

func jsonUnmarshal(raw []byte, v any) error { return json.Unmarshal(raw, v) }

func TestFollow(t *testing.T) {
	at := func(c protocol.Category, r protocol.Region) *protocol.Announcement {
		return &protocol.Announcement{Category: c, Region: r}
	}
	for name, c := range map[string]struct {
		f    Follow
		a    *protocol.Announcement
		want bool
	}{
		"everything":              {Follow{}, at("home.furniture", "ZA-GP"), true},
		"its sector":              {Follow{Sectors: []string{"travel", "home"}}, at("home.furniture", "ZA-GP"), true},
		"another sector":          {Follow{Sectors: []string{"travel"}}, at("home.furniture", "ZA-GP"), false},
		"a sector by its start":   {Follow{Sectors: []string{"hom"}}, at("home.furniture", "ZA-GP"), false},
		"the country around it":   {Follow{Regions: []protocol.Region{"ZA"}}, at("home.furniture", "ZA-GP"), true},
		"a province of a country": {Follow{Regions: []protocol.Region{"ZA-GP"}}, at("home.furniture", "ZA"), true},
		"another province":        {Follow{Regions: []protocol.Region{"ZA-WC"}}, at("home.furniture", "ZA-GP"), false},
		"another country":         {Follow{Regions: []protocol.Region{"NA"}}, at("home.furniture", "ZA"), false},
		"sector but not region":   {Follow{Sectors: []string{"home"}, Regions: []protocol.Region{"NA"}}, at("home.furniture", "ZA"), false},
	} {
		if got := c.f.Hears(c.a); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for n, want := range map[int]int{-1: MaxOffers, 0: MaxOffers, 1: 1, MaxOffers: MaxOffers, MaxOffers + 1: MaxOffers} {
		if got := (Follow{Offers: n}).limit(); got != want {
			t.Errorf("limit of %d is %d, want %d", n, got, want)
		}
	}
}

func TestGenerationsOfVendorKeys(t *testing.T) {
	gen := func(from, until protocol.Second) VendorKeys {
		return VendorKeys{
			Sign: protocol.Share(key.NewSecret()), Seal: protocol.Share(key.NewSecret()), Box: protocol.Share(key.NewSecret()), From: from, Until: until,
		}
	}
	v := Vendor{Keys: []VendorKeys{gen(0, 40), gen(10, 100)}}
	op := func(k VendorKeys) key.OperationalKey { return key.FromSeed[key.Operational](k.Sign.Secret()).Public() }
	box := func(k VendorKeys) key.MailboxKey { return key.FromSeed[key.Mailbox](k.Box.Secret()).Public() }
	for now, want := range map[protocol.Second]int{5: 0, 10: 1, 39: 1, 99: 1, 100: 1} {
		if got := v.current(now); op(got) != op(v.Keys[want]) {
			t.Errorf("at %d another generation than %d signs", now, want)
		}
	}
	for _, c := range []struct {
		of   int
		now  protocol.Second
		want int
	}{{0, 39, 0}, {0, 40, 1}, {1, 39, 1}} {
		if got := v.after(op(v.Keys[c.of]), c.now); op(got) != op(v.Keys[c.want]) {
			t.Errorf("what generation %d began is not signed by %d at %d", c.of, c.want, c.now)
		}
	}
	if got := v.after(key.OperationalKey{1}, 5); op(got) != op(v.Keys[0]) {
		t.Error("what nobody began is not signed by the current one")
	}
	for _, c := range []struct {
		of   int
		now  protocol.Second
		want bool
	}{{0, 39, true}, {0, 40, false}, {1, 99, true}, {1, 100, false}} {
		if _, ok := v.inbox(box(v.Keys[c.of]), c.now); ok != c.want {
			t.Errorf("inbox %d at %d: %v", c.of, c.now, ok)
		}
	}
	if _, ok := v.inbox(key.MailboxKey{1}, 5); ok {
		t.Error("a stranger's inbox opens")
	}
}

func TestTemporary(t *testing.T) {
	for err, want := range map[error]bool{
		fault.Denied: false, fault.Malformed: false, fault.Expired: false, fault.Conflict: false, fault.NotFound: false, fault.Unsupported: false,
		fault.Offline: true, fault.Full: true, fault.Locked: true, errors.New("disk"): true, context.Canceled: true,
		fmt.Errorf("x: %w", context.DeadlineExceeded): true,
	} {
		if got := temporary(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestBetterOffers(t *testing.T) {
	deal := func(id byte, minor int64, rank uint8) records.Deal {
		return records.Deal{ID: protocol.Hash{id}, Offer: protocol.Offer{Price: protocol.Money{Minor: minor}, Rank: rank}}
	}
	inOrder := []records.Deal{deal(9, 300, 1), deal(1, 400, 1), deal(2, 400, 1), deal(0, 100, 2), deal(3, 0, 1), deal(4, 0, 2)}
	for i, a := range inOrder {
		for j, b := range inOrder {
			if got := better(a, b); got != (i < j) {
				t.Errorf("offer %d before offer %d: %v", i, j, got)
			}
		}
	}
}

func TestCountersigned(t *testing.T) {
	a := records.Agreement{Heads: []records.Head{{Blind: protocol.Hash{1}}, {Blind: protocol.Hash{2}}}}
	if countersigned(&a, protocol.Hash{3}, protocol.Hash{9}) || countersigned(&records.Agreement{}, protocol.Hash{}, protocol.Hash{9}) {
		t.Error("a head that is not ours is countersigned")
	}
	if !countersigned(&a, protocol.Hash{2}, protocol.Hash{9}) || a.Heads[1].Signed != (protocol.Hash{9}) || !a.Heads[0].Signed.IsZero() {
		t.Errorf("heads %+v", a.Heads)
	}
}

func TestNotes(t *testing.T) {
	a := &records.Agreement{ID: protocol.Hash{1}, Vendor: protocol.Hash{2}}
	n := agreementNote(a, "fields", "contact.email", "odd one out")
	if len(n) != 4 || n["fields"] != "contact.email" || n["grant"] != a.ID.String() {
		t.Errorf("%v", n)
	}
	raw, err := wireNote(map[string]string{"b": "2", "a": "1"})
	if err != nil || string(raw) != `{"a":"1","b":"2"}` {
		t.Errorf("%s, %v", raw, err)
	}
	if got := asked([]protocol.FieldAsk{{Name: "a.b"}, {Name: "c.d"}}); got != "a.b c.d" {
		t.Errorf("asked %q", got)
	}
	if got := granted([]protocol.FieldGrant{{Name: "a.b"}, {Name: "c.d"}}); got != "a.b c.d" {
		t.Errorf("granted %q", got)
	}
	if got := countries(&protocol.Passport{}); len(got) != 0 {
		t.Errorf("countries %v", got)
	}
	if got := countries(&protocol.Passport{Country: "ZA"}); !slices.Equal(got, []protocol.Region{"ZA"}) {
		t.Errorf("countries %v", got)
	}
	if n := notice(&protocol.Passport{Authority: "the Information Regulator"}); n.Complaints != "the Information Regulator" || n.Source == "" || n.Consequence == "" || n.Law == "" || n.Rights == "" {
		t.Errorf("%+v", n)
	}
	if n := notice(&protocol.Passport{}); n.Complaints == "" {
		t.Error("nobody hears complaints")
	}
}

func TestLimitsFillTheirGaps(t *testing.T) {
	if got := (Limits{Requests: 3}).orDefault(); got.Requests != 3 || got.Contexts != DefaultLimits.Contexts || got.Offers != DefaultLimits.Offers {
		t.Errorf("%+v", got)
	}
}
