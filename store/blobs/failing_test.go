package blobs

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

// TestADiskThatFails at any operation once: the caller is told, memory says what the disk
// says, and the same call works the next time.
func TestADiskThatFails(t *testing.T) {
	s := newSample(2*protocol.CopyChunk+100, 3)
	failed := 0
	for n := 1; ; n++ {
		store, box := kv.Memory(), key.Generate[key.Mailbox]().Public()
		b, err := Open(storetest.Failing(store, n), Policy{})
		if errors.Is(err, storetest.ErrInjected) {
			continue // it does not open, and has changed nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		met := false
		try := func(what string, do func() error) {
			err := do()
			if err == nil {
				return
			}
			met = true
			if !errors.Is(err, storetest.ErrInjected) {
				t.Errorf("%s, failure %d: %v", what, n, err)
			}
			if memory, disk := b.Stats(), open(t, store, Policy{}).Stats(); !slices.Equal(memory, disk) {
				t.Errorf("%s, failure %d: memory has %v, the disk %v", what, n, memory, disk)
			}
			if err := do(); err != nil {
				t.Errorf("%s once more, failure %d: %v", what, n, err)
			}
		}
		try("leave", func() error { return leave(t, b, box, s, Tag{}) })
		try("read", func() error {
			raw, err := read(t, b, box, s)
			if err == nil && !bytes.Equal(raw, s.raw) {
				t.Errorf("failure %d: another copy comes back", n)
			}
			return err
		})
		try("delete", func() error {
			_, err := b.Delete(t.Context(), box, []protocol.Hash{s.Digest}, day0)
			return err
		})
		try("expire", func() error {
			_, err := b.Expire(t.Context(), day0+400*protocol.Day)
			return err
		})
		if left := size(t, store); left != 0 {
			t.Errorf("failure %d: %d records are left", n, left)
		}
		if !met {
			break
		}
		failed++
	}
	if failed < 10 {
		t.Errorf("only %d operations failed", failed)
	}
	t.Logf("each of %d operations failed once", failed)
}
