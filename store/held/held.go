// Package held keeps what a vendor holds of its customers, one record per grant:
// the values that were disclosed, large ones among them, the need, and the keys that came
// with them. So a
// vendor can say at any moment what it holds, of which grant and until when, and
// after a Deletion that nothing is left.
//
// The store must be the private, sealed one. A record's key is its grant id, a
// hash that names nobody. Everything happens inside the caller's transaction.
//
// A deleted record is gone for every reader at once. Its sealed bytes may stay in
// the files of the store until these are compacted (see package kv); they open
// only with this node's own record key.
package held

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// MaxRecords bounds what is held; a record for one more grant gives fault.Full.
const MaxRecords = 100_000

const (
	prefix   = "h/r/"
	countKey = "h/n"
	bytesKey = "h/b"
)

// A Record is all that is held under one grant.
type Record struct {
	Grant       protocol.GrantID      `cbor:"1,keyasint"`
	Context     protocol.ContextID    `cbor:"2,keyasint"`
	Until       protocol.Second       `cbor:"3,keyasint"`           // end of the lease
	Fields      []protocol.FieldValue `cbor:"4,keyasint,omitempty"` // at most protocol.MaxFields
	BodyKey     protocol.Shared       `cbor:"5,keyasint,omitzero"`  // opens the need
	OfferSecret protocol.Shared       `cbor:"6,keyasint,omitzero"`  // one of the two locks on offers
	Demand      protocol.Demand       `cbor:"7,keyasint,omitzero"`  // the need, once opened
	Category    protocol.Category     `cbor:"8,keyasint,omitempty"`
	Blobs       []Blob                `cbor:"9,keyasint,omitempty"` // at most protocol.MaxLarges
}

// Names lists what a record holds, never a value: "field contact.email",
// "body key", "offer secret", "need". It is what a Deletion says.
func (rec *Record) Names() []string {
	names := make([]string, 0, len(rec.Fields)+3)
	for _, f := range rec.Fields {
		names = append(names, "field "+string(f.Name))
	}
	for _, b := range rec.Blobs {
		names = append(names, "field "+string(b.Name))
	}
	for _, x := range []struct {
		there bool
		name  string
	}{{!rec.BodyKey.IsZero(), "body key"}, {!rec.OfferSecret.IsZero(), "offer secret"}, {rec.Demand != (protocol.Demand{}), "need"}} {
		if x.there {
			names = append(names, x.name)
		}
	}
	return names
}

// Held knows its bound alone: all else is in the store.
type Held struct{ most, bytes int64 }

// New makes the one Held of a node, for MaxRecords.
func New() *Held { return Bounded(0) }

// Bounded makes a Held of at most so many records; MaxRecords where that is zero.
func Bounded(most int) *Held { return &Held{cmp.Or(int64(most), MaxRecords), MaxBytes} }

// Within gives the same Held with room for so many bytes of large values.
func (h *Held) Within(bytes int64) *Held { return &Held{h.most, cmp.Or(bytes, MaxBytes)} }

func recordKey(g protocol.GrantID) []byte { return append([]byte(prefix), g[:]...) }

// Put keeps a record in place of what was held under its grant. A record without a
// grant or with too many fields gives fault.Malformed, a new one beyond the bound, and
// large values beyond theirs, fault.Full. Of a large value that was held already and is in
// rec, what was fetched stays; one that is not in rec is deleted.
func (h *Held) Put(tx kv.Tx, rec Record) error {
	if rec.Grant.IsZero() || len(rec.Fields) > protocol.MaxFields || len(rec.Blobs) > protocol.MaxLarges {
		return fmt.Errorf("held: a record without a grant, or of %d fields: %w", len(rec.Fields), fault.Malformed)
	}
	k := recordKey(rec.Grant)
	old, err := h.Get(tx, rec.Grant)
	if fault.Of(err) == fault.NotFound {
		err = h.add(tx, 1)
	}
	if err == nil {
		err = h.replace(tx, &rec, old.Blobs)
	}
	if err != nil {
		return fmt.Errorf("held: %s: %w", rec.Grant.Short(), err)
	}
	return kv.PutCBOR(tx, k, rec)
}

// add moves the count of records.
func (h *Held) add(tx kv.Tx, by int64) error {
	n, err := count(tx, countKey)
	if err != nil {
		return err
	}
	if by > 0 && n+by > h.most {
		return fmt.Errorf("%d records are held already: %w", n, fault.Full)
	}
	return kv.PutCBOR(tx, []byte(countKey), n+by)
}

func count(r kv.Reader, of string) (n int64, err error) {
	if err = kv.GetCBOR(r, []byte(of), &n); fault.Of(err) == fault.NotFound {
		return 0, nil
	}
	return n, err
}

// Get finds what is held under a grant; fault.NotFound.
func (*Held) Get(r kv.Reader, grant protocol.GrantID) (Record, error) {
	var rec Record
	if err := kv.GetCBOR(r, recordKey(grant), &rec); err != nil {
		return Record{}, fmt.Errorf("held: %s: %w", grant.Short(), err)
	}
	return rec, nil
}

// Each calls fn with every record after the given grant id (nil: from the first),
// in order of id, until fn wants no more or fails.
func (*Held) Each(r kv.Reader, after []byte, fn func(Record) (more bool, err error)) error {
	var from []byte
	if len(after) > 0 {
		from = append([]byte(prefix), after...)
	}
	return r.Scan([]byte(prefix), from, func(k, raw []byte) (bool, error) {
		var rec Record
		if err := kv.DecodeCBOR(raw, &rec); err != nil {
			return false, fmt.Errorf("held: record %x: %w", k, err)
		}
		return fn(rec)
	})
}

// Names lists what is held under a grant, as Record.Names does; nothing, and no
// error, where nothing is. After a Delete it proves that nothing is left.
func (h *Held) Names(r kv.Reader, grant protocol.GrantID) ([]string, error) {
	rec, err := h.Get(r, grant)
	if fault.Of(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return rec.Names(), nil
}

// Delete forgets all that is held under a grant and lists what it was. Where
// nothing is held there is nothing to list, and no error. A record that cannot be
// read is deleted too, and listed as "unreadable record".
func (h *Held) Delete(tx kv.Tx, grant protocol.GrantID) (deleted []string, err error) {
	k := recordKey(grant)
	rec, err := h.Get(tx, grant)
	switch fault.Of(err) {
	case fault.NotFound:
		return nil, nil
	case fault.Malformed:
		deleted = []string{"unreadable record"}
	default:
		if err != nil {
			return nil, err
		}
		deleted = rec.Names()
	}
	if err := errors.Join(h.add(tx, -1), h.replace(tx, &Record{Grant: grant}, rec.Blobs)); err != nil {
		return nil, fmt.Errorf("held: %w", err)
	}
	return deleted, tx.Delete(k)
}

// Fill tells how many records are held.
func (h *Held) Fill(r kv.Reader) (kv.Fill, error) {
	n, err := count(r, countKey)
	return kv.Fill{Name: "held.records", Used: n, Cap: h.most}, err
}

// BytesFill tells how many bytes of large values.
func (h *Held) BytesFill(r kv.Reader) (kv.Fill, error) {
	n, err := count(r, bytesKey)
	return kv.Fill{Name: "held.bytes", Used: n, Cap: h.bytes}, err
}
