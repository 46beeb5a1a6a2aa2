package outbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// The keys. A place is 16 bytes of HMAC; times are big-endian, 8 bytes.
//
//	o/salt            the salt of all places
//	o/n               counters
//	o/i/‹place›       an item's record
//	o/b/‹place›       its Data, until it has ended
//	o/c/‹^created›‹place›  all items, newest first
//	o/d/‹next›‹place›      items with something to do
//	o/x/‹expires›‹place›   items that have not ended
//	o/z/‹created›‹place›   items that have ended
//	o/e/‹place of envelope›, o/g/‹place of grant›  places of items that have not ended
var (
	saltKey  = []byte("o/salt")
	countKey = []byte("o/n")
)

type place [16]byte

// place hides an id: what says which index it is for, so that equal ids in two
// indexes look unrelated.
func (o *Outbox) place(what byte, id protocol.Hash) place {
	h := hmac.New(sha256.New, o.salt[:])
	h.Write([]byte{what})
	h.Write(id[:])
	return place(h.Sum(nil)[:len(place{})])
}

func (p place) key(prefix string) []byte { return append([]byte(prefix), p[:]...) }

func (p place) at(prefix string, time uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte(prefix), time), p[:]...)
}

// parse takes a key apart that at made, all of whose prefixes have four bytes.
func parse(k []byte) (time uint64, p place, err error) {
	if len(k) != 4+8+len(p) {
		return 0, p, fmt.Errorf("outbox: key %x: %w", k, fault.Malformed)
	}
	return binary.BigEndian.Uint64(k[4:]), place(k[12:]), nil
}

// A record is an item as it is stored; Size is what its Data counts for.
type record struct {
	Item Item  `cbor:"1,keyasint"`
	Size int64 `cbor:"2,keyasint,omitempty"`
}

func load(r kv.Reader, at place) (rec record, err error) {
	err = kv.GetCBOR(r, at.key("o/i/"), &rec)
	return rec, err
}

// marks lists the time-ordered index keys that an item has; none for no item.
func (r *record) marks(at place) (keys [][]byte) {
	it := &r.Item
	if it.ID.IsZero() {
		return nil
	}
	keys = append(keys, at.at("o/c/", ^uint64(it.CreatedMS)))
	if it.Over() {
		return append(keys, at.at("o/z/", uint64(it.CreatedMS)))
	}
	if it.Next != Never {
		keys = append(keys, at.at("o/d/", uint64(it.Next)))
	}
	return append(keys, at.at("o/x/", uint64(it.Expires)))
}

func (r *record) alive() bool { return !r.Item.ID.IsZero() && !r.Item.Over() }

// write replaces old, or nothing, by now, or nothing, in all indexes.
func (o *Outbox) write(tx kv.Tx, at place, old, now record) error {
	ends := old.alive() && !now.alive()
	if ends && !now.Item.ID.IsZero() {
		now.shed()
	}
	before, after := old.marks(at), now.marks(at)
	same := func(set [][]byte, k []byte) bool {
		return slices.ContainsFunc(set, func(x []byte) bool { return bytes.Equal(x, k) })
	}
	for _, k := range before {
		if !same(after, k) {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
	}
	for _, k := range after {
		if !same(before, k) {
			if err := tx.Put(k, nil); err != nil {
				return err
			}
		}
	}
	if ends {
		if err := errors.Join(tx.Delete(at.key("o/b/")), count(tx, 0, -old.Size)); err != nil {
			return err
		}
	}
	if err := o.link(tx, at, old, now); err != nil {
		return err
	}
	if now.Item.ID.IsZero() {
		return tx.Delete(at.key("o/i/"))
	}
	return kv.PutCBOR(tx, at.key("o/i/"), now)
}

// shed drops what an ended item has no use for, secrets above all.
func (r *record) shed() {
	it := &r.Item
	it.Data, it.Cap, it.First, it.Seed = nil, protocol.Capability{}, protocol.FirstContact{}, protocol.Shared{}
	it.Next = Never
	r.Size = 0
}

// link keeps the lists of living items per envelope and per grant.
func (o *Outbox) link(tx kv.Tx, at place, old, now record) error {
	if old.alive() == now.alive() {
		return nil
	}
	it := &now.Item
	if old.alive() {
		it = &old.Item
	}
	if !it.Envelope.IsZero() {
		if err := relist(tx, o.place('e', it.Envelope).key("o/e/"), at, now.alive(), maxSame); err != nil {
			return fmt.Errorf("outbox: letters with envelope %s: %w", it.Envelope.Short(), err)
		}
	}
	if it.Grant.IsZero() {
		return nil
	}
	if err := relist(tx, o.place('g', it.Grant).key("o/g/"), at, now.alive(), o.lim.PerGrant); err != nil {
		return fmt.Errorf("outbox: items under way for grant %s: %w", it.Grant.Short(), err)
	}
	return nil
}

func members(r kv.Reader, k []byte) ([]place, error) {
	raw, err := r.Get(k)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(raw)%len(place{}) != 0 {
		return nil, fmt.Errorf("outbox: index %x: %w", k, fault.Malformed)
	}
	var all []place
	for p := range slices.Chunk(raw, len(place{})) {
		all = append(all, place(p))
	}
	return all, nil
}

// relist adds at to the list under k, or takes it out.
func relist(tx kv.Tx, k []byte, at place, add bool, most int) error {
	all, err := members(tx, k)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p place) bool { return p == at })
	if add {
		if len(all) >= most {
			return fmt.Errorf("%d already: %w", len(all), fault.Full)
		}
		all = append(all, at)
	}
	if len(all) == 0 {
		return tx.Delete(k)
	}
	var raw []byte
	for _, p := range all {
		raw = append(raw, p[:]...)
	}
	return tx.Put(k, raw)
}

// totals are the counters: all items, and the bytes of those that have not ended.
type totals struct {
	Items int64 `cbor:"1,keyasint,omitempty"`
	Bytes int64 `cbor:"2,keyasint,omitempty"`
}

func counted(r kv.Reader) (t totals, err error) {
	err = kv.GetCBOR(r, countKey, &t)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return t, err
}

func count(tx kv.Tx, items, bytes int64) error {
	t, err := counted(tx)
	if err != nil {
		return err
	}
	t.Items += items
	t.Bytes += bytes
	return kv.PutCBOR(tx, countKey, t)
}

// take makes room for one more item of so many bytes and counts it.
func (o *Outbox) take(tx kv.Tx, size int64) error {
	t, err := counted(tx)
	if err != nil {
		return err
	}
	if t.Items >= int64(o.lim.Items) {
		n, err := o.forget(tx, ^uint64(0), 1)
		if err != nil {
			return err
		}
		t.Items -= int64(n)
	}
	if t.Items >= int64(o.lim.Items) || t.Bytes+size > o.lim.Bytes {
		return fmt.Errorf("outbox: %d items of at most %d and %d bytes of at most %d wait to be delivered; connect to the network, or wait: %w",
			t.Items, o.lim.Items, t.Bytes, o.lim.Bytes, fault.Full)
	}
	return count(tx, 1, size)
}

// forget removes up to limit ended items that were made before a time in ms,
// oldest first.
func (o *Outbox) forget(tx kv.Tx, before uint64, limit int) (n int, err error) {
	err = tx.Scan([]byte("o/z/"), nil, func(k, _ []byte) (bool, error) {
		made, at, err := parse(k)
		if err != nil || made >= before || n == limit {
			return false, err
		}
		old, err := load(tx, at)
		if err != nil {
			return false, err
		}
		n++
		return true, o.write(tx, at, old, record{})
	})
	if err != nil || n == 0 {
		return n, err
	}
	return n, count(tx, int64(-n), 0)
}
