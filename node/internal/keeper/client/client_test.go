package client

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/pipe"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func TestRefusedSaysWhatTheKeeperSaid(t *testing.T) {
	for want, r := range map[string]*Refused{
		"refused: full":                  {Kind: fault.Full},
		`refused: not found: "a\nb"`:     {Kind: fault.NotFound, Text: "a\nb"},
		`refused: malformed: "stamp"`:    {Kind: fault.Malformed, Text: "stamp"},
		`refused: not found: "passport"`: {Kind: fault.NotFound, Text: NeedPassport},
	} {
		if r.Error() != want || !errors.Is(fmt.Errorf("x: %w", r), r.Kind) {
			t.Errorf("%q, want %q", r.Error(), want)
		}
		if LacksPassport(r) != (r.Text == NeedPassport) {
			t.Errorf("%v: LacksPassport is %v", r, LacksPassport(r))
		}
	}
	if LacksPassport(fault.NotFound) || LacksPassport(nil) {
		t.Error("what no keeper said is taken for its word")
	}
}

// liar is a keeper that answers with what it likes.
func liar(t *testing.T, hello protocol.Hello, answer func(*protocol.Op) protocol.Reply) (*Session, error) {
	t.Helper()
	mine, theirs := pipe.New()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = theirs.Close() }()
		if wire.WriteFrame(theirs, &hello) != nil {
			return
		}
		for {
			var op protocol.Op
			if wire.ReadFrame(theirs, &op) != nil {
				return
			}
			r := answer(&op)
			if wire.WriteFrame(theirs, &r) != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = mine.Reset(); <-done })
	return greet(t.Context(), mine, Client{Net: protocol.Hash{1}}, key.KeeperKey{1})
}

func good() protocol.Hello {
	return protocol.Hello{V: protocol.Version, Nonce: wire.NewID(), Net: protocol.Hash{1}}
}

func TestKeepersThatLie(t *testing.T) {
	wrongNet := good()
	wrongNet.Net = protocol.Hash{2}
	if _, err := liar(t, wrongNet, nil); !errors.Is(err, fault.Unsupported) {
		t.Errorf("another network: %v", err)
	}
	k := key.Generate[key.Keeper]()
	box, dep := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: dep.Public(), Letters: 1, KiB: 1, Expires: 9}
	if err := wire.SignCapability(box, &c); err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]func(*protocol.Op) protocol.Reply{
		"another number": func(op *protocol.Op) protocol.Reply { return protocol.Reply{N: op.N + 1} },
		"no receipt":     func(op *protocol.Op) protocol.Reply { return protocol.Reply{N: op.N} },
		"another's receipt": func(op *protocol.Op) protocol.Reply {
			r := protocol.DepositReceipt{Keeper: k.Public(), Box: op.Box, Letter: wire.ID(op.Letter), At: 1, Expires: 2}
			if err := wire.SignReceipt(k, &r); err != nil {
				t.Error(err)
			}
			return protocol.Reply{N: op.N, Receipt: r}
		},
	} {
		s, err := liar(t, good(), answer)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Deposit(t.Context(), Deposit{Box: box.Public(), Letter: []byte("x"), Cap: c, Key: dep})
		if err == nil {
			t.Errorf("%s: %+v is believed", name, r)
		}
	}
}

// A call that is given up ends the session: its answer would be taken for the next one's.
func TestACallThatIsGivenUp(t *testing.T) {
	stuck := make(chan struct{})
	s, err := liar(t, good(), func(op *protocol.Op) protocol.Reply { <-stuck; return protocol.Reply{N: op.N} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Peers(ctx); err == nil {
		t.Error("an answer from nowhere")
	}
	close(stuck)
	if _, err := s.Peers(t.Context()); err != nil && !errors.Is(err, fault.Offline) {
		t.Errorf("afterwards: %v", err)
	}
}
