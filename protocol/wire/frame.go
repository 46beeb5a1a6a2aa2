package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// WriteFrame writes one noun on a stream, in one Write: uint32be(length) ‖ CBOR.
func WriteFrame(w io.Writer, v any) error {
	raw, err := Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, raw)
}

func writeFrame(w io.Writer, raw []byte) error {
	if len(raw) > protocol.MaxFrame {
		return fmt.Errorf("wire: frame of %d bytes, at most %d: %w", len(raw), protocol.MaxFrame, fault.Malformed)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(raw)), uint32(len(raw)))
	_, err := w.Write(append(frame, raw...))
	return err
}

// ReadFrame reads what WriteFrame writes. Memory grows with what arrives, not with
// what the length promises. A stream that ends before a frame is io.EOF, within one
// io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, v any) error {
	raw, err := readFrame(r)
	if err != nil {
		return err
	}
	return unmarshal(raw, v)
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > protocol.MaxFrame {
		return nil, fmt.Errorf("wire: frame of %d bytes, at most %d: %w", n, protocol.MaxFrame, fault.Malformed)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body.Bytes(), nil
}
