package node_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
)

// A named key, so that a failure says whose it is.
type named struct {
	name string
	key  key.Secret
}

// A grantLock is what a grant's offers are locked with.
type grantLock struct {
	id     protocol.GrantID
	seal   key.Secret
	secret key.Secret
}

// An offerLetter is a letter in an offer mailbox, and the grant that it belongs to.
type offerLetter struct {
	raw []byte
	own grantLock
}

// misopened tries every key on every letter, and every secret of the same list under
// every grant on what is inside. It tells where an offer opens with anything but both
// keys of its own grant. alive are the grants whose offers must open.
func misopened(net protocol.Hash, list []offerLetter, keys []named, alive []grantLock) (wrong []string) {
	lock := make([]key.Decapsulation[key.OfferSeal], len(keys))
	for i, k := range keys {
		lock[i] = key.SealFromSeed[key.OfferSeal](k.key)
	}
	for n, l := range list {
		lives := slices.ContainsFunc(alive, func(g grantLock) bool { return g.id == l.own.id })
		// The outer lock, as it lies on a keeper's disk: whoever has no key to it has nothing.
		outer := 0
		for i, k := range keys {
			if _, _, err := wire.OpenLetter(lock[i], seal.Offer, net, l.raw); err != nil {
				continue
			}
			outer++
			if !lives || !k.key.Equal(l.own.seal) {
				wrong = append(wrong, fmt.Sprintf("offer %d opens with %s", n, k.name))
			}
		}
		if lives && outer == 0 {
			wrong = append(wrong, fmt.Sprintf("offer %d of a living grant opens with nothing", n))
		}
		// The inner lock, for somebody who has the outer key of this grant.
		inner, _, err := wire.OpenLetter(key.SealFromSeed[key.OfferSeal](l.own.seal), seal.Offer, net, l.raw)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("offer %d does not open with its grant's own key", n))
			continue
		}
		if _, err := wire.Open(inner); err == nil {
			wrong = append(wrong, fmt.Sprintf("offer %d lies bare under the first lock", n))
		}
		for _, g := range alive {
			_, err := wire.OpenOffer(g.secret, l.own.id, inner)
			if g.id != l.own.id && (err == nil || g.seal.Equal(l.own.seal)) {
				wrong = append(wrong, fmt.Sprintf("offer %d opens with a key of another grant", n))
			}
		}
		for _, k := range keys {
			for _, g := range alive {
				_, err := wire.OpenOffer(k.key, g.id, inner)
				if own := lives && g.id == l.own.id && k.key.Equal(l.own.secret); (err == nil) != own {
					wrong = append(wrong, fmt.Sprintf("offer %d, with its first lock open: %s under grant %s: %v", n, k.name, g.id.Short(), err))
				}
			}
		}
	}
	return wrong
}

// A madeGrant is a grant with all keys of both sides, made by hand.
type madeGrant struct {
	grantLock
	ctx    key.Private[key.Context]
	vendor key.Private[key.Duty]
	all    []named
}

func drawSecret(t *rapid.T, name string) key.Secret {
	raw := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name)
	raw[0] |= 1 // never all zero
	s, err := key.SecretFrom(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drawGrant makes a grant in one of a few contexts, to one of a few vendors.
func drawGrant(t *rapid.T, n int, contexts, vendors []key.Secret) madeGrant {
	c := rapid.IntRange(0, len(contexts)-1).Draw(t, "context")
	v := rapid.IntRange(0, len(vendors)-1).Draw(t, "vendor")
	g := madeGrant{ctx: key.FromSeed[key.Context](contexts[c]), vendor: key.FromSeed[key.Duty](vendors[v])}
	g.id = wire.GrantID(g.ctx.Public(), protocol.VendorID(g.vendor.Public()), protocol.Hash(drawSecret(t, "request").Reveal()))
	g.seal, g.secret = drawSecret(t, "offer lock"), drawSecret(t, "offer secret")
	g.all = []named{{fmt.Sprintf("offer lock %d", n), g.seal}, {fmt.Sprintf("offer secret %d", n), g.secret}}
	for _, name := range []string{"her duty lock", "her duty key", "her box", "vendor's duty lock", "vendor's request lock", "disclosure MAC", "body key"} {
		g.all = append(g.all, named{fmt.Sprintf("%s %d", name, n), drawSecret(t, name)})
	}
	return g
}

// offerOf signs an offer under a grant and locks it as told: secret inside, lock outside.
func offerOf(t testing.TB, net protocol.Hash, g madeGrant, secret key.Secret, lock key.Encapsulation[key.OfferSeal]) []byte {
	signed, err := wire.Sign(g.vendor, &protocol.Offer{
		Header: protocol.Header{
			Net: net, Kind: protocol.KindOffer, ID: wire.NewID(), To: protocol.Hash(g.ctx.Public()), Context: protocol.Hash(g.ctx.Public()),
			Seq: 2, Created: 1_800_000_000, Expires: 1_800_600_000, Re: protocol.Hash{1},
		},
		Grant: g.id, Product: "1", Title: "Two-seater couch", Price: protocol.Money{Minor: 450000, Currency: "ZAR"}, Quantity: 1, Rank: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	inner := signed
	if !secret.IsZero() {
		inner = wire.SealOffer(secret, g.id, signed)
	}
	raw, _, err := wire.SealLetter(lock, seal.Offer, net, key.Generate[key.Mailbox]().Public(), 1_800_600_000, inner)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestMust_offer_keys holds random grants and then real ones to the rule that an
// offer opens with both keys of its own grant and with nothing else.
func TestMust_offer_keys(t *testing.T) {
	net := protocol.Hash{9}
	t.Run("planted", func(t *testing.T) { offerFinds(t, net) })
	t.Run("random", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			contexts := []key.Secret{drawSecret(rt, "context 1"), drawSecret(rt, "context 2")}
			vendors := []key.Secret{drawSecret(rt, "vendor 1"), drawSecret(rt, "vendor 2")}
			keys := []named{{"context key 1", contexts[0]}, {"context key 2", contexts[1]}, {"vendor key 1", vendors[0]}, {"vendor key 2", vendors[1]}}
			var alive []grantLock
			var list []offerLetter
			for n := range rapid.IntRange(2, 3).Draw(rt, "grants") {
				g := drawGrant(rt, n, contexts, vendors)
				keys = append(keys, g.all...)
				alive = append(alive, g.grantLock)
				list = append(list, offerLetter{offerOf(t, net, g, g.secret, key.SealFromSeed[key.OfferSeal](g.seal).Public()), g.grantLock})
			}
			// Half of the time one grant is revoked: its two keys are gone, and nothing that is left opens its offers.
			if gone := rapid.IntRange(0, 2*len(alive)-1).Draw(rt, "revoked"); gone < len(alive) {
				keys = slices.DeleteFunc(keys, func(k named) bool { return k.key.Equal(alive[gone].seal) || k.key.Equal(alive[gone].secret) })
				alive = slices.Delete(alive, gone, gone+1)
			}
			for _, bad := range misopened(net, list, keys, alive) {
				rt.Error(bad)
			}
		})
	})
	t.Run("real", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { realOffers(t, "") })
	})
	t.Run("real, planted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { realOffers(t, "reopen-revoked") })
	})
}

// offerFinds plants offers under the wrong locks, one thing after another.
func offerFinds(t *testing.T, net protocol.Hash) {
	make1 := func() madeGrant {
		g := madeGrant{ctx: key.Generate[key.Context](), vendor: key.Generate[key.Duty]()}
		g.grantLock = grantLock{protocol.Hash(key.NewSecret().Reveal()), key.NewSecret(), key.NewSecret()}
		return g
	}
	a, b := make1(), make1()
	keys := []named{{"lock a", a.seal}, {"secret a", a.secret}, {"lock b", b.seal}, {"secret b", b.secret}, {"context a", a.ctx.Seed()}, {"vendor a", a.vendor.Seed()}}
	alive := []grantLock{a.grantLock, b.grantLock}
	lockA := key.SealFromSeed[key.OfferSeal](a.seal).Public()
	withLock := func(s key.Secret) grantLock { return grantLock{a.id, s, a.secret} }
	for name, plant := range map[string]struct {
		raw   []byte
		own   grantLock
		alive []grantLock
		want  bool
	}{
		"nothing":                   {offerOf(t, net, a, a.secret, lockA), a.grantLock, alive, false},
		"no inner lock":             {offerOf(t, net, a, key.Secret{}, lockA), a.grantLock, alive, true},
		"another grant's secret":    {offerOf(t, net, a, b.secret, lockA), a.grantLock, alive, true},
		"one key for both":          {offerOf(t, net, a, a.seal, lockA), a.grantLock, alive, true},
		"locked to the context key": {offerOf(t, net, a, a.secret, key.SealFromSeed[key.OfferSeal](a.ctx.Seed()).Public()), withLock(a.seal), alive, true},
		"locked to another grant":   {offerOf(t, net, a, a.secret, key.SealFromSeed[key.OfferSeal](b.seal).Public()), withLock(b.seal), []grantLock{b.grantLock}, true},
		"revoked, keys kept":        {offerOf(t, net, a, a.secret, lockA), a.grantLock, alive[1:], true},
	} {
		wrong := misopened(net, []offerLetter{{plant.raw, plant.own}}, keys, plant.alive)
		if (len(wrong) > 0) != plant.want {
			t.Errorf("planted %s, found %q", name, wrong)
		}
	}
}

// haul is what the offers of a simulated network are tried with.
type haul struct {
	net     protocol.Hash
	letters []offerLetter
	locks   []grantLock
	keys    []named
}

// catch takes the offer letters off the keepers' disks, and every key that anybody
// in the network ever wrote down.
func catch(t *testing.T, w *nodetest.World, her *tape, keepers []*tape) haul {
	var s secrets
	s.learn(t, her, true)
	h := haul{net: netOf(t, w.Genesis)}
	for id, k := range s.keys {
		h.locks = append(h.locks, grantLock{id, k.Seal.Secret(), k.Secret.Secret()})
	}
	for _, raw := range letters(keepers...) {
		l, err := wire.ReadLetter(raw)
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := s.doors[l.Box]; ok && d.class == seal.Offer {
			i := slices.IndexFunc(h.locks, func(g grantLock) bool { return g.seal.Equal(d.seed.Secret()) })
			h.letters = append(h.letters, offerLetter{raw, h.locks[i]})
		}
	}
	var tried locks
	for _, tp := range append(slices.Clone(keepers), her) {
		tried.add(tp.all(""))
	}
	for i, k := range tried.list {
		h.keys = append(h.keys, named{fmt.Sprintf("key %d of the network", i), k})
	}
	return h
}

// realOffers captures the offers that two vendors make for two needs of one customer,
// and tries every key that anybody ever had on them: before and after a revocation.
func realOffers(t *testing.T, misbehave string) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	ctx := context.Background()
	sellers := []*nodetest.Member{w.Public("couches"), w.Public("sofas")}
	her := w.Misbehaving("thandi", false, misbehave)
	keepers := []*tape{onTape(sellers[0]), onTape(sellers[1]), onTape(w.Public("keeper"))}
	hers := onTape(her)
	time.Sleep(5 * time.Second)
	for _, m := range sellers {
		m.Sell(shop)
	}
	her.Fill(map[string]string{"location.area": "Melville", "contact.hours": "evenings"})
	for _, name := range []string{"a couch for two", "an oak table"} {
		n, err := her.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: name, Category: "home.furniture"})
		if err != nil {
			t.Fatal(err)
		}
		w.Until(time.Minute, "both vendors' offers", func() (bool, error) {
			vendors := map[string]bool{}
			for _, o := range her.Offers(desk.Query{Context: n.ID}) {
				vendors[o.Vendor] = true
			}
			return len(vendors) == 2, nil
		})
	}
	h := catch(t, w, hers, keepers)
	if len(h.locks) != 4 || len(h.letters) < 4 {
		t.Fatalf("%d grants, %d offer letters", len(h.locks), len(h.letters))
	}
	if misbehave == "" {
		for _, bad := range misopened(h.net, h.letters, h.keys, h.locks) {
			t.Error("before the revocation: ", bad)
		}
	}
	t.Logf("%d offer letters of %d grants, %d keys tried", len(h.letters), len(h.locks), len(h.keys))

	// She revokes one grant. What is on her disk now, and all that anybody else ever
	// had, opens none of its offers; those of the others as before.
	gone := her.Grants(desk.Query{})[0]
	shown := her.Offers(desk.Query{Grant: gone.ID, All: true})
	if _, err := her.Customer().Grants().Revoke(ctx, []string{gone.ID}, desk.Query{}, "enough"); err != nil {
		t.Fatal(err)
	}
	w.Until(time.Minute, "the deletion", func() (bool, error) {
		g, err := her.Customer().Grants().Get(ctx, gone.ID)
		return g.State == "deleted", err
	})
	alive := slices.DeleteFunc(slices.Clone(h.locks), func(g grantLock) bool { return g.id.String() == gone.ID })
	var left locks
	left.add(hers.now(t))
	for _, tp := range keepers {
		left.add(tp.all("")) // everybody else never forgets
	}
	var keys []named
	for i, k := range left.list {
		if i := slices.IndexFunc(h.locks, func(g grantLock) bool { return g.id.String() == gone.ID }); k.Equal(h.locks[i].secret) {
			continue // the vendor has it, as one of two
		}
		keys = append(keys, named{fmt.Sprintf("key %d that is left", i), k})
	}
	wrong := misopened(h.net, h.letters, keys, alive)
	if found := len(wrong) > 0; found != (misbehave != "") {
		t.Errorf("after the revocation, misbehaving %q: %q", misbehave, wrong)
	}
	stillReads(t, her, hers, gone.ID, shown)
}

// stillReads tells whether she has the copies that her node re-sealed: with the same
// words as before, though no key of the grant is left.
func stillReads(t *testing.T, her *nodetest.Member, hers *tape, grant string, shown []desk.Offer) {
	again := her.Offers(desk.Query{Grant: grant, All: true})
	if len(shown) == 0 || len(again) != len(shown) {
		t.Fatalf("%d offers before the revocation, %d after", len(shown), len(again))
	}
	for i := range again {
		if again[i].Title != shown[i].Title || again[i].Price.Minor != shown[i].Price.Minor {
			t.Errorf("offer %+v became %+v", shown[i], again[i])
		}
	}
	for _, w := range hers.now(t) {
		if d, ok := dealOf(t, w); ok && d.Grant.String() == grant && d.Offer.Title != "" {
			return
		}
	}
	t.Error("no copy of an offer of the revoked grant is on her disk")
}

func dealOf(t *testing.T, w written) (records.Deal, bool) {
	if string(w.key[:min(4, len(w.key))]) != "k/d/" {
		return records.Deal{}, false
	}
	return decode[records.Deal](t, w), true
}
