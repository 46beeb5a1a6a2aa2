package node_test

import (
	"context"
	"encoding/hex"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// An issuer is a vendor whose every key is in the hands of the test.
type issuer struct {
	t     *testing.T
	w     *nodetest.World
	net   protocol.Hash
	chain [][]byte
	next  key.Private[key.Root]
	ops   []key.Private[key.Operational]
	dates []protocol.Operational
}

func second() protocol.Second { return protocol.Second(time.Now().Unix()) }

func newIssuer(t *testing.T, w *nodetest.World) *issuer {
	t.Helper()
	net, _, err := wire.NetworkID(w.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	v := &issuer{t: t, w: w, net: net, next: key.Generate[key.Root]()}
	v.chain = v.with(v.rotated(v.next, key.Generate[key.Operational]()))
	return v
}

// rotated drafts the passport that would come next, signed by a root key.
func (v *issuer) rotated(by key.Private[key.Root], op key.Private[key.Operational]) []byte {
	v.t.Helper()
	next := key.Generate[key.Root]()
	p := &protocol.Passport{
		Header: protocol.Header{
			Net: v.net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: uint64(len(v.chain) + 1), Created: second(), Expires: second() + 365*protocol.Day,
		},
		Root: by.Public(), Next: wire.NextRoot(next.Public()), Name: "Veld & Vine", Country: "ZA", Contact: "veld@example.org",
		Inbox: protocol.Inbox{Box: key.Generate[key.Mailbox]().Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(),
			Keepers: v.w.Net.Port(false).Keepers(1), Effort: 1, Quota: 8},
	}
	if len(v.chain) > 0 {
		p.Vendor, p.Re = wire.ID(v.chain[0]), wire.ID(v.chain[len(v.chain)-1])
	}
	v.ops = append(v.ops, op)
	p.Operational = append(v.dates, protocol.Operational{Key: op.Public(), Roles: protocol.RoleRequests | protocol.RoleInbox, From: second(), Until: second() + 300*protocol.Day})
	raw, err := wire.Sign(by, p)
	if err != nil {
		v.t.Fatal(err)
	}
	if by.Public() == v.next.Public() { // the real thing
		v.next, v.dates = next, p.Operational
		for i := range v.dates[:len(v.dates)-1] {
			v.dates[i].Until = min(v.dates[i].Until, second()+30*protocol.Day)
		}
	}
	return raw
}

func (v *issuer) with(raw []byte) [][]byte { return append(v.chain[:len(v.chain):len(v.chain)], raw) }

// publish hands passports to a keeper.
func (v *issuer) publish(to *nodetest.Member, chain [][]byte) error {
	v.t.Helper()
	s, err := keeper.Client{Port: v.w.Net.Port(false), Net: v.net}.Sync(v.t.Context(), to.Port.Self())
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	return s.Publish(v.t.Context(), chain)
}

// ask deposits a request for a need, with an inner chain that the customer sees and
// an outer one that keepers see.
func (v *issuer) ask(need string, inner, outer [][]byte, op, at key.Private[key.Operational]) (request protocol.Hash, err error) {
	v.t.Helper()
	a := v.heard(need)
	box, lock, dep := key.Generate[key.Mailbox](), key.GenerateSeal[key.RequestSeal](), key.Generate[key.Depositor]()
	reply := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: dep.Public(), Letters: 4, KiB: 64, Expires: a.A().Expires}
	if err := wire.SignCapability(box, &reply); err != nil {
		v.t.Fatal(err)
	}
	ctx := a.A().Header.Context
	r := &protocol.Request{
		Header: protocol.Header{Net: v.net, Kind: protocol.KindRequest, ID: wire.NewID(), To: ctx, Context: ctx, Seq: 1,
			Created: second(), Expires: a.A().Expires, Re: a.ID()},
		Vendor: wire.ID(v.chain[0]), Passport: wire.ID(inner[len(inner)-1]), Chain: inner, Recipients: []string{"Veld & Vine"},
		Countries: []protocol.Region{"ZA"}, Basis: protocol.BasisConsent, Terms: a.A().Terms, Rail: protocol.RailNone,
		Notice: protocol.Notice{Source: "you", Consequence: "no offer", Law: "none", Rights: "all", Complaints: "the regulator"},
		Fields: []protocol.FieldAsk{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30}},
		Seal:   lock.Public(), Reply: protocol.Address{Keepers: a.A().Keepers, Capability: reply, Seed: protocol.Share(dep.Seed())}, Until: a.A().Expires,
	}
	signed, err := wire.Sign(op, r)
	if err != nil {
		v.t.Fatal(err)
	}
	raw, _, err := wire.SealLetter(a.A().Seal, seal.First, v.net, a.A().Mailbox, min(r.Expires, second()+20*protocol.Day), signed)
	if err != nil {
		v.t.Fatal(err)
	}
	f := protocol.FirstContact{Vendor: r.Vendor, Passport: wire.ID(outer[len(outer)-1]), Expires: second() + protocol.Hour, Chain: outer}
	to := a.A().Keepers[0]
	if err := wire.SignFirst(at, &f, a.A().Mailbox, wire.ID(raw), to.Key); err != nil {
		v.t.Fatal(err)
	}
	s, err := keeper.Client{Port: v.w.Net.Port(false), Net: v.net}.Mail(v.t.Context(), to)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, err = s.Deposit(v.t.Context(), keeper.Deposit{Box: a.A().Mailbox, Letter: raw, First: f, Key: key.Generate[key.Depositor]()})
	return wire.ID(signed), err
}

// heard reads an announcement from the board of some public node.
func (v *issuer) heard(need string) wire.Heard {
	v.t.Helper()
	for _, m := range v.w.Members() {
		_, s, err := m.Vendor().Board().Get(context.Background(), need)
		if err != nil {
			continue
		}
		raw, err := hex.DecodeString(s.Hex)
		if err != nil {
			v.t.Fatal(err)
		}
		h, err := wire.OpenAnnouncement(raw)
		if err != nil {
			v.t.Fatal(err)
		}
		return h
	}
	v.t.Fatalf("nobody heard of %s", need)
	return wire.Heard{}
}

func announce(t *testing.T, her *nodetest.Member, days int) string {
	t.Helper()
	n, err := her.Customer().Needs().Create(context.Background(), desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture", Days: days, Interest: days > 14})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	return n.ID
}

// asked tells whether a request reached its customer, and was accepted.
func asked(t *testing.T, her *nodetest.Member, id protocol.Hash) bool {
	t.Helper()
	time.Sleep(30 * time.Second)
	p, err := her.Customer().Requests().List(context.Background(), desk.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Items {
		if r.ID == id.String() {
			return true
		}
	}
	return false
}

// TestMust_own_passport: a passport rotated twice is accepted, one signed by a key
// that was not committed to is refused everywhere, and old keys and inboxes serve
// within their dates only.
func TestMust_own_passport(t *testing.T) {
	in := func(name string, test func(t *testing.T, w *nodetest.World, her *nodetest.Member, keepers []*nodetest.Member)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := nodetest.NewWorld(t)
				defer w.Close()
				keepers := []*nodetest.Member{w.Public("one"), w.Public("two"), w.Public("three")}
				her := w.Personal("thandi")
				time.Sleep(5 * time.Second)
				her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
				test(t, w, her, keepers)
			})
		})
	}
	in("rotated twice", rotatedTwice)
	in("rotated between request and receipt", rotatedBetween)
	in("not committed to", notCommitted)
	in("an old key", oldKey)
	in("an old inbox", oldInbox)
}

func rotatedTwice(t *testing.T, w *nodetest.World, her *nodetest.Member, _ []*nodetest.Member) {
	vendor := w.Public("couches")
	time.Sleep(time.Second)
	vendor.Sell(shop)
	for range 2 {
		time.Sleep(time.Hour)
		if _, err := vendor.Vendor().Passports().Issue(t.Context(), desk.PassportSpec{}); err != nil {
			t.Fatal(err)
		}
	}
	own, err := vendor.Vendor().Passports().Own(t.Context())
	if err != nil || own.Seq != 3 || len(own.Chain) != 3 || len(own.Operational) != 3 {
		t.Fatalf("passport %+v, %v", own, err)
	}
	announce(t, her, 7)
	w.Until(time.Minute, "an offer of a vendor with three passports", func() (bool, error) { return len(her.Offers(desk.Query{})) > 0, nil })
	g, err := her.Customer().Grants().Give(t.Context(), desk.GiveSpec{Vendor: own.Vendor, Name: "my couch people", Fields: []string{"location.area"}})
	if err != nil {
		t.Fatal(err)
	}
	w.Until(time.Minute, "a grant without a need that is disclosed", func() (bool, error) {
		v, err := her.Customer().Grants().Get(t.Context(), g.ID)
		return v.State == "disclosed", err
	})
}

func rotatedBetween(t *testing.T, w *nodetest.World, her *nodetest.Member, _ []*nodetest.Member) {
	vendor := w.Public("couches")
	time.Sleep(time.Second)
	vendor.Sell(shop)
	vendor.Online(false)
	announce(t, her, 7)
	her.Online(false)
	vendor.Online(true)
	time.Sleep(3 * time.Minute) // it hears of the need, and asks
	vendor.Online(false)
	if _, err := vendor.Vendor().Passports().Issue(t.Context(), desk.PassportSpec{}); err != nil {
		t.Fatal(err)
	}
	her.Online(true)
	time.Sleep(3 * time.Minute)
	if g := her.Grants(desk.Query{}); len(g) != 1 || g[0].State != "granted" {
		t.Fatalf("before the vendor is back: %+v", g)
	}
	vendor.Online(true)
	w.Until(5*time.Minute, "a receipt under the passport that asked", func() (bool, error) {
		g := her.Grants(desk.Query{})
		return g[0].State == "disclosed", nil
	})
}

func notCommitted(t *testing.T, w *nodetest.World, her *nodetest.Member, keepers []*nodetest.Member) {
	v := newIssuer(t, w)
	op := v.ops[0]
	stolen := key.Generate[key.Operational]()
	forged := v.with(v.rotated(key.Generate[key.Root](), stolen)) // everything about it is right but the key that signed it
	good := v.with(v.rotated(v.next, key.Generate[key.Operational]()))

	if _, err := wire.OpenChain(good, v.net); err != nil {
		t.Fatalf("a chain that is right: %v", err)
	}
	if _, err := wire.OpenChain(forged, v.net); !errors.Is(err, fault.Denied) {
		t.Errorf("OpenChain = %v", err)
	}
	if err := v.publish(keepers[0], v.chain); err != nil {
		t.Fatal(err)
	}
	var no *keeper.Refused
	if err := v.publish(keepers[0], forged); !errors.As(err, &no) {
		t.Errorf("a keeper on a forged passport: %v", err)
	}
	if err := v.publish(keepers[0], good); err != nil {
		t.Errorf("a keeper on the right one: %v", err)
	}
	if _, err := her.Vendor().Passports().Import(t.Context(), []string{hex.EncodeToString(forged[0]), hex.EncodeToString(forged[1])}); !errors.Is(err, fault.Denied) {
		t.Errorf("import of a forged one: %v", err)
	}

	need := announce(t, her, 7)
	if _, err := v.ask(need, forged, forged, stolen, stolen); !errors.As(err, &no) {
		t.Errorf("a first letter that shows a forged passport: %v", err)
	}
	for what, c := range map[string]struct {
		inner [][]byte
		op    key.Private[key.Operational]
		want  bool
	}{
		"a forged passport, and its key": {forged, stolen, false},
		"a forged passport, an old key":  {forged, op, false},
		"the right one, a foreign key":   {good, stolen, false},
		"the right one":                  {good, op, true},
	} {
		need := announce(t, her, 7)
		id, err := v.ask(need, c.inner, v.chain, c.op, op)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := asked(t, her, id); got != c.want {
			t.Errorf("a request under %s: taken %v", what, got)
		}
	}
}

func oldKey(t *testing.T, w *nodetest.World, her *nodetest.Member, _ []*nodetest.Member) {
	v := newIssuer(t, w)
	old := v.ops[0]
	time.Sleep(time.Hour)
	v.chain = v.with(v.rotated(v.next, key.Generate[key.Operational]()))
	time.Sleep(time.Hour)
	v.chain = v.with(v.rotated(v.next, key.Generate[key.Operational]()))
	fresh := v.ops[2]
	first, second := announce(t, her, 100), announce(t, her, 100)
	third, fourth := announce(t, her, 100), announce(t, her, 100)

	id, err := v.ask(first, v.chain, v.chain, old, old)
	if err != nil || !asked(t, her, id) {
		t.Fatalf("an old key within its dates: %v", err)
	}
	quiet(31*day, append(w.Members(), her)...)
	time.Sleep(time.Minute)
	if _, err := v.ask(second, v.chain, v.chain, old, old); err == nil {
		t.Error("a keeper took a letter by an old key past its dates")
	}
	if id, err = v.ask(third, v.chain, v.chain, old, fresh); err != nil || asked(t, her, id) {
		t.Errorf("a request by an old key past its dates was taken (%v)", err)
	}
	if id, err = v.ask(fourth, v.chain, v.chain, fresh, fresh); err != nil || !asked(t, her, id) {
		t.Errorf("the fresh key: %v", err)
	}
}

func oldInbox(t *testing.T, w *nodetest.World, her *nodetest.Member, keepers []*nodetest.Member) {
	vendor := w.Public("couches")
	time.Sleep(time.Second)
	vendor.Sell(shop)
	time.Sleep(time.Minute)
	own, err := vendor.Vendor().Passports().Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := w.Personal("sipho") // both know the first passport, and no other
	late.Fill(map[string]string{"location.area": "Yeoville"})
	give := func(m *nodetest.Member) (string, error) {
		g, err := m.Customer().Grants().Give(t.Context(), desk.GiveSpec{Vendor: own.Vendor, Name: "my couch people", Fields: []string{"location.area"}})
		return g.ID, err
	}
	for _, m := range []*nodetest.Member{her, late} {
		if _, err := m.Vendor().Passports().Get(t.Context(), own.Vendor); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := vendor.Vendor().Passports().Issue(t.Context(), desk.PassportSpec{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
	}
	id, err := give(her)
	if err != nil {
		t.Fatal(err)
	}
	w.Until(5*time.Minute, "an answer from the first passport's inbox", func() (bool, error) {
		g, err := her.Customer().Grants().Get(t.Context(), id)
		return g.State == "disclosed", err
	})
	everyone := append(keepers, vendor, her, late)
	quiet(30*day, everyone...)
	time.Sleep(time.Minute)
	lost, err := give(late)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	if g, err := late.Customer().Grants().Get(t.Context(), lost); err != nil || g.State != "granted" {
		t.Fatalf("a grant to an inbox past its dates is %s (%v)", g.State, err)
	}
	if own, err = vendor.Vendor().Passports().Own(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Vendor().Passports().Import(t.Context(), own.Chain); err != nil {
		t.Fatal(err)
	}
	if id, err = give(late); err != nil {
		t.Fatal(err)
	}
	w.Until(5*time.Minute, "an answer from the latest inbox", func() (bool, error) {
		g, err := late.Customer().Grants().Get(t.Context(), id)
		return g.State == "disclosed", err
	})
}
