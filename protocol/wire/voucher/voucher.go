// Package voucher writes and checks the proof of payment on the rail voucher: a signed
// envelope within a Receipt.
//
//  1. The vendor's node issues one for a Grant that costs something, bound to that Grant,
//     to her duty key and to the Receipt's own signer.
//  2. Her node holds it to the Grant before anything leaves her vault, and so may anybody
//     to whom she shows both letters.
//
// What it is worth is not decided here: it is credit, and the vendor may never pay.
package voucher

import (
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// Issue writes into a Receipt whose header is made that its vendor owes what a grant
// costs, honoured until a second. by signs the Receipt too.
func Issue(grant wire.Signed, r *protocol.Receipt, by key.Private[key.Operational], until protocol.Second) error {
	g, err := wire.As[*protocol.Grant](grant)
	if err != nil {
		return err
	}
	v := &protocol.Voucher{
		Header: protocol.Header{
			Net: r.Net, Kind: protocol.KindVoucher, ID: wire.NewID(), To: r.To, Context: r.Context, Seq: r.Seq,
			Created: r.Created, Expires: until, Re: grant.ID(),
		},
		Grant: g.Grant, Amount: g.Price,
	}
	proof, err := wire.Sign(by, v)
	if err != nil {
		return fmt.Errorf("voucher: %w", err)
	}
	r.Payment = protocol.Payment{Rail: protocol.RailVoucher, Amount: g.Price, Proof: proof}
	return nil
}

// Check holds the payment in a Receipt to the Grant that it pays: the rail and the price of
// that grant and, where it is a voucher, one for this grant, to this key of hers, in this
// context and network, of exactly the price, signed by the key that signs the Receipt, not
// after it, and honoured at least until the grant ends. It gives the voucher's id; zero
// where nothing costs anything. What does not hold is fault.Denied.
func Check(grant, receipt wire.Signed) (id protocol.Hash, err error) {
	g, err := wire.As[*protocol.Grant](grant)
	if err != nil {
		return id, err
	}
	r, err := wire.As[*protocol.Receipt](receipt)
	if err != nil {
		return id, err
	}
	p := r.Payment
	switch {
	case r.Re != grant.ID() || r.Grant != g.Grant:
		return id, denied("of another grant")
	case p.Rail != g.Rail:
		return id, denied("on a rail that was not agreed")
	case p.Rail == protocol.RailNone:
		return id, nil // the rules of both letters: nothing is asked, and nothing paid
	case p.Rail != protocol.RailVoucher:
		return id, fmt.Errorf("payment on rail %d: %w", p.Rail, fault.Unsupported)
	case p.Amount != g.Price:
		return id, denied("of %s where %s was agreed", p.Amount, g.Price)
	}
	s, err := wire.Open(p.Proof)
	if err != nil {
		return id, fmt.Errorf("payment: %w", err)
	}
	return s.ID(), bound(s, g, r, grant.ID())
}

// bound holds a voucher to the two letters that it belongs to.
func bound(s wire.Signed, g *protocol.Grant, r *protocol.Receipt, grant protocol.Hash) error {
	v, err := wire.As[*protocol.Voucher](s)
	if err != nil {
		return err
	}
	switch {
	case v.From != r.From:
		return denied("by a voucher of another key than the receipt's")
	case v.Grant != g.Grant || v.Re != grant:
		return denied("by a voucher for another grant")
	case v.Net != r.Net || v.Context != r.Context || v.To != r.To:
		return denied("by a voucher for somebody else")
	case v.Amount != g.Price:
		return denied("by a voucher of %s where %s was agreed", v.Amount, g.Price)
	case v.Created > r.Created || v.Expires < g.End:
		return denied("by a voucher that does not stand until the grant ends")
	}
	return nil
}

func denied(why string, args ...any) error {
	return fmt.Errorf("payment %s: %w", fmt.Sprintf(why, args...), fault.Denied)
}
