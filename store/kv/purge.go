package kv

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Purge implements Store.Purge, with badger's DropPrefix:
//
//  1. put a key under each prefix: badger passes over a prefix under which no key
//     is visible, though old versions of deleted ones lie in its files;
//  2. let badger flush its memtables, whose logs it then removes, and write every
//     table anew that has a key with one of the prefixes, without those keys.
func (d *disk) Purge(ctx context.Context, prefixes ...[]byte) error {
	if err := checkPrefixes(prefixes); err != nil {
		return err
	}
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	if err := d.writable(); err != nil || len(prefixes) == 0 {
		return err
	}
	d.turns.Lock() // badger refuses commits while it drops
	defer d.turns.Unlock()
	if err := d.mark(prefixes); err != nil {
		return err
	}
	if err := d.db.DropPrefix(prefixes...); err != nil {
		d.broken.Store(true) // badger may be left without a memtable to write to
		return fmt.Errorf("kv: purge: %w", err)
	}
	return nil
}

// mark puts an empty value under each prefix, with the prefix as its key.
func (d *disk) mark(prefixes [][]byte) error {
	b := d.db.NewWriteBatch()
	defer b.Cancel()
	for _, p := range prefixes {
		if err := b.SetEntry(badger.NewEntry(bytes.Clone(p), nil)); err != nil {
			return d.commitError(err)
		}
	}
	if err := b.Flush(); err != nil {
		return d.commitError(err)
	}
	return nil
}
