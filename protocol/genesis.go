package protocol

import "github.com/harkmarket/hark/crypto/key"

// A Genesis document defines a network. Its SHA-256 is the network's id; nobody
// owns or signs it, and another document is another network. Hints at where nodes
// may be found travel beside it, never in it.
type Genesis struct {
	V          uint8      `cbor:"1,keyasint,omitempty"`
	Name       string     `cbor:"2,keyasint,omitempty"`
	Shards     uint16     `cbor:"3,keyasint,omitempty"` // a power of two, 1 to 1024
	Categories Hash       `cbor:"4,keyasint,omitzero"`  // the category list
	Lanes      []LaneRule `cbor:"5,keyasint,omitempty"`
	Terms      Hash       `cbor:"6,keyasint,omitzero"` // the roster of terms
	Duties     Duties     `cbor:"7,keyasint,omitzero"`
	Salt       ID         `cbor:"8,keyasint,omitzero"` // tells two networks of equal rules apart
}

// A LaneRule opens an admission lane: for lane 1 Effort is the least number of
// leading zero bits.
type LaneRule struct {
	Lane   uint8 `cbor:"1,keyasint,omitempty"` // an empty map opens lane 0
	Effort uint8 `cbor:"2,keyasint,omitempty"`
}

// Duties are deadlines and retentions, in seconds.
type Duties struct {
	Deletion Second `cbor:"1,keyasint,omitempty"` // from Revocation to Deletion
	Right    Second `cbor:"2,keyasint,omitempty"` // from Right to Answer
	Letters  Second `cbor:"3,keyasint,omitempty"` // longest life of a letter at a keeper
	Boxes    Second `cbor:"4,keyasint,omitempty"` // how long a duty mailbox is read after the grant ended
	Lease    Second `cbor:"5,keyasint,omitempty"` // default lease
}

// DefaultDuties are the deadlines that a new network starts from: deletion 7 days,
// rights 30 days (POPIA regulations of April 2025), letters 30 days, duty
// mailboxes 400 days, leases 24 hours.
var DefaultDuties = Duties{Deletion: 7 * Day, Right: 30 * Day, Letters: 30 * Day, Boxes: 400 * Day, Lease: Day}

// Drawn gives the two shards that a public node carries by its key, whatever else it
// follows. They may be one.
func Drawn(k key.KeeperKey, shards uint16) [2]uint16 {
	return [2]uint16{uint16(k[0]) % shards, uint16(k[1]) % shards}
}
