// Package vault keeps what a person tells her own node about herself: named fields
// such as contact.email, each with a value, where it comes from, how fresh it is,
// what it costs at least, what she wants done when it is asked for, and its earlier
// versions. Nothing in it is sent anywhere by itself. [Vault.View] is the only way
// out toward a vendor, and gives exactly the fields that a grant names.
//
// # Keys
//
// What is derived can never be destroyed, so every key below the first is random:
//
//	the vault's secret     derived from the home's key
//	  epoch key            sealed under it; changed by [Vault.Rotate]
//	    record key         one for each field, sealed under the epoch key
//	      version key      one for each version of the value, sealed under the record key
//	        value, chunks  sealed under the version key
//
// A field is erased in three steps:
//
//  1. one synced Update destroys its record key and notes what is to be purged
//     ([Vault.Remove]; [Vault.Forget] does the same to one version);
//  2. [Vault.Purge] takes everything of the record off the disk, the old bytes of
//     the key first among it;
//  3. and strikes the note. After a crash, [Vault.Open] goes on with what is noted.
//
// # On disk
//
// The store must be the private, sealed one. Since the keys of a sealed store are
// readable on disk, a field's name there is an HMAC, which leads to a random id: who
// holds the disk and not the passphrase can count fields, versions and chunks, and
// learns neither names nor values. See disk.go for the layout.
//
// A large value goes out as a copy under a key of its own, which [Vault.Large] leads to
// where the grant allows it.
//
// Methods that take a transaction happen inside the caller's. Those that take the
// store work in several bounded transactions, each of which leaves the vault whole.
//
//house:allow package small and large values, their versions and their erasure share the records and keys of one layout
package vault

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
)

// Bounds.
const (
	MaxFields   = 10_000   // one more gives fault.Full
	MaxVersions = 10       // kept of one field, the present one included; the oldest goes
	MaxBlob     = 16 << 20 // bytes of a large value
	MaxBytes    = 1 << 30  // bytes of all large values, earlier versions included
	MaxUploads  = 4        // large values that are being written
	MaxPurges   = 4096     // erased things whose bytes are still to be taken off the disk
	maxMedia    = 100      // bytes of a media type
)

// A Source says where a value comes from.
type Source uint8

// The sources.
const (
	SelfStated Source = 1 // she said so
	Verified   Source = 2 // somebody who knows has confirmed it
	Inferred   Source = 3 // a program concluded it
)

// sources are the names of the sources.
var sources = map[Source]string{SelfStated: "self-stated", Verified: "verified", Inferred: "inferred"}

// String gives self-stated, verified or inferred.
func (s Source) String() string { return sources[s] }

// ParseSource is the inverse of String; the empty text is no source.
func ParseSource(text string) (Source, error) {
	for s, name := range sources {
		if name == text {
			return s, nil
		}
	}
	if text == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("vault: source %.40q is none of self-stated, verified, inferred: %w", text, fault.Malformed)
}

// A Field is one value under its name.
type Field struct {
	Name      protocol.FieldName
	Class     protocol.Sensitivity
	Value     string // UTF-8, 1 to protocol.MaxValue bytes; lines end in \n. Empty where Blob is set, and in lists
	Blob      *Blob  // a large value, which Download gives
	Version   uint64 // 1 for the first value, one more for each change
	ChangedMS int64  // when this version was stated, Unix milliseconds
	CheckedMS int64  // when it was last stated or checked
	ReviewMS  int64  // when its owner means to look at it again; 0: never
	Source    Source
	Min       protocol.Money // the least that she gives it for; zero: nothing is asked
	Rule      terms.FieldRule
}

// A Blob tells about a large value.
type Blob struct {
	Size  int64
	Sum   [32]byte // SHA-256
	Media string   // media type, as image/png; empty where unknown
}

// A Change is what is to be different about a field. What is zero or nil stays.
type Change struct {
	Value     *string
	Source    Source // SelfStated for a new value that says nothing
	CheckedMS int64  // with a value or a source: when it was checked; 0: now
	ReviewMS  *int64
	Class     protocol.Sensitivity // at least that of the vocabulary
	Min       *protocol.Money
	Rule      *terms.FieldRule

	asVersion uint64  // of a value that another format kept
	blob      *staged // instead of Value
}

// What a change did to a field.
type What uint8

// What happened, the least first.
const (
	Nothing What = iota
	About        // what is known about the value, not the value
	Value        // the value: the version rose
)

// Limits are smaller bounds, so that a test can reach them. What is zero stays.
type Limits struct {
	Fields  int
	Bytes   int64
	Uploads int
	Purges  int
}

// A Vault knows how fields are named and locked on disk, and holds none of them.
//
//house:allow methods each thing that is done to a field or to all of them is one method
type Vault struct {
	locks
	lim Limits
}

// locks are what names and keys depend on.
type locks struct {
	names key.Secret // of the HMACs
	wrap  key.Secret // of the epoch keys
}

// New makes a vault whose names and locks depend on secret; another secret finds
// none of the fields. A home that is opened needs Open next.
func New(secret key.Secret) *Vault {
	v := &Vault{locks: locks{names: seal.Derive(secret, seal.LabelVaultName, nil), wrap: seal.Derive(secret, seal.LabelVaultEpoch, nil)}}
	return v.Within(Limits{})
}

// Within gives the same vault with smaller bounds.
func (v *Vault) Within(l Limits) *Vault {
	return &Vault{locks: v.locks, lim: Limits{
		Fields: cmp.Or(l.Fields, MaxFields), Bytes: cmp.Or(l.Bytes, MaxBytes),
		Uploads: cmp.Or(l.Uploads, MaxUploads), Purges: cmp.Or(l.Purges, MaxPurges),
	}}
}

// Set gives a field a value. The version rises only where the value differs.
func (v *Vault) Set(tx kv.Tx, name protocol.FieldName, value string, nowMS int64) (Field, error) {
	f, _, err := v.Put(tx, name, Change{Value: &value}, nowMS)
	return f, err
}

// Put changes a field, or makes it where the change has a value. A name, value or
// other part of another form gives fault.Malformed, a change without a value to a
// field that is not there fault.NotFound, a new field in a full vault fault.Full, a
// rule that the law forbids fault.Denied. The error never contains the value; what
// comes back does where the change did.
func (v *Vault) Put(tx kv.Tx, name protocol.FieldName, c Change, nowMS int64) (Field, What, error) {
	if err := c.check(name); err != nil {
		return Field{}, Nothing, err
	}
	st, err := readState(tx, v.lim)
	if err != nil {
		return Field{}, Nothing, err
	}
	before := st
	rec, err := v.find(tx, name)
	if errors.Is(err, fault.NotFound) && (c.Value != nil || c.blob != nil) {
		rec, err = v.create(tx, &st, name, nowMS)
	}
	if err != nil {
		return Field{}, Nothing, err
	}
	what, err := rec.apply(tx, &st, c, nowMS)
	if err == nil && what != Nothing {
		err = rec.putHead(tx)
	}
	if err == nil && st != before {
		err = st.put(tx)
	}
	if err != nil {
		return Field{}, Nothing, err
	}
	f := rec.field()
	if c.Value != nil {
		f.Value = *c.Value
	}
	return f, what, nil
}

// apply writes what a change changes, but for the head.
func (rec *record) apply(tx kv.Tx, st *state, c Change, nowMS int64) (What, error) {
	what, err := rec.newVersion(tx, st, c, nowMS)
	if err != nil {
		return Nothing, err
	}
	h, last := &rec.head, rec.last()
	was, wasLast := *h, *last
	if c.Source != 0 && what == Nothing {
		last.Source, last.CheckedMS = c.Source, c.checked(nowMS)
	}
	if c.Class != h.class() { // what goes without saying is not said
		h.Class = max(h.Class, c.Class)
	}
	if c.ReviewMS != nil {
		h.ReviewMS = *c.ReviewMS
	}
	if c.Min != nil {
		h.Min = *c.Min
	}
	if c.Rule != nil {
		h.Rule = *c.Rule
	}
	if err := h.Rule.Check(h.class()); err != nil {
		return Nothing, fmt.Errorf("vault: %s: %w", h.Name, err)
	}
	if what == Nothing && (*last != wasLast || h.Class != was.Class || h.ReviewMS != was.ReviewMS || h.Min != was.Min ||
		h.Rule.String() != was.Rule.String()) {
		what = About
	}
	return what, nil
}

// newVersion seals a value that differs from the present one as the next version,
// and lets go of the oldest where there are too many.
func (rec *record) newVersion(tx kv.Tx, st *state, c Change, nowMS int64) (What, error) {
	if c.Value == nil && c.blob == nil {
		return Nothing, nil
	}
	same, err := rec.same(tx, c)
	if err != nil || same {
		return Nothing, err
	}
	n := rec.last().N + 1
	if c.asVersion > n {
		n = c.asVersion
	}
	next := version{N: n, AtMS: nowMS, CheckedMS: c.checked(nowMS), Source: cmp.Or(c.Source, SelfStated)}
	if c.blob != nil {
		next.Blob = &c.blob.about
		if st.Bytes += next.Blob.Size; st.Bytes > st.lim.Bytes {
			return Nothing, fmt.Errorf("vault: %s: large values would take %d bytes in all, at most %d: %w", rec.head.Name, st.Bytes, st.lim.Bytes, fault.Full)
		}
		err = rec.putKey(tx, n, c.blob.key)
	} else {
		err = rec.putValue(tx, n, *c.Value)
	}
	rec.head.Kept = append(rec.head.Kept, next)
	if err == nil && len(rec.head.Kept) > MaxVersions {
		err = rec.shred(tx, st, 0)
	}
	return Value, err
}

// checked is when the value was checked; nobody checks ahead of time.
func (c *Change) checked(nowMS int64) int64 {
	if c.CheckedMS == 0 {
		return nowMS
	}
	return min(c.CheckedMS, nowMS)
}

// check refuses what is of another form.
func (c *Change) check(name protocol.FieldName) error {
	if !name.WellFormed() {
		return badName(name)
	}
	why := ""
	if c.Value != nil {
		why = unfit(*c.Value)
	}
	info, known := name.Info()
	switch {
	case why != "":
	case c.Source > Inferred:
		why = "the source is none of self-stated, verified, inferred"
	case c.Class > protocol.Child:
		why = "the class is none of ordinary, special, child"
	case c.Class != 0 && known && c.Class < info.Class:
		why = "the law puts it into class " + info.Class.String()
	case c.ReviewMS != nil && *c.ReviewMS < 0, c.CheckedMS < 0:
		why = "a date lies before 1970"
	case c.Min != nil && *c.Min != (protocol.Money{}) && !c.Min.Valid():
		why = "the least price is no amount of a known currency"
	}
	if why != "" {
		return fmt.Errorf("vault: %s: %s: %w", name, why, fault.Malformed)
	}
	return nil
}

// unfit says what is wrong with a value, "" where nothing is.
func unfit(value string) string {
	switch {
	case value == "":
		return "an empty value; remove the field instead"
	case len(value) > protocol.MaxValue:
		return fmt.Sprintf("a value of %d bytes, at most %d; set it from a file", len(value), protocol.MaxValue)
	case !utf8.ValidString(value):
		return "the value is not UTF-8"
	case strings.ContainsFunc(value, func(c rune) bool { return c != '\n' && unicode.IsControl(c) }):
		return "the value has control characters"
	}
	return ""
}

func badName(name protocol.FieldName) error {
	return fmt.Errorf("vault: %.48q is no field name, which is like contact.email: %w", string(name), fault.Malformed)
}

// Get reads a field with its value; fault.NotFound where there is none.
func (v *Vault) Get(r kv.Reader, name protocol.FieldName) (Field, error) {
	rec, err := v.find(r, name)
	if err != nil {
		return Field{}, err
	}
	f := rec.field()
	if f.Blob == nil {
		f.Value, err = rec.value(r, f.Version)
	}
	return f, err
}

// About reads a field without its value; fault.NotFound where there is none.
func (v *Vault) About(r kv.Reader, name protocol.FieldName) (Field, error) {
	rec, err := v.find(r, name)
	if err != nil {
		return Field{}, err
	}
	return rec.field(), nil
}

// List gives every field, sorted by name, without the values.
func (v *Vault) List(r kv.Reader) ([]Field, error) {
	var all []Field
	epochs := map[uint32]key.Secret{}
	var rec record
	var sealed []byte // the head of rec, which comes before its key
	err := r.Scan(prefixRecord, nil, func(k, raw []byte) (bool, error) {
		id, part, err := splitKey(k)
		if err != nil {
			return false, err
		}
		switch part {
		case partHead:
			rec, sealed = record{id: id}, append(sealed[:0], raw...)
		case partKey:
			if rec.id != id {
				return false, fmt.Errorf("vault: record %x has no head: %w", id, fault.Malformed)
			}
			if rec.key, err = v.unwrap(r, id, raw, epochs); err != nil {
				return false, err
			}
			if err := rec.openHead(sealed); err != nil {
				return false, err
			}
			all = append(all, rec.field())
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Field) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all, nil
}

// History gives the kept versions of a field, the present one first, each with its
// value where reveal is set.
func (v *Vault) History(r kv.Reader, name protocol.FieldName, reveal bool) ([]Field, error) {
	rec, err := v.find(r, name)
	if err != nil {
		return nil, err
	}
	var out []Field
	for i := len(rec.head.Kept) - 1; i >= 0; i-- {
		f := rec.at(i)
		if reveal && f.Blob == nil {
			if f.Value, err = rec.value(r, f.Version); err != nil {
				return nil, err
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// View gives a vendor what grant g allows: the fields that g names and that the vault
// has, in the order of g, each once: their value, or a coarser one where g says at which
// level. A field that is absent is left out without a word, and so are one that g allows
// in another form only, one that the level makes nothing coarser of, one whose value is large, and one that its owner has meanwhile put under the
// rule never. Special and children's fields are no exception in either direction: the
// consent rule that wrote g decided on them by name. Whether g holds now, between
// its Start and End, is for the caller to know.
func (v *Vault) View(r kv.Reader, g *protocol.Grant) (out []protocol.FieldValue, err error) {
	err = v.allowed(r, g, func(want protocol.FieldGrant, f Field) (err error) {
		if f.Blob != nil {
			return nil
		}
		if want.Form == protocol.FormCoarse {
			if f.Value, err = terms.Coarsen(want.Level, f.Value); err != nil {
				return nil // nothing coarser comes of it
			}
		}
		out = append(out, protocol.FieldValue{Name: f.Name, Value: f.Value, Version: f.Version})
		return nil
	})
	return out, err
}

// allowed calls fn for each field that g names and the vault has, once, where its owner
// gives it away at all.
func (v *Vault) allowed(r kv.Reader, g *protocol.Grant, fn func(want protocol.FieldGrant, f Field) error) error {
	if g == nil || len(g.Fields) > protocol.MaxFields {
		return fmt.Errorf("vault: no grant, or one of more than %d fields: %w", protocol.MaxFields, fault.Malformed)
	}
	done := map[protocol.FieldName]bool{}
	for _, want := range g.Fields {
		if want.Form != protocol.FormValue && want.Form != protocol.FormCoarse || done[want.Name] {
			continue
		}
		f, err := v.Get(r, want.Name)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err == nil && f.Rule.Will != terms.Never {
			done[want.Name] = true
			err = fn(want, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Fills tells how full the vault is.
func (v *Vault) Fills(r kv.Reader) ([]kv.Fill, error) {
	st, err := readState(r, v.lim)
	return []kv.Fill{
		{Name: "vault.fields", Used: int64(st.Fields), Cap: int64(v.lim.Fields)},
		{Name: "vault.bytes", Used: st.Bytes, Cap: v.lim.Bytes},
		{Name: "vault.uploads", Used: int64(st.Uploads), Cap: int64(v.lim.Uploads)},
		{Name: "vault.purges", Used: int64(st.Purges), Cap: int64(v.lim.Purges)},
	}, err
}
