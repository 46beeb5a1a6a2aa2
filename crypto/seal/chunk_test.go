package seal

import (
	"bytes"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
)

func TestChunksKeepTheirPlace(t *testing.T) {
	k, other := fixed(t, 31), fixed(t, 32)
	full, rest := bytes.Repeat([]byte{7}, ChunkSize), []byte("the rest")
	first, last := SealChunk(k, 0, false, full), SealChunk(k, 1, true, rest)
	for i, c := range []struct {
		sealed, want []byte
		last         bool
	}{{first, full, false}, {last, rest, true}} {
		if got, err := OpenChunk(k, uint64(i), c.last, c.sealed); err != nil || !bytes.Equal(got, c.want) {
			t.Fatalf("chunk %d: %d bytes, %v", i, len(got), err)
		}
	}
	short := SealChunk(k, 0, false, rest)
	for name, open := range map[string]func() ([]byte, error){
		"another key":      func() ([]byte, error) { return OpenChunk(other, 0, false, first) },
		"another place":    func() ([]byte, error) { return OpenChunk(k, 1, false, first) },
		"cut at a chunk":   func() ([]byte, error) { return OpenChunk(k, 0, true, first) },
		"more after last":  func() ([]byte, error) { return OpenChunk(k, 1, false, last) },
		"short in between": func() ([]byte, error) { return OpenChunk(k, 0, false, short) },
		"empty":            func() ([]byte, error) { return OpenChunk(k, 0, true, SealChunk(k, 0, true, nil)) },
		"too long":         func() ([]byte, error) { return OpenChunk(k, 0, true, SealChunk(k, 0, true, append(full, 1))) },
		"cut":              func() ([]byte, error) { return OpenChunk(k, 1, true, last[:BlobOverhead-1]) },
	} {
		if got, err := open(); err != ErrOpen || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for i := range last {
		last[i] ^= 1
		if _, err := OpenChunk(k, 1, true, last); err != ErrOpen {
			t.Fatalf("byte %d changed and opened", i)
		}
		last[i] ^= 1
	}
}

// TestCopiesKeepTheirPlace: a copy comes out the same each time, and opens in its place
// under its key alone.
func TestCopiesKeepTheirPlace(t *testing.T) {
	k, other := fixed(t, 33), fixed(t, 34)
	full, rest := bytes.Repeat([]byte{7}, ChunkSize), []byte("the rest")
	first, last := SealCopy(k, 0, false, full), SealCopy(k, 1, true, rest)
	if !bytes.Equal(first, SealCopy(k, 0, false, full)) || bytes.Equal(first, SealCopy(other, 0, false, full)) {
		t.Error("a copy does not follow from key and value")
	}
	for i, c := range []struct {
		sealed, want []byte
		last         bool
	}{{first, full, false}, {last, rest, true}} {
		if got, err := OpenCopy(k, uint64(i), c.last, c.sealed); err != nil || !bytes.Equal(got, c.want) {
			t.Fatalf("chunk %d: %d bytes, %v", i, len(got), err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":      func() ([]byte, error) { return OpenCopy(other, 0, false, first) },
		"no key":           func() ([]byte, error) { return OpenCopy(key.Secret{}, 0, false, first) },
		"another place":    func() ([]byte, error) { return OpenCopy(k, 1, false, first) },
		"cut at a chunk":   func() ([]byte, error) { return OpenCopy(k, 0, true, first) },
		"more after last":  func() ([]byte, error) { return OpenCopy(k, 1, false, last) },
		"short in between": func() ([]byte, error) { return OpenCopy(k, 0, false, SealCopy(k, 0, false, rest)) },
		"empty":            func() ([]byte, error) { return OpenCopy(k, 0, true, SealCopy(k, 0, true, nil)) },
		"too long":         func() ([]byte, error) { return OpenCopy(k, 0, true, SealCopy(k, 0, true, append(full, 1))) },
		"a vault's chunk":  func() ([]byte, error) { return OpenCopy(k, 1, true, SealChunk(k, 1, true, rest)) },
	} {
		if got, err := open(); err != ErrOpen || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for i := range last {
		last[i] ^= 1
		if _, err := OpenCopy(k, 1, true, last); err != ErrOpen {
			t.Fatalf("byte %d changed and opened", i)
		}
		last[i] ^= 1
	}
}
