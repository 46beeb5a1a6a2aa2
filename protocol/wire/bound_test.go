package wire

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A world has two customers and two vendors, named by one letter in their keys.

func customer(name string) key.Private[key.Context] { return private[key.Context]("customer " + name) }

func requestOf(vendor, to string) *protocol.Request {
	r := request()
	r.To, r.Context = protocol.Hash(customer(to).Public()), protocol.Hash(customer(to).Public())
	r.ID, r.Seal = id("request "+vendor), opener[key.RequestSeal]("request "+vendor).Public()
	if vendor == "other" { // its chain is its own
		p := *must(As[*protocol.Passport](must(Open(passports(1)[0]))))
		p.Root, p.Name = rootKey(7).Public(), "Other"
		r.Chain = [][]byte{must(Sign(rootKey(7), &p))}
		r.Vendor, r.Passport = ID(r.Chain[0]), ID(r.Chain[0])
	}
	return r
}

func grantOf(from string, vendor protocol.VendorID, re protocol.Hash) *protocol.Grant {
	g := grant()
	g.Context, g.To, g.Re = protocol.Hash(customer(from).Public()), vendor, re
	g.Grant = GrantID(customer(from).Public(), vendor, re)
	return g
}

func offerOf(g *protocol.Grant) *protocol.Offer {
	o := offer()
	o.To, o.Context, o.Grant = g.Context, g.Context, g.Grant
	return o
}

// A reader opens letters with one key and expects something of what is inside.
type reader struct {
	open   func(raw []byte) ([]byte, error)
	expect Expect
	also   func(Signed) error // what only this reader knows
}

func readerWith[P key.SealPurpose](k key.Decapsulation[P], c seal.Class, e Expect) reader {
	return reader{func(raw []byte) ([]byte, error) {
		plain, _, err := OpenLetter(k, c, testNet, raw)
		return plain, err
	}, e, func(Signed) error { return nil }}
}

func (r reader) read(raw []byte) error {
	plain, err := r.open(raw)
	if err != nil {
		return err
	}
	s, err := Open(plain)
	if err != nil {
		return err
	}
	if err := s.Meets(r.expect); err != nil {
		return err
	}
	return r.also(s)
}

func sealed[P key.SealPurpose](t *testing.T, to key.Decapsulation[P], c seal.Class, net protocol.Hash, plain []byte) []byte {
	t.Helper()
	raw, _, err := SealLetter(to.Public(), c, net, private[key.Mailbox]("box context").Public(), testNow+protocol.Day, plain)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// retyped is an envelope whose payload type was swapped for another kind's.
func retyped(t *testing.T, raw []byte, k protocol.Kind) []byte {
	t.Helper()
	e, err := seal.ParseEnvelope(raw)
	if err != nil {
		t.Fatal(err)
	}
	e.Type = []byte(k.Domain())
	return e.Marshal()
}

type attack struct {
	name string
	by   reader
	raw  []byte
	want fault.Kind
}

// refused checks that each attack fails as it should, and tells those that do not.
func refused(attacks []attack) (through []string) {
	for _, a := range attacks {
		if err := a.by.read(a.raw); !errors.Is(err, a.want) {
			through = append(through, a.name)
		}
	}
	return through
}

func TestMust_bound_to_me(t *testing.T) {
	mine, hers := opener[key.ContextSeal]("mine"), opener[key.ContextSeal]("hers")
	me, her := protocol.Hash(customer("me").Public()), protocol.Hash(customer("her").Public())
	requests := func(k key.Decapsulation[key.ContextSeal], who protocol.Hash) reader {
		return readerWith(k, seal.First, Expect{Net: testNet, Kinds: []protocol.Kind{protocol.KindRequest}, To: who, Context: who, Now: testNow})
	}
	req := requestOf("one", "me")
	plain := must(Sign(operation, req))
	raw := sealed(t, mine, seal.First, testNet, plain)
	if err := requests(mine, me).read(raw); err != nil {
		t.Fatal(err)
	}
	attacks := []attack{
		{"a request opened by another", requests(hers, her), raw, fault.Denied},
		{"a request re-sealed to another customer", requests(hers, her), sealed(t, hers, seal.First, testNet, plain), fault.Denied},
		{"a request of another class", requests(mine, me), sealed(t, mine, seal.Vendor, testNet, plain), fault.Denied},
		{"a request of another network", requests(mine, me), sealed(t, mine, seal.First, hash("other net"), plain), fault.Denied},
		{"a request as a receipt", requests(mine, me), sealed(t, mine, seal.First, testNet, retyped(t, plain, protocol.KindReceipt)), fault.Malformed},
		{"a grant where a request is due", requests(mine, me), sealed(t, mine, seal.First, testNet, must(Sign(customer("me"), grantOf("me", req.Vendor, ID(plain))))), fault.Denied},
	}

	// Grants: the vendor reads with the key of one request.
	vendorKey := opener[key.RequestSeal]("request one")
	grants := readerWith(vendorKey, seal.Vendor, Expect{Net: testNet, Kinds: []protocol.Kind{protocol.KindGrant}, From: me, To: req.Vendor, Context: me, Now: testNow})
	grants.also = func(s Signed) error {
		if s.Head().Re != ID(plain) {
			return fault.Denied
		}
		return nil
	}
	g := grantOf("me", req.Vendor, ID(plain))
	granted := must(Sign(customer("me"), g))
	if err := grants.read(sealed(t, vendorKey, seal.Vendor, testNet, granted)); err != nil {
		t.Fatal(err)
	}
	borrowed := requestOf("other", "me")
	borrowed.Seal = vendorKey.Public() // another vendor asks with this vendor's key
	toOther := must(Sign(customer("me"), grantOf("me", borrowed.Vendor, ID(must(Sign(operation, borrowed))))))
	attacks = append(attacks,
		attack{"a grant to one who borrowed the request key", grants, sealed(t, vendorKey, seal.Vendor, testNet, toOther), fault.Denied},
		attack{"a grant for another request", grants, sealed(t, vendorKey, seal.Vendor, testNet, must(Sign(customer("me"), grantOf("me", req.Vendor, hash("other request"))))), fault.Denied},
		attack{"a grant of another customer", grants, sealed(t, vendorKey, seal.Vendor, testNet, must(Sign(customer("her"), grantOf("her", req.Vendor, ID(plain))))), fault.Denied},
		attack{"a grant as a counter", grants, sealed(t, vendorKey, seal.Vendor, testNet, retyped(t, granted, protocol.KindCounter)), fault.Malformed},
		attack{"a grant re-sealed to another vendor", readerWith(opener[key.RequestSeal]("request other"), seal.Vendor,
			Expect{Net: testNet, Kinds: grants.expect.Kinds, To: borrowed.Vendor, Now: testNow}), sealed(t, opener[key.RequestSeal]("request other"), seal.Vendor, testNet, granted), fault.Denied},
	)

	// Offers: two locks, and a grant inside.
	offerKey, secretOf := opener[key.OfferSeal]("offer of me"), secret("offer secret of me")
	offers := readerWith(offerKey, seal.Offer, Expect{Net: testNet, Kinds: []protocol.Kind{protocol.KindOffer}, From: protocol.Hash(itsDuty.Public()), To: me, Context: me, Now: testNow})
	outer := offers.open
	offers.open = func(raw []byte) ([]byte, error) {
		inner, err := outer(raw)
		if err != nil {
			return nil, err
		}
		return OpenOffer(secretOf, g.Grant, inner)
	}
	offered := must(Sign(itsDuty, offerOf(g)))
	if err := offers.read(sealed(t, offerKey, seal.Offer, testNet, SealOffer(secretOf, g.Grant, offered))); err != nil {
		t.Fatal(err)
	}
	herGrant := grantOf("her", req.Vendor, hash("her request"))
	herOffer := must(Sign(itsDuty, offerOf(herGrant)))
	lock := func(s key.Secret, id protocol.GrantID, plain []byte) []byte {
		return sealed(t, offerKey, seal.Offer, testNet, SealOffer(s, id, plain))
	}
	attacks = append(attacks,
		attack{"an offer moved to another context", offers, lock(secretOf, g.Grant, herOffer), fault.Denied},
		attack{"an offer moved to another grant", offers, lock(secretOf, herGrant.Grant, offered), fault.Denied},
		attack{"an offer under another offer secret", offers, lock(secret("offer secret of her"), g.Grant, offered), fault.Denied},
		attack{"an offer without its inner lock", offers, sealed(t, offerKey, seal.Offer, testNet, offered), fault.Denied},
		attack{"an offer of another vendor", offers, lock(secretOf, g.Grant, must(Sign(private[key.Duty]("other vendor"), offerOf(g)))), fault.Denied},
		attack{"an offer as an acceptance", offers, lock(secretOf, g.Grant, retyped(t, offered, protocol.KindAccept)), fault.Malformed},
		attack{"an offer as a duty letter", offers, sealed(t, offerKey, seal.Duty, testNet, SealOffer(secretOf, g.Grant, offered)), fault.Denied},
	)

	// A reader that forgets to compare lets some of them in, and the check says so.
	careless := make([]attack, len(attacks))
	for i, a := range attacks {
		a.by.expect = Expect{Net: testNet, Kinds: a.by.expect.Kinds, Now: testNow}
		a.by.also = func(Signed) error { return nil }
		careless[i] = a
	}
	if through := refused(careless); len(through) < 4 {
		t.Fatalf("of a careless reader's mistakes only %q were found", through)
	}
	if through := refused(attacks); len(through) > 0 {
		t.Errorf("not refused: %q", through)
	}
}

func TestMeets(t *testing.T) {
	s := must(Open(must(Sign(itsDuty, offer()))))
	good := Expect{Net: testNet, Kinds: []protocol.Kind{protocol.KindAck, protocol.KindOffer}, Now: testNow}
	full := Expect{Net: testNet, Kinds: good.Kinds, From: protocol.Hash(itsDuty.Public()), To: contextID, Context: contextID, Now: testNow + 30*protocol.Day - 1}
	for _, e := range []Expect{good, full, {Net: testNet, Kinds: good.Kinds, Now: testNow - protocol.MaxSkew}} {
		if err := s.Meets(e); err != nil {
			t.Error(err)
		}
	}
	for name, row := range map[string]struct {
		change func(*Expect)
		want   fault.Kind
	}{
		"net":     {func(e *Expect) { e.Net = protocol.Hash{} }, fault.Denied},
		"kind":    {func(e *Expect) { e.Kinds = []protocol.Kind{protocol.KindAccept} }, fault.Denied},
		"no kind": {func(e *Expect) { e.Kinds = nil }, fault.Denied},
		"from":    {func(e *Expect) { e.From = hash("x") }, fault.Denied},
		"to":      {func(e *Expect) { e.To = hash("x") }, fault.Denied},
		"context": {func(e *Expect) { e.Context = hash("x") }, fault.Denied},
		"future":  {func(e *Expect) { e.Now = testNow - protocol.MaxSkew - 1 }, fault.Expired},
		"past":    {func(e *Expect) { e.Now = testNow + 30*protocol.Day }, fault.Expired},
	} {
		e := full
		row.change(&e)
		if err := s.Meets(e); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := disclosure()
	d.Kind = protocol.KindDisclosure
	if err := MeetsDisclosure(d, Expect{Net: testNet, Kinds: []protocol.Kind{protocol.KindDisclosure}, To: protocol.Hash(itsDuty.Public()), Now: testNow}); err != nil {
		t.Error(err)
	}
	if err := MeetsDisclosure(d, good); !errors.Is(err, fault.Denied) {
		t.Error(err)
	}
	if err := (Signed{}).Meets(good); !errors.Is(err, fault.Denied) {
		t.Error("nothing meets something")
	}
	if _, err := As[*protocol.Grant](s); !errors.Is(err, fault.Denied) {
		t.Error("an offer is read as a grant")
	}
}
