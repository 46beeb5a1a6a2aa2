package kv

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol/fault"
)

// Version and schema that a sealed value is bound to, beside its key.
const (
	sealVersion = 1
	sealSchema  = "kv"
)

// Sealed returns s with its values encrypted under secret
// (XChaCha20-Poly1305, see seal.SealRecord). A value is bound to its key: one
// that was changed, moved, swapped with another's, or written under another
// secret gives fault.Malformed with the key in hex. What it cannot notice is a
// value that is missing, or an older value of the same key put back; package
// ledger can, for what stands in the ledger. Close closes s.
func Sealed(s Store, secret key.Secret) Store { return &sealed{s, secret} }

type sealed struct {
	Store
	secret key.Secret
}

// View implements Store.View.
func (s *sealed) View(ctx context.Context, fn func(Reader) error) error {
	return s.Store.View(ctx, func(r Reader) error { return fn(sealedReader{r, s.secret}) })
}

// Update implements Store.Update.
func (s *sealed) Update(ctx context.Context, fn func(Tx) error) error {
	return s.Store.Update(ctx, func(tx Tx) error {
		return fn(sealedTx{sealedReader{tx, s.secret}, tx})
	})
}

type sealedReader struct {
	r      Reader
	secret key.Secret
}

// Get implements Reader.Get.
func (s sealedReader) Get(key []byte) ([]byte, error) {
	box, err := s.r.Get(key)
	if err != nil {
		return nil, err
	}
	return s.open(key, box)
}

// Scan implements Reader.Scan.
func (s sealedReader) Scan(prefix, after []byte, fn func(key, value []byte) (bool, error)) error {
	return s.r.Scan(prefix, after, func(key, box []byte) (bool, error) {
		value, err := s.open(key, box)
		if err != nil {
			return false, err
		}
		return fn(key, value)
	})
}

func (s sealedReader) open(key, box []byte) ([]byte, error) {
	value, err := seal.OpenRecord(s.secret, string(key), sealVersion, sealSchema, box)
	if err != nil {
		return nil, fmt.Errorf("kv: the value of %x does not open (%w): %w", key, err, fault.Malformed)
	}
	return value, nil
}

type sealedTx struct {
	sealedReader
	tx Tx
}

// Put implements Tx.Put.
func (s sealedTx) Put(key, value []byte) error {
	return s.tx.Put(key, seal.SealRecord(s.secret, string(key), sealVersion, sealSchema, value))
}

// Delete implements Tx.Delete.
func (s sealedTx) Delete(key []byte) error { return s.tx.Delete(key) }
