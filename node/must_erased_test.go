package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
)

func masterOf(t *testing.T, p Paths) key.Secret {
	t.Helper()
	f, err := readKeys(p)
	if err != nil {
		t.Fatal(err)
	}
	master, err := f.open(p, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	return master
}

// unlockedHome opens a home as hark run does.
func unlockedHome(t *testing.T, p Paths) *Node {
	t.Helper()
	n, err := Open(t.Context(), Config{Paths: p, Passphrase: []byte("correct horse"), NoAPI: true})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// photo is a large value with words in its first, middle and last chunk.
func photo() []byte {
	raw := bytes.Repeat([]byte("."), 3*seal.ChunkSize+100)
	for _, at := range []int{10, 2 * seal.ChunkSize, len(raw) - 30} {
		copy(raw[at:], "words in the picture")
	}
	return raw
}

// secrets are what the home holds of the fields that will be erased.
var secrets = []string{"the first value", "the second value", "the third value", "words in the picture"}

// fillHome gives a home values in several versions, some in tables, some in the log.
func fillHome(t *testing.T, p Paths) {
	t.Helper()
	for _, value := range secrets[:3] {
		n := unlockedHome(t, p)
		c := n.Customer()
		for _, field := range []string{"health.condition", "contact.email"} {
			_, err := c.Vault().Set(t.Context(), field, desk.Value(value+" of "+field))
			ok(t, err)
		}
		_, err := c.Files().Upload(t.Context(), "identity.photo", "image/png", desk.FieldSpec{}, bytes.NewReader(append(photo(), value...)))
		ok(t, err)
		_, err = c.Vault().Set(t.Context(), "location.area", desk.Value("what stays"))
		ok(t, err)
		closed(t, n)
	}
}

// filesIn reads a folder as it lies there, of a program that runs.
func filesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	ok(t, err)
	files := map[string][]byte{}
	for _, f := range list {
		if f.Name() == "LOCK" {
			continue
		}
		files[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name()))
		ok(t, err)
	}
	return files
}

func count(d *thief, field string) (n int) {
	for _, s := range secrets[:3] {
		if d.finds(s + " of " + field) {
			n++
		}
	}
	return n
}

// TestMust_erased: after erasure, a thief with the passphrase and every file of the
// home finds no version of a value. With the purge left out, the same thief finds all.
func TestMust_erased(t *testing.T) {
	p := home(t)
	fillHome(t, p)
	master := masterOf(t, p)

	// The thief finds what is there: every version, and the picture's chunks.
	d := dig(t, p, master)
	if count(d, "health.condition") != 3 || count(d, "contact.email") != 3 || !d.finds("words in the picture") || !d.finds("what stays") {
		t.Fatalf("the planted values were not found, so nothing is shown: %d, %d", count(d, "health.condition"), count(d, "contact.email"))
	}
	keysBefore := len(d.keys)

	// Defence off: the key is deleted in the store, its bytes stay in the files.
	store, err := kv.Open(p.store())
	ok(t, err)
	sealed, v := kv.Sealed(store, seal.Derive(master, seal.LabelRecord, nil)), vault.New(seal.Derive(master, seal.LabelVaultName, nil))
	ok(t, sealed.Update(t.Context(), func(tx kv.Tx) error {
		return errors.Join(v.Remove(tx, "health.condition"), v.Remove(tx, "identity.photo"))
	}))
	ok(t, sealed.View(t.Context(), func(r kv.Reader) error {
		if _, err := v.Get(r, "health.condition"); !errors.Is(err, fault.NotFound) {
			t.Errorf("a removed field: %v", err)
		}
		return nil
	}))
	d = dig(t, p, master)
	if count(d, "health.condition") != 3 || !d.finds("words in the picture") {
		t.Fatalf("without the purge %d of 3 versions were found, so nothing is shown", count(d, "health.condition"))
	}
	planted := count(d, "health.condition")
	killed := filesIn(t, p.store())
	ok(t, store.Close()) // which compacts: this home is killed instead
	ok(t, os.RemoveAll(p.store()))
	ok(t, os.MkdirAll(p.store(), 0o700))
	for name, raw := range killed {
		ok(t, os.WriteFile(filepath.Join(p.store(), name), raw, 0o600))
	}

	// A start goes on with what was noted. A running node erases at once.
	n := unlockedHome(t, p)
	if d = dig(t, p, master); count(d, "health.condition") != 0 || d.finds("words in the picture") {
		t.Errorf("after the next unlock: %d versions, picture %t", count(d, "health.condition"), d.finds("words in the picture"))
	}
	ok(t, n.Customer().Vault().Remove(t.Context(), "contact.email", 1))
	if d = dig(t, p, master); d.finds("the first value of contact.email") || count(d, "contact.email") != 2 {
		t.Errorf("after one version was erased %d are there", count(d, "contact.email"))
	}
	ok(t, n.Customer().Vault().Remove(t.Context(), "contact.email", 0))
	if d = dig(t, p, master); count(d, "contact.email") != 0 {
		t.Errorf("erased while it runs: %d versions", count(d, "contact.email"))
	}
	if rep, err := n.Ledger().Verify(t.Context()); err != nil || !rep.OK || rep.Entries < 10 {
		t.Errorf("the ledger: %+v, %v", rep, err)
	}
	if f, err := n.Customer().Vault().Get(t.Context(), "location.area"); err != nil || f.Value != "what stays" {
		t.Errorf("what stays: %+v, %v", f, err)
	}
	closed(t, n)
	d = dig(t, p, master)
	for _, s := range secrets {
		if d.finds(s) {
			t.Errorf("%q is found after the end", s)
		}
	}
	if !d.finds("what stays") {
		t.Error("the thief no longer finds anything, so nothing is shown")
	}
	t.Logf("planted: %d keys, 3 versions of each field; with the purge left out %d of 3 versions are found; after erasure 0 of 3, of 0 chunks, in %d files, with %d keys tried on %d records",
		keysBefore, planted, len(d.files), len(d.keys), len(d.entries))
}

// oldHome unpacks a home that the program made before records had keys of their own.
// Its fields are contact.email (version 2), health.condition and location.area;
// contact.work-email was removed.
func oldHome(t *testing.T) Paths {
	t.Helper()
	p := place(t)
	f, err := os.Open("testdata/home-1.tar.gz")
	ok(t, err)
	defer func() { ok(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	ok(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return p
		}
		ok(t, err)
		path := filepath.Join(p.Config, filepath.Clean("/"+h.Name))
		if h.FileInfo().IsDir() {
			ok(t, os.MkdirAll(path, 0o700))
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(r, 4<<20))
		ok(t, err)
		ok(t, os.WriteFile(path, raw, 0o600))
	}
}

// TestAnOldHomeOpens: the values of the old format come over with their versions, and
// its bytes, which the passphrase alone would open, leave the disk.
func TestAnOldHomeOpens(t *testing.T) {
	p := oldHome(t)
	master := masterOf(t, p)
	if d := dig(t, p, master); !d.finds("gone@old.example") || !d.finds("second@example.org") {
		t.Fatal("the old home does not hold what it should")
	}
	n := unlockedHome(t, p)
	defer closed(t, n)
	list, err := n.Customer().Vault().List(t.Context())
	ok(t, err)
	var got []string
	for _, f := range list {
		g, err := n.Customer().Vault().Get(t.Context(), f.Name)
		ok(t, err)
		if g.Changed.IsZero() || !g.Changed.Equal(g.Checked) {
			t.Errorf("%+v", g)
		}
		got = append(got, fmt.Sprintf("%s %d %s", g.Name, g.Version, g.Value))
	}
	want := []string{"contact.email 2 second@example.org", "health.condition 1 a secret of the old format", "location.area 1 Observatory"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if f, err := n.Customer().Vault().Set(t.Context(), "contact.email", desk.Value("third@example.org")); err != nil || f.Version != 3 {
		t.Errorf("a new value: %+v, %v", f, err)
	}
	ok(t, n.Customer().Vault().Remove(t.Context(), "health.condition", 0))
	d := dig(t, p, master)
	for words, left := range map[string]bool{"gone@old.example": false, "a secret of the old format": false, "second@example.org": true} {
		if d.finds(words) != left {
			t.Errorf("%q is found: %t", words, !left)
		}
	}
	if rep, err := n.Ledger().Verify(t.Context()); err != nil || !rep.OK {
		t.Errorf("the ledger: %+v, %v", rep, err)
	}
}

// A plantedStore fails at the n-th Update or Purge and at all later ones, as after a
// kill.
type plantedStore struct {
	kv.Store
	left int
}

var errKilled = errors.New("killed")

func (s *plantedStore) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if s.left--; s.left < 0 {
		return errKilled
	}
	return s.Store.Update(ctx, fn)
}

func (s *plantedStore) Purge(ctx context.Context, prefixes ...[]byte) error {
	if s.left--; s.left < 0 {
		return errKilled
	}
	return s.Store.Purge(ctx, prefixes...)
}

// TestAnUpgradeThatBreaksOffGoesOn kills the first unlock of an old vault at every step.
func TestAnUpgradeThatBreaksOffGoesOn(t *testing.T) {
	secret := key.NewSecret()
	names := seal.Derive(secret, seal.LabelVaultName, nil)
	type field struct {
		Name      string `cbor:"1,keyasint"`
		Value     string `cbor:"2,keyasint"`
		Version   uint64 `cbor:"3,keyasint"`
		ChangedMS int64  `cbor:"4,keyasint"`
	}
	const fields = 100
	for steps := 0; ; steps++ {
		store := kv.Memory()
		for i := range fields {
			name := fmt.Sprintf("note.n%d", i)
			mac := seal.MAC(names, []byte(name))
			ok(t, store.Update(t.Context(), func(tx kv.Tx) error {
				return kv.PutCBOR(tx, append([]byte("v/"), mac[:]...), field{name, "value of " + name, uint64(i + 1), 5})
			}))
		}
		v := vault.New(secret)
		first := v.Open(t.Context(), &plantedStore{Store: store, left: steps}, 10)
		ok(t, v.Open(t.Context(), store, 11))
		ok(t, store.View(t.Context(), func(r kv.Reader) error {
			all, err := v.List(r)
			if err != nil || len(all) != fields {
				t.Fatalf("killed at step %d: %d fields, %v", steps, len(all), err)
			}
			for i := range fields {
				name := fmt.Sprintf("note.n%d", i)
				if f, err := v.Get(r, protocol.FieldName(name)); err != nil || f.Value != "value of "+name || f.Version != uint64(i+1) || f.ChangedMS != 5 {
					t.Fatalf("killed at step %d: %+v, %v", steps, f, err)
				}
			}
			return r.Scan([]byte("v/"), nil, func(k, _ []byte) (bool, error) {
				t.Errorf("killed at step %d: %q is left", steps, k)
				return true, nil
			})
		}))
		if first == nil {
			if steps < 4 {
				t.Fatalf("only %d steps", steps)
			}
			t.Logf("killed at each of %d steps", steps)
			return
		}
		if !errors.Is(first, errKilled) || !strings.Contains(first.Error(), "killed") {
			t.Fatal(first)
		}
	}
}
