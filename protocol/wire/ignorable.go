package wire

import (
	"bytes"
	"fmt"
	"io"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// What stands under ignorable keys, and so must never be needed to act rightly: who
// runs a keeper, in its Hello, and receipts of keepers, in messages on duty keys. A
// value of another form counts as absent.

// firstExtra is key 128 as it stands on the wire.
var firstExtra = []byte{0x18, 0x80}

// WriteHello writes a keeper's first word on a stream, and, where it is not zero, the
// vendor who runs the keeper, under key 128.
func WriteHello(w io.Writer, h protocol.Hello, operator protocol.VendorID) error {
	raw, err := encodeHello(h, operator)
	if err != nil {
		return err
	}
	return writeFrame(w, raw)
}

func encodeHello(h protocol.Hello, operator protocol.VendorID) ([]byte, error) {
	raw, err := Marshal(&h)
	if err != nil || operator.IsZero() {
		return raw, err
	}
	d, err := canon.Walk(raw)
	if err == nil {
		raw, err = d.With(append(append(bytes.Clone(firstExtra), 0x58, 0x20), operator[:]...))
	}
	return raw, fail(err)
}

// ReadHello reads what WriteHello writes. operator is zero where none is named.
func ReadHello(r io.Reader) (h protocol.Hello, operator protocol.VendorID, err error) {
	raw, err := readFrame(r)
	if err != nil {
		return h, operator, err
	}
	return decodeHello(raw)
}

// maxHello bounds a Hello with what newer programs may say in it.
const maxHello = 1024

func decodeHello(raw []byte) (h protocol.Hello, operator protocol.VendorID, err error) {
	if len(raw) > maxHello {
		return h, operator, fmt.Errorf("wire: hello of %d bytes, at most %d: %w", len(raw), maxHello, fault.Malformed)
	}
	d, err := canon.Walk(raw)
	if err != nil {
		return h, operator, fail(err)
	}
	if err := canon.Decode(d.Critical(), &h); err != nil {
		return h, operator, fail(err)
	}
	if id, ok := bytes.CutPrefix(d.Extra(), append(bytes.Clone(firstExtra), 0x58, 0x20)); ok {
		copy(operator[:], id) // walked: 32 bytes are there
	}
	return h, operator, rules.Noun(&h)
}

// MaxTold is how many receipts one message passes on.
const MaxTold = 6

// told is the value of key 128 of a message on duty keys.
type told struct {
	Receipts []protocol.DepositReceipt `cbor:"1,keyasint,omitempty"`
}

// ReceiptsExtra writes receipts, at most MaxTold, as the ignorable pair of a message.
func ReceiptsExtra(list []protocol.DepositReceipt) (protocol.Extra, error) {
	if len(list) == 0 {
		return nil, nil
	}
	raw, err := Marshal(&told{list[:min(len(list), MaxTold)]})
	if err != nil {
		return nil, err
	}
	return append(bytes.Clone(firstExtra), raw...), nil
}

// ReceiptsOf reads the receipts that a message passes on: those that are well formed
// and signed by their keepers, none where there is anything else.
func ReceiptsOf(x protocol.Extra) (list []protocol.DepositReceipt) {
	raw, ok := bytes.CutPrefix(x, firstExtra)
	if !ok {
		return nil
	}
	var v told
	if canon.Decode(raw, &v) != nil || len(v.Receipts) > MaxTold {
		return nil
	}
	for _, r := range v.Receipts {
		if CheckReceipt(r) == nil {
			list = append(list, r)
		}
	}
	return list
}
