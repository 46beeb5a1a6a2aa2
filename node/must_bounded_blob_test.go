package node_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/blobs"
)

// blobFloods are done to what a keeper keeps of large values. Small copies count as one
// chunk each.
var blobFloods = []flood{
	{bound: "blobs.kept", limits: node.Limits{Blobs: blobs.Policy{Kept: 4}}, refused: fault.Full, attack: copies(6, false, false), after: keepsForHer},
	{bound: "blobs.kept-per-box", limits: node.Limits{Blobs: blobs.Policy{KeptPerBox: 3}}, refused: fault.Full, attack: copies(5, true, false), after: keepsForHer},
	{bound: "blobs.bytes", limits: node.Limits{Blobs: blobs.Policy{Bytes: 5 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(7, false, false), after: keepsForHer},
	{bound: "blobs.bytes-per-box", limits: node.Limits{Blobs: blobs.Policy{BytesPerBox: 3 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(5, true, false), after: keepsForHer},
	{bound: "blobs.bytes-per-prefix", limits: node.Limits{Blobs: blobs.Policy{BytesPerPrefix: 3 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(5, false, true), after: keepsForHer},
	{bound: "blobs.tombs", limits: node.Limits{Blobs: blobs.Policy{Tombs: 4}}, attack: graves(6, false), after: keepsForHer},
	{bound: "blobs.tombs-per-box", limits: node.Limits{Blobs: blobs.Policy{TombsPerBox: 3}}, attack: graves(6, true), after: keepsForHer},
}

// blob opens a session from an address prefix of its own.
func (f *field) blob() *keeper.Session {
	f.Helper()
	s, err := f.client().Blob(f.Context(), f.target.Port.Self())
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// leave puts a small copy of nothing.
func leaveCopy(t *testing.T, s *keeper.Session, box key.Private[key.Mailbox]) (protocol.Hash, error) {
	raw, id := bytes.Repeat([]byte{1}, 100), wire.NewID()
	copy(raw, id[:])
	token := large.Token(key.NewSecret())
	op := protocol.BlobOp{Digest: sha256.Sum256(raw), Size: 100, Token: sha256.Sum256(token[:]), Expires: second() + 3*protocol.Minute}
	return op.Digest, s.PutCopy(t.Context(), box, op, func(uint32) ([]byte, error) { return raw, nil })
}

// copies leaves so many, in one mailbox or each in another, from one address prefix or each
// from another.
func copies(n int, oneBox, onePrefix bool) func(*field) error {
	return func(f *field) (err error) {
		s, box := f.blob(), key.Generate[key.Mailbox]()
		for range n {
			if !onePrefix {
				s = f.blob()
			}
			if !oneBox {
				box = key.Generate[key.Mailbox]()
			}
			if _, err = leaveCopy(f.T, s, box); err != nil && !errors.Is(err, fault.Full) {
				f.Fatal(err)
			}
		}
		return err
	}
}

// graves deletes copies that are there and some that never were.
func graves(n int, oneBox bool) func(*field) error {
	return func(f *field) error {
		s, box := f.blob(), key.Generate[key.Mailbox]()
		for i := range n {
			if !oneBox {
				box = key.Generate[key.Mailbox]()
			}
			digest, err := leaveCopy(f.T, s, box)
			if err == nil {
				err = s.DeleteCopies(f.Context(), box, digest, protocol.Hash{1, byte(i)})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// keepsForHer deletes nothing of others and is of use again once there is room: of the
// floods that leave none, once what they left has expired.
func keepsForHer(f *field) {
	s, box := f.blob(), key.Generate[key.Mailbox]()
	if _, err := leaveCopy(f.T, s, box); err == nil {
		return
	}
	f.w.Until(10*time.Minute, "room for somebody else", func() (bool, error) {
		_, err := leaveCopy(f.T, f.blob(), box)
		if errors.Is(err, fault.Full) {
			return false, nil
		}
		return err == nil, err
	})
}
