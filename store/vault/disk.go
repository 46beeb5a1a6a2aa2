package vault

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
)

// What is stored, all under "v2/". An id is 16 random bytes and never used again, so
// that a purge meets nothing newer; n and index are uint64be, epoch is uint32be.
//
//	s              state: counters, and the present epoch
//	e<epoch>       an epoch key, sealed under the vault's secret
//	n<hmac>        HMAC of a name -> the id of its record
//	r<id>h         head: everything but keys and values, sealed under the record key
//	r<id>k         uint32be epoch ‖ the record key, sealed under that epoch's key
//	r<id>v<n>      a value, sealed under its version key
//	r<id>w<n>      a version key, sealed under the record key
//	b<id><index>   a chunk of a large value, sealed under its version key
//	u<id>          a large value is being written
//	p<prefix>      what is still to be purged
var (
	keyState     = []byte("v2/s")
	prefixEpoch  = []byte("v2/e")
	prefixName   = []byte("v2/n")
	prefixRecord = []byte("v2/r")
	prefixBlob   = []byte("v2/b")
	prefixUpload = []byte("v2/u")
	prefixPurge  = []byte("v2/p")
)

// The parts of a record, in the order in which a scan meets them.
const (
	partHead  = 'h'
	partKey   = 'k'
	partValue = 'v'
	partWrap  = 'w'
)

// Schemas that sealed bytes are bound to, beside their key on disk.
const (
	schemaKey   = "vault-key"
	schemaHead  = "vault-head"
	schemaValue = "vault-value"
)

const idSize = 16

type id = [idSize]byte

func newID() (i id) {
	_, _ = rand.Read(i[:]) // never fails
	return i
}

// state counts, so that nothing has to be counted.
type state struct {
	Fields  int    `cbor:"1,keyasint"`
	Bytes   int64  `cbor:"2,keyasint"` // of large values
	Uploads int    `cbor:"3,keyasint"`
	Purges  int    `cbor:"4,keyasint"`
	Epoch   uint32 `cbor:"5,keyasint"` // 0: there is no epoch key yet
	EpochMS int64  `cbor:"6,keyasint"` // since when, Unix milliseconds

	lim Limits // not kept
}

func readState(r kv.Reader, lim Limits) (state, error) {
	var st state
	err := kv.GetCBOR(r, keyState, &st)
	if errors.Is(err, fault.NotFound) {
		st, err = state{}, nil
	}
	if err != nil {
		err = fmt.Errorf("vault: state: %w", err)
	}
	st.lim = lim
	return st, err
}

func (st state) put(tx kv.Tx) error { return kv.PutCBOR(tx, keyState, st) }

// A head is what is kept about a field, sealed under its record key.
type head struct {
	Name     protocol.FieldName   `cbor:"1,keyasint"`
	Kept     []version            `cbor:"2,keyasint"` // the oldest first, the present one last
	Class    protocol.Sensitivity `cbor:"3,keyasint,omitempty"`
	ReviewMS int64                `cbor:"4,keyasint,omitempty"`
	Min      protocol.Money       `cbor:"5,keyasint,omitzero"`
	Rule     terms.FieldRule      `cbor:"6,keyasint,omitzero"`
}

// A version is one value that a field has or had.
type version struct {
	N         uint64 `cbor:"1,keyasint"`
	AtMS      int64  `cbor:"2,keyasint"`
	CheckedMS int64  `cbor:"3,keyasint"`
	Source    Source `cbor:"4,keyasint"`
	Blob      *blob  `cbor:"5,keyasint,omitempty"`
}

// A blob is a large value in chunks.
type blob struct {
	ID    id       `cbor:"1,keyasint"`
	Size  int64    `cbor:"2,keyasint"`
	Sum   [32]byte `cbor:"3,keyasint"`
	Media string   `cbor:"4,keyasint,omitempty"`
}

// class is that of the vocabulary, or a stricter one that its owner chose. A name
// that is not in the vocabulary takes the strictest class of its group unless she says
// otherwise; no rule ever gives it away.
func (h *head) class() protocol.Sensitivity {
	if _, known := h.Name.Info(); !known && h.Class != 0 {
		return h.Class
	}
	return max(h.Name.Class(), h.Class)
}

// A record is an opened head with its key.
type record struct {
	id   id
	key  key.Secret
	head head
}

// last is the present version; a record that is being made has none, and gets an
// empty one to read from.
func (rec *record) last() *version {
	if n := len(rec.head.Kept); n > 0 {
		return &rec.head.Kept[n-1]
	}
	return &version{}
}

func (rec *record) field() Field { return rec.at(len(rec.head.Kept) - 1) }

// at is the field as it was in version i of those kept.
func (rec *record) at(i int) Field {
	h := &rec.head
	f := Field{Name: h.Name, Class: h.class(), ReviewMS: h.ReviewMS, Min: h.Min, Rule: h.Rule}
	if i < 0 {
		return f
	}
	v := h.Kept[i]
	f.Version, f.ChangedMS, f.CheckedMS, f.Source = v.N, v.AtMS, v.CheckedMS, v.Source
	if v.Blob != nil {
		f.Blob = &Blob{Size: v.Blob.Size, Sum: v.Blob.Sum, Media: v.Blob.Media}
	}
	return f
}

func (l *locks) nameKey(name protocol.FieldName) []byte {
	mac := seal.MAC(l.names, []byte(name))
	return slices.Concat(prefixName, mac[:])
}

func (rec *record) at0(part byte) []byte { return append(slices.Concat(prefixRecord, rec.id[:]), part) }

func (rec *record) atN(part byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(rec.at0(part), n)
}

func epochKey(n uint32) []byte { return binary.BigEndian.AppendUint32(slices.Clone(prefixEpoch), n) }

// splitKey is the inverse of at0 and atN, but for n. A part of 0 is the mark that a
// purge leaves for a moment.
func splitKey(k []byte) (i id, part byte, err error) {
	rest := k[min(len(k), len(prefixRecord)):]
	if len(rest) == idSize {
		return id(rest), 0, nil
	}
	if len(rest) != idSize+1 && len(rest) != idSize+9 {
		return i, 0, fmt.Errorf("vault: an unknown record %x: %w", k, fault.Malformed)
	}
	return id(rest[:idSize]), rest[idSize], nil
}

// find opens the head of a field; fault.NotFound where there is none.
func (l *locks) find(r kv.Reader, name protocol.FieldName) (rec record, err error) {
	if !name.WellFormed() {
		return rec, badName(name)
	}
	raw, err := r.Get(l.nameKey(name))
	if err != nil {
		return rec, fmt.Errorf("vault: %s: %w", name, err)
	}
	if len(raw) != idSize {
		return rec, fmt.Errorf("vault: %s: an id of %d bytes: %w", name, len(raw), fault.Malformed)
	}
	rec.id = id(raw)
	wrapped, err := r.Get(rec.at0(partKey))
	if err == nil {
		rec.key, err = l.unwrap(r, rec.id, wrapped, nil)
	}
	var sealed []byte
	if err == nil {
		sealed, err = r.Get(rec.at0(partHead))
	}
	if err == nil {
		err = rec.openHead(sealed)
	}
	if err == nil && rec.head.Name != name {
		err = errors.New("its head has another name")
	}
	if err != nil { // what a name leads to must be whole
		return record{}, fmt.Errorf("vault: %s: %w: %w", name, err, fault.Malformed)
	}
	return rec, nil
}

// create makes an empty record.
func (l *locks) create(tx kv.Tx, st *state, name protocol.FieldName, nowMS int64) (rec record, err error) {
	if st.Fields >= st.lim.Fields {
		return rec, fmt.Errorf("vault: %s: %d fields are kept already: %w", name, st.Fields, fault.Full)
	}
	if st.Epoch == 0 {
		if err := l.newEpoch(tx, st, nowMS); err != nil {
			return rec, err
		}
	}
	st.Fields++
	rec = record{id: newID(), key: key.NewSecret(), head: head{Name: name}}
	if err := l.putRecordKey(tx, st.Epoch, &rec); err != nil {
		return rec, err
	}
	return rec, tx.Put(l.nameKey(name), rec.id[:])
}

// newEpoch makes the key under which record keys are sealed from now on.
func (l *locks) newEpoch(tx kv.Tx, st *state, nowMS int64) error {
	st.Epoch, st.EpochMS = st.Epoch+1, nowMS
	k := epochKey(st.Epoch)
	return tx.Put(k, seal.SealRecord(l.wrap, string(k), uint64(st.Epoch), schemaKey, key.NewSecret().Reveal()))
}

// epoch opens an epoch key.
func (l *locks) epoch(r kv.Reader, n uint32) (key.Secret, error) {
	k := epochKey(n)
	raw, err := r.Get(k)
	if err != nil {
		return key.Secret{}, fmt.Errorf("vault: epoch %d: %w", n, err)
	}
	return openKey(l.wrap, k, uint64(n), raw)
}

func openKey(under key.Secret, at []byte, n uint64, sealed []byte) (key.Secret, error) {
	raw, err := seal.OpenRecord(under, string(at), n, schemaKey, sealed)
	if err != nil {
		return key.Secret{}, fmt.Errorf("vault: key %x (%w): %w", at, err, fault.Malformed)
	}
	return key.SecretFrom(raw)
}

// putRecordKey seals a record's key under an epoch key.
func (l *locks) putRecordKey(tx kv.Tx, n uint32, rec *record) error {
	under, err := l.epoch(tx, n)
	if err != nil {
		return err
	}
	at := rec.at0(partKey)
	box := seal.SealRecord(under, string(at), uint64(n), schemaKey, rec.key.Reveal())
	return tx.Put(at, append(binary.BigEndian.AppendUint32(nil, n), box...))
}

// unwrap opens a record key; known, where it is not nil, remembers epoch keys.
func (l *locks) unwrap(r kv.Reader, i id, raw []byte, known map[uint32]key.Secret) (key.Secret, error) {
	if len(raw) < 4 {
		return key.Secret{}, fmt.Errorf("vault: the key of record %x has %d bytes: %w", i, len(raw), fault.Malformed)
	}
	n := binary.BigEndian.Uint32(raw)
	under, ok := known[n]
	if !ok {
		var err error
		if under, err = l.epoch(r, n); err != nil {
			return key.Secret{}, err
		}
		if known != nil {
			known[n] = under
		}
	}
	return openKey(under, (&record{id: i}).at0(partKey), uint64(n), raw[4:])
}

func (rec *record) openHead(sealed []byte) error {
	raw, err := seal.OpenRecord(rec.key, string(rec.at0(partHead)), 1, schemaHead, sealed)
	if err != nil {
		return fmt.Errorf("vault: the head of record %x (%w): %w", rec.id, err, fault.Malformed)
	}
	rec.head = head{}
	if err := kv.DecodeCBOR(raw, &rec.head); err != nil {
		return fmt.Errorf("vault: the head of record %x: %w", rec.id, err)
	}
	return nil
}

func (rec *record) putHead(tx kv.Tx) error {
	raw, err := kv.EncodeCBOR(rec.head)
	if err != nil {
		return fmt.Errorf("vault: %s: %w", rec.head.Name, err)
	}
	at := rec.at0(partHead)
	return tx.Put(at, seal.SealRecord(rec.key, string(at), 1, schemaHead, raw))
}

// putValue seals a value under a fresh key.
func (rec *record) putValue(tx kv.Tx, n uint64, value string) error {
	k, at := key.NewSecret(), rec.atN(partValue, n)
	if err := tx.Put(at, seal.SealRecord(k, string(at), n, schemaValue, []byte(value))); err != nil {
		return err
	}
	return rec.putKey(tx, n, k)
}

// putKey seals a version key under the record key.
func (rec *record) putKey(tx kv.Tx, n uint64, k key.Secret) error {
	at := rec.atN(partWrap, n)
	return tx.Put(at, seal.SealRecord(rec.key, string(at), n, schemaKey, k.Reveal()))
}

func (rec *record) versionKey(r kv.Reader, n uint64) (key.Secret, error) {
	at := rec.atN(partWrap, n)
	raw, err := r.Get(at)
	if err != nil {
		return key.Secret{}, fmt.Errorf("vault: %s: version %d: %w: %w", rec.head.Name, n, err, fault.Malformed)
	}
	return openKey(rec.key, at, n, raw)
}

// value opens a value that is not large.
func (rec *record) value(r kv.Reader, n uint64) (string, error) {
	k, err := rec.versionKey(r, n)
	if err != nil {
		return "", err
	}
	at := rec.atN(partValue, n)
	sealed, err := r.Get(at)
	if err != nil {
		return "", fmt.Errorf("vault: %s: version %d: %w: %w", rec.head.Name, n, err, fault.Malformed)
	}
	raw, err := seal.OpenRecord(k, string(at), n, schemaValue, sealed)
	if err != nil {
		return "", fmt.Errorf("vault: %s: version %d (%w): %w", rec.head.Name, n, err, fault.Malformed)
	}
	return string(raw), nil
}

// same tells whether a change has the value that is there already.
func (rec *record) same(r kv.Reader, c Change) (bool, error) {
	switch last := rec.last(); {
	case last.N == 0:
		return false, nil
	case c.blob != nil:
		return last.Blob != nil && last.Blob.Sum == c.blob.about.Sum && last.Blob.Media == c.blob.about.Media, nil
	case last.Blob != nil:
		return false, nil
	default:
		value, err := rec.value(r, last.N)
		return err == nil && value == *c.Value, err
	}
}
