package market

import (
	"errors"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Consent is how a request was decided, or how it waits.
type Consent struct {
	By         string        // rule or person; empty while it waits
	Rule       string        // the rule that decided, or that left it to her
	Hash       protocol.Hash // names that rule exactly, where it is one of hers
	Less       bool          // she granted less than was asked
	Notice     protocol.Hash // of what she was told, kept as an envelope
	PromptedMS int64         // when she was told of it; 0: it waits silently, or needs nobody
	SnoozeMS   int64         // hidden until then
	After      protocol.Hash `cbor:",omitzero"` // the agreement whose counter it answers
}

// An Acquaintance is what a customer remembers of a vendor, beyond single agreements.
type Acquaintance struct {
	Vendor                   protocol.VendorID
	Name                     string
	Granted, Refused, Lapses uint32
	BlockedMS                int64 // since when its requests are dropped; 0: they are not
	// Withheld is what she herself refused it, each field and purpose once, the latest
	// last; at most MaxWithheld.
	Withheld []Withheld `cbor:",omitempty"`
}

// Withheld is a field that she refused to a vendor for a purpose. Field is empty where the
// vendor asked for the need alone.
type Withheld struct {
	Field   protocol.FieldName
	Purpose protocol.Purpose
	AtMS    int64
}

// MaxWithheld bounds what is remembered of one vendor: more than there are fields in the
// vocabulary, and none but these come before her.
const MaxWithheld = 128

// Withhold remembers what a request asked for that she refused.
func (a *Acquaintance) Withhold(asks []protocol.FieldAsk, atMS int64) {
	for _, f := range Sought(asks) {
		a.Withheld = slices.DeleteFunc(a.Withheld, func(w Withheld) bool { return w.Field == f.Name && w.Purpose == f.Purpose })
		a.Withheld = append(a.Withheld, Withheld{f.Name, f.Purpose, atMS})
	}
	a.Withheld = a.Withheld[max(0, len(a.Withheld)-MaxWithheld):]
}

// WithheldMS is when she last refused it a field for a purpose; 0: she did not.
func (a *Acquaintance) WithheldMS(f protocol.FieldName, p protocol.Purpose) int64 {
	for _, w := range a.Withheld {
		if w.Field == f && w.Purpose == p {
			return w.AtMS
		}
	}
	return 0
}

// Sought is what a request asks for: its fields, or, where it has none, the need alone.
func Sought(asks []protocol.FieldAsk) []protocol.FieldAsk {
	if len(asks) == 0 {
		return []protocol.FieldAsk{{Purpose: protocol.PurposeOffer}}
	}
	return asks
}

const acquaintances table[Acquaintance] = "k/v/"

// PutAcquaintance keeps it.
func PutAcquaintance(tx kv.Tx, a Acquaintance) error { return acquaintances.put(tx, a.Vendor[:], a) }

// GetAcquaintance finds it; a vendor that is not known has the zero one under its id.
func GetAcquaintance(r kv.Reader, v protocol.VendorID) (Acquaintance, error) {
	a, err := acquaintances.get(r, v[:])
	if errors.Is(err, fault.NotFound) {
		return Acquaintance{Vendor: v}, nil
	}
	return a, err
}

// EachAcquaintance calls fn for each, in order of vendor.
func EachAcquaintance(r kv.Reader, fn func(Acquaintance) (bool, error)) error {
	return acquaintances.scan(r, nil, nil, func(_ []byte, a Acquaintance) (bool, error) { return fn(a) })
}
