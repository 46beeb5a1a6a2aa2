package market

import (
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

// A CopyState says how far a copy has come.
type CopyState uint8

// The states of a copy. The numbers are on disk.
const (
	CopyWanted  CopyState = 1 // to be laid down at its keepers
	CopyPlaced  CopyState = 2 // lies there
	CopyTaken   CopyState = 3 // the vendor has it: the keepers need it no more
	CopyLeaving CopyState = 4 // its key is destroyed, and the keepers are to delete it
)

// A Copy is one large value of a customer as one vendor gets it: sealed under a key of its
// own, at keepers. The bytes are kept nowhere here: they follow from value and key.
type Copy struct {
	ID        protocol.Hash // random
	Grant     protocol.GrantID
	Field     protocol.FieldName
	Version   uint64
	Size      uint32 // of the value
	Media     string
	Key       protocol.Shared `cbor:",omitzero"` // zero once it is destroyed
	Digest    protocol.Hash   // zero until it was measured; nothing of it leaves before that
	Seed      protocol.Shared `cbor:",omitzero"` // of the mailbox that it belongs to
	Keepers   []protocol.Keeper
	At        []protocol.Keeper // those that have all of it
	State     CopyState
	Gone      bool // the keepers have deleted it
	Confirmed bool // the vendor said that it has it, since it was named last
	NamedMS   int64
	SinceMS   int64
	Expires   protocol.Second // at the keepers
}

// A Parcel is work on one large value that is still to be done: on a customer's copy what
// its state asks for, or, at a vendor, to fetch one.
type Parcel struct {
	Grant  protocol.GrantID
	ID     protocol.Hash // of the Copy, or the digest of what is to be fetched
	Fetch  bool
	Tries  int
	NextMS int64
}

const (
	copies  table[Copy]   = "k/f/" // grant ‖ id
	parcels table[Parcel] = "k/w/" // grant ‖ id
)

func under(g protocol.GrantID, id protocol.Hash) []byte { return append(g[:], id[:]...) }

// PutCopy keeps a copy.
func PutCopy(tx kv.Tx, c Copy) error { return copies.put(tx, under(c.Grant, c.ID), c) }

// GetCopy finds one; fault.NotFound.
func GetCopy(r kv.Reader, g protocol.GrantID, id protocol.Hash) (Copy, error) {
	return copies.get(r, under(g, id))
}

// DeleteCopy forgets one, and the work on it.
func DeleteCopy(tx kv.Tx, c Copy) error {
	if err := tx.Delete(copies.key(under(c.Grant, c.ID))); err != nil {
		return err
	}
	return DeleteParcel(tx, c.Grant, c.ID)
}

// CopiesOf gives the copies under one grant.
func CopiesOf(r kv.Reader, g protocol.GrantID) (list []Copy, err error) {
	err = copies.scan(r, g[:], nil, func(_ []byte, c Copy) (bool, error) {
		list = append(list, c)
		return true, nil
	})
	return list, err
}

// EachCopy calls fn for every copy.
func EachCopy(r kv.Reader, fn func(Copy) (bool, error)) error {
	return copies.scan(r, nil, nil, func(_ []byte, c Copy) (bool, error) { return fn(c) })
}

// PutParcel keeps what is still to be done.
func PutParcel(tx kv.Tx, p Parcel) error { return parcels.put(tx, under(p.Grant, p.ID), p) }

// GetParcel finds it; fault.NotFound once it is done.
func GetParcel(r kv.Reader, g protocol.GrantID, id protocol.Hash) (Parcel, error) {
	return parcels.get(r, under(g, id))
}

// DeleteParcel says that it is done.
func DeleteParcel(tx kv.Tx, g protocol.GrantID, id protocol.Hash) error {
	return tx.Delete(parcels.key(under(g, id)))
}

// EachParcel calls fn for all that is still to be done.
func EachParcel(r kv.Reader, fn func(Parcel) (bool, error)) error {
	return parcels.scan(r, nil, nil, func(_ []byte, p Parcel) (bool, error) { return fn(p) })
}
