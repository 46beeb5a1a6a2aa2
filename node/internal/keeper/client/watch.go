package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Watch is a stream on which a keeper pushes the letters of mailboxes. One
// goroutine calls Recv in a loop; any may call Subscribe.
type Watch struct {
	write chan struct{} // one Subscribe at a time; no mutex, as it waits for the other side
	s     *Session
	mu    sync.Mutex
	asked map[uint32]key.MailboxKey // subscriptions not answered yet
}

// A Push is what Recv returns: letters of Box, or, with Err, the keeper's refusal to
// watch Box.
type Push struct {
	Box     key.MailboxKey
	Letters [][]byte
	Err     error
}

// Watch opens a stream for subscriptions.
func (cl Client) Watch(ctx context.Context, to protocol.Keeper) (*Watch, error) {
	s, err := cl.session(ctx, to, peers.ProtoMail)
	if err != nil {
		return nil, err
	}
	return &Watch{write: make(chan struct{}, 1), s: s, asked: map[uint32]key.MailboxKey{}}, nil
}

// Subscribe asks for all letters of a mailbox, those there and those to come, oldest
// first. At most 16 that were pushed and not deleted are under way at once: delete
// what was dealt with, by a Session. Whether the keeper agrees comes through Recv.
func (w *Watch) Subscribe(box key.Private[key.Mailbox]) error {
	w.write <- struct{}{} // the numbers go out in order; mu is not held while a slow keeper makes us wait
	defer func() { <-w.write }()
	if w.s.n >= MaxOps {
		return fmt.Errorf("client: stream used up: %w", fault.Offline)
	}
	w.s.n++
	op := &protocol.Op{N: w.s.n, Kind: protocol.OpSubscribe, Box: box.Public()}
	if err := wire.SignOp(box, op, w.s.keeper, w.s.nonce); err != nil {
		return err
	}
	if err := w.s.c.SetWriteDeadline(time.Now().Add(replyWait)); err != nil {
		return w.end(err)
	}
	w.mu.Lock()
	w.asked[op.N] = op.Box
	w.mu.Unlock()
	if err := wire.WriteFrame(w.s.c, op); err != nil {
		return w.end(err)
	}
	return nil
}

// Recv waits for the next push. An error ends the stream.
func (w *Watch) Recv(ctx context.Context) (Push, error) {
	stop := context.AfterFunc(ctx, func() { _ = w.s.c.Reset() })
	defer stop()
	for {
		// The keeper says at least that it is there.
		if err := w.s.c.SetReadDeadline(time.Now().Add(2*PingEvery + replyWait)); err != nil {
			return Push{}, w.end(err)
		}
		var reply protocol.Reply
		if err := wire.ReadFrame(w.s.c, &reply); err != nil {
			return Push{}, w.end(err)
		}
		p, ok, err := w.take(&reply)
		if err != nil {
			return Push{}, w.end(err)
		}
		if ok {
			return p, nil
		}
	}
}

// take turns a frame into a push, unless it is a mere answer or sign of life.
func (w *Watch) take(reply *protocol.Reply) (p Push, ok bool, err error) {
	if reply.N == 0 {
		return Push{Box: reply.Box, Letters: reply.Letters}, len(reply.Letters) > 0, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	box, asked := w.asked[reply.N]
	if !asked {
		return Push{}, false, fmt.Errorf("client: answer to an operation %d that was not sent: %w", reply.N, fault.Malformed)
	}
	delete(w.asked, reply.N)
	if reply.Fault == 0 {
		return Push{}, false, nil
	}
	return Push{Box: box, Err: &Refused{fault.Kind(reply.Fault - 1), reply.Text}}, true, nil
}

func (w *Watch) end(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.fail(err)
}

// Close ends the stream; Recv returns an error.
func (w *Watch) Close() error { return w.s.c.Reset() }
