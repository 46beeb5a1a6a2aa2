package market

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// Names of settings.
const (
	settingFollow = "follow"
	settingVendor = "vendor"
)

// A Follow is what a vendor listens for and does by itself. Empty lists mean all.
type Follow struct {
	Sectors []string
	Regions []protocol.Region
	Ask     bool
	AskAlso []protocol.FieldName
	Answer  bool
	Offers  int
	Confirm bool
	Fulfil  bool
	// What requests tell besides the notice, where it applies: what protects information
	// that goes abroad, and which decisions no person takes.
	Protection, Automated string
	Effort                uint8 // of the stamps of first letters, where it is more than the network's least
	// What requests pay by themselves: so much for one grant at most, and stop where so much
	// is owed and promised in all, twenty times as much where it is zero. Nothing: they ask
	// for what is free of charge.
	Pay, Owe protocol.Money `cbor:",omitzero"`
}

// MaxEffort is the dearest stamp that a vendor may choose: minutes of one core for
// each keeper.
const MaxEffort = 30

// MaxOffers bounds what one grant gets by itself.
const MaxOffers = 5

func (f Follow) limit() int {
	if f.Offers <= 0 || f.Offers > MaxOffers {
		return MaxOffers
	}
	return f.Offers
}

// Hears reports whether an announcement is one to ask about.
func (f Follow) Hears(a *protocol.Announcement) bool {
	if len(f.Sectors) > 0 && !slices.Contains(f.Sectors, a.Category.Sector()) {
		return false
	}
	if len(f.Regions) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Regions, func(r protocol.Region) bool { return a.Region.Within(r) || r.Within(a.Region) })
}

func follow(r kv.Reader) Follow {
	var f Follow
	if err := records.GetSetting(r, settingFollow, &f); err != nil {
		return Follow{}
	}
	return f
}

// Rules reads the vendor's rules.
func (m *Market) Rules(ctx context.Context) (f Follow, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error { f = follow(r); return nil })
	return f, err
}

// SetRules keeps the vendor's rules and acts on what is on the board already.
func (m *Market) SetRules(ctx context.Context, f Follow) error {
	err := m.command(ctx, "rules", func(t *turn) error { return records.PutSetting(t, settingFollow, f) })
	if err != nil {
		return err
	}
	return m.CatchUp(ctx)
}

// CatchUp asks for everything on the board that the rules follow and that was not
// asked for.
func (m *Market) CatchUp(ctx context.Context) error {
	return m.Do(ctx, "catch up", func(t *turn) error { return t.askAll(ctx) })
}

// Heard tells the market of an announcement that the board has kept.
func (m *Market) Heard(ctx context.Context, h wire.Heard) error {
	return m.Do(ctx, "heard", func(t *turn) error {
		f := follow(t)
		if err := t.openLate(f, h); err != nil || !f.Ask {
			return err
		}
		_, err := t.askFor(f, h)
		if errors.Is(err, errNoRoom) {
			return nil // it is asked for once other agreements have ended
		}
		return err
	})
}

// openLate opens the need of a disclosure that came before its announcement did.
func (t *turn) openLate(f Follow, h wire.Heard) error {
	return records.EachUnder(t, h.A().ContextID(), func(a records.Agreement) (bool, error) {
		if a.Flow.Me != protocol.Vendor || a.Flow.State != flow.Disclosed || a.Answered {
			return true, nil
		}
		rec, err := t.m.cfg.Stores.Held.Get(t, a.ID)
		if err != nil || rec.Demand.Name != "" {
			return true, nil
		}
		demand, err := wire.OpenBody(h.A(), rec.BodyKey.Secret())
		if err != nil {
			return true, nil // another version than the one that was disclosed
		}
		rec.Demand, rec.Category = demand, h.A().Category
		if f.Answer {
			t.then(func() { t.m.cfg.Answers.Match(a.ID, demand, rec.Category, f.limit()) })
		}
		return true, t.m.cfg.Stores.Held.Put(t, rec)
	})
}

// openAllLate does so for all that is on the board.
func (t *turn) openAllLate(ctx context.Context) error {
	f := follow(t)
	return records.EachAgreement(t, nil, func(a records.Agreement) (bool, error) {
		if a.Flow.Me != protocol.Vendor || a.Flow.State != flow.Disclosed || a.Answered {
			return true, nil
		}
		h, err := t.m.cfg.Registry.Announcement(ctx, a.Context)
		if err != nil {
			return true, nil
		}
		return true, t.openLate(f, h)
	})
}

// particulars are what requests say besides their notice; what is special is asked for
// expressly only by hand.
func (f Follow) particulars() protocol.Particulars {
	return protocol.Particulars{Protection: f.Protection, Automated: f.Automated}
}

// errUnlawful says that a request was not sent, since its reader's node would refuse it.
var errUnlawful = fmt.Errorf("such a request is not sent: %w", fault.Denied)

// Ask requests access to one announcement by hand; explicit are fields that are special,
// or a child's, and asked for expressly.
func (m *Market) Ask(ctx context.Context, h wire.Heard, fields []protocol.FieldAsk, until protocol.Second, explicit ...protocol.FieldName) (id protocol.GrantID, err error) {
	err = m.command(ctx, "ask", func(t *turn) (err error) {
		more := follow(t).particulars()
		more.Explicit = explicit
		id, err = t.ask(h, fields, until, more)
		t.made = id[:]
		return err
	})
	return id, err
}

// ask writes a Request: fresh keys and a mailbox of its own for the answer, so that
// nothing but the passport links it to other requests.
func (t *turn) ask(h wire.Heard, fields []protocol.FieldAsk, until protocol.Second, more protocol.Particulars) (protocol.GrantID, error) {
	v, err := vendorKeys(t)
	if err != nil {
		return protocol.GrantID{}, err
	}
	chain, err := wire.OpenChain(v.Chain, t.m.cfg.Net)
	if err != nil {
		return protocol.GrantID{}, fmt.Errorf("own passport: %w", err)
	}
	a := h.A()
	retry, err := t.again(a.ContextID(), v.ID)
	if err != nil {
		return protocol.GrantID{}, err
	}
	price, err := askedPrice(fields)
	if err != nil {
		return protocol.GrantID{}, err
	}
	rail, err := t.m.cfg.Rails.Quote(price)
	if err != nil {
		return protocol.GrantID{}, err
	}
	op, reqSeal := v.current(t.now), key.GenerateSeal[key.RequestSeal]()
	reply := key.Generate[key.Mailbox]()
	keepers := t.m.ownKeepers()
	replyUntil := until + t.letters()
	addr, err := t.admit(reply, keepers, replyUntil, replyLetters, replyKiB)
	if err != nil {
		return protocol.GrantID{}, err
	}
	r := &protocol.Request{
		Header: t.header(protocol.KindRequest, protocol.Hash(a.ContextID()), a.Header.Context, min(t.letters(), a.Expires-t.now)),
		Vendor: v.ID, Passport: chain.LatestHash(), Chain: v.Chain, Fields: fields,
		Recipients: []string{chain.Latest().Name}, Countries: countries(chain.Latest()),
		Basis: protocol.BasisConsent, Notice: notice(chain.Latest()), Terms: a.Terms, Rail: rail,
		Seal: reqSeal.Public(), Reply: addr, Until: until,
	}
	r.Seq, r.Re = 1, h.ID()
	if d := terms.Lawful(r, chain.Latest(), more, a.Region); d.Why != "" {
		return protocol.GrantID{}, fmt.Errorf("%s (rule %s; %s): %w", d.Why, d.Rule, d.Law, errUnlawful)
	}
	extra, err := particulars.Extra(more)
	if err != nil {
		return protocol.GrantID{}, fmt.Errorf("request: %w", err)
	}
	signed, err := wire.SignExtra(key.FromSeed[key.Operational](op.Sign.Secret()), r, extra)
	if err != nil {
		return protocol.GrantID{}, fmt.Errorf("request: %w", err)
	}
	id := wire.ID(signed)
	ag := records.Agreement{
		ID: wire.GrantID(a.ContextID(), v.ID, id), Context: a.ContextID(), Reason: a.Reason, Vendor: v.ID, VendorName: chain.Latest().Name,
		Flow:    flow.NewAgreement(protocol.Vendor, t.m.cfg.Genesis.Duties),
		Terms:   records.Terms{Asked: fields},
		Letters: records.Letters{Request: id, Announcement: h.ID()},
		Mine:    records.DutyKeys{Request: protocol.Share(reqSeal.Seed()), Reply: protocol.Share(reply.Seed())},
		Counter: 1, Times: records.Times{Requested: t.nowMS}, Paying: records.Paying{Price: price},
	}
	if err := t.newAgreement(&ag); err != nil {
		return ag.ID, err
	}
	if err := t.read(reply, records.BoxReply, ag.ID, keepers, replyUntil); err != nil {
		return ag.ID, err
	}
	return ag.ID, t.sendRequest(&ag, h, v, op, r, signed, retry)
}

// sendRequest keeps a request and puts it into the outbox: as a first letter, or by the way
// that a counter has opened.
func (t *turn) sendRequest(ag *records.Agreement, h wire.Heard, v Vendor, op VendorKeys, r *protocol.Request, signed []byte, retry *protocol.Address) error {
	a, id := h.A(), ag.Letters.Request
	for hash, raw := range map[protocol.Hash][]byte{id: signed, h.ID(): h.Raw()} {
		if err := records.PutEnvelope(t, hash, raw); err != nil {
			return err
		}
	}
	if err := records.PutAsked(t, a.ContextID(), id); err != nil {
		return err
	}
	e := flow.Event{Kind: protocol.KindRequest, ID: id, Re: h.ID(), By: protocol.Vendor, Until: r.Until}
	if err := t.advance(ag, e, "request.sent", "fields", asked(r.Fields)); err != nil {
		return err
	}
	raw, _, err := wire.SealLetter(a.Seal, seal.First, t.m.cfg.Net, a.Mailbox, r.Expires, signed)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if retry != nil {
		return t.put(outbox.Item{Data: raw, Envelope: id, Kind: protocol.KindRequest, Grant: ag.ID, Expires: min(r.Expires, retry.Capability.Expires)}, *retry)
	}
	_, effort := t.m.lane()
	effort = max(effort, min(follow(t).Effort, MaxEffort))
	return t.post(outbox.Item{
		What: outbox.Letter, Data: raw, Box: a.Mailbox, Keepers: a.Keepers, Envelope: id, Kind: protocol.KindRequest,
		Grant: ag.ID, Expires: r.Expires, Seed: op.Sign,
		First: protocol.FirstContact{
			Vendor: v.ID, Passport: r.Passport, Key: key.OperationalKey(r.From), Expires: r.Expires,
			Stamp: protocol.Admission{Lane: protocol.LaneWork, Effort: effort}, Chain: v.Chain,
		},
	})
}

// ownKeepers are other nodes that hold this vendor's mail, so that no customer has
// to come to the vendor's own address; alone in a network it holds its own.
func (m *Market) ownKeepers() []protocol.Keeper {
	return m.cfg.Places.Keepers(protocol.MaxKeepers)
}

func countries(p *protocol.Passport) []protocol.Region {
	if p.Country == "" {
		return nil
	}
	return []protocol.Region{p.Country}
}

// notice says what POPIA s18(1) asks for beyond the other fields of a request.
func notice(p *protocol.Passport) protocol.Notice {
	authority := p.Authority
	if authority == "" {
		authority = "the data-protection authority of your country"
	}
	return protocol.Notice{
		Source:      "from you, through your own node",
		Consequence: "without these fields no offer can be made",
		Law:         "none requires it; your consent is the basis",
		Rights:      "you may see, correct and delete it, object, and revoke at any time",
		Complaints:  authority,
	}
}

// refused keeps a refusal.
func (t *turn) refused(a records.Agreement, s wire.Signed) error {
	r, err := wire.As[*protocol.Refusal](s)
	if err != nil {
		return err
	}
	a.Terms.Why, a.Terms.Law = r.Rule, r.Law
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	return t.advance(&a, said(s, protocol.Customer, 0), "request.refused", "why", r.Rule, "law", r.Law)
}

// granted takes a grant that answers a request, compares it with what was asked,
// and countersigns it.
func (t *turn) granted(a records.Agreement, s wire.Signed, export func(seal.Label) key.Secret) error {
	g, err := wire.As[*protocol.Grant](s)
	if err != nil {
		return err
	}
	if g.Grant != a.ID || g.Grant != wire.GrantID(a.Context, a.Vendor, a.Letters.Request) {
		return fmt.Errorf("grant under another id: %w", fault.Denied)
	}
	for _, f := range g.Fields {
		if !slices.ContainsFunc(a.Terms.Asked, func(q protocol.FieldAsk) bool {
			coarser := q.Form == protocol.FormValue && f.Form == protocol.FormCoarse && f.Level != "" && q.Price.Minor == 0 // what it pays for it gets as it is
			return q.Name == f.Name && q.Purpose == f.Purpose && (q.Form == f.Form || coarser) && q.Retention == f.Retention && q.Price == f.Price
		}) {
			return fmt.Errorf("grant of %s is not what was asked: %w", f.Name, fault.Denied)
		}
	}
	v, err := vendorKeys(t)
	if err != nil {
		return err
	}
	raw, err := records.GetEnvelope(t, a.Letters.Request)
	if err != nil {
		return fmt.Errorf("own request: %w", err)
	}
	request, err := wire.Open(raw)
	if err != nil {
		return fmt.Errorf("own request: %w", err)
	}
	asked, err := wire.As[*protocol.Request](request)
	if err != nil {
		return fmt.Errorf("own request: %w", err)
	}
	if g.Terms != asked.Terms || g.End > asked.Until {
		return fmt.Errorf("grant under other terms, or for longer, than was asked: %w", fault.Denied)
	}
	return t.countersign(&a, g, s, v.after(key.OperationalKey(request.Head().From), t.now), export)
}

// given takes a grant that a customer started; by is the generation of keys whose
// inbox it came to.
func (t *turn) given(v Vendor, by VendorKeys, s wire.Signed, export func(seal.Label) key.Secret) error {
	g, err := wire.As[*protocol.Grant](s)
	if err != nil {
		return err
	}
	ctx := protocol.ContextID(g.From)
	if g.Grant != wire.GrantID(ctx, v.ID, g.Nonce) || !g.Re.IsZero() || g.Reason != protocol.ContextRelation {
		return fmt.Errorf("grant under another id: %w", fault.Denied)
	}
	if g.Rail != protocol.RailNone {
		return fmt.Errorf("grant at a price that nobody asked for: %w", fault.Denied)
	}
	if _, err := records.GetAgreement(t, g.Grant); err == nil {
		return fmt.Errorf("grant %s is known: %w", g.Grant.Short(), fault.Conflict)
	}
	chain, err := wire.OpenChain(v.Chain, t.m.cfg.Net)
	if err != nil {
		return fmt.Errorf("own passport: %w", err)
	}
	a := records.Agreement{
		ID: g.Grant, Context: ctx, Reason: g.Reason, Vendor: v.ID, VendorName: chain.Latest().Name,
		Flow: flow.NewAgreement(protocol.Vendor, t.m.cfg.Genesis.Duties),
	}
	if err := t.newAgreement(&a); err != nil {
		return err
	}
	return t.countersign(&a, g, s, by, export)
}

// countersign answers a grant with a Receipt: payment, duty keys, a duty mailbox,
// and the customer's ledger head signed. by signs: keys of a passport that she knows.
func (t *turn) countersign(a *records.Agreement, g *protocol.Grant, s wire.Signed, by VendorKeys, export func(seal.Label) key.Secret) error {
	a.Letters.Grant, a.Times.Granted, a.Paying.Price = s.ID(), t.nowMS, g.Price
	a.Terms.Fields, a.Terms.Start, a.Terms.End, a.Terms.Lease = g.Fields, g.Start, g.End, g.Lease
	a.Standing.PerDay = limits.Of(s.Extra()).PerDay
	a.MAC = protocol.Share(export(seal.LabelDisclose))
	a.Theirs = records.Counterparty{Sign: g.DutyKey, Seal: g.DutySeal, Box: g.DutyBox, OfferSeal: g.OfferSeal, OfferBox: g.OfferBox}
	if err := records.PutEnvelope(t, s.ID(), s.Raw()); err != nil {
		return err
	}
	a.Heads = append(a.Heads, records.Head{Blind: g.Ledger, By: protocol.KindGrant.String()})
	if err := t.advance(a, said(s, protocol.Customer, g.End), "grant.kept", "fields", granted(g.Fields)); err != nil {
		return err
	}
	if a.Flow.State != flow.Granted {
		return nil // it came after its own end
	}
	return t.sendReceipt(a, by, g, s)
}

// sendReceipt makes this vendor's duty keys and mailbox, pays, and signs.
func (t *turn) sendReceipt(a *records.Agreement, by VendorKeys, g *protocol.Grant, grant wire.Signed) error {
	sign, lock := key.Generate[key.Duty](), key.GenerateSeal[key.DutySeal]()
	box, addr, err := t.newBox(records.BoxDuty, a.ID, t.m.ownKeepers(), t.dutyUntil(g.End), dutyLetters, dutyKiB)
	if err != nil {
		return err
	}
	a.Mine.Sign, a.Mine.Seal, a.Mine.Box = protocol.Share(sign.Seed()), protocol.Share(lock.Seed()), protocol.Share(box.Seed())
	r := &protocol.Receipt{
		Header: t.header(protocol.KindReceipt, protocol.Hash(g.DutyKey), protocol.Hash(a.Context), t.letters()),
		Grant:  a.ID, DutyKey: sign.Public(), DutySeal: lock.Public(), DutyBox: addr,
		Ledger: g.Ledger,
	}
	a.Counter++
	r.Seq, r.Re = a.Counter, a.Letters.Grant
	own := key.FromSeed[key.Operational](by.Sign.Secret())
	if err := t.m.cfg.Rails.Pay(grant, r, own); err != nil {
		return err
	}
	signed, err := wire.Sign(own, r)
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if len(r.Payment.Proof) > 0 {
		a.Paying.Proof = wire.ID(r.Payment.Proof)
		if err := t.note("voucher.given", agreementNote(a, "amount", a.Paying.Price.String(), "voucher", a.Paying.Proof.String())); err != nil {
			return err
		}
	}
	id := wire.ID(signed)
	a.Letters.Receipt, a.Times.Receipted = id, t.nowMS
	e := flow.Event{Kind: protocol.KindReceipt, ID: id, Re: r.Re, By: protocol.Vendor}
	if err := t.advance(a, e, "receipt.sent"); err != nil {
		return err
	}
	return t.sealDuty(a, signed, id, protocol.KindReceipt, r.Expires)
}

// disclosed takes what a customer handed over, keeps it as held, opens the need and
// looks for offers.
func (t *turn) disclosed(a records.Agreement, plain []byte) error {
	if a.Flow.Me != protocol.Vendor {
		return fmt.Errorf("disclosure to a customer: %w", fault.Denied)
	}
	d, id, err := wire.OpenDisclosure(plain, a.MAC.Secret())
	if err != nil {
		return err
	}
	me := protocol.Hash(key.FromSeed[key.Duty](a.Mine.Sign.Secret()).Public())
	if err := wire.MeetsDisclosure(d, wire.Expect{
		Net: t.m.cfg.Net, Kinds: []protocol.Kind{protocol.KindDisclosure}, From: protocol.Hash(a.Theirs.Sign), To: me,
		Context: protocol.Hash(a.Context), Now: t.now,
	}); err != nil {
		return err
	}
	if d.Grant != a.ID {
		return fmt.Errorf("disclosure under another grant: %w", fault.Denied)
	}
	if err := t.acked(d.Re); err != nil {
		return err
	}
	until := d.Until
	if a.Terms.Lease == 0 {
		until = t.now + onceFor // to be used at once, whenever it came
	}
	large := large.In(plain)
	e := flow.Event{Kind: protocol.KindDisclosure, ID: id, Re: d.Re, By: protocol.Customer, Until: until}
	if err := t.advance(&a, e, "disclosure.kept", "fields", disclosedNames(d, large), "lease", fmt.Sprint(d.Lease), "made", fmt.Sprint(d.Created)); err != nil {
		return err
	}
	if d.Lease <= a.Leases || !a.Flow.State.Live() || until <= t.now {
		a.Leases = max(a.Leases, d.Lease)
		if err := t.owe(&a, id); err != nil { // a newer lease stands, or this one or the grant is over
			return err
		}
		return t.keep(&a)
	}
	values := slices.DeleteFunc(d.Values, func(v protocol.FieldValue) bool { return a.Standing.Lacks(v.Name) })
	a.Leases, a.Letters.Disclosure, a.Times.Disclosed, a.Answered = d.Lease, id, t.nowMS, false
	rec := held.Record{Grant: a.ID, Context: a.Context, Until: until, Fields: values, BodyKey: d.BodyKey, OfferSecret: d.OfferSecret}
	t.openNeed(&rec, d)
	if rec.Blobs, err = t.blobs(&a, large); err != nil {
		return fmt.Errorf("held: %w", err)
	}
	if err := t.m.cfg.Stores.Held.Put(t, rec); err != nil {
		return fmt.Errorf("held: %w", err)
	}
	if err := t.fetch(&a, rec.Blobs); err != nil {
		return err
	}
	if f := follow(t); f.Answer && rec.Demand.Name != "" {
		gid := a.ID
		t.then(func() { t.m.cfg.Answers.Match(gid, rec.Demand, rec.Category, f.limit()) })
		return t.keep(&a) // the offers acknowledge the disclosure
	}
	if err := t.owe(&a, id); err != nil {
		return err
	}
	return t.keep(&a)
}

// disclosedNames are the fields of a disclosure, for the ledger: never their values.
func disclosedNames(d *protocol.Disclosure, large protocol.LargeValues) string {
	var names []string
	for _, v := range d.Values {
		names = append(names, string(v.Name))
	}
	for _, v := range large.Values {
		names = append(names, string(v.Name))
	}
	return strings.Join(names, " ")
}

// openNeed opens the body of the announcement that a disclosure names, where this
// node has heard it.
func (t *turn) openNeed(rec *held.Record, d *protocol.Disclosure) {
	raw, err := records.GetEnvelope(t, d.Announcement)
	if err != nil {
		h, err := t.m.cfg.Registry.Announcement(context.Background(), rec.Context)
		if err != nil || h.ID() != d.Announcement {
			return
		}
		raw = h.Raw()
	}
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		return
	}
	if demand, err := wire.OpenBody(h.A(), d.BodyKey.Secret()); err == nil {
		rec.Demand, rec.Category = demand, h.A().Category
	}
}
