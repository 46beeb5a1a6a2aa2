// Package particulars writes and reads what a request says besides its notice:
// protocol.Particulars, under the ignorable key 128 of a Request.
//
//  1. Extra writes them as the pair that wire.SignExtra takes, or nothing where there is
//     nothing to say.
//  2. Of reads them from what wire.Signed.Extra gives. What is of another form counts as
//     not said, so that a request is never the better for being odd.
package particulars

import (
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// number is the key, and head how it stands on the wire.
const (
	number = 128
	head   = "\x18\x80"
)

// Extra writes the pair.
func Extra(m protocol.Particulars) (protocol.Extra, error) {
	if len(m.Explicit) == 0 && m.Protection == "" && m.Automated == "" || protocol.Edition < 0 {
		return nil, nil
	}
	if err := rules.Particulars(&m); err != nil {
		return nil, err
	}
	raw, err := canon.Encode(&m)
	if err != nil {
		return nil, fmt.Errorf("particulars: %w: %w", err, fault.Malformed)
	}
	return append(protocol.Extra(head), raw...), nil
}

// Of reads it.
func Of(x protocol.Extra) (m protocol.Particulars) {
	raw, ok := canon.Value(x, number)
	if !ok || protocol.Edition < 0 {
		return m
	}
	if canon.Decode(raw, &m) != nil || rules.Particulars(&m) != nil {
		return protocol.Particulars{}
	}
	return m
}
