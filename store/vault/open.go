package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Open makes the vault of a home ready, once after each unlock and before anything
// else uses it. Every step is a row of bounded transactions, and goes on at the next
// Open where it broke off:
//
//  1. fields that an earlier program kept are sealed anew, each under its own key;
//  2. large values whose writing broke off are given up;
//  3. a rotation that broke off is finished, and one that is due is done;
//  4. what was erased is taken off the disk, and with it, after step 1, the bytes of
//     the old format, which had no keys of their own.
func (v *Vault) Open(ctx context.Context, store kv.Store, nowMS int64) error {
	if err := v.upgrade(ctx, store, nowMS); err != nil {
		return err
	}
	var st state
	rotating := false
	err := store.View(ctx, func(r kv.Reader) (err error) {
		if st, err = readState(r, v.lim); err != nil {
			return err
		}
		return r.Scan(prefixEpoch, nil, func(k, _ []byte) (bool, error) {
			rotating = rotating || !bytes.Equal(k, epochKey(st.Epoch))
			return true, nil
		})
	})
	if err == nil && st.Uploads > 0 {
		err = store.Update(ctx, v.giveUp)
	}
	switch {
	case err != nil:
		return err
	case rotating:
		err = v.rewrap(ctx, store)
	case st.Epoch > 0 && nowMS-st.EpochMS > epochLife:
		err = v.Rotate(ctx, store, nowMS)
	}
	if err != nil {
		return fmt.Errorf("vault: rotation: %w", err)
	}
	return v.Purge(ctx, store)
}

// giveUp ends all uploads.
func (v *Vault) giveUp(tx kv.Tx) error {
	return tx.Scan(prefixUpload, nil, func(k, _ []byte) (bool, error) {
		if len(k) != len(prefixUpload)+idSize {
			return false, fmt.Errorf("vault: an unknown record %x: %w", k, fault.Malformed)
		}
		return true, v.end(tx, id(k[len(prefixUpload):]), true)
	})
}

// The old format: under "v/" and the HMAC of a name, one record with all of a field,
// sealed by the store alone.
var prefixOld = []byte("v/")

const (
	oldKey       = 2 + 32
	upgradeBatch = 32 // old fields in one transaction: at most 32 of 4 KiB, twice
)

type oldField struct {
	Name      protocol.FieldName `cbor:"1,keyasint"`
	Value     string             `cbor:"2,keyasint"`
	Version   uint64             `cbor:"3,keyasint"`
	ChangedMS int64              `cbor:"4,keyasint"`
}

// upgrade moves fields of the old format, some in each transaction. The last one also
// notes the whole old prefix for the purge: until then there is something to move.
func (v *Vault) upgrade(ctx context.Context, store kv.Store, nowMS int64) error {
	for more := true; more; {
		var left bool
		err := store.View(ctx, func(r kv.Reader) error {
			return r.Scan(prefixOld, nil, func(k, _ []byte) (bool, error) {
				left = len(k) == oldKey
				return !left, nil
			})
		})
		if err != nil || !left {
			return err
		}
		err = store.Update(ctx, func(tx kv.Tx) error {
			more, err = v.upgradeSome(tx, nowMS)
			return err
		})
		if err != nil {
			return fmt.Errorf("vault: fields of an earlier version: %w", err)
		}
	}
	return nil
}

func (v *Vault) upgradeSome(tx kv.Tx, nowMS int64) (more bool, err error) {
	n := 0
	err = tx.Scan(prefixOld, nil, func(k, raw []byte) (bool, error) {
		if len(k) != oldKey { // the mark of a purge that broke off
			return true, nil
		}
		if n++; n > upgradeBatch {
			more = true
			return false, nil
		}
		var old oldField
		if err := kv.DecodeCBOR(raw, &old); err != nil {
			return false, err
		}
		at := old.ChangedMS
		c := Change{Value: &old.Value, asVersion: old.Version}
		if _, _, err := v.Put(tx, old.Name, c, at); err != nil {
			return false, err
		}
		return true, tx.Delete(bytes.Clone(k))
	})
	if err != nil || more {
		return more, err
	}
	st, err := readState(tx, v.lim)
	if err != nil {
		return false, err
	}
	if st.EpochMS < nowMS { // it began now, not when the first field was set
		st.EpochMS = nowMS
	}
	return false, errors.Join(st.toPurge(tx, prefixOld), st.put(tx))
}
