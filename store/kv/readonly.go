package kv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/harkmarket/hark/protocol/fault"
)

// OpenReadOnly opens the folder of a store that no process has open, for an
// audit. It works whether the store was closed or killed, and never changes a
// byte of the folder:
//
//  1. lock the folder as a reader; a running node gives fault.Conflict;
//  2. copy its files to a private temporary folder, and unlock;
//  3. open the copy, replaying its log if need be; Close deletes it.
//
// Badger has a mode for reading only, but it refuses a folder whose log has to be
// replayed, which is the folder of every node that was killed. The copy takes as
// much temporary space as the store. Update gives fault.Denied.
func OpenReadOnly(dir string) (Store, error) {
	if _, err := os.Stat(filepath.Join(dir, badger.ManifestFilename)); err != nil {
		return nil, openError(dir, err)
	}
	copied, err := os.MkdirTemp("", "hark-audit-")
	if err != nil {
		return nil, openError(dir, err)
	}
	db, err := openCopy(dir, copied)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(copied))
	}
	return &disk{db: db, dir: copied, readOnly: true, discard: func() error { return os.RemoveAll(copied) }}, nil
}

func openCopy(dir, to string) (*badger.DB, error) {
	if err := copyLocked(dir, to); err != nil {
		return nil, openError(dir, err)
	}
	if err := mend(to); err != nil {
		return nil, openError(dir, err)
	}
	db, err := badger.Open(small(to, nil).WithSyncWrites(false).WithCompactL0OnClose(false))
	if err != nil {
		return nil, openError(dir, err)
	}
	return db, nil
}

func copyLocked(dir, to string) (err error) {
	unlock, err := lockShared(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !f.Type().IsRegular() || f.Name() == lockFile {
			continue
		}
		if err := copySparse(filepath.Join(dir, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// lockFile is where badger notes the process that has the folder open.
const lockFile = "LOCK"

// copySparse copies a file and leaves runs of zeros as holes: a log of 16 MiB is
// mostly empty when its node is killed.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	size := int64(0)
	for {
		n, err := io.ReadFull(in, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

// errInUse is what lockShared returns when a process has the folder open.
func errInUse(dir string) error {
	return fmt.Errorf("kv: Another process is using %s: %w", dir, fault.Conflict)
}

// diskUse sums the space that the files of a folder take on disk, in bytes.
func diskUse(dir string) int64 {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	sum := int64(0)
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().Type() == fs.FileMode(0) {
			sum += allocated(info)
		}
	}
	return sum
}
