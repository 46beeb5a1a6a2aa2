package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Chain is a vendor's passports, first to latest, each signed by the key to which
// the one before it committed. It comes only from OpenChain.
type Chain struct{ links []Signed }

// NextRoot is the commitment to a root key: SHA-256(LP("hark/1/next-root") ‖ key).
func NextRoot(k key.RootKey) protocol.Hash { return seal.Digest(seal.LabelNextRoot, k[:]) }

// OpenChain reads passport envelopes, first to latest, at most MaxPassports. The
// first names no vendor and no predecessor and has seq 1; each later one names the
// vendor (the first one's hash) and its predecessor, counts seq on by one, and is
// signed by the root key that the predecessor committed to. Anything else is
// fault.Denied; another network too.
func OpenChain(raws [][]byte, net protocol.Hash) (Chain, error) {
	if len(raws) == 0 || len(raws) > protocol.MaxPassports {
		return Chain{}, fmt.Errorf("wire: chain of %d passports: %w", len(raws), fault.Malformed)
	}
	var c Chain
	for i, raw := range raws {
		s, err := Open(raw)
		if err != nil {
			return Chain{}, err
		}
		p, err := As[*protocol.Passport](s)
		if err != nil {
			return Chain{}, err
		}
		if p.Net != net || !c.follows(p) {
			return Chain{}, fmt.Errorf("wire: passport %d of the chain does not follow: %w", i+1, fault.Denied)
		}
		c.links = append(c.links, s)
	}
	return c, nil
}

// JoinChain writes a chain's envelopes as one value of the DHT: LP of each in turn.
// fault.Full where they have more than MaxChainValue bytes.
func JoinChain(c Chain) ([]byte, error) {
	value := seal.LP(c.Raws()...)
	if len(value) > protocol.MaxChainValue {
		return nil, fmt.Errorf("wire: %d bytes of passports, at most %d: %w", len(value), protocol.MaxChainValue, fault.Full)
	}
	return value, nil
}

// SplitChain takes such a value apart, for OpenChain: at most MaxChainValue bytes and
// MaxPassports envelopes, none of them empty, and nothing after the last.
func SplitChain(value []byte) (raws [][]byte, err error) {
	if len(value) == 0 || len(value) > protocol.MaxChainValue {
		return nil, fmt.Errorf("wire: a chain of %d bytes: %w", len(value), fault.Malformed)
	}
	for rest := value; len(rest) > 0; {
		if len(rest) < 4 || len(raws) == protocol.MaxPassports {
			return nil, fmt.Errorf("wire: a chain that does not end with a passport: %w", fault.Malformed)
		}
		size := uint64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; size == 0 || size > uint64(len(rest)) {
			return nil, fmt.Errorf("wire: a passport of %d bytes in a chain: %w", size, fault.Malformed)
		}
		raws, rest = append(raws, rest[:size:size]), rest[size:]
	}
	return raws, nil
}

// follows tells whether p may stand at the end of the chain.
func (c Chain) follows(p *protocol.Passport) bool {
	if len(c.links) == 0 {
		return p.Seq == 1
	}
	last := c.Latest()
	return p.Vendor == c.Vendor() && p.Re == c.LatestHash() && p.Seq == last.Seq+1 && NextRoot(p.Root) == last.Next
}

// IsZero tells whether there is no passport.
func (c Chain) IsZero() bool { return len(c.links) == 0 }

// Len is the number of passports.
func (c Chain) Len() int { return len(c.links) }

// Vendor is the vendor's id: the hash of the first passport. Zero for no chain.
func (c Chain) Vendor() protocol.VendorID {
	if len(c.links) == 0 {
		return protocol.VendorID{}
	}
	return c.links[0].ID()
}

// Latest gives the passport that holds now, nil for no chain. It is not to be changed.
func (c Chain) Latest() *protocol.Passport { return c.passport(len(c.links) - 1) }

func (c Chain) passport(i int) *protocol.Passport {
	if i < 0 {
		return nil
	}
	p, _ := As[*protocol.Passport](c.links[i]) // OpenChain saw to it
	return p
}

// At gives the i-th passport, the first being 0, and the hash of its envelope.
func (c Chain) At(i int) (protocol.Hash, *protocol.Passport) {
	p := c.passport(i)
	if p == nil {
		return protocol.Hash{}, &protocol.Passport{}
	}
	return c.links[i].ID(), p
}

// LatestHash is the hash of the latest passport's envelope.
func (c Chain) LatestHash() protocol.Hash {
	if len(c.links) == 0 {
		return protocol.Hash{}
	}
	return c.links[len(c.links)-1].ID()
}

// Raws gives the envelopes, first to latest. They are not to be changed.
func (c Chain) Raws() [][]byte {
	raws := make([][]byte, len(c.links))
	for i, s := range c.links {
		raws[i] = s.Raw()
	}
	return raws
}

// Inbox finds the inbox with that mailbox, if it may be written to at that moment:
// that of the latest passport, and that of an earlier one as long as an operational
// key with the role to open inboxes holds that no passport before it listed.
func (c Chain) Inbox(box key.MailboxKey, at protocol.Second) (protocol.Inbox, bool) {
	for i := len(c.links) - 1; i >= 0; i-- {
		p := c.passport(i)
		if p.Inbox.Box != box {
			continue
		}
		if i == len(c.links)-1 {
			return p.Inbox, true
		}
		return p.Inbox, slices.ContainsFunc(p.Operational, func(o protocol.Operational) bool {
			old := i > 0 && slices.ContainsFunc(c.passport(i-1).Operational, func(q protocol.Operational) bool { return q.Key == o.Key })
			return !old && c.Operational(o.Key, protocol.RoleInbox, at)
		})
	}
	return protocol.Inbox{}, false
}

// Inboxes are the mailboxes of all inboxes, first to latest.
func (c Chain) Inboxes() []key.MailboxKey {
	var boxes []key.MailboxKey
	for i := range c.links {
		boxes = append(boxes, c.passport(i).Inbox.Box)
	}
	return boxes
}

// Operational tells whether k may do what role says at that moment: the latest
// passport that lists k decides, so that a vendor can shorten a key's dates but a
// key that a newer passport merely leaves out keeps those that it had. A key counts up
// to protocol.MaxSkew before it begins: whoever asks may have a clock that is behind.
func (c Chain) Operational(k key.OperationalKey, role protocol.Role, at protocol.Second) bool {
	for i := len(c.links) - 1; i >= 0; i-- {
		list := c.passport(i).Operational
		if n := slices.IndexFunc(list, func(o protocol.Operational) bool { return o.Key == k }); n >= 0 {
			o := list[n]
			return role != 0 && o.Roles&role == role && o.From <= at+protocol.MaxSkew && at < o.Until
		}
	}
	return false
}
