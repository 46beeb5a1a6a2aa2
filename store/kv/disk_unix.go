//go:build linux || darwin

package kv

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// freeSpace is what an ordinary user may still write to dir's file system, in bytes.
func freeSpace(dir string) (bytes uint64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

// allocated is the space that a file takes, without the holes of a sparse one.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512 // st_blocks counts 512 bytes whatever the block size: stat(2)
	}
	return info.Size()
}

// lockShared takes badger's own lock of the folder, as a reader.
func lockShared(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errInUse(dir)
		}
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		// Closing alone would leave the lock with a process that is being started at this
		// moment, until it has become another program.
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}
