package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
)

// vaultFloods fill one vault. Who is not hurt is its owner: what she has can still be
// read and changed.
var vaultFloods = map[string]func(t *testing.T){
	"vault.fields": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret())
		var last error
		for i := 0; i < vault.MaxFields+100; i += 100 {
			last = store.Update(t.Context(), func(tx kv.Tx) error {
				for j := range 100 {
					if _, err := v.Set(tx, protocol.FieldName(fmt.Sprintf("note.n%d", i+j)), "x", 1); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if !errors.Is(last, fault.Full) {
			t.Errorf("fields too many: %v", last)
		}
		fullVault(t, store, v, "vault.fields")
		stillSet(t, store, v, "note.n1")
	},
	"vault.bytes": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret()).Within(vault.Limits{Bytes: 4 << 10})
		for i := range 6 {
			err := upload(t, store, v, fmt.Sprintf("document.n%d", i), bytes.NewReader(make([]byte, 1<<10)))
			if (err == nil) != (i < 4) || i >= 4 && !errors.Is(err, fault.Full) {
				t.Errorf("large value %d: %v", i, err)
			}
		}
		fullVault(t, store, v, "vault.bytes")
		stillSet(t, store, v, "contact.email")
	},
	"vault.uploads": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret())
		var nested func(i int) error // each reads its value from the one before
		nested = func(i int) error {
			return upload(t, store, v, fmt.Sprintf("document.n%d", i), readerFunc(func([]byte) (int, error) {
				if i < vault.MaxUploads {
					return 0, nested(i + 1)
				}
				fullVault(t, store, v, "vault.uploads")
				stillSet(t, store, v, "contact.email")
				return 0, upload(t, store, v, "document.more", strings.NewReader("x"))
			}))
		}
		if err := nested(1); !errors.Is(err, fault.Full) {
			t.Errorf("one upload too many: %v", err)
		}
		if err := upload(t, store, v, "document.later", strings.NewReader("x")); err != nil {
			t.Errorf("an upload once the others are over: %v", err)
		}
	},
	"vault.purges": func(t *testing.T) {
		store, v := kv.Memory(), vault.New(key.NewSecret()).Within(vault.Limits{Purges: 6})
		var last error
		for i := range 10 {
			last = store.Update(t.Context(), func(tx kv.Tx) error {
				_, err := v.Set(tx, "contact.email", fmt.Sprint(i), 1)
				return errors.Join(err, v.Remove(tx, "contact.email"))
			})
		}
		if !errors.Is(last, fault.Full) {
			t.Errorf("one erasure too many: %v", last)
		}
		fullVault(t, store, v, "vault.purges")
		stillSet(t, store, v, "contact.phone")
	},
}

// stillSet gives a small field a value, and reads it.
func stillSet(t *testing.T, store kv.Store, v *vault.Vault, name protocol.FieldName) {
	t.Helper()
	err := store.Update(t.Context(), func(tx kv.Tx) error {
		if _, err := v.Set(tx, name, "another", 2); err != nil {
			return err
		}
		f, err := v.Get(tx, name)
		if err == nil && f.Value != "another" {
			err = fmt.Errorf("%s is %q", name, f.Value)
		}
		return err
	})
	if err != nil {
		t.Errorf("its owner: %v", err)
	}
}

// fullVault holds one bound of a vault to full.
func fullVault(t *testing.T, store kv.Store, v *vault.Vault, name string) {
	t.Helper()
	if err := store.View(t.Context(), func(r kv.Reader) error {
		fills, err := v.Fills(r)
		full(t, fills, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func upload(t *testing.T, store kv.Store, v *vault.Vault, name string, src io.Reader) error {
	_, _, err := v.Upload(t.Context(), store, protocol.FieldName(name), "", vault.Change{}, src, 1,
		func(kv.Tx, vault.Field, vault.What) error { return nil })
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
