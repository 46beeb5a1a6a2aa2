package market

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// envelope reads signed bytes that a side keeps.
func (s *side) envelope(id protocol.Hash) (raw []byte) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { raw, err = records.GetEnvelope(r, id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// sign signs what can be signed; nil for a message of a form that nobody can read.
func sign[P key.Purpose](k key.Private[P], m protocol.Message) []byte {
	raw, err := wire.Sign(k, m)
	if errors.Is(err, fault.Malformed) {
		return nil
	}
	return must(raw, err)
}

func message[M protocol.Message](s *side, id protocol.Hash) M {
	s.t.Helper()
	return must(wire.As[M](must(wire.Open(s.envelope(id)))))
}

func sealed[P key.SealPurpose](to key.Encapsulation[P], c seal.Class, net protocol.Hash, box key.MailboxKey, plain []byte) []byte {
	if plain == nil {
		return nil
	}
	raw, _, err := wire.SealLetter(to, c, net, box, protocol.Second(time.Now().Unix())+protocol.Day, plain)
	return must(raw, err)
}

// accepts gives a side the letter that it waited for, and the same bytes once more:
// the second time changes nothing.
func (s *side) accepts(it outbox.Item) {
	s.t.Helper()
	for i := range 2 {
		before := s.kept()
		if opened, err := s.Letter(context.Background(), it.Box, it.Data); err != nil || !opened {
			s.t.Fatalf("%s is not taken: %v, %v", it.Kind, opened, err)
		}
		if same := maps.Equal(before, s.kept()); same != (i == 1) {
			s.t.Errorf("%s, time %d: the same as before is %v", it.Kind, i+1, same)
		}
	}
	s.other.carried[it.ID] = true
}

// signer is the shop's operational key.
func (s *side) signer() key.Private[key.Operational] {
	v := must(s.Vendor(context.Background()))
	return key.FromSeed[key.Operational](v.Keys[len(v.Keys)-1].Sign.Secret())
}

// headers are the ways in which any signed message can be meant for somebody else.
func headers[M protocol.Message]() map[string]func(M) {
	now := protocol.Second(time.Now().Unix())
	return map[string]func(M){
		"to another":          func(m M) { m.Head().To = protocol.Hash{77} },
		"of another context":  func(m M) { m.Head().Context = protocol.Hash{77} },
		"moved elsewhere":     func(m M) { m.Head().To, m.Head().Context = protocol.Hash{77}, protocol.Hash{77} },
		"of another network":  func(m M) { m.Head().Net = protocol.Hash{77} },
		"of another answer":   func(m M) { m.Head().Re = protocol.Hash{77} },
		"that has expired":    func(m M) { m.Head().Created, m.Head().Expires = now-2*protocol.Hour, now-protocol.Hour },
		"from the far future": func(m M) { m.Head().Created, m.Head().Expires = now+3*protocol.Hour, now+4*protocol.Hour },
	}
}

func TestForgedRequests(t *testing.T) {
	in(t, func(w *town) {
		w.ask()
		real := w.until(protocol.KindRequest)
		c, asked := w.her.context(w.need), w.shop.agreement(w.grant).Letters.Request
		lock := key.SealFromSeed[key.ContextSeal](c.Keys.Seal.Secret()).Public()
		forge := func(k key.Private[key.Operational], changes ...func(*protocol.Request)) []byte {
			q := message[*protocol.Request](w.shop, asked)
			for _, change := range changes {
				change(q)
			}
			return sealed(lock, seal.First, w.her.cfg.Net, real.Box, sign(k, q))
		}
		op := w.shop.signer()
		for name, change := range headers[*protocol.Request]() {
			w.her.refuses("a request "+name, real.Box, forge(op, change))
		}
		w.her.refuses("a request signed by a stranger", real.Box, forge(key.Generate[key.Operational]()))
		other := newSide(t)
		run, stop := context.WithCancel(context.Background())
		defer stop()
		go other.Run(run)
		w.ok(other.IssuePassport(run, Profile{Name: "Another", Country: "ZA", Contact: "another@example.org"}))
		w.her.refuses("a request with another vendor's passport", real.Box, forge(op, func(q *protocol.Request) {
			v := must(other.Vendor(run))
			q.Vendor, q.Chain, q.Passport = v.ID, v.Chain, wire.ID(v.Chain[0])
		}))
		w.her.refuses("a letter to another lock", real.Box,
			sealed(key.GenerateSeal[key.ContextSeal]().Public(), seal.First, w.her.cfg.Net, real.Box, w.shop.envelope(asked)))
		w.her.refuses("a letter of another class", real.Box, sealed(lock, seal.Duty, w.her.cfg.Net, real.Box, w.shop.envelope(asked)))
		w.her.refuses("bytes", real.Box, []byte("not a letter"))
		w.her.refuses("a letter that holds bytes", real.Box, sealed(lock, seal.First, w.her.cfg.Net, real.Box, []byte("hello")))
		ack := &protocol.Ack{Grant: w.grant, Acked: []protocol.Hash{asked}}
		ack.Header = message[*protocol.Request](w.shop, asked).Header
		ack.Kind, ack.ID = protocol.KindAck, wire.NewID()
		w.her.refuses("an ack in place of a request", real.Box, sealed(lock, seal.First, w.her.cfg.Net, real.Box, must(wire.Sign(op, ack))))

		w.her.accepts(real)
		w.her.refuses("the same request in another letter", real.Box, forge(op))
		w.her.refuses("a second request of the vendor", real.Box, forge(op, func(q *protocol.Request) { q.ID = wire.NewID() }))
		w.settle()
		w.her.refuses("a second request after the grant", real.Box, forge(op, func(q *protocol.Request) { q.ID, q.Fields = wire.NewID(), q.Fields[:1] }))
	})
}

// A request may answer the latest announcement or the one before, and no older one.
func TestRequestsToOldAnnouncements(t *testing.T) {
	for updates, want := range []bool{true, true, false} {
		in(t, func(w *town) {
			w.ask()
			real := w.until(protocol.KindRequest)
			for range updates {
				time.Sleep(time.Minute)
				w.ok(w.her.Update(context.Background(), w.need, nil))
			}
			if want {
				w.her.accepts(real)
			} else {
				w.her.refuses("a request to an announcement two versions old", real.Box, real.Data)
			}
		})
	}
}

func TestForgedGrants(t *testing.T) {
	in(t, func(w *town) {
		w.ask()
		real := w.until(protocol.KindGrant)
		a, c := w.shop.agreement(w.grant), w.her.context(w.need)
		given := w.her.agreement(w.grant).Letters.Grant
		lock := key.SealFromSeed[key.RequestSeal](a.Mine.Request.Secret()).Public()
		hand := key.FromSeed[key.Context](c.Keys.Sign.Secret())
		forge := func(k key.Private[key.Context], change func(*protocol.Grant)) []byte {
			g := message[*protocol.Grant](w.her, given)
			change(g)
			g.Context = protocol.Hash(k.Public())
			g.Grant = wire.GrantID(k.Public(), g.To, g.Re)
			return sealed(lock, seal.Vendor, w.shop.cfg.Net, real.Box, sign(k, g))
		}
		for name, change := range headers[*protocol.Grant]() {
			if name == "of another context" {
				continue // its signer is its context
			}
			w.shop.refuses("a grant "+name, real.Box, forge(hand, change))
		}
		for name, change := range map[string]func(*protocol.Grant){
			"at a price that nobody asked for": func(g *protocol.Grant) {
				g.Fields[0].Price, g.Price, g.Rail = rand(5), rand(5), protocol.RailVoucher
			},
			"of more than was asked": func(g *protocol.Grant) {
				more := g.Fields[0]
				more.Name = "identity.name"
				g.Fields = append(g.Fields, more)
			},
			"for another purpose": func(g *protocol.Grant) { g.Fields[0].Purpose = protocol.PurposeResearch },
			"kept for longer":     func(g *protocol.Grant) { g.Fields[0].Retention++ },
			"kept less long":      func(g *protocol.Grant) { g.Fields[0].Retention-- },
			"in another form":     func(g *protocol.Grant) { g.Fields[1].Form = protocol.FormCoarse },
		} {
			w.shop.refuses("a grant "+name, real.Box, forge(hand, change))
		}
		w.shop.refuses("a grant signed by another", real.Box, forge(key.Generate[key.Context](), func(*protocol.Grant) {}))
		refusal := &protocol.Refusal{Rule: "no"}
		refusal.Header = message[*protocol.Grant](w.her, given).Header
		refusal.Kind, refusal.Re = protocol.KindRefusal, protocol.Hash{77}
		w.shop.refuses("a refusal of another request", real.Box, sealed(lock, seal.Vendor, w.shop.cfg.Net, real.Box, must(wire.Sign(hand, refusal))))
		w.shop.refuses("a letter to another lock", real.Box,
			sealed(key.GenerateSeal[key.RequestSeal]().Public(), seal.Vendor, w.shop.cfg.Net, real.Box, w.her.envelope(given)))

		w.shop.accepts(real)
		if w.shop.reads(real.Box) {
			w.Error("the mailbox of the answer is still read")
		}
		before := w.shop.kept()
		if _, err := w.shop.Letter(context.Background(), real.Box, forge(hand, func(g *protocol.Grant) { g.ID = wire.NewID() })); err != nil {
			w.Error(err)
		}
		if !maps.Equal(before, w.shop.kept()) {
			w.Error("a second grant changed something")
		}
	})
}

func TestForgedReceipts(t *testing.T) {
	in(t, func(w *town) {
		w.ask()
		real := w.until(protocol.KindReceipt)
		a, signed := w.her.agreement(w.grant), w.shop.agreement(w.grant).Letters.Receipt
		lock := key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()).Public()
		forge := func(k key.Private[key.Operational], change func(*protocol.Receipt)) []byte {
			r := message[*protocol.Receipt](w.shop, signed)
			change(r)
			return sealed(lock, seal.Duty, w.her.cfg.Net, real.Box, sign(k, r))
		}
		op := w.shop.signer()
		for name, change := range headers[*protocol.Receipt]() {
			w.her.refuses("a receipt "+name, real.Box, forge(op, change))
		}
		for name, change := range map[string]func(*protocol.Receipt){
			"for another grant":         func(r *protocol.Receipt) { r.Grant = protocol.Hash{77} },
			"that signs another ledger": func(r *protocol.Receipt) { r.Ledger = protocol.Hash{77} },
		} {
			w.her.refuses("a receipt "+name, real.Box, forge(op, change))
		}
		w.her.refuses("a receipt signed by a stranger", real.Box, forge(key.Generate[key.Operational](), func(*protocol.Receipt) {}))
		if got := w.her.posted(protocol.KindDisclosure); len(got) > 0 || w.her.agreement(w.grant).Flow.State != flow.Granted {
			w.Errorf("%d disclosures left before the receipt", len(got))
		}
		w.her.accepts(real)
		if got := w.her.posted(protocol.KindDisclosure); len(got) != 1 {
			w.Errorf("%d disclosures after the receipt", len(got))
		}
	})
}

func TestForgedDisclosures(t *testing.T) {
	in(t, func(w *town) {
		w.ask()
		real := w.until(protocol.KindDisclosure)
		a, hers := w.shop.agreement(w.grant), w.her.agreement(w.grant)
		plain, _, err := wire.OpenLetter(key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()), seal.Duty, w.shop.cfg.Net, real.Data)
		w.ok(err)
		lock := key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()).Public()
		forge := func(mac key.Secret, change func(*protocol.Disclosure)) []byte {
			d, _, err := wire.OpenDisclosure(plain, hers.MAC.Secret())
			w.ok(err)
			change(d)
			return sealed(lock, seal.Duty, w.shop.cfg.Net, real.Box, must(wire.SealDisclosure(d, mac)))
		}
		for name, change := range headers[*protocol.Disclosure]() {
			if name != "of another answer" { // Re says only what it acknowledges
				w.shop.refuses("a disclosure "+name, real.Box, forge(hers.MAC.Secret(), change))
			}
		}
		w.shop.refuses("a disclosure of another's", real.Box, forge(key.NewSecret(), func(*protocol.Disclosure) {}))
		w.shop.refuses("a disclosure from another", real.Box, forge(hers.MAC.Secret(), func(d *protocol.Disclosure) { d.From = protocol.Hash{77} }))
		w.shop.refuses("a disclosure under another grant", real.Box, forge(hers.MAC.Secret(), func(d *protocol.Disclosure) { d.Grant = protocol.Hash{77} }))
		w.her.refuses("a disclosure to a customer", boxOf(hers), sealed(key.SealFromSeed[key.DutySeal](hers.Mine.Seal.Secret()).Public(), seal.Duty, w.her.cfg.Net, boxOf(hers), plain))
		w.shop.accepts(real)
	})
}

func boxOf(a records.Agreement) key.MailboxKey {
	return key.FromSeed[key.Mailbox](a.Mine.Box.Secret()).Public()
}

func TestForgedOffers(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		ids := must(w.shop.Offer(context.Background(), w.grant, []Proposal{{Product: "1", Title: "Desk", Price: protocol.Money{Minor: 100, Currency: "ZAR"}, Rank: 1}}))
		real := w.until(protocol.KindOffer)
		a := w.shop.agreement(w.grant)
		rec := must(w.shop.held(w.grant))
		hand := key.FromSeed[key.Duty](a.Mine.Sign.Secret())
		forge := func(k key.Private[key.Duty], secret key.Secret, under protocol.GrantID, change func(*protocol.Offer)) []byte {
			o := message[*protocol.Offer](w.shop, ids[0])
			change(o)
			return sealed(a.Theirs.OfferSeal, seal.Offer, w.her.cfg.Net, real.Box, inner(secret, under, sign(k, o)))
		}
		secret, same := rec.OfferSecret.Secret(), func(*protocol.Offer) {}
		for name, change := range headers[*protocol.Offer]() {
			if name != "of another answer" {
				w.her.refuses("an offer "+name, real.Box, forge(hand, secret, w.grant, change))
			}
		}
		w.her.refuses("an offer signed by another", real.Box, forge(key.Generate[key.Duty](), secret, w.grant, same))
		w.her.refuses("an offer under another secret", real.Box, forge(hand, key.NewSecret(), w.grant, same))
		w.her.refuses("an offer sealed for another grant", real.Box, forge(hand, secret, protocol.Hash{77}, same))
		w.her.refuses("an offer that names another grant", real.Box, forge(hand, secret, w.grant, func(o *protocol.Offer) { o.Grant = protocol.Hash{77} }))
		plain := wire.SealOffer(secret, w.grant, w.shop.envelope(ids[0]))
		w.her.refuses("an offer to another lock", real.Box, sealed(key.GenerateSeal[key.OfferSeal]().Public(), seal.Offer, w.her.cfg.Net, real.Box, plain))
		w.her.refuses("an offer without its inner seal", real.Box, sealed(a.Theirs.OfferSeal, seal.Offer, w.her.cfg.Net, real.Box, w.shop.envelope(ids[0])))
		w.her.accepts(real)
		w.her.refuses("the same offer in another letter", real.Box, forge(hand, secret, w.grant, same))
	})
}

func inner(secret key.Secret, under protocol.GrantID, signed []byte) []byte {
	if signed == nil {
		return nil
	}
	return wire.SealOffer(secret, under, signed)
}

// An offer that surfaces after the revocation is counted, and stays shut.
func TestOffersAfterTheRevocation(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		ids := must(w.shop.Offer(context.Background(), w.grant, []Proposal{{Product: "1", Title: "Desk"}}))
		late := w.until(protocol.KindOffer)
		w.ok(w.her.Revoke(context.Background(), []protocol.GrantID{w.grant}, "enough"))
		w.her.accepts(late)
		if a := w.her.agreement(w.grant); a.Offers.Late != 1 || a.Offers.LateOpened != 0 {
			w.Errorf("late offers: %+v", a.Offers)
		}
		err := w.her.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error { _, err := records.GetDeal(r, ids[0]); return err })
		if err == nil {
			w.Error("it was opened")
		}
		if got := w.her.entries(); !slices.Contains(got, "offer.late") {
			w.Errorf("the ledger has %v", got)
		}
	})
}

// forgeDuty signs and seals a message from one side to the other under a grant, as
// sendDuty does, and lets the caller spoil it.
func forgeDuty(from *side, g protocol.GrantID, kind protocol.Kind, m protocol.Message, k key.Private[key.Duty], spoil func(*protocol.Header)) []byte {
	from.t.Helper()
	a := from.agreement(g)
	now := protocol.Second(time.Now().Unix())
	h := m.Head()
	*h = protocol.Header{
		Net: from.cfg.Net, Kind: kind, ID: wire.NewID(), To: protocol.Hash(a.Theirs.Sign), Context: protocol.Hash(a.Context),
		Created: now, Expires: now + protocol.Day, Seq: 99, Re: a.Letters.Receipt,
	}
	if spoil != nil {
		spoil(h)
	}
	if k.IsZero() {
		k = key.FromSeed[key.Duty](a.Mine.Sign.Secret())
	}
	return sealed(a.Theirs.Seal, seal.Duty, from.cfg.Net, boxOf(from.other.agreement(g)), sign(k, m))
}

func TestForgedDuties(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		other := protocol.Hash{77}
		until := protocol.Second(time.Now().Unix()) + protocol.Day
		type forged struct {
			kind protocol.Kind
			m    func(g protocol.GrantID) protocol.Message
		}
		customers := []forged{
			{protocol.KindRevocation, func(g protocol.GrantID) protocol.Message {
				return &protocol.Revocation{Grant: g, Deadline: until, Ledger: other}
			}},
			{protocol.KindRight, func(g protocol.GrantID) protocol.Message {
				return &protocol.Right{Grant: g, Exercise: protocol.RightAccess, Deadline: until}
			}},
			{protocol.KindSuspend, func(g protocol.GrantID) protocol.Message { return &protocol.Pause{Grant: g} }},
			{protocol.KindResume, func(g protocol.GrantID) protocol.Message { return &protocol.Pause{Grant: g} }},
		}
		vendors := []forged{
			{protocol.KindDeletion, func(g protocol.GrantID) protocol.Message {
				return &protocol.Deletion{Grant: g, Deleted: []string{"need"}}
			}},
			{protocol.KindAnswer, func(g protocol.GrantID) protocol.Message {
				return &protocol.Answer{Grant: g, Status: protocol.RequestFulfilled}
			}},
			{protocol.KindBreach, func(g protocol.GrantID) protocol.Message {
				return &protocol.Breach{Grant: g, What: "a disk was lost"}
			}},
		}
		both := []forged{{protocol.KindAck, func(g protocol.GrantID) protocol.Message {
			return &protocol.Ack{Grant: g, Acked: []protocol.Hash{other}}
		}}}
		for _, way := range []struct {
			from          *side
			rights, wrong []forged
		}{{w.her, append(customers, both...), vendors}, {w.shop, append(vendors, both...), customers}} {
			box := boxOf(way.from.other.agreement(w.grant))
			give := func(f forged, what string, g protocol.GrantID, k key.Private[key.Duty], spoil func(*protocol.Header)) {
				t.Helper()
				way.from.other.refuses(f.kind.String()+" "+what, box, forgeDuty(way.from, w.grant, f.kind, f.m(g), k, spoil))
			}
			none := key.Private[key.Duty]{}
			for _, f := range way.rights {
				give(f, "under another grant", other, none, nil)
				give(f, "signed by another", w.grant, key.Generate[key.Duty](), nil)
				give(f, "to another", w.grant, none, func(h *protocol.Header) { h.To = other })
				give(f, "of another context", w.grant, none, func(h *protocol.Header) { h.Context = other })
			}
			for _, f := range way.wrong {
				give(f, "by the wrong side", w.grant, none, nil)
			}
		}
		del := &protocol.Deletion{Grant: w.grant, Deleted: []string{"need"}, Ledger: other}
		w.her.refuses("a deletion that signs another ledger", boxOf(w.her.agreement(w.grant)), forgeDuty(w.shop, w.grant, protocol.KindDeletion, del, key.Private[key.Duty]{}, nil))
	})
}

func TestForgedDealSteps(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		price := protocol.Money{Minor: 100, Currency: "ZAR"}
		ids := must(w.shop.Offer(context.Background(), w.grant, []Proposal{{Product: "1", Title: "Desk", Price: price, Rank: 1}}))
		w.settle()
		price.Minor *= 2 // her quantity
		box := boxOf(w.shop.agreement(w.grant))
		step := func(kind protocol.Kind, change func(*protocol.DealStep)) []byte {
			m := &protocol.DealStep{Grant: w.grant, Offer: ids[0], Price: price}
			change(m)
			return forgeDuty(w.her, w.grant, kind, m, key.Private[key.Duty]{}, func(h *protocol.Header) { h.Re = ids[0] })
		}
		same := func(*protocol.DealStep) {}
		for name, change := range map[string]func(*protocol.DealStep){
			"at another price":    func(m *protocol.DealStep) { m.Price.Minor-- },
			"in other money":      func(m *protocol.DealStep) { m.Price.Currency = "USD" },
			"at no price":         func(m *protocol.DealStep) { m.Price = protocol.Money{} },
			"of another offer":    func(m *protocol.DealStep) { m.Offer = protocol.Hash{77} },
			"under another grant": func(m *protocol.DealStep) { m.Grant = protocol.Hash{77} },
		} {
			w.shop.refuses("accept "+name, box, step(protocol.KindAccept, change))
		}
		for _, kind := range []protocol.Kind{protocol.KindConfirm, protocol.KindFulfil} {
			w.shop.refuses(kind.String()+" by the customer", box, step(kind, same))
		}
		if d := w.shop.deal(ids[0]); d.Flow.State != flow.Offered || len(d.Steps) != 1 {
			w.Errorf("the deal is %s after %d steps", d.Flow.State, len(d.Steps))
		}
		w.ok(w.her.Step(context.Background(), ids[0], protocol.KindAccept, ""))
		w.shop.accepts(w.until(protocol.KindAccept))
		if d := w.shop.deal(ids[0]); d.Flow.State != flow.Accepted {
			w.Errorf("the deal is %s", d.Flow.State)
		}
	})
}

// A letter that came to a mailbox that is read no longer, or never was, is done with.
func TestLettersToNobody(t *testing.T) {
	in(t, func(w *town) {
		before := w.her.kept()
		opened, err := w.her.Letter(context.Background(), key.MailboxKey{77}, []byte("hello"))
		if err != nil || !opened || !maps.Equal(before, w.her.kept()) {
			w.Errorf("%v, %v", opened, err)
		}
	})
}
