package dht

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/protocol/wire/alloc"
)

// A recorded is a stream that was recorded.
type recorded struct {
	network.Stream
	in    *bytes.Reader
	piece int
	reset bool
}

func (r *recorded) Read(b []byte) (int, error) { return r.in.Read(b[:min(len(b), r.piece)]) }

func (r *recorded) Reset() error { r.reset = true; return nil }

// FuzzFrames: what is read is what was sent, up to the first message that is too long.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3, 0, 1, 9}, uint8(2))
	f.Add(binary.AppendUvarint([]byte{1, 1}, maxMessage+1), uint8(1))
	f.Add(binary.AppendUvarint(nil, maxMessage), uint8(9))
	f.Add(bytes.Repeat([]byte{0xff}, 12), uint8(3))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		most := 64<<10 + 8*uint64(len(sent))
		if got, over := alloc.Over(most, func() {
			_, _ = io.ReadAll(&framed{Stream: &recorded{in: bytes.NewReader(sent), piece: 1 + int(piece)}})
		}); over {
			t.Fatalf("%d bytes allocated for %d", got, len(sent))
		}
		s := &recorded{in: bytes.NewReader(sent), piece: 1 + int(piece)}
		got, err := io.ReadAll(&framed{Stream: s})
		if !bytes.HasPrefix(sent, got) || (err != nil) != s.reset || err == nil && len(got) != len(sent) {
			t.Fatalf("read %d of %d: %v", len(got), len(sent), err)
		}
		for rest := got; len(rest) > 0; {
			length, n := binary.Uvarint(rest)
			if n > 0 && length > maxMessage {
				t.Fatalf("a message of %d bytes got through", length)
			}
			if n <= 0 || uint64(len(rest)-n) < length {
				break
			}
			rest = rest[uint64(n)+length:]
		}
	})
}
