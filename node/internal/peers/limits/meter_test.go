package limits

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

const longest = 128 << 10

// A purse is the memory of one stream.
type purse struct {
	network.NullScope
	room     int
	at, most int // charged now, and at most
}

func (p *purse) ReleaseMemory(n int) { p.at -= n }

func (p *purse) ReserveMemory(n int, _ uint8) error {
	if p.at+n > p.room {
		return network.ErrResourceLimitExceeded
	}
	p.at += n
	p.most = max(p.most, p.at)
	return nil
}

// A recorded is a stream that was recorded.
type recorded struct {
	network.Stream
	in    *bytes.Reader
	piece int
	reset bool
	by    time.Time // the read deadline
	purse *purse
}

func record(sent []byte, piece int) (*recorded, *purse) {
	p := &purse{room: 1 << 30}
	return &recorded{in: bytes.NewReader(sent), piece: piece, purse: p}, p
}

func (r *recorded) Read(b []byte) (int, error)         { return r.in.Read(b[:min(len(b), r.piece)]) }
func (r *recorded) Write(b []byte) (int, error)        { return len(b), nil }
func (r *recorded) Reset() error                       { r.reset = true; return nil }
func (r *recorded) Stat() network.Stats                { return network.Stats{Direction: network.DirInbound} }
func (r *recorded) Scope() network.StreamScope         { return r.purse }
func (r *recorded) SetReadDeadline(by time.Time) error { r.by = by; return nil }

func (r *recorded) ResetWithError(network.StreamErrorCode) error { return r.Reset() }

// FuzzMessages: what is read is what was sent, up to the first message that is too long.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3, 0, 1, 9}, uint8(2))
	f.Add(binary.AppendUvarint([]byte{1, 1}, longest+1), uint8(1))
	f.Add(binary.AppendUvarint(nil, longest), uint8(9))
	f.Add(bytes.Repeat([]byte{0xff}, 12), uint8(3))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		most := 64<<10 + 8*uint64(len(sent))
		if got, over := alloc.Over(most, func() {
			s, _ := record(sent, 1+int(piece))
			_, _ = io.ReadAll(NewMessages(s, longest))
		}); over {
			t.Fatalf("%d bytes allocated for %d", got, len(sent))
		}
		s, p := record(sent, 1+int(piece))
		got, err := io.ReadAll(NewMessages(s, longest))
		if !bytes.HasPrefix(sent, got) || (err != nil) != s.reset || err == nil && len(got) != len(sent) {
			t.Fatalf("read %d of %d: %v", len(got), len(sent), err)
		}
		if p.most > longest {
			t.Fatalf("charged with %d bytes", p.most)
		}
		for rest := got; len(rest) > 0; {
			length, n := binary.Uvarint(rest)
			if n > 0 && length > longest {
				t.Fatalf("a message of %d bytes got through", length)
			}
			if n <= 0 || uint64(len(rest)-n) < length {
				break
			}
			rest = rest[uint64(n)+length:]
		}
	})
}

// FuzzFrames: what is read is what was sent, and charged with as much as was read, not
// with what was promised.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 9}, uint8(2))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, uint8(1))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		s, p := record(sent, 1+int(piece))
		got, err := io.ReadAll(Frames(s))
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("read %x of %x: %v", got, sent, err)
		}
		if p.most > 2*len(sent)+512 { // the reader's buffer
			t.Fatalf("charged with %d bytes for %d", p.most, len(sent))
		}
	})
}

// A message is charged as soon as its length is known, until the next is asked for; it
// has to come in time.
func TestMessagesAreCharged(t *testing.T) {
	s, p := record(append(binary.AppendUvarint(nil, 300), make([]byte, 300)...), 1<<20)
	m := NewMessages(s, longest)
	read := func(n int) {
		t.Helper()
		if got, err := m.Read(make([]byte, n)); got != n || err != nil {
			t.Fatalf("read %d of %d: %v", got, n, err)
		}
	}
	read(1)
	if p.at != 0 || s.by.IsZero() {
		t.Errorf("half a length is charged with %d, and has until %v", p.at, s.by)
	}
	read(1)
	if p.at != 300 || s.by.IsZero() {
		t.Errorf("a message that was promised is charged with %d, and has until %v", p.at, s.by)
	}
	read(300)
	if p.at != 300 || !s.by.IsZero() {
		t.Errorf("a message that is dealt with is charged with %d, and the next has until %v", p.at, s.by)
	}
	if _, err := m.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || p.at != 0 {
		t.Errorf("%v, and %d bytes stay charged", err, p.at)
	}
}

// Frames are charged as they come, until the next is asked for, and as they are written.
func TestFramesAreCharged(t *testing.T) {
	s, p := record(append([]byte{0, 0, 0x10, 0}, make([]byte, 0x1000)...), 1<<20)
	f := Frames(s)
	if _, err := io.ReadFull(f, make([]byte, 4)); err != nil || p.at != 0 {
		t.Fatalf("a length is charged with %d, %v", p.at, err)
	}
	if _, err := io.ReadFull(f, make([]byte, 0x800)); err != nil || p.at != 0x800 {
		t.Errorf("half a frame is charged with %d, %v", p.at, err)
	}
	if _, err := io.ReadFull(f, make([]byte, 0x800)); err != nil || p.at != 0x1000 {
		t.Errorf("a frame is charged with %d, %v", p.at, err)
	}
	if _, err := f.Write(make([]byte, 100)); err != nil || p.most != 0x1000+100 || p.at != 0x1000 {
		t.Errorf("writing 100 bytes was charged with %d, %d are left, %v", p.most-0x1000, p.at-0x1000, err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || p.at != 0 {
		t.Errorf("%v, and %d bytes stay charged", err, p.at)
	}
}

// What finds no room ends the stream, whether it is read or written.
func TestWithoutRoomAStreamEnds(t *testing.T) {
	for name, try := range map[string]func(*recorded) error{
		"a message": func(s *recorded) error { _, err := io.ReadAll(NewMessages(s, longest)); return err },
		"a frame":   func(s *recorded) error { _, err := io.ReadAll(Frames(s)); return err },
		"an answer": func(s *recorded) error { _, err := Frames(s).Write(make([]byte, 512)); return err },
	} {
		s, p := record(append([]byte{0, 0, 2, 0}, make([]byte, 512)...), 1<<20)
		if name == "a message" {
			s.in.Reset(append(binary.AppendUvarint(nil, 512), make([]byte, 512)...))
		}
		if p.room = 511; name == "a frame" {
			p.room = 100
		}
		if err := try(s); !errors.Is(err, fault.Full) || !s.reset {
			t.Errorf("%s: %v; ended: %v", name, err, s.reset)
		}
	}
}
