// Package pay moves what a grant costs. It implements market.Rails, behind which two rails
// stand: none, for what is free of charge, and voucher, by which a vendor says, signed, that
// it owes the price. A voucher is credit and nothing more: whoever takes it trusts the
// vendor, and how far she does is for her own node to say.
//
// One payment:
//
//  1. Quote names the rail on which a price is paid. The vendor's node asks it before a
//     Request, hers before a Grant.
//  2. Pay writes the proof into the vendor's Receipt, bound to the Grant.
//  3. Verify, on her node, holds the Receipt to the Grant; only then is anything disclosed.
//  4. Settle tells what is left to be paid outside of all this, once it was: the words of
//     the signed letters, whatever a record says.
//
// It keeps nothing and knows no time but what the letters say.
package pay

import (
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/voucher"
)

// Rails are the two rails.
type Rails struct {
	Life protocol.Second // how long a voucher is honoured after its grant has ended
}

// Quote implements market.Rails.
func (Rails) Quote(price protocol.Money) (protocol.Rail, error) {
	switch {
	case price.Minor == 0:
		return protocol.RailNone, nil
	case price.Valid():
		return protocol.RailVoucher, nil
	}
	return 0, fmt.Errorf("no rail pays %s: %w", price, fault.Unsupported)
}

// Pay implements market.Rails.
func (p Rails) Pay(grant wire.Signed, r *protocol.Receipt, by key.Private[key.Operational]) error {
	g, err := wire.As[*protocol.Grant](grant)
	if err != nil {
		return err
	}
	rail, err := p.Quote(g.Price)
	switch {
	case err != nil:
		return err
	case rail != g.Rail:
		return fmt.Errorf("grant of %s on rail %d: %w", g.Price, g.Rail, fault.Unsupported)
	case rail == protocol.RailNone:
		r.Payment = protocol.Payment{Rail: rail}
		return nil
	}
	return voucher.Issue(grant, r, by, g.End+p.Life)
}

// Verify implements market.Rails.
func (Rails) Verify(grant, receipt wire.Signed) (proof protocol.Hash, err error) {
	return voucher.Check(grant, receipt)
}

// Settle implements market.Rails.
func (p Rails) Settle(grant, receipt wire.Signed) (protocol.Money, error) {
	proof, err := p.Verify(grant, receipt)
	if err != nil || proof.IsZero() {
		return protocol.Money{}, err
	}
	r, err := wire.As[*protocol.Receipt](receipt)
	if err != nil {
		return protocol.Money{}, err
	}
	return r.Payment.Amount, nil
}
