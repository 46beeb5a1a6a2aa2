package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// purgeBatch is how many prefixes one purge takes off the disk together.
const purgeBatch = 128

// Remove destroys the keys of a field and notes all of it for Purge, which the caller
// runs next. fault.NotFound where there is none. A later Set begins again at version 1.
func (v *Vault) Remove(tx kv.Tx, name protocol.FieldName) error {
	st, err := readState(tx, v.lim)
	if err != nil {
		return err
	}
	rec, err := v.find(tx, name)
	if err != nil {
		return err
	}
	errs := []error{tx.Delete(rec.at0(partKey)), tx.Delete(v.nameKey(name))}
	prefixes := [][]byte{slices.Concat(prefixRecord, rec.id[:])}
	for _, kept := range rec.head.Kept {
		errs = append(errs, tx.Delete(rec.atN(partWrap, kept.N)))
		if kept.Blob != nil {
			st.Bytes -= kept.Blob.Size
			prefixes = append(prefixes, slices.Concat(prefixBlob, kept.Blob.ID[:]))
		}
	}
	st.Fields--
	errs = append(errs, st.toPurge(tx, prefixes...), st.put(tx))
	return errors.Join(errs...)
}

// Forget destroys the key of one earlier version of a field and notes it for Purge.
// The present version gives fault.Conflict, one that is not kept fault.NotFound.
func (v *Vault) Forget(tx kv.Tx, name protocol.FieldName, n uint64) error {
	st, err := readState(tx, v.lim)
	if err != nil {
		return err
	}
	rec, err := v.find(tx, name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rec.head.Kept, func(k version) bool { return k.N == n })
	switch {
	case i < 0:
		return fmt.Errorf("vault: %s: version %d is not kept: %w", name, n, fault.NotFound)
	case i == len(rec.head.Kept)-1:
		return fmt.Errorf("vault: %s: version %d is the present one; set another value first, or remove the field: %w", name, n, fault.Conflict)
	}
	return errors.Join(rec.shred(tx, &st, i), rec.putHead(tx), st.put(tx))
}

// shred destroys the key of version i of those kept, and notes it for Purge.
func (rec *record) shred(tx kv.Tx, st *state, i int) error {
	old := rec.head.Kept[i]
	rec.head.Kept = slices.Delete(rec.head.Kept, i, i+1)
	wrap, value := rec.atN(partWrap, old.N), rec.atN(partValue, old.N)
	if old.Blob != nil {
		st.Bytes -= old.Blob.Size
		value = slices.Concat(prefixBlob, old.Blob.ID[:])
	}
	return errors.Join(tx.Delete(wrap), st.toPurge(tx, wrap, value))
}

// toPurge notes what is to be taken off the disk.
func (st *state) toPurge(tx kv.Tx, prefixes ...[]byte) error {
	if st.Purges += len(prefixes); st.Purges > st.lim.Purges {
		return fmt.Errorf("vault: %d erased things wait to be taken off the disk, at most %d: %w", st.Purges, st.lim.Purges, fault.Full)
	}
	var errs []error
	for _, p := range prefixes {
		errs = append(errs, tx.Put(slices.Concat(prefixPurge, p), nil))
	}
	return errors.Join(errs...)
}

// Waiting is how many erased things Purge has still to take off the disk.
func (v *Vault) Waiting(r kv.Reader) (int, error) {
	st, err := readState(r, v.lim)
	return st.Purges, err
}

// Purge takes the bytes of everything that was erased off the disk. What it can't
// finish stays noted, for the next call or the next Open.
func (v *Vault) Purge(ctx context.Context, store kv.Store) error {
	for {
		var prefixes [][]byte
		err := store.View(ctx, func(r kv.Reader) error {
			return r.Scan(prefixPurge, nil, func(k, _ []byte) (bool, error) {
				prefixes = append(prefixes, bytes.Clone(k[len(prefixPurge):]))
				return len(prefixes) < purgeBatch, nil
			})
		})
		if err != nil || len(prefixes) == 0 {
			return err
		}
		if err := store.Purge(ctx, prefixes...); err != nil {
			return fmt.Errorf("vault: erased values are still on the disk: %w", err)
		}
		if err := store.Update(ctx, func(tx kv.Tx) error { return v.purged(tx, prefixes) }); err != nil {
			return err
		}
	}
}

// purged strikes what is off the disk. Two purges may have met.
func (v *Vault) purged(tx kv.Tx, prefixes [][]byte) error {
	st, err := readState(tx, v.lim)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		k := slices.Concat(prefixPurge, p)
		_, err := tx.Get(k)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err := errors.Join(err, tx.Delete(k)); err != nil {
			return err
		}
		st.Purges--
	}
	return st.put(tx)
}

// epochLife is how long one epoch key seals new records before Open rotates it.
const epochLife = 90 * 24 * 3600 * 1000 // milliseconds

// Rotate makes a new epoch key, seals every record key under it, and destroys the
// ones before. A Rotate that broke off is finished by the next Open.
func (v *Vault) Rotate(ctx context.Context, store kv.Store, nowMS int64) error {
	err := store.Update(ctx, func(tx kv.Tx) error {
		st, err := readState(tx, v.lim)
		if err != nil {
			return err
		}
		return errors.Join(v.newEpoch(tx, &st, nowMS), st.put(tx))
	})
	if err != nil {
		return err
	}
	if err := v.rewrap(ctx, store); err != nil {
		return err
	}
	return v.Purge(ctx, store)
}

// rewrapBatch is how many record keys are sealed anew in one transaction.
const rewrapBatch = 256

// rewrap seals the keys of records of earlier epochs under the present one, some in
// each transaction, and then gives the earlier epoch keys to the purge.
func (v *Vault) rewrap(ctx context.Context, store kv.Store) error {
	var st state
	var after []byte
	for more := true; more; {
		var old []id
		err := store.View(ctx, func(r kv.Reader) (err error) {
			if st, err = readState(r, v.lim); err != nil {
				return err
			}
			old, after, err = stale(r, st.Epoch, after)
			return err
		})
		if err != nil {
			return err
		}
		more = len(old) == rewrapBatch
		err = store.Update(ctx, func(tx kv.Tx) error {
			for _, i := range old {
				if err := v.rewrapOne(tx, st.Epoch, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return store.Update(ctx, func(tx kv.Tx) error { return v.dropEpochs(tx, st.Epoch) })
}

// stale finds records whose key is sealed under another epoch than n.
func stale(r kv.Reader, n uint32, after []byte) (old []id, last []byte, err error) {
	err = r.Scan(prefixRecord, after, func(k, raw []byte) (bool, error) {
		i, part, err := splitKey(k)
		if err != nil {
			return false, err
		}
		if part == partKey && (len(raw) < 4 || binary.BigEndian.Uint32(raw) != n) {
			old, last = append(old, i), bytes.Clone(k)
		}
		return len(old) < rewrapBatch, nil
	})
	return old, last, err
}

func (l *locks) rewrapOne(tx kv.Tx, n uint32, i id) error {
	rec := record{id: i}
	raw, err := tx.Get(rec.at0(partKey))
	if errors.Is(err, fault.NotFound) {
		return nil // erased meanwhile
	}
	if err == nil {
		rec.key, err = l.unwrap(tx, i, raw, nil)
	}
	if err != nil {
		return err
	}
	return l.putRecordKey(tx, n, &rec)
}

// dropEpochs destroys all epoch keys but the present one.
func (v *Vault) dropEpochs(tx kv.Tx, present uint32) error {
	st, err := readState(tx, v.lim)
	if err != nil || st.Epoch != present {
		return err
	}
	err = tx.Scan(prefixEpoch, nil, func(k, _ []byte) (bool, error) {
		if bytes.Equal(k, epochKey(present)) {
			return true, nil
		}
		k = bytes.Clone(k)
		return true, errors.Join(tx.Delete(k), st.toPurge(tx, k))
	})
	if err != nil {
		return err
	}
	return st.put(tx)
}
