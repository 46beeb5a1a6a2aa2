package market

import (
	"context"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// A guest is a vendor by its keys alone: it sends what no honest node would.
type guest struct {
	sign  key.Private[key.Operational]
	chain [][]byte
	id    protocol.VendorID
	root  key.Private[key.Root]
	next  key.Private[key.Root]
}

// guest makes a vendor like the shop, with a passport that change has changed.
func (w *town) guest(change func(*protocol.Passport)) *guest {
	w.Helper()
	g := &guest{sign: key.Generate[key.Operational](), root: key.Generate[key.Root](), next: key.Generate[key.Root]()}
	own := must(wire.OpenChain(must(w.shop.Vendor(context.Background())).Chain, w.her.cfg.Net)).Latest()
	p := *own
	p.Header = protocol.Header{Net: own.Net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: own.Created, Expires: own.Expires}
	p.Root, p.Next = g.root.Public(), wire.NextRoot(g.next.Public())
	p.Operational = []protocol.Operational{{Key: g.sign.Public(), Roles: protocol.RoleRequests, From: own.Created, Until: own.Expires}}
	if change != nil {
		change(&p)
	}
	g.chain = [][]byte{must(wire.Sign(g.root, &p))}
	g.id = wire.ID(g.chain[0])
	return g
}

// rotate gives the guest another passport and another operational key.
func (g *guest) rotate(w *town) {
	last := must(wire.OpenChain(g.chain, w.her.cfg.Net))
	p := *last.Latest()
	g.sign, g.root, g.next = key.Generate[key.Operational](), g.next, key.Generate[key.Root]()
	p.Header = protocol.Header{Net: p.Net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: p.Seq + 1, Created: p.Created, Expires: p.Expires, Re: last.LatestHash()}
	p.Vendor, p.Root, p.Next = g.id, g.root.Public(), wire.NextRoot(g.next.Public())
	p.Operational = []protocol.Operational{{Key: g.sign.Public(), Roles: protocol.RoleRequests, From: p.Created, Until: p.Expires}}
	g.chain = append(slices.Clone(g.chain), must(wire.Sign(g.root, &p)))
}

// asks hands her a request of the guest's for a need, like the shop's own but for change.
// It tells whether the letter was taken, and which agreement it makes.
func (g *guest) asks(w *town, need protocol.ContextID, more protocol.Particulars, change func(*protocol.Request)) (protocol.GrantID, bool) {
	w.Helper()
	now := protocol.Second(time.Now().Unix())
	h := must(w.shop.Announcement(context.Background(), need))
	c := w.her.context(need)
	lock, reply := key.GenerateSeal[key.RequestSeal](), key.Generate[key.Mailbox]()
	depositor := key.Generate[key.Depositor]()
	cp := protocol.Capability{Box: reply.Public(), ID: wire.NewID(), Depositor: depositor.Public(), Letters: 4, KiB: 64, Expires: now + protocol.Day}
	w.ok(wire.SignCapability(reply, &cp))
	p := must(wire.OpenChain(g.chain, w.her.cfg.Net))
	r := &protocol.Request{
		Header: protocol.Header{
			Net: w.her.cfg.Net, Kind: protocol.KindRequest, ID: wire.NewID(), To: protocol.Hash(need), Context: protocol.Hash(need),
			Seq: 1, Created: now, Expires: now + protocol.Hour, Re: h.ID(),
		},
		Vendor: g.id, Chain: g.chain, Passport: p.LatestHash(), Recipients: []string{p.Latest().Name}, Countries: []protocol.Region{"ZA"},
		Basis: protocol.BasisConsent, Notice: notice(p.Latest()), Terms: h.A().Terms, Rail: protocol.RailNone, Seal: lock.Public(),
		Reply: protocol.Address{Keepers: keepers, Capability: cp, Seed: protocol.Share(depositor.Seed())}, Until: h.A().Expires,
	}
	for _, f := range h.A().Fields {
		r.Fields = append(r.Fields, askField(protocol.FieldOnOffer{Name: f.Name}))
	}
	if change != nil {
		change(r)
	}
	signed := must(wire.SignExtra(g.sign, r, must(particulars.Extra(more))))
	box := key.FromSeed[key.Mailbox](c.Keys.Box.Secret()).Public()
	raw, _, err := wire.SealLetter(h.A().Seal, seal.First, w.her.cfg.Net, box, r.Expires, signed)
	w.ok(err)
	opened := must(w.her.Letter(context.Background(), box, raw))
	return wire.GrantID(need, g.id, wire.ID(signed)), opened
}

// wish announces a need about whose requests she is asked.
func (w *town) wish(fields ...protocol.FieldName) protocol.ContextID {
	w.Helper()
	n := Need{
		Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Life: protocol.Day,
		Demand: protocol.Demand{Name: "a chair", Currency: "ZAR"},
	}
	for _, f := range fields {
		n.Fields = append(n.Fields, protocol.FieldOnOffer{Name: f})
	}
	id := must(w.her.Announce(context.Background(), n))
	w.settle()
	return id
}

// waitingOf lists her requests that wait, and counts those of which she was told.
func (s *side) waitingOf() (waiting []records.Agreement, prompts int) {
	s.t.Helper()
	err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) error {
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			if Waits(&a) {
				waiting = append(waiting, a)
			}
			if a.Terms.Consent.PromptedMS > 0 {
				prompts++
			}
			return true, nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return waiting, prompts
}

// reader reads a side's store, one value at a time.
func reader(s *side) kv.Reader { return snapshot{s} }

type snapshot struct{ s *side }

// Get implements kv.Reader.
func (r snapshot) Get(k []byte) (v []byte, err error) {
	err = r.s.cfg.Stores.KV.View(context.Background(), func(in kv.Reader) error { v, err = in.Get(k); return err })
	return v, err
}

// Scan implements kv.Reader.
func (r snapshot) Scan(prefix, after []byte, fn func(k, v []byte) (bool, error)) error {
	return r.s.cfg.Stores.KV.View(context.Background(), func(in kv.Reader) error { return in.Scan(prefix, after, fn) })
}
