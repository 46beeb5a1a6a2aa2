package vault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
	"github.com/harkmarket/hark/store/vault"
)

const photo protocol.FieldName = "identity.photo"

func silent(kv.Tx, vault.Field, vault.What) error { return nil }

func upload(v *vault.Vault, s kv.Store, src io.Reader) (vault.Field, vault.What, error) {
	return v.Upload(context.Background(), s, photo, "image/png", vault.Change{}, src, 5, silent)
}

// pattern is size bytes that no shift maps onto themselves.
func pattern(size int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return out
}

func keysOf(t testing.TB, s kv.Store, prefix string) (n int) {
	t.Helper()
	err := s.View(context.Background(), func(r kv.Reader) error {
		return r.Scan([]byte(prefix), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLargeValuesComeBack(t *testing.T) {
	s, v := kv.Sealed(kv.Memory(), key.NewSecret()), vault.New(key.NewSecret())
	at := uint64(0)
	for _, size := range []int{1, seal.ChunkSize - 1, seal.ChunkSize, seal.ChunkSize + 1, 8 * seal.ChunkSize, 8*seal.ChunkSize + 1, 1<<20 + 17} {
		raw := pattern(size)
		f, what, err := upload(v, s, iotest.HalfReader(bytes.NewReader(raw)))
		if at++; err != nil || what != vault.Value || f.Version != at || f.Blob.Size != int64(size) || f.Blob.Sum != sha256.Sum256(raw) || f.Blob.Media != "image/png" {
			t.Fatalf("%d bytes: %+v %+v, %v", size, f, f.Blob, err)
		}
		var got bytes.Buffer
		if err := v.Download(t.Context(), s, photo, 0, &got); err != nil || !bytes.Equal(got.Bytes(), raw) {
			t.Fatalf("%d bytes: %d came back, %v", size, got.Len(), err)
		}
		if _, what, err := upload(v, s, bytes.NewReader(raw)); err != nil || what != vault.Nothing {
			t.Fatalf("the same again: %v, %v", what, err)
		}
	}
	var old bytes.Buffer
	if err := v.Download(t.Context(), s, photo, 2, &old); err != nil || !bytes.Equal(old.Bytes(), pattern(seal.ChunkSize-1)) {
		t.Errorf("an earlier version: %d bytes, %v", old.Len(), err)
	}
	if err := v.Download(t.Context(), s, photo, 99, io.Discard); !errors.Is(err, fault.NotFound) {
		t.Errorf("a version that is not kept: %v", err)
	}
	// A text follows a large value and the other way round.
	update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, photo, "small", 6); return err })
	var small bytes.Buffer
	if err := v.Download(t.Context(), s, photo, 0, &small); err != nil || small.String() != "small" {
		t.Errorf("%q, %v", small.String(), err)
	}
	update(t, s, func(tx kv.Tx) error { return v.Remove(tx, photo) })
	if err := v.Purge(t.Context(), s); err != nil || keysOf(t, s, "v2/b") != 0 || keysOf(t, s, "v2/r") != 0 || keysOf(t, s, "v2/p") != 0 {
		t.Errorf("left: %d chunks, %d records, %d notes; %v", keysOf(t, s, "v2/b"), keysOf(t, s, "v2/r"), keysOf(t, s, "v2/p"), err)
	}
	update(t, s, func(tx kv.Tx) error {
		for _, f := range must(v.Fills(tx)) {
			if f.Used != 0 {
				t.Errorf("%s is %d", f.Name, f.Used)
			}
		}
		return nil
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWhatIsNoLargeValue(t *testing.T) {
	broken := errors.New("the cable")
	for name, c := range map[string]struct {
		src  io.Reader
		name protocol.FieldName
		m    string
		want error
	}{
		"empty":      {strings.NewReader(""), photo, "", fault.Malformed},
		"too large":  {io.LimitReader(zeros{}, vault.MaxBlob+1), photo, "", fault.Malformed},
		"endless":    {zeros{}, photo, "", fault.Malformed},
		"broken off": {io.MultiReader(bytes.NewReader(pattern(700_000)), iotest.ErrReader(broken)), photo, "", broken},
		"bad name":   {strings.NewReader("x"), "photo", "", fault.Malformed},
		"bad media":  {strings.NewReader("x"), photo, "image/\npng", fault.Malformed},
		"long media": {strings.NewReader("x"), photo, "image/" + strings.Repeat("p", 200), fault.Malformed},
	} {
		s, v := kv.Memory(), vault.New(key.NewSecret())
		_, _, err := v.Upload(t.Context(), s, c.name, c.m, vault.Change{}, c.src, 1, silent)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if n := keysOf(t, s, "v2/b") + keysOf(t, s, "v2/u") + keysOf(t, s, "v2/r") + keysOf(t, s, "v2/p"); n != 0 {
			t.Errorf("%s left %d records", name, n)
		}
	}
	s, v := kv.Memory(), vault.New(key.NewSecret())
	if _, _, err := upload(v, s, io.LimitReader(zeros{}, vault.MaxBlob)); err != nil {
		t.Errorf("the largest: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLargeValuesTakeBoundedMemory: never more than one batch of chunks has been read
// and is not yet in the store, and never more is written out at once.
func TestLargeValuesTakeBoundedMemory(t *testing.T) {
	const batch = 8*seal.ChunkSize + 1
	s, v := &counting{Store: kv.Memory()}, vault.New(key.NewSecret())
	read, most := 0, 0
	src := io.LimitReader(zeros{}, vault.MaxBlob)
	if _, _, err := upload(v, s, readerFunc(func(p []byte) (int, error) {
		n, err := src.Read(p)
		read += n
		most = max(most, read-s.kept)
		return n, err
	})); err != nil {
		t.Fatal(err)
	}
	if most > batch || read != vault.MaxBlob {
		t.Errorf("of %d bytes, %d were in hand at once, at most %d", read, most, batch)
	}
	out := 0
	if err := v.Download(t.Context(), s, photo, 0, writerFunc(func(p []byte) (int, error) {
		out = max(out, len(p))
		return len(p), nil
	})); err != nil || out > batch {
		t.Errorf("%d bytes were written at once, at most %d; %v", out, batch, err)
	}
	t.Logf("16 MiB went in with at most %d KiB in hand, and out with %d", most>>10, out>>10)
}

// A counting store counts the plaintext of the chunks that it has kept.
type counting struct {
	kv.Store
	kept int
}

func (c *counting) Update(ctx context.Context, fn func(kv.Tx) error) error {
	n := 0
	err := c.Store.Update(ctx, func(tx kv.Tx) error {
		n = 0
		return fn(countingTx{tx, &n})
	})
	if err == nil {
		c.kept += n
	}
	return err
}

type countingTx struct {
	kv.Tx
	n *int
}

func (c countingTx) Put(k, value []byte) error {
	if bytes.HasPrefix(k, []byte("v2/b")) {
		*c.n += len(value) - seal.BlobOverhead
	}
	return c.Tx.Put(k, value)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestEveryFailureLeavesTheVaultWhole fails each write of a life in turn, and opens
// the vault again as after a crash.
func TestEveryFailureLeavesTheVaultWhole(t *testing.T) {
	secret := key.NewSecret()
	raw := pattern(700_000)
	life := func(s kv.Store) error {
		v := vault.New(secret)
		if err := s.Update(t.Context(), func(tx kv.Tx) error { _, err := v.Set(tx, "contact.email", "one", 1); return err }); err != nil {
			return err
		}
		if _, _, err := upload(v, s, bytes.NewReader(raw)); err != nil {
			return err
		}
		if err := v.Rotate(t.Context(), s, 2); err != nil {
			return err
		}
		if err := s.Update(t.Context(), func(tx kv.Tx) error {
			_, err := v.Set(tx, "contact.email", "two", 3)
			return errors.Join(err, v.Forget(tx, "contact.email", 1), v.Remove(tx, photo))
		}); err != nil {
			return err
		}
		return v.Purge(t.Context(), s)
	}
	n := 1
	for ; ; n++ {
		s := kv.Memory()
		first := life(storetest.Failing(s, n))
		v := vault.New(secret)
		if err := v.Open(t.Context(), s, 4); err != nil {
			t.Fatalf("write %d failed: Open: %v", n, err)
		}
		update(t, s, func(tx kv.Tx) error {
			f, err := v.Get(tx, "contact.email")
			if err != nil && !errors.Is(err, fault.NotFound) || err == nil && f.Value != "one" && f.Value != "two" {
				t.Fatalf("write %d failed: %+v, %v", n, f, err)
			}
			for _, fill := range must(v.Fills(tx)) {
				if (fill.Name == "vault.uploads" || fill.Name == "vault.purges") && fill.Used != 0 {
					t.Fatalf("write %d failed: %s is %d", n, fill.Name, fill.Used)
				}
			}
			return nil
		})
		var got bytes.Buffer
		switch err := v.Download(t.Context(), s, photo, 0, &got); {
		case err == nil && !bytes.Equal(got.Bytes(), raw):
			t.Fatalf("write %d failed: half a picture", n)
		case err != nil && (!errors.Is(err, fault.NotFound) || keysOf(t, s, "v2/b") != 0):
			t.Fatalf("write %d failed: %v, with %d chunks", n, err, keysOf(t, s, "v2/b"))
		}
		if keysOf(t, s, "v2/e") > 1 || keysOf(t, s, "v2/u") != 0 {
			t.Fatalf("write %d failed: %d epochs, %d uploads", n, keysOf(t, s, "v2/e"), keysOf(t, s, "v2/u"))
		}
		if first == nil {
			break
		}
		if !errors.Is(first, storetest.ErrInjected) {
			t.Fatal(first)
		}
	}
	if n < 40 {
		t.Errorf("only %d writes", n)
	}
	t.Logf("each of %d writes failed once", n-1)
}

func TestAClosedVaultEndsItsUploads(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	opened := false
	_, _, err := upload(v, s, readerFunc(func(p []byte) (int, error) {
		if !opened { // a lock and an unlock while the value is written
			opened = true
			if err := v.Open(t.Context(), s, 2); err != nil {
				t.Error(err)
			}
		}
		return copy(p, "x"), io.EOF
	}))
	if !errors.Is(err, fault.Conflict) || keysOf(t, s, "v2/b") != 0 || keysOf(t, s, "v2/n") != 0 {
		t.Errorf("got %v, with %d chunks and %d fields", err, keysOf(t, s, "v2/b"), keysOf(t, s, "v2/n"))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
