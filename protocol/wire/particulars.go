package wire

import (
	"bytes"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// ParticularsExtra writes what a Request says besides its Notice, under key 128; nothing
// where there is nothing to say.
func ParticularsExtra(m protocol.Particulars) (protocol.Extra, error) {
	if len(m.Explicit) == 0 && m.Protection == "" && m.Automated == "" || protocol.Edition < 0 {
		return nil, nil
	}
	if err := rules.Particulars(&m); err != nil {
		return nil, err
	}
	raw, err := Marshal(&m)
	if err != nil {
		return nil, err
	}
	return slices.Concat(bytes.Clone(firstExtra), raw), nil
}

// ParticularsOf reads them from the ignorable pairs of a Request. What is of another form
// counts as not said.
func ParticularsOf(x protocol.Extra) (m protocol.Particulars) {
	raw, ok := canon.Value(x, keyFirst)
	if !ok || protocol.Edition < 0 {
		return m
	}
	if canon.Decode(raw, &m) != nil || rules.Particulars(&m) != nil {
		return protocol.Particulars{}
	}
	return m
}
