package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/voucher"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/ledger/audit"
)

const testNow protocol.Second = 1_800_000_000

var testNet = protocol.Hash{0xaa, 1}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A shop is a vendor with a passport.
type shop struct {
	id    protocol.VendorID
	name  string
	chain [][]byte
	sign  key.Private[key.Operational]
}

func newShop(name string) *shop {
	root, op := key.Generate[key.Root](), key.Generate[key.Operational]()
	p := &protocol.Passport{
		Header: protocol.Header{Net: testNet, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: testNow},
		Root:   root.Public(), Next: wire.NextRoot(key.Generate[key.Root]().Public()),
		Operational: []protocol.Operational{{Key: op.Public(), Roles: protocol.RoleRequests, From: testNow - protocol.Day, Until: testNow + 90*protocol.Day}},
		Inbox:       protocol.Inbox{Box: key.Generate[key.Mailbox]().Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(), Keepers: keepers(), Effort: 12, Quota: 9},
		Name:        name, Registration: "1", Country: "ZA", Contact: "x@y.example", Officer: "O", Authority: "The regulator",
	}
	raw := must(wire.Sign(root, p))
	return &shop{wire.ID(raw), name, [][]byte{raw}, op}
}

func keepers() []protocol.Keeper {
	return []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public(), Addrs: [][]byte{[]byte("\x04\x7f\x00\x00\x01\x91\x02\x0f\xa0\xcd\x03")}}}
}

func address() protocol.Address {
	box, depositor := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: depositor.Public(), Letters: 9, KiB: 90, Expires: testNow + 30*protocol.Day}
	check(wire.SignCapability(box, &c))
	return protocol.Address{Keepers: keepers(), Capability: c, Seed: protocol.Share(depositor.Seed())}
}

// A person is a customer with a ledger.
type person struct {
	testing.TB
	store    kv.Store
	led      *ledger.Ledger
	nowMS    int64
	price    protocol.Money // of what is granted from now on
	deals    []*deal
	openings []audit.Opening
}

// A deal is one agreement, from the request on.
type deal struct {
	audit.Case
	with         *shop
	ctx          key.Private[key.Context]
	her, its     key.Private[key.Duty]
	grant        *protocol.Grant
	given, taken []byte
	revocation   *protocol.Revocation
	revoked      protocol.Hash
}

func newPerson(t testing.TB) *person {
	store := kv.Memory()
	return &person{TB: t, store: store, led: must(ledger.Open(context.Background(), store, key.Generate[key.Device]())), nowMS: int64(testNow) * 1000}
}

func (p *person) note(kind string, body map[string]string) {
	p.nowMS++
	check(p.store.Update(context.Background(), func(tx kv.Tx) error {
		_, err := p.led.Append(tx, kind, p.nowMS, must(json.Marshal(body)))
		return err
	}))
}

func (p *person) noteLetter(kind string, d *deal, raw []byte) {
	d.Letters = append(d.Letters, raw)
	p.note(kind, map[string]string{"grant": d.ID.String(), "vendor": d.Vendor.String(), "envelope": wire.ID(raw).String()})
}

// blind hands out a blinded head.
func (p *person) blind() (b protocol.Hash) {
	check(p.store.View(context.Background(), func(r kv.Reader) error {
		h, salt := must(p.led.Head(r, p.nowMS)), wire.NewID()
		b = ledger.Blind(h, salt)
		p.openings = append(p.openings, audit.Opening{Blind: b, Size: h.Size, Salt: salt})
		return nil
	}))
	return b
}

func header(k protocol.Kind, to, ctx, re protocol.Hash) protocol.Header {
	return protocol.Header{Net: testNet, Kind: k, ID: wire.NewID(), To: to, Context: ctx, Seq: 1, Created: testNow, Expires: testNow + 30*protocol.Day, Re: re}
}

// begin is a deal up to the grant.
func (p *person) begin(s *shop) *deal {
	d := &deal{with: s, ctx: key.Generate[key.Context](), her: key.Generate[key.Duty](), its: key.Generate[key.Duty]()}
	ctx := protocol.Hash(d.ctx.Public())
	request := must(wire.Sign(s.sign, &protocol.Request{
		Header: header(protocol.KindRequest, ctx, ctx, protocol.Hash{1}), Vendor: s.id, Passport: wire.ID(s.chain[len(s.chain)-1]), Chain: s.chain,
		Fields:    []protocol.FieldAsk{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30}},
		Countries: []protocol.Region{"ZA"}, Basis: protocol.BasisConsent,
		Notice: protocol.Notice{Source: "You", Consequence: "No offer", Rights: "Access", Complaints: "The regulator"},
		Terms:  protocol.Hash{2}, Rail: protocol.RailNone, Seal: key.GenerateSeal[key.RequestSeal]().Public(), Reply: address(), Until: testNow + 30*protocol.Day,
	}))
	d.Context, d.Vendor, d.Side = d.ctx.Public(), s.id, protocol.Customer
	d.ID = wire.GrantID(d.Context, s.id, wire.ID(request))
	p.noteLetter("request.received", d, request)
	d.grant = &protocol.Grant{
		Header: header(protocol.KindGrant, s.id, ctx, wire.ID(request)), Grant: d.ID, Reason: protocol.ContextNeed,
		Fields: []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30}},
		Start:  testNow, End: testNow + 30*protocol.Day, Lease: protocol.Day, Rail: protocol.RailNone, Terms: protocol.Hash{2},
		OfferSeal: key.GenerateSeal[key.OfferSeal]().Public(), DutyKey: d.her.Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(),
		OfferBox: address(), DutyBox: address(), Ledger: p.blind(),
	}
	if p.price.Minor > 0 {
		d.grant.Fields[0].Price, d.grant.Price, d.grant.Rail = p.price, p.price, protocol.RailVoucher
	}
	d.given = must(wire.Sign(d.ctx, d.grant))
	p.noteLetter("grant.given", d, d.given)
	p.deals = append(p.deals, d)
	return d
}

// receiptOf is what the vendor signs, with a change to it.
func (d *deal) receiptOf(change func(*protocol.Receipt)) []byte {
	r := &protocol.Receipt{
		Header: header(protocol.KindReceipt, protocol.Hash(d.her.Public()), protocol.Hash(d.Context), wire.ID(d.given)), Grant: d.ID,
		Payment: protocol.Payment{Rail: protocol.RailNone}, DutyKey: d.its.Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(), DutyBox: address(), Ledger: d.grant.Ledger,
	}
	if d.grant.Rail == protocol.RailVoucher {
		check(voucher.Issue(must(wire.Open(d.given)), r, d.with.sign, d.grant.End))
	}
	if change != nil {
		change(r)
	}
	return must(wire.Sign(d.with.sign, r))
}

func (p *person) receive(d *deal) {
	d.taken = d.receiptOf(nil)
	p.noteLetter("receipt.kept", d, d.taken)
}

func (p *person) revoke(d *deal) {
	d.revocation = &protocol.Revocation{
		Header: header(protocol.KindRevocation, protocol.Hash(d.its.Public()), protocol.Hash(d.Context), wire.ID(d.taken)), Grant: d.ID,
		Deadline: testNow + 7*protocol.Day, Ledger: p.blind(), Reason: "done",
	}
	raw := must(wire.Sign(d.her, d.revocation))
	d.revoked = wire.ID(raw)
	p.noteLetter("grant.revoked", d, raw)
}

func (d *deal) deletionOf(change func(*protocol.Deletion)) []byte {
	m := &protocol.Deletion{
		Header: header(protocol.KindDeletion, protocol.Hash(d.her.Public()), protocol.Hash(d.Context), d.revoked), Grant: d.ID,
		Deleted: []string{"location.area"}, Where: []string{"held"}, Ledger: d.revocation.Ledger,
	}
	if change != nil {
		change(m)
	}
	return must(wire.Sign(d.its, m))
}

func (p *person) whole(s *shop) *deal {
	d := p.begin(s)
	p.receive(d)
	p.revoke(d)
	p.noteLetter("deletion.kept", d, d.deletionOf(nil))
	return d
}

// lapse notes that no deletion came.
func (p *person) lapse(d *deal) {
	d.Lapses = []audit.Lapse{{Owed: "deletion", Re: d.revoked, Due: d.revocation.Deadline}}
	p.note("lapse", map[string]string{"grant": d.ID.String()})
}

// bundle writes her bundle; cases, openings and ledger can be changed before.
func (p *person) bundle(change ...func(cases *[]audit.Case, o *[]audit.Opening)) []byte {
	return p.bundleAs(audit.BodiesAll, nil, change...)
}

func (p *person) bundleAs(b audit.Bodies, keep func(ledger.Entry) bool, change ...func(cases *[]audit.Case, o *[]audit.Opening)) []byte {
	var cases []audit.Case
	if b == audit.BodiesAll {
		for _, d := range p.deals {
			c := d.Case
			c.Letters = slices.Clone(c.Letters)
			cases = append(cases, c)
		}
	}
	openings := slices.Clone(p.openings)
	for _, fn := range change {
		fn(&cases, &openings)
	}
	var out bytes.Buffer
	w := must(audit.NewBundle(&out, testNet, b, nil))
	for _, c := range cases {
		check(w.Case(c))
	}
	for _, o := range openings {
		check(w.Open(o))
	}
	p.nowMS++
	check(p.store.View(context.Background(), func(r kv.Reader) error { return w.Close(p.led, r, p.nowMS, keep) }))
	return out.Bytes()
}

// evidence writes what was signed under one deal, as one side holds it.
func (d *deal) evidence(side protocol.Side) []byte {
	c := d.Case
	c.Side = side
	var out bytes.Buffer
	check(audit.WriteEvidence(&out, testNet, c))
	return out.Bytes()
}

func (p *person) proof(seq, since int64) []byte {
	var out bytes.Buffer
	check(p.store.View(context.Background(), func(r kv.Reader) error {
		return must(audit.Prove(p.led, r, seq, since, p.nowMS)).Write(&out)
	}))
	return out.Bytes()
}

// copied is the same person with a copy of her store, from which a second story can go on.
func (p *person) copied() *person {
	q := *p
	q.store, q.deals, q.openings = kv.Memory(), slices.Clone(p.deals), slices.Clone(p.openings)
	check(q.store.Update(context.Background(), func(tx kv.Tx) error {
		return p.store.View(context.Background(), func(r kv.Reader) error {
			return r.Scan(nil, nil, func(k, v []byte) (bool, error) { return true, tx.Put(k, v) })
		})
	}))
	return &q
}

// rewrite writes her ledger anew, with each body changed or the entry dropped: sound
// in itself.
func (p *person) rewrite(change func(ledger.Entry) ([]byte, bool)) {
	var all []ledger.Entry
	check(p.store.View(context.Background(), func(r kv.Reader) error {
		return p.led.Each(r, 0, func(e ledger.Entry) (bool, error) { all = append(all, e); return true, nil })
	}))
	check(p.store.Update(context.Background(), func(tx kv.Tx) error {
		for _, e := range all {
			for _, part := range "bl" {
				key := append([]byte("l/r/"), 0, 0, 0, 0, 0, 0, byte(e.Seq>>8), byte(e.Seq), byte(part))
				check(tx.Delete(key))
			}
		}
		return tx.Put([]byte("l/n"), make([]byte, 8))
	}))
	for _, e := range all {
		body, keep := change(e)
		if !keep {
			continue
		}
		check(p.store.Update(context.Background(), func(tx kv.Tx) error { _, err := p.led.Append(tx, e.Kind, e.AtMS, body); return err }))
	}
}

// judge audits files, named a, b, c.
func judge(files ...[]byte) audit.Verdict { return judgeAt(testNow+20*protocol.Day, false, files...) }

func judgeAt(now protocol.Second, inOrder bool, files ...[]byte) audit.Verdict {
	a := audit.New(time.Unix(int64(now), 0), inOrder)
	for i, raw := range files {
		check(a.Add(string(rune('a'+i)), bytes.NewReader(raw)))
	}
	return a.Verdict()
}

// found tells whether a verdict has a problem of a kind with these words.
func found(v audit.Verdict, what audit.What, words ...string) bool {
	return !v.OK && slices.ContainsFunc(v.Problems, func(p audit.Problem) bool {
		return p.What == what && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p.String(), w) })
	})
}

// signedBy signs with the vendor's duty key.
func signedBy(d *deal, m protocol.Message) []byte { return must(wire.Sign(d.its, m)) }
