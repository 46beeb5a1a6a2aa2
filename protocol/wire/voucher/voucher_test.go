package voucher

import (
	"bytes"
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

const now protocol.Second = 1_800_000_000

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A pair is a grant that costs something and the vendor's receipt of it, not signed yet.
type pair struct {
	her, duty key.Private[key.Context]
	vendor    key.Private[key.Operational]
	g         *protocol.Grant
	r         *protocol.Receipt
	grant     wire.Signed
}

func address() protocol.Address {
	box, depositor := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: depositor.Public(), Letters: 1, KiB: 4, Expires: now + protocol.Day}
	if err := wire.SignCapability(box, &c); err != nil {
		panic(err)
	}
	return protocol.Address{Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}, Capability: c, Seed: protocol.Share(depositor.Seed())}
}

func newPair(price protocol.Money) *pair {
	p := &pair{her: key.Generate[key.Context](), duty: key.Generate[key.Context](), vendor: key.Generate[key.Operational]()}
	ctx, vendor, net := protocol.Hash(p.her.Public()), protocol.Hash{7}, protocol.Hash{8}
	header := func(k protocol.Kind, to, re protocol.Hash) protocol.Header {
		return protocol.Header{Net: net, Kind: k, ID: wire.NewID(), To: to, Context: ctx, Seq: 1, Created: now, Expires: now + protocol.Day, Re: re}
	}
	p.g = &protocol.Grant{
		Header: header(protocol.KindGrant, vendor, protocol.Hash{9}), Reason: protocol.ContextNeed,
		Fields: []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30, Price: price}},
		Start:  now, End: now + 30*protocol.Day, Price: price, Rail: protocol.RailNone, Terms: protocol.Hash{2},
		OfferSeal: key.GenerateSeal[key.OfferSeal]().Public(), DutyKey: key.DutyKey(p.duty.Public()), DutySeal: key.GenerateSeal[key.DutySeal]().Public(),
		OfferBox: address(), DutyBox: address(),
	}
	if price.Minor > 0 {
		p.g.Rail = protocol.RailVoucher
	}
	p.g.Grant = wire.GrantID(p.her.Public(), vendor, p.g.Re)
	p.grant = must(wire.Open(must(wire.Sign(p.her, p.g))))
	p.r = &protocol.Receipt{
		Header: header(protocol.KindReceipt, protocol.Hash(p.g.DutyKey), p.grant.ID()), Grant: p.g.Grant, Payment: protocol.Payment{Rail: protocol.RailNone},
		DutyKey: key.Generate[key.Duty]().Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(), DutyBox: address(),
	}
	return p
}

// receipt signs the receipt, with a change.
func (p *pair) receipt(change func(*protocol.Receipt)) wire.Signed {
	r := *p.r
	r.ID = wire.NewID()
	if change != nil {
		change(&r)
	}
	return must(wire.Open(must(wire.Sign(p.vendor, &r))))
}

func TestAVoucherPaysItsGrant(t *testing.T) {
	p := newPair(protocol.Money{Minor: 500, Currency: "ZAR"})
	if err := Issue(p.grant, p.r, p.vendor, p.g.End+protocol.Day); err != nil {
		t.Fatal(err)
	}
	id, err := Check(p.grant, p.receipt(nil))
	if err != nil || id != wire.ID(p.r.Payment.Proof) || len(p.r.Payment.Proof) > protocol.MaxProof {
		t.Fatalf("%v, %v, %d bytes", id, err, len(p.r.Payment.Proof))
	}
	t.Logf("a voucher has %d bytes", len(p.r.Payment.Proof))
	free := newPair(protocol.Money{})
	if id, err := Check(free.grant, free.receipt(nil)); err != nil || !id.IsZero() {
		t.Errorf("what costs nothing: %v, %v", id, err)
	}
	if err := Issue(free.grant, free.r, free.vendor, free.g.End); !errors.Is(err, fault.Malformed) {
		t.Errorf("a voucher for nothing: %v", err)
	}
	if err := Issue(p.receipt(nil), p.r, p.vendor, p.g.End); !errors.Is(err, fault.Denied) {
		t.Errorf("a voucher for a receipt: %v", err)
	}
	if _, err := Check(p.receipt(nil), p.grant); !errors.Is(err, fault.Denied) {
		t.Errorf("the two letters in each other's place: %v", err)
	}
}

// Whatever ties a voucher to its grant is looked at.
func TestAVoucherPaysNothingElse(t *testing.T) {
	price := protocol.Money{Minor: 500, Currency: "ZAR"}
	p, other := newPair(price), newPair(price)
	for _, x := range []*pair{p, other} {
		if err := Issue(x.grant, x.r, x.vendor, x.g.End); err != nil {
			t.Fatal(err)
		}
	}
	resigned := func(k key.Private[key.Operational], change func(*protocol.Voucher)) func(*protocol.Receipt) {
		return func(r *protocol.Receipt) {
			v := *must(wire.As[*protocol.Voucher](must(wire.Open(r.Payment.Proof))))
			change(&v)
			r.Payment.Proof = must(wire.Sign(k, &v))
		}
	}
	for name, change := range map[string]func(*protocol.Receipt){
		"another's whole":   func(r *protocol.Receipt) { r.Payment.Proof = other.r.Payment.Proof },
		"the grant":         func(r *protocol.Receipt) { r.Payment.Proof = p.grant.Raw()[:protocol.MaxProof] },
		"a bit":             func(r *protocol.Receipt) { r.Payment.Proof = append(bytes.Clone(r.Payment.Proof[:9]), 1) },
		"another key":       resigned(key.Generate[key.Operational](), func(*protocol.Voucher) {}),
		"another grant":     resigned(p.vendor, func(v *protocol.Voucher) { v.Grant[0] ^= 1 }),
		"another letter":    resigned(p.vendor, func(v *protocol.Voucher) { v.Re[0] ^= 1 }),
		"another reader":    resigned(p.vendor, func(v *protocol.Voucher) { v.To[0] ^= 1 }),
		"another context":   resigned(p.vendor, func(v *protocol.Voucher) { v.Context[0] ^= 1 }),
		"another network":   resigned(p.vendor, func(v *protocol.Voucher) { v.Net[0] ^= 1 }),
		"less":              resigned(p.vendor, func(v *protocol.Voucher) { v.Amount.Minor-- }),
		"another currency":  resigned(p.vendor, func(v *protocol.Voucher) { v.Amount.Currency = "ZMW" }),
		"issued later":      resigned(p.vendor, func(v *protocol.Voucher) { v.Created++ }),
		"over too early":    resigned(p.vendor, func(v *protocol.Voucher) { v.Expires-- }),
		"an amount of less": func(r *protocol.Receipt) { r.Payment.Amount.Minor-- },
		"nothing":           func(r *protocol.Receipt) { r.Payment = protocol.Payment{Rail: protocol.RailNone} },
		"to another grant":  func(r *protocol.Receipt) { r.Grant[0] ^= 1 },
		"to another letter": func(r *protocol.Receipt) { r.Re[0] ^= 1 },
	} {
		if id, err := Check(p.grant, p.receipt(change)); err == nil {
			t.Errorf("%s: taken, as %s", name, id)
		}
	}
}

// FuzzCheck: no proof but the one that was issued pays.
func FuzzCheck(f *testing.F) {
	p := newPair(protocol.Money{Minor: 500, Currency: "ZAR"})
	if err := Issue(p.grant, p.r, p.vendor, p.g.End); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"))
	f.Add(p.grant.Raw()[:protocol.MaxProof])
	f.Add(p.r.Payment.Proof[:len(p.r.Payment.Proof)-1])
	f.Fuzz(func(t *testing.T, proof []byte) {
		if len(proof) > protocol.MaxProof || len(bytes.Trim(proof, "\x00")) == 0 || bytes.Equal(proof, p.r.Payment.Proof) {
			return // in no receipt that can be read; or the right one
		}
		r := p.receipt(func(r *protocol.Receipt) { r.Payment.Proof = proof })
		if _, err := Check(p.grant, r); err == nil {
			t.Errorf("%x pays", proof)
		}
		if got, over := alloc.Over(alloc.Most(len(proof)), func() { _, _ = Check(p.grant, r) }); over {
			t.Errorf("%d bytes allocated for a proof of %d", got, len(proof))
		}
	})
}
