package pay

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

var _ market.Rails = Rails{}

const now protocol.Second = 1_800_000_000

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func address() protocol.Address {
	box, depositor := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: depositor.Public(), Letters: 1, KiB: 4, Expires: now + protocol.Day}
	if err := wire.SignCapability(box, &c); err != nil {
		panic(err)
	}
	return protocol.Address{Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}, Capability: c, Seed: protocol.Share(depositor.Seed())}
}

// granted is a signed grant at a price, and a receipt of it with a header and no payment.
func granted(price protocol.Money) (wire.Signed, *protocol.Receipt) {
	her, duty := key.Generate[key.Context](), key.Generate[key.Duty]()
	header := func(k protocol.Kind, to, re protocol.Hash) protocol.Header {
		return protocol.Header{
			Net: protocol.Hash{8}, Kind: k, ID: wire.NewID(), To: to, Context: protocol.Hash(her.Public()), Seq: 1, Created: now, Expires: now + protocol.Day, Re: re,
		}
	}
	g := &protocol.Grant{
		Header: header(protocol.KindGrant, protocol.Hash{7}, protocol.Hash{9}), Reason: protocol.ContextNeed,
		Fields: []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30, Price: price}},
		Start:  now, End: now + 30*protocol.Day, Price: price, Rail: must(Rails{}.Quote(price)), Terms: protocol.Hash{2},
		OfferSeal: key.GenerateSeal[key.OfferSeal]().Public(), DutyKey: duty.Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(),
		OfferBox: address(), DutyBox: address(),
	}
	g.Grant = wire.GrantID(her.Public(), g.To, g.Re)
	signed := must(wire.Open(must(wire.Sign(her, g))))
	return signed, &protocol.Receipt{
		Header: header(protocol.KindReceipt, protocol.Hash(duty.Public()), signed.ID()), Grant: g.Grant,
		DutyKey: key.Generate[key.Duty]().Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(), DutyBox: address(),
	}
}

func TestBothRailsPay(t *testing.T) {
	rails := Rails{Life: 400 * protocol.Day}
	for _, price := range []protocol.Money{{}, {Minor: 1, Currency: "JPY"}, {Minor: protocol.MaxMinor, Currency: "ZAR"}} {
		grant, r := granted(price)
		vendor := key.Generate[key.Operational]()
		if err := rails.Pay(grant, r, vendor); err != nil {
			t.Fatalf("%s: %v", price, err)
		}
		receipt := must(wire.Open(must(wire.Sign(vendor, r))))
		proof, err := rails.Verify(grant, receipt)
		if err != nil || proof.IsZero() != (price.Minor == 0) {
			t.Errorf("%s: proof %s, %v", price, proof, err)
		}
		if got, err := rails.Settle(grant, receipt); err != nil || got != price {
			t.Errorf("%s: %s is left to be paid, %v", price, got, err)
		}
		if price.Minor == 0 {
			continue
		}
		v := must(wire.As[*protocol.Voucher](must(wire.Open(r.Payment.Proof))))
		if v.Expires != now+430*protocol.Day || v.Created != now {
			t.Errorf("it stands from %d to %d", v.Created, v.Expires)
		}
		other, _ := granted(price)
		if _, err := rails.Settle(other, receipt); !errors.Is(err, fault.Denied) {
			t.Errorf("settled for another grant: %v", err)
		}
	}
}

func TestWhatNoRailPays(t *testing.T) {
	for _, price := range []protocol.Money{{Minor: 1}, {Minor: -1, Currency: "ZAR"}, {Minor: 1, Currency: "XXQ"}, {Minor: protocol.MaxMinor + 1, Currency: "ZAR"}} {
		if rail, err := (Rails{}).Quote(price); !errors.Is(err, fault.Unsupported) || rail != 0 {
			t.Errorf("%+v on rail %d, %v", price, rail, err)
		}
	}
	grant, r := granted(protocol.Money{Minor: 5, Currency: "ZAR"})
	vendor := key.Generate[key.Operational]()
	if err := (Rails{}).Pay(grant, r, vendor); err != nil {
		t.Fatal(err)
	}
	receipt := must(wire.Open(must(wire.Sign(vendor, r))))
	if err := (Rails{}).Pay(receipt, r, vendor); !errors.Is(err, fault.Denied) {
		t.Errorf("a receipt is paid: %v", err)
	}
}
