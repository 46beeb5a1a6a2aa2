// Package limits writes and reads the bounds that a customer sets on disclosures, as an
// ignorable pair of her Grant:
//
//	140: {1: disclosures in any 24 hours}
//
// Her own node keeps them; that they stand in the signed Grant lets both sides show what
// was agreed. A value of another form counts as absent.
package limits

import (
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// Key is where the limits stand in a Grant.
const Key = 140

// Extra writes limits as the ignorable pair of a Grant; nothing where there are none.
func Extra(l protocol.GrantLimits) (protocol.Extra, error) {
	if l == (protocol.GrantLimits{}) || protocol.Edition < 0 {
		return nil, nil
	}
	if l.PerDay > protocol.MaxPerDay {
		return nil, fmt.Errorf("wire: %d disclosures a day, at most %d: %w", l.PerDay, protocol.MaxPerDay, fault.Malformed)
	}
	raw, err := canon.Encode(&l)
	if err != nil {
		return nil, fmt.Errorf("wire: limits: %w", err)
	}
	return append([]byte{0x18, Key}, raw...), nil
}

// Of reads what Extra writes.
func Of(x protocol.Extra) (l protocol.GrantLimits) {
	raw, ok := canon.Value(x, Key)
	if !ok || protocol.Edition < 0 || canon.Decode(raw, &l) != nil || l.PerDay > protocol.MaxPerDay {
		return protocol.GrantLimits{}
	}
	return l
}
