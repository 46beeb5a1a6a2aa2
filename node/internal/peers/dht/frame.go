package dht

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/harkmarket/hark/protocol/fault"
)

// maxMessage is the longest message of the DHT, either way: a value and twenty nodes,
// or the providers of a place. The library would set aside 4 MiB on a stranger's word.
const maxMessage = 128 << 10

// A gate is a host that lets the DHT see no message longer than maxMessage.
type gate struct {
	host.Host
	where func(peer.ID) string
	ended func(*framed)
}

// SetStreamHandler implements host.Host.
func (g gate) SetStreamHandler(id wireproto.ID, serve network.StreamHandler) {
	g.Host.SetStreamHandler(id, func(s network.Stream) {
		f := &framed{Stream: s, from: g.where(s.Conn().RemotePeer())}
		defer g.ended(f)
		serve(f)
	})
}

// NewStream implements host.Host.
func (g gate) NewStream(ctx context.Context, p peer.ID, ids ...wireproto.ID) (network.Stream, error) {
	s, err := g.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &framed{Stream: s}, nil
}

// framed follows the lengths of messages (unsigned varints) as they are read, and
// ends the stream before a reader has seen the whole of one that is too long.
type framed struct {
	network.Stream
	from string // the other side's address prefix

	length uint64 // of the next message, as far as it was read
	shift  uint
	left   uint64 // of the message that is being read
}

// Read implements io.Reader.
func (f *framed) Read(b []byte) (int, error) {
	n, err := f.Stream.Read(b)
	for at := 0; at < n; {
		if f.left > 0 {
			step := min(f.left, uint64(n-at))
			f.left -= step
			at += int(step)
			continue
		}
		c := b[at]
		at++
		f.length |= uint64(c&0x7f) << f.shift
		f.shift += 7
		if f.length > maxMessage || f.shift > 28 {
			_ = f.Stream.Reset() // it is at fault, or gone
			return 0, fmt.Errorf("dht: a message of more than %d bytes: %w", maxMessage, fault.Malformed)
		}
		if c&0x80 == 0 {
			f.left, f.length, f.shift = f.length, 0, 0
		}
	}
	return n, err
}
