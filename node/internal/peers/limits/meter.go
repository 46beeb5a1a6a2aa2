package limits

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/harkmarket/hark/protocol/fault"
)

// inTime is how long a message may be on its way once it has begun. Between two, a
// stream of Messages may be silent for ever: those of gossip live as long as their
// connection.
const inTime = 30 * time.Second

// A meter charges one stream with the memory that its messages take, so that all
// streams of a protocol, and all of a peer, take no more than the limits say.
type meter struct {
	network.Stream
	prio    uint8 // a fifth of a limit is kept for streams that this node opened
	charged int
}

func newMeter(s network.Stream) meter {
	if s.Stat().Direction == network.DirOutbound {
		return meter{Stream: s, prio: network.ReservationPriorityAlways}
	}
	return meter{Stream: s, prio: network.ReservationPriorityHigh}
}

// charge raises what the stream is charged with to n bytes; where there is no room it
// ends the stream.
func (m *meter) charge(n int) error {
	if n <= m.charged {
		return nil
	}
	if err := m.Scope().ReserveMemory(n-m.charged, m.prio); err != nil {
		return full(m.Stream, err)
	}
	m.charged = n
	return nil
}

// free charges the stream with nothing.
func (m *meter) free() {
	if m.charged > 0 {
		m.Scope().ReleaseMemory(m.charged)
		m.charged = 0
	}
}

func full(s network.Stream, err error) error {
	_ = s.ResetWithError(network.StreamResourceLimitExceeded) // it is told, or gone
	return fmt.Errorf("limits: memory: %v: %w", err, fault.Full)
}

// frames is a stream of this network's own protocols: uint32be(length) before each
// message.
type frames struct {
	meter
	head [4]byte
	at   int // bytes of the head, and then of the body, that were read
	body int // length of the body, 0: the head is not whole
}

// Frames charges a stream of frames with what is read into and written from memory. A
// frame is charged as it comes, not by the length that it promises: whoever promises
// much and sends nothing takes nothing. What was read is free when the next is read.
func Frames(s network.Stream) network.Stream { return &frames{meter: newMeter(s)} }

// Read implements io.Reader.
func (f *frames) Read(b []byte) (int, error) {
	if f.body == 0 {
		return f.readHead(b)
	}
	b = b[:min(len(b), f.body-f.at)]
	if err := f.charge(f.at + len(b)); err != nil {
		return 0, err
	}
	n, err := f.Stream.Read(b)
	if f.at += n; f.at == f.body {
		f.at, f.body = 0, 0
	}
	return n, err
}

func (f *frames) readHead(b []byte) (int, error) {
	f.free()
	n, err := f.Stream.Read(b[:min(len(b), len(f.head)-f.at)])
	copy(f.head[f.at:], b[:n])
	if f.at += n; f.at == len(f.head) {
		f.at, f.body = 0, int(binary.BigEndian.Uint32(f.head[:]))
	}
	return n, err
}

// Write implements io.Writer.
func (f *frames) Write(b []byte) (int, error) {
	if err := f.Scope().ReserveMemory(len(b), f.prio); err != nil {
		return 0, full(f.Stream, err)
	}
	defer f.Scope().ReleaseMemory(len(b))
	return f.Stream.Write(b)
}

// Messages is a stream of libp2p's protocols: an unsigned varint, the length, before
// each message.
type Messages struct {
	meter
	most uint64

	length uint64 // of the next message, as far as it was read
	shift  uint
	left   uint64 // of the message that is being read
	late   bool   // it has to come in time
}

// NewMessages lets a reader see no message longer than most, and charges the stream
// with a message as soon as its length is known: readers take as much memory on a
// stranger's word. A message that has begun and does not come in time ends the stream.
func NewMessages(s network.Stream, most uint64) *Messages {
	return &Messages{meter: newMeter(s), most: most}
}

// Read implements io.Reader.
func (m *Messages) Read(b []byte) (int, error) {
	if m.between() {
		m.free()
	}
	n, err := m.Stream.Read(b)
	for at := 0; at < n; {
		if m.left > 0 {
			step := min(m.left, uint64(n-at))
			m.left -= step
			at += int(step)
			continue
		}
		c := b[at]
		at++
		m.length |= uint64(c&0x7f) << m.shift
		m.shift += 7
		if m.length > m.most || m.shift > 28 {
			_ = m.Reset() // it is at fault, or gone
			return 0, fmt.Errorf("limits: a message of more than %d bytes: %w", m.most, fault.Malformed)
		}
		if c&0x80 == 0 {
			if err := m.charge(int(m.length)); err != nil {
				return 0, err
			}
			m.left, m.length, m.shift = m.length, 0, 0
		}
	}
	if err != nil {
		return n, err
	}
	return n, m.hurry()
}

// between tells whether no message has begun.
func (m *Messages) between() bool { return m.left == 0 && m.shift == 0 }

// hurry gives a message that has begun its time, once, and takes that back when it is whole.
func (m *Messages) hurry() error {
	if m.late == !m.between() {
		return nil
	}
	m.late = !m.late
	if m.late {
		return m.SetReadDeadline(time.Now().Add(inTime))
	}
	return m.SetReadDeadline(time.Time{})
}
