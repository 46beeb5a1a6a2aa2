package nodetest

import (
	"encoding/binary"
	"time"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Seen is one thing that a spying node sees as it comes in: an operation on one of
// its streams, or bytes of gossip. From is the address prefix of who handed it in.
type Seen struct {
	At    time.Time
	From  string
	Proto string       // empty: gossip
	Op    *protocol.Op // on a stream
	Raw   []byte       // by gossip
}

// Spy calls fn with all that this node sees from now on, in each stream's order.
func (p *Port) Spy(fn func(Seen)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spy = fn
}

// Prefix is this node's address prefix, as others see it.
func (p *Port) Prefix() string { return p.prefix() }

func (p *Port) spied() func(Seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spy
}

// overheard reads along what comes in on a stream that a spy serves.
type overheard struct {
	peers.Conn
	hear func(*protocol.Op)
	buf  []byte
}

// Read implements peers.Conn.
func (o *overheard) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	o.buf = append(o.buf, b[:n]...)
	for len(o.buf) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(o.buf))
		if size > protocol.MaxFrame || len(o.buf) < size {
			break
		}
		op := new(protocol.Op)
		if wire.Unmarshal(o.buf[4:size], op, protocol.MaxFrame) == nil {
			o.hear(op)
		}
		o.buf = o.buf[size:]
	}
	return n, err
}
