package kv_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/harkmarket/hark/store/kv"
)

// found counts in how many files of a folder the words stand.
func found(t *testing.T, dir string, words []byte) (n int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, words) {
			n++
		}
	}
	return n
}

// What was deleted lies in the log, in a table of level 0, and in a table below:
// Purge finds it in each of them.
func TestPurgeTakesTheBytesOffTheDisk(t *testing.T) {
	dir := t.TempDir()
	open := func() kv.Store {
		s, err := kv.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	write := func(fn func(kv.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	words := []byte("the words that must go")
	for round := range 3 {
		write(func(tx kv.Tx) error {
			if err := tx.Put([]byte("gone/1"), fmt.Appendf(nil, "%s %d", words, round)); err != nil {
				return err
			}
			return tx.Put(fmt.Appendf(nil, "here/%d", round), []byte("the words that stay"))
		})
		if round == 2 {
			break
		}
		if err := s.Close(); err != nil { // flushes and compacts
			t.Fatal(err)
		}
		s = open()
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	write(func(tx kv.Tx) error { return tx.Delete([]byte("gone/1")) })
	before := found(t, dir, words)
	if before == 0 {
		t.Fatal("the planted words were not found, so nothing is shown")
	}
	if err := s.Purge(t.Context(), []byte("gone/")); err != nil {
		t.Fatal(err)
	}
	if n := found(t, dir, words); n != 0 {
		t.Errorf("the words are in %d files", n)
	}
	if n := found(t, dir, []byte("the words that stay")); n == 0 {
		t.Error("the other words went too")
	}
	t.Logf("deleted words lay in %d files, after Purge in 0", before)
}
