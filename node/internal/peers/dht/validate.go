package dht

import (
	"bytes"
	"fmt"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// announcements judges values of /hark-ann/<context id>: one announcement, by that
// context's key. It is a record.Validator.
//
// The door's questions are asked of it, but for those whose answer depends on what
// this node happens to know: a renewal or withdrawal may be free of a stamp.
type announcements struct {
	door check.Door
	now  func() time.Time
}

// Validate implements record.Validator.
func (v announcements) Validate(key string, value []byte) error {
	if len(value) > protocol.MaxAnnouncement {
		return fmt.Errorf("dht: %d bytes of an announcement: %w", len(value), fault.Malformed)
	}
	id, err := readKey(spaceAnn, key)
	if err != nil {
		return err
	}
	draft, err := wire.ReadAnnouncement(value)
	if err != nil {
		return fmt.Errorf("dht: %w", err)
	}
	a := draft.A()
	if protocol.Hash(a.ContextID()) != id {
		return fmt.Errorf("dht: an announcement of another context: %w", fault.Denied)
	}
	now := protocol.Second(v.now().Unix())
	if _, verdict, why := v.door.Announcement(value, -1, "", now); verdict != check.Pass {
		return fmt.Errorf("dht: announcement: %s: %w", why, fault.Denied)
	}
	if bare := (a.Admission == protocol.Admission{}); bare && a.Seq == 1 && a.Status == protocol.Open && !v.free() {
		return fmt.Errorf("dht: announcement: %s: %w", check.Admission, fault.Denied)
	}
	return nil
}

// free tells whether the network asks for no stamp.
func (v announcements) free() bool {
	for _, l := range v.door.Lanes {
		if l.Lane == protocol.LaneNone {
			return true
		}
	}
	return false
}

// Select implements record.Validator: withdrawn before open, the higher seq, the lower
// hash; of equal ones the first.
func (v announcements) Select(_ string, values [][]byte) (int, error) {
	var best *wire.Draft
	var taken []byte
	at := -1
	for i, value := range values {
		if len(value) > protocol.MaxAnnouncement || at >= 0 && bytes.Equal(value, taken) {
			continue
		}
		d, err := wire.ReadAnnouncement(value)
		if err != nil {
			continue
		}
		if best == nil || check.Before(d.A().Status, d.A().Seq, d.ID(), best.A().Status, best.A().Seq, best.ID()) {
			best, taken, at = d, value, i
		}
	}
	if at < 0 {
		return 0, fmt.Errorf("dht: none of %d values is an announcement: %w", len(values), fault.Malformed)
	}
	return at, nil
}

// stranger is the memory of a node that knows the version before of everything, long
// ago: what may be free of a stamp to anybody is free to it.
type stranger struct{}

// Seen implements check.Memory.
func (stranger) Seen(protocol.Hash) bool { return false }

// Precedence implements check.Memory.
func (stranger) Precedence(protocol.ContextID) (uint64, protocol.Status, protocol.Hash, bool) {
	return 0, protocol.Open, protocol.Hash{}, true
}

// Created implements check.Memory.
func (stranger) Created(protocol.ContextID) protocol.Second { return 0 }

// passports judges values of /hark-passport/<vendor id>: the vendor's whole chain of
// passports. It is a record.Validator.
type passports struct {
	net protocol.Hash
	now func() time.Time
}

// Validate implements record.Validator.
func (v passports) Validate(key string, value []byte) error {
	id, err := readKey(spacePassport, key)
	if err != nil {
		return err
	}
	c, err := openPassports(value, v.net)
	switch {
	case err != nil:
		return err
	case c.Vendor() != id:
		return fmt.Errorf("dht: passports of another vendor: %w", fault.Denied)
	case c.Latest().Expires > 0 && c.Latest().Expires <= protocol.Second(v.now().Unix()):
		return fmt.Errorf("dht: passports of %s: %w", id.Short(), fault.Expired)
	}
	return nil
}

// openPassports checks the size first: a chain costs one signature for each passport.
func openPassports(value []byte, net protocol.Hash) (wire.Chain, error) {
	raws, err := wire.SplitChain(value)
	if err != nil {
		return wire.Chain{}, err
	}
	return wire.OpenChain(raws, net)
}

// Select implements record.Validator: the longer chain, of equally long ones that of
// the lower latest hash; of equal ones the first. It relies on Validate.
func (v passports) Select(_ string, values [][]byte) (int, error) {
	var best [][]byte
	var taken []byte
	at := -1
	for i, value := range values {
		raws, err := wire.SplitChain(value)
		if err != nil || at >= 0 && bytes.Equal(value, taken) {
			continue
		}
		if best == nil || longer(raws, best) {
			best, taken, at = raws, value, i
		}
	}
	if at < 0 {
		return 0, fmt.Errorf("dht: none of %d values is a chain of passports: %w", len(values), fault.Malformed)
	}
	return at, nil
}

func longer(a, b [][]byte) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	x, y := wire.ID(a[len(a)-1]), wire.ID(b[len(b)-1])
	return bytes.Compare(x[:], y[:]) < 0
}
