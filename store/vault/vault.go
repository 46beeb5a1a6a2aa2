// Package vault keeps what a person tells her own node about herself: named fields
// such as contact.email, each with one value. Nothing in it is sent anywhere by
// itself. [Vault.View] is the only way out toward a vendor, and gives exactly the
// fields that a grant names.
//
// The store must be the private, sealed one. Since the keys of a sealed store are
// readable on disk, a field's key is an HMAC of its name: who holds the disk and
// not the passphrase can count the fields, and learns neither names nor values.
//
// Everything happens inside the caller's transaction.
package vault

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// MaxFields bounds a vault; one more field gives fault.Full.
const MaxFields = 1000

const prefix = "v/"

// A Field is one value under its name.
type Field struct {
	Name      protocol.FieldName `cbor:"1,keyasint"`
	Value     string             `cbor:"2,keyasint"` // UTF-8, 1 to protocol.MaxValue bytes; lines end in \n
	Version   uint64             `cbor:"3,keyasint"` // 1 for the first value, one more for each change
	ChangedMS int64              `cbor:"4,keyasint"` // Unix milliseconds
}

// A Vault knows how fields are named on disk and nothing else.
type Vault struct{ names key.Secret }

// New makes a vault whose names on disk depend on secret; another secret finds none
// of the fields.
func New(secret key.Secret) *Vault {
	return &Vault{names: seal.Derive(secret, seal.LabelVaultName, nil)}
}

func (v *Vault) key(name protocol.FieldName) []byte {
	mac := seal.MAC(v.names, []byte(name))
	return append([]byte(prefix), mac[:]...)
}

// Set gives a field a value. The version rises only where the value differs. A name
// or value of another form gives fault.Malformed, a new field in a full vault
// fault.Full. The error never contains the value.
func (v *Vault) Set(tx kv.Tx, name protocol.FieldName, value string, nowMS int64) (Field, error) {
	if !name.WellFormed() {
		return Field{}, badName(name)
	}
	if why := unfit(value); why != "" {
		return Field{}, fmt.Errorf("vault: %s: %s: %w", name, why, fault.Malformed)
	}
	f, err := v.Get(tx, name)
	switch {
	case err == nil && f.Value == value:
		return f, nil
	case fault.Of(err) == fault.NotFound:
		n, err := count(tx)
		if err != nil {
			return Field{}, err
		}
		if n >= MaxFields {
			return Field{}, fmt.Errorf("vault: %s: %d fields are kept already: %w", name, n, fault.Full)
		}
	case err != nil:
		return Field{}, err
	}
	f = Field{Name: name, Value: value, Version: f.Version + 1, ChangedMS: nowMS}
	return f, kv.PutCBOR(tx, v.key(name), f)
}

// unfit says what is wrong with a value, "" where nothing is.
func unfit(value string) string {
	switch {
	case value == "":
		return "an empty value; remove the field instead"
	case len(value) > protocol.MaxValue:
		return fmt.Sprintf("a value of %d bytes, at most %d", len(value), protocol.MaxValue)
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

// Get reads a field; fault.NotFound where there is none.
func (v *Vault) Get(r kv.Reader, name protocol.FieldName) (Field, error) {
	if !name.WellFormed() {
		return Field{}, badName(name)
	}
	var f Field
	if err := kv.GetCBOR(r, v.key(name), &f); err != nil {
		return Field{}, fmt.Errorf("vault: %s: %w", name, err)
	}
	return f, nil
}

// List gives every field, sorted by name.
func (v *Vault) List(r kv.Reader) ([]Field, error) {
	var all []Field
	err := r.Scan([]byte(prefix), nil, func(k, raw []byte) (bool, error) {
		var f Field
		if err := kv.DecodeCBOR(raw, &f); err != nil {
			return false, fmt.Errorf("vault: record %x: %w", k, err)
		}
		all = append(all, f)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Field) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all, nil
}

// Remove forgets a field; fault.NotFound where there is none. A later Set begins
// again at version 1.
func (v *Vault) Remove(tx kv.Tx, name protocol.FieldName) error {
	if _, err := v.Get(tx, name); err != nil {
		return err
	}
	return tx.Delete(v.key(name))
}

// View gives a vendor what grant g allows: the fields that g names in the form of
// their value and that the vault has, in the order of g, each once. A field that is
// absent is left out without a word, and so is one that g allows in another form
// only. Special and children's fields are no exception in either direction: the
// consent rule that wrote g decided on them by name. Whether g holds now, between
// its Start and End, is for the caller to know.
func (v *Vault) View(r kv.Reader, g *protocol.Grant) ([]protocol.FieldValue, error) {
	if g == nil || len(g.Fields) > protocol.MaxFields {
		return nil, fmt.Errorf("vault: no grant, or one of more than %d fields: %w", protocol.MaxFields, fault.Malformed)
	}
	var out []protocol.FieldValue
	for _, want := range g.Fields {
		if want.Form != protocol.FormValue || slices.ContainsFunc(out, func(f protocol.FieldValue) bool { return f.Name == want.Name }) {
			continue
		}
		f, err := v.Get(r, want.Name)
		if fault.Of(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, protocol.FieldValue{Name: f.Name, Value: f.Value, Version: f.Version})
	}
	return out, nil
}

// Fill tells how full the vault is.
func (v *Vault) Fill(r kv.Reader) (kv.Fill, error) {
	n, err := count(r)
	return kv.Fill{Name: "vault.fields", Used: int64(n), Cap: MaxFields}, err
}

func count(r kv.Reader) (n int, err error) {
	err = r.Scan([]byte(prefix), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}
