// Package client is how a node asks keepers for their services: sessions of
// questions and answers, and streams on which letters are pushed.
//
//  1. A Client dials a keeper for one of the three protocols and reads its Hello.
//  2. A Session sends one operation at a time, signed for this keeper and this
//     stream where somebody must sign, and reads the answer. A no is a Refused; any
//     other error ends the session, and the caller opens another.
//  3. A Watch subscribes to mailboxes and hands over what the keeper pushes.
package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// What both sides of a stream hold to.
const (
	MaxOps      = 4096             // operations on one stream
	PingEvery   = 60 * time.Second // a keeper's sign of life on a stream with subscriptions
	VendorShard = 1<<16 - 1        // in an OpList: vendor ids in place of a shard's announcements
	Window      = 8                // operations that a client sends before it reads: their answers fit in what a stream buffers
	FetchPage   = 23               // announcements asked for at once: they always fit into one frame
)

// How long a client waits.
const (
	helloWait = 5 * time.Second  // for a keeper's first word
	replyWait = 20 * time.Second // for an answer, where ctx allows more
)

// A Client speaks to keepers over a port.
type Client struct {
	Port peers.Port
	Net  protocol.Hash
	// Greeted is told what a keeper says of itself; nil: nobody is.
	Greeted func(k key.KeeperKey, says wire.Aside)
}

// A Refused is a keeper's no. It unwraps to the fault.Kind that the keeper showed;
// errors of the way there are fault.Offline instead, and no Refused.
type Refused struct {
	Kind fault.Kind
	Text string
}

func (r *Refused) Error() string {
	if r.Text == "" {
		return "refused: " + r.Kind.Error()
	}
	return fmt.Sprintf("refused: %v: %.200q", r.Kind, r.Text)
}

// Unwrap gives the kind.
func (r *Refused) Unwrap() error { return r.Kind }

// NeedPassport is what a keeper answers, with fault.NotFound, to a first letter of
// a vendor whose passports it lacks.
const NeedPassport = "passport"

// LacksPassport tells whether a deposit was refused because the keeper does not
// know the vendor's passports: repeat it with FirstContact.Chain.
func LacksPassport(err error) bool {
	var r *Refused
	return errors.As(err, &r) && r.Kind == fault.NotFound && r.Text == NeedPassport
}

// What a first hop or a publishing keeper answers to a sealed post beside the door's
// reasons.
const (
	NeedPostKey = "post key" // with fault.Expired: fetch the key anew
	NeedNext    = "next"     // with fault.NotFound: this node does not know the next
)

// LacksPostKey tells whether a post was refused because it was sealed to a key that
// the keeper no longer has: repeat it under the one that it has now.
func LacksPostKey(err error) bool {
	var r *Refused
	return errors.As(err, &r) && r.Kind == fault.Expired && r.Text == NeedPostKey
}

// A Session is a stream of questions and answers, one at a time, in the order of
// the calls. After an error that is no Refused it is closed: open another.
type Session struct {
	turn   chan struct{} // holds one token: whoever has it may speak
	c      peers.Conn
	keeper key.KeeperKey
	nonce  protocol.ID
	n      uint32
	broken error
}

// Mail opens a session for deposit, collect, delete and revoke.
func (cl Client) Mail(ctx context.Context, to protocol.Keeper) (*Session, error) {
	return cl.session(ctx, to, peers.ProtoMail)
}

// Post opens a session for announcements.
func (cl Client) Post(ctx context.Context, to protocol.Keeper) (*Session, error) {
	return cl.session(ctx, to, peers.ProtoPost)
}

// Sync opens a session for lists, announcements and passports.
func (cl Client) Sync(ctx context.Context, to protocol.Keeper) (*Session, error) {
	return cl.session(ctx, to, peers.ProtoSync)
}

func (cl Client) session(ctx context.Context, to protocol.Keeper, proto string) (*Session, error) {
	c, err := cl.Port.Dial(ctx, to, proto)
	if err != nil {
		return nil, err
	}
	return greet(ctx, c, cl, to.Key)
}

// greet reads the keeper's Hello.
func greet(ctx context.Context, c peers.Conn, cl Client, keeper key.KeeperKey) (*Session, error) {
	s := &Session{turn: make(chan struct{}, 1), c: c, keeper: keeper}
	s.turn <- struct{}{}
	var hello protocol.Hello
	var says wire.Aside
	err := s.waiting(ctx, helloWait, func() (err error) {
		hello, says, err = wire.ReadHello(c)
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	if hello.V != protocol.Version {
		return nil, s.fail(fmt.Errorf("client: it is of another version: %w", fault.Unsupported))
	}
	if hello.Net != cl.Net {
		return nil, s.fail(fmt.Errorf("client: %w", &peers.OtherNetwork{Net: hello.Net}))
	}
	s.nonce = hello.Nonce
	if cl.Greeted != nil {
		cl.Greeted(keeper, says)
	}
	if protocol.Edition > 0 {
		return s, s.askLater(ctx)
	}
	return s, nil
}

// askLater asks, as a program of a step to come may, for an operation that this one does
// not know. It is told so, and goes on.
func (s *Session) askLater(ctx context.Context) error {
	_, err := s.ask(ctx, &protocol.Op{Kind: 200}, unsigned)
	var no *Refused
	if errors.As(err, &no) && no.Kind == fault.Unsupported {
		return nil
	}
	return err
}

// waiting runs one exchange under a deadline; ctx ends it at once.
func (s *Session) waiting(ctx context.Context, most time.Duration, do func() error) error {
	by := time.Now().Add(most)
	if d, ok := ctx.Deadline(); ok && d.Before(by) {
		by = d
	}
	if err := s.c.SetDeadline(by); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.c.Reset() })
	defer stop()
	return do()
}

// fail closes the session for good. What went wrong on the way counts as Offline.
func (s *Session) fail(err error) error {
	_ = s.c.Reset() // it is of no use any more
	if fault.Of(err) == fault.Internal {
		err = fmt.Errorf("client: %v: %w", err, fault.Offline)
	}
	s.broken = err
	return err
}

// Close ends the session; a call in progress fails.
func (s *Session) Close() error { return s.c.Close() }

// Keeper is whom the session is with.
func (s *Session) Keeper() key.KeeperKey { return s.keeper }

// ask sends one operation and reads its answer.
func (s *Session) ask(ctx context.Context, op *protocol.Op, sign func(*protocol.Op) error) (*protocol.Reply, error) {
	replies, refused, err := s.askAll(ctx, []*protocol.Op{op}, sign)
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return replies[0], nil
}

// askAll sends operations at once and reads their answers: one round trip. An
// operation that was refused has no answer; refused is the first such.
func (s *Session) askAll(ctx context.Context, ops []*protocol.Op, sign func(*protocol.Op) error) (replies []*protocol.Reply, refused *Refused, err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("client: %w", ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()
	if s.broken != nil {
		return nil, nil, fmt.Errorf("client: session ended: %v: %w", s.broken, fault.Offline)
	}
	if s.n+uint32(len(ops)) > MaxOps {
		return nil, nil, s.fail(fmt.Errorf("client: session used up: %w", fault.Offline))
	}
	for i, op := range ops {
		op.N = s.n + uint32(i) + 1
		if err := sign(op); err != nil {
			return nil, nil, err
		}
	}
	s.n += uint32(len(ops))
	replies = make([]*protocol.Reply, len(ops))
	err = s.waiting(ctx, replyWait, func() error {
		for _, op := range ops {
			if err := wire.WriteFrame(s.c, op); err != nil {
				return err
			}
		}
		for i, op := range ops {
			reply := &protocol.Reply{}
			if err := wire.ReadFrame(s.c, reply); err != nil {
				return err
			}
			switch {
			case reply.N != op.N:
				return fmt.Errorf("client: answer %d to operation %d: %w", reply.N, op.N, fault.Malformed)
			case reply.Fault == 0:
				replies[i] = reply
			case refused == nil:
				refused = &Refused{fault.Kind(reply.Fault - 1), reply.Text}
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, s.fail(err)
	}
	return replies, refused, nil
}

// by signs with k.
func by[P key.Purpose](s *Session, k key.Private[P]) func(*protocol.Op) error {
	return func(op *protocol.Op) error { return wire.SignOp(k, op, s.keeper, s.nonce) }
}

// unsigned is for operations that nobody signs.
func unsigned(*protocol.Op) error { return nil }

// A Deposit is one letter for one mailbox, under a capability with its depositor
// key, or with a first contact made for this very keeper.
type Deposit struct {
	Box    key.MailboxKey
	Letter []byte
	Cap    protocol.Capability
	Key    key.Private[key.Depositor]
	First  protocol.FirstContact
	Hold   protocol.Second
}

// Deposit leaves a letter and returns the keeper's receipt, checked: signed by this
// keeper for this box and letter. See LacksPassport.
func (s *Session) Deposit(ctx context.Context, d Deposit) (protocol.DepositReceipt, error) {
	op := &protocol.Op{Kind: protocol.OpDeposit, Box: d.Box, Letter: d.Letter, Cap: d.Cap, First: d.First, Hold: d.Hold}
	reply, err := s.ask(ctx, op, by(s, d.Key))
	if err != nil {
		return protocol.DepositReceipt{}, err
	}
	r := reply.Receipt
	if err := wire.CheckReceipt(r); err != nil {
		return protocol.DepositReceipt{}, err
	}
	if r.Keeper != s.keeper || r.Box != d.Box || r.Letter != wire.ID(d.Letter) {
		return protocol.DepositReceipt{}, fmt.Errorf("client: receipt for another deposit: %w", fault.Malformed)
	}
	return r, nil
}

// Collect reads a page of a mailbox, oldest first. after is the hash of the last
// letter of the page before; more says that there is another page.
func (s *Session) Collect(ctx context.Context, box key.Private[key.Mailbox], after protocol.Hash) (letters [][]byte, more bool, err error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpCollect, Box: box.Public(), After: after}, by(s, box))
	if err != nil {
		return nil, false, err
	}
	return reply.Letters, reply.More, nil
}

// Delete removes letters and returns those that were there. At most 256 at once.
func (s *Session) Delete(ctx context.Context, box key.Private[key.Mailbox], hashes []protocol.Hash) ([]protocol.Hash, error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpDelete, Box: box.Public(), Hashes: hashes}, by(s, box))
	if err != nil {
		return nil, err
	}
	return reply.Hashes, nil
}

// Revoke refuses all further deposits under a capability.
func (s *Session) Revoke(ctx context.Context, box key.Private[key.Mailbox], capability protocol.ID) error {
	_, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpRevoke, Box: box.Public(), CapID: capability}, by(s, box))
	return err
}

// Announce hands over an announcement to be published by this keeper. It returns
// when the keeper has it on disk. One that is known there already is no error.
func (s *Session) Announce(ctx context.Context, raw []byte) error {
	_, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPost, Data: raw}, unsigned)
	return err
}

// Post hands over what wire.SealPost sealed to next, which this keeper hands on; or
// opens, where it is next itself. The answer is the publishing node's, as far as
// this keeper tells the truth. It comes when that one has it on disk, or, where it
// shall be held, before.
func (s *Session) Post(ctx context.Context, sealed []byte, next protocol.Keeper) error {
	_, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPost, Data: sealed, Next: next}, unsigned)
	return err
}

// PostKey asks for the key that posts to a keeper are sealed to: this one's, or
// another's that it knows. The answer is checked: it is that keeper's own word.
func (s *Session) PostKey(ctx context.Context, of key.KeeperKey, now protocol.Second) (protocol.PostKey, error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPostKey, Next: protocol.Keeper{Key: of}}, unsigned)
	if err != nil {
		return protocol.PostKey{}, err
	}
	if err := wire.CheckPostKey(reply.PostKey, now); err != nil {
		return protocol.PostKey{}, err
	}
	if reply.PostKey.Keeper != of {
		return protocol.PostKey{}, fmt.Errorf("client: post key of another keeper: %w", fault.Malformed)
	}
	return reply.PostKey, nil
}

// List gives a page of the ids of announcements that a shard holds, withdrawals
// too, in ascending order after after.
func (s *Session) List(ctx context.Context, shard uint16, after protocol.Hash) (ids []protocol.Hash, more bool, err error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpList, Shard: shard, After: after}, unsigned)
	if err != nil {
		return nil, false, err
	}
	return reply.Hashes, reply.More, nil
}

// Vendors gives a page of the vendors whose passports the keeper has.
func (s *Session) Vendors(ctx context.Context, after protocol.VendorID) (ids []protocol.VendorID, more bool, err error) {
	return s.List(ctx, VendorShard, after)
}

// Fetch reads announcements by id, at most FetchPage a page and Window pages in one
// round trip. What the keeper no longer has is missing from a page. Pages that were
// refused are nil, and the first refusal is told.
func (s *Session) Fetch(ctx context.Context, pages ...[]protocol.Hash) (raws [][][]byte, refused *Refused, err error) {
	ops := make([]*protocol.Op, 0, len(pages))
	for _, ids := range pages {
		ops = append(ops, &protocol.Op{Kind: protocol.OpFetch, Hashes: ids})
	}
	replies, refused, err := s.askAll(ctx, ops, unsigned)
	for _, r := range replies {
		var page [][]byte
		if r != nil {
			page = append([][]byte{}, r.Letters...)
		}
		raws = append(raws, page)
	}
	return raws, refused, err
}

// Ranges asks about ranges of a shard's ids: at most Window operations
// protocol.OpRanges in one round trip. All are answered, or there is an error.
func (s *Session) Ranges(ctx context.Context, ops ...*protocol.Op) ([]*protocol.Reply, error) {
	replies, refused, err := s.askAll(ctx, ops, unsigned)
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// Passports reads a vendor's chain, first to latest.
func (s *Session) Passports(ctx context.Context, vendor protocol.VendorID) ([][]byte, error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPassport, Vendor: vendor}, unsigned)
	if err != nil {
		return nil, err
	}
	return reply.Letters, nil
}

// Publish hands over a vendor's chain, to be kept and passed on.
func (s *Session) Publish(ctx context.Context, chain [][]byte) error {
	for _, raw := range chain[:min(len(chain), protocol.MaxPassports)] {
		if _, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPublish, Data: raw}, unsigned); err != nil {
			return err
		}
	}
	return nil
}

// Peers asks for public nodes.
func (s *Session) Peers(ctx context.Context) ([]protocol.Keeper, error) {
	reply, err := s.ask(ctx, &protocol.Op{Kind: protocol.OpPeers}, unsigned)
	if err != nil {
		return nil, err
	}
	return reply.Keepers, nil
}

// Exchange is the question of peers.Config. It needs no port: the stream is there.
func (cl Client) Exchange() peers.Exchange {
	return func(ctx context.Context, c peers.Conn, at key.KeeperKey) ([]protocol.Keeper, error) {
		s, err := greet(ctx, c, cl, at)
		if err != nil {
			return nil, err
		}
		return s.Peers(ctx)
	}
}
