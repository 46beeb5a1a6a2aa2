package seal

import (
	"bytes"
	"testing"
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
