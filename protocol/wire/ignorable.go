package wire

import (
	"bytes"
	"encoding/binary"
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

// The ignorable keys of version 1, as they stand on the wire.
var firstExtra, secondExtra = []byte{0x18, keyFirst}, []byte{0x18, keySecond}

const keyFirst, keySecond = 128, 129

// Aside is what a keeper says in its Hello that nobody needs in order to go on: claims
// that nothing proves. What is zero is not said.
type Aside struct {
	Operator protocol.VendorID // who runs the keeper, under key 128
	Clock    protocol.Second   // what time the keeper believes it is, under key 129; up to 2^32-1
}

// WriteHello writes a keeper's first word on a stream.
func WriteHello(w io.Writer, h protocol.Hello, aside Aside) error {
	raw, err := encodeHello(h, aside)
	if err != nil {
		return err
	}
	return writeFrame(w, raw)
}

// An operator and a clock as they begin on the wire: their keys, and the head of 32
// bytes and of a number of 4 bytes.
var (
	operatorExtra = append(bytes.Clone(firstExtra), 0x58, 0x20)
	clockExtra    = append(bytes.Clone(secondExtra), 0x1a)
)

func encodeHello(h protocol.Hello, aside Aside) ([]byte, error) {
	raw, err := Marshal(&h)
	if protocol.Edition < 0 {
		return raw, err
	}
	var extra []byte
	if !aside.Operator.IsZero() {
		extra = append(append(extra, operatorExtra...), aside.Operator[:]...)
	}
	if c := aside.Clock; c > 1<<16-1 && c < 1<<32 { // in its one spelling
		extra = binary.BigEndian.AppendUint32(append(extra, clockExtra...), uint32(c))
	}
	extra = append(extra, later()...)
	if err != nil || len(extra) == 0 {
		return raw, err
	}
	d, err := canon.Walk(raw)
	if err == nil {
		raw, err = d.With(extra)
	}
	return raw, fail(err)
}

// ReadHello reads what WriteHello writes.
func ReadHello(r io.Reader) (h protocol.Hello, aside Aside, err error) {
	raw, err := readFrame(r)
	if err != nil {
		return h, aside, err
	}
	return decodeHello(raw)
}

// maxHello bounds a Hello with what newer programs may say in it.
const maxHello = 1024

func decodeHello(raw []byte) (h protocol.Hello, aside Aside, err error) {
	if len(raw) > maxHello {
		return h, aside, fmt.Errorf("wire: hello of %d bytes, at most %d: %w", len(raw), maxHello, fault.Malformed)
	}
	d, err := canon.Walk(raw)
	if err != nil {
		return h, aside, fail(err)
	}
	if err := canon.Decode(d.Critical(), &h); err != nil {
		return h, aside, fail(err)
	}
	if protocol.Edition < 0 {
		return h, aside, rules.Noun(&h)
	}
	if v, ok := canon.Value(d.Extra(), keyFirst); ok && bytes.HasPrefix(v, operatorExtra[2:]) {
		copy(aside.Operator[:], v[2:]) // walked: as many bytes are there as the head says
	}
	if v, ok := canon.Value(d.Extra(), keySecond); ok && bytes.HasPrefix(v, clockExtra[2:]) {
		aside.Clock = protocol.Second(binary.BigEndian.Uint32(v[1:]))
	}
	return h, aside, rules.Noun(&h)
}

// MaxTold is how many receipts one message passes on.
const MaxTold = 6

// told is the value of key 128 of a message on duty keys.
type told struct {
	Receipts []protocol.DepositReceipt `cbor:"1,keyasint,omitempty"`
}

// ReceiptsExtra writes receipts, at most MaxTold, as the ignorable pair of a message.
func ReceiptsExtra(list []protocol.DepositReceipt) (protocol.Extra, error) {
	if len(list) == 0 || protocol.Edition < 0 {
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
	raw, ok := canon.Value(x, keyFirst)
	if !ok || protocol.Edition < 0 {
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
