package keeper

import (
	"bytes"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Misbehaviour is a promise that a keeper breaks on purpose, so that a
// demonstration or an attack test can show that the others notice.
type Misbehaviour string

// The misbehaviours of a keeper. Others are none of its business.
const (
	WithholdMail Misbehaviour = "withhold-mail" // signs receipts for letters and throws them away
	FlipBits     Misbehaviour = "flip-bits"     // hands out letters with one bit changed
)

// pretend signs a receipt for a letter that is not kept.
func (m *mail) pretend(op *protocol.Op, now protocol.Second) (protocol.Reply, error) {
	r := protocol.DepositReceipt{Keeper: m.self, Box: op.Box, Letter: wire.ID(op.Letter), At: now, Expires: now + m.cfg.Duties.Letters}
	err := wire.SignReceipt(m.cfg.Key, &r)
	return protocol.Reply{Receipt: r}, err
}

// given are letters as this keeper hands them out.
func (m Misbehaviour) given(letters [][]byte) [][]byte {
	if m != FlipBits {
		return letters
	}
	out := make([][]byte, len(letters))
	for i, raw := range letters {
		out[i] = bytes.Clone(raw)
		out[i][len(raw)-1] ^= 1
	}
	return out
}
